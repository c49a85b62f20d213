//! Tests of the [module](super): random histories with and without discarding.

use std::collections::BTreeMap;

use aether_core::{Hash, SecretKey};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::*;
use crate::proto::{
    book::Dropped,
    entry::{Authority, Collection, Draft, Place},
    id::SpaceId,
    map::{Action, Edit},
    time::Wall,
};

type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

const AUTHORS: u8 = 3;

fn key(author: u8) -> SecretKey {
    SecretKey::from_bytes([author + 1; 32])
}

fn feed(author: u8) -> FeedId {
    FeedId { author: key(author).public(), incarnation: 1 }
}

fn open() -> Book<Memory> {
    let Ok(book) = Book::open(Memory::new());
    book
}

fn state(book: &Book<Memory>) -> Hash {
    let Ok(hash) = map::state_hash(book.rows(), book.catalog());
    hash
}

/// Who writes, and what was written.
struct World {
    rng: ChaCha12Rng,
    /// What each author holds, and all that it wrote.
    books: Vec<Book<Memory>>,
    feeds: Vec<Vec<Entry>>,
    millis: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let books = (0..AUTHORS).map(|_| open()).collect();
        let feeds = (0..AUTHORS).map(|_| Vec::new()).collect();
        Self { rng: ChaCha12Rng::seed_from_u64(seed), books, feeds, millis: 1_800_000_000_000 }
    }

    fn edit(&mut self) -> Edit {
        let kinds = [Kind::Map, Kind::Map, Kind::Set, Kind::Counter, Kind::Register];
        let kind = kinds[self.rng.random_range(0..kinds.len())];
        let key = match kind {
            Kind::Register => Vec::new(),
            _ => vec![self.rng.random_range(b'a'..=b'c')],
        };
        let is_removal = self.rng.random_bool(0.3);
        let action = match kind {
            _ if is_removal && kind == Kind::Counter => Action::Reset,
            _ if is_removal => Action::Remove,
            Kind::Set => Action::Put(Vec::new()),
            Kind::Counter => Action::Add(1),
            // Some lie in their slots, and some in payloads.
            _ => Action::Put(vec![self.rng.random(); self.rng.random_range(1..40)]),
        };
        Edit::new(Collection::new(kind, "all"), key, action).unwrap()
    }

    /// An author writes an entry.
    fn write(&mut self, author: u8) {
        let count = self.rng.random_range(1..4);
        let edits: Vec<Edit> = (0..count).map(|_| self.edit()).collect();
        let book = &mut self.books[usize::from(author)];
        let drafted = map::draft(&edits, &feed(author), book.rows(), book.catalog()).unwrap();
        if drafted.ops.is_empty() {
            return;
        }
        let mut draft = Draft::new();
        for (collection, op) in drafted.ops {
            draft.op(collection, op).unwrap();
        }
        let own = &mut self.feeds[usize::from(author)];
        let space = SpaceId::from_hash(Hash::from_bytes([5; 32]));
        let place = match own.last() {
            Some(last) => Place::after(last.header(), Authority::Genesis).unwrap(),
            None => Place::first(space, feed(author), Authority::Genesis),
        };
        self.millis += 1;
        let entry = draft.sign(&key(author), place, Wall::from_millis(self.millis)).unwrap();
        let Ok(taken) = book.take(&entry, Authority::Genesis);
        assert!(taken.placed.is_new());
        own.push(entry);
    }

    /// A book takes what comes next of a feed, if anything does.
    fn take(&mut self, at: usize, of: usize) {
        give(&mut self.books[at], &self.feeds[of], 1);
    }

    /// Some is written, and some of it received.
    fn pass(&mut self, steps: usize) {
        for _ in 0..steps {
            let author = self.rng.random_range(0..AUTHORS);
            if self.rng.random_bool(0.5) {
                self.write(author);
            } else {
                let from = usize::from(self.rng.random_range(0..AUTHORS));
                self.take(author.into(), from);
            }
        }
    }

    /// All receive all, in some order.
    fn meet(&mut self) {
        for book in 0..self.books.len() {
            self.meet_at(book);
        }
    }

    fn meet_at(&mut self, book: usize) {
        let first: usize = self.rng.random_range(0..3);
        for of in 0..3 {
            give(&mut self.books[book], &self.feeds[(first + of) % 3], usize::MAX);
        }
    }

    /// Runs that somebody might name.
    fn lie(&mut self) -> BTreeMap<FeedId, Vec<Run>> {
        let mut runs = BTreeMap::new();
        for author in 0..AUTHORS {
            let top = self.feeds[usize::from(author)].len() as u64;
            let first = self.rng.random_range(1..=top.max(1));
            let last = self.rng.random_range(first..=top.max(first));
            runs.insert(feed(author), vec![Run { first, last }]);
        }
        runs
    }
}

/// Gives a book so many entries that come next of a feed.
fn give(book: &mut Book<Memory>, entries: &[Entry], most: usize) {
    let Some(first) = entries.first() else { return };
    let tips = book.known(&first.header().feed()).map(|known| known.feed().tips());
    let held = tips.and_then(|tips| tips.first().map(|tip| tip.number)).unwrap_or(0);
    for entry in entries.iter().skip(usize::try_from(held).unwrap()).take(most) {
        let Ok(taken) = book.take(entry, Authority::Genesis);
        assert!(taken.placed.is_new());
    }
}

