//! Keyspaces, snapshots and scans: reading what was committed.
//!
//! Every value is stored with four bytes behind it: the CRC-32 (IEEE, as in zlib), big endian, over
//! the keyspace's name, the key and the value, name and key each behind their length (one byte and
//! four, big endian). So a value that was changed, or that comes back for another key, doesn't fit.
//! CRC-32 finds every flip of up to three bits in values of this size and every burst of up to 32.
//! Below it the engine has checksums of its own, over blocks of its tables and batches of its
//! journal; this one is checked at the end, over what the caller gets.

use std::{
    fmt,
    ops::{Bound, Deref, RangeBounds},
    sync::Arc,
    time::Duration,
};

use fjall::Readable;

use crate::{MAX_KEY, store::Inner};

/// Length of the checksum behind a value.
const CHECK: usize = 4;

/// Bytes that came from the store, in memory that clones share.
#[derive(Clone)]
pub struct Slice {
    bytes: fjall::Slice,
    len: usize,
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Slice {}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// Why a read failed. Other keys stay readable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What is stored for the key isn't what was written. Put or remove it to go on.
    #[error("the value of {:?} in keyspace {keyspace} is corrupt", key.escape_ascii().to_string())]
    Corrupt {
        /// Name of the keyspace.
        keyspace: String,
        /// The key.
        key: Vec<u8>,
    },
    /// Whoever owns a part of the keyspace has closed that part to readers.
    #[error("what is read of keyspace {keyspace} was closed")]
    Closed {
        /// Name of the keyspace.
        keyspace: String,
    },
    /// The engine can't read its files.
    #[error("the engine can't read keyspace {keyspace}")]
    Engine {
        /// Name of the keyspace.
        keyspace: String,
        /// What it says.
        #[source]
        source: fjall::Error,
    },
}

/// How often, each 10 ms, it is looked whether the engine has written a file: 10 s in all.
const MERGE_WAITS: u32 = 1000;

/// Where the checksums of a keyspace begin.
pub(crate) fn seed(keyspace: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[u8::try_from(keyspace.len()).expect("names have at most 128 bytes")]);
    hasher.update(keyspace.as_bytes());
    hasher.finalize()
}

fn check(seed: u32, key: &[u8], value: &[u8]) -> [u8; CHECK] {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

/// A value as it is stored.
pub(crate) fn seal(seed: u32, key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &check(seed, key, value)].concat()
}

/// A named, ordered map from keys to values; see [`Store::keyspace`](crate::Store::keyspace).
///
/// Reads see what was acknowledged before they began, and nothing else. They block on the disk for
/// what isn't cached. Cloning is cheap, and a keyspace keeps its store open.
#[derive(Clone)]
pub struct Keyspace {
    // The engine's handle goes before the store.
    pub(crate) engine: fjall::Keyspace,
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) seed: u32,
    pub(crate) store: Arc<Inner>,
}

