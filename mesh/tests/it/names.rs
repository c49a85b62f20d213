//! DNS and mDNS.

use std::{net::SocketAddr, str::FromStr as _, sync::Arc, time::Duration};

use aether_mesh::{Node, PeerId, Preset};
use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{A, SOA, SRV, TXT},
};
use hickory_server::{
    Server,
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneType},
};
use tokio::net::{TcpListener, UdpSocket};

use crate::support::{all_know_all, builder, shutdown, until};

const ZONE: &str = "mesh.example.";

/// A DNS server for one zone, on a free port of loopback.
async fn dns_server(records: Vec<(&str, RData)>) -> (Server<Catalog>, SocketAddr) {
    let zone = Name::from_str(ZONE).unwrap();
    let mut handler: InMemoryZoneHandler =
        InMemoryZoneHandler::empty(zone.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 60, 60, 60, 60);
    handler.upsert_mut(Record::from_rdata(zone.clone(), 60, RData::SOA(soa)), 1);
    for (name, data) in records {
        let name = Name::from_str(&format!("{name}.{ZONE}")).unwrap();
        handler.upsert_mut(Record::from_rdata(name, 60, data), 1);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(zone.into(), vec![Arc::new(handler)]);
    let mut server = Server::new(catalog);
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    server.register_socket(udp);
    let tcp = TcpListener::bind(address).await.unwrap();
    server.register_listener(tcp, Duration::from_secs(5), 64);
    (server, address)
}

fn name(text: &str) -> Name {
    Name::from_str(&format!("{text}.{ZONE}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dnsaddr_records_lead_to_nodes() {
    let first = builder("txt").spawn().await.unwrap();
    let address = first.addresses().await.unwrap().remove(0);
    // The name refers to another, which has a typo beside the address.
    let (_server, dns) = dns_server(vec![
        ("_dnsaddr", RData::TXT(TXT::new(vec!["dnsaddr=/dnsaddr/deeper.mesh.example".into()]))),
        ("_dnsaddr.deeper", RData::TXT(TXT::new(vec!["dnsaddr=/ip4/300.0.0.1/tcp/1".into()]))),
        ("_dnsaddr.deeper", RData::TXT(TXT::new(vec![format!("dnsaddr={address}")]))),
    ])
    .await;
    let second = builder("txt").dns_server(dns).dns("mesh.example").spawn().await.unwrap();
    all_know_all(&[first.clone(), second.clone()]).await;
    // The same by a seed address.
    let third = builder("txt").dns_server(dns).seed("/dnsaddr/mesh.example").spawn().await.unwrap();
    let nodes = vec![first, second, third];
    all_know_all(&nodes).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn srv_records_lead_to_nodes() {
    for (service, listen) in
        [("_aether._tcp", "/ip4/127.0.0.1/tcp/0"), ("_aether._udp", "/ip4/127.0.0.1/udp/0/quic-v1")]
    {
        let mesh = format!("srv {service}");
        let first = builder(&mesh).listen([listen]).spawn().await.unwrap();
        let address = first.addresses().await.unwrap().remove(0).to_string();
        let port = address.split('/').nth(4).unwrap().parse().unwrap();
        let (_server, dns) = dns_server(vec![
            (service, RData::SRV(SRV::new(1, 1, port, name("host")))),
            (service, RData::SRV(SRV::new(1, 1, 9, name("nowhere")))),
            ("host", RData::A(A::new(127, 0, 0, 1))),
        ])
        .await;
        let second = builder(&mesh).dns_server(dns).dns("mesh.example").spawn().await.unwrap();
        let nodes = vec![first, second];
        all_know_all(&nodes).await;
        shutdown(nodes).await;
    }
}

/// mDNS needs an interface beside loopback that is up and does multicast.
fn has_lan() -> bool {
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let flags = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("flags")).ok()?;
        u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
    };
    const UP: u32 = 0x1;
    const LOOPBACK: u32 = 0x8;
    const MULTICAST: u32 = 0x1000;
    let usable = |flags: u32| flags & (UP | LOOPBACK | MULTICAST) == UP | MULTICAST;
    let up = interfaces.filter_map(flags).any(usable);
    // An address too, or nothing is sent: the kernel then knows a route for multicast.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0");
    up && socket.is_ok_and(|socket| socket.send_to(b"", "224.0.0.251:9").is_ok())
}

/// Asks the network for libp2p nodes, and each tells all others where it is. A node that starts
/// asks too, but it may answer itself before it listens, and then nobody asks again for minutes.
fn ask_all() {
    // RFC 6762: a header with one question, for PTR records of the name, in class IN.
    const QUESTION: &[u8] = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04_p2p\x04_udp\x05local\0\0\x0c\0\x01";
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(QUESTION, "224.0.0.251:5353").unwrap();
}

/// Waits until a node has found another by mDNS.
async fn finds(seeker: &Node, sought: &Node) {
    until("a node to be found by mDNS", || async {
        ask_all();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let connections = seeker.status().await.unwrap().connections;
        connections.iter().any(|connection| connection.peer == sought.id())
    })
    .await;
}

/// How many connections a node has had, those that ended included.
fn connections_ever(node: &Node) -> u64 {
    let text = node.metrics().encode();
    let counts = text.lines().filter_map(|line| {
        let count = line.strip_prefix("libp2p_swarm_connections_established_total{")?;
        count.rsplit(' ').next()?.parse::<u64>().ok()
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_one_network_find_their_own_mesh_by_mdns() {
    if !has_lan() {
        eprintln!("skipped: mDNS needs a network interface beside loopback");
        return;
    }
    // Names that no other run of this test on the same network has.
    let (ours, theirs) = (PeerId::random().to_string(), PeerId::random().to_string());
    let start = |mesh: &str, target: usize| {
        let builder = Node::builder(Preset::Lan).mesh(mesh);
        builder.configure(|config| config.limits.target_peers = target).spawn()
    };
    // The stranger has room for the two that it must find. They have none, so it is the stranger
    // that dials. Once it has found the first, it is known to hear.
    let stranger = start(&theirs, 2).await.unwrap();
    let first = start(&theirs, 0).await.unwrap();
    finds(&stranger, &first).await;
    let nodes = vec![start(&ours, 16).await.unwrap(), start(&ours, 16).await.unwrap()];
    all_know_all(&nodes).await;
    // What one of ours heard from the other waits at the stranger's socket too, and before anything
    // that the second says. If the stranger dialed ours, that took the room, and was over before
    // the second's turn came.
    let second = start(&theirs, 0).await.unwrap();
    finds(&stranger, &second).await;
    assert_eq!(connections_ever(&stranger), 2, "a node dials only what carries its mesh id");
    shutdown(vec![stranger, first, second]).await;
    shutdown(nodes).await;
}
