use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    ops::Range,
};

use aether_core::{Hash, PublicKey};

use super::*;
use crate::proto::{
    entry::{Collection, Kind},
    id::{Dot, EntryId, FeedId, Position},
    rows::{Base, Rows, Scanned},
    time::Hybrid,
};

mod edit;
mod encoding;
mod histories;
mod laws;
mod meaning;
mod model;
mod reads;

type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

/// An entry as it counts: what the header says and what counts of the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    id: EntryId,
    parent: Option<EntryId>,
    time: Hybrid,
    ops: Vec<(Collection, Vec<u8>)>,
}

impl Said {
    fn batch(&self, position: Position) -> Batch<'_> {
        let mut next = 0;
        let ops = (0..).zip(&self.ops).map(|(index, (collection, bytes))| {
            let at = next;
            next += bytes.len();
            Placed { index, collection: *collection, bytes, at }
        });
        Batch { entry: self.id, position, ops: ops.collect() }
    }

    /// As it is stored.
    fn payload(&self) -> Vec<u8> {
        self.ops.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

/// What a replica knows beside its rows.
#[derive(Debug, Default)]
struct Known {
    /// What counts, in the order in which it is applied.
    order: Vec<Said>,
    /// The positions that were given, for good.
    positions: Vec<EntryId>,
    /// Feeds, by when they were first seen.
    feeds: Vec<FeedId>,
    /// What no local number is.
    salt: u32,
    /// Entries that never come.
    never: BTreeSet<EntryId>,
    /// Questions asked.
    asked: Cell<usize>,
}

impl Known {
    fn position(&self, id: &EntryId) -> usize {
        self.order.iter().position(|said| said.id == *id).expect("what is asked for counts")
    }
}

/// Positions begin anywhere, so that none is taken for a number of an entry.
const FIRST: u64 = 1000;

impl Known {
    /// Where an entry stands, by when it was last applied.
    fn place(&self, id: &EntryId) -> Position {
        let last = self.positions.iter().rposition(|other| other == id);
        Position::from_number(FIRST + last.expect("it was applied") as u64)
    }

    fn at(&self, position: Position) -> Option<&Said> {
        let id = &self.positions[usize::try_from(position.as_number() - FIRST).unwrap()];
        self.order.iter().find(|said| said.id == *id)
    }
}

impl<R: Base<Error = Infallible>> Entries<R> for Known {
    fn name(&self, _: &R, at: Position) -> Result<Option<(EntryId, Hybrid)>, Infallible> {
        Ok(self.at(at).map(|said| (said.id, said.time)))
    }

    fn part(&self, _: &R, at: Position, part: Range<usize>) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.at(at).map(|said| said.payload()[part].to_vec()))
    }
}

impl Feeds for Known {
    fn local(&self, feed: &FeedId) -> Option<u32> {
        let at = self.feeds.iter().position(|other| other == feed)?;
        Some(u32::try_from(at).unwrap() ^ self.salt)
    }

    fn feed(&self, local: u32) -> FeedId {
        self.feeds[usize::try_from(local ^ self.salt).unwrap()]
    }
}

impl<R: Base<Error = Infallible>> Applied<R> for Known {
    fn awaits(&self, _: &R, dot: &Dot, at: &EntryId) -> Result<bool, Infallible> {
        self.asked.set(self.asked.get() + 1);
        let now = self.position(at);
        let named = |id: &EntryId| id.dot(dot.index) == *dot;
        let mut found = (0..).zip(&self.order).filter(|(_, said)| named(&said.id)).peekable();
        match found.peek() {
            Some(_) => Ok(found.any(|(position, _)| position > now)),
            None => Ok(!self.never.iter().any(named)),
        }
    }

    fn precedes(&self, _: &R, earlier: Position, later: &EntryId) -> Result<bool, Infallible> {
        self.asked.set(self.asked.get() + 1);
        let earlier = self.at(earlier).map(|said| said.id);
        let mut at = Some(*later);
        while let Some(id) = at {
            if Some(id) == earlier {
                return Ok(true);
            }
            at = self.order[self.position(&id)].parent;
        }
        Ok(false)
    }
}

/// Rows, and what is known beside them.
#[derive(Debug, Default)]
struct Replica {
    rows: Memory,
    known: Known,
}

