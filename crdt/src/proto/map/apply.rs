//! Applying entries to rows. See the [module](super) for what it amounts to.

use crate::proto::{
    entry::{Checked, Collection, Entry, Header, PrunedEntry},
    id::{Dot, EntryId},
    rows::{Rows, starting},
    time::Hybrid,
};

use super::{
    ops::{Change, Op},
    rows::{self, Applied, Element},
};

/// How many rows are deleted at a time: what a rebuild keeps in memory.
const CHUNK: usize = 256;

/// What an operation counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All it says.
    Alive,
    /// What it removes. The value that it put is dead for good.
    Remover,
}

/// An operation of an entry, in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Which in its entry, from 0.
    pub index: u32,
    /// Of which collection.
    pub collection: Collection,
    /// Its encoding.
    pub bytes: &'a [u8],
    /// What it counts for.
    pub share: Share,
}

/// What is applied of an entry: its name, its time and operations. Those that count for nothing
/// aren't among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    pub(super) entry: EntryId,
    pub(super) time: Hybrid,
    pub(super) ops: Vec<Placed<'a>>,
}

impl<'a> Batch<'a> {
    /// All operations of an entry, alive: as they are above the base of its feed.
    pub fn whole(entry: &'a Entry) -> Self {
        Self::some(entry, |_| Some(Share::Alive))
    }

    /// What the base of its feed says of an entry whose payload is still whole: `share` is asked
    /// for each operation by its index; `None` is one that counts for nothing.
    pub fn some(entry: &'a Entry, mut share: impl FnMut(u32) -> Option<Share>) -> Self {
        let ops = (0..).zip(entry.payload().ops()).filter_map(|(index, (collection, bytes))| {
            let share = share(index)?;
            Some(Placed { index, collection: *collection, bytes, share })
        });
        Self::of(entry.header(), ops)
    }

    /// What the base of its feed says of an entry whose payload was pruned, as [`some`](Self::some)
    /// of a whole one.
    pub fn pruned(entry: &'a PrunedEntry, mut share: impl FnMut(u32) -> Option<Share>) -> Self {
        let ops = entry.ops().filter_map(|(dot, collection, bytes)| {
            let share = share(dot.index)?;
            Some(Placed { index: dot.index, collection: *collection, bytes, share })
        });
        Self::of(entry.header(), ops)
    }

    fn of(header: &Checked<Header>, ops: impl Iterator<Item = Placed<'a>>) -> Self {
        let ops = ops.filter(|op| rows::is_kept(op.collection.kind())).collect();
        Self { entry: header.id(), time: header.time(), ops }
    }

    /// Which entry.
    pub const fn entry(&self) -> &EntryId {
        &self.entry
    }

    /// When it was written, as its author says.
    pub const fn time(&self) -> Hybrid {
        self.time
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
/// Costs, in look-ups: a scan for each collection; for each operation a scan of its feed's rows of
/// the key, two at most, and another for each feed that it names; a question to `feeds` for each
/// own row found and for each dot that it names. If dots of the entry were named before it came, a
/// look-up for each value. Writes: a row for each operation, and for each dot that it names.
/// Memory: the operation at hand, and 256 keys.
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
    delete_all(rows, &rows::elements_of(collection))?;
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
        doomed |= remove_named(collection, &op, entry, rows, feeds)?;
        remove_own(collection, op.key(), local, entry, rows, feeds)?;
        let value = match op.change() {
            Change::Put(value) => rows::value(batch.time, value),
            Change::Count(total) => rows::value(batch.time, &total.to_be_bytes()),
            Change::Remove => continue,
        };
        let dead = doomed && rows.get(&rows::absent(collection, op.key(), &dot))?.is_some();
        if placed.share == Share::Alive && !dead {
            rows.put(rows::element(collection, op.key(), local, entry, placed.index), value)?;
        }
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
            Some(local) => of_feed(collection, op.key(), local, rows, feeds)?,
            None => Vec::new(),
        };
        for dot in dots {
            for (row, _) in found.iter().filter(|(_, element)| element.dot() == *dot) {
                rows.delete(row)?;
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

/// Deletes the rows of a key that the entry's feed wrote before, on the entry's branch.
fn remove_own<R, F>(
    collection: &Collection,
    key: &[u8],
    local: u32,
    entry: &EntryId,
    rows: &mut R,
    feeds: &F,
) -> Result<(), R::Error>
where
    R: Rows,
    F: Applied<R>,
{
    for (row, element) in of_feed(collection, key, local, rows, feeds)? {
        if feeds.precedes(rows, &element.entry, entry)? {
            rows.delete(&row)?;
        }
    }
    Ok(())
}

/// The rows of a key that one feed wrote: one, or two if it is forked.
fn of_feed<R, F>(
    collection: &Collection,
    key: &[u8],
    local: u32,
    rows: &R,
    feeds: &F,
) -> Result<Vec<(Vec<u8>, Element)>, R::Error>
where
    R: Rows,
    F: Applied<R>,
{
    let found = starting(rows, &rows::feed_of(collection, key, local));
    found
        .map(|row| {
            let (row, value) = row?;
            let element = rows::read(&row, &value, feeds).element;
            Ok((row, element))
        })
        .collect()
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
