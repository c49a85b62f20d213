//! Blobs: content of any size, called by its BLAKE3 hash.

mod store;

pub use self::store::{
    AddError, Added, BeginError, BlobInfo, BlobStatus, BlobStore, Collection, CollectionError,
    Download, Encoder, Entry, Eviction, ExportError, FileError, GROUP, MAX_SIZE, OpenError,
    Options, Pin, PinError, Progress, ProveError, QuotaExceeded, Reach, ReadError, Reader,
    RemoveError, WriteError, Writer, encoded_len, groups,
};
