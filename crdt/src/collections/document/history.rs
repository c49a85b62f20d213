//! What was changed, by whom and when.

use aether_core::PublicKey;
use aether_store::ReadError;

use crate::{
    Space,
    proto::{
        book::{self, Counting},
        document::{ActorId, Change, ChangeHash, op::read_op},
        entry::Collection,
        id::{EntryId, Position},
        map::Feeds as _,
        time::Hybrid,
    },
};

/// A change of a document, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its name, by which versions name it.
    pub change: ChangeHash,
    /// The entry that carries it.
    pub entry: EntryId,
    /// Who wrote it.
    pub author: PublicKey,
    /// When, as the author says.
    pub time: Hybrid,
    /// How many operations it has.
    pub operations: usize,
    /// The changes that it builds on.
    pub deps: Vec<ChangeHash>,
    /// Whether it counts: one of a branch of a forked feed doesn't, and is not shown.
    pub counts: bool,
}

pub(super) fn read(space: &Space, document: &Collection) -> Result<Vec<Revision>, ReadError> {
    let (shelf, names) = (space.shelf(), space.names());
    let (mut all, mut counting) = (Vec::new(), Counting::default());
    for found in book::changes(shelf, document, Position::ZERO) {
        let (_, local, tip) = found?;
        let Some(entry) = book::entry(shelf, local, tip)? else { continue };
        let (header, feed) = (entry.header(), names.feed(local));
        let counts = counting.counts(shelf, local, header)?;
        for (of, op) in entry.payload().ops() {
            let Some((lane, chunk)) = read_op(op).filter(|_| of == document) else { continue };
            let actor = ActorId::of(&space.id(), document, &feed, lane);
            let Ok(change) = Change::decode(chunk, &actor) else { continue };
            all.push(Revision {
                change: change.hash,
                entry: header.id(),
                author: feed.author,
                time: header.time(),
                operations: change.rows.len(),
                deps: change.deps,
                counts,
            });
        }
    }
    Ok(all)
}
