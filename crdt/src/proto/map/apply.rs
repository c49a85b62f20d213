//! Applying entries to rows. See the [module](super) for what it amounts to.

use crate::proto::{
    entry::{Collection, Entry},
    id::{Dot, EntryId, Position},
    rows::{Rows, starting},
};

use super::{
    ops::Op,
    rows::{self, Applied, Element},
    slots::{self, Place, Slot},
};

/// How many rows are deleted at a time: what a rebuild keeps in memory.
const CHUNK: usize = 256;

/// An operation of an entry, in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Which in its entry, from 0.
    pub index: u32,
    /// Of which collection.
    pub collection: Collection,
    /// Its encoding.
    pub bytes: &'a [u8],
    /// Where that begins in the stored payload.
    pub at: usize,
}

/// What is applied of an entry: its name, its place in the order of intake and its operations on
/// maps, sets, counters and registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    pub(super) entry: EntryId,
    pub(super) position: Position,
    pub(super) ops: Vec<Placed<'a>>,
}

impl<'a> Batch<'a> {
    /// That of an entry that stands at a position.
    pub fn of(entry: &'a Entry, position: Position) -> Self {
        let all = entry.payload().ops().zip(entry.payload().places());
        let ops = (0..).zip(all).map(|(index, ((collection, bytes), at))| Placed {
            index,
            collection: *collection,
            bytes,
            at,
        });
        let ops = ops.filter(|op| rows::is_kept(op.collection.kind())).collect();
        Self { entry: entry.header().id(), position, ops }
    }

    /// Which entry.
    pub const fn entry(&self) -> &EntryId {
        &self.entry
    }

    /// Where it stands in the order of intake.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Its operations on maps, sets, counters and registers, ascending.
    pub fn ops(&self) -> &[Placed<'a>] {
        &self.ops
    }

    /// The collections that it changes, ascending: those to rebuild when it counts no longer.
    pub fn collections(&self) -> Vec<Collection> {
        let mut all: Vec<Collection> = self.ops.iter().map(|op| op.collection).collect();
        all.dedup();
        all
    }
}

