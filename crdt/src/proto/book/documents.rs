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

/// Which entries count for documents, as far as it was asked. What it says of an entry holds until
/// its author is seen to fork anew.
#[derive(Clone, Debug, Default)]
pub struct Counting {
    forked: BTreeMap<u32, Option<Branch>>,
}

/// The branch of a forked feed that counts.
#[derive(Clone, Debug)]
struct Branch {
    /// What stands below all branches, and counts.
    trunk: u64,
    above: BTreeSet<Hash>,
}

impl Counting {
    /// Whether an entry that is kept counts. Costs a look-up for each feed, and if that is forked
    /// one for each entry of the branch.
    ///
    /// # Errors
    /// Of the rows.
    pub fn counts<B: Base>(
        &mut self,
        rows: &B,
        local: u32,
        header: &Header,
    ) -> Result<bool, B::Error> {
        let branch = match self.forked.get_mut(&local) {
            Some(branch) => branch,
            None => {
                let found = branch(rows, local)?;
                self.forked.entry(local).or_insert(found)
            }
        };
        let Some(branch) = branch else { return Ok(true) };
        if header.number() <= branch.trunk || branch.above.contains(&header.hash()) {
            return Ok(true);
        }
        // It may have gone on since.
        let goes_on = header.parent().is_some_and(|parent| branch.above.contains(&parent.hash));
        if goes_on {
            branch.above.insert(header.hash());
        }
        Ok(goes_on)
    }
}

fn branch<B: Base>(rows: &B, local: u32) -> Result<Option<Branch>, B::Error> {
    let row = layout::feed(local);
    let Some(value) = rows.get(&row)? else { return Ok(None) };
    let (_, _, _, feed) = layout::read_feed(&row, &value);
    let Some((trunk, mut tip)) = counting(&feed) else { return Ok(None) };
    let mut above = BTreeSet::new();
    while tip.number > trunk {
        // Who reads while others write may find what was evicted.
        let Some(value) = rows.get(&layout::header(local, tip))? else { break };
        let header = restore(layout::read_header(&value).1);
        above.insert(tip.hash);
        let Some(parent) = header.parent() else { break };
        tip = Tip { number: parent.number, hash: parent.hash };
    }
    Ok(Some(Branch { trunk, above }))
}

/// Of a feed with several branches: where they begin, and the end of the one that counts.
fn counting(feed: &Feed) -> Option<(u64, Tip)> {
    match feed.shape() {
        Shape::Open(lanes) => {
            let [first, _] = lanes.fork()?;
            Some((lanes.trunk().number, first.tip))
        }
        Shape::Pinned(chains) => {
            let mut tips = chains.tips();
            let first = tips.next()?;
            tips.next().map(|_| (chains.base().number, first))
        }
    }
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

    /// The branches of a feed are others than before: other entries may count for the documents
    /// that those above the trunk change.
    pub(super) fn recount(&mut self, local: u32) -> Result<(), R::Error> {
        let Some((trunk, _)) = counting(self.at(local).feed()) else { return Ok(()) };
        for node in self.nodes(local, trunk.saturating_add(1), u64::MAX)?.iter() {
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
