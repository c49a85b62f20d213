//! One blob: what is held of it, its open files, and who uses it.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use aether_core::BlobId;
use blake3::Hash;

use super::{
    Inner,
    behind::Behind,
    error::{FileError, ReadError},
    folder::{Kind, note_use},
    held,
    index::on_disk,
    runs::Runs,
    tree::{self, PAIR},
};

/// What is held of a blob.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing.
    Absent,
    Part(Part),
    Whole {
        size: u64,
    },
}

#[derive(Debug)]
pub(super) struct Part {
    /// As claimed; proved if the last group is held.
    pub(super) size: u64,
    pub(super) held: Runs,
    /// Whether `held` needn't be checked after a reboot.
    pub(super) is_checked: bool,
    /// Somebody is making a whole blob of it.
    pub(super) is_finishing: bool,
}

impl Part {
    pub(super) fn new(size: u64) -> Self {
        Self { size, held: Runs::default(), is_checked: true, is_finishing: false }
    }

    pub(super) fn is_full(&self) -> bool {
        self.held.count() == tree::groups(self.size)
    }

    pub(super) fn is_proved(&self) -> bool {
        self.held.contains(tree::groups(self.size) - 1)
    }
}

impl State {
    /// Bytes that it takes on disk, about; 0 only if nothing is held.
    pub(super) fn charge(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Part(part) if part.held.count() == 0 => 0,
            Self::Part(part) => {
                let groups = part.held.count();
                on_disk(groups * (tree::GROUP + PAIR)) + on_disk(held::HEADER + groups / 8)
            }
            // An empty file isn't free either.
            Self::Whole { size } => on_disk((size + tree::outboard_len(*size)).max(1)),
        }
    }

    fn size(&self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Part(part) => Some(part.size),
            Self::Whole { size } => Some(*size),
        }
    }
}

/// A blob's open files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) data: File,
    /// Of a partial blob: the outboard and the bits.
    pub(super) part: Option<(File, File)>,
    pub(super) path: PathBuf,
    pub(super) behind: Behind,
}

impl Files {
    pub(super) fn error(&self) -> impl FnOnce(io::Error) -> FileError {
        FileError::at(self.path.clone())
    }

    /// Reads from the outboard of a blob of this size; what isn't there is zeros, which never
    /// verify.
    pub(super) fn read_pairs(&self, size: u64, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let (file, at) = match &self.part {
            Some((tree, _)) => (tree, at),
            None => (&self.data, size + at),
        };
        read_or_zeros(file, bytes, at)
    }
}

/// What is beyond the file's end is zeros.
pub(super) fn read_or_zeros(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, at) {
            Ok(0) => {
                bytes.fill(0);
                break;
            }
            Ok(read) => {
                bytes = &mut bytes[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What can be read of a blob.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) files: Arc<Files>,
    pub(super) size: u64,
    pub(super) root: Hash,
    /// For what doesn't fit in memory.
    pub(super) tmp: PathBuf,
}

#[derive(Debug)]
pub(super) struct Inside {
    pub(super) state: State,
    /// Open while the blob is in use.
    pub(super) files: Option<Arc<Files>>,
}

#[derive(Debug)]
pub(super) struct Blob {
    pub(super) id: BlobId,
    inside: Mutex<Inside>,
    /// Told when a blob that was being finished is no more.
    finished: Condvar,
}

impl Blob {
    pub(super) fn new(id: BlobId, state: State) -> Arc<Self> {
        let inside = Mutex::new(Inside { state, files: None });
        Arc::new(Self { id, inside, finished: Condvar::new() })
    }

    /// Locks the blob. Whoever has this may lock the index, never the other way round.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the blob once nobody is making it whole.
    pub(super) fn lock_finished(&self) -> MutexGuard<'_, Inside> {
        let is_finishing = |inside: &mut Inside| match &inside.state {
            State::Part(part) => part.is_full() && part.is_finishing,
            State::Absent | State::Whole { .. } => false,
        };
        let inside = self.finished.wait_while(self.lock(), is_finishing);
        inside.unwrap_or_else(PoisonError::into_inner)
    }

    /// Who waits in [`lock_finished`](Self::lock_finished) looks again.
    pub(super) fn tell_finished(&self) {
        self.finished.notify_all();
    }
}

/// A blob that is in use: it is not evicted, and its files stay open.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) store: Arc<Inner>,
    pub(super) blob: Arc<Blob>,
}

impl Clone for InUse {
    fn clone(&self) -> Self {
        let blob = self.store.index().acquire(&self.blob.id);
        Self { store: self.store.clone(), blob: blob.expect("a blob in use has a slot") }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let (is_last, doomed) = self.store.index().release(&self.blob.id, &self.store.folder);
        if is_last {
            // Should somebody begin to use it right now, the files are opened once more.
            self.blob.lock().files = None;
        }
        drop(doomed);
    }
}

