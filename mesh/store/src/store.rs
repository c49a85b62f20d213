//! The store: what a program opens, and keeps.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::{
    Batch, CommitError, Durability, Ending, Faults, Keyspace, Log, LogError, OpenError, Opened,
    Snapshot, Stats, Ticket,
    folder::{Folder, is_name},
    journal,
    log::LogFile,
    read,
    writer::{self, Job, Settings, Shared},
};

/// Most bytes of the engine's journals, all of which are replayed when a store is opened.
const MAX_JOURNALS: u64 = 128 << 20;

/// How a store uses its machine. The defaults let fifty stores share one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of memory for blocks that were read. 16 MiB by default.
    pub cache: u64,
    /// Bytes of writes that each keyspace gathers in memory before it writes a table, up to five
    /// times as many while tables are being written. Smaller saves memory, larger saves writes.
    /// Counts for keyspaces that are new. 8 MiB by default.
    pub write_buffer: u64,
    /// Threads that write and compact tables, besides the storage thread. 1 by default.
    pub workers: usize,
    /// Table files that are held open, at least 10. 64 by default.
    pub max_open_files: usize,
    /// Batches that wait for the storage thread before writers are held back. 256 by default.
    pub queue: usize,
    /// Free bytes of the disk that commits don't touch, so that the engine can still compact what
    /// it has. 64 MiB by default.
    pub reserve: u64,
    /// Faults on order, in tests. None by default.
    pub faults: Option<Faults>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache: 16 << 20,
            write_buffer: 8 << 20,
            workers: 1,
            max_open_files: 64,
            queue: 256,
            reserve: 64 << 20,
            faults: None,
        }
    }
}

/// Why a keyspace can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyspaceError {
    /// Names have 1 to 128 of `a-z 0-9 . _ -` and don't begin with a dot.
    #[error(
        "{name:?} can't name a keyspace: use 1 to 128 of a-z 0-9 . _ -, not beginning with a dot"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The engine can't make it.
    #[error("the engine can't make keyspace {name}")]
    Engine {
        /// The name.
        name: String,
        /// What it says.
        #[source]
        source: fjall::Error,
    },
}

/// One data folder: keyspaces and logs, one storage thread, one lock.
///
/// Cloning is cheap. When the last clone, keyspace, log, snapshot and scan is dropped, the store
/// finishes what is queued, syncs what is buffered and closes, and the drop waits for that. To
/// learn whether that sync succeeds, commit an empty batch as [`Durability::Synced`] first.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) id: u64,
    /// Taken when the store closes.
    running: Option<(SyncSender<Job>, JoinHandle<()>)>,
    pub(crate) shared: Arc<Shared>,
    write_buffer: u64,
    trimmed: u64,
}

