//! A node's life: start, stop, restart, refuse.

use std::{fs, os::unix::fs::PermissionsExt as _};

use aether_core::SecretKey;
use aether_mesh::{Closed, MemberEvent, Node, OpenError, Preset, SpawnError, TopicError};

use crate::support::{all_know_all, bare, builder, nodes, shutdown, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_after_shutdown() {
    let node = builder("calls").spawn().await.unwrap();
    let topic = node.topic::<String>("t").await.unwrap();
    let mut reader = topic.subscribe().await.unwrap();
    let mut events = node.member_events();
    within("the shutdown", node.shutdown()).await;
    within("the second shutdown", node.shutdown()).await;
    assert!(topic.publish(&"x".to_owned()).await.is_err());
    assert_eq!(within("the subscription's end", reader.next()).await, None);
    assert_eq!(node.members().await, Err(Closed));
    assert!(matches!(node.topic::<String>("u").await, Err(TopicError::Closed(_))));
    drop((node, topic, reader));
    assert_eq!(within("the events' end", events.next()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_stops_the_node() {
    let nodes = nodes("last", 2).await;
    all_know_all(&nodes).await;
    let [first, second] = <[Node; 2]>::try_from(nodes).unwrap();
    let gone = second.id();
    let topic = second.topic::<String>("t").await.unwrap();
    let mut events = first.member_events();
    drop(second);
    assert!(topic.subscribe().await.is_ok(), "a topic keeps its node");
    drop(topic);
    assert_eq!(within("the failure", events.next()).await, Some(MemberEvent::Failed(gone)));
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farewell_is_told_at_once() {
    let mut nodes = nodes("farewell", 3).await;
    all_know_all(&nodes).await;
    let leaving = nodes.pop().unwrap();
    let (id, mut events) = (leaving.id(), nodes[0].member_events());
    leaving.shutdown().await;
    loop {
        match within("the farewell", events.next()).await {
            Some(MemberEvent::Left(peer)) if peer == id => break,
            Some(MemberEvent::Updated(_) | MemberEvent::Joined(_)) => {}
            event => panic!("{event:?}"),
        }
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_and_address_book_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = builder("book").spawn().await.unwrap();
    let start = || builder("book").data(&data);
    let second = start().seeds(first.addresses().await.unwrap()).spawn().await.unwrap();
    let id = second.id();
    all_know_all(&[first.clone(), second.clone()]).await;
    second.shutdown().await;
    drop(second);
    // Without a seed this time: it remembers.
    let again = start().spawn().await.unwrap();
    assert_eq!(again.id(), id);
    all_know_all(&[first.clone(), again.clone()]).await;
    shutdown(vec![first, again]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prevents_a_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = builder("start").spawn().await.unwrap();
    let address = bare(&taken.addresses().await.unwrap()[0]);
    let error = builder("start").listen([&address]).spawn().await.unwrap_err();
    assert!(matches!(error, SpawnError::Listen { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let error = builder("start").seed("no address").spawn().await.unwrap_err();
    assert!(error.to_string().contains("\"no address\""), "{error}");

    let error = Node::builder(Preset::Local).mesh("").spawn().await.unwrap_err();
    assert!(matches!(error, SpawnError::Genesis(_)), "{error:?}");

    let key = folder.path().join("identity.key");
    fs::write(&key, "-----BEGIN OPENSSH PRIVATE KEY-----").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let error = builder("start").data(folder.path()).spawn().await.unwrap_err();
    assert!(error.to_string().contains("not an Aether key file"), "{error}");

    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = builder("start").data(&file).spawn().await.unwrap_err();
    assert!(matches!(error, SpawnError::Identity(_) | SpawnError::Store { .. }), "{error:?}");
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
    taken.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_never_share_a_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = builder("share").data(folder.path()).spawn().await.unwrap();
    let error = builder("share").data(folder.path()).spawn().await.unwrap_err();
    assert!(matches!(error, SpawnError::Store { .. }), "{error:?}");
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_one_registry() {
    let nodes = nodes("metrics", 2).await;
    all_know_all(&nodes).await;
    let text = nodes[0].metrics().encode();
    for name in ["aether_mesh_members 1", "aether_mesh_peers", "libp2p_", "gossipsub_"] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    shutdown(nodes).await;
}

#[tokio::test]
async fn a_current_thread_runtime_will_do() {
    let nodes = nodes("current", 2).await;
    let topic = nodes[0].topic::<String>("t").await.unwrap();
    let mut reader = nodes[1].topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    topic.publish(&"hello".to_owned()).await.unwrap();
    assert_eq!(within("the message", reader.next()).await.unwrap().value, "hello");
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_and_is_back_is_heard_again() {
    let stays = builder("killed").spawn().await.unwrap();
    let heard = stays.topic::<u32>("lives").await.unwrap();
    let mut hears = heard.subscribe().await.unwrap();
    // Over QUIC nobody is told that the other end is dead.
    let mut seeds = stays.addresses().await.unwrap();
    seeds.retain(|address| address.to_string().contains("quic"));
    let key = SecretKey::from_bytes([77; 32]);
    let one_life = || {
        let builder = builder("killed").key(key.clone()).seeds(&seeds);
        async move {
            let node = builder.spawn().await.unwrap();
            let topic = node.topic::<u32>("lives").await.unwrap();
            (node, topic)
        }
    };
    // Its tasks and sockets end with its runtime, and nothing says goodbye.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let former = runtime.spawn(one_life()).await.unwrap();
    until("the first life to be heard", || async { heard.neighbours() == 1 }).await;
    // Of whom no card has come, nobody can tell that it has begun anew.
    until("the first life to be known", || async { stays.members().await.unwrap().len() == 1 })
        .await;
    runtime.shutdown_background();
    drop(former);

    let (back, topic) = one_life().await;
    let mut back_hears = topic.subscribe().await.unwrap();
    until("the second life to hear what is read", || async { topic.neighbours() == 1 }).await;
    topic.publish(&1).await.unwrap();
    assert_eq!(within("its message", hears.next()).await.unwrap().value, 1);
    heard.publish(&2).await.unwrap();
    assert_eq!(within("the answer", back_hears.next()).await.unwrap().value, 2);
    shutdown(vec![stays, back]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_stays_away_until_he_is_unblocked() {
    let nodes = nodes("blocked", 2).await;
    let [first, second] = &nodes[..] else { unreachable!() };
    let peers = async |node: &Node| node.status().await.unwrap().connections.len();
    until("they meet", async || peers(first).await == 1 && peers(second).await == 1).await;
    first.block(second.id()).await.unwrap();
    first.block(second.id()).await.unwrap();
    until("they part", async || peers(first).await + peers(second).await == 0).await;
    for address in first.addresses().await.unwrap() {
        second.dial(address).await.unwrap();
    }
    let refused = within("a refusal", first.open_stream(second.id(), "talk")).await;
    assert!(matches!(refused, Err(OpenError::Unreachable { .. })));
    assert_eq!(peers(first).await, 0);
    first.unblock(second.id()).await.unwrap();
    until("they meet again", async || peers(first).await == 1 && peers(second).await == 1).await;
    shutdown(nodes).await;
}
