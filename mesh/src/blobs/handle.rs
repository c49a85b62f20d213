//! What a program holds of a node's blobs.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io::Read,
    ops::Range,
    path::PathBuf,
    pin,
    sync::Arc,
};

use aether_core::BlobId;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    download::Join,
    driver::Request,
    store::{
        AddError, Added, BlobInfo, BlobStatus, BlobStore, Collection, ExportError, Pin, PinError,
        Reach, ReadError, RemoveError,
    },
};
use crate::{
    identity::public_key,
    node::{Closed, Node},
    proto::blob::fetch::Trouble,
};

/// Files of a collection that are fetched at a time.
const AT_ONCE: usize = 4;

/// Most bytes that one [`Blobs::read`] gives.
pub const MAX_READ: u64 = 64 * 1024 * 1024;

/// The blobs of a node: content called by its BLAKE3 hash.
///
/// **Promise.** What comes out has the hash that was asked for: each group of 16 KiB is verified
/// before it is written, and again when it is read or sent. Whoever sends a wrong byte is named in
/// the log, scored down and not asked again. A download goes on where an earlier one has ended, of
/// this run or of one before. What is [added](Self::add_path) is synced to disk before its id is
/// told. The node serves what it holds, in parts too, to every node of the mesh.
///
/// **Bounds.** The store has a quota (`blobs.store` in [`Config`](crate::Config)); what isn't
/// pinned is evicted to keep it. Nothing is kept over a restart without a data folder.
///
/// **Cost.** A look by gossip and a stream to each of up to 8 holders; a hundredth more bytes than
/// the content has, for hashes.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Blobs {
    /// Whoever has the blobs keeps the node running.
    _node: Node,
    store: BlobStore,
    requests: mpsc::Sender<Request>,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blobs({:?})", self.store)
    }
}

/// Runs what blocks. A panic in it is passed on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and nobody will see this.
        Err(_) => std::future::pending().await,
    }
}

impl Blobs {
    pub(crate) fn new(node: Node, store: BlobStore, requests: mpsc::Sender<Request>) -> Self {
        Self { _node: node, store, requests }
    }

