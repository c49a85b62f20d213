//! Archives of spaces, closing and deleting, by the real program.

use serde_json::{Value, json};

use crate::{
    spaces::together,
    support::{Node, failure, http, output, stderr, stdout, until},
};

fn run(node: &Node, arguments: &[&str]) -> std::process::Output {
    output(&mut node.aether(&[&["space"], arguments].concat()))
}

async fn put(node: &Node, key: &str, value: Value) {
    let batch = aether_node::api::MapBatch { put: [(key.into(), value)].into(), remove: vec![] };
    node.client.write_map("guests", "ages", &batch).await.expect("the space is open");
}

async fn state(node: &Node) -> (String, Option<String>) {
    let space = node.client.space("guests", true).await.expect("the space is open");
    (space.status.digest, space.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_moves_to_another_node_in_a_file() {
    let here = Node::start("move", &[]).await;
    let there = Node::start("other move", &[]).await;
    assert!(run(&here, &["create", "guests"]).status.success());
    put(&here, "ada", json!(36)).await;
    put(&here, "long", json!("x".repeat(300_000))).await;
    let path = there.home.path().join("guests.space");
    let path = path.to_str().unwrap();
    let done = run(&here, &["export", "guests", path, "-o", "json"]);
    let told: Value = serde_json::from_str(&stdout(&done)).unwrap();
    let size = std::fs::metadata(path).unwrap().len();
    assert_eq!(told, json!({ "file": path, "entries": 2, "evidence": 0, "bytes": size }));
    let there_already = failure(&run(&here, &["export", "guests", path]), 1);
    assert!(there_already.contains("--force"), "{there_already}");
    assert!(run(&here, &["export", "guests", path, "--force"]).status.success());
    let unknown = failure(&run(&here, &["export", "nobody", "nothing"]), 1);
    assert!(unknown.contains("no space"), "{unknown}");
    let files: Vec<_> = std::fs::read_dir(here.home.path()).unwrap().flatten().collect();
    assert!(files.iter().all(|file| !file.file_name().to_string_lossy().contains(".part")));

    let whole = std::fs::read(path).unwrap();
    let import = |bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        run(&there, &["import", path])
    };
    let torn = failure(&import(&whole[..whole.len() - 20]), 1);
    assert!(torn.contains("isn't whole"), "{torn}");
    let none = failure(&import(b"hello"), 1);
    assert!(none.contains("no archive"), "{none}");
    let done = import(&whole);
    assert!(done.status.success(), "{done:?}");
    assert!(stderr(&done).contains("0 entries taken in, 2 known before"), "{done:?}");
    assert_eq!(state(&there).await, state(&here).await);
    let again = run(&there, &["import", path, "-o", "json"]);
    let told: Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert_eq!((&told["known"], &told["taken"], &told["left"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!(told["space"]["id"], json!(stdout(&done).trim()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spaces_are_closed_opened_and_deleted() {
    let (first, second) = together("leaving").await;
    put(&first, "ada", json!(36)).await;
    let has = async |node: &Node, key: &str| {
        node.client.map_value("guests", "ages", key, false).await.is_ok()
    };
    until("the value", || has(&second, "ada")).await;
    assert!(run(&second, &["close", "guests"]).status.success());
    assert!(run(&second, &["close", "guests"]).status.success(), "closed is closed");
    let list = stdout(&run(&second, &["list"]));
    assert!(list.contains("guests") && list.contains("closed"), "{list}");
    let list: Value =
        serde_json::from_str(&stdout(&run(&second, &["list", "-o", "json"]))).unwrap();
    assert_eq!((&list["spaces"], &list["closed"][0]["name"]), (&json!([]), &json!("guests")));
    let base = second.client.url();
    let get = |path: &str| http().get(format!("{base}/v1/spaces/guests{path}")).send();
    for path in ["", "/archive", "/maps/ages/ada", "/documents/notes"] {
        assert_eq!(get(path).await.unwrap().status(), 409, "{path}");
    }
    let closed = failure(&output(&mut second.aether(&["map", "get", "guests", "ages", "ada"])), 1);
    assert!(closed.contains("closed on this node"), "{closed}");
    put(&first, "bob", json!(20)).await;
    assert!(run(&second, &["open", "guests"]).status.success());
    until("what came meanwhile", || has(&second, "bob")).await;

    let asked = failure(&run(&second, &["delete", "guests"]), 1);
    assert!(asked.contains("--yes"), "{asked}");
    assert!(run(&second, &["delete", "guests", "--yes"]).status.success());
    let gone = failure(&run(&second, &["open", "guests"]), 1);
    assert!(gone.contains("join it with a ticket"), "{gone}");
    assert!(has(&first, "ada").await, "others keep theirs");
    let ticket = stdout(&run(&first, &["ticket", "guests"]));
    assert!(run(&second, &["join", ticket.trim()]).status.success());
    until("all of it", || async { has(&second, "ada").await && has(&second, "bob").await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_a_space_that_was_opened_again_are_there() {
    let node = Node::start("documents again", &[]).await;
    assert!(run(&node, &["create", "guests"]).status.success());
    let base = format!("{}/v1/spaces/guests", node.client.url());
    let text = format!("{base}/documents/notes/text");
    let put = |text: String| http().put(text).body("hello").send();
    let written = put(text.clone()).await.unwrap();
    assert!(written.status().is_success(), "{written:?}");
    assert_eq!(http().post(format!("{base}/close")).send().await.unwrap().status(), 204);
    assert_eq!(http().get(&text).send().await.unwrap().status(), 409);
    assert_eq!(http().post(format!("{base}/open")).send().await.unwrap().status(), 200);
    let read = http().get(&text).send().await.unwrap();
    assert_eq!(read.status(), 200);
    assert!(read.text().await.unwrap().contains("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_is_compacted_by_its_owner_alone_and_shows_what_it_showed() {
    let (one, other) = together("compacted").await;
    for age in 0..5 {
        put(&one, "ada", json!(age)).await;
    }
    until("both hold all", async || state(&one).await == state(&other).await).await;
    let (_, before) = state(&one).await;

    let refused = failure(&run(&other, &["compact", "guests"]), 1);
    assert!(refused.contains("only an owner"), "{refused}");
    let looked = stderr(&run(&one, &["compact", "guests", "--dry-run"]));
    assert!(looked.contains("4 entries") && looked.contains("would go"), "{looked}");
    let done = run(&one, &["compact", "guests", "-o", "json"]);
    let told: Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!(told["entries"], 4);
    let again = stderr(&run(&one, &["compact", "guests"]));
    assert!(again.contains("0 entries"), "{again}");
    until("both dropped it", async || {
        let one = one.client.space("guests", true).await.unwrap();
        let other = other.client.space("guests", true).await.unwrap();
        assert_eq!((&one.state, &other.state), (&before, &before));
        let is_compacting = one.status.is_compacting || other.status.is_compacting;
        one.status.digest == other.status.digest && !is_compacting
    })
    .await;
}
