//! The storage thread: one writer for the engine and all logs, with group commit.
//!
//! While one group is being synced, the next one gathers in the queue; the more writers, the larger
//! the groups, and each costs one sync of the engine and one of each log that it wrote to. (Group
//! commit: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984.)

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::Receiver,
    },
};

use crate::{
    Batch, Durability, Faults, batch::Change, folder::Folder, journal, log::LogFile, ticket::Done,
};

/// A group ends with the batch that reaches one of these.
const MAX_GROUP: usize = 1024;
const MAX_GROUP_BYTES: u64 = 8 << 20;

/// Why a commit wasn't acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// This write or sync failed, or an earlier one did. No commit succeeds until the store is
    /// reopened, because after a failed sync nobody knows what is on the disk; reads go on.
    #[error("a write or sync failed: check the disk and reopen the store")]
    Poisoned {
        /// What failed first.
        #[source]
        cause: Arc<WriteError>,
    },
    /// Too little room on the disk. Nothing was written; once there is room, commits succeed.
    #[error("the disk is full: {needed} bytes to write and {room} left: make room and try again")]
    DiskFull {
        /// Bytes of keys, values and records in the group that this commit was in.
        needed: u64,
        /// Free bytes, less [`Options::reserve`](crate::Options::reserve).
        room: u64,
    },
    /// A key, value or record of the batch is too long, or a key is empty. Nothing was written.
    #[error("{len} bytes can't be stored: at most {max} can, and a key has at least one")]
    Length {
        /// Its length in bytes.
        len: usize,
        /// The most there may be.
        max: usize,
    },
    /// The storage thread is gone: it panicked, which is a bug.
    #[error("the store is closed")]
    Closed,
}

/// A write or sync that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Of a log.
    #[error("can't write {}", path.display())]
    Log {
        /// The log's file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Of the engine.
    #[error("the engine can't write")]
    Engine(#[source] fjall::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches acknowledged.
    pub batches: u64,
    /// Groups that they were written in.
    pub groups: u64,
    /// Syncs that this took, of the engine and of logs.
    pub syncs: u64,
}

pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
    pub(crate) done: Done,
}

/// What the storage thread and the handles share. Fields are dropped in order: the engine is closed
/// before the folder is unlocked.
pub(crate) struct Shared {
    /// What reads see: all that was acknowledged, and nothing more.
    published: RwLock<fjall::Snapshot>,
    disk: Mutex<Disk>,
    pub(crate) db: fjall::Database,
    pub(crate) folder: Folder,
    poison: OnceLock<Arc<WriteError>>,
    counts: [AtomicU64; 3],
    settings: Settings,
}

pub(crate) struct Settings {
    pub(crate) faults: Option<Faults>,
    pub(crate) reserve: u64,
    /// A temporary store never syncs.
    pub(crate) temporary: bool,
}

/// What the storage thread writes to. Openers lock it to add to it.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) keyspaces: Vec<(Arc<str>, fjall::Keyspace)>,
    pub(crate) logs: Vec<LogFile>,
}

/// The storage thread. Ends when the last handle is gone and the queue is empty.
pub(crate) fn run(shared: &Shared, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut group = gather(first, jobs);
        for job in &mut group {
            job.batch.settle();
        }
        let result = shared.commit(&group);
        for job in group {
            // Nobody may be waiting.
            let _ = job.done.send(result.clone());
        }
    }
    shared.finish();
}

fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.batch.bytes;
    let mut group = vec![first];
    while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.batch.bytes;
        group.push(job);
    }
    group
}

impl Shared {
    pub(crate) fn new(db: fjall::Database, folder: Folder, settings: Settings) -> Self {
        Self {
            published: RwLock::new(db.snapshot()),
            disk: Mutex::default(),
            db,
            folder,
            poison: OnceLock::new(),
            counts: Default::default(),
            settings,
        }
    }

