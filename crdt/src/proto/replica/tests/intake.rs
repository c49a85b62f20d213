//! Rules 1 and 6: what is taken in, and what becomes of what isn't.

use super::*;

/// Offers an entry that is refused without effect or blame.
fn refused(node: &mut Node, now: Time, n: u64, entry: &Entry) {
    let before = (node.last(), node.replica.digest());
    assert_eq!(sent(&node.say(now, 1, &offer(n, entry))), [ack(n, &[n])]);
    assert_eq!((node.last(), node.replica.digest()), before);
    assert!(node.unsynced.is_empty() && !node.holds(entry));
}

fn taken(node: &mut Node, now: Time, n: u64, entry: &Entry) {
    assert_eq!(node.say(now, 1, &offer(n, entry)), []);
    assert_eq!(sent(&node.sync(now)), [ack(n, &[])]);
    assert!(node.holds(entry));
}

#[test]
fn an_entry_of_the_future_is_refused_until_its_time_has_come() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let late = Wall::from_millis(WALL.as_millis() + 11 * 60_000);
    let early = sign(1, None, draft(1), late);
    assert!(early.header().time() > Hybrid::from_wall(WALL));
    refused(&mut node, NOW, 1, &early);
    let due = NOW + seconds(60);
    let moment = due.since(NOW) - Duration::from_millis(1);
    refused(&mut node, NOW + moment, 2, &early);
    taken(&mut node, due, 3, &early);
}

#[test]
fn a_change_that_breaks_a_rule_by_its_bytes_is_its_givers_fault() {
    use crate::proto::document::{
        ActorId,
        body::{Body, Settings},
        content::{ObjId, TextUnit},
        op::write_op,
        weight::DEFAULT_LIMIT,
    };
    let (notes, space) = (Collection::new(Kind::Document, "notes"), genesis().space_id());
    let carrying = |author, op: Vec<u8>| {
        let mut draft = Draft::new();
        draft.op(notes, op).unwrap();
        sign(author, None, draft, WALL)
    };
    // What an author of this feed writes in this lane.
    let change = |author, lane| {
        let actor = ActorId::of(&space, &notes, &feed(author), lane);
        let mut body =
            Body::new(Settings { actor, unit: TextUnit::CodePoint, limit: DEFAULT_LIMIT });
        body.edit(|edit| edit.put(ObjId::Root, "key", 1_u64)).unwrap();
        body.commit(0).unwrap().unwrap().bytes
    };
    let mut node = Node::new();
    node.meet(NOW, 1);
    taken(&mut node, NOW, 1, &carrying(1, write_op(3, &change(1, 3))));
    taken(&mut node, NOW, 2, &carrying(2, [9].repeat(50)));
    let mut torn = write_op(0, &change(4, 0));
    torn.pop();
    let another_lane = write_op(1, &change(5, 0));
    let another_author = write_op(0, &change(1, 0));
    for (author, op) in [(4, torn), (5, another_lane), (6, another_author)] {
        let mut node = Node::new();
        node.meet(NOW, 1);
        let entry = carrying(author, op);
        assert_eq!(node.say(NOW, 1, &offer(1, &entry)), closed(1, Fault::Payload));
        assert!(node.unsynced.is_empty() && !node.holds(&entry));
    }
}

#[test]
fn an_entry_waits_for_what_it_cites_or_for_evidence() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let cited = entry(2, None, 1);
    let citing = |author, cited: &Entry| {
        let mut draft = draft(9);
        draft.cite(cited.header().id(), cited.header().time()).unwrap();
        sign(author, None, draft, WALL)
    };
    let one = citing(1, &cited);
    refused(&mut node, NOW, 1, &one);
    taken(&mut node, NOW, 2, &cited);
    taken(&mut node, NOW, 3, &one);

    // Evidence settles a citation of what nobody may have any more.
    let lost = entry(2, None, 2);
    let other = citing(3, &lost);
    refused(&mut node, NOW, 4, &other);
    let mut pair = [&cited, &lost].map(|entry| entry.header().clone());
    pair.sort_by_key(|header| header.hash());
    let [first, second] = pair.map(|header| header.encode().into());
    node.say(NOW, 1, &Message::Evidence { first, second });
    node.sync(NOW);
    taken(&mut node, NOW, 5, &other);
}

#[test]
fn an_entry_whose_parent_isn_t_here_is_refused_without_blame() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let first = entry(1, None, 1);
    let second = entry(1, Some(&first), 2);
    let third = entry(1, Some(&second), 3);
    refused(&mut node, NOW, 1, &second);
    taken(&mut node, NOW, 2, &first);
    refused(&mut node, NOW, 3, &third);
    taken(&mut node, NOW, 4, &second);
    taken(&mut node, NOW, 5, &third);
}

