//! Streams: raw, ordered bytes in both directions between two nodes, by name.

mod behaviour;
mod handler;

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aether_core::MeshId;
use libp2p::{PeerId, StreamProtocol, swarm};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

pub(crate) use self::{
    behaviour::{Behaviour, Event},
    handler::{Opening, Refusal},
};
use crate::{
    network::Command,
    node::{Closed, Node},
};

/// Longest name of a stream, in bytes.
pub const MAX_STREAM_NAME: usize = 64;

/// Streams that wait to be taken by the program, per name.
pub(crate) const MAX_UNTAKEN: usize = 64;

/// Names that a node takes streams under.
pub(crate) const MAX_NAMES: usize = 64;

/// The protocol name on the wire; `None` if the name can't be one.
pub(crate) fn protocol(mesh: &MeshId, name: &str) -> Option<StreamProtocol> {
    let fits = (1..=MAX_STREAM_NAME).contains(&name.len());
    if !fits || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let name = format!("/aether/{}/stream/{name}", mesh.short());
    StreamProtocol::try_from_owned(name).ok()
}

/// A stream of bytes to and from one peer.
///
/// **Promise.** What is read was written by the peer that [`peer`](Self::peer) names, in that
/// order, without a gap, and was encrypted on the way. Writing waits when the reader doesn't read:
/// what lies between the two is the transport's window per stream, up to 10 MB.
///
/// **End.** [`shutdown`](tokio::io::AsyncWriteExt::shutdown) ends the own direction, and the other
/// end reads to its end. Dropping a stream ends both directions, and over QUIC what the other end
/// sees then is the same as a shutdown: a reader that must know whether it has all needs a length
/// or an end mark in what is said. A stream ends with its connection, which it keeps open.
///
/// **Cost.** Opening one takes a round trip on a connection that is there.
pub struct Stream {
    io: Compat<swarm::Stream>,
    peer: PeerId,
    name: Arc<str>,
    /// Room in the peer's share, if the peer opened it.
    _room: Option<OwnedSemaphorePermit>,
    /// Says that its connection is in use.
    _in_use: Arc<()>,
}

impl Stream {
    pub(crate) fn new(
        io: swarm::Stream,
        peer: PeerId,
        name: Arc<str>,
        room: Option<OwnedSemaphorePermit>,
        in_use: Arc<()>,
    ) -> Self {
        Self { io: io.compat(), peer, name, _room: room, _in_use: in_use }
    }

    /// The node at the other end; the transport has verified that it has this identity's key.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The name that the stream was opened under.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?} with {})", self.name, self.peer)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Opens a stream on the network.
pub(crate) async fn open(
    network: &mpsc::Sender<Command>,
    peer: PeerId,
    protocol: StreamProtocol,
    name: &str,
) -> Result<Stream, OpenError> {
    let unreachable = |reason: &str| OpenError::Unreachable { peer, reason: reason.to_owned() };
    let (reply, answer) = oneshot::channel();
    let opening = Opening { protocol, reply };
    network.send(Command::OpenStream { peer, opening }).await.map_err(|_| Closed)?;
    match answer.await {
        Ok(Ok((io, in_use))) => Ok(Stream::new(io, peer, name.into(), None, in_use)),
        Ok(Err(Refusal::NotTaken)) => Err(OpenError::NotTaken { peer, name: name.to_owned() }),
        Ok(Err(Refusal::Unreachable(reason))) => Err(unreachable(&reason)),
        Err(_) if network.is_closed() => Err(Closed.into()),
        Err(_) => Err(unreachable("the connection was lost")),
    }
}

/// Streams that others open under one name. When it is dropped, the name is no longer taken.
#[derive(Debug)]
pub struct Incoming {
    queue: mpsc::Receiver<Stream>,
    /// Whoever waits for streams keeps the node running.
    _node: Node,
}

impl Incoming {
    pub(crate) fn new(queue: mpsc::Receiver<Stream>, node: Node) -> Self {
        Self { queue, _node: node }
    }

    /// The next stream; `None` once the node has stopped.
    ///
    /// 64 streams wait here; what comes beyond them is ended at once, so hand each to a task of its
    /// own.
    /// Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Stream> {
        self.queue.recv().await
    }
}

/// Why streams aren't taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The name can't be one.
    #[error("a stream's name is 1 to {MAX_STREAM_NAME} visible ASCII characters, not {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// Somebody in this program takes them already.
    #[error("streams named {name:?} are taken by another part of this program")]
    Taken {
        /// The name.
        name: String,
    },
    /// One name more than a node offers.
    #[error("a node takes streams under {MAX_NAMES} names at most")]
    TooMany,
}

/// Why a stream wasn't opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The name can't be one.
    #[error("a stream's name is 1 to {MAX_STREAM_NAME} visible ASCII characters, not {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// The peer is there and takes no streams of this name.
    #[error("{peer} takes no streams named {name:?}")]
    NotTaken {
        /// The peer.
        peer: PeerId,
        /// The name.
        name: String,
    },
    /// The peer can't be reached, or was lost on the way.
    #[error("can't reach {peer}: {reason}")]
    Unreachable {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: String,
    },
}