impl Keyspace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A key's value, or `None` if it has none.
    pub fn get(&self, key: &[u8]) -> Result<Option<Slice>, ReadError> {
        self.snapshot().get(self, key)
    }

    /// The keys in a range with their values, in order of their bytes.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan {
        self.snapshot().range(self, range)
    }

    /// The keys that begin with a prefix with their values, in order of their bytes.
    pub fn prefix(&self, prefix: &[u8]) -> Scan {
        self.snapshot().prefix(self, prefix)
    }

    /// Merges all files of the keyspace, so that what was deleted or overwritten takes no room any
    /// more. The engine does that by itself, but late where little is written. Needs room on the
    /// disk for what is left once more. Blocks until it is done, which takes some seconds a GiB;
    /// reads and writes go on.
    ///
    /// What a [`Snapshot`] that is open still shows stays.
    ///
    /// # Errors
    /// The engine can't read or write its files. Nothing is lost, and it may be tried again.
    pub fn merge(&self) -> Result<(), ReadError> {
        self.try_merge()
            .map_err(|source| ReadError::Engine { keyspace: self.name.to_string(), source })
    }

    /// Bytes that its files take on the disk, without what is in memory and in the journal.
    pub fn disk_bytes(&self) -> u64 {
        self.engine.disk_space()
    }

    fn try_merge(&self) -> Result<(), fjall::Error> {
        // What isn't in a file yet isn't merged. An engine that has failed writes none any more.
        let before = self.engine.table_count();
        if self.engine.rotate_memtable()? {
            let is_written = || self.engine.table_count() != before;
            let mut waits = MERGE_WAITS;
            while waits > 0 && !is_written() {
                std::thread::sleep(Duration::from_millis(10));
                waits -= 1;
            }
        }
        self.engine.major_compact()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.store)
    }

    pub(crate) fn store_id(&self) -> u64 {
        self.store.id
    }

    fn engine_failed(&self, source: fjall::Error) -> ReadError {
        ReadError::Engine { keyspace: self.name.to_string(), source }
    }

    fn open(&self, key: &[u8], stored: fjall::Slice) -> Result<Slice, ReadError> {
        match stored.split_last_chunk::<CHECK>() {
            Some((value, sum)) if *sum == check(self.seed, key, value) => {
                let len = value.len();
                Ok(Slice { bytes: stored, len })
            }
            _ => {
                tracing::error!(keyspace = %self.name, key = %key.escape_ascii(), "corrupt value");
                Err(ReadError::Corrupt { keyspace: self.name.to_string(), key: key.to_vec() })
            }
        }
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All keyspaces of a store as they were at one moment; see
/// [`Store::snapshot`](crate::Store::snapshot).
///
/// Costs nothing to take. While it lives, the engine keeps what was overwritten or removed since.
#[derive(Clone)]
pub struct Snapshot {
    view: fjall::Snapshot,
    store: Arc<Inner>,
}

impl Snapshot {
    pub(crate) fn new(store: &Arc<Inner>) -> Self {
        Self { view: store.shared.view(), store: Arc::clone(store) }
    }

    /// A key's value, or `None` if it had none.
    ///
    /// # Panics
    /// If the keyspace is another store's, as do the other reads.
    pub fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Slice>, ReadError> {
        self.belong(keyspace);
        // The engine panics on what can't be a key.
        if key.is_empty() || key.len() > MAX_KEY {
            return Ok(None);
        }
        let stored = self.view.get(&keyspace.engine, key);
        let stored = stored.map_err(|error| keyspace.engine_failed(error))?;
        stored.map(|stored| keyspace.open(key, stored)).transpose()
    }

    /// The keys in a range with their values, in order of their bytes. A range whose end is before
    /// its start is empty.
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, range: impl RangeBounds<K>) -> Scan {
        self.belong(keyspace);
        let start = match range.start_bound().map(AsRef::as_ref) {
            // A key that is too long lies behind its beginning, and nothing lies between them.
            Bound::Included(key) | Bound::Excluded(key) if key.len() > MAX_KEY => {
                Bound::Excluded(&key[..MAX_KEY])
            }
            bound => bound,
        };
        let end = match range.end_bound().map(AsRef::as_ref) {
            Bound::Included(key) | Bound::Excluded(key) if key.len() > MAX_KEY => {
                Bound::Included(&key[..MAX_KEY])
            }
            bound => bound,
        };
        let iter = (!is_empty(start, end))
            .then(|| self.view.range::<&[u8], _>(&keyspace.engine, (start, end)));
        Scan { iter, keyspace: keyspace.clone() }
    }

    /// The keys that begin with a prefix with their values, in order of their bytes.
    pub fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Scan {
        self.belong(keyspace);
        let iter = (prefix.len() <= MAX_KEY).then(|| self.view.prefix(&keyspace.engine, prefix));
        Scan { iter, keyspace: keyspace.clone() }
    }

    fn belong(&self, keyspace: &Keyspace) {
        assert_eq!(self.store.id, keyspace.store.id, "a snapshot is of its own store's keyspaces");
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

fn is_empty(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start >= end,
        _ => false,
    }
}

/// Keys and values in order, from either end. Sees one moment, whatever is written meanwhile.
///
/// A corrupt value is an item that names its key; the scan goes on behind it.
pub struct Scan {
    /// None if nothing can be in the range.
    iter: Option<fjall::Iter>,
    keyspace: Keyspace,
}

impl Scan {
    fn item(&self, guard: fjall::Guard) -> Result<(Slice, Slice), ReadError> {
        let (key, stored) = guard.into_inner().map_err(|e| self.keyspace.engine_failed(e))?;
        let value = self.keyspace.open(&key, stored)?;
        let len = key.len();
        Ok((Slice { bytes: key, len }, value))
    }
}

impl Iterator for Scan {
    type Item = Result<(Slice, Slice), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let guard = self.iter.as_mut()?.next()?;
        Some(self.item(guard))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        let guard = self.iter.as_mut()?.next_back()?;
        Some(self.item(guard))
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("keyspace", &self.keyspace.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_a_value_is_pinned() {
        // zlib.crc32(b"\x05feeds" + b"\x00\x00\x00\x03key" + b"value"), by Python.
        assert_eq!(seal(seed("feeds"), b"key", b"value"), *b"value\x6d\x24\xe5\x67");
    }

    #[test]
    fn the_checksum_covers_keyspace_key_and_value() {
        let sum = check(seed("a"), b"key", b"value");
        assert_ne!(sum, check(seed("b"), b"key", b"value"));
        assert_ne!(sum, check(seed("a"), b"kez", b"value"));
        assert_ne!(sum, check(seed("a"), b"key", b"valuf"));
        assert_ne!(sum, check(seed("a"), b"keyv", b"alue"));
        assert_ne!(seed("ab"), check(seed("a"), b"", b"").into_iter().map(u32::from).sum());
    }
}