fn discard(book: &mut Book<Memory>, found: &BTreeMap<FeedId, Vec<Run>>) {
    for (feed, runs) in found {
        let Ok(_) = book.discard(*feed, runs);
    }
}

/// Drops some operations' worth at a time, until nothing is left that can be.
fn drop_all(book: &mut Book<Memory>, must: bool) -> Dropped {
    loop {
        let Ok(dropped) = book.drop_some(3, must);
        if dropped != Dropped::More {
            return dropped;
        }
    }
}

fn rebuild(book: &mut Book<Memory>) {
    for collection in book.stale().clone() {
        let Ok(()) = book.rebuild(&collection);
    }
}

fn payloads(book: &Book<Memory>) -> usize {
    book.rows().keys().filter(|row| row[0] == 4).count()
}

fn seeds() -> impl Iterator<Item = u64> {
    let one = std::env::var("AETHER_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, count) = one.map_or((0, 300), |seed| (seed, 1));
    first..first + count
}

#[test]
fn what_is_found_can_be_discarded_anywhere_and_nothing_changes() {
    let (mut entries, mut lagging) = (0, 0);
    for seed in seeds() {
        println!("AETHER_SEED={seed}");
        let mut world = World::new(seed);
        let mut all: BTreeMap<FeedId, Vec<Run>> = BTreeMap::new();
        for _ in 0..3 {
            world.pass(60);
            let owner = world.rng.random_range(0..world.books.len());
            let Ok(found) = find(&world.books[owner], |_, _| {});
            entries += found.entries;
            for (feed, runs) in &found.runs {
                all.entry(*feed).or_default().extend(runs.clone());
            }
            // Who found it drops it at once, and others some time.
            let before = (state(&world.books[owner]), payloads(&world.books[owner]));
            let waits = world.books[owner].is_dropping();
            discard(&mut world.books[owner], &found.runs);
            let dropped = drop_all(&mut world.books[owner], false);
            assert!(waits || dropped == Dropped::Done { is_seen: false }, "what is found dead is");
            let after = (state(&world.books[owner]), payloads(&world.books[owner]));
            assert!(world.books[owner].stale().is_empty(), "all was dead");
            assert_eq!(after.0, before.0);
            assert!(waits || (before.1 - after.1) as u64 == found.entries);
            // Here an entry may come before those whose dots it names, so one pass isn't all.
            let mut rest = world.books[owner].clone();
            let more = (0..9).find_map(|_| {
                let Ok(more) = find(&rest, |_, _| {});
                discard(&mut rest, &more.runs);
                drop_all(&mut rest, false);
                (more.entries == 0).then_some(())
            });
            assert!(more.is_some(), "it comes to an end");
            assert_eq!(state(&rest), before.0);
            let other = (owner + 1) % 3;
            discard(&mut world.books[other], &found.runs);
            lagging += usize::from(drop_all(&mut world.books[other], false) == Dropped::Later);
            assert!(world.books[other].stale().is_empty(), "what is alive is left");
        }
        let mut plain = open();
        world.feeds.iter().for_each(|feed| give(&mut plain, feed, usize::MAX));
        let mut late = open();
        discard(&mut late, &all);
        world.books.push(late);
        world.meet();
        for book in &mut world.books {
            discard(book, &all);
            // What killed a value may have been discarded before it came.
            assert!(matches!(drop_all(book, true), Dropped::Done { .. }));
            assert!(book.stale().is_empty(), "nothing has to be made anew");
            assert_eq!(state(book), state(&plain));
            let Ok(again) = Book::open(book.rows().clone());
            assert!(!again.is_dropping());
        }
        let left: Vec<usize> = world.books.iter().map(payloads).collect();
        assert!(left.iter().all(|count| *count == left[0]), "all keep the same: {left:?}");
    }
    assert!(entries > 1000 || seeds().count() == 1, "{entries} were dead");
    assert!(lagging > 10 || seeds().count() == 1, "{lagging} had to wait");
}

#[test]
fn whatever_is_discarded_all_come_to_the_same() {
    for seed in seeds() {
        println!("AETHER_SEED={seed}");
        let mut world = World::new(seed);
        world.pass(120);
        let lies = [world.lie(), world.lie()];
        // One is told before it holds anything, one in the middle, and one at the end.
        let mut late = open();
        lies.iter().for_each(|lie| discard(&mut late, lie));
        world.books.push(late);
        discard(&mut world.books[0], &lies[0]);
        drop_all(&mut world.books[0], world.rng.random());
        rebuild(&mut world.books[0]);
        world.pass(20);
        world.meet();
        let mut states = Vec::new();
        for book in &mut world.books {
            lies.iter().rev().for_each(|lie| discard(book, lie));
            assert!(matches!(drop_all(book, true), Dropped::Done { .. }));
            rebuild(book);
            states.push((state(book), payloads(book)));
        }
        assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
    }
}
