//! Rules 3, 4 and 5: what is said, to whom and when.

use super::*;

#[test]
fn nothing_is_said_of_an_own_entry_before_it_is_synced() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let before = node.replica.digest();
    assert_eq!(node.write(NOW, 7), [], "neither sent nor said to be written");
    assert_eq!((node.replica.digest(), node.replica.rows().len()), (before, 0));
    assert_eq!(node.replica.synced(), Position::ZERO);
    // A peer that asks is told what was synced.
    node.handle(NOW, Input::Connected { peer: peer(2), opens: false });
    let told = sent(&node.say(NOW, 2, &hello(true, Hash::from_bytes([9; 32]))));
    let [said, Message::Rows { rows, .. }] = &told[..] else { panic!("{told:?}") };
    let Message::Hello { digest, .. } = said else { panic!("{said:?}") };
    assert_eq!((Hash::from_bytes(**digest), rows.len()), (before, 0));

    let outputs = node.sync(NOW);
    let own = node.own.expect("the log of own tips names it");
    assert_eq!(outputs[0], Output::Held { id: own, position: node.last() });
    assert_eq!(outputs[1], Output::Written { token: 7, id: Some(own) });
    assert_eq!(entries(&outputs), [(1, own)], "to whom has all before it");
    assert_ne!(node.replica.digest(), before);
    assert_eq!(node.replica.synced(), node.last());
}

#[test]
fn what_is_synced_is_sent_and_nothing_behind_it() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.write(NOW, 1);
    let first = node.own.unwrap();
    node.write(NOW, 2);
    let outputs = node.sync_some(NOW, 1);
    assert_eq!(entries(&outputs), [(1, first)]);
    assert_eq!(node.replica.rows()[&first.feed].top(), 1);
    assert_eq!(entries(&node.sync(NOW)), [(2, node.own.unwrap())]);
}

#[test]
fn a_peers_entry_is_acknowledged_once_it_is_synced() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.meet(NOW, 2);
    let (first, second) = (entry(1, None, 1), entry(2, None, 2));
    assert_eq!(node.say(NOW, 1, &offer(1, &first)), []);
    assert_eq!(node.say(NOW, 1, &offer(2, &second)), []);
    assert_eq!(node.say(NOW, 1, &offer(3, &first)), [], "known, and not synced yet");
    assert_eq!(node.say(NOW, 2, &offer(1, &first)), [], "whoever gives it");
    let acks = sent(&node.sync(NOW));
    assert_eq!(acks.len(), 2);
    assert!(acks.contains(&ack(3, &[])) && acks.contains(&ack(1, &[])));
    assert_eq!(sent(&node.say(NOW, 1, &offer(4, &second))), [ack(4, &[])], "synced before");
}

#[test]
fn what_came_in_one_session_isn_t_acknowledged_in_the_next() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    assert_eq!(node.say(NOW, 1, &offer(1, &entry(1, None, 1))), []);
    node.meet(NOW, 1);
    let other = entry(2, None, 2);
    assert_eq!(node.say(NOW, 1, &offer(1, &other)), []);
    // The first is synced, the second isn't.
    assert_eq!(sent(&node.sync_some(NOW, 1)), []);
    assert_eq!(sent(&node.sync(NOW)), [ack(1, &[])]);
}

#[test]
fn own_entries_are_pushed_to_who_has_those_before_and_others_are_told_of() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.handle(NOW, Input::Connected { peer: peer(2), opens: false });
    node.write(NOW, 1);
    let to = |outputs: &[Output]| {
        let to = |output: &Output| match output {
            Output::Send { to, message: Message::Entry { .. } } => Some(*to),
            _ => None,
        };
        outputs.iter().filter_map(to).collect::<Vec<_>>()
    };
    assert_eq!(to(&node.sync(NOW)), [peer(1)], "who the second is isn't known yet");
    node.say(NOW, 1, &ack(1, &[]));
    node.meet(NOW, 3);
    node.write(NOW, 2);
    let mut both = to(&node.sync(NOW));
    both.sort_unstable();
    let mut expected = [peer(1), peer(3)];
    expected.sort_unstable();
    assert_eq!(both, expected);
    node.say(NOW, 1, &ack(2, &[]));
    node.say(NOW, 3, &ack(1, &[]));

    // What another wrote is told of a second or two later.
    node.say(NOW, 3, &offer(1, &entry(3, None, 1)));
    assert_eq!(to(&node.sync(NOW)), []);
    let heard = node.pass(NOW + seconds(2));
    assert!(heard.iter().all(|(at, _)| *at >= NOW + seconds(1)));
    assert_eq!(heard.len(), 3, "a hello to each: {heard:?}");
}

#[test]
fn who_is_new_is_sent_all_in_the_order_of_intake() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let theirs = entry(1, None, 1);
    node.write(NOW, 1);
    node.say(NOW, 1, &offer(1, &theirs));
    node.write(NOW, 2);
    node.sync(NOW);
    let own = node.own.unwrap();
    let given = entries(&node.meet_new(NOW, 2));
    assert_eq!(given.len(), 3);
    assert_eq!((given[1].1, given[2].1), (theirs.header().id(), own));
    // And what it then writes follows at once.
    node.write(NOW, 3);
    let outputs = node.sync(NOW);
    assert!(entries(&outputs).contains(&(4, node.own.unwrap())));
}

