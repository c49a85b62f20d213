//! Relayed connections are guarded like any other.

use aether_mesh::{Multiaddr, Node, Roles};

use super::*;
use crate::support::{shutdown, until};

fn relay_address(relay: &Node, addresses: &[Multiaddr]) -> Multiaddr {
    let tcp = addresses.iter().find(|address| address.to_string().contains("/tcp/")).unwrap();
    assert!(tcp.to_string().contains(&relay.id().to_string()));
    tcp.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_meet_through_a_relay_and_others_do_not() {
    let admin = Admin::found("relay");
    let relay = admin.member(Role::Writer).roles(Roles { relay: true, rendezvous: false });
    let relay = relay.spawn().await.unwrap();
    let through = relay_address(&relay, &relay.addresses().await.unwrap());
    // Reachable through the relay alone.
    let hidden = admin.member(Role::Writer).listen([""; 0]);
    let relays = vec![through.clone()];
    let hidden = hidden.configure(|config| config.relays = relays).spawn().await.unwrap();
    let circuit = format!("{through}/p2p-circuit/p2p/{}", hidden.id());
    until("the reservation", || async {
        let addresses = hidden.addresses().await.unwrap();
        addresses.iter().any(|address| address.to_string().contains("p2p-circuit"))
    })
    .await;
    let member = admin.member(Role::Writer).listen([""; 0]).seed(&circuit);
    let member = member.spawn().await.unwrap();
    until("the relayed connection", || async {
        let status = hidden.status().await.unwrap();
        status.connections.iter().any(|c| c.peer == member.id() && c.relayed)
    })
    .await;
    assert_eq!(hidden.access_of(&member.id()).unwrap().role, Role::Writer);

    // Revoked, as only the hidden node knows: the relay still takes it.
    hidden.revoke(admin.revoke(key_of(&member))).await.unwrap();
    until("it to be cut", || async { !is_connected(&hidden, &member).await }).await;
    until("it to be refused over the relay, or by the relay", || async {
        member.access().unwrap().refused.is_some_and(|why| why.contains("revoked"))
    })
    .await;
    assert!(!is_connected(&hidden, &member).await);
    shutdown(vec![relay, hidden, member]).await;
}