impl Replica {
    fn new(salt: u32, never: &[Said]) -> Self {
        let mut replica = Self::default();
        replica.known.salt = salt;
        replica.known.never = never.iter().map(|said| said.id).collect();
        replica
    }

    fn apply(&mut self, said: &Said) {
        let name = said.id.dot(0);
        let twin = self.known.order.iter().any(|other| other.id.dot(0) == name);
        if !self.known.feeds.contains(&said.id.feed) {
            self.known.feeds.push(said.id.feed);
        }
        self.known.order.push(said.clone());
        self.known.positions.push(said.id);
        let batch = said.batch(self.known.place(&said.id));
        if twin {
            batch.collections().iter().for_each(|collection| self.rebuild(collection));
        } else {
            apply(&batch, &mut self.rows, &self.known).unwrap();
        }
    }

    fn rebuild(&mut self, collection: &Collection) {
        clear(collection, &mut self.rows).unwrap();
        for said in &self.known.order {
            let batch = said.batch(self.known.place(&said.id));
            apply_to(collection, &batch, &mut self.rows, &self.known).unwrap();
        }
    }

    /// Forgets entries, none of which is a parent of another that stays.
    fn evict(&mut self, gone: &[Said]) {
        self.known.order.retain(|said| !gone.contains(said));
        let changed = |said: &Said| said.batch(Position::ZERO).collections();
        for collection in gone.iter().flat_map(changed) {
            self.rebuild(&collection);
        }
    }

    fn get(&self, collection: &Collection, key: &[u8]) -> Vec<Element> {
        get(collection, key, &self.rows, &self.known).unwrap()
    }

    fn values(&self, collection: &Collection, key: &[u8]) -> Vec<Vec<u8>> {
        self.get(collection, key).into_iter().map(|element| element.value).collect()
    }

    fn hash(&self) -> Hash {
        state_hash(&self.rows, &self.known).unwrap()
    }

    /// How many dots are absent.
    fn absent(&self) -> usize {
        self.rows.keys().filter(|row| row[0] == 2).count()
    }

    /// The rows of alive values.
    fn elements(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.rows.iter().filter(|(row, _)| row[0] != 2)
    }
}

fn feed(author: u8, incarnation: u64) -> FeedId {
    FeedId { author: PublicKey::from_bytes([author; 32]), incarnation }
}

/// The only entry of this number in a lane of a feed. Lanes differ in the last byte of the hash,
/// and from the 8th lane on in nothing else: those are twins.
fn id(feed: FeedId, number: u64, lane: u8) -> EntryId {
    let mut hash = *feed.author.as_bytes();
    let front = Hash::from_bytes(hash);
    hash[..8].copy_from_slice(&(front.as_bytes()[0] as u64 * 1000 + number).to_be_bytes());
    hash[0] = if lane < 8 { lane } else { 8 };
    hash[31] = lane;
    EntryId { feed, number, hash: Hash::from_bytes(hash) }
}

fn at(millis: u64) -> Hybrid {
    Hybrid::from_bits(millis << 16)
}

fn collections() -> [Collection; 4] {
    [
        Collection::new(Kind::Map, "m"),
        Collection::new(Kind::Set, "s"),
        Collection::new(Kind::Register, "r"),
        Collection::new(Kind::Counter, "c"),
    ]
}

fn map() -> Collection {
    Collection::new(Kind::Map, "m")
}

/// An entry with operations on one collection.
fn said(id: EntryId, parent: Option<EntryId>, collection: Collection, ops: Vec<Op>) -> Said {
    let ops = ops.iter().map(|op| (collection, op.encode())).collect();
    Said { id, parent, time: at(id.number), ops }
}

fn put(key: &[u8], value: &str, over: &[Dot]) -> Op {
    Op::new(key, over.to_vec(), Change::Put(value.into())).unwrap()
}

fn remove(key: &[u8], over: &[Dot]) -> Op {
    Op::new(key, over.to_vec(), Change::Remove).unwrap()
}

fn count(key: &[u8], total: i64, over: &[Dot]) -> Op {
    Op::new(key, over.to_vec(), Change::Count(total)).unwrap()
}