impl Store {
    /// Opens the store in a data folder. A folder that is missing is made, readable by its owner
    /// only; one that is empty becomes a data folder.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::start(path.as_ref(), None, options)
    }

    /// Opens a store that isn't durable: for nodes that begin anew each time. It is the same
    /// engine in a folder of the system's temporary directory that is removed when the store closes
    /// (and is left behind by a process that is killed). It never syncs, so [`Durability::Synced`]
    /// means no more than [`Durability::Buffered`].
    pub fn temporary(options: Options) -> Result<Self, OpenError> {
        let temporary = tempfile::Builder::new().prefix("aether-").tempdir();
        let temporary =
            temporary.map_err(|source| OpenError::Io { path: std::env::temp_dir(), source })?;
        let path = temporary.path().to_owned();
        Self::start(&path, Some(temporary), options)
    }

    fn start(
        path: &Path,
        temporary: Option<tempfile::TempDir>,
        options: Options,
    ) -> Result<Self, OpenError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let settings = Settings {
            faults: options.faults.clone(),
            reserve: options.reserve,
            temporary: temporary.is_some(),
        };
        let (folder, unfinished) = Folder::open(path, options.faults.clone(), temporary)?;
        let (db, trimmed) = open_engine(&folder, &options)?;
        if unfinished {
            folder.finish()?;
        }
        let shared = Arc::new(Shared::new(db, folder, settings));
        let (sender, jobs) = sync_channel(options.queue.max(1));
        let storage = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("aether-store".to_owned())
            .spawn(move || writer::run(&storage, &jobs))
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let inner = Inner {
            id: NEXT.fetch_add(1, Relaxed),
            running: Some((sender, thread)),
            shared,
            write_buffer: options.write_buffer,
            trimmed,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a keyspace, and makes it if there is none of that name. Each has files and buffers
    /// of its own: have few, and tell things apart by the keys' prefixes.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, KeyspaceError> {
        if !is_name(name) {
            return Err(KeyspaceError::Name { name: name.to_owned() });
        }
        let shared = &self.inner.shared;
        let mut disk = shared.disk();
        let index = match disk.keyspaces.iter().position(|(known, _)| **known == *name) {
            Some(index) => index,
            None => {
                let options = || {
                    let options = fjall::KeyspaceCreateOptions::default();
                    options.max_memtable_size(self.inner.write_buffer)
                };
                let keyspace = shared
                    .db
                    .keyspace(name, options)
                    .map_err(|source| KeyspaceError::Engine { name: name.to_owned(), source })?;
                disk.keyspaces.push((name.into(), keyspace));
                disk.keyspaces.len() - 1
            }
        };
        let (name, engine) = disk.keyspaces[index].clone();
        let seed = read::seed(&name);
        Ok(Keyspace { engine, index, name, seed, store: Arc::clone(&self.inner) })
    }

    /// The names of all keyspaces that there are.
    pub fn keyspaces(&self) -> Vec<String> {
        let names = self.inner.shared.db.list_keyspace_names();
        names.iter().map(|name| name.to_string()).collect()
    }

    /// Opens a log and reads its records, and makes it if there is none of that name. A log that is
    /// open already is synced and read again; all handles write to one log.
    ///
    /// Reads the whole file into memory.
    pub fn log(&self, name: &str) -> Result<Opened, LogError> {
        if !is_name(name) {
            return Err(LogError::Name { name: name.to_owned() });
        }
        let shared = &self.inner.shared;
        let faults = shared.faults();
        let mut disk = shared.disk();
        shared.poisoned().map_err(|_| LogError::Poisoned)?;
        let index = disk.logs.iter().position(|log| log.name() == name);
        if let Some(index) = index {
            let flushed = disk.logs[index].flush(true, faults);
            flushed.map_err(|error| shared.fail(error)).map_err(|_| LogError::Poisoned)?;
        }
        let (file, records, truncated) = LogFile::open(&shared.folder.logs(), name, faults)?;
        let index = index.unwrap_or(disk.logs.len());
        if index == disk.logs.len() {
            disk.logs.push(file);
        } else {
            disk.logs[index] = file;
        }
        let log = Log { index, store: Arc::clone(&self.inner) };
        Ok(Opened { log, records, truncated })
    }

    /// All keyspaces as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.inner)
    }

    /// Queues a batch. Commits are written in the order in which they are queued.
    ///
    /// Blocks while the queue is full; async code calls [`try_commit`](Self::try_commit).
    ///
    /// # Panics
    /// If the batch is another store's.
    pub fn commit(&self, batch: Batch, durability: Durability) -> Ticket {
        let (job, ticket) = self.job(batch, durability);
        if let Some(job) = job {
            // A job that can't be sent is dropped, and its ticket says `Closed`.
            let _ = self.inner.queue().send(job);
        }
        ticket
    }

    /// Queues a batch like [`commit`](Self::commit), or gives it back if the queue is full: then
    /// await a ticket of an earlier commit, and try again.
    ///
    /// # Panics
    /// If the batch is another store's.
    pub fn try_commit(&self, batch: Batch, durability: Durability) -> Result<Ticket, Batch> {
        let (job, ticket) = self.job(batch, durability);
        match job.map(|job| self.inner.queue().try_send(job)) {
            Some(Err(TrySendError::Full(job))) => Err(job.batch),
            _ => Ok(ticket),
        }
    }

    /// A batch that can't be written is answered here.
    fn job(&self, mut batch: Batch, durability: Durability) -> (Option<Job>, Ticket) {
        let own = batch.store.is_none_or(|store| store == self.inner.id);
        assert!(own, "a batch is committed to the store of its keyspaces");
        let (done, ticket) = Ticket::new();
        match batch.refused.take() {
            Some(error) => {
                // The ticket is here.
                let _ = done.send(Err(error));
                (None, ticket)
            }
            None => (Some(Job { batch, durability, done }), ticket),
        }
    }

    /// To wait for the end of this store. A program that ends before has crashed, as far as the
    /// store is concerned: nothing is lost that was acknowledged, but nobody can say that what is
    /// on the disk is all.
    pub fn ending(&self) -> Ending {
        self.inner.shared.folder.ending()
    }

    /// The data folder.
    pub fn path(&self) -> &Path {
        self.inner.shared.folder.path()
    }

    /// Bytes that the engine cut off its journals when the store was opened, because it couldn't
    /// read on.
    ///
    /// After a crash or a failed write that is what wasn't written to the end, and was never
    /// acknowledged. After an orderly end it is 0, and more means that the disk has damaged the
    /// journal and that commits which were acknowledged are gone.
    pub fn trimmed(&self) -> u64 {
        self.inner.trimmed
    }

    /// What was done since the store was opened.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Whether commits are still possible, or why not.
    pub fn health(&self) -> Result<(), CommitError> {
        self.inner.shared.poisoned()
    }
}

/// Opens the engine. Answers also how much it cut off its journals.
fn open_engine(folder: &Folder, options: &Options) -> Result<(fjall::Database, u64), OpenError> {
    let engine = folder.engine();
    let ends =
        || journal::ends(&engine).map_err(|source| OpenError::Io { path: engine.clone(), source });
    let before = ends()?;
    let builder = fjall::Database::builder(&engine)
        .cache_size(options.cache)
        .worker_threads(options.workers.max(1))
        .max_cached_files(Some(options.max_open_files.max(10)))
        .max_journaling_size(MAX_JOURNALS)
        .manual_journal_persist(true);
    // The engine panics at some of what a damaged disk may hold.
    let db = catch_unwind(AssertUnwindSafe(|| builder.open()))
        .unwrap_or(Err(fjall::Error::Unrecoverable))
        .map_err(|source| OpenError::Engine { path: engine.clone(), source })?;
    let after = ends()?;
    let cut = |(number, end): (&u64, &u64)| end.saturating_sub(*after.get(number).unwrap_or(end));
    let trimmed = before.iter().map(cut).sum();
    if trimmed > 0 {
        tracing::warn!(trimmed, "the engine cut off its journal where it couldn't read on");
    }
    if let Some(faults) = &options.faults {
        faults.synced_engine(after);
    }
    Ok((db, trimmed))
}

impl Inner {
    fn queue(&self) -> &SyncSender<Job> {
        let (queue, _) = self.running.as_ref().expect("a store runs until it is dropped");
        queue
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((queue, thread)) = self.running.take() {
            drop(queue);
            // A disk that hangs on order would hang this thread too.
            if let Some(faults) = self.shared.faults() {
                faults.resume();
            }
            if thread.join().is_err() {
                tracing::error!("the storage thread panicked");
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("id", &self.id).finish_non_exhaustive()
    }
}
