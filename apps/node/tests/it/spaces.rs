//! `aether space` and `aether map`, and the routes behind them.

use aether_node::api::{MapBatch, MapEvent};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Node, failure, http, output, stdout, until, within};

/// Two nodes in a space, and its name.
pub(crate) async fn together(mesh: &str) -> (Node, Node) {
    let (first, second) = Node::pair(mesh).await;
    let done = output(&mut first.aether(&["space", "create", "guests"]));
    assert!(done.status.success(), "{done:?}");
    let ticket = stdout(&output(&mut first.aether(&["space", "ticket", "guests"])));
    let joined = output(&mut second.aether(&["space", "join", ticket.trim()]));
    assert_eq!(stdout(&joined), stdout(&done), "the same id: {joined:?}");
    (first, second)
}

async fn value(node: &Node, key: &str) -> Option<Value> {
    node.client.map_value("guests", "ages", key, false).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_puts_another_gets() {
    let (first, second) = together("maps").await;
    let run = |node: &Node, arguments: &[&str]| {
        let arguments = [&["map"], arguments].concat();
        output(&mut node.aether(&arguments))
    };
    let mut events = second.client.watch_map("guests", "ages", None).await.unwrap();
    assert!(run(&first, &["put", "guests", "ages", "ada", "36"]).status.success());
    assert!(run(&first, &["put", "guests", "ages", "bob", "old", "--text"]).status.success());
    until("the value", || async { value(&second, "bob").await.is_some() }).await;
    assert_eq!(stdout(&run(&second, &["get", "guests", "ages", "ada"])), "36\n");
    let scanned = run(&second, &["scan", "guests", "ages", "-o", "json"]);
    let lines = "{\"key\":\"ada\",\"value\":36}\n{\"key\":\"bob\",\"value\":\"old\"}\n";
    assert_eq!(stdout(&scanned), lines);
    let table = stdout(&run(&second, &["scan", "guests", "ages", "--prefix", "b"]));
    assert!(table.contains("\"old\"") && !table.contains("ada"), "{table}");
    assert!(run(&second, &["remove", "guests", "ages", "ada", "nobody"]).status.success());
    until("the removal", || async { value(&first, "ada").await.is_none() }).await;
    let missing = failure(&run(&first, &["get", "guests", "ages", "ada"]), 1);
    assert!(missing.contains("nothing is at the key"), "{missing}");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match within("a change", events.next()).await.unwrap().unwrap() {
            MapEvent::Put { key, .. } | MapEvent::Removed { key, .. } => seen.push(key),
            event => assert!(matches!(event, MapEvent::Begun { .. }), "{event:?}"),
        }
    }
    assert_eq!(seen, ["ada", "bob", "ada"]);
    let list = stdout(&output(&mut first.aether(&["space", "list"])));
    assert!(list.contains("guests"), "{list}");
    until("equal states", || async {
        let state = async |node: &Node| node.client.space("guests", true).await.unwrap().state;
        let (one, other) = (state(&first).await, state(&second).await);
        one.is_some() && one == other
    })
    .await;
    let text = failure(&run(&first, &["put", "guests", "ages", "x", "text"]), 1);
    assert!(text.contains("--text"), "{text}");
    let nowhere = failure(&run(&first, &["scan", "nowhere", "ages"]), 1);
    assert!(nowhere.contains("join it with a ticket"), "{nowhere}");
    let torn = failure(&output(&mut first.aether(&["space", "join", "space-abc"])), 1);
    assert!(torn.contains("not whole"), "{torn}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_imported_and_come_out_as_they_were() {
    let node = Node::start("map files", &[]).await;
    node.client.create_space("s").await.unwrap();
    let lines: String =
        (0..2_500).map(|n| format!("{{\"key\":\"k{n:04}\",\"value\":{n}}}\n")).collect();
    std::fs::write(node.home.path().join("in.jsonl"), &lines).unwrap();
    let run = |arguments: &[&str]| output(&mut node.aether(&[&["map"], arguments].concat()));
    let done = run(&["import", "s", "m", "in.jsonl", "-o", "json"]);
    assert_eq!(stdout(&done), "{\"put\":2500}\n", "{done:?}");
    assert_eq!(stdout(&run(&["export", "s", "m"])), lines);
    assert!(run(&["export", "s", "m", "out.csv"]).status.success());
    let there = failure(&run(&["export", "s", "m", "out.csv"]), 1);
    assert!(there.contains("nothing may be yet"), "{there}");
    assert!(run(&["import", "s", "other", "out.csv"]).status.success());
    assert_eq!(stdout(&run(&["export", "s", "other"])), lines);
    std::fs::write(node.home.path().join("bad.csv"), "key,value\na,1\nb,x\n").unwrap();
    let bad = failure(&run(&["import", "s", "m", "bad.csv"]), 1);
    assert!(bad.contains("record 2") && bad.contains("--text"), "{bad}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maps_are_read_by_pages_and_written_by_batches() {
    let node = Node::start("map pages", &[]).await;
    let (http, base) = (http(), format!("{}/v1/spaces", node.client.url()));
    let created = http.post(&base).json(&json!({ "name": "s" })).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let map = format!("{base}/s/maps/m");
    let put: serde_json::Map<_, _> =
        (0..250).map(|n| (format!("a/{n:03}"), json!(n))).chain([("b".into(), json!(0))]).collect();
    let write = |body: Value| http.post(&map).json(&body).send();
    assert_eq!(write(json!({ "put": put })).await.unwrap().status(), 204);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = node.client.map_page("s", "m", "a/", after.as_deref(), 100).await.unwrap();
        assert!(page.entries.len() <= 100);
        found.extend(page.entries.into_iter().map(|entry| entry.value));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..250).map(|n| json!(n)).collect::<Vec<_>>());
    let both = write(json!({ "put": { "x": 1 }, "remove": ["x"] })).await.unwrap();
    assert_eq!(both.status(), 422);
    assert_eq!(write(json!({ "puts": {} })).await.unwrap().status(), 422);
    assert_eq!(write(json!({ "put": { "k".repeat(1025): 1 } })).await.unwrap().status(), 413);
    assert_eq!(write(json!({ "remove": ["b"] })).await.unwrap().status(), 204);
    let key = format!("{map}/of%2Fa%20key");
    assert_eq!(http.put(&key).json(&json!({ "x": null })).send().await.unwrap().status(), 204);
    let read = http.get(format!("{key}?all=true")).send().await.unwrap();
    assert_eq!(read.json::<Value>().await.unwrap(), json!([{ "x": null }]));
    assert_eq!(http.delete(&key).send().await.unwrap().status(), 204);
    assert_eq!(http.get(&key).send().await.unwrap().status(), 404);
    http.post(&base).json(&json!({ "name": "s" })).send().await.unwrap();
    assert_eq!(http.get(&map).send().await.unwrap().status(), 409, "two have the name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_ended() {
    let node = Node::start("map watch", &[]).await;
    let space = node.client.create_space("s").await.unwrap().id;
    let batch = |keys: &[&str]| MapBatch {
        put: keys.iter().map(|key| ((*key).to_owned(), json!(key))).collect(),
        remove: Vec::new(),
    };
    let mut events = node.client.watch_map(&space, "m", None).await.unwrap();
    let begun = within("the begin", events.next()).await.unwrap().unwrap();
    let MapEvent::Begun { position: begin } = begun else { panic!("{begun:?}") };
    node.client.write_map(&space, "m", &batch(&["a", "b"])).await.unwrap();
    node.client.write_map(&space, "m", &batch(&["c"])).await.unwrap();
    // The ids are what a browser would send when it comes back.
    let url = format!("{}/v1/spaces/{space}/events/m", node.client.url());
    let request = http().get(url).header("last-event-id", begin);
    let mut response = request.send().await.unwrap();
    let mut text = String::new();
    while !text.contains("\"key\":\"c\"") {
        let chunk = within("an event", response.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let ids: Vec<u64> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    // Of a and b, written together, the first has the id from before: both come again behind it.
    assert_eq!(ids, [begin, begin, begin + 1, begin + 2], "{text}");
    let mut rest = node.client.watch_map(&space, "m", Some(begin + 1)).await.unwrap();
    within("the begin", rest.next()).await.unwrap().unwrap();
    let next = within("a change", rest.next()).await.unwrap().unwrap();
    assert!(matches!(&next, MapEvent::Put { key, .. } if key == "c"), "{next:?}");
    let command = ["map", "watch", &space, "m", "--after", &begin.to_string(), "--count", "3"];
    assert_eq!(stdout(&output(&mut node.aether(&command))), "a \"a\"\nb \"b\"\nc \"c\"\n");
    let late = ["map", "watch", &space, "m", "--count", "1", "--timeout", "100ms"];
    failure(&output(&mut node.aether(&late)), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_granted_a_role_reads_and_writes_until_it_is_taken_back() {
    let (first, second) = Node::pair("members").await;
    let run = |node: &Node, arguments: &[&str]| output(&mut node.aether(arguments));
    let done = run(&first, &["space", "create", "guests", "--access", "granted"]);
    assert!(done.status.success(), "{done:?}");
    let ticket = stdout(&run(&first, &["space", "ticket", "guests"]));
    assert!(run(&second, &["space", "join", ticket.trim()]).status.success());
    assert!(run(&first, &["map", "put", "guests", "ages", "ada", "36"]).status.success());
    let refused = failure(&run(&second, &["map", "put", "guests", "ages", "bob", "1"]), 1);
    assert!(refused.contains("ask one of its admins"), "{refused}");
    let peer = second.client.status().await.unwrap().peer.to_string();
    let refused = failure(&run(&second, &["space", "grant", "guests", &peer, "admin"]), 1);
    assert!(refused.contains("may not write"), "{refused}");
    assert!(run(&first, &["space", "grant", "guests", &peer, "writer"]).status.success());
    until("the value", || async { value(&second, "ada").await.is_some() }).await;
    let members = stdout(&run(&first, &["space", "members", "guests"]));
    assert!(members.contains(&peer) && members.contains("writer"), "{members}");
    assert!(run(&second, &["map", "put", "guests", "ages", "bob", "42"]).status.success());
    until("the other's value", || async { value(&first, "bob").await.is_some() }).await;
    assert!(run(&first, &["space", "expel", "guests", &peer]).status.success());
    // It isn't told that it was removed, and what it writes from now on nobody takes.
    run(&second, &["map", "put", "guests", "ages", "eve", "1"]);
    assert!(run(&first, &["map", "put", "guests", "ages", "late", "2"]).status.success());
    let again = run(&first, &["space", "grant", "guests", &peer, "reader"]);
    assert!(again.status.success(), "{again:?}");
    until("the reader to hear", || async { value(&second, "late").await.is_some() }).await;
    until("equal states", || async {
        let state = async |node: &Node| node.client.space("guests", true).await.unwrap().state;
        let (one, other) = (state(&first).await, state(&second).await);
        one.is_some() && one == other
    })
    .await;
    assert_eq!(value(&first, "bob").await, Some(json!(42)), "what was held stays");
    assert_eq!(value(&first, "eve").await, None);
    assert_eq!(value(&second, "eve").await, None);
}
