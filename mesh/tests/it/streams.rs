//! Streams by name.

use std::time::Duration;

use aether_mesh::{AcceptError, Incoming, MAX_STREAM_NAME, Node, OpenError, PeerId, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{builder, nodes, shutdown, until, within};

/// Sends back what comes on each stream, until the other end has said all.
fn echo(mut incoming: Incoming) {
    tokio::spawn(async move {
        while let Some(stream) = incoming.next().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
}

async fn ask(mut stream: Stream, question: &[u8]) -> Vec<u8> {
    stream.write_all(question).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

async fn pair(mesh: &str) -> (Node, Node) {
    let mut nodes = nodes(mesh, 2).await;
    let second = nodes.pop().unwrap();
    (nodes.pop().unwrap(), second)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
    let (first, second) = pair("streams").await;
    let mut incoming = first.accept_streams("talk").await.unwrap();
    let mut opened = within("a stream", second.open_stream(first.id(), "talk")).await.unwrap();
    opened.write_all(b"question").await.unwrap();
    opened.shutdown().await.unwrap();
    let mut taken = within("the other end", incoming.next()).await.unwrap();
    assert_eq!((taken.peer(), taken.name()), (second.id(), "talk"));
    assert_eq!((opened.peer(), opened.name()), (first.id(), "talk"));
    let mut heard = String::new();
    taken.read_to_string(&mut heard).await.unwrap();
    taken.write_all(format!("answer to a {heard}").as_bytes()).await.unwrap();
    taken.shutdown().await.unwrap();
    heard.clear();
    opened.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "answer to a question");
    shutdown(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_are_all_taken() {
    let (first, second) = pair("streams at once").await;
    echo(first.accept_streams("echo").await.unwrap());
    let asked = (0..100u32).map(|n| {
        let (second, first) = (second.clone(), first.id());
        tokio::spawn(async move {
            let question = vec![n as u8; 1000 * n as usize];
            let stream = second.open_stream(first, "echo").await.unwrap();
            assert_eq!(ask(stream, &question).await, question);
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        within("an answer", asked).await.unwrap();
    }
    shutdown(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (first, second) = pair("streams wait").await;
    let mut incoming = first.accept_streams("slow").await.unwrap();
    let mut opened = second.open_stream(first.id(), "slow").await.unwrap();
    // Far more than all buffers between the two.
    let size = 64 * 1024 * 1024;
    let writing = tokio::spawn(async move {
        let chunk = vec![7; 1024 * 1024];
        for _ in 0..size / chunk.len() {
            opened.write_all(&chunk).await.unwrap();
        }
        opened.shutdown().await.unwrap();
    });
    let mut taken = within("the other end", incoming.next()).await.unwrap();
    taken.read_exact(&mut [0; 1]).await.unwrap();
    assert!(!writing.is_finished(), "64 MiB are on the way and nobody reads");
    let mut rest = Vec::new();
    within("all of it", taken.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest.len() + 1, size);
    within("the writer", writing).await.unwrap();
    shutdown(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_the_address_of_a_peer_that_is_only_known_by_name() {
    let first = builder("by name").spawn().await.unwrap();
    let second = builder("by name").spawn().await.unwrap();
    let mut incoming = first.accept_streams("talk").await.unwrap();
    let opening = second.open_stream(first.id(), "talk");
    let telling = async {
        // Time for the dial without an address to fail; if it hasn't, the stream still comes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        for address in first.addresses().await.unwrap() {
            second.dial(address).await.unwrap();
        }
    };
    let (opened, ()) = within("a stream", async { tokio::join!(opening, telling) }).await;
    assert_eq!(opened.unwrap().peer(), first.id());
    assert_eq!(within("its end", incoming.next()).await.unwrap().peer(), second.id());
    shutdown(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_opened_says_why() {
    let (first, second) = pair("streams not").await;
    let refused = second.open_stream(first.id(), "nothing").await.unwrap_err();
    let expected = OpenError::NotTaken { peer: first.id(), name: "nothing".into() };
    assert_eq!(refused, expected);
    let nobody = PeerId::random();
    let refused = within("a refusal", second.open_stream(nobody, "talk")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable { peer, .. } if peer == nobody), "{refused}");
    let refused = second.open_stream(second.id(), "talk").await.unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused}");
    for name in [String::new(), "a b".into(), "ä".into(), "x".repeat(MAX_STREAM_NAME + 1)] {
        let refused = second.open_stream(first.id(), &name).await.unwrap_err();
        assert_eq!(refused, OpenError::Name { name: name.clone() });
        let refused = second.accept_streams(&name).await.unwrap_err();
        assert_eq!(refused, AcceptError::Name { name });
    }
    first.shutdown().await;
    let gone = within("a refusal", second.open_stream(first.id(), "talk")).await.unwrap_err();
    assert!(matches!(gone, OpenError::Unreachable { .. }), "{gone}");
    second.shutdown().await;
    let closed = second.open_stream(first.id(), "talk").await.unwrap_err();
    assert!(matches!(closed, OpenError::Closed(_)), "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_one_taker_and_is_free_when_it_goes() {
    let (first, second) = pair("streams taker").await;
    let incoming = first.accept_streams("one").await.unwrap();
    let taken = first.accept_streams("one").await.unwrap_err();
    assert_eq!(taken, AcceptError::Taken { name: "one".into() });
    drop(incoming);
    until("the name to be refused", || async {
        matches!(second.open_stream(first.id(), "one").await, Err(OpenError::NotTaken { .. }))
    })
    .await;
    echo(first.accept_streams("one").await.unwrap());
    let stream = within("a stream", second.open_stream(first.id(), "one")).await.unwrap();
    assert_eq!(ask(stream, b"again").await, b"again");
    shutdown(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_so_many_streams_and_no_more() {
    let first = builder("streams bound")
        .configure(|config| config.limits.max_streams = 3)
        .spawn()
        .await
        .unwrap();
    let seeds = first.addresses().await.unwrap();
    let second = builder("streams bound").seeds(seeds).spawn().await.unwrap();
    echo(first.accept_streams("echo").await.unwrap());
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut stream = second.open_stream(first.id(), "echo").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        within("an echo", stream.read_exact(&mut [0; 1])).await.unwrap();
        kept.push(stream);
    }
    let over = async {
        let mut stream = second.open_stream(first.id(), "echo").await.unwrap();
        let _ = stream.write_all(b"x").await;
        let _ = stream.flush().await;
        stream.read_exact(&mut [0; 1]).await
    };
    within("the end of the fourth", over).await.unwrap_err();
    let metrics = first.metrics().encode();
    assert!(metrics.contains("aether_mesh_over_budget_total{reason=\"streams\"} 1"), "{metrics}");
    // When one ends, there is room again.
    drop(kept.pop());
    until("room for another", || async {
        let mut stream = second.open_stream(first.id(), "echo").await.unwrap();
        let _ = stream.write_all(b"x").await;
        let _ = stream.flush().await;
        stream.read_exact(&mut [0; 1]).await.is_ok()
    })
    .await;
    shutdown(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_known_need_not_be_connected() {
    // In a line, and looking for no more: the ends know each other from the roster, and are not
    // connected yet, as a rule.
    let middle = builder("streams dial").spawn().await.unwrap();
    let seeds = middle.addresses().await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let end = builder("streams dial").configure(|config| config.limits.target_peers = 1);
        ends.push(end.seeds(&seeds).spawn().await.unwrap());
    }
    let [left, right] = &ends[..] else { unreachable!("there are two") };
    until("the ends to know each other", || async {
        left.members().await.unwrap().iter().any(|member| member.peer == right.id())
    })
    .await;
    echo(right.accept_streams("echo").await.unwrap());
    let stream = within("a stream", left.open_stream(right.id(), "echo")).await.unwrap();
    assert_eq!(ask(stream, b"far").await, b"far");
    ends.push(middle);
    shutdown(ends).await;
}
