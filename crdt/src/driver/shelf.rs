//! Shelves: the rows of one space in the node's store.

use std::{
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use aether_store::{Batch, Keyspace, KeyspaceError, ReadError, Slice, Snapshot, Store};

use crate::proto::{
    book,
    id::{EntryId, FeedId, Position},
    map::{Entries, Feeds},
    rows::{Base, Changes, Scanned},
    time::Hybrid,
};

/// Where the rows of all spaces lie in the node's store.
#[derive(Clone, Debug)]
pub(crate) struct Racks {
    rows: Keyspace,
    /// Rows that are put behind each other. The engine merges what is in one keyspace, and these
    /// are most of the bytes.
    appended: Keyspace,
    is_merging: Arc<AtomicBool>,
}

impl Racks {
    /// The names of the keyspaces.
    pub(crate) const NAMES: [&str; 2] = ["spaces", "space-payloads"];

    pub(crate) fn open(store: &Store) -> Result<Self, KeyspaceError> {
        let [rows, appended] = Self::NAMES;
        let (rows, appended) = (store.keyspace(rows)?, store.keyspace(appended)?);
        Ok(Self { rows, appended, is_merging: Arc::default() })
    }

    /// All of them.
    pub(crate) const fn all(&self) -> [&Keyspace; 2] {
        [&self.rows, &self.appended]
    }

    /// Merges the files, so that those give back their room whose rows are gone. Does nothing if
    /// that is being done. On a thread for blocking work, of the runtime of who calls this.
    pub(crate) fn merge(&self) {
        if self.is_merging.swap(true, Ordering::AcqRel) {
            return;
        }
        let racks = self.clone();
        tokio::task::spawn_blocking(move || {
            for rack in racks.all() {
                if let Err(error) = rack.merge() {
                    // It is as it was before, and is merged some other time.
                    tracing::warn!(keyspace = rack.name(), %error, "files can't be merged");
                }
            }
            racks.is_merging.store(false, Ordering::Release);
        });
    }

    /// Where a row of this key lies, and all up to where a scan from there may go.
    fn of(&self, row: &[u8]) -> &Keyspace {
        if book::is_appended(row) { &self.appended } else { &self.rows }
    }
}

/// The rows of one space, whose keys begin with the number that stands for it in this store.
///
/// Reads see what is durable, and block on the disk for what isn't cached. Once the space was left,
/// all of them fail.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    racks: Racks,
    space: u32,
    is_left: Arc<AtomicBool>,
}

impl Shelf {
    pub(crate) fn new(racks: Racks, space: u32) -> Self {
        Self { racks, space, is_left: Arc::default() }
    }

    /// The number that stands for the space.
    pub(crate) const fn number(&self) -> u32 {
        self.space
    }

    /// Whoever has this shelf, or a clone, reads nothing of it any more.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }

    /// All rows that begin with these bytes, and that can be read; see [`Keyspace::salvage`].
    pub(crate) fn salvage(&self, prefix: &[u8]) -> impl Iterator<Item = Scanned<Self>> + use<> {
        let rows = self.racks.of(prefix).salvage(&self.key(prefix));
        rows.map(|row| row.map(without_number))
    }

    /// The rows as a snapshot shows them.
    pub(crate) fn still(&self, snapshot: Snapshot) -> Result<Still, ReadError> {
        self.check()?;
        Ok(Still { snapshot, shelf: self.clone() })
    }

    fn check(&self) -> Result<(), ReadError> {
        match self.is_left() {
            true => Err(ReadError::Closed { keyspace: self.racks.rows.name().to_owned() }),
            false => Ok(()),
        }
    }

    fn key(&self, row: &[u8]) -> Vec<u8> {
        [&self.space.to_be_bytes()[..], row].concat()
    }

    /// The keys of all rows from `from` on, below `below`.
    fn keys(&self, from: &[u8], below: Option<&[u8]>) -> Range<Vec<u8>> {
        let below = match below {
            Some(below) => self.key(below),
            None => self.space.saturating_add(1).to_be_bytes().to_vec(),
        };
        self.key(from)..below
    }

    /// Adds changes to what the next commit writes.
    pub(crate) fn write(&self, changes: &Changes, batch: &mut Batch) {
        for (row, value) in changes {
            let rack = self.racks.of(row);
            match value {
                Some(value) => batch.put(rack, self.key(row), value),
                None => batch.remove(rack, self.key(row)),
            };
        }
    }
}

impl Base for Shelf {
    type Error = ReadError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.check()?;
        Ok(self.racks.of(key).get(&self.key(key))?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_> {
        self.racks.of(from).range(self.keys(from, below)).map(|row| {
            self.check()?;
            row.map(without_number)
        })
    }
}

/// The rows of one space as they were at one moment.
#[derive(Clone)]
pub(crate) struct Still {
    snapshot: Snapshot,
    shelf: Shelf,
}

impl Base for Still {
    type Error = ReadError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let found = self.snapshot.get(self.shelf.racks.of(key), &self.shelf.key(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_> {
        let rack = self.shelf.racks.of(from);
        let rows = self.snapshot.range(rack, self.shelf.keys(from, below));
        rows.map(|row| row.map(without_number))
    }
}

/// A row without the number in front of its key.
fn without_number((key, value): (Slice, Slice)) -> (Vec<u8>, Vec<u8>) {
    (key.get(size_of::<u32>()..).unwrap_or_default().to_vec(), value.to_vec())
}

/// The numbers of a space's feeds, for readers beside the driver. It learns of a feed before any
/// row names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<RwLock<Vec<FeedId>>>);

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn extend(&self, feeds: impl IntoIterator<Item = FeedId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(feeds);
    }
}

impl Feeds for Names {
    fn local(&self, feed: &FeedId) -> Option<u32> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|known| known == feed)?;
        u32::try_from(place).ok()
    }

    fn feed(&self, local: u32) -> FeedId {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all[usize::try_from(local).expect("usize has 32 bits or more")]
    }
}

impl<R: Base> Entries<R> for Names {
    fn name(&self, rows: &R, at: Position) -> Result<Option<(EntryId, Hybrid)>, R::Error> {
        book::name(rows, self, at)
    }

    fn part(
        &self,
        rows: &R,
        at: Position,
        part: Range<usize>,
    ) -> Result<Option<Vec<u8>>, R::Error> {
        book::part(rows, at, part)
    }
}
