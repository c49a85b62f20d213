//! Compaction: which entries no longer do anything, so that their payloads may go.
//!
//! What was overwritten or removed still lies in the payloads of entries. An owner of the space may
//! [discard](crate::proto::entry::AccessOp::Discard) payloads: from then on they have no effect,
//! and no replica keeps them. Headers stay, so feeds stay linked and signed, and whoever joins
//! later is sent the headers alone.
//!
//! What is discarded is void *by definition*, for all alike: the state is a function of the entries
//! that count and of what was discarded, in any order. [`find`] finds what can be discarded so that
//! this state doesn't change; no replica takes an owner's word for it. Each judges by the same
//! rules before it drops a payload, and if one did something, by mistake or by a lie, it makes that
//! collection anew of what is left, as all others do.
//!
//! # When an entry is dead
//!
//! An entry of a feed that its author didn't fork is dead if all its operations are, and none of
//! them is a document's: a change of a document is part of its history for good. An operation of
//! feed F on key k is dead if
//!
//! 1. its value isn't alive;
//! 2. what it follows stays dead without it: nothing that is kept of F below it is on k, or
//!    something that is kept of F above it is;
//! 3. the dots that it names stay dead without it: each is of an entry that was discarded, or
//!    something that is kept of its feed, which isn't forked, above it is on k.
//!
//! What follows a value makes it dead whatever it does itself, so what is above needn't be alive.
//! These are the rules for what removes: a removal is dead once all that it removes is gone (Brown
//! and others, *Big(ger) sets*, arXiv 1605.06424). An operation that isn't applied, being of no
//! kind or torn, is dead from the start.
//!
//! A whole entry goes or stays. One of a thousand operations stays while one of its values is
//! alive; what is written over and over, or for a time, goes whole.
//!
//! What was discarded doesn't come back, also where a removal of a member later takes back what had
//! overwritten it. An owner that forks its own feed can take a discard back from those who didn't
//! see it: owners are trusted not to.

use std::{cell::RefCell, collections::BTreeMap};

use aether_core::Domain;

use super::{
    book::Book,
    entry::{Collection, Entry, Kind, Run},
    feed::{Feed, Shape},
    id::{FeedId, Position},
    map::{self, Feeds as _, Op, Others},
    rows::Rows,
};

const KEY: Domain = Domain::new("aether 2026-11 compact key v1");

/// Entries that are looked at in a row.
const CHUNK: usize = 256;
/// Most keys that are remembered: beyond, what one more might be needed for is kept. Some 64 MiB.
const MAX_KEYS: usize = 1 << 20;

/// Where keys are named by what is kept of a feed and dead there, with no value of the feed alive:
/// lowest and highest number of an entry, by feed and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    kept: BTreeMap<[u8; 16], (u64, u64)>,
    /// Names of entries that were looked up last.
    names: RefCell<BTreeMap<Position, (FeedId, u64)>>,
}

impl Keys {
    /// Whether something may be kept below an entry.
    fn is_below(&self, name: &[u8; 16], number: u64) -> bool {
        let found = self.kept.get(name).map(|(lowest, _)| *lowest < number);
        found.unwrap_or(self.kept.len() >= MAX_KEYS)
    }

    /// Whether something is kept above an entry.
    fn is_above(&self, name: &[u8; 16], number: u64) -> bool {
        self.kept.get(name).is_some_and(|(_, highest)| *highest > number)
    }

    /// An entry is kept, with what is [dead](Judged::dead) in it.
    pub(super) fn keep(&mut self, number: u64, dead: Vec<[u8; 16]>) {
        for name in dead {
            if let Some((lowest, highest)) = self.kept.get_mut(&name) {
                (*lowest, *highest) = (number.min(*lowest), number.max(*highest));
            } else if self.kept.len() < MAX_KEYS {
                self.kept.insert(name, (number, number));
            }
        }
    }

    /// Judges an entry that is kept and stands at a position. `is_gone` tells of which entries
    /// nothing counts. One look-up for each operation, and one or two for each dot of others that
    /// it names.
    pub(super) fn judge<R: Rows>(
        &self,
        book: &Book<R>,
        entry: &Entry,
        at: Position,
        is_gone: impl Fn(&FeedId, u64) -> bool,
    ) -> Result<Judged, R::Error> {
        let (feed, number) = (entry.header().feed(), entry.header().number());
        let (rows, feeds) = (book.rows(), book.catalog());
        let local = feeds.local(&feed).expect("an entry that is kept");
        let is_plain = |feed: &FeedId| book.known(feed).is_some_and(|known| is_plain(known.feed()));
        let mut judged = Judged { is_free: is_plain(&feed), alive: Vec::new(), dead: Vec::new() };
        for (index, (collection, bytes)) in (0..).zip(entry.payload().ops()) {
            if collection.kind() == Kind::Document {
                judged.is_free = false;
                continue;
            }
            let Some(op) = Op::decode(bytes).ok().filter(|op| op.fits(collection.kind())) else {
                continue;
            };
            let is_dead = |feed: &FeedId, number| {
                is_plain(feed) && self.is_above(&name(feed, collection, &op), number)
            };
            let names = &self.names;
            let others =
                Others { is_gone: &is_gone, is_dead: &is_dead, is_plain: &is_plain, names };
            let fate = map::fate(collection, &op, (local, at, index), rows, feeds, &others)?;
            judged.is_free &= fate.are_named_dead && !book.stale().contains(collection);
            if !fate.is_followed {
                let name = name(&feed, collection, &op);
                judged.is_free &= !self.is_below(&name, number) || self.is_above(&name, number);
                judged.dead.extend((!fate.is_alive).then_some(name));
            }
            if fate.is_alive {
                judged.alive.push((*collection, op.key().to_vec(), index));
            }
        }
        Ok(judged)
    }
}