#[test]
fn what_breaks_a_rule_is_its_givers_fault() {
    let good = entry(1, None, 1);
    let bytes = |entry: &Entry| (entry.header().encode(), entry.payload().as_bytes().to_vec());
    let mut forged = bytes(&good);
    *forged.0.last_mut().unwrap() ^= 1;
    let others = (bytes(&good).0, bytes(&entry(1, None, 2)).1);
    let owners = bytes(&sign(200, None, draft(1), WALL));
    let torn = (bytes(&good).0[1..].to_vec(), bytes(&good).1);
    let place =
        Place::first(SpaceId::from_hash(Hash::from_bytes([1; 32])), feed(1), Authority::Genesis);
    let elsewhere = bytes(&draft(1).sign(&key(1), place, WALL).unwrap());
    for (what, (header, payload), fault) in [
        ("a forged signature", forged, Fault::Forged),
        ("another payload", others, Fault::Payload),
        ("an owner's payload", owners, Fault::Malformed),
        ("a torn header", torn, Fault::Malformed),
        ("another space", elsewhere, Fault::Malformed),
    ] {
        let mut node = Node::new();
        node.meet(NOW, 1);
        let message = Message::Entry { n: 1, header: header.into(), payload: payload.into() };
        assert_eq!(node.say(NOW, 1, &message), closed(1, fault), "{what}");
        assert!(node.unsynced.is_empty() && node.last() == Position::ZERO, "{what}");
    }
    let mut node = Node::new();
    node.meet(NOW, 1);
    let bytes = vec![0xff];
    let outputs = node.handle(NOW, Input::Message { from: peer(1), bytes });
    assert_eq!(outputs, closed(1, Fault::Malformed));
}

#[test]
fn the_entries_of_a_session_are_counted_without_gaps() {
    for n in [0, 2] {
        let mut node = Node::new();
        node.meet(NOW, 1);
        assert_eq!(node.say(NOW, 1, &offer(n, &entry(1, None, 1))), closed(1, Fault::Unasked));
    }
}

#[test]
fn feeds_beyond_the_configured_number_are_refused() {
    let config = Config { max_feeds: 1, ..Config::default() };
    let mut node = Node::open(100, config, Memory::new(), None);
    node.meet(NOW, 1);
    let first = entry(1, None, 1);
    taken(&mut node, NOW, 1, &first);
    refused(&mut node, NOW, 2, &entry(2, None, 1));
    taken(&mut node, NOW, 3, &entry(1, Some(&first), 2));
    let refused = Output::Refused { token: 5, why: WriteError::Feeds };
    assert_eq!(node.write(NOW, 5), std::slice::from_ref(&refused));
    let edit = Edit::new(Collection::new(Kind::Set, "s"), *b"k", Action::Put(Vec::new())).unwrap();
    assert_eq!(node.handle(NOW, Input::Edit { token: 5, edits: vec![edit] }), [refused]);
}

#[test]
fn who_is_refused_sends_no_more_of_the_feed_and_compares_anew() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.write(NOW, 1);
    assert_eq!(entries(&node.sync(NOW)).len(), 1);
    assert_eq!(node.say(NOW, 1, &ack(1, &[1])), []);
    node.write(NOW, 2);
    assert_eq!(entries(&node.sync(NOW)), [], "it would hang in the air");
    let said = node.pass(NOW + seconds(2));
    assert!(
        matches!(said[..], [(at, Message::Hello { asks: true, .. })] if at >= NOW + seconds(1))
    );
    // The peer has nothing, so it gets both.
    node.say(NOW, 1, &hello(false, digest(&[])));
    assert_eq!(entries(&node.say(NOW, 1, &rows(false, &[]))).len(), 2);
}

#[test]
fn a_refused_feed_holds_up_no_other() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let mut last: [Option<Entry>; 2] = [None, None];
    for n in 0..400 {
        let at = usize::from(n >= 300);
        let author = if at == 0 { 1 } else { 2 };
        let next = entry(author, last[at].as_ref(), n);
        node.say(NOW, 1, &offer(n + 1, &next));
        node.sync(NOW);
        last[at] = Some(next);
    }
    let first = entries(&node.meet_new(NOW, 2));
    assert_eq!(first.len(), 256, "the first feed fills the window");
    let refused: Vec<u64> = (1..=64).collect();
    let then = entries(&node.say(NOW, 2, &ack(64, &refused)));
    assert_eq!(then.len(), 64);
    assert!(then.iter().all(|(_, id)| id.feed == feed(2)), "the other goes on at once");
}
