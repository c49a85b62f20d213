//! The data folder: whose it is, which format it has, and that one process has it.
//!
//! | name | what |
//! |---|---|
//! | `FORMAT` | `aether store 1` and a line feed; ends with ` unfinished` in the making |
//! | `lock` | locked (flock) while the store is open |
//! | `engine/` | the engine's files |
//! | `logs/NAME.log` | the logs |
//! | `CLOSED` | the [inventory](crate::inventory), from an orderly end until the store is opened |

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{Ending, Faults, ending::End, inventory};

pub(crate) const FORMAT: &str = "FORMAT";
const LOCK: &str = "lock";
const CLOSED: &str = "CLOSED";
pub(crate) const ENGINE: &str = "engine";
pub(crate) const LOGS: &str = "logs";
const VERSION: u32 = 1;

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has the folder open, in this process or another.
    #[error(
        "{} is open already: stop the other process, or choose another data folder",
        path.display()
    )]
    Locked {
        /// The data folder.
        path: PathBuf,
    },
    /// The folder has something else in it. Nothing was touched.
    #[error(
        "{} isn't empty and isn't a data folder of aether: choose an empty or a new one",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A newer release wrote the folder. Nothing was touched.
    #[error(
        "{} has format {version}, this release reads up to {VERSION}: upgrade",
        path.display()
    )]
    Newer {
        /// The data folder.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// A part is missing of what was there. Nothing was made in its place.
    #[error("{} is missing: repair the data folder, or restore it from a backup", path.display())]
    Missing {
        /// What is missing.
        path: PathBuf,
    },
    /// A file isn't as it was when the store was closed. Nothing was touched.
    #[error("{} is damaged: repair the data folder, or restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("can't open the data folder at {}{}", path.display(), hint(source))]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The engine can't make sense of its files, or can't write.
    #[error(
        "the engine can't open {}: repair the data folder, or restore it from a backup",
        path.display()
    )]
    Engine {
        /// The engine's folder.
        path: PathBuf,
        /// What it says.
        #[source]
        source: fjall::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            ": give this user the right to read and write there, or choose another"
        }
        _ => "",
    }
}

/// A locked data folder. The lock goes with it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    faults: Option<Faults>,
    /// Whether the store has come to an orderly end.
    is_closed: AtomicBool,
    _lock: File,
    /// Removes the folder of a temporary store.
    _temporary: Option<tempfile::TempDir>,
    /// Goes last.
    end: End,
}

impl Folder {
    /// Locks a folder, and makes it if there is none. Answers whether the engine is still to be
    /// made: then call [`finish`](Self::finish) once it is.
    pub(crate) fn open(
        path: &Path,
        faults: Option<Faults>,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<(Self, bool), OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).or_else(at(path))?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        if let Some(faults) = &faults {
            faults.start();
        }
        let unfinished = is_unfinished(path)?;
        let (is_closed, end) = (AtomicBool::new(false), End::default());
        let path = path.to_owned();
        let folder = Self { path, faults, is_closed, _lock: lock, _temporary: temporary, end };
        if unfinished {
            folder.write_format(" unfinished")?;
            for part in [folder.engine(), folder.logs()] {
                if part.try_exists().or_else(at(&part))? {
                    fs::remove_dir_all(&part).or_else(at(&part))?;
                }
                DirBuilder::new().mode(0o700).create(&part).or_else(at(&part))?;
            }
        }
        let engine = folder.engine().join("version");
        for part in [folder.logs(), engine] {
            if !unfinished && !part.try_exists().or_else(at(&part))? {
                return Err(OpenError::Missing { path: part });
            }
        }
        folder.compare(unfinished)?;
        Ok((folder, unfinished))
    }

    /// Compares the engine's files with the inventory, if the last life had an orderly end. The
    /// inventory is gone for good before the engine is opened, which changes them. Of an engine
    /// that `is_new` it says nothing.
    fn compare(&self, is_new: bool) -> Result<(), OpenError> {
        let (path, engine) = (self.path.join(CLOSED), self.engine());
        let inventory = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            inventory => inventory.or_else(at(&path))?,
        };
        match inventory::differs(&engine, &inventory).or_else(at(&engine))? {
            Some(part) if !is_new => {
                let is_own = part.as_os_str().is_empty();
                return Err(OpenError::Damaged {
                    path: if is_own { path } else { engine.join(part) },
                });
            }
            _ => {}
        }
        fs::remove_file(&path).and_then(|()| sync_parent(&path)).or_else(at(&path))
    }

    /// Says that all that was acknowledged is on the disk: once the engine is closed, its files are
    /// written down.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Declares the folder made.
    pub(crate) fn finish(&self) -> Result<(), OpenError> {
        self.write_format("")?;
        sync_parent(&self.path).or_else(at(&self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn ending(&self) -> Ending {
        self.end.ending()
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE)
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join(LOGS)
    }

    /// Bytes that the disk has free for this user.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn write_format(&self, state: &str) -> Result<(), OpenError> {
        let path = self.path.join(FORMAT);
        replace(&path, format(state).as_bytes(), None).map(drop).or_else(at(&path))
    }
}