impl InUse {
    /// `None` if nothing is known of the blob.
    pub(super) fn existing(store: &Arc<Inner>, id: &BlobId) -> Option<Self> {
        let blob = store.index().acquire(id)?;
        Some(Self { store: store.clone(), blob })
    }

    /// Makes a slot for the blob if it has none.
    pub(super) fn any(store: &Arc<Inner>, id: BlobId) -> Self {
        let mut index = store.index();
        let blob = index.acquire(&id).unwrap_or_else(|| {
            let blob = Blob::new(id, State::Absent);
            index.insert(blob.clone(), 0, 1);
            blob
        });
        drop(index);
        Self { store: store.clone(), blob }
    }

    pub(super) fn id(&self) -> &BlobId {
        &self.blob.id
    }

    pub(super) fn path(&self, kind: Kind) -> PathBuf {
        self.store.folder.file(self.id(), kind)
    }

    pub(super) fn root(&self) -> Hash {
        Hash::from_bytes(*self.id().as_bytes())
    }

    /// The size, as far as it's known.
    pub(super) fn size(&self) -> Result<u64, ReadError> {
        self.blob.lock().state.size().ok_or(ReadError::Absent)
    }

    /// Opens the files if they aren't yet. Those of a partial blob are made if there are none.
    pub(super) fn open(&self, inside: &mut Inside) -> Result<Arc<Files>, FileError> {
        if let Some(files) = &inside.files {
            return Ok(files.clone());
        }
        let files = Arc::new(match &inside.state {
            State::Whole { .. } | State::Absent => self.open_whole()?,
            State::Part(part) => self.open_part(part)?,
        });
        note_use(&files.data);
        inside.files = Some(files.clone());
        Ok(files)
    }

    fn open_whole(&self) -> Result<Files, FileError> {
        let path = self.path(Kind::Whole);
        // Written only to mend its outboard.
        let data = File::options().read(true).write(true).open(&path);
        let data = data.map_err(FileError::at(path.clone()))?;
        Ok(Files { data, part: None, path, behind: Behind::default() })
    }

    fn open_part(&self, part: &Part) -> Result<Files, FileError> {
        let is_new = part.held.count() == 0;
        let open = |kind| {
            let path = self.path(kind);
            let mut options = File::options();
            options.read(true).write(true).create(is_new).truncate(is_new);
            options.open(&path).map_err(FileError::at(path))
        };
        let data = open(Kind::Part)?;
        let tree = open(Kind::Tree)?;
        if is_new {
            // Comes last and whole: without it, the others are leftovers.
            self.write_held(part)?;
        }
        let path = self.path(Kind::Held);
        let bits = File::options().read(true).write(true).open(&path);
        let bits = bits.map_err(FileError::at(path))?;
        let path = self.path(Kind::Part);
        Ok(Files { data, part: Some((tree, bits)), path, behind: Behind::default() })
    }

    /// Writes the file of what is held, in the place of what was there.
    pub(super) fn write_held(&self, part: &Part) -> Result<(), FileError> {
        let new = self.store.folder.temporary()?;
        let header = held::Header { size: part.size, is_checked: part.is_checked };
        let written = header.write(&new.file).and_then(|()| {
            part.held.iter().try_for_each(|run| held::write(&new.file, &part.held, run))
        });
        written.map_err(FileError::at(new.path().to_owned()))?;
        new.rename(&self.path(Kind::Held))
    }

    /// What can be read, if all of these groups are held.
    pub(super) fn source(&self, groups: &Range<u64>) -> Result<Source, ReadError> {
        let mut inside = self.blob.lock();
        let size = inside.state.size().ok_or(ReadError::Absent)?;
        if !tree::is_range(size, groups) {
            return Err(ReadError::OutOfRange { size });
        }
        if let State::Part(part) = &inside.state
            && let Some(gap) = part.held.first_gap(groups.clone())
        {
            return Err(ReadError::Missing { groups: gap });
        }
        match self.open(&mut inside) {
            Ok(files) => {
                let tmp = self.store.folder.tmp();
                Ok(Source { files, size, root: self.root(), tmp })
            }
            // Somebody took the file away behind our back.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(blob = %self.id(), file = %error.path.display(), "a file is gone");
                inside.state = State::Absent;
                self.store.index().set_charge(self.id(), 0, &mut 0);
                Err(ReadError::Damaged { groups: 0..tree::groups(size) })
            }
            Err(error) => Err(error.into()),
        }
    }
}
