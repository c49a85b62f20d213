//! What a book keeps of documents beside their entries: which entries change each, and its file.
//!
//! Automerge takes one change with an actor's number, and an author that forked has signed two. So
//! of a forked feed the entries of one branch [count](Counting) for documents: of the lane whose
//! head is the smaller, or of the first of the chains that removals pinned. All are kept, and
//! replicas that hold the same count the same.
//!
//! A *file* is what a document was after all entries up to a position: for a quick start. It goes
//! when one of them counts no longer.

use std::collections::{BTreeMap, BTreeSet};

use aether_core::Hash;

use super::{Book, layout, restore};
use crate::proto::{
    entry::{Collection, Entry, Header, Kind},
    feed::{Feed, Shape, Tip},
    id::Position,
    rows::{Base, Rows},
};

/// The entries that change a document and were taken in after a position, in the order of intake:
/// position, local feed, name. Those that don't [count](Counting) are among them.
///
/// # Errors
/// Of the rows, as an item.
pub fn changes<B: Base>(
    rows: &B,
    document: &Collection,
    after: Position,
) -> impl Iterator<Item = Result<(Position, u32, Tip), B::Error>> {
    let (from, below) = layout::changes(document, after.next());
    let rows = rows.scan(&from, Some(&below));
    rows.map(|row| row.map(|(row, value)| layout::read_change(&row, &value)))
}

/// The file of a document, if there is one.
///
/// # Errors
/// Of the rows.
pub fn file<B: Base>(rows: &B, document: &Collection) -> Result<Option<Vec<u8>>, B::Error> {
    rows.get(&layout::file(document))
}

/// The row in which the file of a document is kept.
pub fn file_row(document: &Collection) -> Vec<u8> {
    layout::file(document)
}

/// Which entries count for documents. What it says of an entry holds until the documents that the
/// entry changes are made anew.
#[derive(Clone, Debug, Default)]
pub struct Counting {
    forked: BTreeMap<u32, Branch>,
}

/// Of a feed with several branches: where they begin, and what tells the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fork {
    /// What stands below all branches, and counts.
    trunk: u64,
    head: Hash,
}

/// The branch of a forked feed that counts.
#[derive(Clone, Debug)]
struct Branch {
    fork: Fork,
    above: BTreeSet<Hash>,
    /// Entries of the others.
    beside: BTreeSet<Hash>,
}

impl Counting {
    /// Whether an entry that is kept counts. Costs a look-up, and if its feed is forked one for
    /// each of that feed's entries above the fork, once.
    ///
    /// # Errors
    /// Of the rows.
    pub fn counts<B: Base>(
        &mut self,
        rows: &B,
        local: u32,
        header: &Header,
    ) -> Result<bool, B::Error> {
        let row = layout::feed(local);
        let Some(value) = rows.get(&row)? else { return Ok(true) };
        let (_, _, _, feed) = layout::read_feed(&row, &value);
        let Some((fork, tip)) = counting(&feed) else { return Ok(true) };
        let known = self.forked.get(&local).is_some_and(|branch| branch.fork == fork);
        if !known {
            self.forked.insert(local, Branch::read(rows, local, fork, tip)?);
        }
        match self.forked.get_mut(&local) {
            Some(branch) => branch.has(rows, local, header),
            None => Ok(true),
        }
    }
}

impl Branch {
    fn read<B: Base>(rows: &B, local: u32, fork: Fork, mut tip: Tip) -> Result<Self, B::Error> {
        let mut above = BTreeSet::new();
        while tip.number > fork.trunk {
            // Who reads while others write may find what was evicted.
            let Some(value) = rows.get(&layout::header(local, tip))? else { break };
            above.insert(tip.hash);
            let Some(parent) = restore(layout::read_header(&value).1).parent() else { break };
            tip = Tip { number: parent.number, hash: parent.hash };
        }
        Ok(Self { fork, above, beside: BTreeSet::new() })
    }

    /// Whether an entry is on it, or below all branches. It may have gone on since it was read.
    fn has<B: Base>(&mut self, rows: &B, local: u32, header: &Header) -> Result<bool, B::Error> {
        let trunk = self.fork.trunk;
        let (mut way, mut parent) = (vec![header.hash()], header.parent());
        let mut is_on = header.number() <= trunk || self.above.contains(&header.hash());
        while !is_on && !self.beside.contains(&way[way.len() - 1]) {
            let Some(below) = parent.filter(|below| below.number > trunk) else { break };
            is_on = self.above.contains(&below.hash);
            way.push(below.hash);
            let tip = Tip { number: below.number, hash: below.hash };
            let Some(value) = rows.get(&layout::header(local, tip))? else { break };
            parent = restore(layout::read_header(&value).1).parent();
        }
        if header.number() > trunk {
            let on = if is_on { &mut self.above } else { &mut self.beside };
            on.extend(way);
        }
        Ok(is_on)
    }
}

/// Of a feed with several branches: which counts, and its end.
fn counting(feed: &Feed) -> Option<(Fork, Tip)> {
    match feed.shape() {
        Shape::Open(lanes) => {
            let [first, _] = lanes.fork()?;
            Some((Fork { trunk: lanes.trunk().number, head: first.head }, first.tip))
        }
        Shape::Pinned(chains) => {
            let mut tips = chains.tips();
            let first = tips.next()?;
            let fork = Fork { trunk: chains.base().number, head: first.hash };
            tips.next().map(|_| (fork, first))
        }
    }
}

/// Which branch of a feed counts, if it has several.
pub(super) fn fork(feed: &Feed) -> Option<Fork> {
    counting(feed).map(|(fork, _)| fork)
}

impl<R: Rows> Book<R> {
    /// Notes which documents an entry changes that was put at a position.
    pub(super) fn put_changes(
        &mut self,
        local: u32,
        entry: &Entry,
        at: Position,
    ) -> Result<(), R::Error> {
        let tip = super::tip(&entry.header().id());
        for document in of(entry) {
            self.rows.put(layout::change(document, at), layout::order_value(local, tip))?;
        }
        Ok(())
    }

    /// The reverse, for an entry that goes.
    pub(super) fn drop_changes(&mut self, entry: &Entry, at: Position) -> Result<(), R::Error> {
        for document in of(entry) {
            self.rows.delete(&layout::change(document, at))?;
        }
        Ok(())
    }

    /// Another branch of a feed counts than before: other entries count for the documents that
    /// those above the trunk change. Reads them all, which a liar can't bring about often: each
    /// time it needs a smaller hash, or a lower fork.
    pub(super) fn recount(&mut self, local: u32) -> Result<(), R::Error> {
        let Some((fork, _)) = counting(self.at(local).feed()) else { return Ok(()) };
        for node in self.nodes(local, fork.trunk.saturating_add(1), u64::MAX)?.iter() {
            let Some(entry) = self.entry(local, node.tip())? else { continue };
            for document in of(&entry) {
                self.make_stale(document)?;
            }
        }
        Ok(())
    }
}

/// The documents that an entry changes.
pub(super) fn of(entry: &Entry) -> impl Iterator<Item = &Collection> {
    let groups = entry.payload().groups().iter().map(|group| group.collection());
    groups.filter(|collection| collection.kind() == Kind::Document)
}
