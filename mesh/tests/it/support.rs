//! What all tests here share.

use std::{future::Future, time::Duration};

use aether_mesh::{Builder, Multiaddr, Node, Preset};

/// A deadline that only a defect reaches.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Waits for a future, and says what was waited for if it doesn't come.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn until<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    within(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A node of a mesh of its own per test, so that tests that run side by side never meet. Logs go
/// where `RUST_LOG` says.
pub(crate) fn builder(mesh: &str) -> Builder {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    Node::builder(Preset::Local).mesh(mesh)
}

/// `count` nodes, of which all but the first begin with the first's addresses.
pub(crate) async fn nodes(mesh: &str, count: usize) -> Vec<Node> {
    let first = builder(mesh).spawn().await.unwrap();
    let seeds = first.addresses().await.unwrap();
    let mut nodes = vec![first];
    for _ in 1..count {
        nodes.push(builder(mesh).seeds(seeds.clone()).spawn().await.unwrap());
    }
    nodes
}

/// The address without the peer id at its end.
pub(crate) fn bare(address: &Multiaddr) -> Multiaddr {
    let address = address.to_string();
    address.split("/p2p/").next().unwrap().parse().unwrap()
}

/// Waits until every node lists every other as a member.
pub(crate) async fn all_know_all(nodes: &[Node]) {
    until("every node to list every other", || async {
        for node in nodes {
            let members = node.members().await.unwrap();
            if nodes
                .iter()
                .any(|o| o.id() != node.id() && !members.iter().any(|m| m.peer == o.id()))
            {
                return false;
            }
        }
        true
    })
    .await;
}

pub(crate) async fn shutdown(nodes: Vec<Node>) {
    for node in nodes {
        node.shutdown().await;
    }
}
