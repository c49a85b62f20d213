//! The HTTP interface, as other programs see it.

use std::time::Duration;

use aether_node::api::{MemberChange, Problem, TopicEvent};
use futures::StreamExt as _;
use reqwest::{Response, StatusCode, header};
use serde_json::Value;

use crate::support::{Node, http, until, within};

async fn problem(response: Response, status: u16) -> Problem {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Problem = response.json().await.expect("a problem document");
    assert_eq!(problem.status, status);
    assert!(!problem.detail.is_empty());
    problem
}

fn messages(node: &Node, topic: &str) -> String {
    format!("{}/v1/topics/{topic}/messages", node.client.url())
}

/// All that the OpenAPI document describes.
const PATHS: [&str; 57] = [
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v1/access/membership",
    "/v1/access/revocations",
    "/v1/blobs",
    "/v1/blobs/add",
    "/v1/blobs/{id}",
    "/v1/blobs/{id}/export",
    "/v1/blobs/{id}/get",
    "/v1/blobs/{id}/pins/{name}",
    "/v1/members/events",
    "/v1/openapi.json",
    "/v1/peers",
    "/v1/peers/dial",
    "/v1/pmaps",
    "/v1/pmaps/join",
    "/v1/pmaps/{map}",
    "/v1/pmaps/{map}/items",
    "/v1/pmaps/{map}/items/{key}",
    "/v1/pmaps/{map}/members",
    "/v1/pmaps/{map}/members/{peer}",
    "/v1/pmaps/{map}/retire",
    "/v1/pmaps/{map}/serve",
    "/v1/pmaps/{map}/ticket",
    "/v1/services",
    "/v1/services/{service}/{endpoint}",
    "/v1/services/{service}/{endpoint}/every",
    "/v1/services/{service}/{endpoint}/items",
    "/v1/spaces",
    "/v1/spaces/import",
    "/v1/spaces/join",
    "/v1/spaces/{space}",
    "/v1/spaces/{space}/archive",
    "/v1/spaces/{space}/close",
    "/v1/spaces/{space}/compact",
    "/v1/spaces/{space}/documents/{document}",
    "/v1/spaces/{space}/documents/{document}/copy",
    "/v1/spaces/{space}/documents/{document}/events",
    "/v1/spaces/{space}/documents/{document}/history",
    "/v1/spaces/{space}/documents/{document}/redo",
    "/v1/spaces/{space}/documents/{document}/splices",
    "/v1/spaces/{space}/documents/{document}/text",
    "/v1/spaces/{space}/documents/{document}/undo",
    "/v1/spaces/{space}/events/{map}",
    "/v1/spaces/{space}/maps/{map}",
    "/v1/spaces/{space}/maps/{map}/{key}",
    "/v1/spaces/{space}/members",
    "/v1/spaces/{space}/members/{peer}",
    "/v1/spaces/{space}/open",
    "/v1/spaces/{space}/presence/{name}",
    "/v1/spaces/{space}/presence/{name}/events",
    "/v1/spaces/{space}/ticket",
    "/v1/status",
    "/v1/topics",
    "/v1/topics/{name}/messages",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described_and_answers() {
    let node = Node::start("described", &[]).await;
    let http = http();
    let base = node.client.url();
    let document = http.get(format!("{base}/v1/openapi.json")).send().await.unwrap();
    assert_eq!(document.headers()[header::CONTENT_TYPE], "application/json");
    let document: Value = document.json().await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(paths, PATHS);
    // What names a blob is refused for its name before all else, and an empty body is a blob. No
    // space or map is there to be named, and an empty body is no archive.
    let named = |path: &str| {
        let is_archive = path == "/v1/spaces/import";
        is_archive
            || path.starts_with("/v1/blobs")
            || path.contains("{space}")
            || path.contains("{map}")
    };
    for path in paths.iter().filter(|path| !named(path)) {
        let operations = document["paths"][path].as_object().unwrap();
        let url = format!("{base}{}", path.replace("{name}", "t"));
        if operations.contains_key("get") {
            assert_eq!(http.get(&url).send().await.unwrap().status(), StatusCode::OK, "{path}");
        }
        if operations.contains_key("post") {
            let status = http.post(&url).send().await.unwrap().status();
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        }
    }
    for name in ["Status", "Peer", "Problem", "TopicEvent", "MemberChange", "Published", "Dial"] {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is described");
    }
    let publish = &document["paths"]["/v1/topics/{name}/messages"]["post"];
    let names: Vec<_> =
        publish["parameters"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["name", "wait_neighbours", "timeout_seconds"]);
    assert!(publish["requestBody"]["content"].get("application/x-ndjson").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_problem_documents() {
    let node = Node::start("problems", &[]).await;
    let http = http();
    let base = node.client.url();
    problem(http.get(format!("{base}/v1/nothing")).send().await.unwrap(), 404).await;
    let response = http.delete(format!("{base}/v1/status")).send().await.unwrap();
    assert!(response.headers().contains_key(header::ALLOW));
    problem(response, 405).await;
    let dial = |body: &'static str| {
        let request = http.post(format!("{base}/v1/peers/dial")).body(body);
        request.header(header::CONTENT_TYPE, "application/json").send()
    };
    problem(dial("{").await.unwrap(), 400).await;
    let refused = problem(dial("{\"address\":\"nonsense\"}").await.unwrap(), 422).await;
    assert!(refused.detail.contains("nonsense"));
    let publish = |topic: &str, kind: &'static str, body: String| {
        let (topic, query) = topic.split_once('?').unwrap_or((topic, ""));
        let url = format!("{}?{query}", messages(&node, topic));
        http.post(url).header(header::CONTENT_TYPE, kind).body(body).send()
    };
    problem(publish("t", "application/json", "{}".into()).await.unwrap(), 415).await;
    problem(publish(&"n".repeat(256), "text/plain", "x".into()).await.unwrap(), 422).await;
    let too_large = "x".repeat(aether_mesh::MAX_MESSAGE);
    problem(publish("t", "text/plain", too_large).await.unwrap(), 413).await;
    problem(publish("t?wait_neigbours=1", "text/plain", "x".into()).await.unwrap(), 400).await;
    let lines = "\"one\"\n\"two\"\nthree\n\"four\"\n".to_owned();
    let refused = problem(publish("t", "application/x-ndjson", lines).await.unwrap(), 422).await;
    assert!(refused.detail.contains("line 3"), "{refused:?}");
    assert_eq!(refused.published, Some(2));
    let endless = "x".repeat(1_000_000);
    let refused = problem(publish("t", "application/x-ndjson", endless).await.unwrap(), 413).await;
    assert!(refused.detail.contains("line 1"), "{refused:?}");
    let waiting = publish("t?wait_neighbours=1&timeout_seconds=0.1", "text/plain", "x".into());
    problem(waiting.await.unwrap(), 504).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_larger_than_an_envelope_comes_through() {
    let (alice, bob) = Node::pair("larger").await;
    let mut heard = bob.client.subscribe("t").await.unwrap();
    let url = format!("{}?wait_neighbours=1", messages(&alice, "t"));
    let text = "all of it ".repeat(40_000);
    let request = http().post(url).header(header::CONTENT_TYPE, "text/plain").body(text.clone());
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let event = within("the message", heard.next()).await.unwrap().unwrap();
    let TopicEvent::Message { value, .. } = event else { panic!("{event:?}") };
    assert!(value == text, "{} bytes came", value.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_are_kept_out() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("c.toml"), "[api]\nhosts = ['node1.example']\n").unwrap();
    let node = Node::start_in(home, "pages", &["--config", "c.toml"]).await;
    let http = http();
    let status = format!("{}/v1/status", node.client.url());
    let with = |name: header::HeaderName, value: &str| http.get(&status).header(name, value).send();
    let port = node.address().rsplit_once(':').unwrap().1;
    let own = with(header::ORIGIN, node.client.url()).await.unwrap();
    assert_eq!(own.status(), StatusCode::OK);
    for name in ["localhost", "node1.example"] {
        let named = with(header::HOST, &format!("{name}:{port}")).await.unwrap();
        assert_eq!(named.status(), StatusCode::OK, "{name}");
    }
    for origin in ["http://evil.example", "null"] {
        let refused = problem(with(header::ORIGIN, origin).await.unwrap(), 403).await;
        assert!(refused.detail.contains("origins"), "{refused:?}");
    }
    let rebound = with(header::HOST, &format!("evil.example:{port}")).await.unwrap();
    assert!(problem(rebound, 403).await.detail.contains("api.hosts"));
    // What changes something is refused in the same way, and changes nothing.
    let publish = http.post(messages(&node, "t")).header(header::CONTENT_TYPE, "text/plain");
    let publish = publish.header(header::ORIGIN, "http://evil.example").body("x");
    problem(publish.send().await.unwrap(), 403).await;
    assert!(node.client.topics().await.unwrap().topics.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_stream_through_in_order() {
    const COUNT: u64 = 20_000;
    let (alice, bob) = Node::pair("many").await;
    let mut events = bob.client.subscribe("t").await.unwrap();
    let messages =
        futures::stream::iter((0..COUNT).map(|n| Ok::<_, std::io::Error>(format!("{n}"))));
    let publishing = alice.client.publish("t", messages, 1, Duration::from_secs(60));
    let reading = async {
        for expected in 0..COUNT {
            match within("a message", events.next()).await.unwrap().unwrap() {
                TopicEvent::Message { value, number, .. } => {
                    assert_eq!((value, number), (expected.to_string(), expected + 1));
                }
                event => panic!("{event:?} instead of message {expected}"),
            }
        }
    };
    let (published, ()) = tokio::join!(publishing, reading);
    let published = published.unwrap();
    assert_eq!((published.published, published.neighbours), (COUNT, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_and_freed() {
    let node = Node::start("bounded", &[]).await;
    let mut streams = Vec::new();
    let refused = loop {
        match node.client.subscribe("t").await {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
        assert!(streams.len() <= 64);
    };
    assert!(refused.to_string().contains("64 streams are open"), "{refused}");
    let busy = http().get(messages(&node, "t")).send().await.unwrap();
    assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
    problem(busy, 503).await;
    assert!(node.client.status().await.is_ok(), "questions are still answered");
    streams.clear();
    until("a stream to be free", || async { node.client.subscribe("t").await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let alice = Node::start("come", &[]).await;
    let mut changes = alice.client.member_events().await.unwrap();
    let mut bob = Node::start("come", &[]).await;
    let peer = bob.client.status().await.unwrap().peer;
    let address = bob.client.status().await.unwrap().addresses[0].to_string();
    alice.client.dial(&address).await.unwrap();
    let mut next = async || within("a change", changes.next()).await.unwrap().unwrap();
    while next().await != (MemberChange::Joined { peer }) {}
    bob.program.signal("TERM");
    bob.program.ended().await;
    while next().await != (MemberChange::Left { peer }) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_why_not() {
    let health = async |node: &Node, path: &str| {
        let response = http().get(format!("{}{path}", node.client.url())).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    // Port 9 of loopback: nobody is there, or nobody that speaks libp2p.
    let lonely = Node::start("ready", &["--seed", "/ip4/127.0.0.1/tcp/9"]).await;
    assert_eq!(health(&lonely, "/health/live").await.0, 200);
    for path in ["/health", "/health/ready"] {
        let (status, body) = health(&lonely, path).await;
        assert_eq!(status, 503);
        assert!(
            body["reasons"][0].as_str().unwrap().contains("not connected to any peer"),
            "{body}"
        );
    }
    let first = Node::start("ready", &[]).await;
    let (status, body) = health(&first, "/health/ready").await;
    assert_eq!((status, &body["ok"]), (200, &Value::Bool(true)), "{body}");
    let address = first.client.status().await.unwrap().addresses[0].to_string();
    lonely.client.dial(&address).await.unwrap();
    until("the peer to connect", || async { health(&lonely, "/health/ready").await.0 == 200 })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_openmetrics_of_both_layers() {
    let node = Node::start("metrics", &[]).await;
    let response = http().get(format!("{}/metrics", node.client.url())).send().await.unwrap();
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = response.text().await.unwrap();
    assert!(text.contains("aether_mesh_build_info"), "{text}");
    assert!(text.contains("libp2p_"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}
