//! The blob store: content by its BLAKE3 hash, in a folder.
//!
//! The rules:
//!
//! 1. **Nothing wrong comes out.** Whatever is read, exported or served is hashed on its way from
//!    the disk, up to the id. A chunk group that doesn't verify is dropped from what is held, and
//!    the error says so, so that it is fetched again. Damaged hashes of a whole blob are made anew
//!    from its content.
//! 2. **Nothing wrong goes in.** A download is verified group by group, 16 KiB each, before
//!    anything is written (bao; BLAKE3 paper, section 6.4).
//! 3. **Whole or not there.** Content that is added gets its name when it is complete and synced,
//!    with its outboard in the same file.
//! 4. **A download survives.** Killing the process at any moment loses at most the group that is
//!    being written. After a power loss, what didn't reach the disk is found by its hash.
//! 5. **A claimed size reserves and destroys nothing.** Room is made for what is verified. A proved
//!    size takes the place of a claimed one, and what was held is kept as far as it verifies.
//! 6. **The quota holds** for all on disk, counted in blocks of 4 KiB. Room is made by evicting
//!    what is neither pinned nor in use, by [`Eviction`]; if that isn't enough, nothing is evicted.
//!
//! The layout of the folder is in [`folder`], the sync rule of downloads in [`held`].
//!
//! Calls block on the disk: call them from threads that may. No lock is held while content is
//! hashed, written or synced, so calls for different blobs and several for one go on at once.

mod add;
mod behind;
mod blob;
mod change;
mod collection;
mod error;
mod export;
mod folder;
mod held;
mod index;
mod pins;
mod policy;
mod read;
mod runs;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
};

use aether_core::BlobId;

pub use self::{
    add::Added,
    collection::{Collection, CollectionError, Entry},
    error::{
        AddError, BeginError, ExportError, FileError, OpenError, PinError, ProveError,
        QuotaExceeded, ReadError, RemoveError, WriteError,
    },
    pins::{Pin, Reach},
    policy::Eviction,
    read::{Encoder, Reader},
    tree::{GROUP, MAX_SIZE, encoded_len, groups},
    write::{Download, Writer},
};
use self::{
    blob::{Blob, InUse, Part, State},
    folder::{Folder, Found, Kind},
    index::{Index, MAX_QUOTA},
};

/// Hears how many bytes are done so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes on disk that blobs may take, content and outboards. No bound by default.
    pub quota: u64,
    /// What goes first when the quota is reached.
    pub eviction: Eviction,
}

impl Default for Options {
    fn default() -> Self {
        Self { quota: MAX_QUOTA, eviction: Eviction::default() }
    }
}

/// What is here of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobStatus {
    /// Nothing.
    Absent,
    /// Some chunk groups.
    Partial {
        /// Size in bytes, as claimed.
        size: u64,
        /// Whether the last group is held, which proves the size.
        proved: bool,
        /// Runs of chunk groups that are held, ascending. After a restart of the machine they are
        /// checked when the download goes on.
        held: Vec<Range<u64>>,
    },
    /// All of it.
    Complete {
        /// Size in bytes.
        size: u64,
    },
}

/// A blob in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its id.
    pub id: BlobId,
    /// What is here of it.
    pub status: BlobStatus,
    /// Bytes that it takes on disk, about.
    pub on_disk: u64,
    /// Whether a pin keeps it, its own or a collection's.
    pub pinned: bool,
}

#[derive(Debug)]
struct Inner {
    index: Mutex<Index>,
    /// Pins are set one at a time.
    pinning: Mutex<()>,
    /// Goes last: with it the lock, and the folder if it's temporary.
    folder: Folder,
}

/// A store of blobs in a folder. Clones are handles to the same store, which closes with the last
/// of them and of what they gave out.
#[derive(Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobStore({})", self.inner.folder.path().display())
    }
}

