//! Joining, renewal, expiry and revocation.

use aether_mesh::access::{CLOCK_SKEW, Role, wall_now};

use super::*;
use crate::support::{all_know_all, nodes, shutdown, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_by_an_invite_and_talks() {
    let admin = Admin::found("join");
    let first = admin.node().spawn().await.unwrap();
    let seeds = first.addresses().await.unwrap();
    let token = admin.invite(Role::Writer).to_text();
    let joins = || builder("aether").invite(&token).seeds(seeds.clone()).spawn();
    let nodes = vec![first, joins().await.unwrap(), joins().await.unwrap()];
    all_know_all(&nodes).await;
    let topic = nodes[1].topic::<String>("t").await.unwrap();
    let mut inbox = nodes[2].topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    within("a reader", topic.wait_for_neighbours(1)).await;
    topic.publish(&"hello".to_owned()).await.unwrap();
    assert_eq!(within("the message", inbox.next()).await.unwrap().value, "hello");

    until("the admin's node to make them members in full", || async {
        nodes[1..].iter().all(|node| !node.access().unwrap().provisional)
    })
    .await;
    let own = nodes[1].access().unwrap();
    assert_eq!((own.role, own.admits), (Role::Writer, false));
    until("the others to know the renewed capability", || async {
        let seen = nodes[2].access_of(&nodes[1].id());
        seen.is_some_and(|seen| (seen.role, seen.expires) == (Role::Writer, own.expires))
    })
    .await;
    assert_eq!(nodes[2].access_of(&nodes[0].id()).unwrap().role, Role::Admin);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_remembers_the_membership_and_needs_no_invite() {
    let admin = Admin::found("remember");
    let first = admin.node().spawn().await.unwrap();
    let seeds = first.addresses().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let start = || builder("aether").data(folder.path()).seeds(seeds.clone());
    let token = admin.invite(Role::Writer).to_text();
    let node = start().invite(&token).spawn().await.unwrap();
    until("it to be a member in full", || async { !node.access().unwrap().provisional }).await;
    let (before, id) = (node.access().unwrap().expires, node.id());
    node.shutdown().await;
    drop(node);
    let path = aether_mesh::access::membership_file(folder.path());
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let node = start().spawn().await.unwrap();
    assert_eq!((node.id(), node.mesh()), (id, admin.genesis().mesh_id()));
    assert!(!node.access().unwrap().provisional);
    assert!(node.access().unwrap().expires >= before);
    until("it to be connected", || is_connected(&first, &node)).await;
    shutdown(vec![first, node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_cuts_live_connections_on_all_nodes() {
    let admin = Admin::found("revoke");
    let first = admin.node().spawn().await.unwrap();
    let seeds = first.addresses().await.unwrap();
    let mut nodes = vec![first];
    for _ in 0..4 {
        nodes.push(admin.member(Role::Writer).seeds(seeds.clone()).spawn().await.unwrap());
    }
    all_know_all(&nodes).await;
    let bad = nodes.pop().unwrap();
    // Known to one node, which isn't the admin's.
    nodes[1].revoke(admin.revoke(key_of(&bad))).await.unwrap();
    until("every node to know the revocation and to have cut the revoked one", || async {
        for node in &nodes {
            let known = node.access().unwrap().revocations == 1;
            if !known || is_connected(node, &bad).await {
                return false;
            }
        }
        true
    })
    .await;
    until("the revoked one to be told why it stays outside", || async {
        bad.access().unwrap().refused.is_some_and(|why| why.contains("revoked"))
    })
    .await;
    assert_eq!(bad.status().await.unwrap().connections.len(), 0);
    all_know_all(&nodes[..1]).await;
    assert!(is_connected(&nodes[0], &nodes[1]).await, "the others stay");
    nodes.push(bad);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_learns_of_a_revocation_when_it_is_back() {
    let admin = Admin::found("away");
    // Two islands: nobody of one knows an address of the other.
    let one = admin.node().spawn().await.unwrap();
    let two = admin.member(Role::Writer).spawn().await.unwrap();
    let bad_key = fresh();
    let bad = admin.enter(&bad_key, admin.admit(&bad_key, Role::Writer, wall_now()));
    let bad = bad.seeds(two.addresses().await.unwrap()).spawn().await.unwrap();
    until("the second island", || is_connected(&two, &bad)).await;
    one.revoke(admin.revoke(bad_key.public())).await.unwrap();
    until("the revocation", || async { one.access().unwrap().revocations == 1 }).await;
    assert!(is_connected(&two, &bad).await, "nobody told the second island");
    // A bridge.
    two.dial(one.addresses().await.unwrap().remove(0)).await.unwrap();
    until("it to be cut", || async {
        two.access().unwrap().revocations == 1 && !is_connected(&two, &bad).await
    })
    .await;
    shutdown(vec![one, two, bad]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_survives_a_restart() {
    let admin = Admin::found("restart");
    let folder = tempfile::tempdir().unwrap();
    let start = || admin.node().data(folder.path()).spawn();
    let node = start().await.unwrap();
    let bad = fresh();
    node.revoke(admin.revoke(bad.public())).await.unwrap();
    until("the revocation", || async { node.access().unwrap().revocations == 1 }).await;
    node.shutdown().await;
    drop(node);
    let node = start().await.unwrap();
    assert_eq!(node.access().unwrap().revocations, 1);
    let bad = admin.enter(&bad, admin.admit(&bad, Role::Writer, wall_now()));
    let bad = bad.seeds(node.addresses().await.unwrap()).spawn().await.unwrap();
    until("it to be refused", || async { bad.access().unwrap().refused.is_some() }).await;
    assert_eq!(node.status().await.unwrap().connections.len(), 0);
    shutdown(vec![node, bad]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_membership_is_cut() {
    let admin = Admin::found("expire");
    // No admin's node is there to renew it, and it has some seconds left, the tolerance included.
    let node = admin.member(Role::Writer).spawn().await.unwrap();
    let key = fresh();
    let from = wall_now() - HOUR - CLOCK_SKEW + Duration::from_secs(5);
    let late = admin.enter(&key, admin.admit(&key, Role::Writer, from));
    let late = late.seeds(node.addresses().await.unwrap()).spawn().await.unwrap();
    until("it to be in", || is_connected(&node, &late)).await;
    until("it to be cut", || async { !is_connected(&node, &late).await }).await;
    until("it to be told", || async {
        late.access().unwrap().refused.is_some_and(|why| why.contains("expired"))
    })
    .await;
    assert!(!is_connected(&node, &late).await);
    shutdown(vec![node, late]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_member_stays_without_a_reconnect() {
    let admin = Admin::found("renew");
    let (first, key) = (admin.node().spawn().await.unwrap(), fresh());
    let seeds = first.addresses().await.unwrap();
    let other = admin.member(Role::Writer).seeds(seeds.clone()).spawn().await.unwrap();
    // Worth something for some seconds more.
    let from = wall_now() - HOUR - CLOCK_SKEW + Duration::from_secs(10);
    let old = admin.admit(&key, Role::Validator, from);
    let mut closed = 0;
    let node = admin.enter(&key, old).seeds(seeds).seeds(other.addresses().await.unwrap());
    let node = node.spawn().await.unwrap();
    until("it to be in", || is_connected(&other, &node)).await;
    until("it to be renewed", || async { node.access().unwrap().expires > wall_now() }).await;
    let expires = node.access().unwrap().expires;
    let until_old_is_over = tokio::time::Instant::now() + Duration::from_secs(15);
    while tokio::time::Instant::now() < until_old_is_over {
        closed += usize::from(!is_connected(&other, &node).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(closed, 0, "the connection stood all the time");
    let seen = other.access_of(&node.id()).unwrap();
    assert_eq!((seen.role, seen.expires), (Role::Validator, expires));
    shutdown(vec![first, other, node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_hand_is_shown_and_kept() {
    let admin = Admin::found("by-hand");
    let (key, folder) = (fresh(), tempfile::tempdir().unwrap());
    let node = admin.enter(&key, admin.admit(&key, Role::Writer, wall_now() - HOUR / 2));
    let node = node.data(folder.path()).spawn().await.unwrap();
    let fresh = admin.admit(&key, Role::Validator, wall_now());
    node.hold(fresh.capability.clone()).await.unwrap();
    until("it to be shown", || async { node.access().unwrap().role == Role::Validator }).await;
    let kept = aether_mesh::access::remembered(folder.path()).unwrap().unwrap();
    assert_eq!(kept.capability, fresh.capability);
    let others = admin.member(Role::Writer).spawn().await.unwrap();
    assert!(node.hold(others.capability().unwrap()).await.is_err(), "it is another's");
    shutdown(vec![node, others]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_mesh_exchanges_nothing_and_says_so() {
    let nodes = nodes("open-access", 2).await;
    all_know_all(&nodes).await;
    assert_eq!(nodes[0].access(), None);
    assert!(nodes[0].status().await.unwrap().connections[0].access.is_none());
    let revocation = Admin::found("open-access").revoke(fresh().public());
    let error = nodes[0].revoke(revocation).await.unwrap_err().to_string();
    assert!(error.contains("open"), "{error}");
    shutdown(nodes).await;
}
