//! The folder of a blob store: what is in it, whose it is, and what a crash leaves behind.
//!
//! | name | what |
//! |---|---|
//! | `FORMAT` | `aether blobs 1` and a line feed |
//! | `lock` | locked (flock) while the store is open |
//! | `blobs/ID` | a complete blob: its content, then its outboard; so its length gives its size |
//! | `blobs/ID.part` | content of a partial blob, with holes |
//! | `blobs/ID.tree` | outboard of a partial blob, with holes |
//! | `blobs/ID.held` | the claimed size, and which chunk groups are held: see [`held`](super::held) |
//! | `pins/ID.NAME.REACH` | a pin, empty; REACH is `blob` or `collection` |
//! | `tmp/N` | in the making, or on its way out; removed when the store is opened |
//!
//! ID is the hash in lower-case hexadecimal. A blob of one chunk group has no outboard, and no
//! partial state: it is one file of exactly its content.
//!
//! **Rule.** A file gets a name in `blobs` that claims anything only after what it claims is synced
//! (`ID`) or checked when it's resumed after a reboot (`ID.held`). A blob that is removed is first
//! renamed into `tmp`. So whatever isn't one of the sets above is a leftover of ours, and is
//! removed when the store is opened; what doesn't look like ours is left alone.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aether_core::BlobId;

use super::error::{FileError, OpenError};
use crate::clock::wall_millis;

const FORMAT: &str = "FORMAT";
const LOCK: &str = "lock";
const TITLE: &str = "aether blobs ";
const VERSION: u32 = 1;

/// The kinds of files that a blob may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Whole,
    Part,
    Tree,
    Held,
}

impl Kind {
    /// Removed in this order, a blob never looks like more than it is.
    pub(super) const ALL: [Self; 4] = [Self::Whole, Self::Held, Self::Tree, Self::Part];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Part => ".part",
            Self::Tree => ".tree",
            Self::Held => ".held",
        }
    }
}

/// A file that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) len: u64,
    pub(super) modified: SystemTime,
}

