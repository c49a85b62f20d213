//! `aether pmap`, and the routes behind it.

use aether_node::{
    PmapCall,
    api::{Level, PmapStatus},
};
use serde_json::{Value, json};

use crate::support::{Node, failure, http, output, stderr, stdout, until, within};

fn run(node: &Node, arguments: &[&str]) -> std::process::Output {
    output(&mut node.aether(&[&["pmap"], arguments].concat()))
}

fn done(node: &Node, arguments: &[&str]) -> String {
    let done = run(node, arguments);
    assert!(done.status.success(), "{arguments:?}: {}", stderr(&done));
    stdout(&done)
}

async fn status(node: &Node) -> PmapStatus {
    node.client.pmap_status("ages").await.expect("it is there")
}

/// Waits until these nodes are all members, and hold what they own.
async fn settled(nodes: &[&Node]) {
    until("all to hold what they own", || async {
        let mut views = Vec::new();
        for node in nodes {
            let status = status(node).await;
            let is_whole = status.owned > 0 && status.whole.len() == status.owned;
            if !is_whole || !status.parting.is_empty() || status.members != nodes.len() {
                return false;
            }
            views.push(status.view);
        }
        views.iter().all(|view| *view == views[0])
    })
    .await;
}

/// Two nodes that serve a map of eight partitions, of two owners each.
async fn serving(mesh: &str) -> (Node, Node) {
    let (first, second) = Node::pair(mesh).await;
    let created = run(&first, &["create", "ages", "--partitions", "8", "--replicas", "2"]);
    assert!(stderr(&created).contains("aether pmap serve ages"), "{created:?}");
    let ticket = done(&first, &["ticket", "ages"]);
    assert_eq!(done(&second, &["join", ticket.trim()]), stdout(&created), "the same id");
    done(&first, &["serve", "ages"]);
    done(&second, &["serve", "ages"]);
    settled(&[&first, &second]).await;
    (first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_member_is_given_all_nodes_read() {
    let (first, second) = serving("pmaps").await;
    // A third takes part and holds nothing.
    let seed = first.client.status().await.unwrap().addresses[0].to_string();
    let third = Node::start("pmaps", &["--seed", &seed]).await;
    let ticket = done(&second, &["ticket", "ages"]);
    done(&third, &["join", ticket.trim()]);
    done(&first, &["put", "ages", "ada", "36"]);
    done(&third, &["put", "ages", "bob", "old", "--text", "--level", "all"]);
    assert_eq!(done(&second, &["get", "ages", "ada"]), "36\n");
    assert_eq!(done(&third, &["get", "ages", "ada", "--level", "all", "-o", "json"]), "36\n");
    assert_eq!(done(&first, &["get", "ages", "bob", "--all"]), "\"old\"\n");
    let keys: Vec<String> = (0..20).map(|n| format!("guest {n}")).collect();
    for key in &keys {
        let call = PmapCall { level: Level::Quorum, ..PmapCall::default() };
        third.client.put_pmap("ages", key, &json!(key), call).await.unwrap();
    }
    // Pages go through all partitions.
    let lines = done(&third, &["scan", "ages", "-o", "json"]);
    let mut scanned: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().into())
        .collect();
    scanned.sort();
    let mut expected = [&["ada".to_owned(), "bob".to_owned()][..], &keys].concat();
    expected.sort();
    assert_eq!(scanned, expected);
    let some = run(&first, &["scan", "ages", "--limit", "3"]);
    assert_eq!(stdout(&some).lines().count(), 4, "{some:?}");
    assert!(stderr(&some).contains("--limit"), "{some:?}");
    done(&second, &["remove", "ages", "ada", "bob"]);
    let missing = failure(&run(&third, &["get", "ages", "ada"]), 1);
    assert!(missing.contains("nothing is at the key"), "{missing}");

    let list = done(&third, &["list"]);
    assert!(list.contains("ages"), "{list}");
    let table = done(&third, &["status", "ages"]);
    assert!(table.contains("is no member") && table.contains("8 partitions"), "{table}");
    let table = done(&first, &["status", "ages"]);
    assert!(table.contains("8/8") && table.contains("0-7"), "{table}");
    let members = done(&third, &["members", "ages"]);
    let peer = second.client.status().await.unwrap().peer.to_string();
    assert!(members.contains(&peer) && members.contains("serves"), "{members}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_restarted_serves_and_one_that_retires_hands_over() {
    let (first, mut second) = serving("pmap restart").await;
    for n in 0..10 {
        done(&first, &["put", "ages", &format!("guest {n}"), &n.to_string(), "--level", "all"]);
    }
    second.program.signal("TERM");
    second.program.ended().await;
    let late = run(&first, &["get", "ages", "guest 1", "--level", "all", "--deadline", "500ms"]);
    let late = failure(&late, 4);
    assert!(late.contains("1 of the 2 owners") && late.contains("lower level"), "{late}");
    assert_eq!(done(&first, &["get", "ages", "guest 1", "--level", "one"]), "1\n");

    // Nobody tells it to serve.
    let seed = first.client.status().await.unwrap().addresses[0].to_string();
    let second = Node::start_in(second.home, "pmap restart", &["--seed", &seed]).await;
    let all = ["get", "ages", "guest 1", "--level", "all", "--deadline", "60s"];
    assert_eq!(done(&first, &all), "1\n");
    settled(&[&first, &second]).await;

    done(&first, &["retire", "ages"]);
    let gone = status(&first).await;
    assert!(!gone.is_member && gone.parting.is_empty(), "{gone:?}");
    settled(&[&second]).await;
    for n in 0..10 {
        assert_eq!(done(&first, &["get", "ages", &format!("guest {n}")]), format!("{n}\n"));
    }
    let last = failure(&run(&second, &["retire", "ages"]), 1);
    assert!(last.contains("last member"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_won_t_come_back_is_taken_from_the_members() {
    let (first, mut second) = serving("pmap expel").await;
    let peer = second.client.status().await.unwrap().peer.to_string();
    done(&first, &["put", "ages", "ada", "36"]);
    second.program.signal("KILL");
    second.program.ended().await;
    done(&first, &["expel", "ages", &peer]);
    settled(&[&first]).await;
    assert_eq!(done(&first, &["get", "ages", "ada", "--level", "all"]), "36\n");
    // The map goes with the space of its settings.
    assert!(output(&mut first.aether(&["space", "close", "ages"])).status.success());
    let closed = failure(&run(&first, &["get", "ages", "ada"]), 1);
    assert!(closed.contains("closed"), "{closed}");
    assert!(output(&mut first.aether(&["space", "open", "ages"])).status.success());
    assert_eq!(done(&first, &["get", "ages", "ada", "--deadline", "60s"]), "36\n");
    assert!(output(&mut first.aether(&["space", "delete", "ages", "--yes"])).status.success());
    let none = run(&first, &["list"]);
    assert!(stderr(&none).contains("aether pmap create"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_partitioned_maps_say_what_to_do() {
    let node = Node::start("pmap refusals", &[]).await;
    let (http, base) = (http(), format!("{}/v1/pmaps", node.client.url()));
    let create = |body: Value| http.post(&base).json(&body).send();
    let refused = create(json!({ "name": "m", "partitions": 0 })).await.unwrap();
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("1 to 1,024"));
    assert_eq!(create(json!({ "name": "m", "owners": 1 })).await.unwrap().status(), 422);
    assert_eq!(create(json!({ "name": "m" })).await.unwrap().status(), 201);
    let get = |path: &str| http.get(format!("{base}/{path}")).send();
    assert_eq!(get("nowhere").await.unwrap().status(), 404);
    let shown: PmapStatus = get("m").await.unwrap().json().await.unwrap();
    assert_eq!((shown.partitions, shown.replicas, shown.members), (64, 3, 0));
    let nobody = get("m/items/k?deadline_seconds=0.2").await.unwrap();
    assert_eq!(nobody.status(), 503);
    assert!(nobody.text().await.unwrap().contains("join its members"));
    assert_eq!(get("m/items?from=x").await.unwrap().status(), 422);
    assert_eq!(get("m/items/k?level=most").await.unwrap().status(), 400);
    let items = |key: &str| http.put(format!("{base}/m/items/{key}")).json(&json!(1)).send();
    assert_eq!(items(&"k".repeat(1025)).await.unwrap().status(), 413);
    let peer = http.delete(format!("{base}/m/members/someone")).send().await.unwrap();
    assert_eq!(peer.status(), 422);
    node.client.create_space("guests").await.unwrap();
    let other = get("guests").await.unwrap();
    assert_eq!(other.status(), 409);
    assert!(other.text().await.unwrap().contains("join the map by its ticket"));
    let members = run(&node, &["members", "m"]);
    assert!(stderr(&members).contains("aether pmap serve"), "{members:?}");
    let dots = failure(&run(&node, &["put", "m", "..", "1"]), 1);
    assert!(dots.contains("URL"), "{dots}");
    within("this node to serve", node.client.serve_pmap("m")).await.unwrap();
    assert_eq!(items("a%2Fb%20c").await.unwrap().status(), 204);
    let read = get("m/items/a%2Fb%20c?all=true&level=one").await.unwrap();
    assert_eq!(read.json::<Value>().await.unwrap(), json!([1]));
}
