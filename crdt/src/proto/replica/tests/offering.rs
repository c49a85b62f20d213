//! Archives: what a replica exports is all that another needs, in an order in which it can take it.

use super::*;
use crate::proto::{
    archive::{Contents, Decoder, Export, Part, Record},
    replica,
};

/// An archive of what a node has synced.
fn export(node: &mut Node) -> (Vec<Record>, Contents) {
    let mut export = Export::begin(&genesis(), node.replica.base_mut().clone()).unwrap();
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    while let Ok(Some(bytes)) = export.next_bytes() {
        decoder.push(&bytes);
        while let Some(part) = decoder.poll().unwrap() {
            match part {
                Part::Genesis(of) => assert_eq!(of, genesis()),
                Part::Record(record) => records.push(record),
            }
        }
    }
    let contents = decoder.end().unwrap();
    assert_eq!(export.contents(), contents);
    (records, contents)
}

fn offered(node: &mut Node, token: u64, records: Vec<Record>) -> Offered {
    let mut outputs = node.handle(NOW, Input::Offer { token, records });
    outputs.extend(node.sync(NOW));
    let found = outputs.iter().find_map(|output| match output {
        Output::Offered { token: of, offered } if *of == token => Some(*offered),
        _ => None,
    });
    found.expect("an offer is answered once it is synced")
}

fn record(entry: &Entry) -> Record {
    let payload = entry.payload().as_bytes().to_vec();
    Record::Entry { header: entry.header().encode(), payload }
}

/// Takes in what an archive of a node holds, on a new one: both hold the same then.
fn restored(node: &mut Node) -> Node {
    let (records, contents) = export(node);
    let Contents { entries, evidence, credentials, .. } = contents;
    let (taken, count) = (entries + evidence, records.len() as u64);
    assert_eq!(count, taken + credentials);
    let mut other = Node::open(101, Config::default(), Memory::new(), None);
    let new = Offered { taken, known: credentials, ..Offered::default() };
    assert_eq!(offered(&mut other, 1, records.clone()), new);
    assert_eq!(other.replica.digest(), node.replica.digest());
    let known = Offered { known: count, ..Offered::default() };
    assert_eq!(offered(&mut other, 2, records), known, "twice does no harm");
    assert!(other.unsynced.is_empty());
    other
}

#[test]
fn what_is_exported_makes_an_equal_replica() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    for token in 0..3 {
        node.write(NOW, token);
    }
    let first = entry(3, None, 1);
    node.say(NOW, 1, &offer(1, &first));
    node.say(NOW, 1, &offer(2, &entry(3, Some(&first), 2)));
    node.write(NOW, 3);
    node.sync(NOW);
    let mut other = restored(&mut node);
    assert_eq!(other.last(), node.last());
    let mut none = Node::new();
    assert_eq!(export(&mut none).0, []);
    restored(&mut other);
}

#[test]
fn forks_are_exported_with_their_evidence_before_what_they_excuse() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let heads = siblings(3, None, 4);
    // Somebody cites the branch that the two smaller ones evict later.
    node.say(NOW, 1, &offer(1, &heads[3]));
    let mut citing = draft(9);
    citing.cite(heads[3].header().id(), heads[3].header().time()).unwrap();
    let citing = sign(4, None, citing, WALL);
    node.say(NOW, 1, &offer(2, &citing));
    let above = entry(4, Some(&citing), 10);
    node.say(NOW, 1, &offer(3, &above));
    let mut later = draft(11);
    later.cite(above.header().id(), above.header().time()).unwrap();
    let later = sign(5, None, later, WALL);
    node.say(NOW, 1, &offer(4, &later));
    node.say(NOW, 1, &offer(5, &heads[1]));
    node.say(NOW, 1, &offer(6, &heads[0]));
    node.sync(NOW);
    assert!(!node.holds(&heads[3]) && node.holds(&later));
    let (records, contents) = export(&mut node);
    assert_eq!((contents.entries, contents.evidence), (5, 1));
    let evidence = records.iter().position(|record| matches!(record, Record::Evidence { .. }));
    let place = |entry: &Entry| records.iter().position(|found| *found == record(entry));
    let places = [place(&citing), place(&above), place(&later)];
    assert!(places.is_sorted() && evidence < places[0], "{places:?} {evidence:?}");
    let other = restored(&mut node);
    assert_eq!(other.replica.book().evidence(&feed(3)), node.replica.book().evidence(&feed(3)));
}

/// A removal of the author 3 by an owner who knows these of its entries, as an archive holds it.
fn removal(known: &[&Entry]) -> Vec<Record> {
    let keys = Keys { own: key(201), owner: Some(key(200)) };
    let replica = Replica::open(Config::default(), genesis(), keys, [1; 32], Memory::new(), None);
    let replica = replica.unwrap();
    let mut owner = Node { replica, unsynced: VecDeque::new(), own: None };
    owner.handle(NOW, Input::Wall(WALL));
    offered(&mut owner, 1, known.iter().map(|entry| record(entry)).collect());
    let change = replica::Change::Remove;
    owner.handle(NOW, Input::Change { token: 2, member: peer(3), change });
    let outputs = owner.sync(NOW);
    assert!(outputs.iter().any(|output| matches!(output, Output::Written { id: Some(_), .. })));
    export(&mut owner).0
}

