//! Faults on order, for tests of whatever stands on a store.
//!
//! | what happens to disks | order it with |
//! |---|---|
//! | a sync fails | [`Faults::fail_next_sync`] |
//! | power fails in the middle of a write: a torn write | [`Faults::tear_next_write`] |
//! | power fails, and what wasn't synced is gone: a lost tail | [`Faults::crash`] |
//! | the disk is full | [`Faults::fill_disk`], [`Faults::free_disk`] |
//! | a bit flips | [`Faults::flip_next_write`] |
//! | the disk hangs | [`Faults::stall`], [`Faults::resume`] |
//!
//! This is compiled in always and does nothing unless [`Options::faults`](crate::Options::faults)
//! is set, so the store that is tested is the store that ships, and a crate that uses it needs no
//! feature to be tested.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::journal;

/// A handle that orders faults of the store it was opened with. Cloning is cheap, and clones order
/// faults of the same store. One handle serves one open store at a time.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<(Mutex<Orders>, Condvar)>);

#[derive(Debug, Default)]
struct Orders {
    fail_sync: bool,
    tear: Option<u64>,
    crash: Option<u64>,
    room: Option<u64>,
    flip: Option<usize>,
    stalled: bool,
    /// How much of each log is synced.
    logs: BTreeMap<PathBuf, u64>,
    /// The number of the engine's newest journal, and how much of it is synced.
    journal: Option<(u64, u64)>,
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next sync, of a log or of the engine, fails with an I/O error. The store is poisoned;
    /// what was written is found after the store is reopened, unless [`crash`](Self::crash) is
    /// ordered too.
    pub fn fail_next_sync(&self) {
        self.orders().fail_sync = true;
    }

    /// Power fails before the next sync, and of what wasn't synced by then the first `keep` bytes
    /// of each file are on the disk: `fail_next_sync` and `crash(keep)` at once.
    pub fn tear_next_write(&self, keep: u64) {
        self.orders().tear = Some(keep);
    }

    /// Power fails now. Commits fail from here on, and when the last handle of the store is
    /// dropped, its folder is left as the disk would have it: of what wasn't synced, the first
    /// `keep` bytes of each file, 0 for none.
    ///
    /// The engine writes tables in the background, from what it has in memory and after syncing its
    /// journal. This doesn't undo them, so let what isn't synced stay below
    /// [`Options::write_buffer`](crate::Options::write_buffer).
    pub fn crash(&self, keep: u64) {
        self.orders().crash = Some(keep);
    }

    /// Pretends that the disk is full after so many more bytes of keys, values and records.
    pub fn fill_disk(&self, after: u64) {
        self.orders().room = Some(after);
    }

    /// Ends the pretence of [`fill_disk`](Self::fill_disk).
    pub fn free_disk(&self) {
        self.orders().room = None;
    }

    /// Flips one bit of the next value or log record that is written, after its checksum was made:
    /// bit `bit`, modulo its bits, counted from the most significant one of its first byte.
    pub fn flip_next_write(&self, bit: usize) {
        self.orders().flip = Some(bit);
    }

    /// The disk hangs in the next sync, until [`resume`](Self::resume).
    pub fn stall(&self) {
        self.orders().stalled = true;
    }

    /// Ends [`stall`](Self::stall).
    pub fn resume(&self) {
        self.orders().stalled = false;
        self.0.1.notify_all();
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the orders and records of an earlier store.
    pub(crate) fn start(&self) {
        *self.orders() = Orders::default();
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.orders().crash.is_some()
    }

    /// Stands before every sync.
    pub(crate) fn before_sync(&self) -> io::Result<()> {
        let orders = self.orders();
        let mut orders = self
            .0
            .1
            .wait_while(orders, |orders| orders.stalled)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(keep) = orders.tear.take() {
            orders.crash = Some(keep);
            return Err(io::Error::other("power failed (a fault on order)"));
        }
        if std::mem::take(&mut orders.fail_sync) {
            return Err(io::Error::other("the sync failed (a fault on order)"));
        }
        Ok(())
    }

    /// Takes so many bytes from the room that is pretended, or answers with what is left if that is
    /// too little.
    pub(crate) fn take_room(&self, bytes: u64) -> Result<(), u64> {
        match &mut self.orders().room {
            Some(room) if *room < bytes => Err(*room),
            Some(room) => {
                *room -= bytes;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn flip(&self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(bit) = self.orders().flip.take() {
            bytes[bit / 8 % bytes.len()] ^= 0x80 >> (bit % 8);
        }
    }

    pub(crate) fn synced_log(&self, path: &Path, len: u64) {
        self.orders().logs.insert(path.to_owned(), len);
    }

    /// Notes where the engine's journals end, all of which was just synced.
    pub(crate) fn synced_engine(&self, mut ends: BTreeMap<u64, u64>) {
        self.orders().journal = ends.pop_last();
    }

    /// If a crash was ordered, takes from the files of a closed store what wasn't synced.
    pub(crate) fn cut(&self, engine: &Path) -> io::Result<()> {
        let orders = self.orders();
        let Some(keep) = orders.crash else { return Ok(()) };
        for (log, synced) in &orders.logs {
            let file = File::options().write(true).open(log)?;
            let len = file.metadata()?.len().min(synced.saturating_add(keep));
            file.set_len(len)?;
        }
        // A journal is synced whole before the next one is begun.
        let Some((newest, end)) = journal::ends(engine)?.pop_last() else { return Ok(()) };
        let synced = orders.journal.filter(|(number, _)| *number == newest);
        let synced = synced.map_or(0, |(_, synced)| synced);
        journal::cut(engine, newest, end.min(synced.saturating_add(keep)))
    }
}
