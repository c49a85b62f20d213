//! Batches: what one commit writes.

use crate::{
    CommitError, Keyspace, Log,
    log::{LogWrite, MAX_RECORD},
    read::seal,
};

/// Longest key, in bytes. The shortest has one.
pub const MAX_KEY: usize = 65_535;
/// Longest value, in bytes.
pub const MAX_VALUE: usize = 256 << 20;

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is synced to the disk: it survives a power loss.
    Synced,
    /// Once the operating system has it: it survives the end of the process, and a power loss only
    /// if a later commit was synced. Costs no sync. For what can be learned again.
    Buffered,
}

/// What becomes of a key: a value, or nothing.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) keyspace: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Change {
    fn place(&self) -> (usize, &[u8]) {
        (self.keyspace, &self.key)
    }
}

/// Changes that one commit writes: puts and removals in any number of keyspaces, and records of
/// logs.
///
/// What it does in keyspaces is atomic: all of it is found, or nothing. Of two changes of one key
/// the later one counts. Records are written, in order, before the keyspaces are, and synced before
/// them if the commit is [`Durability::Synced`]: after a crash a log may be ahead of the keyspaces
/// by what was never acknowledged, and is never behind.
///
/// A batch is plain data in memory. It belongs to the store of the first keyspace or log it names;
/// one of another store is a bug of the caller, and panics. A key or value that is too long
/// fails the commit.
///
/// Keys are taken as slices or, which saves a copy, as vectors.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) store: Option<u64>,
    pub(crate) changes: Vec<Change>,
    pub(crate) logs: Vec<(usize, LogWrite)>,
    pub(crate) bytes: u64,
    pub(crate) refused: Option<CommitError>,
}

impl Batch {
    /// An empty batch. Committed as [`Durability::Synced`], it makes all earlier commits durable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key's value. Keys have 1 to [`MAX_KEY`] bytes, values at most [`MAX_VALUE`].
    pub fn put(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>, value: &[u8]) -> &mut Self {
        if value.len() > MAX_VALUE {
            return self.refuse(CommitError::Length { len: value.len(), max: MAX_VALUE });
        }
        let key = key.into();
        let stored = seal(keyspace.seed, &key, value);
        self.change(keyspace, key, Some(stored))
    }

    /// Removes a key, whether or not it is there.
    pub fn remove(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>) -> &mut Self {
        self.change(keyspace, key.into(), None)
    }

    /// Appends a record of at most [`MAX_RECORD`] bytes to a log.
    pub fn append(&mut self, log: &Log, record: &[u8]) -> &mut Self {
        self.log(log, record.len(), record.len(), LogWrite::Append(record.to_vec()))
    }

    /// Replaces all records of a log by these, atomically, before the keyspaces are written. Syncs
    /// even when the commit is [`Durability::Buffered`].
    pub fn rewrite(&mut self, log: &Log, records: Vec<Vec<u8>>) -> &mut Self {
        let longest = records.iter().map(Vec::len).max().unwrap_or_default();
        let total = records.iter().map(Vec::len).sum();
        self.log(log, longest, total, LogWrite::Rewrite(records))
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.logs.is_empty()
    }

    /// Of the changes of each key the last alone, ascending. Batches are often made in order, so
    /// that this is one walk.
    pub(crate) fn settle(&mut self) {
        self.changes.sort_by(|one, other| one.place().cmp(&other.place()));
        // Of equal ones the first is kept, which is the last one here.
        self.changes.reverse();
        self.changes.dedup_by(|earlier, later| earlier.place() == later.place());
        self.changes.reverse();
    }

    fn change(&mut self, keyspace: &Keyspace, key: Vec<u8>, value: Option<Vec<u8>>) -> &mut Self {
        self.belong(keyspace.store_id());
        if key.is_empty() || key.len() > MAX_KEY {
            return self.refuse(CommitError::Length { len: key.len(), max: MAX_KEY });
        }
        self.bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
        self.changes.push(Change { keyspace: keyspace.index, key, value });
        self
    }

    fn log(&mut self, log: &Log, longest: usize, total: usize, write: LogWrite) -> &mut Self {
        self.belong(log.store_id());
        if longest > MAX_RECORD {
            return self.refuse(CommitError::Length { len: longest, max: MAX_RECORD });
        }
        self.bytes += total as u64;
        self.logs.push((log.index, write));
        self
    }

    fn belong(&mut self, store: u64) {
        let own = *self.store.get_or_insert(store);
        assert_eq!(own, store, "a batch changes keyspaces and logs of one store");
    }

    fn refuse(&mut self, error: CommitError) -> &mut Self {
        self.refused.get_or_insert(error);
        self
    }
}