#[test]
fn what_a_removal_evicted_is_excused_by_the_removal_which_comes_first() {
    let first = entry(3, None, 1);
    let second = entry(3, Some(&first), 2);
    let mut citing = draft(9);
    citing.cite(second.header().id(), second.header().time()).unwrap();
    let citing = sign(4, None, citing, WALL);
    let above = entry(4, Some(&citing), 10);
    let other = entry(5, None, 1);
    for (known, stays) in [(vec![&first], true), (vec![], false)] {
        let mut node = Node::new();
        let entries = [&first, &second, &citing, &above, &other];
        offered(&mut node, 1, entries.map(record).to_vec());
        offered(&mut node, 2, removal(&known));
        assert!(!node.holds(&second) && node.holds(&above));
        assert_eq!(node.holds(&first), stays);
        let (records, contents) = export(&mut node);
        assert_eq!(contents.credentials, u64::from(!stays));
        assert_eq!(records.last(), Some(&record(&above)), "those that need excuses are the last");
        restored(&mut node);
    }
}

#[test]
fn what_can_not_be_taken_now_is_left_and_may_be_offered_again() {
    let mut node = Node::new();
    let (first, early) =
        (entry(3, None, 1), sign(4, None, draft(1), Wall::from_millis(WALL.as_millis() * 2)));
    let second = entry(3, Some(&first), 2);
    let records = vec![record(&second), record(&early), record(&first)];
    let some = Offered { taken: 1, left: 2, ..Offered::default() };
    assert_eq!(offered(&mut node, 1, records.clone()), some);
    let rest = Offered { taken: 1, known: 1, left: 1, ..Offered::default() };
    assert_eq!(offered(&mut node, 2, records), rest);
    let heads = siblings(5, None, 2);
    let [one, other] = [0, 1].map(|at: usize| heads[at].header().encode());
    let evidence = Record::Evidence { first: one, second: other };
    let left = Offered { left: 1, ..Offered::default() };
    assert_eq!(offered(&mut node, 3, vec![evidence.clone()]), left, "of a feed that isn't here");
    let both = offered(&mut node, 4, vec![record(&heads[0]), evidence.clone(), evidence]);
    assert_eq!(both, Offered { taken: 2, known: 1, ..Offered::default() });
}

#[test]
fn what_no_honest_node_exports_is_named_and_what_stands_before_it_stays() {
    let good = entry(3, None, 1);
    let mut forged = entry(4, None, 1).header().encode();
    *forged.last_mut().unwrap() ^= 1;
    let forged = Record::Entry { header: forged, payload: good.payload().as_bytes().to_vec() };
    let other = Record::Entry { header: good.header().encode(), payload: vec![1, 2, 3] };
    let none = Record::Evidence { first: vec![1], second: vec![2] };
    let unread = Record::Entry { header: vec![7; 40], payload: Vec::new() };
    for (bad, fault) in [
        (forged, Fault::Forged),
        (other, Fault::Payload),
        (none, Fault::Malformed),
        (unread, Fault::Malformed),
    ] {
        let mut node = Node::new();
        let is_payload = fault == Fault::Payload;
        let before = if is_payload { entry(5, None, 1) } else { good.clone() };
        let behind = record(&entry(6, None, 1));
        let found = offered(&mut node, 1, vec![record(&before), bad, behind]);
        let expected = Offered { taken: 1, fault: Some((1, fault)), ..Offered::default() };
        assert_eq!(found, expected);
        assert!(node.holds(&before));
    }
}

#[test]
fn own_entries_that_come_back_end_the_feed_that_they_continue() {
    let mut node = Node::new();
    node.write(NOW, 1);
    node.sync(NOW);
    let (old, own) = (node.replica.base_mut().clone(), node.own);
    node.write(NOW, 2);
    node.sync(NOW);
    let (records, _) = export(&mut node);
    // The disk as it was before goes on with its feed, until the archive shows more of it.
    let mut again = Node::open(100, Config::default(), old, own);
    assert_eq!(again.replica.own(), own.map(|own| own.feed));
    let found = offered(&mut again, 1, records.clone());
    assert_eq!(found, Offered { taken: 1, known: 1, ..Offered::default() });
    again.write(NOW, 3);
    assert_ne!(again.own.unwrap().feed, own.unwrap().feed);
    // And a new disk of the same author's begins another at once.
    let mut new = Node::new();
    offered(&mut new, 1, records);
    new.write(NOW, 2);
    assert_ne!(new.own.unwrap().feed, own.unwrap().feed);
    assert_eq!(new.own.unwrap().number, 1);
}

#[test]
fn an_offer_is_answered_once_it_is_synced_and_refused_if_that_fails() {
    let mut node = Node::new();
    let records = vec![record(&entry(3, None, 1))];
    assert_eq!(node.handle(NOW, Input::Offer { token: 1, records: records.clone() }), []);
    // What is known and isn't synced waits for the same.
    assert_eq!(node.handle(NOW, Input::Offer { token: 2, records: records.clone() }), []);
    let refused = |token| Output::Refused { token, why: WriteError::Failed };
    assert_eq!(node.handle(NOW, Input::Failed), [refused(1), refused(2)]);
    assert_eq!(node.handle(NOW, Input::Offer { token: 3, records }), [refused(3)]);
}
