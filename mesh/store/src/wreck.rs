//! Wrecks: data folders that a disk has damaged, and what can be saved of them.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::{
    Batch, CommitError, Durability, KeyspaceError, LogError, OpenError, Options, Store,
    folder::{self, ENGINE, FORMAT, LOGS, is_name},
    journal, log,
};

/// Bytes that are copied with one commit.
const CHUNK: usize = 4 << 20;

/// Into how many parts a journal is divided that the engine doesn't take as it is.
const PARTS: u64 = 16;

/// A data folder that can't be opened, or not be read, opened for what is left in it.
///
/// Nothing in it is changed, but that it is locked. What is opened is a copy of the engine's files
/// beside it, whose name ends with `.salvage` and which goes with this: of tables a hard link,
/// where the file system has them, and of the few others a copy. It is tried as it is; then with
/// less and less of the journals; then there is no engine.
#[derive(Debug)]
pub struct Wreck {
    path: PathBuf,
    store: Option<Store>,
    journals: usize,
    /// Goes after the store.
    _copy: Copy,
    _lock: File,
}

/// A copy of an engine's files, as a data folder of its own, that is removed in the end.
#[derive(Debug)]
struct Copy(PathBuf);

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
        let lock = folder::hold(&path)?;
        let copy = Copy::make(&path)?;
        let (store, journals) = copy.open(&path.join(ENGINE), options)?;
        Ok(Self { path, store, journals, _copy: copy, _lock: lock })
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
        batch.put(&new, &key[..], &value);
        if bytes >= CHUNK {
            to.commit(std::mem::take(&mut batch), Durability::Buffered).wait()?;
            bytes = 0;
        }
    }
    to.commit(batch, Durability::Buffered).wait()?;
    Ok(all)
}

impl Copy {
    /// Copies the engine of a data folder; one that was left by a process that was killed goes.
    fn make(of: &Path) -> Result<Self, OpenError> {
        let mut name = of.file_name().unwrap_or_default().to_owned();
        name.push(".salvage");
        let path = of.with_file_name(name);
        let failed = |source| OpenError::Io { path: path.clone(), source };
        if path.try_exists().map_err(failed)? {
            fs::remove_dir_all(&path).map_err(failed)?;
        }
        let copy = Self(path.clone());
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        fs::create_dir(path.join(LOGS)).map_err(failed)?;
        fs::write(path.join(FORMAT), folder::format("")).map_err(failed)?;
        copy_folder(&of.join(ENGINE), &path.join(ENGINE)).map_err(failed)?;
        Ok(copy)
    }

    /// Opens it, with as much of the journals as the engine takes. Answers also of how many that
    /// isn't all.
    fn open(&self, engine: &Path, options: &Options) -> Result<(Option<Store>, usize), OpenError> {
        let open = || match Store::open(&self.0, options.clone()) {
            Ok(store) => Ok(Some(store)),
            Err(OpenError::Engine { .. } | OpenError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(store) = open()? {
            return Ok((Some(store), 0));
        }
        let failed = |source| OpenError::Io { path: engine.to_owned(), source };
        let ends = journal::ends(engine).or_else(absent).map_err(failed)?;
        // The newest is the one that is written to.
        for (count, (number, end)) in (1..).zip(ends.iter().rev()) {
            let name = format!("{number}.jnl");
            for part in (0..PARTS).rev() {
                let to = self.0.join(ENGINE).join(&name);
                begin_of(&engine.join(&name), &to, end / PARTS * part).map_err(failed)?;
                if let Some(store) = open()? {
                    return Ok((Some(store), count));
                }
            }
        }
        Ok((None, ends.len()))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a copy is left, and can be deleted");
        }
    }
}

/// A folder that isn't there has nothing in it.
fn absent<T: Default>(error: io::Error) -> io::Result<T> {
    if error.kind() == io::ErrorKind::NotFound { Ok(T::default()) } else { Err(error) }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    // Tables are never written again. Whatever else there is may be.
    let is_tables = from.file_name().is_some_and(|name| name == "tables");
    let entries = fs::read_dir(from).map(Some).or_else(absent)?;
    for entry in entries.into_iter().flatten() {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else if !is_tables || fs::hard_link(entry.path(), &to).is_err() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// Puts the beginning of a journal in the place of another; nothing, if it is to be empty.
fn begin_of(whole: &Path, to: &Path, len: u64) -> io::Result<()> {
    if len == 0 {
        return fs::remove_file(to).or_else(absent);
    }
    io::copy(&mut File::open(whole)?.take(len), &mut File::create(to)?)?;
    Ok(())
}