    pub(crate) fn view(&self) -> fjall::Snapshot {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> Option<&Faults> {
        self.settings.faults.as_ref()
    }

    pub(crate) fn poisoned(&self) -> Result<(), CommitError> {
        match self.poison.get() {
            Some(cause) => Err(CommitError::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let [batches, groups, syncs] = &self.counts;
        Stats {
            batches: batches.load(Relaxed),
            groups: groups.load(Relaxed),
            syncs: syncs.load(Relaxed),
        }
    }

    fn commit(&self, group: &[Job]) -> Result<(), CommitError> {
        self.poisoned()?;
        self.take_room(group.iter().map(|job| job.batch.bytes).sum())?;
        let sync = !self.settings.temporary
            && group.iter().any(|job| job.durability == Durability::Synced);
        match self.write(group, sync) {
            Ok(syncs) => {
                let view = self.db.snapshot();
                *self.published.write().unwrap_or_else(PoisonError::into_inner) = view;
                for (count, more) in self.counts.iter().zip([group.len() as u64, 1, syncs]) {
                    count.fetch_add(more, Relaxed);
                }
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Poisons the store; the first failure is the one that is told.
    pub(crate) fn fail(&self, error: WriteError) -> CommitError {
        tracing::error!(%error, "the store takes no more writes until it is reopened");
        CommitError::Poisoned { cause: Arc::clone(self.poison.get_or_init(|| Arc::new(error))) }
    }

    /// Refuses what would fill the disk while that is still harmless: a write that fails for lack
    /// of room poisons, and so does an engine that finds none for its tables.
    fn take_room(&self, needed: u64) -> Result<(), CommitError> {
        // If the system can't tell what is free, the write will.
        let free = self.folder.free().unwrap_or(u64::MAX);
        let room = free.saturating_sub(self.settings.reserve);
        if room < needed {
            return Err(CommitError::DiskFull { needed, room });
        }
        self.faults()
            .map_or(Ok(()), |faults| faults.take_room(needed))
            .map_err(|room| CommitError::DiskFull { needed, room })
    }

    /// Writes a group, logs first. Answers with the number of syncs.
    fn write(&self, group: &[Job], sync: bool) -> Result<u64, WriteError> {
        let faults = self.faults();
        if faults.is_some_and(Faults::is_crashed) {
            return Err(io::Error::other("power failed (a fault on order)").into());
        }
        let mut disk = self.disk();
        let Disk { keyspaces, logs } = &mut *disk;
        for (index, write) in group.iter().flat_map(|job| &job.batch.logs) {
            logs[*index].apply(write, faults)?;
        }
        let mut syncs = 0;
        for log in logs {
            syncs += u64::from(log.flush(sync, faults)?);
        }
        for job in group {
            self.write_changes(&job.batch, keyspaces).map_err(WriteError::Engine)?;
        }
        self.persist(sync)?;
        Ok(syncs + u64::from(sync))
    }

    fn write_changes(
        &self,
        batch: &Batch,
        keyspaces: &[(Arc<str>, fjall::Keyspace)],
    ) -> fjall::Result<()> {
        let mut write = self.db.batch();
        for Change { keyspace, key, value } in &batch.changes {
            let (_, keyspace) = &keyspaces[*keyspace];
            match (value, self.faults()) {
                (Some(value), None) => write.insert(keyspace, &key[..], &value[..]),
                (Some(value), Some(faults)) => {
                    let mut value = value.clone();
                    faults.flip(&mut value);
                    write.insert(keyspace, &key[..], value);
                }
                (None, _) => write.remove(keyspace, &key[..]),
            }
        }
        write.commit()
    }

    /// Hands what the engine wrote to the operating system, and with `sync` to the disk.
    fn persist(&self, sync: bool) -> Result<(), WriteError> {
        let persist = |mode| self.db.persist(mode).map_err(WriteError::Engine);
        persist(fjall::PersistMode::Buffer)?;
        if !sync {
            return Ok(());
        }
        if let Some(faults) = self.faults() {
            faults.before_sync()?;
        }
        persist(fjall::PersistMode::SyncData)?;
        if let Some(faults) = self.faults() {
            faults.synced_engine(journal::ends(&self.folder.engine())?);
        }
        Ok(())
    }

    /// Makes durable what was only buffered.
    fn finish(&self) {
        if self.poisoned().is_err() || self.settings.temporary {
            return;
        }
        match self.write(&[], true) {
            Ok(_) => self.folder.close(),
            Err(error) => tracing::error!(%error, "what was buffered may be lost"),
        }
    }
}
