//! Local writes: what is drafted, applied here and there and merged is what the edits mean.

use super::*;
use crate::proto::map::edit::{Limits, draft_within};

mod limits;
mod model;

const OWN: u8 = 1;

fn own() -> FeedId {
    feed(OWN, 1)
}

fn edit(collection: Collection, key: &[u8], action: Action) -> Edit {
    Edit::new(collection, key, action).unwrap()
}

fn write(collection: Collection, key: &[u8], value: &str) -> Edit {
    edit(collection, key, Action::Put(value.into()))
}

fn drafted(replica: &Replica, edits: &[Edit]) -> Drafted {
    let drafted = draft(edits, &own(), &replica.rows, &replica.known).unwrap();
    fits(&drafted);
    drafted
}

/// What is drafted goes into an entry, and names what it says it names.
fn fits(drafted: &Drafted) {
    let mut entry = crate::proto::entry::Draft::new();
    let mut named = BTreeSet::new();
    for (collection, op) in &drafted.ops {
        entry.op(*collection, op.clone()).expect("there is room");
        let op = Op::decode(op).unwrap();
        assert!(op.fits(collection.kind()));
        named.extend(op.over().iter().map(|dot| dot.feed));
    }
    assert!(drafted.ops.is_sorted_by_key(|(collection, _)| *collection));
    assert_eq!(Vec::from_iter(named), drafted.named);
    assert!(drafted.named.len() <= MAX_NAMED);
}

fn ops(drafted: &Drafted) -> Vec<Op> {
    drafted.ops.iter().map(|(_, op)| Op::decode(op).unwrap()).collect()
}

/// Applies what was drafted as the next entry of `own`.
fn commit(replica: &mut Replica, drafted: &Drafted) -> EntryId {
    let last = replica.known.order.iter().rfind(|said| said.id.feed == own());
    let parent = last.map(|said| said.id);
    let next = id(own(), parent.map_or(1, |parent| parent.number + 1), 0);
    let ops = drafted.ops.clone();
    replica.apply(&Said { id: next, parent, time: at(next.number), ops });
    next
}

#[test]
fn an_edit_is_of_its_kind_of_collection_and_within_limits() {
    let [map, set, register, counter] = collections();
    let (put, empty) = (Action::Put(b"v".to_vec()), Action::Put(vec![]));
    let kinds = |collection, key: &[u8]| {
        let actions = [put.clone(), empty.clone(), Action::Remove, Action::Add(1), Action::Reset];
        actions.map(|action| match Edit::new(collection, key, action) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, EditError::Kind { kind: collection.kind() });
                false
            }
        })
    };
    assert_eq!(kinds(map, b"k"), [true, true, true, false, false]);
    assert_eq!(kinds(set, b"k"), [false, true, true, false, false]);
    assert_eq!(kinds(register, b""), [true, true, true, false, false]);
    assert_eq!(kinds(register, b"k"), [false; 5]);
    assert_eq!(kinds(counter, b"k"), [false, false, false, true, true]);
    assert_eq!(kinds(Collection::new(Kind::Document, "d"), b""), [false; 5]);

    let key = vec![0; MAX_KEY + 1];
    assert!(Edit::new(map, &key[1..], Action::Remove).is_ok());
    assert_eq!(Edit::new(map, &*key, Action::Remove), Err(EditError::Key { len: 1025 }));
    let put = |len| Edit::new(map, b"", Action::Put(vec![0; len]));
    assert!(put(MAX_VALUE).is_ok());
    assert_eq!(put(MAX_VALUE + 1), Err(EditError::Value { len: 1_040_385 }));
}

#[test]
fn a_put_names_what_others_wrote_there_and_nothing_of_its_own() {
    let mut replica = Replica::default();
    let first = drafted(&replica, &[write(map(), b"k", "1")]);
    commit(&mut replica, &first);
    let other = id(feed(2, 1), 1, 0);
    let ops_of_other = vec![put(b"k", "2", &[]), put(b"l", "2", &[])];
    replica.apply(&said(other, None, map(), ops_of_other));

    let next = drafted(&replica, &[write(map(), b"k", "3")]);
    assert_eq!(ops(&next), [put(b"k", "3", &[other.dot(0)])]);
    assert_eq!((next.named.as_slice(), next.taken), (&[feed(2, 1)][..], 1));
    commit(&mut replica, &next);
    assert_eq!(replica.values(&map(), b"k"), [b"3"]);

    let last = drafted(&replica, &[write(map(), b"k", "4")]);
    assert_eq!(ops(&last), [put(b"k", "4", &[])]);
    assert!(last.named.is_empty());
}

