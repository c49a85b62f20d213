//! Blobs: content of any size, called by its BLAKE3 hash, and fetched from whoever holds it.
//!
//! - [`Blobs`]: what a program holds of a node: add, get, read, export, pin.
//! - [`BlobStore`]: what is on disk, and its rules; it works without a node, too.
//!
//! The driver is one task that knows what is served and sought; each download has a task of its own
//! with the [`fetch`] protocol, and so has each stream at both ends. What
//! touches the disk or hashes runs on threads that may block.
//!
//! The store alone:
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

mod download;
mod driver;
mod handle;
mod metrics;
mod provider;
mod serving;
mod store;

use std::time::Duration;

pub(crate) use self::driver::{Driver, Request};
pub use self::{
    handle::{Blobs, GetError, Getting, MAX_READ},
    store::{
        AddError, Added, BeginError, BlobInfo, BlobStatus, BlobStore, Collection, CollectionError,
        Download, Encoder, Entry, Eviction, ExportError, FileError, GROUP, MAX_SIZE, OpenError,
        Options, Pin, PinError, Progress, ProveError, QuotaExceeded, Reach, ReadError, Reader,
        RemoveError, WriteError, Writer, encoded_len, groups,
    },
};
use crate::{
    framed,
    proto::blob::{
        fetch, finder,
        frame::{Frame, FrameError},
        serve,
    },
};

/// How a node keeps, fetches and serves blobs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes on disk that blobs may take, and what goes first.
    pub store: Options,
    /// How each blob is fetched.
    pub fetch: fetch::Config,
    /// How much is served at a time.
    pub serve: serve::Config,
    /// How holders are found.
    pub finder: finder::Config,
    /// Downloads under way at a time; others wait.
    pub max_downloads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: Options::default(),
            fetch: fetch::Config::default(),
            serve: serve::Config::default(),
            finder: finder::Config::default(),
            max_downloads: 16,
        }
    }
}

/// How often what is served is looked at, and who waits.
const TICK: Duration = Duration::from_millis(500);

impl framed::Frame for Frame {
    type Error = FrameError;

    fn encode(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode(buffer: &mut bytes::BytesMut) -> Result<Option<Self>, FrameError> {
        Self::decode(buffer)
    }

    /// Frames are counted, not weighed.
    fn weight(&self) -> usize {
        1
    }
}
