//! What can go wrong.

use std::{io, ops::Range, path::PathBuf};

use super::collection::CollectionError;

/// The operating system refused something at a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("can't use {}{}", path.display(), hint(source))]
pub struct FileError {
    /// The file or folder concerned.
    pub path: PathBuf,
    /// What the operating system says.
    #[source]
    pub source: io::Error,
}

impl FileError {
    pub(super) fn at(path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path, source }
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => ": give this user the right to read and write there",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full, free some room and try again; nothing that was stored is lost"
        }
        io::ErrorKind::FileTooLarge => ": the file system has no files that large",
        _ => "",
    }
}

/// There is no room for more, even if all that may go were evicted. Nothing was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed} bytes more don't fit into the quota of {quota}, of which {pinned} are pinned or in \
     use: raise the quota, or unpin something"
)]
pub struct QuotaExceeded {
    /// Bytes on disk that were asked for.
    pub needed: u64,
    /// The quota, in bytes.
    pub quota: u64,
    /// Bytes that can't be evicted: pinned, in use, or being written.
    pub pinned: u64,
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has the folder open, in this process or another.
    #[error(
        "{} is open already: stop the other process, or choose another folder",
        path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has something else in it. Nothing was touched.
    #[error(
        "{} isn't empty and isn't a blob store of aether: choose an empty or a new folder",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A newer release wrote the folder. Nothing was touched.
    #[error("{} has format {version}, which this release doesn't read: upgrade", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why content wasn't added. Nothing of it is kept, except whole files of a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// No room.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// The store's own files, or the file to be added.
    #[error(transparent)]
    File(#[from] FileError),
    /// The reader failed.
    #[error("the content can't be read")]
    Read(#[source] io::Error),
    /// More than [`MAX_SIZE`](super::MAX_SIZE).
    #[error("the content is larger than 1 EiB")]
    TooLarge,
    /// Neither a file nor a folder, such as a symbolic link.
    #[error("{} is neither a file nor a folder: leave it out, or copy its content", path.display())]
    Kind {
        /// Where it is.
        path: PathBuf,
    },
    /// The folder can't be a collection.
    #[error(transparent)]
    Collection(#[from] CollectionError),
}

/// Why a download can't begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// A blob of this size has no room.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// More than [`MAX_SIZE`](super::MAX_SIZE).
    #[error("a blob of {size} bytes is too large")]
    TooLarge {
        /// The size claimed.
        size: u64,
    },
    /// The blob is there, in whole or part, with another size. If that size is not proved, prove
    /// the other one: see [`BlobStore::prove`](super::BlobStore::prove).
    #[error("the blob is held with a size of {size} bytes")]
    OtherSize {
        /// The size it is held with.
        size: u64,
        /// Whether that is its size for sure.
        proved: bool,
    },
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why an encoding wasn't stored, or not in whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It isn't part of the blob, or the size that was claimed is false. Nothing from there on was
    /// stored. Once the size is proved, who sent it is at fault.
    #[error("what came doesn't have the blob's hash, in chunk groups {groups:?}")]
    Wrong {
        /// What didn't verify: one group, or all under a pair of hashes.
        groups: Range<u64>,
    },
    /// It goes on where the range ends.
    #[error("{excess} bytes follow the encoding's end")]
    TooLong {
        /// Bytes too many.
        excess: usize,
    },
    /// It ended early. What came before is stored.
    #[error("the encoding ends in the middle")]
    TooShort,
    /// The blob turned out to have another size: begin again.
    #[error("the claimed size was replaced by a proved one")]
    Superseded,
    /// No room.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// The operating system refused. What was stored before is not lost.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a size isn't proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The size is false, or the proof is: whose it is, is at fault.
    #[error("this is no proof that the blob has {size} bytes")]
    Wrong {
        /// The size claimed.
        size: u64,
    },
    /// The proof holds, but can't be stored.
    #[error(transparent)]
    Write(WriteError),
}

/// Why content can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is held of it.
    #[error("the blob is not here: fetch it first")]
    Absent,
    /// Not all of it is held.
    #[error("chunk groups {groups:?} are not here: fetch them first")]
    Missing {
        /// The first run that is missing.
        groups: Range<u64>,
    },
    /// What is on the disk isn't what was written. It is not held any more: fetch it again.
    #[error("chunk groups {groups:?} were damaged on the disk and dropped: fetch them again")]
    Damaged {
        /// What was dropped: one group, or all under a damaged pair of hashes.
        groups: Range<u64>,
    },
    /// The blob ends before.
    #[error("the blob has only {size} bytes")]
    OutOfRange {
        /// Its size, or the size claimed.
        size: u64,
    },
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::File(error) => Self::new(error.source.kind(), error),
            ReadError::Damaged { .. } => Self::new(io::ErrorKind::InvalidData, error),
            error => Self::new(io::ErrorKind::NotFound, error),
        }
    }
}

/// Why a blob wasn't removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It isn't there.
    #[error("the blob is not here")]
    Absent,
    /// Something needs it.
    #[error("the blob is pinned, itself or by a collection: unpin it first")]
    Pinned,
    /// It's being read, written or served.
    #[error("the blob is in use: try again later")]
    InUse,
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a pin wasn't set or taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// Not a name.
    #[error("a pin's name has 1 to 64 of a-z, 0-9, '_' and '-'")]
    Name,
    /// It was to keep a collection's content, and isn't a collection.
    #[error("the blob is no collection: pin it as a blob")]
    NotACollection(#[source] CollectionError),
    /// It was to keep a collection's content, and can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why nothing was exported. What was at the target is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The content can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of the collection can't be read.
    #[error("can't export {name:?} of the collection")]
    Entry {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// It isn't a collection.
    #[error("the blob is no collection")]
    Collection(#[from] CollectionError),
    /// Something is there.
    #[error("{} is there already: choose a new name", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}
