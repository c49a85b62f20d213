//! How much is on its way, either way.

use super::*;
use crate::proto::sync::{MAX_UNACKED, MAX_UNACKED_BYTES};

#[test]
fn so_many_entries_are_on_their_way_at_most() {
    let mut node = Node::new();
    (0..300).for_each(|token| drop(node.write(NOW, token)));
    node.sync(NOW);
    assert_eq!(entries(&node.meet_new(NOW, 1)).len(), MAX_UNACKED);
    let more = entries(&node.say(NOW, 1, &ack(10, &[])));
    assert_eq!((more.len(), more[0].0), (10, 257));
    assert_eq!(entries(&node.say(NOW, 1, &ack(266, &[]))).len(), 34);
}

#[test]
fn so_many_bytes_are_on_their_way_at_most_unless_it_is_one_entry() {
    let mut node = Node::new();
    for (token, bytes) in [(1, 1_000_000), (2, 500_000), (3, 500_000), (4, 100_000), (5, 9)] {
        node.write_bytes(NOW, token, bytes);
    }
    node.sync(NOW);
    let numbers = |outputs: &[Output]| entries(outputs).iter().map(|(n, _)| *n).collect::<Vec<_>>();
    assert_eq!(numbers(&node.meet_new(NOW, 1)), [1]);
    assert_eq!(numbers(&node.say(NOW, 1, &ack(1, &[]))), [2, 3]);
    assert_eq!(numbers(&node.say(NOW, 1, &ack(2, &[]))), [4, 5]);
}

#[test]
fn who_sends_more_than_the_window_breaks_the_protocol() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let mut last: Option<Entry> = None;
    for n in 1..=MAX_UNACKED as u64 {
        let next = entry(1, last.as_ref(), n);
        assert_eq!(node.say(NOW, 1, &offer(n, &next)), [], "nothing is synced meanwhile");
        last = Some(next);
    }
    let one_more = entry(1, last.as_ref(), 999);
    let outputs = node.say(NOW, 1, &offer(257, &one_more));
    assert_eq!(outputs, closed(1, Fault::Unasked));

    let mut node = Node::new();
    node.meet(NOW, 1);
    let large = |author| {
        let mut draft = Draft::new();
        let op = vec![9; MAX_UNACKED_BYTES / 2];
        draft.op(Collection::new(Kind::Document, "notes"), op).unwrap();
        sign(author, None, draft, WALL)
    };
    assert_eq!(node.say(NOW, 1, &offer(1, &large(1))), []);
    assert_eq!(node.say(NOW, 1, &offer(2, &large(2))), closed(1, Fault::Unasked));
}

#[test]
fn a_user_waits_when_too_many_writes_are_not_synced() {
    let config = Config { max_writes: 2, ..Config::default() };
    let mut node = Node::open(100, config, Memory::new(), None);
    assert_eq!(node.write(NOW, 1), []);
    assert_eq!(node.write(NOW, 2), []);
    let busy = Output::Refused { token: 3, why: WriteError::Busy };
    assert_eq!(node.write(NOW, 3), std::slice::from_ref(&busy));
    assert_eq!(node.handle(NOW, Input::Edit { token: 3, edits: Vec::new() }), [busy]);
    node.sync(NOW);
    assert_eq!(node.write(NOW, 4), []);
}
