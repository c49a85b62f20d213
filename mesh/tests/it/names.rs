//! DNS and mDNS.

use std::{collections::BTreeMap, net::SocketAddr, str::FromStr as _, sync::Arc, time::Duration};

use aether_mesh::{Node, Preset};
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

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_one_network_find_their_own_mesh_by_mdns() {
    if !has_lan() {
        eprintln!("skipped: mDNS needs a network interface beside loopback");
        return;
    }
    let start = |mesh: &str| Node::builder(Preset::Lan).mesh(mesh).spawn();
    let ours = vec![start("mdns ours").await.unwrap(), start("mdns ours").await.unwrap()];
    let stranger = start("mdns theirs").await.unwrap();
    all_know_all(&ours).await;
    // Long enough for the stranger to have heard of both and to have dialed them, if it did.
    until("mDNS to have gone round", || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        true
    })
    .await;
    let dialed: BTreeMap<_, _> = stranger
        .status()
        .await
        .unwrap()
        .connections
        .into_iter()
        .map(|connection| (connection.peer, connection.direction))
        .collect();
    assert_eq!(dialed, BTreeMap::new(), "a node dials only what carries its mesh id");
    stranger.shutdown().await;
    shutdown(ours).await;
}