#[test]
fn equal_replicas_need_two_hellos_and_compare_again_after_half_a_minute() {
    let mut node = Node::new();
    let said = node.handle(NOW, Input::Connected { peer: peer(1), opens: true });
    let equal = hello(false, node.replica.digest());
    assert_eq!(sent(&said).len(), 1);
    assert_eq!(node.say(NOW, 1, &equal), []);
    let due = node.replica.poll_timeout().unwrap();
    assert!((NOW + seconds(30)..=NOW + seconds(45)).contains(&due), "{due:?}");
    assert!(matches!(node.pass(due)[..], [(_, Message::Hello { asks: true, .. })]));
}

#[test]
fn who_doesn_t_answer_is_left_without_blame() {
    let mut node = Node::new();
    node.handle(NOW, Input::Connected { peer: peer(1), opens: true });
    assert_eq!(node.replica.poll_timeout(), Some(NOW + seconds(30)));
    let outputs = node.handle(NOW + seconds(30), Input::Timeout);
    assert_eq!(outputs, [Output::Close { peer: peer(1), fault: None }]);
    assert_eq!((node.replica.peers().count(), node.replica.poll_timeout()), (0, None));
}

#[test]
fn answers_nobody_asked_for_are_a_fault() {
    let cases: [(&str, Message); 4] = [
        ("a hello", hello(false, Hash::from_bytes([1; 32]))),
        ("all rows", rows(false, &[])),
        ("differing rows", rows(true, &[])),
        ("an acknowledgement", ack(1, &[])),
    ];
    for (what, message) in cases {
        let mut node = Node::new();
        node.meet(NOW, 1);
        assert_eq!(node.say(NOW, 1, &message), closed(1, Fault::Unasked), "{what}");
        assert_eq!(node.say(NOW, 1, &message), [], "the session is over");
    }
    // Rows are asked for by a hello whose answer differs, and by no other.
    let mut node = Node::new();
    node.handle(NOW, Input::Connected { peer: peer(1), opens: true });
    assert_eq!(node.say(NOW, 1, &rows(false, &[])), closed(1, Fault::Unasked));
}

#[test]
fn a_peer_compares_once_at_a_time_and_its_rows_ascend() {
    let mut node = Node::new();
    let other = hello(true, Hash::from_bytes([1; 32]));
    node.handle(NOW, Input::Connected { peer: peer(1), opens: false });
    assert_eq!(sent(&node.say(NOW, 1, &other)).len(), 2);
    assert_eq!(node.say(NOW, 1, &other), closed(1, Fault::Unasked));

    node.handle(NOW, Input::Connected { peer: peer(1), opens: false });
    node.say(NOW, 1, &other);
    let part = |author| Message::Rows {
        differing: true,
        last: false,
        rows: write_rows(&[Row::empty(feed(author))]).into(),
    };
    let (low, high) = if feed(1) < feed(2) { (1, 2) } else { (2, 1) };
    assert_eq!(node.say(NOW, 1, &part(high)), []);
    assert_eq!(node.say(NOW, 1, &part(low)), closed(1, Fault::Unasked));
}

#[test]
fn a_peer_has_twice_as_many_rows_at_most_as_feeds_are_taken() {
    for (count, fault) in [(2, None), (3, Some(Fault::Unasked))] {
        let config = Config { max_feeds: 1, ..Config::default() };
        let mut node = Node::open(100, config, Memory::new(), None);
        node.handle(NOW, Input::Connected { peer: peer(1), opens: false });
        node.say(NOW, 1, &hello(true, Hash::from_bytes([9; 32])));
        let mut all: Vec<Row> = (1..=count).map(|author| Row::empty(feed(author))).collect();
        all.sort_by_key(Row::feed);
        let outputs = node.say(NOW, 1, &rows(true, &all));
        assert_eq!(outputs, fault.map_or(vec![], |fault| closed(1, fault)), "{count}");
    }
}

#[test]
fn an_acknowledgement_of_what_wasn_t_sent_is_a_fault() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.write(NOW, 1);
    assert_eq!(entries(&node.sync(NOW)).len(), 1);
    assert_eq!(node.say(NOW, 1, &ack(1, &[])), []);
    assert_eq!(node.say(NOW, 1, &ack(2, &[])), closed(1, Fault::Unasked));
}

#[test]
fn there_are_as_many_sessions_as_configured() {
    let config = Config { max_sessions: 1, ..Config::default() };
    let mut node = Node::open(100, config, Memory::new(), None);
    node.meet(NOW, 1);
    let outputs = node.handle(NOW, Input::Connected { peer: peer(2), opens: true });
    assert_eq!(outputs, [Output::Close { peer: peer(2), fault: None }]);
    node.meet(NOW, 1);
}

#[test]
fn a_hello_isn_t_put_off_for_ever_by_what_is_on_its_way() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.write(NOW, 1);
    assert_eq!(entries(&node.sync(NOW)).len(), 1, "never acknowledged");
    node.meet(NOW, 2);
    node.say(NOW, 2, &offer(1, &entry(2, None, 1)));
    node.sync(NOW);
    let said = node.pass(NOW + seconds(12));
    assert!(said.len() >= 2, "the silent one is told of news too: {said:?}");
    let late = said.iter().filter(|(at, _)| *at >= NOW + seconds(8)).count();
    assert_eq!(late, 1, "when it had eight seconds to acknowledge");
}