/// What is to be said of an entry.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Whether nothing changes without it but for what is alive of it.
    is_free: bool,
    /// The values of it that are alive: collection, key, index.
    pub(super) alive: Vec<(Collection, Vec<u8>, u32)>,
    /// What in it is dead and has no value of the feed alive at its key.
    pub(super) dead: Vec<[u8; 16]>,
}

impl Judged {
    /// Whether nothing changes without it.
    pub(super) const fn is_dead(&self) -> bool {
        self.is_free && self.alive.is_empty()
    }

    /// Whether nothing changes without it but what it put itself.
    pub(super) const fn is_free(&self) -> bool {
        self.is_free
    }
}

fn name(feed: &FeedId, collection: &Collection, op: &Op) -> [u8; 16] {
    let mut hasher = KEY.hasher();
    hasher.update(feed.digest().as_ref()).update(collection.id());
    hasher.update(&[collection.kind().to_byte()]).update(op.key());
    *hasher.finish().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Whether what a feed says of itself can be relied on: its author stands, and hasn't forked it.
pub(super) fn is_plain(feed: &Feed) -> bool {
    let is_open = matches!(feed.shape(), Shape::Open(lanes) if lanes.fork().is_none());
    is_open && feed.evidence().is_none()
}

/// What can be discarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Which entries, by their feeds.
    pub runs: BTreeMap<FeedId, Vec<Run>>,
    /// How many.
    pub entries: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Finds all entries that are dead and weren't discarded. Reads all payloads, and costs a look-up
/// for each operation; `progress` is told how many positions of how many it is through.
///
/// # Errors
/// Of the rows.
pub fn find<R: Rows>(
    book: &Book<R>,
    mut progress: impl FnMut(Position, Position),
) -> Result<Found, R::Error> {
    let (mut keys, mut finding) = (Keys::default(), BTreeMap::<FeedId, Finding>::new());
    let mut found = Found::default();
    let mut after = Position::ZERO;
    loop {
        let some = book.order(after).take(CHUNK).collect::<Result<Vec<_>, _>>()?;
        for (at, local, tip) in &some {
            let known = book.catalog().at(*local);
            let Some(entry) = book.entry(*local, *tip)?.filter(|_| is_plain(known.feed())) else {
                continue;
            };
            let bytes = entry.payload().as_bytes().len();
            if bytes == 0 || book.is_discarded(&known.id(), tip.number) {
                // It may stand in a run, which is the shorter to say.
                finding.entry(known.id()).or_default().add(tip.number, 0);
                continue;
            }
            let is_gone = |feed: &FeedId, number| {
                let found = finding.get(feed).is_some_and(|found| found.has(number));
                found || book.is_discarded(feed, number)
            };
            let judged = keys.judge(book, &entry, *at, is_gone)?;
            if judged.is_dead() {
                finding.entry(known.id()).or_default().add(tip.number, 1);
                found.entries += 1;
                found.bytes += bytes as u64;
            } else {
                keys.keep(tip.number, judged.dead);
            }
        }
        match some.last() {
            Some((last, ..)) if some.len() == CHUNK => after = *last,
            _ => break,
        }
        progress(after, book.last());
    }
    for (feed, finding) in finding {
        let runs = finding.runs.into_iter().filter(|(_, dead)| *dead > 0).map(|(run, _)| run);
        let runs: Vec<Run> = runs.collect();
        if !runs.is_empty() {
            found.runs.insert(feed, runs);
        }
    }
    Ok(found)
}

/// What was found of a feed: runs, and how many of each are dead.
#[derive(Clone, Debug, Default)]
struct Finding {
    runs: Vec<(Run, u64)>,
}

impl Finding {
    fn has(&self, number: u64) -> bool {
        let next = self.runs.partition_point(|(run, _)| run.last < number);
        self.runs.get(next).is_some_and(|(run, _)| run.contains(number))
    }

    fn add(&mut self, number: u64, dead: u64) {
        match self.runs.last_mut() {
            Some((run, count)) if run.last.checked_add(1) == Some(number) => {
                run.last = number;
                *count += dead;
            }
            _ => self.runs.push((Run { first: number, last: number }, dead)),
        }
    }
}

#[cfg(test)]
mod tests;
