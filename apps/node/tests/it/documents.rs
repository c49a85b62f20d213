//! `aether doc`, and the routes behind it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use aether_node::api::{
    DocumentAction, DocumentChange, DocumentEvent, DocumentOrigin, DocumentSplice,
};
use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    secured::token,
    spaces::together,
    support::{Node, Running, failure, http, output, read_line, stderr, stdout, until, within},
};

fn doc(node: &Node, arguments: &[&str]) -> Output {
    output(&mut node.aether(&[&["doc"], arguments].concat()))
}

async fn text(node: &Node) -> String {
    node.client.document_text("guests", "notes", None).await.expect("it runs")
}

async fn shows(node: &Node, expected: &str) {
    until(expected, || async { text(node).await == expected }).await;
}

async fn write(node: &Node, text: &str) -> Vec<String> {
    let written = node.client.write_document("guests", "notes", None, text.to_owned()).await;
    written.expect("it runs").version
}

async fn splice(node: &Node, at: usize, delete: usize, insert: &str) {
    let splice = DocumentSplice { at, delete, insert: insert.to_owned() };
    node.client.splice_document("guests", "notes", &[splice]).await.expect("it is in the text");
}

async fn history(node: &Node) -> Vec<DocumentChange> {
    node.client.document_history("guests", "notes").await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_one_text_and_see_who_wrote_what() {
    let (first, second) = together("documents").await;
    fs::write(first.home.path().join("in.txt"), "one\ntwo\n").unwrap();
    let wrote = doc(&first, &["write", "guests", "notes", "in.txt"]);
    assert!(wrote.status.success(), "{wrote:?}");
    shows(&second, "one\ntwo\n").await;
    splice(&second, 4, 3, "zwei").await;
    shows(&first, "one\nzwei\n").await;
    assert_eq!(stdout(&doc(&first, &["show", "guests", "notes"])), "one\nzwei\n");
    let whole = stdout(&doc(&first, &["show", "guests", "notes", "-o", "json"]));
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["content"], json!({ "text": "one\nzwei\n" }));
    let changes = history(&second).await;
    assert_eq!(changes.len(), 2, "{changes:?}");
    let peers = [&first, &second].map(async |node| node.client.status().await.unwrap().peer);
    let [one, other] = peers;
    let authors: Vec<_> = changes.iter().map(|change| change.author).collect();
    assert_eq!(authors, [one.await, other.await], "oldest first");
    assert_eq!(whole["version"], json!([changes[1].change]));
    assert_eq!(changes[1].deps, [changes[0].change.clone()]);
    let table = stdout(&doc(&second, &["history", "guests", "notes"]));
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].trim().starts_with("TIME") && lines.len() == 3, "{table}");
    assert!(lines[2].contains(&changes[1].change[..16]), "the newest last: {table}");
    // What was before, by the beginning of a change's hash.
    let before = &changes[0].change[..16];
    let shown = doc(&first, &["show", "guests", "notes", "--at", before]);
    assert_eq!(stdout(&shown), "one\ntwo\n", "{shown:?}");
    let differs = stdout(&doc(&first, &["diff", "guests", "notes", before]));
    let header = format!("--- notes {before}\n+++ notes now\n");
    assert_eq!(differs, format!("{header}@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n"));
    let same = doc(&first, &["diff", "guests", "notes", before, before]);
    assert_eq!((stdout(&same), stderr(&same)), (String::new(), "no difference\n".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_takes_back_what_this_node_wrote_and_nothing_else() {
    let (first, second) = together("undo").await;
    write(&first, "mine\n").await;
    shows(&second, "mine\n").await;
    splice(&second, 5, 0, "yours\n").await;
    shows(&first, "mine\nyours\n").await;
    let done = doc(&first, &["undo", "guests", "notes"]);
    assert_eq!(stderr(&done), "done\n", "it was remembered between commands");
    shows(&second, "yours\n").await;
    let none = doc(&first, &["undo", "guests", "notes", "-o", "json"]);
    assert_eq!(stdout(&none), "{\"done\":false}\n");
    let none = doc(&first, &["undo", "guests", "notes"]);
    assert!(none.status.success() && stderr(&none).contains("nothing to take back"), "{none:?}");
    let again = doc(&first, &["redo", "guests", "notes", "-o", "json"]);
    assert_eq!(stdout(&again), "{\"done\":true}\n");
    shows(&second, "mine\nyours\n").await;
}

/// An editor that waits until it may go on, and then does something to its last argument. What it
/// was given is in the file `opened`, renamed so that it is whole as soon as it is there.
fn editor(home: &Path, does: &str) {
    let script = format!(
        "#!/bin/sh\nfor file; do :; done\necho \"$file\" > opening\nmv opening opened\n\
         until [ -e go ]; do sleep 0.02; done\n{does}\n"
    );
    let path = home.join("editor");
    fs::write(&path, script).expect("a script can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("and run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_merged_with_what_others_type_meanwhile() {
    let (first, second) = together("edit").await;
    write(&first, "one\ntwo\nthree\n").await;
    shows(&second, "one\ntwo\nthree\n").await;
    let home = first.home.path();
    editor(home, "sed 's/two/two and a half/' \"$file\" > new && mv new \"$file\"");
    let mut command = first.aether(&["doc", "edit", "guests", "notes"]);
    let mut edit = Running::start(command.env("VISUAL", "./editor --wait").env("EDITOR", "false"));
    until("the editor", || async { home.join("opened").exists() }).await;
    let opened = fs::read_to_string(home.join("opened")).unwrap();
    assert!(opened.trim().ends_with(".txt"), "{opened}");
    splice(&second, 0, 3, "ONE").await;
    splice(&second, 7, 0, "(here) ").await;
    shows(&first, "ONE\ntwo(here) \nthree\n").await;
    fs::write(home.join("go"), "").unwrap();
    assert!(edit.ended().await.success());
    shows(&second, "ONE\ntwo and a half(here) \nthree\n").await;
    assert!(!Path::new(opened.trim()).exists(), "the file is gone");
    // Nothing changed, and an editor that fails.
    let run = |editor: &str| {
        let mut command = first.aether(&["doc", "edit", "guests", "notes"]);
        output(command.env_remove("VISUAL").env("EDITOR", editor))
    };
    let changes = history(&first).await.len();
    assert_eq!(stderr(&run("true")), "nothing was changed\n");
    let failed = failure(&run("false"), 1);
    assert!(failed.contains("$EDITOR"), "{failed}");
    // What was typed before it failed is kept.
    let failed = failure(&run("sh -c 'echo precious > \"$1\"; exit 3' sh"), 1);
    let path = failed.split("kept in ").nth(1).unwrap().split(": ").next().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "precious\n");
    fs::remove_file(path).unwrap();
    assert_eq!(history(&first).await.len(), changes, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_typed_is_kept_when_it_can_not_be_merged() {
    let node = Node::start("kept", &[]).await;
    node.client.create_space("guests").await.unwrap();
    write(&node, "a\n").await;
    let mut command = node.aether(&["doc", "edit", "guests", "notes"]);
    let large = "head -c 5000000 /dev/zero | tr '\\0' x >";
    let edited = output(command.env_remove("VISUAL").env("EDITOR", large));
    // The redirection is the shell's: the file is its argument.
    let message = failure(&edited, 1);
    let path = message.split("kept in ").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), 5_000_000, "{message}");
    assert!(message.contains("aether doc write guests notes FILE"), "{message}");
    fs::remove_file(path).unwrap();
    assert_eq!(text(&node).await, "a\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_prints_what_changes_wherever_it_was_written() {
    let (first, second) = together("watch").await;
    write(&first, "one\ntwo\n").await;
    shows(&second, "one\ntwo\n").await;
    let start = |more: &[&str]| {
        let arguments = [&["doc", "watch", "guests", "notes", "--count", "1"], more].concat();
        let mut watch = Running::start(&mut second.aether(&arguments));
        let said = std::io::BufReader::new(watch.0.stderr.take().unwrap());
        (watch, said)
    };
    for more in [&[][..], &["-o", "json"]] {
        let (mut watch, said) = start(more);
        let begun = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut { said }, &mut line).map(|_| line)
        });
        let begun = within("the begin", begun).await.unwrap().unwrap();
        assert_eq!(begun, "watching notes\n");
        splice(&first, 0, 0, if more.is_empty() { "> " } else { "* " }).await;
        let (line, mut rest) = read_line(watch.lines()).await;
        if more.is_empty() {
            let mut all = line;
            std::io::Read::read_to_string(&mut rest, &mut all).unwrap();
            assert_eq!(all, "@@ -1 +1 @@\n-one\n+> one\n");
        } else {
            let event: Value = serde_json::from_str(&line).unwrap();
            let patch = json!({ "path": ["text"], "action": "splice", "at": 0, "text": "* " });
            let patches = json!([patch]);
            let expected = json!({ "event": "patches", "origin": "remote", "patches": patches });
            assert_eq!(event, expected);
        }
        assert!(watch.ended().await.success());
    }
    let late = ["watch", "guests", "notes", "--count", "1", "--timeout", "100ms"];
    failure(&doc(&second, &late), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_what_the_events_say_shows_the_same() {
    let node = Node::start("document events", &[]).await;
    node.client.create_space("guests").await.unwrap();
    let mut events = node.client.watch_document("guests", "notes").await.unwrap();
    let mut shown: Vec<char> = Vec::new();
    let texts = ["a first line\n", "a second line\nand more\n", "more\n", ""];
    for text in texts {
        write(&node, text).await;
        while shown.iter().collect::<String>() != text {
            let event = within("an event", events.next()).await.unwrap().unwrap();
            let DocumentEvent::Patches { origin, patches } = event else { panic!("{event:?}") };
            assert_eq!(origin, DocumentOrigin::Local);
            for patch in patches {
                assert_eq!(patch.path, [json!("text")]);
                match patch.action {
                    DocumentAction::Splice { at, text } => {
                        shown.splice(at..at, text.chars());
                    }
                    DocumentAction::Delete { at, length } => drop(shown.drain(at..at + length)),
                    action => panic!("{action:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_version_and_what_is_too_large_are_refused_with_what_to_do() {
    let node = Node::start("document limits", &[]).await;
    node.client.create_space("guests").await.unwrap();
    let document = format!("{}/v1/spaces/guests/documents/notes", node.client.url());
    let (http, version) = (http(), write(&node, "text").await);
    let put =
        |query: &str, body: String| http.put(format!("{document}/text{query}")).body(body).send();
    let unknown = "0".repeat(64);
    for (at, status) in [("abc", 422), ("", 422), (&unknown[..], 404), (&version[0][..], 200)] {
        for path in ["", "/text"] {
            let read = http.get(format!("{document}{path}?at={at}")).send().await.unwrap();
            assert_eq!(read.status(), status, "{path}?at={at}");
        }
        let base = put(&format!("?base={at}"), "text".into()).await.unwrap();
        assert_eq!(base.status(), status, "?base={at}");
    }
    let wrong = failure(&doc(&node, &["show", "guests", "notes", "--at", "xyz"]), 1);
    assert!(wrong.contains("aether doc history"), "{wrong}");
    let wrong = failure(&doc(&node, &["diff", "guests", "notes", &unknown]), 1);
    assert!(wrong.contains("its history names"), "{wrong}");
    let large = put("", "x".repeat((4 << 20) + 1)).await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let splices = |splices: Value| http.post(format!("{document}/splices")).json(&splices).send();
    let one = json!({ "at": 0 });
    assert_eq!(splices(json!(vec![one; 4_097])).await.unwrap().status(), 413);
    let beyond = json!([{ "at": 0, "insert": "x" }, { "at": 6, "delete": 1 }]);
    let beyond = splices(beyond).await.unwrap();
    assert_eq!(beyond.status(), 422);
    assert!(beyond.text().await.unwrap().contains("splice 1 reaches beyond"));
    assert_eq!(text(&node).await, "text", "all or nothing");
    // More than one edit holds, in a document whose name is no plain word.
    let long = "0123456789".repeat(15_000);
    let client = &node.client;
    client.write_document("guests", "a/b ?", None, long.clone()).await.unwrap();
    assert_eq!(client.document_text("guests", "a/b ?", None).await.unwrap(), long);
    let changes = client.document_history("guests", "a/b ?").await.unwrap();
    assert!(changes.len() > 1 && changes.iter().all(|change| change.operations <= 100_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_readers_token_may_read_and_not_write() {
    let node = Node::start("document roles", &["--api-auth", "token"]).await;
    node.client.create_space("guests").await.unwrap();
    write(&node, "text").await;
    let document = format!("{}/v1/spaces/guests/documents/notes", node.client.url());
    let (http, reader) = (http(), token(node.home.path(), "reader"));
    for path in ["", "/text", "/history", "/events"] {
        let read = http.get(format!("{document}{path}")).bearer_auth(&reader).send().await.unwrap();
        assert_eq!(read.status(), 200, "{path}");
    }
    let writes = [
        (Method::PUT, "/text"),
        (Method::POST, "/splices"),
        (Method::POST, "/undo"),
        (Method::POST, "/redo"),
    ];
    for (method, path) in writes {
        let request = http.request(method, format!("{document}{path}")).bearer_auth(&reader);
        assert_eq!(request.send().await.unwrap().status(), 403, "{path}");
    }
    assert_eq!(text(&node).await, "text");
}
