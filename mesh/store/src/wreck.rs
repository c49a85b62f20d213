//! Wrecks: data folders that a disk has damaged, and what can be saved of them.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    Batch, CommitError, Durability, KeyspaceError, LogError, OpenError, Options, Store,
    folder::{ENGINE, LOGS, is_name},
    journal, log,
};

/// Bytes that are copied with one commit.
const CHUNK: usize = 4 << 20;

/// Into how many parts a journal is divided that the engine doesn't take as it is.
const PARTS: u64 = 16;

/// A data folder that can't be opened, or not be read, opened for what is left in it.
///
/// It is tried as it is; then with less and less of the engine's journals, of which whole copies
/// stay under names that end with `.damaged`; then without the engine. Nothing is deleted.
#[derive(Debug)]
pub struct Wreck {
    path: PathBuf,
    store: Option<Store>,
    journals: usize,
}

/// What was copied of a keyspace or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub name: String,
    /// Rows or records that were copied.
    pub copied: u64,
    /// Values that are corrupt, and stretches of rows that can't be read; of a log 1, if something
    /// in it is corrupt, and what comes behind that is lost.
    pub lost: u64,
}

/// Why nothing can be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The keyspace can't be opened, here or there.
    #[error(transparent)]
    Keyspace(#[from] KeyspaceError),
    /// The new log can't be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The new store can't be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The folder can't be read.
    #[error("can't read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

impl Wreck {
    /// Opens what is left in a data folder.
    ///
    /// # Errors
    /// It is open already, isn't one, or is of a newer release; or the operating system.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        if !path.is_dir() {
            return Err(OpenError::Missing { path });
        }
        let open = || match Store::open_as(&path, options.clone(), true) {
            Ok(store) => Ok(Some(store)),
            Err(OpenError::Engine { .. } | OpenError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let (mut store, mut journals) = (open()?, 0);
        if store.is_none() {
            let engine = path.join(ENGINE);
            let failed = |source| OpenError::Io { path: engine.clone(), source };
            // The newest is the one that is written to.
            for number in journal::numbers(&engine).map_err(failed)?.into_iter().rev() {
                let (whole, len) = set_aside(&engine, number).map_err(failed)?;
                journals += 1;
                for part in (0..PARTS).rev() {
                    shorten(&engine, number, &whole, len / PARTS * part).map_err(failed)?;
                    store = open()?;
                    if store.is_some() {
                        break;
                    }
                }
                if store.is_some() {
                    break;
                }
            }
        }
        Ok(Self { path, store, journals })
    }

    /// The store, if the engine can be opened.
    pub const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Of how many journals only the beginning was read, or nothing. What was written last may have
    /// been in them alone.
    pub const fn journals(&self) -> usize {
        self.journals
    }

    /// Copies all that can be read to a store that is new, but for the keyspaces named. Returns
    /// when that is synced.
    ///
    /// # Errors
    /// What can't be read is counted, and no error. The new store can't be written.
    pub fn copy(&self, to: &Store, leave: &[&str]) -> Result<Vec<Copied>, CopyError> {
        let mut all = Vec::new();
        if let Some(store) = &self.store {
            let mut names = store.keyspaces();
            names.sort();
            for name in names.iter().filter(|name| !leave.contains(&name.as_str())) {
                all.push(copy_keyspace(store, to, name)?);
            }
        }
        all.extend(self.copy_logs(to)?);
        to.commit(Batch::new(), Durability::Synced).wait()?;
        Ok(all)
    }

    fn copy_logs(&self, to: &Store) -> Result<Vec<Copied>, CopyError> {
        let path = self.path.join(LOGS);
        let unread = |source| CopyError::Io { path: path.clone(), source };
        let mut names = Vec::new();
        let files = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(unread)?,
        };
        for file in files {
            let name = file.map_err(unread)?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".log"));
            names.extend(name.map(str::to_owned).filter(|name| is_name(name)));
        }
        names.sort();
        let mut all = Vec::new();
        for name in names {
            let bytes = fs::read(path.join(format!("{name}.log"))).map_err(unread)?;
            let (records, is_whole) = log::salvage(&name, &bytes);
            let (copied, lost) = (records.len() as u64, u64::from(!is_whole));
            let mut batch = Batch::new();
            batch.rewrite(&to.log(&name)?.log, records);
            to.commit(batch, Durability::Buffered).wait()?;
            all.push(Copied { name, copied, lost });
        }
        Ok(all)
    }
}

fn copy_keyspace(from: &Store, to: &Store, name: &str) -> Result<Copied, CopyError> {
    let (from, new) = (from.keyspace(name)?, to.keyspace(name)?);
    let mut all = Copied { name: name.to_owned(), copied: 0, lost: 0 };
    let (mut batch, mut bytes) = (Batch::new(), 0);
    for row in from.salvage(b"") {
        let Ok((key, value)) = row else {
            all.lost += 1;
            continue;
        };
        all.copied += 1;
        bytes += key.len() + value.len();
        batch.put(&new, &key, &value);
        if bytes >= CHUNK {
            to.commit(std::mem::take(&mut batch), Durability::Buffered).wait()?;
            bytes = 0;
        }
    }
    to.commit(batch, Durability::Buffered).wait()?;
    Ok(all)
}

/// Copies a journal. Answers with the copy's path and length.
fn set_aside(engine: &Path, number: u64) -> io::Result<(PathBuf, u64)> {
    let journal = engine.join(format!("{number}.jnl"));
    let whole = journal.with_extension("jnl.damaged");
    // Of one that was tried before, the copy is whole, and it may not be.
    if !whole.try_exists()? {
        fs::copy(&journal, &whole)?;
    }
    let end = journal::ends(engine)?.get(&number).copied().unwrap_or(0);
    Ok((whole, end))
}

/// Puts the beginning of a journal in its place; nothing, if it is to be empty.
fn shorten(engine: &Path, number: u64, whole: &Path, len: u64) -> io::Result<()> {
    let journal = engine.join(format!("{number}.jnl"));
    if len == 0 {
        return fs::remove_file(&journal);
    }
    let mut file = File::create(&journal)?;
    io::copy(&mut File::open(whole)?.take(len), &mut file)?;
    file.sync_all()
}