    /// The store on disk, whose calls block.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Adds a file, or a folder as a [`Collection`]. `progress` hears how many bytes are done.
    ///
    /// Cancelling doesn't stop it.
    pub async fn add_path(
        &self,
        path: impl Into<PathBuf>,
        mut progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<Added, AddError> {
        let (store, path) = (self.store.clone(), path.into());
        let added = blocking(move || store.add_path(&path, &mut progress)).await?;
        self.held(&added).await;
        Ok(added)
    }

    /// Adds what is in memory.
    pub async fn add_bytes(&self, bytes: impl Into<Bytes>) -> Result<Added, AddError> {
        let (store, bytes) = (self.store.clone(), bytes.into());
        let added = blocking(move || store.add_bytes(&bytes)).await?;
        self.held(&added).await;
        Ok(added)
    }

    /// Adds all that a reader gives. Cancelling doesn't stop it.
    pub async fn add_reader(
        &self,
        mut reader: impl Read + Send + 'static,
    ) -> Result<Added, AddError> {
        let store = self.store.clone();
        let added = blocking(move || store.add_reader(&mut reader, &mut |_| {})).await?;
        self.held(&added).await;
        Ok(added)
    }

    async fn held(&self, added: &Added) {
        // The node has stopped, and tells nobody any more.
        let _ = self.requests.send(Request::Hold { id: added.id() }).await;
    }

    /// Has a blob here, whole; the download begins when the result is awaited.
    pub fn get(&self, id: BlobId) -> Getting {
        Getting { blobs: self.clone(), id, from: Vec::new(), progress: None, with_content: false }
    }

    /// Reads bytes of a blob, from offset to offset, and fetches only the groups that they are in,
    /// if they aren't here. What lies beyond the blob's end is left out. At most 64 MiB at a time.
    pub async fn read(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, GetError> {
        let len = range.end.saturating_sub(range.start);
        if len > MAX_READ {
            return Err(GetError::TooMuch { len });
        }
        let mut tries = 0;
        loop {
            let (store, wanted) = (self.store.clone(), range.clone());
            match blocking(move || read(&store, &id, &wanted)).await {
                Ok(bytes) => return Ok(bytes),
                Err(ReadError::OutOfRange { .. }) => return Ok(Bytes::new()),
                Err(ReadError::File(error)) => return Err(GetError::File(error.to_string())),
                // Damaged on disk, evicted, or not fetched yet.
                Err(error) if tries == 3 => return Err(GetError::File(error.to_string())),
                Err(_) => tries += 1,
            }
            self.fetch(id, Vec::new(), Some(range.clone()), None).await?;
        }
    }

    /// Has a part of a blob here, asked of this node before others.
    pub(crate) async fn have(
        &self,
        id: BlobId,
        range: Range<u64>,
        from: PeerId,
    ) -> Result<(), GetError> {
        match self.status(&id) {
            BlobStatus::Complete { .. } => Ok(()),
            _ => self.fetch(id, vec![from], Some(range), None).await,
        }
    }

    async fn fetch(
        &self,
        id: BlobId,
        from: Vec<PeerId>,
        range: Option<Range<u64>>,
        progress: Option<watch::Sender<(u64, Option<u64>)>>,
    ) -> Result<(), GetError> {
        let (done, ended) = oneshot::channel();
        let from = from.iter().filter_map(public_key).collect();
        let join = Join { from, range, progress, done };
        self.requests.send(Request::Get { id, join }).await.map_err(|_| Closed)?;
        ended.await.map_err(|_| Closed)?
    }

    /// Writes a blob, or the files of a collection, to a path where nothing is yet. All of it must
    /// be here: [`get`](Self::get) it first.
    pub async fn export(
        &self,
        id: BlobId,
        path: impl Into<PathBuf>,
        mut progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<(), ExportError> {
        let (store, path): (_, PathBuf) = (self.store.clone(), path.into());
        blocking(move || match store.collection(&id) {
            Ok(_) => store.export_folder(&id, &path, &mut progress),
            Err(ExportError::Collection(_)) => store.export(&id, &path, &mut progress),
            Err(error) => Err(error),
        })
        .await
    }

    /// The names and hashes in a collection that is here.
    pub async fn collection(&self, id: BlobId) -> Result<Collection, ExportError> {
        let store = self.store.clone();
        blocking(move || store.collection(&id)).await
    }

    /// What is here of a blob.
    pub fn status(&self, id: &BlobId) -> BlobStatus {
        self.store.status(id)
    }

    /// All blobs that something is here of, ascending by id.
    pub fn list(&self) -> Vec<BlobInfo> {
        self.store.list()
    }

    /// Keeps a blob from being evicted, under a name of the program's own.
    pub async fn pin(&self, id: BlobId, name: &str, reach: Reach) -> Result<(), PinError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        blocking(move || store.pin(id, &name, reach)).await
    }

    /// Takes a pin away.
    pub async fn unpin(&self, id: BlobId, name: &str) -> Result<(), PinError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        blocking(move || store.unpin(&id, &name)).await
    }

    /// All pins.
    pub fn pins(&self) -> Vec<Pin> {
        self.store.pins()
    }

    /// Removes a blob that nobody uses and no pin needs.
    pub async fn remove(&self, id: BlobId) -> Result<(), RemoveError> {
        let store = self.store.clone();
        blocking(move || store.remove(&id)).await?;
        let _ = self.requests.send(Request::Release { id }).await;
        Ok(())
    }
}

fn read(store: &BlobStore, id: &BlobId, range: &Range<u64>) -> Result<Bytes, ReadError> {
    let (BlobStatus::Complete { size } | BlobStatus::Partial { size, proved: true, .. }) =
        store.status(id)
    else {
        return Err(ReadError::Absent);
    };
    let (start, end) = (range.start.min(size), range.end.min(size));
    let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let read = store.read_at(id, start + filled as u64, &mut buffer[filled..])?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// A download that hasn't begun.
#[must_use = "a download begins when it is awaited"]
#[derive(Debug)]
pub struct Getting {
    blobs: Blobs,
    id: BlobId,
    from: Vec<PeerId>,
    progress: Option<watch::Sender<(u64, Option<u64>)>>,
    with_content: bool,
}

impl Getting {
    /// Asks this node before others.
    pub fn from(mut self, peer: PeerId) -> Self {
        self.from.push(peer);
        self
    }

    /// Tells how many bytes are here, and of how many once that is proved.
    pub fn progress(mut self, progress: watch::Sender<(u64, Option<u64>)>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// If the blob is a collection, has its files here, too.
    pub fn with_content(mut self) -> Self {
        self.with_content = true;
        self
    }

    async fn run(self) -> Result<u64, GetError> {
        let size = self.one(self.id, self.progress.clone()).await?;
        if !self.with_content {
            return Ok(size);
        }
        let Ok(collection) = self.blobs.collection(self.id).await else { return Ok(size) };
        let total: u64 = collection.iter().map(|(_, entry)| entry.size).sum();
        let mut files = Vec::with_capacity(collection.len());
        files.extend(collection.iter().map(|(_, entry)| entry.id));
        let sizes = stream::iter(files).map(|id| self.one(id, None)).buffer_unordered(AT_ONCE);
        let count = |done: u64, of_file: u64| {
            let done = done + of_file;
            if let Some(progress) = &self.progress {
                progress.send_replace((done, Some(total)));
            }
            std::future::ready(Ok(done))
        };
        sizes.try_fold(0, count).await
    }

    /// One blob, and its size.
    async fn one(
        &self,
        id: BlobId,
        progress: Option<watch::Sender<(u64, Option<u64>)>>,
    ) -> Result<u64, GetError> {
        // One that is evicted as soon as it is here is fetched once more, and not for ever.
        for _ in 0..2 {
            if let BlobStatus::Complete { size } = self.blobs.status(&id) {
                if let Some(progress) = &progress {
                    progress.send_replace((size, Some(size)));
                }
                return Ok(size);
            }
            self.blobs.fetch(id, self.from.clone(), None, progress.clone()).await?;
        }
        match self.blobs.status(&id) {
            BlobStatus::Complete { size } => Ok(size),
            _ => Err(GetError::Store),
        }
    }
}

impl IntoFuture for Getting {
    type Output = Result<u64, GetError>;
    type IntoFuture = pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Waits until the blob is here and synced, and gives its size in bytes. Cancelling stops the
    /// download unless somebody else waits for it; what has come stays.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Why a blob isn't here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// Nobody sends it.
    #[error("nobody who can be reached sends the blob {id}{}", tell(peers))]
    NoProviders {
        /// The blob.
        id: BlobId,
        /// What went wrong with those that were asked.
        peers: Arc<Vec<(PeerId, Trouble)>>,
    },
    /// It can't be written: the log says why.
    #[error("the blob can't be kept: see to the disk and the quota, and try again")]
    Store,
    /// What is on disk can't be read.
    #[error("{0}")]
    File(String),
    /// More than can be read at a time.
    #[error("{len} bytes are too many to read at once; the most is {MAX_READ}")]
    TooMuch {
        /// Bytes asked for.
        len: u64,
    },
    /// Nobody waits for it any more.
    #[error("the download was cancelled")]
    Cancelled,
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
}

fn tell(peers: &[(PeerId, Trouble)]) -> String {
    let mut text = String::new();
    for (peer, trouble) in peers.iter().take(3) {
        text.push_str(&format!("; {peer} {trouble}"));
    }
    text
}