#[test]
fn to_remove_what_is_not_there_is_nothing_to_write() {
    let mut replica = Replica::default();
    let [map, set, register, counter] = collections();
    let absent = [
        edit(map, b"k", Action::Remove),
        edit(set, b"k", Action::Remove),
        edit(register, b"", Action::Remove),
        edit(counter, b"k", Action::Reset),
        // Nobody saw these two.
        write(map, b"l", "1"),
        edit(map, b"l", Action::Remove),
    ];
    assert_eq!(drafted(&replica, &absent), Drafted { taken: 6, ..Drafted::default() });

    // What is its own is removed without a name.
    let first = drafted(&replica, &[write(map, b"k", "1")]);
    commit(&mut replica, &first);
    let gone = drafted(&replica, &absent);
    assert_eq!(ops(&gone), [remove(b"k", &[])]);
    commit(&mut replica, &gone);
    assert!(replica.rows.is_empty());
}

#[test]
fn later_edits_of_a_key_see_the_earlier_and_one_operation_is_left() {
    let mut replica = Replica::default();
    let [map, .., counter] = collections();
    let other = id(feed(2, 1), 1, 0);
    replica.apply(&said(other, None, counter, vec![count(b"c", 7, &[])]));
    let add = |more| edit(counter, b"c", Action::Add(more));
    let edits = [
        write(map, b"k", "1"),
        add(5),
        edit(map, b"k", Action::Remove),
        add(-2),
        write(map, b"k", "2"),
    ];
    let first = drafted(&replica, &edits);
    assert_eq!(first.taken, 5);
    let mut left = ops(&first);
    left.sort_by_key(|op| op.key().to_vec());
    assert_eq!(left, [count(b"c", 3, &[]), put(b"k", "2", &[])]);
    commit(&mut replica, &first);

    let reset = edit(counter, b"c", Action::Reset);
    let again = drafted(&replica, &[add(1), reset.clone(), add(4), add(1)]);
    assert_eq!(ops(&again), [count(b"c", 5, &[other.dot(0)])]);
    let gone = drafted(&replica, &[add(1), reset]);
    assert_eq!(ops(&gone), [remove(b"c", &[other.dot(0)])]);
}

#[test]
fn a_new_incarnation_adds_to_nothing_of_the_older_one() {
    let mut replica = Replica::default();
    let counter = collections()[3];
    let older = id(feed(OWN, 9), 1, 0);
    replica.apply(&said(older, None, counter, vec![count(b"c", 7, &[])]));
    let next = drafted(&replica, &[edit(counter, b"c", Action::Add(1))]);
    assert_eq!(ops(&next), [count(b"c", 1, &[])]);
    commit(&mut replica, &next);
    assert_eq!(counter::value(&counter, b"c", &replica.rows), Ok(8));
}

#[test]
fn a_total_that_is_too_large_says_which_edit_makes_it_so() {
    let mut replica = Replica::default();
    let counter = collections()[3];
    let add = |key: &[u8], more| edit(counter, key, Action::Add(more));
    let first = drafted(&replica, &[add(b"c", i64::MAX), add(b"d", i64::MIN)]);
    commit(&mut replica, &first);
    for (edits, at) in [
        (vec![add(b"c", -1), add(b"c", 1), add(b"c", 1)], 2),
        (vec![add(b"e", 1), add(b"d", -1)], 1),
    ] {
        let found = draft(&edits, &own(), &replica.rows, &replica.known);
        assert_eq!(found, Err(WriteError::Overflow { at }));
    }
    let reset = edit(counter, b"c", Action::Reset);
    let again = drafted(&replica, &[reset, add(b"c", i64::MIN), add(b"c", i64::MAX)]);
    assert_eq!(ops(&again), [count(b"c", -1, &[])]);
}
