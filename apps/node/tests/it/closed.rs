//! Closed meshes, from founding one to cutting a member.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Node, aether, data, failure, output, stderr, stdout, until};

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).expect("the output is JSON")
}

/// A home in which a mesh was founded, and that mesh's id.
fn founded(name: &str) -> (TempDir, String) {
    let home = tempfile::tempdir().expect("there is room");
    let found = json(&output(aether(home.path()).args(["mesh", "new", name, "-o", "json"])));
    (home, found["mesh"].as_str().expect("it is text").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_is_founded_joined_and_a_member_revoked() {
    let (home, mesh) = founded("house");
    let folder = data(home.path()).join("admin");
    let mode = folder.join("admin.key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let admin = Node::start_in(home, "house", &["--admin", folder.to_str().unwrap()]).await;
    let status = admin.client.status().await.unwrap();
    assert_eq!(status.mesh.id, mesh);
    let own = status.access.unwrap();
    assert_eq!((own.role.as_str(), own.admits), ("admin", true));

    // The invite names the node that runs here.
    let invited = output(&mut admin.aether(&["mesh", "invite", "--role", "validator"]));
    let (token, told) = (stdout(&invited).trim().to_owned(), stderr(&invited));
    assert!(told.contains("as validator") && told.contains("aether mesh revoke"), "{told}");
    let member = Node::start("house", &["--invite", &token]).await;
    until("the member to be renewed", || async {
        let own = member.client.status().await.unwrap().access.unwrap();
        !own.provisional && own.role == "validator"
    })
    .await;
    let peer = member.client.status().await.unwrap().peer.to_string();
    until("the admin's node to know", || async {
        let rows = json(&output(&mut admin.aether(&["mesh", "members", "-o", "json"])));
        rows[1]["peer"] == peer && rows[1]["role"] == "validator"
    })
    .await;
    let table = stdout(&output(&mut admin.aether(&["mesh", "members"])));
    assert!(table.contains("UNTIL") && table.contains(&peer) && table.contains("UTC"), "{table}");
    let table = stdout(&output(&mut member.aether(&["status"])));
    assert!(table.contains("closed; this node is validator until"), "{table}");
    let shown = json(&output(&mut member.aether(&["mesh", "show", "-o", "json"])));
    assert_eq!((&shown["name"], &shown["role"]), (&"house".into(), &"validator".into()));
    let shown = stdout(&output(&mut admin.aether(&["mesh", "show"])));
    assert!(shown.contains("house") && shown.contains(&mesh) && shown.contains("yes"), "{shown}");

    let revoked = output(&mut admin.aether(&["mesh", "revoke", &peer]));
    assert!(revoked.status.success() && stderr(&revoked).contains("for ever"));
    until("the member to be out, and to know why", || async {
        let status = member.client.status().await.unwrap();
        let refused = status.access.unwrap().refused;
        let connections = admin.client.status().await.unwrap().connections;
        connections == 0 && refused.is_some_and(|why| why.contains("revoked"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_who_is_offline_admits_renews_and_revokes_by_text() {
    let (home, _) = founded("offline");
    let admin = |arguments: &[&str]| {
        let output = output(aether(home.path()).args(arguments));
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    let node_home = tempfile::tempdir().unwrap();
    let peer = stdout(&output(aether(node_home.path()).args(["key", "new"]))).trim().to_owned();
    let membership = admin(&["mesh", "admit", &peer, "--role", "reader", "--term", "1h"]);
    let node = Node::start_in(node_home, "offline", &["--invite", &membership]).await;
    let own = node.client.status().await.unwrap().access.unwrap();
    assert_eq!((own.role.as_str(), own.provisional), ("reader", false));

    let longer = admin(&["mesh", "admit", &peer, "--term", "40d"]);
    assert!(output(&mut node.aether(&["mesh", "accept", &longer])).status.success());
    until("the renewal", || async {
        let renewed = node.client.status().await.unwrap().access.unwrap();
        renewed.role == "writer" && renewed.expires > own.expires
    })
    .await;
    let others = admin(&["mesh", "admit", &admin(&["key", "new"]), "--term", "1h"]);
    let message = failure(&output(&mut node.aether(&["mesh", "accept", &others])), 1);
    assert!(message.contains("another peer's"), "{message}");

    let invite = admin(&["mesh", "invite"]);
    let narrow = admin(&["mesh", "invite", "--from", &invite, "--role", "reader"]);
    assert!(narrow.starts_with("aether_invite1_") && narrow != invite);
    let wider = ["mesh", "invite", "--from", &narrow, "--role", "admin"];
    let message = failure(&output(aether(home.path()).args(wider)), 1);
    assert!(message.contains("wider role"), "{message}");
    let revocation = admin(&["mesh", "revoke", &invite, "--print"]);
    assert!(output(&mut node.aether(&["mesh", "revoke", &revocation])).status.success());
    until("the revocation", || async {
        node.client.status().await.unwrap().access.unwrap().revocations == 1
    })
    .await;
}

#[test]
fn errors_say_what_to_do_next() {
    let (home, _) = founded("errors");
    let run = |arguments: &[&str]| output(aether(home.path()).args(arguments));
    let token = stdout(&run(&["mesh", "invite"])).trim().to_owned();

    let torn = run(&["run", "--invite", &token[..60]]);
    let message = failure(&torn, 2);
    assert!(message.contains("--invite") && message.contains("copy it again"), "{message}");
    assert!(!message.contains(&token[20..60]), "an invite is a secret: {message}");
    let shown =
        output(aether(home.path()).args(["config", "show"]).env("AETHER_ACCESS__INVITE", &token));
    assert!(stdout(&shown).contains("(hidden)") && !stdout(&shown).contains(&token[..60]));

    let message = failure(&run(&["mesh", "new", "errors"]), 1);
    assert!(message.contains("exists") && message.contains("--admin"), "{message}");
    let message = failure(&run(&["mesh", "invite", "--admin", "nowhere"]), 1);
    assert!(message.contains("aether mesh new"), "{message}");
    let message = failure(&run(&["mesh", "admit", "someone"]), 1);
    assert!(message.contains("12D3KooW"), "{message}");
    let message = failure(&run(&["mesh", "revoke", "someone"]), 1);
    assert!(message.contains("peer id, an invite"), "{message}");
    let message = failure(&run(&["mesh", "invite", "--role", "owner"]), 2);
    assert!(message.contains("reader, writer"), "{message}");
    let peer = stdout(&run(&["key", "new", "k"])).trim().to_owned();
    let message = failure(&run(&["mesh", "revoke", &peer]), 3);
    assert!(message.contains("--print"), "{message}");
    let message = failure(&run(&["run", "--preset", "closed", "--api", "127.0.0.1:0"]), 1);
    assert!(message.contains("start with an invite"), "{message}");
    let elsewhere = tempfile::tempdir().unwrap();
    let message = failure(&output(aether(elsewhere.path()).args(["mesh", "show"])), 1);
    assert!(message.contains("aether run --invite"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_mesh_has_nobody_to_revoke() {
    let node = Node::start("open", &[]).await;
    let message = failure(&output(&mut node.aether(&["mesh", "members"])), 1);
    assert!(message.contains("is open"), "{message}");
    let (home, _) = founded("other");
    let peer = node.client.status().await.unwrap().peer.to_string();
    let print = ["mesh", "revoke", &peer, "--print"];
    let text = stdout(&output(aether(home.path()).args(print))).trim().to_owned();
    let message = failure(&output(&mut node.aether(&["mesh", "revoke", &text])), 1);
    assert!(message.contains("is open") && message.contains("409"), "{message}");
}
