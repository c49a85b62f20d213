//! Tests of the [module](super): rows against what is in memory, and against the definition.

mod documents;
mod scripts;
mod walks;

use std::collections::BTreeMap;

use aether_core::{Hash, SecretKey};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;

use super::*;
use crate::proto::{
    entry::{Draft, Kind, Place},
    feed::Lanes,
    id::SpaceId,
    map::{Change, Op},
    time::Wall,
};

type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

const WALL: Wall = Wall::from_millis(1_800_000_000_000);

fn feed(author: u8) -> FeedId {
    FeedId { author: key(author).public(), incarnation: 1 }
}

fn key(author: u8) -> SecretKey {
    SecretKey::from_bytes([author; 32])
}

fn collection(name: u8) -> Collection {
    Collection::new(Kind::Map, &format!("map {name}"))
}

/// The entry of an author behind another one. What it puts tells it from its siblings.
fn entry(author: u8, parent: Option<&Entry>, into: &Collection, salt: u64) -> Entry {
    let space = SpaceId::from_hash(Hash::from_bytes([5; 32]));
    let place = match parent {
        Some(parent) => Place::after(parent.header(), Authority::Genesis),
        None => Some(Place::first(space, feed(author), Authority::Genesis)),
    };
    let salt = salt.to_be_bytes();
    let op = Op::new([salt[7] % 3], [], Change::Put(salt.to_vec())).unwrap();
    let mut draft = Draft::new();
    draft.op(*into, op.encode()).unwrap();
    draft.sign(&key(author), place.unwrap(), WALL).unwrap()
}

/// What an author signs who forks, parents before children, of a shape that is drawn.
fn tree(rng: &mut ChaCha12Rng, author: u8, size: usize) -> Vec<Entry> {
    let size = rng.random_range(1..=size);
    let straight = [0.5, 0.8, 1.0][rng.random_range(0..3)];
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..size {
        let parent = match entries.len() {
            0 => None,
            len if rng.random_bool(straight) => Some(&entries[len - 1]),
            len if rng.random_bool(0.9) => Some(&entries[rng.random_range(0..len)]),
            _ => None,
        };
        let into = collection(rng.random_range(0..3));
        let entry = entry(author, parent, &into, rng.random_range(0..=u64::MAX));
        entries.push(entry);
    }
    entries
}

/// Takes entries in, each as soon as its parent was offered.
fn offer(book: &mut Book<Memory>, entries: &[Entry], mut each: impl FnMut(&mut Book<Memory>)) {
    let mut waiting = entries.to_vec();
    loop {
        let before = waiting.len();
        waiting.retain(|entry| {
            let Ok(taken) = book.take(entry, Authority::Genesis);
            assert_eq!(taken.position.is_some(), taken.placed.is_kept());
            each(book);
            taken.placed == Placed::Gap
        });
        if waiting.len() == before {
            return;
        }
    }
}

/// What of a feed's tree is kept, by the definition.
fn defined(entries: &[Entry]) -> Nodes {
    let all: Nodes = entries.iter().map(|entry| node(entry.header())).collect();
    let (_, evicted) = Lanes::gather(Tip::ROOT, &all);
    all.iter().filter(|node| !evicted.contains(node)).collect()
}

fn kept(book: &Book<Memory>, feed: &FeedId) -> Nodes {
    let Some(local) = book.local(feed) else { return Nodes::default() };
    let Ok(nodes) = book.nodes(local, 0, u64::MAX);
    nodes
}

fn state(book: &Book<Memory>) -> Hash {
    let Ok(hash) = map::state_hash(book.rows(), book.catalog());
    hash
}

/// A book that took in what this one keeps, in the same order.
fn fresh(book: &Book<Memory>) -> Book<Memory> {
    let Ok(mut fresh) = Book::open(Memory::new());
    for row in book.order(Position::ZERO) {
        let Ok((_, local, tip)) = row;
        let Ok(entry) = book.entry(local, tip);
        let Ok(taken) = fresh.take(&entry.unwrap(), book.at(local).authority());
        assert!(taken.placed.is_new());
    }
    fresh
}

