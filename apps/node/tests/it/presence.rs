//! `aether doc presence` and `aether doc copy`, and the routes behind them.

use aether_node::api::{PresenceEvent, Present};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::json;

use crate::{
    secured::token,
    spaces::together,
    support::{Node, Running, failure, http, output, read_line, stderr, stdout, until, within},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_at_a_document_is_shown_with_what_they_say() {
    let (first, second) = together("presence").await;
    let peer = first.client.status().await.unwrap().peer;
    let mut events = second.client.watch_presence("guests", "notes").await.unwrap();
    first.client.say_presence("guests", "notes", &json!({ "at": 3 })).await.unwrap();
    let mut next = async || within("an event", events.next()).await.unwrap().unwrap();
    let says = |value| PresenceEvent::Says(Present { peer, value });
    assert_eq!(next().await, says(json!({ "at": 3 })));
    let others = second.client.presence("guests", "notes").await.unwrap();
    assert_eq!(others, [Present { peer, value: json!({ "at": 3 }) }]);
    assert!(second.client.presence("guests", "other").await.unwrap().is_empty());
    assert!(first.client.presence("guests", "notes").await.unwrap().is_empty(), "not itself");
    first.client.clear_presence("guests", "notes").await.unwrap();
    assert_eq!(next().await, PresenceEvent::Gone { peer });

    // At the prompt: what is said while the command runs, by text or JSON, until it ends.
    let arguments = ["doc", "presence", "guests", "notes", "--say", "reading", "--count", "1"];
    let mut reader = Running::start(&mut first.aether(&arguments));
    assert_eq!(next().await, says(json!("reading")));
    second.client.say_presence("guests", "notes", &json!("here too")).await.unwrap();
    let other = second.client.status().await.unwrap().peer;
    let (line, _rest) = read_line(reader.lines()).await;
    assert_eq!(line, format!("{other} here too\n"));
    assert_eq!(next().await, PresenceEvent::Gone { peer });
    let alone = ["doc", "presence", "guests", "empty", "--count", "1", "--timeout", "100ms"];
    failure(&output(&mut first.aether(&alone)), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_and_readers_say_nothing() {
    let node = Node::start("presence roles", &["--api-auth", "token"]).await;
    node.client.create_space("guests").await.unwrap();
    let url = format!("{}/v1/spaces/guests/presence/notes", node.client.url());
    let (http, reader) = (http(), token(node.home.path(), "reader"));
    for path in ["", "/events"] {
        let read = http.get(format!("{url}{path}")).bearer_auth(&reader).send().await.unwrap();
        assert_eq!(read.status(), 200, "{path}");
    }
    let copy = format!("{}/v1/spaces/guests/documents/notes/copy", node.client.url());
    for (method, url) in [(Method::PUT, &url), (Method::DELETE, &url), (Method::POST, &copy)] {
        let request = http.request(method, url).json(&json!({ "to": "x" }));
        assert_eq!(request.bearer_auth(&reader).send().await.unwrap().status(), 403, "{url}");
    }
    let large = node.client.say_presence("guests", "notes", &json!("x".repeat(5_000))).await;
    assert!(large.unwrap_err().to_string().contains("at most 4096 bytes"));
    let none = node.client.presence("nobody", "notes").await.unwrap_err();
    assert!(none.to_string().contains("nobody"), "{none}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_copied_without_its_history() {
    let (first, second) = together("copies").await;
    for text in ["one\n", "one\ntwo\n", "two\n"] {
        first.client.write_document("guests", "notes", None, text.to_owned()).await.unwrap();
    }
    let before = first.client.document("guests", "notes", None).await.unwrap();
    let done = output(&mut first.aether(&["doc", "copy", "guests", "notes", "fresh"]));
    assert!(stderr(&done).contains("fresh has what notes shows"), "{done:?}");
    let shows = async || second.client.document_text("guests", "fresh", None).await.unwrap();
    until("it is there", || async { shows().await == "two\n" }).await;
    let copy = second.client.document("guests", "fresh", None).await.unwrap();
    assert_eq!(copy.content["copied_from"]["document"], json!("notes"));
    assert_eq!(copy.content["copied_from"]["version"], json!(before.version));
    assert_eq!(second.client.document_history("guests", "fresh").await.unwrap().len(), 1);
    let again = output(&mut first.aether(&["doc", "copy", "guests", "notes", "fresh"]));
    assert!(failure(&again, 1).contains("choose another name"));
    assert_eq!(stdout(&again), "");
}
