//! Damage to a node's disk, by the real program: it is named, repaired, and what is lost comes from
//! another node.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    spaces::together,
    support::{Node, aether, failure, output, stderr, stdout, until},
};

/// Flips a bit in the middle of what a file holds.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("it is there");
    let end = bytes.iter().rposition(|byte| *byte > 0).map_or(1, |at| at + 1);
    bytes[end / 2] ^= 4;
    fs::write(file, bytes).expect("it can be written");
}

async fn state(node: &Node) -> (String, Option<String>) {
    let space = node.client.space("guests", true).await.expect("the space is open");
    (space.status.digest, space.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_has_damaged_is_named_and_repaired_and_comes_from_another_node() {
    let (first, mut second) = together("repair").await;
    let seed = first.client.status().await.unwrap().addresses[0].to_string();
    for round in 0..20_u32 {
        let put = (0..100).map(|n| (format!("key {n}"), json!([round, "x".repeat(100)])));
        let batch = aether_node::api::MapBatch { put: put.collect(), remove: vec![] };
        let node = if round % 2 == 0 { &first } else { &second };
        node.client.write_map("guests", "ages", &batch).await.unwrap();
    }
    until("equal states", || async { state(&first).await == state(&second).await }).await;
    let running = failure(&output(&mut second.aether(&["repair"])), 1);
    assert!(running.contains("open already: stop the other process"), "{running}");

    // The journal; then the file by which the engine knows its own.
    for (round, damaged) in ["engine/0.jnl", "engine/version"].into_iter().enumerate() {
        second.program.signal("TERM");
        second.program.ended().await;
        let data = second.data();
        let Node { home, .. } = second;
        flip(&data.join("store").join(damaged));
        let run = ["run", "--preset", "local", "--api", "127.0.0.1:0"];
        let refused = failure(&output(aether(home.path()).args(run)), 1);
        assert!(refused.contains("see `aether repair --help`"), "{refused}");
        assert!(refused.contains(damaged), "it names the file: {refused}");

        let repair = |arguments: &[&str]| output(aether(home.path()).arg("repair").args(arguments));
        let dry = repair(&["--dry-run"]);
        assert!(dry.status.success() && stderr(&dry).contains("nothing was changed"), "{dry:?}");
        assert!(stdout(&dry).contains("entries of space guests"), "{dry:?}");
        let left = fs::read_dir(&data).unwrap().map(|file| file.unwrap().file_name());
        let left: Vec<_> =
            left.filter(|name| name.to_string_lossy().starts_with("store")).collect();
        assert_eq!(left.len(), 1 + round, "{left:?}");
        let refused = failure(&output(aether(home.path()).args(run)), 1);
        assert!(refused.contains(damaged), "it is as damaged as before: {refused}");
        let done = repair(&["-o", "json"]);
        assert!(done.status.success(), "{}", stderr(&done));
        let report: Value = serde_json::from_str(&stdout(&done)).unwrap();
        assert_eq!(report["spaces"][0]["name"], "guests", "{report}");
        assert_eq!(report["engine"], round == 0, "{report}");
        let kept = data.join(["store.damaged", "store.damaged-2"][round]);
        assert_eq!(report["damaged"], kept.to_str().unwrap());
        assert!(kept.is_dir());

        second = Node::start_in(home, "repair", &["--seed", &seed]).await;
        until("what was lost", || async { state(&first).await == state(&second).await }).await;
    }
}

#[test]
fn without_a_node_there_is_nothing_to_repair() {
    let home = tempfile::tempdir().unwrap();
    let message = failure(&output(aether(home.path()).arg("repair")), 1);
    assert!(message.contains("there is nothing to repair"), "{message}");
    assert!(!crate::support::data(home.path()).join("store").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_that_was_interrupted_is_finished() {
    let mut node = Node::start("interrupted", &[]).await;
    assert!(output(&mut node.aether(&["space", "create", "guests"])).status.success());
    node.program.signal("TERM");
    node.program.ended().await;
    let data = node.data();
    // As it is between the two renamings.
    fs::rename(data.join("store"), data.join("store.repaired")).unwrap();
    let run = ["run", "--preset", "local", "--api", "127.0.0.1:0"];
    let refused = failure(&output(aether(node.home.path()).args(run)), 1);
    assert!(refused.contains("run `aether repair` again"), "{refused}");
    assert!(!data.join("store").exists(), "no empty one takes its place");
    let done = output(&mut node.aether(&["repair"]));
    assert!(stderr(&done).contains("finished now"), "{done:?}");
    let Node { home, .. } = node;
    let mut node = Node::start_in(home, "interrupted", &[]).await;
    assert!(node.client.space("guests", false).await.is_ok());
    // One that was killed while it made the new store has left a part of that, which counts for
    // nothing, whatever becomes of the old one.
    node.program.signal("TERM");
    node.program.ended().await;
    fs::rename(data.join("store"), data.join("store.repairing")).unwrap();
    let gone = failure(&output(&mut node.aether(&["repair"])), 1);
    assert!(gone.contains("there is nothing to repair"), "{gone}");
}