/// What is in memory is what rows say, and rows hold nothing that belongs to nothing.
fn check(book: &Book<Memory>) {
    let Ok(again) = Book::open(book.rows().clone());
    assert_eq!((again.last, &again.stale), (book.last, &book.stale));
    let feeds = |book: &Book<Memory>| {
        let known = |known: &Known| (known.id, known.authority, known.feed.clone());
        book.catalog.feeds().iter().map(known).collect::<Vec<_>>()
    };
    assert_eq!(feeds(&again), feeds(book));
    for known in book.catalog.feeds() {
        let Ok(witnesses) = book.witnesses(&known.id);
        let Some(evidence) = known.feed.evidence() else {
            assert_eq!(witnesses, None);
            continue;
        };
        let headers = witnesses.expect("evidence has its headers").map(|bytes| {
            let header = Header::decode(&bytes).unwrap().verify().unwrap();
            assert_eq!((header.feed(), header.number()), (known.id, evidence.number()));
            header.hash()
        });
        assert_eq!(headers, evidence.pair());
    }
    book.rows().iter().for_each(|(row, value)| check_row(book, row, value));
}

fn check_row(book: &Book<Memory>, row: &[u8], value: &[u8]) {
    let name = |row: &[u8]| {
        let (local, rest) = row[1..].split_first_chunk::<4>().unwrap();
        let (number, hash) = rest.split_first_chunk::<8>().unwrap();
        let hash = Hash::from_bytes(*hash.first_chunk().unwrap());
        (u32::from_be_bytes(*local), Tip { number: u64::from_be_bytes(*number), hash })
    };
    match row[0] {
        1 | 2 | 6 | 8 | 16 => {}
        3 => {
            let (local, tip) = name(row);
            let position = layout::read_header(value).0;
            assert_eq!(book.rows()[&layout::order(position)], layout::order_value(local, tip));
            let header = restore(layout::read_header(value).1);
            let named = (header.feed(), header.number(), header.hash());
            assert_eq!(named, (book.at(local).id, tip.number, tip.hash));
        }
        4 => {
            let position = u64::from_be_bytes(row[1..9].try_into().unwrap());
            let at = layout::order(Position::from_number(position));
            assert!(book.rows().contains_key(&at), "a payload alone");
        }
        5 => {
            let (position, local, tip) = layout::read_order(row, value);
            let header = &book.rows()[&layout::header(local, tip)];
            assert_eq!(layout::read_header(header).0, position);
            assert!(position <= book.last);
        }
        7 => {
            let (local, hash) = row[1..].split_first_chunk::<4>().unwrap();
            let known = book.at(u32::from_be_bytes(*local));
            let evidence = known.feed.evidence().expect("a witness of nothing");
            assert!(evidence.pair().iter().any(|of| of.as_bytes() == hash), "an old witness");
        }
        9 => assert!(book.stale.contains(&layout::read_stale(row))),
        first => panic!("a row that begins with {first}"),
    }
}