impl Drop for Folder {
    /// Runs after the engine is closed.
    fn drop(&mut self) {
        if let Some(faults) = &self.faults
            && let Err(error) = faults.cut(&self.engine())
        {
            tracing::error!(%error, "the crash that was ordered couldn't be simulated");
        }
        let is_orderly = self.is_closed.load(Ordering::Acquire) && self._temporary.is_none();
        if is_orderly && !self.faults.as_ref().is_some_and(Faults::is_crashed) {
            let inventory = inventory::take(&self.engine());
            let path = self.path.join(CLOSED);
            let written = inventory.and_then(|text| replace(&path, text.as_bytes(), None));
            if let Err(error) = written {
                tracing::warn!(%error, "damage to the lists of tables won't be found");
            }
        }
    }
}

fn at<T>(path: &Path) -> impl FnOnce(io::Error) -> Result<T, OpenError> {
    move |source| Err(OpenError::Io { path: path.to_owned(), source })
}

/// What the file of the format says.
pub(crate) fn format(state: &str) -> String {
    format!("aether store {VERSION}{state}\n")
}

/// Locks a data folder that is there, whatever state it is in; nothing is written.
pub(crate) fn hold(path: &Path) -> Result<File, OpenError> {
    if !path.is_dir() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    refuse_foreign(path)?;
    let lock = lock(path)?;
    is_unfinished(path)?;
    Ok(lock)
}

/// Looks before anything is touched. What a crash leaves behind in the making of a folder is ours.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let mut ours = true;
    for entry in fs::read_dir(path).or_else(at(path))? {
        let name = entry.or_else(at(path))?.file_name();
        if name == FORMAT {
            return Ok(());
        }
        ours &= name == LOCK || name == "FORMAT.new";
    }
    if ours { Ok(()) } else { Err(OpenError::Foreign { path: path.to_owned() }) }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.or_else(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => at(&path)(error),
    }
}

/// Reads the format; there is none in a folder that was just made.
fn is_unfinished(folder: &Path) -> Result<bool, OpenError> {
    let path = folder.join(FORMAT);
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return at(&path)(error),
    };
    let text = str::from_utf8(&text).unwrap_or_default();
    let format = text.strip_prefix("aether store ").and_then(|text| text.strip_suffix('\n'));
    let (number, state) = format.map(|text| text.split_once(' ').unwrap_or((text, ""))).unzip();
    match (number.and_then(|number| number.parse().ok()), state) {
        (Some(VERSION), Some(state @ ("" | "unfinished"))) => Ok(!state.is_empty()),
        (Some(version), _) if version > VERSION => {
            Err(OpenError::Newer { path: folder.to_owned(), version })
        }
        _ => Err(OpenError::Foreign { path: folder.to_owned() }),
    }
}

/// Puts a file in the place of another, atomically and durably: after a crash the name stands for
/// the old bytes or for the new ones. Answers with the new file, at its end.
pub(crate) fn replace(path: &Path, bytes: &[u8], faults: Option<&Faults>) -> io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    faults.map_or(Ok(()), Faults::before_sync)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)?;
    Ok(file)
}

/// Makes the name itself durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Whether a keyspace or a log may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let letter = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (1..=128).contains(&name.len()) && name.bytes().all(letter) && !name.starts_with('.')
}
