//! Nodes that run, and the commands that talk to them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use aether_node::api::TopicEvent;
use futures::StreamExt as _;
use serde_json::Value;

use crate::support::{Node, Running, failure, output, read_line, stderr, stdout, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_go_from_one_node_to_the_other() {
    let (alice, bob) = Node::pair("lines").await;
    let mut reader =
        Running::start(&mut bob.aether(&["topic", "subscribe", "t/ä", "--count", "3"]));
    let lines = reader.lines();
    let mut writer = alice.aether(&["topic", "publish", "t/ä", "--wait", "1", "--timeout", "60s"]);
    let mut writer = Running::start(writer.stdin(Stdio::piped()));
    // The first line arrives while the input is still open: lines are streamed.
    writer.write("one\n");
    let (line, lines) = read_line(lines).await;
    assert_eq!(line, "one\n");
    writer.write("two \u{1b}[31m\nthree\n");
    let (line, lines) = read_line(lines).await;
    assert_eq!(line, "two \\u{1b}[31m\n", "messages can't talk to the terminal");
    let (line, _lines) = read_line(lines).await;
    assert_eq!(line, "three\n");
    assert!(reader.ended().await.success());
    drop(writer.0.stdin.take());
    assert!(writer.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_for_each_line_works_too() {
    let (alice, bob) = Node::pair("processes").await;
    let mut messages = bob.client.subscribe("t").await.unwrap();
    let echo = std::process::Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn();
    let input = echo.unwrap().stdout.take().unwrap();
    let published = output(alice.aether(&["topic", "publish", "t", "-o", "json"]).stdin(input));
    let summary: Value = serde_json::from_str(&stdout(&published)).unwrap();
    assert_eq!(summary["published"], 1);
    let event = within("the message", messages.next()).await.unwrap().unwrap();
    let TopicEvent::Message { value, author, number, .. } = event else { panic!("{event:?}") };
    assert_eq!((value.as_str(), number), ("hello", 1));
    assert_eq!(author, alice.client.status().await.unwrap().peer);
    let topics = alice.client.topics().await.unwrap().topics;
    assert_eq!(topics, ["t"], "the topic stays joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_peers_are_shown_as_json_and_as_tables() {
    let (alice, bob) = Node::pair("shown").await;
    let status: Value =
        serde_json::from_str(&stdout(&output(&mut alice.aether(&["status", "-o", "json"]))))
            .unwrap();
    assert_eq!(status["mesh"]["name"], "shown");
    assert_eq!(status["members"], 1);
    let peers: Value =
        serde_json::from_str(&stdout(&output(&mut bob.aether(&["peers", "-o", "json"])))).unwrap();
    assert_eq!(peers[0]["peer"], status["peer"]);
    assert_eq!(peers[0]["direction"], "outbound");
    assert_eq!(peers[0]["state"], "alive");
    let table = stdout(&output(&mut bob.aether(&["peers"])));
    assert!(table.contains("LATENCY") && table.contains(status["peer"].as_str().unwrap()));
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");
    let table = stdout(&output(&mut alice.aether(&["status"])));
    assert!(table.contains("shown") && table.contains(alice.client.url()));
    let key = stdout(&output(&mut alice.aether(&["key", "show"])));
    assert_eq!(key.trim(), status["peer"].as_str().unwrap());
    // Another home finds the node by its URL.
    let mut elsewhere = bob.aether(&["status", "-o", "json"]);
    let elsewhere = output(elsewhere.env("AETHER_API", alice.client.url()));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&elsewhere)).unwrap()["peer"], status["peer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_stops_the_node_in_order() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::start("stop", &[]).await;
        let mut reader = Running::start(&mut node.aether(&["topic", "subscribe", "t"]));
        let events = node.client.subscribe("t").await.unwrap();
        let mut writer = node.aether(&["topic", "publish", "w"]);
        let mut writer = Running::start(writer.stdin(Stdio::piped()));
        writer.write("one\n");
        until("the line to be there", || async {
            node.client.topics().await.unwrap().topics.contains(&"w".to_owned())
        })
        .await;
        assert!(node.data().join("api.json").exists());
        node.program.signal(signal);
        assert_eq!(node.program.ended().await.code(), Some(0), "by SIG{signal}");
        assert!(!node.data().join("api.json").exists());
        assert_eq!(reader.ended().await.code(), Some(3), "its node has stopped");
        assert_eq!(writer.ended().await.code(), Some(1), "it was not done");
        drop(events);
        let message = failure(&output(&mut node.aether(&["status"])), 3);
        assert!(message.contains("no node runs on") && message.contains("aether run"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_told_from_none_and_starts_again() {
    let mut node = Node::start("dead", &[]).await;
    let peer = node.client.status().await.unwrap().peer;
    node.program.signal("KILL");
    node.program.ended().await;
    assert!(node.data().join("api.json").exists(), "nobody was there to remove it");
    let message = failure(&output(&mut node.aether(&["peers"])), 3);
    assert!(message.contains("no node answers at") && message.contains("api.json"), "{message}");
    fs::remove_file(node.data().join("api.json")).unwrap();
    let again = Node::start_in(node.home, "dead", &[]).await;
    assert_eq!(again.client.status().await.unwrap().peer, peer, "it has kept its identity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_end_as_they_are_told() {
    let node = Node::start("readers", &[]).await;
    let waited = ["topic", "subscribe", "t", "--timeout", "100ms"];
    assert!(output(&mut node.aether(&waited)).status.success());
    let message = failure(&output(node.aether(&waited).args(["--count", "1"])), 4);
    assert!(message.contains("100ms"), "{message}");
    let wait = ["topic", "publish", "t", "--wait", "1", "--timeout", "100ms"];
    let message = failure(&output(&mut node.aether(&wait)), 4);
    assert!(message.contains("0 connected nodes read the topic"), "{message}");
    let mut reader = Running::start(&mut node.aether(&["topic", "subscribe", "t"]));
    let mut said = BufReader::new(reader.0.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "subscribed to t\n");
    reader.signal("INT");
    let status = reader.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_output_that_leaves_is_no_error() {
    let (alice, bob) = Node::pair("pipe").await;
    let mut reader = Running::start(&mut bob.aether(&["topic", "subscribe", "t"]));
    drop(reader.0.stdout.take());
    let mut writer = alice.aether(&["topic", "publish", "t", "--wait", "1", "--timeout", "60s"]);
    let mut writer = Running::start(writer.stdin(Stdio::piped()));
    writer.write("one\n");
    assert_eq!(reader.ended().await.code(), Some(0));
    let mut said = String::new();
    reader.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "subscribed to t\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_json_and_warn_of_tokens_in_the_clear() {
    let home = tempfile::tempdir().unwrap();
    let mut command = crate::support::aether(home.path());
    command.args(["run", "--preset", "local", "--api", "0.0.0.0:0", "--api-auth", "token"]);
    command.args(["--log-format", "json"]);
    let mut node = Running::start(command.stderr(Stdio::piped()));
    let mut log = BufReader::new(node.0.stderr.take().unwrap());
    let reading = tokio::task::spawn_blocking(move || {
        let mut warned = false;
        loop {
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            let event: Value = serde_json::from_str(&line).expect("each line is JSON");
            let message = event["fields"]["message"].as_str().unwrap();
            warned |= event["level"] == "WARN" && message.contains("in the clear");
            if message == "node is up" {
                assert!(warned);
                return event;
            }
        }
    });
    let event = within("the node to be up", reading).await.unwrap();
    assert!(event["fields"]["api"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    node.signal("TERM");
    assert!(node.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_that_is_no_text_is_named() {
    let node = Node::start("input", &[]).await;
    fs::write(node.home.path().join("input"), b"one\n\xff\n").unwrap();
    let input = fs::File::open(node.home.path().join("input")).unwrap();
    let message = failure(&output(node.aether(&["topic", "publish", "t"]).stdin(input)), 1);
    assert!(message.contains("broke off: invalid utf-8"), "{message}");
}

#[test]
fn completions_and_version_are_printed() {
    let home = tempfile::tempdir().unwrap();
    let version = stdout(&output(crate::support::aether(home.path()).arg("--version")));
    assert_eq!(version.trim(), concat!("aether ", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let printed = output(crate::support::aether(home.path()).args(["completions", shell]));
        assert!(stdout(&printed).contains("aether"), "{shell}: {}", stderr(&printed));
    }
}
