//! Blobs: content of any size, called by its BLAKE3 hash, and fetched from whoever holds it.
//!
//! - [`Blobs`]: what a program holds of a node: add, get, read, export, pin.
//! - [`BlobStore`]: what is on disk, and its rules; it works without a node, too.
//!
//! The driver is one task that knows what is served and sought; each download has a task of its own
//! with the [fetch](crate::proto::blob::fetch) protocol, and so has each stream at both ends. What
//! touches the disk or hashes runs on threads that may block.

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