/// Applies an entry. It must come after its ancestors in its own feed; of other feeds it may come
/// before what it removes.
///
/// An entry whose name another has that was applied, which only a liar's has, isn't applied: its
/// [`collections`](Batch::collections) are rebuilt with both.
///
/// One case isn't covered: a liar signs two entries of one name, which takes some 2³² tries, and a
/// dot of theirs is removed; one of them, which says nothing of that collection, is evicted before
/// the other comes. Then what the other puts is alive here until the collection is next rebuilt.
///
/// Costs, in look-ups: a scan for each collection; one for each operation, and if more than eight
/// values are alive at its key, a scan of its feed's, two at most, and another for each feed that
/// it names; a question to `feeds` for each own value found and for each dot that it names. If dots
/// of the entry were named before it came, a look-up for each value. Writes: a row for each
/// operation, and for each dot that it names. Memory: the operation at hand, and 256 keys.
///
/// # Errors
/// Of the store. The rows are then as if a part of the entry were applied: what was written is
/// dropped, or the collections are rebuilt.
///
/// # Panics
/// `feeds` has no number for the entry's feed.
pub fn apply<R, F>(batch: &Batch<'_>, rows: &mut R, feeds: &F) -> Result<(), R::Error>
where
    R: Rows,
    F: Applied<R>,
{
    for group in batch.ops.chunk_by(|one, next| one.collection == next.collection) {
        apply_group(batch, group, rows, feeds)?;
    }
    Ok(())
}

/// Deletes all rows of a collection: the first step to make it anew of the entries that count. Then
/// [`apply_to`] each of them, in the order in which they are applied.
///
/// Costs the collection's rows; in memory are 256 keys.
///
/// # Errors
/// Of the store.
pub fn clear<R: Rows>(collection: &Collection, rows: &mut R) -> Result<(), R::Error> {
    delete_all(rows, &rows::keys_of(collection))?;
    delete_all(rows, &slots::many(collection))?;
    delete_all(rows, &rows::absent_of(collection))
}

/// Applies what an entry says of one collection, as [`apply`] does of all.
///
/// # Errors
/// As [`apply`].
///
/// # Panics
/// As [`apply`].
pub fn apply_to<R, F>(
    collection: &Collection,
    batch: &Batch<'_>,
    rows: &mut R,
    feeds: &F,
) -> Result<(), R::Error>
where
    R: Rows,
    F: Applied<R>,
{
    let first = batch.ops.partition_point(|op| op.collection < *collection);
    let group = batch.ops[first..].iter().take_while(|op| op.collection == *collection);
    let group: Vec<Placed<'_>> = group.copied().collect();
    apply_group(batch, &group, rows, feeds)
}

/// Applies operations of one collection. What [`apply`] says of twins makes the two loops over
/// absent dots right: they are read while the operations are applied, and deleted when no other
/// entry of the name can come.
fn apply_group<R, F>(
    batch: &Batch<'_>,
    group: &[Placed<'_>],
    rows: &mut R,
    feeds: &F,
) -> Result<(), R::Error>
where
    R: Rows,
    F: Applied<R>,
{
    let Some(Placed { collection, .. }) = group.first() else { return Ok(()) };
    let entry = &batch.entry;
    let local = feeds.local(&entry.feed).expect("the feed of what is applied has a number");
    let named = rows::absent_in(collection, &entry.feed, entry.number, entry.tag());
    let mut doomed = starting(rows, &named).next().transpose()?.is_some();
    for placed in group {
        let Ok(op) = Op::decode(placed.bytes) else { continue };
        if !op.fits(collection.kind()) {
            continue;
        }
        let dot = entry.dot(placed.index);
        let mut place = Place::read(collection, op.key(), rows)?;
        doomed |= remove_named(&mut place, collection, &op, entry, rows, feeds)?;
        for slot in place.of(local, rows)? {
            if feeds.precedes(rows, slot.position, entry)? {
                place.remove(&slot, rows)?;
            }
        }
        let dead = doomed && rows.get(&rows::absent(collection, op.key(), &dot))?.is_some();
        let end = placed.at + placed.bytes.len();
        let slot = Slot::of(local, batch.position, placed.index, op.change(), end);
        if let Some(slot) = slot.filter(|_| !dead) {
            place.insert(slot, rows)?;
        }
        place.write(rows)?;
    }
    if doomed && !feeds.awaits(rows, &entry.dot(0), entry)? {
        delete_all(rows, &named)?;
    }
    Ok(())
}

/// Deletes what an operation names, and puts a row for each dot that may still come. Tells whether
/// one of them is of the entry itself: its author would have to know the hash of the entry while
/// writing it, but who can is a liar whose dots die like others.
fn remove_named<R, F>(
    place: &mut Place<'_>,
    collection: &Collection,
    op: &Op,
    entry: &EntryId,
    rows: &mut R,
    feeds: &F,
) -> Result<bool, R::Error>
where
    R: Rows,
    F: Applied<R>,
{
    let mut own = false;
    for dots in op.over().chunk_by(|one, next| one.feed == next.feed) {
        let Some(first) = dots.first() else { continue };
        let local = feeds.local(&first.feed);
        let found = match local {
            Some(local) => place.of(local, rows)?,
            None => Vec::new(),
        };
        let mut names = Vec::with_capacity(found.len());
        for slot in &found {
            names.push(feeds.name(rows, slot.position)?);
        }
        for dot in dots {
            for (slot, name) in found.iter().zip(&names) {
                if name.as_ref().is_some_and(|(entry, _)| entry.dot(slot.index) == *dot) {
                    place.remove(slot, rows)?;
                }
            }
            let itself = (dot.feed, dot.number, dot.tag) == (entry.feed, entry.number, entry.tag());
            if itself || feeds.awaits(rows, dot, entry)? {
                rows.put(rows::absent(collection, op.key(), dot), Vec::new())?;
            }
            own |= itself;
        }
    }
    Ok(own)
}

/// Deletes all rows that begin with `prefix`, some at a time.
fn delete_all<R: Rows>(rows: &mut R, prefix: &[u8]) -> Result<(), R::Error> {
    loop {
        let some = starting(rows, prefix).take(CHUNK).map(|row| Ok(row?.0));
        let some = some.collect::<Result<Vec<_>, R::Error>>()?;
        for row in &some {
            rows.delete(row)?;
        }
        if some.len() < CHUNK {
            return Ok(());
        }
    }
}

/// The dots of elements: what an operation names to remove them.
pub fn dots<'a>(elements: impl IntoIterator<Item = &'a Element>) -> Vec<Dot> {
    elements.into_iter().map(Element::dot).collect()
}
