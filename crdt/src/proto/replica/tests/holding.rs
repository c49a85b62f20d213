//! Who is known to hold what, and comparing when it is known that somebody doesn't.

use super::*;

fn own(node: &Node) -> EntryId {
    node.own.expect("something was written")
}

#[test]
fn a_peer_holds_what_it_acknowledged_and_no_more() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    for token in 1..=3 {
        node.write(NOW, token);
    }
    node.sync(NOW);
    let third = own(&node);
    let id = |number| EntryId { number, ..third };
    let holds = |node: &Node, number| node.replica.is_held_by(&peer(1), &id(number));
    assert!(!holds(&node, 1), "what is sent isn't held yet");
    node.say(NOW, 1, &ack(2, &[]));
    assert!(holds(&node, 1) && holds(&node, 2) && !holds(&node, 3));
    node.say(NOW, 1, &ack(3, &[3]));
    assert!(!holds(&node, 3), "it was refused");
    assert!(!node.replica.is_held_by(&peer(2), &id(1)), "who never said so");
    let others = EntryId { feed: feed(7), ..third };
    assert!(!node.replica.is_held_by(&peer(1), &EntryId { number: 1, ..others }));
    // What is said in a session is forgotten with it.
    node.handle(NOW, Input::Disconnected { peer: peer(1) });
    assert!(!holds(&node, 1));
}

#[test]
fn an_equal_digest_and_rows_say_what_a_peer_holds() {
    let mut node = Node::new();
    node.write(NOW, 1);
    node.write(NOW, 2);
    node.sync(NOW);
    let second = own(&node);
    node.meet(NOW, 1);
    assert!(node.replica.is_held_by(&peer(1), &second), "its digest is equal");

    node.handle(NOW, Input::Connected { peer: peer(2), opens: false });
    node.say(NOW, 2, &hello(true, digest(&[])));
    let Ok(header) = node.replica.book().header(&second);
    let first = header.unwrap().parent().unwrap();
    node.say(NOW, 2, &rows(true, &[row(first.feed, &[(1, first.hash)])]));
    assert!(node.replica.is_held_by(&peer(2), &first));
    assert!(!node.replica.is_held_by(&peer(2), &second));
}

#[test]
fn what_is_written_while_a_peer_compares_is_sent_and_not_taken_for_held() {
    let mut node = Node::new();
    node.write(NOW, 1);
    node.sync(NOW);
    let first = own(&node);
    node.handle(NOW, Input::Connected { peer: peer(1), opens: false });
    node.say(NOW, 1, &hello(true, Hash::from_bytes([9; 32])));
    // It was told of the first, and compares that.
    node.write(NOW, 2);
    node.sync(NOW);
    let second = own(&node);
    let outputs = node.say(NOW, 1, &rows(true, &[row(feed(7), &[(1, first.hash)])]));
    assert_eq!(entries(&outputs), [(1, second)]);
    assert!(node.replica.is_held_by(&peer(1), &first), "it didn't name it, so it is equal");
    assert!(!node.replica.is_held_by(&peer(1), &second));
}

#[test]
fn rows_are_covered_by_what_is_synced() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let (first, other) = (entry(1, None, 1), entry(2, None, 1));
    let second = entry(1, Some(&first), 2);
    let tip = |entry: &Entry| {
        let id = entry.header().id();
        row(id.feed, &[(id.number, id.hash)])
    };
    let covers = |node: &Node, rows: &[Row]| node.replica.covers(rows) == Ok(true);
    assert!(covers(&node, &[]) && covers(&node, &[Row::empty(feed(1))]));
    assert!(!covers(&node, &[tip(&first)]));
    node.say(NOW, 1, &offer(1, &first));
    node.say(NOW, 1, &offer(2, &second));
    assert!(!covers(&node, &[tip(&first)]), "it isn't synced");
    node.sync(NOW);
    assert!(covers(&node, &[tip(&first)]) && covers(&node, &[tip(&second)]));
    assert!(!covers(&node, &[tip(&second), tip(&other)]));
    let branch = entry(1, Some(&first), 3);
    assert!(!covers(&node, &[tip(&branch)]), "another branch");
    let held: Vec<_> = node.replica.held().collect();
    assert_eq!(held, [(feed(1), 2)]);
}

#[test]
fn who_is_known_to_lack_something_is_asked_at_once() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let said = sent(&node.handle(NOW + seconds(1), Input::Compare { peer: peer(1) }));
    assert!(matches!(said[..], [Message::Hello { asks: true, .. }]), "{said:?}");
    // One comparison at a time, and none with who isn't there.
    assert_eq!(node.handle(NOW + seconds(1), Input::Compare { peer: peer(1) }), []);
    assert_eq!(node.handle(NOW + seconds(1), Input::Compare { peer: peer(2) }), []);
}