fn for_seeds(count: u64, property: impl Fn(&mut ChaCha12Rng)) {
    for seed in 0..count {
        let named = Seed(seed);
        property(&mut ChaCha12Rng::seed_from_u64(seed));
        drop(named);
    }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

#[test]
fn rows_are_read_back_at_every_step_and_keep_what_the_definition_says() {
    for_seeds(60, |rng| {
        let trees = [tree(rng, 1, 16), tree(rng, 2, 8)];
        let mut all = trees.concat();
        all.shuffle(rng);
        let Ok(mut book) = Book::open(Memory::new());
        offer(&mut book, &all, |book| check(book));
        for (author, entries) in (1..).zip(&trees) {
            assert_eq!(kept(&book, &feed(author)), defined(entries));
        }
    });
}

#[test]
fn collections_are_stale_from_an_eviction_to_the_next_rebuilding() {
    for_seeds(60, |rng| {
        let mut all = tree(rng, 1, 24);
        all.shuffle(rng);
        let Ok(mut book) = Book::open(Memory::new());
        let (mut before, mut stale) = (Nodes::default(), BTreeSet::new());
        let into = |node: &Node| {
            let entry = all.iter().find(|entry| entry.header().hash() == node.hash).unwrap();
            map::Batch::of(entry, Position::ZERO).collections()
        };
        offer(&mut book, &all, |book| {
            let now = kept(book, &feed(1));
            let gone = before.iter().filter(|node| now.get(node.tip()).is_none());
            stale.extend(gone.flat_map(|node| into(&node)));
            assert_eq!(book.stale, stale);
            before = now;
            if rng.random_bool(0.2)
                && let Some(first) = stale.pop_first()
            {
                let Ok(()) = book.rebuild(&first);
                check(book);
            }
            if stale.is_empty() {
                assert_eq!(state(book), state(&fresh(book)), "made anew, it is as if it were new");
            }
        });
    });
}

#[test]
fn evidence_from_elsewhere_and_of_withheld_entries_is_kept_with_its_headers() {
    for_seeds(40, |rng| {
        let entries = tree(rng, 1, 16);
        let Ok(mut book) = Book::open(Memory::new());
        for entry in &entries {
            let (one, other) = (rng.random_range(0..entries.len()), entries.len());
            let (one, other) = (&entries[one], &entries[rng.random_range(0..other)]);
            let before = book.evidence(&feed(1));
            let Ok(told) = book.note(one.header(), other.header());
            assert_eq!(told, book.evidence(&feed(1)) != before);
            check(&book);
            let before = book.evidence(&feed(1));
            let is_news = book.is_news(other.header());
            let Ok(told) = book.show(other.header());
            assert_eq!((told, is_news), (book.evidence(&feed(1)) != before, Ok(told)));
            check(&book);
            let Ok(_) = book.take(entry, Authority::Genesis);
            check(&book);
        }
    });
}

#[test]
fn of_each_row_that_counts_it_is_told_what_it_holds() {
    use super::salvage::{self, Left};
    use crate::proto::archive::Record;

    let into = collection(0);
    let first = entry(1, None, &into, 1);
    let [second, fork] = [2, 3].map(|salt| entry(1, Some(&first), &into, salt));
    let (other, staged) = (entry(2, None, &into, 4), entry(3, None, &into, 5));
    let Ok(mut book) = Book::open(Memory::new());
    offer(&mut book, &[first.clone(), second.clone(), fork.clone()], |_| ());
    let Ok(()) = book.keep_credential(other.header());
    let Ok(()) = book.stage(&staged);

    let (mut entries, mut witnesses, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (row, value) in book.rows() {
        let left = salvage::read(row, value);
        assert_eq!(left.is_some(), salvage::KEPT.contains(&row[0]), "{row:?}");
        match left {
            Some(Left::Entry { position, header }) => {
                let Ok(record) = salvage::entry(book.rows(), position, header, |_| false);
                entries.push((position, record.unwrap()));
            }
            Some(Left::Witness { local, header }) => witnesses.push((local, header)),
            Some(Left::Credential(record)) => others.push(record),
            Some(Left::Staged { feed: of, record }) => {
                assert_eq!(of, feed(3));
                others.push(record);
            }
            None => {}
        }
    }
    entries.sort_by_key(|(position, _)| *position);
    let record = |entry: &Entry| Record::Entry {
        header: entry.header().encode(),
        payload: entry.payload().as_bytes().to_vec(),
    };
    let entries: Vec<Record> = entries.into_iter().map(|(_, record)| record).collect();
    assert_eq!(entries, [&first, &second, &fork].map(record));
    let witness = [&second, &fork].map(|entry| (0, entry.header().encode()));
    assert!(witnesses.len() == 2 && witness.iter().all(|pair| witnesses.contains(pair)));
    let credential = Record::Credential { header: other.header().encode() };
    assert_eq!(others, [credential, record(&staged)]);

    // Of a payload of which a page is missing nothing is told; nor of what is torn.
    let mut torn = book.rows().clone();
    torn.retain(|row, _| row[0] != layout::PAYLOADS);
    let header = first.header().encode();
    let Ok(none) = salvage::entry(&torn, Position::from_number(1), header, |_| false);
    assert_eq!(none, None);
    for (row, value) in book.rows() {
        salvage::read(&row[..row.len() / 2], value);
        salvage::read(row, &value[..value.len() / 2]);
    }
}
