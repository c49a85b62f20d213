//! What registers, sets and counters mean to those who use them.

use super::*;

const A: u8 = 1;
const B: u8 = 2;

fn nth(author: u8, number: u64) -> EntryId {
    id(feed(author, 1), number, 0)
}

/// The entry of an honest author, after its own last.
fn by(author: u8, number: u64, collection: Collection, op: Op) -> Said {
    let parent = (number > 1).then(|| nth(author, number - 1));
    said(nth(author, number), parent, collection, vec![op])
}

fn all_orders(set: &[Said], check: impl Fn(&Replica)) {
    for seed in 0..200u16 {
        let mut replica = Replica::default();
        let order = histories::shuffled(set, &[seed, seed / 3, seed / 7, seed / 13]);
        order.iter().for_each(|said| replica.apply(said));
        check(&replica);
    }
}

#[test]
fn concurrent_values_of_a_register_stand_until_a_writer_has_seen_both() {
    let register = collections()[2];
    let (one, other) =
        (by(A, 1, register, put(b"", "1", &[])), by(B, 1, register, put(b"", "2", &[])));
    all_orders(&[one.clone(), other.clone()], |replica| {
        assert_eq!(replica.values(&register, b""), [b"1", b"2"]);
    });
    let seen = [one.id.dot(0), other.id.dot(0)];
    let both = by(A, 2, register, put(b"", "3", &seen));
    all_orders(&[one, other, both], |replica| {
        assert_eq!(replica.values(&register, b""), [b"3"]);
        assert_eq!(replica.absent(), 0);
    });
}

#[test]
fn a_set_keeps_what_is_added_while_it_is_removed() {
    let set = collections()[1];
    let add = by(A, 1, set, put(b"x", "", &[]));
    let gone = by(B, 1, set, remove(b"x", &[add.id.dot(0)]));
    all_orders(&[add.clone(), gone.clone()], |replica| {
        assert_eq!(replica.values(&set, b"x").len(), 0);
        assert!(replica.rows.is_empty(), "no tombstone");
    });
    let again = by(A, 2, set, put(b"x", "", &[]));
    all_orders(&[add, gone, again.clone()], |replica| {
        assert_eq!(replica.get(&set, b"x")[0].dot(), again.id.dot(0));
        assert_eq!(replica.rows.len(), 1);
    });
}

#[test]
fn a_reference_means_its_own_key_and_collection() {
    let set = collections()[1];
    let add = by(A, 1, set, put(b"x", "", &[]));
    let dot = add.id.dot(0);
    let wrong = [
        by(B, 1, set, remove(b"y", &[dot])),
        by(B, 2, map(), remove(b"x", &[dot])),
        by(B, 3, set, remove(b"x", &[Dot { index: 1, ..dot }])),
        by(B, 4, set, remove(b"x", &[Dot { number: 2, ..dot }])),
    ];
    let all = [&[add][..], &wrong].concat();
    all_orders(&all, |replica| assert_eq!(replica.values(&set, b"x").len(), 1));
}

#[test]
fn a_counter_is_the_sum_of_its_feeds_totals() {
    let counter = collections()[3];
    let mut set = vec![
        by(A, 1, counter, count(b"c", 5, &[])),
        by(A, 2, counter, count(b"c", 7, &[])),
        by(B, 1, counter, count(b"c", -3, &[])),
    ];
    // The same author in a new incarnation.
    let next = id(feed(A, 2), 1, 0);
    set.push(said(next, None, counter, vec![count(b"c", 10, &[])]));
    all_orders(&set, |replica| {
        let Replica { rows, known } = replica;
        assert_eq!(counter::value(&counter, b"c", rows), Ok(14));
        assert_eq!(counter::own(&counter, b"c", &feed(A, 1), rows, known), Ok(7));
        assert_eq!(counter::own(&counter, b"c", &feed(A, 2), rows, known), Ok(10));
        assert_eq!(counter::own(&counter, b"c", &feed(A, 3), rows, known), Ok(0));
        assert_eq!(replica.get(&counter, b"c").len(), 3, "a total for each feed");
    });

    // A reset that hasn't seen the total of the new incarnation, nor the last of B.
    let seen = [nth(A, 2).dot(0), nth(B, 1).dot(0)];
    set.push(by(3, 1, counter, remove(b"c", &seen)));
    set.push(by(B, 2, counter, count(b"c", -2, &[])));
    all_orders(&set, |replica| {
        let Replica { rows, known } = replica;
        assert_eq!(counter::value(&counter, b"c", rows), Ok(8));
        assert_eq!(counter::own(&counter, b"c", &feed(A, 1), rows, known), Ok(0));
        assert_eq!(counter::own(&counter, b"c", &feed(B, 1), rows, known), Ok(-2));
    });
}

#[test]
fn totals_that_are_as_large_as_can_be_add_up() {
    let counter = collections()[3];
    let mut replica = Replica::default();
    for author in 1..4 {
        replica.apply(&by(author, 1, counter, count(b"", i64::MAX, &[])));
    }
    let value = counter::value(&counter, b"", &replica.rows);
    assert_eq!(value, Ok(3 * i128::from(i64::MAX)));
}

