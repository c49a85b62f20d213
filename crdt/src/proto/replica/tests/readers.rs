//! Rule 11: what is said to who has no role in a space that isn't everyone's to read.

use super::{
    members::{change, first, grants, member, write},
    *,
};
use crate::proto::{replica::Change as Access, space::Role};

const MODE: Mode = Mode::Granted;
const STRANGER: u8 = 2;
const FORKER: u8 = 3;

/// A founder's replica that holds something.
fn founder() -> (Node, EntryId) {
    let mut founder = member(MODE, 1, true);
    change(&mut founder, 1, Access::Grant(Role::Admin));
    change(&mut founder, FORKER, Access::Grant(Role::Writer));
    let secret = write(&mut founder).unwrap();
    (founder, secret)
}

/// What rows say that were sent.
fn told(outputs: &[Output]) -> Vec<Row> {
    let read = |message| match message {
        Message::Rows { rows, .. } => read_rows(&rows).unwrap(),
        _ => None,
    };
    sent(outputs).into_iter().filter_map(read).flatten().collect()
}

/// A session with the stranger, who asked and named no feed.
fn meet_stranger(node: &mut Node) {
    node.handle(NOW, Input::Connected { peer: peer(STRANGER), opens: false });
    let outputs = node.say(NOW, STRANGER, &hello(true, Hash::from_bytes([9; 32])));
    assert!(matches!(sent(&outputs)[..], [Message::Hello { .. }, Message::Rows { .. }]));
    assert_eq!(told(&outputs), []);
    assert_eq!(node.say(NOW, STRANGER, &rows(true, &[])), []);
}

/// Writes and syncs, and gives the entries that are sent.
fn pushed(node: &mut Node) -> Vec<(u64, EntryId)> {
    let mut outputs = node.write(NOW, 5);
    outputs.extend(node.sync(NOW));
    entries(&outputs)
}

#[test]
fn a_stranger_learns_of_no_feed_that_it_does_not_name() {
    let (mut node, secret) = founder();
    meet_stranger(&mut node);
    assert_eq!(pushed(&mut node), []);

    // It names a feed, whichever end asks.
    let named = row(secret.feed, &[(7, secret.hash)]);
    let own = node.replica.rows()[&secret.feed].clone();
    node.handle(NOW, Input::Connected { peer: peer(STRANGER), opens: true });
    assert_eq!(node.say(NOW, STRANGER, &hello(false, Hash::from_bytes([9; 32]))), []);
    let outputs = node.say(NOW, STRANGER, &rows(false, &[named]));
    assert_eq!((told(&outputs), entries(&outputs)), (vec![own], vec![]));
    assert_eq!(pushed(&mut node), []);
}

#[test]
fn a_stranger_is_sent_neither_what_it_asks_for_nor_evidence() {
    let (mut node, secret) = founder();
    meet_stranger(&mut node);
    let ask = Message::Ask { entry: secret.into(), floor: 0 };
    assert_eq!(node.say(NOW, STRANGER, &ask), []);

    let by = grants(&node)[1];
    let heads = [1, 2].map(|salt| first(MODE, feed(FORKER), FORKER, by, draft(salt)));
    node.handle(NOW, Input::Connected { peer: peer(FORKER), opens: false });
    node.say(NOW, FORKER, &offer(1, &heads[0]));
    node.say(NOW, FORKER, &offer(2, &heads[1]));
    let outputs = node.sync(NOW);
    let whom = outputs.iter().filter_map(|output| match output {
        Output::Send { to, message: Message::Evidence { .. } } => Some(*to),
        _ => None,
    });
    assert_eq!(whom.collect::<Vec<_>>(), [peer(FORKER)]);
}

#[test]
fn who_may_read_from_now_on_is_told_at_once_and_who_may_no_more_is_told_nothing() {
    let (mut node, _) = founder();
    meet_stranger(&mut node);
    change(&mut node, STRANGER, Access::Grant(Role::Reader));
    assert!(node.replica.poll_timeout() <= Some(NOW));
    let outputs = node.handle(NOW, Input::Timeout);
    assert!(matches!(sent(&outputs)[..], [Message::Hello { asks: true, .. }]));
    node.say(NOW, STRANGER, &hello(false, digest(&[])));
    let outputs = node.say(NOW, STRANGER, &rows(false, &[]));
    assert_eq!(entries(&outputs).len(), 4, "three grants, and what was written");
    assert_eq!(pushed(&mut node).len(), 1);

    change(&mut node, STRANGER, Access::Remove);
    assert_eq!(pushed(&mut node), []);
}
