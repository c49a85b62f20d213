//! Pins: names that keep blobs from being evicted or removed.
//!
//! A pin is a file of its own, so setting one costs the same however many there are, is atomic, and
//! can be seen with `ls`. Whoever pins gives a name of its own (an application, a user's word):
//! pinning twice under one name is one pin, so that it can be repeated after a crash, and the blob
//! is kept until the last name is taken away.
//!
//! A pin may reach through a collection: then all blobs that it lists are kept as well, from when
//! the collection itself is complete. What it lists is read again when the store is opened.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::PoisonError,
};

use aether_core::BlobId;

use super::{
    BlobStore, Collection,
    blob::InUse,
    error::{FileError, PinError},
    folder::{Folder, sync_folder},
    read::Reader,
};

/// How far a pin reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The blob alone.
    Blob,
    /// The blob, which is a [`Collection`], and all blobs in it.
    Collection,
}

impl Reach {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Collection => "collection",
        }
    }
}

/// A pin that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What is pinned.
    pub id: BlobId,
    /// Under which name.
    pub name: String,
    /// How far.
    pub reach: Reach,
}

fn is_name(name: &str) -> bool {
    let letter = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(letter)
}

fn parse(file: &str) -> Option<Pin> {
    let mut parts = file.split('.');
    let pin = Pin {
        id: parts.next()?.parse().ok()?,
        name: parts.next().filter(|name| is_name(name))?.to_owned(),
        reach: match parts.next()? {
            "blob" => Reach::Blob,
            "collection" => Reach::Collection,
            _ => return None,
        },
    };
    parts.next().is_none().then_some(pin)
}

fn path(folder: &Folder, id: &BlobId, name: &str, reach: Reach) -> PathBuf {
    folder.pins().join(format!("{id}.{name}.{}", reach.suffix()))
}

/// Reads all pins. Of two under one name, which a crash may leave, the one that reaches further.
pub(super) fn load(folder: &Folder) -> Result<BTreeMap<(BlobId, String), Reach>, FileError> {
    let pins = folder.pins();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&pins).map_err(FileError::at(pins.clone()))? {
        let entry = entry.map_err(FileError::at(pins.clone()))?;
        let Some(pin) = entry.file_name().to_str().and_then(parse) else {
            tracing::warn!(file = %entry.path().display(), "not a pin, left alone");
            continue;
        };
        let reach = found.entry((pin.id, pin.name)).or_insert(pin.reach);
        *reach = pin.reach.max(*reach);
    }
    Ok(found)
}

impl BlobStore {
    /// Keeps a blob from being evicted or removed, under a name of the caller's: 1 to 64 of `a-z`,
    /// `0-9`, `_` and `-`. The blob needn't be there yet. Durable when this returns.
    pub fn pin(&self, id: BlobId, name: &str, reach: Reach) -> Result<(), PinError> {
        if !is_name(name) {
            return Err(PinError::Name);
        }
        if reach == Reach::Collection {
            self.check_collection(&id)?;
        }
        let _one = self.inner.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.inner.index().pin_of(&id, name);
        if before == Some(reach) {
            return Ok(());
        }
        let folder = &self.inner.folder;
        let new = path(folder, &id, name, reach);
        File::create(&new).map_err(FileError::at(new))?;
        sync_folder(&folder.pins()).map_err(FileError::at(folder.pins()))?;
        self.inner.index().pin(id, name.to_owned(), reach);
        if let Some(in_use) = InUse::existing(&self.inner, &id)
            && in_use.is_whole()
        {
            in_use.keep_children();
        }
        match before {
            Some(before) => self.remove_pin(&id, name, before),
            None => Ok(()),
        }
    }

    /// Takes a pin away; nothing happens if there is none. Durable when this returns.
    pub fn unpin(&self, id: &BlobId, name: &str) -> Result<(), PinError> {
        if !is_name(name) {
            return Err(PinError::Name);
        }
        let _one = self.inner.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        for reach in [Reach::Collection, Reach::Blob] {
            self.remove_pin(id, name, reach)?;
        }
        self.inner.index().unpin(id, name);
        Ok(())
    }

    fn remove_pin(&self, id: &BlobId, name: &str, reach: Reach) -> Result<(), PinError> {
        let path = path(&self.inner.folder, id, name, reach);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(FileError::at(path))?,
        }
        let pins = self.inner.folder.pins();
        Ok(sync_folder(&pins).map_err(FileError::at(pins))?)
    }

    /// All pins, ascending by id and name.
    pub fn pins(&self) -> Vec<Pin> {
        let index = self.inner.index();
        let pin = |(id, name, reach): (&BlobId, &String, Reach)| Pin {
            id: *id,
            name: name.clone(),
            reach,
        };
        index.pins().map(pin).collect()
    }

    /// A blob that is here must be a collection if it's to be pinned as one.
    fn check_collection(&self, id: &BlobId) -> Result<(), PinError> {
        let in_use = InUse::existing(&self.inner, id).filter(InUse::is_whole);
        let Some(in_use) = in_use else { return Ok(()) };
        let bytes = Reader::new(in_use)?.read_up_to(Collection::MAX_ENCODED)?;
        Collection::decode(&bytes).map_err(PinError::NotACollection)?;
        Ok(())
    }
}