#[test]
fn both_lanes_of_a_fork_stand_and_each_follows_its_own() {
    let liar = feed(3, 1);
    let (trunk, left, right) = (id(liar, 1, 0), id(liar, 2, 0), id(liar, 2, 1));
    let set = [
        said(trunk, None, map(), vec![put(b"k", "trunk", &[]), put(b"l", "trunk", &[])]),
        said(left, Some(trunk), map(), vec![put(b"k", "left", &[])]),
        said(right, Some(trunk), map(), vec![put(b"k", "right", &[])]),
        said(id(liar, 3, 1), Some(right), map(), vec![remove(b"l", &[])]),
    ];
    all_orders(&set, |replica| {
        assert_eq!(replica.values(&map(), b"k"), [b"left".to_vec(), b"right".to_vec()]);
        assert_eq!(replica.values(&map(), b"l"), [b""; 0]);
    });
    // A reference means the one lane that it was of.
    let gone = by(A, 1, map(), remove(b"k", &[right.dot(0)]));
    let all = [&set[..], &[gone]].concat();
    all_orders(&all, |replica| assert_eq!(replica.values(&map(), b"k"), [b"left"]));
}

#[test]
fn a_reference_to_twins_means_both_whenever_they_come() {
    let liar = feed(4, 1);
    let (trunk, one, other) = (id(liar, 1, 0), id(liar, 2, 8), id(liar, 2, 9));
    assert_eq!(one.dot(0), other.dot(0));
    let mut set = vec![
        said(trunk, None, map(), vec![]),
        said(one, Some(trunk), map(), vec![put(b"k", "one", &[])]),
        said(other, Some(trunk), map(), vec![put(b"k", "other", &[])]),
    ];
    all_orders(&set, |replica| {
        assert_eq!(replica.values(&map(), b"k"), [b"one".to_vec(), b"other".to_vec()]);
    });
    set.push(by(A, 1, map(), remove(b"k", &[one.dot(0)])));
    all_orders(&set, |replica| assert_eq!(replica.values(&map(), b"k"), [b""; 0]));
}

#[test]
fn a_dot_of_an_entry_that_says_nothing_of_the_collection_is_absent_or_not_and_no_state_differs() {
    let [map, set, ..] = collections();
    let add = by(A, 1, set, put(b"x", "", &[]));
    let lie = by(B, 1, map, remove(b"x", &[add.id.dot(0)]));
    let absent = [[&add, &lie], [&lie, &add]].map(|order| {
        let mut replica = Replica::default();
        order.iter().for_each(|said| replica.apply(said));
        assert_eq!(replica.values(&set, b"x").len(), 1);
        assert_eq!(replica.hash(), model::hash(&model::state(&[add.clone(), lie.clone()])));
        replica.absent()
    });
    assert_eq!(absent, [0, 1]);
}

#[test]
fn look_ups_are_as_many_as_documented() {
    let mut replica = Replica::default();
    replica.apply(&by(A, 1, map(), put(b"k", "v", &[])));
    let (counted, asked) = cost_of(replica, &by(A, 2, map(), put(b"k", "v", &[])));
    // The collection's absent dots, and the key, whatever else there is.
    assert_eq!((counted.scans.get(), counted.gets.get()), (1, 1));
    assert_eq!((counted.puts, counted.deletes, asked), (1, 0, 1));

    let mut replica = Replica::default();
    for author in 1..=9 {
        replica.apply(&by(author, 1, map(), put(b"k", "v", &[])));
    }
    let seen: Vec<Dot> = (2..=5).map(|author| nth(author, 1).dot(0)).collect();
    let (counted, asked) = cost_of(replica, &by(A, 2, map(), put(b"k", "v", &seen)));
    // Beside that four feeds that it names, and its own.
    assert_eq!((counted.scans.get(), counted.gets.get()), (6, 1));
    // The new value's row, and the key's, for how many there are.
    assert_eq!((counted.puts, counted.deletes), (2, 5));
    // Four dots and one value of its own.
    assert_eq!(asked, 5);
}

/// What applying an entry costs: rows, and questions.
fn cost_of(mut replica: Replica, next: &Said) -> (Counted, usize) {
    replica.known.order.push(next.clone());
    replica.known.positions.push(next.id);
    replica.known.asked.set(0);
    let mut counted = Counted { rows: replica.rows, ..Counted::default() };
    let batch = next.batch(replica.known.place(&next.id));
    apply(&batch, &mut counted, &replica.known).unwrap();
    (counted, replica.known.asked.get())
}

#[derive(Debug, Default)]
struct Counted {
    rows: Memory,
    scans: Cell<usize>,
    gets: Cell<usize>,
    puts: usize,
    deletes: usize,
}

impl Base for Counted {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        self.gets.set(self.gets.get() + 1);
        Base::get(&self.rows, key)
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_> {
        self.scans.set(self.scans.get() + 1);
        self.rows.scan(from, below)
    }
}

impl Rows for Counted {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Infallible> {
        self.puts += 1;
        self.rows.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
        self.deletes += 1;
        self.rows.delete(key)
    }
}

#[test]
fn many_values_of_a_key_are_apart_from_those_of_a_key_that_begins_with_it() {
    let keys: [&[u8]; 2] = [b"a", b"ab"];
    let mut replica = Replica::default();
    for author in 1..=8 {
        let ops = keys.map(|key| put(key, "", &[]));
        replica.apply(&said(nth(author, 1), None, map(), ops.into()));
    }
    assert_eq!(keys.map(|key| replica.get(&map(), key).len()), [8, 8]);
    replica.apply(&by(A, 2, map(), put(b"a", "", &[])));
    assert_eq!(keys.map(|key| replica.get(&map(), key).len()), [8, 8]);
}