impl BlobStore {
    /// Opens a store, and makes it if the folder is empty or there is none. What a crash left
    /// behind is removed, and blobs are evicted if the quota is lower than what is there.
    ///
    /// **Cost.** A look at each file's length and time; partial blobs' bits and pinned collections
    /// are read.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        Self::with_folder(Folder::open(path, None)?, options)
    }

    /// A store in a folder of its own, which goes away with it.
    pub fn temporary(options: Options) -> Result<Self, OpenError> {
        let folder = tempfile::Builder::new().prefix("aether-blobs-").tempdir();
        let folder = folder.map_err(FileError::at(std::env::temp_dir()))?;
        let path = folder.path().to_owned();
        Self::with_folder(Folder::open(&path, Some(folder))?, options)
    }

    fn with_folder(folder: Folder, options: Options) -> Result<Self, OpenError> {
        let found = recover(&folder)?;
        let quota = options.quota.min(MAX_QUOTA);
        let used = found.iter().map(|(_, blob)| blob.lock().state.charge()).sum();
        let policy = options.eviction.policy(quota, used, found.len());
        let mut index = Index::new(policy, quota);
        for ((id, name), reach) in pins::load(&folder)? {
            index.pin(id, name, reach);
        }
        for (_, blob) in found {
            let charge = blob.lock().state.charge();
            index.insert(blob, charge, 0);
        }
        let inner = Inner { index: Mutex::new(index), pinning: Mutex::new(()), folder };
        let store = Self { inner: Arc::new(inner) };
        store.keep_all_children();
        let mut index = store.inner.index();
        index.loaded();
        let doomed = index.shrink(quota, &store.inner.folder)?;
        drop((index, doomed));
        Ok(store)
    }

    fn keep_all_children(&self) {
        let pinned: Vec<BlobId> = self.inner.index().pins().map(|(id, _, _)| *id).collect();
        for id in pinned {
            if let Some(in_use) = InUse::existing(&self.inner, &id).filter(InUse::is_whole) {
                in_use.keep_children();
            }
        }
    }

    /// What is here of a blob.
    pub fn status(&self, id: &BlobId) -> BlobStatus {
        let blob = self.inner.index().blob(id).cloned();
        blob.map_or(BlobStatus::Absent, |blob| status(&blob.lock().state))
    }

    /// All blobs that something is here of, ascending by id.
    pub fn list(&self) -> Vec<BlobInfo> {
        let index = self.inner.index();
        let blobs: Vec<_> =
            index.blobs().map(|(b, pinned, charge)| (b.clone(), pinned, charge)).collect();
        drop(index);
        let info = |(blob, pinned, on_disk): (Arc<Blob>, bool, u64)| BlobInfo {
            id: blob.id,
            status: status(&blob.lock().state),
            on_disk,
            pinned,
        };
        let infos = blobs.into_iter().map(info);
        infos.filter(|info| info.status != BlobStatus::Absent).collect()
    }

    /// Bytes that are taken on disk, about, with what is being written.
    pub fn used(&self) -> u64 {
        self.inner.index().used()
    }

    /// Of [`used`](Self::used), what can't be evicted now: pinned, in use, or being written.
    pub fn kept(&self) -> u64 {
        self.inner.index().kept()
    }

    /// The quota in bytes.
    pub fn quota(&self) -> u64 {
        self.inner.index().quota()
    }

    /// Removes a blob that nobody uses and no pin needs.
    pub fn remove(&self, id: &BlobId) -> Result<(), RemoveError> {
        let mut index = self.inner.index();
        match index.needed_by(id) {
            None => return Err(RemoveError::Absent),
            Some((_, true)) => return Err(RemoveError::Pinned),
            Some((1.., _)) => return Err(RemoveError::InUse),
            Some((0, false)) => {}
        }
        let doomed = self.inner.folder.take_all(id);
        let doomed = doomed.map_err(FileError::at(self.inner.folder.file(id, Kind::Whole)))?;
        index.forget(id);
        drop(index);
        drop(doomed);
        Ok(self.inner.folder.sync_names()?)
    }
}

fn status(state: &State) -> BlobStatus {
    match state {
        State::Absent => BlobStatus::Absent,
        State::Part(part) => BlobStatus::Partial {
            size: part.size,
            proved: part.is_proved(),
            held: part.held.iter().collect(),
        },
        State::Whole { size } => BlobStatus::Complete { size: *size },
    }
}

/// Blobs in the folder, the least recently used first. Leftovers are removed.
fn recover(folder: &Folder) -> Result<Vec<(std::time::SystemTime, Arc<Blob>)>, OpenError> {
    let mut blobs = Vec::new();
    for (id, files) in folder.scan()? {
        let found = match files.get(&Kind::Whole) {
            Some(whole) => size_of_whole(whole.len).map(|size| (State::Whole { size }, whole)),
            None => recover_part(folder, &id, &files)?,
        };
        let keep: &[Kind] = match &found {
            Some((State::Whole { .. }, _)) => &[Kind::Whole],
            Some(_) => &[Kind::Part, Kind::Tree, Kind::Held],
            None => &[],
        };
        for kind in files.keys().filter(|kind| !keep.contains(kind)) {
            tracing::warn!(blob = %id, ?kind, "an unfinished or torn file is removed");
            let removed = folder.take_away(&id, *kind);
            drop(removed.map_err(FileError::at(folder.file(&id, *kind)))?);
        }
        blobs.extend(found.map(|(state, file)| (file.modified, Blob::new(id, state))));
    }
    blobs.sort_by_key(|(modified, blob)| (*modified, blob.id));
    Ok(blobs)
}

fn recover_part<'a>(
    folder: &Folder,
    id: &BlobId,
    files: &'a BTreeMap<Kind, Found>,
) -> Result<Option<(State, &'a Found)>, FileError> {
    let kinds = [Kind::Part, Kind::Tree, Kind::Held].map(|kind| files.get(&kind));
    let [Some(part), Some(_), Some(_)] = kinds else { return Ok(None) };
    let path = folder.file(id, Kind::Held);
    let read = std::fs::File::open(&path).and_then(|file| held::read(&file));
    let Some((header, held)) = read.map_err(FileError::at(path))? else { return Ok(None) };
    if held.count() == 0 {
        return Ok(None);
    }
    let new = Part { held, is_checked: header.is_checked, ..Part::new(header.size) };
    Ok(Some((State::Part(new), part)))
}

/// The size of a blob whose file has this length: content, and 64 bytes for each group but one.
fn size_of_whole(len: u64) -> Option<u64> {
    let groups = len.saturating_sub(GROUP).div_ceil(GROUP + tree::PAIR) + 1;
    let size = len.checked_sub((groups - 1) * tree::PAIR)?;
    (tree::groups(size) == groups && size <= MAX_SIZE).then_some(size)
}

impl InUse {
    fn is_whole(&self) -> bool {
        matches!(self.blob.lock().state, State::Whole { .. })
    }
}
