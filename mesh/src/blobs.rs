//! Blobs: content of any size, called by its BLAKE3 hash.
//!
//! A [`BlobStore`] keeps them in a folder. What goes in is verified before it's written, what comes
//! out is verified on its way from the disk, in chunk groups of 16 KiB. A download is resumed where
//! it stopped, also after a crash. A quota bounds the bytes on disk; what isn't pinned is evicted.
//! Calls block on the disk.
//!
//! ```
//! use aether_mesh::blobs::{BlobStore, Options, Reach, groups};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = BlobStore::temporary(Options::default())?;
//! let added = alice.add_bytes(&[7; 100_000])?;
//! alice.pin(added.id(), "example", Reach::Blob)?;
//!
//! let bob = BlobStore::temporary(Options::default())?;
//! let download = bob.begin(added.id(), added.size())?;
//! for span in download.missing() {
//!     let mut from = alice.encode(&added.id(), span.clone())?;
//!     let mut to = download.writer(span)?;
//!     while let Some(piece) = from.next_piece()? {
//!         to.push(&piece)?;
//!     }
//!     to.finish()?;
//! }
//! assert!(download.is_complete());
//! assert_eq!(groups(100_000), 7);
//!
//! let mut end = [0; 10];
//! assert_eq!(bob.read_at(&added.id(), 99_995, &mut end)?, 5);
//! # Ok(())
//! # }
//! ```

mod store;

pub use self::store::{
    AddError, Added, BeginError, BlobInfo, BlobStatus, BlobStore, Collection, CollectionError,
    Download, Encoder, Entry, Eviction, ExportError, FileError, GROUP, MAX_SIZE, OpenError,
    Options, Pin, PinError, Progress, ProveError, QuotaExceeded, Reach, ReadError, Reader,
    RemoveError, WriteError, Writer, encoded_len, groups,
};
