//! Finding each other, by every source.

use aether_mesh::{Multiaddr, Node, Roles};

use crate::support::{all_know_all, bare, builder, nodes, shutdown, until, within};

/// Every node publishes one message, and every other receives every one.
async fn gossip_reaches_all(nodes: &[Node]) {
    let mut topics = Vec::new();
    let mut readers = Vec::new();
    for node in nodes {
        let topic = node.topic::<usize>("reach").await.unwrap();
        readers.push(topic.subscribe().await.unwrap());
        topics.push(topic);
    }
    for (n, topic) in topics.iter().enumerate() {
        topic.publish(&n).await.unwrap();
    }
    for (me, reader) in readers.iter_mut().enumerate() {
        let mut missing: std::collections::BTreeSet<usize> = (0..nodes.len()).collect();
        missing.remove(&me);
        while !missing.is_empty() {
            let what = format!("{missing:?} at node {me}");
            let message = within(&what, reader.next()).await.unwrap();
            assert!(missing.remove(&message.value), "{} twice at {me}", message.value);
        }
    }
}

async fn forms(count: usize) {
    let nodes = nodes(&format!("forms {count}"), count).await;
    all_know_all(&nodes).await;
    gossip_reaches_all(&nodes).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_become_a_mesh() {
    forms(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_become_a_mesh() {
    forms(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_become_a_mesh() {
    forms(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_nodes_become_a_mesh() {
    forms(50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_stays_one_under_churn() {
    let mut nodes = nodes("churn", 10).await;
    all_know_all(&nodes).await;
    for round in 0..3 {
        // Dropped without a farewell; others come. The first seed goes in the second round.
        let gone: Vec<_> = nodes.drain(round..round + 3).collect();
        drop(gone);
        let seeds = nodes[round].addresses().await.unwrap();
        for _ in 0..3 {
            nodes.push(builder("churn").seeds(seeds.clone()).spawn().await.unwrap());
        }
        all_know_all(&nodes).await;
    }
    until("the gone to be struck off", || async {
        let members = nodes[0].members().await.unwrap();
        members.len() == nodes.len() - 1
    })
    .await;
    gossip_reaches_all(&nodes).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_order_does_not_matter() {
    // The seed comes last, on an address that was told before.
    let seed = builder("order").spawn().await.unwrap();
    let seeds = seed.addresses().await.unwrap();
    let key = tempfile::tempdir().unwrap();
    seed.shutdown().await;
    drop(seed);
    let told: Vec<Multiaddr> = seeds.iter().map(bare).collect();
    let early = builder("order").seeds(&told).spawn().await.unwrap();
    let late = builder("order").data(key.path()).listen(&told).spawn().await.unwrap();
    let nodes = vec![early, late];
    all_know_all(&nodes).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_without_its_seed_lets_newcomers_in() {
    let mut nodes = nodes("headless", 4).await;
    all_know_all(&nodes).await;
    nodes.remove(0).shutdown().await;
    let seeds = nodes[2].addresses().await.unwrap();
    nodes.push(builder("headless").seeds(seeds).spawn().await.unwrap());
    all_know_all(&nodes).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_meshes_never_mix() {
    let ours = nodes("ours", 2).await;
    let stranger =
        builder("theirs").seeds(ours[0].addresses().await.unwrap()).spawn().await.unwrap();
    let mut heard = stranger.topic::<usize>("reach").await.unwrap().subscribe().await.unwrap();
    all_know_all(&ours).await;
    gossip_reaches_all(&ours).await;
    until("the stranger to be shown out", || async {
        stranger.status().await.unwrap().connections.is_empty()
    })
    .await;
    assert_eq!(stranger.members().await.unwrap(), []);
    stranger.shutdown().await;
    assert_eq!(heard.next().await, None, "not one message came through");
    shutdown(ours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_one_link_version_apart_talk() {
    let old = builder("versions").link_versions(vec![1]).spawn().await.unwrap();
    let seeds = old.addresses().await.unwrap();
    let new = builder("versions").link_versions(vec![2, 1]).seeds(seeds).spawn().await.unwrap();
    let nodes = vec![old, new];
    all_know_all(&nodes).await;
    gossip_reaches_all(&nodes).await;
    shutdown(nodes).await;
}

async fn over(transport: &str) {
    let mesh = format!("over {transport}");
    let first = builder(&mesh).listen([transport]).spawn().await.unwrap();
    let seeds = first.addresses().await.unwrap();
    assert!(!seeds.is_empty());
    let none: [Multiaddr; 0] = [];
    let second = builder(&mesh).listen(none).seeds(seeds).spawn().await.unwrap();
    let nodes = vec![first, second];
    all_know_all(&nodes).await;
    gossip_reaches_all(&nodes).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_quic() {
    over("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp() {
    over("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket() {
    over("/ip4/127.0.0.1/tcp/0/ws").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_memory() {
    over("/memory/0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_relay() {
    let mesh = "relayed";
    let relay =
        builder(mesh).roles(Roles { relay: true, ..Roles::default() }).spawn().await.unwrap();
    let through = relay.addresses().await.unwrap().remove(0);
    let none: [Multiaddr; 0] = [];
    let hidden = builder(mesh)
        .listen(none.clone())
        .configure(|config| config.relays = vec![through.clone()])
        .spawn()
        .await
        .unwrap();
    let id = hidden.id();
    let address: Multiaddr = format!("{through}/p2p-circuit/p2p/{id}").parse().unwrap();
    until("a reservation", || async {
        hidden.status().await.unwrap().addresses.iter().any(|a| a.to_string().contains("circuit"))
    })
    .await;
    let caller = builder(mesh).listen(none).seed(&address).spawn().await.unwrap();
    until("the relayed connection", || async {
        let status = caller.status().await.unwrap();
        status.connections.iter().any(|c| c.peer == id && c.relayed && c.member)
    })
    .await;
    gossip_reaches_all(&[caller.clone(), hidden.clone()]).await;
    shutdown(vec![caller, hidden, relay]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_rendezvous() {
    let mesh = "rendezvous";
    let roles = Roles { rendezvous: true, ..Roles::default() };
    let point = builder(mesh).roles(roles).spawn().await.unwrap();
    let address = point.addresses().await.unwrap().remove(0);
    let meet = || {
        let address = address.clone();
        builder(mesh).configure(|config| config.rendezvous = vec![address])
    };
    let nodes = vec![meet().spawn().await.unwrap(), meet().spawn().await.unwrap()];
    all_know_all(&nodes).await;
    shutdown(nodes).await;
    point.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_dial_each_other_settle_on_one_connection() {
    let first = builder("both").spawn().await.unwrap();
    let second = builder("both").spawn().await.unwrap();
    // Each is told of the other at once, of every address and of no peer id.
    for (dialer, other) in [(&first, &second), (&second, &first)] {
        for address in other.addresses().await.unwrap() {
            dialer.dial(bare(&address)).await.unwrap();
        }
    }
    let nodes = vec![first, second];
    all_know_all(&nodes).await;
    until("one connection on both ends", || async {
        for node in &nodes {
            let connections = node.status().await.unwrap().connections;
            if connections.len() != 1 || connections[0].connections != 1 {
                return false;
            }
        }
        true
    })
    .await;
    gossip_reaches_all(&nodes).await;
    shutdown(nodes).await;
}