/// A locked folder. The lock goes with it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// For syncs of names.
    blobs: File,
    counter: AtomicU64,
    _lock: Lock,
    /// Removes the folder of a temporary store.
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    pub(super) fn open(
        path: &Path,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<Self, OpenError> {
        let file = |path: &Path| FileError::at(path.to_owned());
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(file(path))?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        check_format(path)?;
        for part in ["blobs", "pins", "tmp"] {
            let part = path.join(part);
            builder.create(&part).map_err(file(&part))?;
        }
        write_format(path).map_err(file(path))?;
        let blobs = path.join("blobs");
        let blobs = File::open(&blobs).map_err(file(&blobs))?;
        let folder = Self {
            path: path.to_owned(),
            blobs,
            counter: AtomicU64::new(0),
            _lock: lock,
            _temporary: temporary,
        };
        folder.clear_temporary()?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn pins(&self) -> PathBuf {
        self.path.join("pins")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    pub(super) fn file(&self, id: &BlobId, kind: Kind) -> PathBuf {
        self.path.join("blobs").join(format!("{id}{}", kind.suffix()))
    }

    fn clear_temporary(&self) -> Result<(), FileError> {
        let path = self.tmp();
        for entry in fs::read_dir(&path).map_err(FileError::at(path.clone()))? {
            let path = entry.map_err(FileError::at(path.clone()))?.path();
            fs::remove_file(&path).map_err(FileError::at(path))?;
        }
        Ok(())
    }

    /// All files of blobs, by id.
    pub(super) fn scan(&self) -> Result<BTreeMap<BlobId, BTreeMap<Kind, Found>>, FileError> {
        let path = self.path.join("blobs");
        let mut found = BTreeMap::<_, BTreeMap<_, _>>::new();
        for entry in fs::read_dir(&path).map_err(FileError::at(path.clone()))? {
            let entry = entry.map_err(FileError::at(path.clone()))?;
            let name = entry.file_name();
            let Some((id, kind)) = name.to_str().and_then(parse) else {
                tracing::warn!(file = %entry.path().display(), "not a blob's file, left alone");
                continue;
            };
            let file = entry.metadata().and_then(|metadata| {
                Ok(Found { len: metadata.len(), modified: metadata.modified()? })
            });
            let file = file.map_err(FileError::at(entry.path()))?;
            found.entry(id).or_default().insert(kind, file);
        }
        Ok(found)
    }

    fn temporary_name(&self) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.tmp().join(number.to_string())
    }

    /// A file in the making.
    pub(super) fn temporary(&self) -> Result<Temporary, FileError> {
        let path = self.temporary_name();
        let file = File::options().create_new(true).read(true).write(true).open(&path);
        let file = file.map_err(FileError::at(path.clone()))?;
        Ok(Temporary { file, path: Some(path) })
    }

    /// Takes a blob's file away: it's gone at once, and its bytes are freed when the answer is
    /// dropped. `None` if there is none.
    pub(super) fn take_away(&self, id: &BlobId, kind: Kind) -> io::Result<Option<Doomed>> {
        let path = self.temporary_name();
        match fs::rename(self.file(id, kind), &path) {
            Ok(()) => Ok(Some(Doomed(path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes all of a blob's files away.
    pub(super) fn take_all(&self, id: &BlobId) -> io::Result<Vec<Doomed>> {
        let taken = Kind::ALL.into_iter().map(|kind| self.take_away(id, kind));
        Ok(taken.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Makes the names of blobs durable.
    pub(super) fn sync_names(&self) -> Result<(), FileError> {
        self.blobs.sync_all().map_err(FileError::at(self.path.join("blobs")))
    }
}

fn parse(name: &str) -> Option<(BlobId, Kind)> {
    let (id, suffix) = name.split_at_checked(2 * BlobId::LEN)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
    Some((id.parse().ok()?, kind))
}

/// A file in `tmp` that is removed unless it gets a name.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    /// What is said of it in errors.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("tmp"))
    }

    /// Gives it its name, in the place of what had it. Data is to be synced before.
    pub(super) fn rename(mut self, to: &Path) -> Result<(), FileError> {
        fs::rename(self.path(), to).map_err(FileError::at(to.to_owned()))?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(%error, file = %path.display(), "a temporary file stays until restart");
        }
    }
}

/// A file without a name; its bytes are freed when this is dropped.
#[derive(Debug)]
pub(super) struct Doomed(PathBuf);

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, file = %self.0.display(), "a removed blob stays until restart");
        }
    }
}

/// Notes that a blob is used: the order of eviction after a restart goes by this.
pub(super) fn note_use(file: &File) {
    let now = UNIX_EPOCH + Duration::from_millis(wall_millis());
    if let Err(error) = file.set_modified(now) {
        tracing::debug!(%error, "the use of a blob isn't remembered over a restart");
    }
}

/// Looks before anything is touched. What a crash leaves behind in the making of a folder is ours.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let mut ours = true;
    for entry in fs::read_dir(path).map_err(FileError::at(path.to_owned()))? {
        let name = entry.map_err(FileError::at(path.to_owned()))?.file_name();
        if name == FORMAT {
            return Ok(());
        }
        let part = ["blobs", "pins", "tmp", LOCK, "FORMAT.new"].map(|part| name == part);
        ours &= part.contains(&true);
    }
    // Without a format, blobs that are there were not put there by us.
    let blobs = path.join("blobs");
    let empty =
        !blobs.exists() || fs::read_dir(&blobs).map_err(FileError::at(blobs))?.next().is_none();
    if ours && empty { Ok(()) } else { Err(OpenError::Foreign { path: path.to_owned() }) }
}

/// Is unlocked when dropped: a child process that is being started has the file open still.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the folder of a blob store stays locked");
        }
    }
}

fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(FileError::at(path.clone()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(FileError::at(path)(error).into()),
    }
}

fn check_format(folder: &Path) -> Result<(), OpenError> {
    let path = folder.join(FORMAT);
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::at(path)(error).into()),
    };
    let text = str::from_utf8(&text).unwrap_or_default();
    let number = text.strip_prefix(TITLE).and_then(|text| text.strip_suffix('\n'));
    match number.and_then(|number| number.parse().ok()) {
        Some(VERSION) => Ok(()),
        Some(version) if version > VERSION => {
            Err(OpenError::Newer { path: folder.to_owned(), version })
        }
        _ => Err(OpenError::Foreign { path: folder.to_owned() }),
    }
}

/// Declares the folder made, once all of it is there.
fn write_format(folder: &Path) -> io::Result<()> {
    let path = folder.join(FORMAT);
    if path.try_exists()? {
        return Ok(());
    }
    let new = folder.join("FORMAT.new");
    let mut file = File::create(&new)?;
    file.write_all(format!("{TITLE}{VERSION}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    sync_folder(folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}
