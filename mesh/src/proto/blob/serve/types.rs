//! What goes into the serving side and what comes out.

use std::{ops::Range, time::Duration};

use aether_core::{BlobId, PublicKey};

use super::super::{
    Ranges,
    frame::{Frame, FrameError},
};

/// How much is served at a time.
#[derive(Clone, Debug)]
pub struct Config {
    /// Streams in all. Each takes up to [`MAX_ASKS`](super::super::frame::MAX_ASKS) asks of a
    /// KiB, and `max_unsent` pieces of 260 KiB.
    pub max_streams: usize,
    /// Streams of one peer.
    pub max_peer_streams: usize,
    /// Asks that wait or are being answered, in all.
    pub max_asks: usize,
    /// The same, of one peer.
    pub max_peer_asks: usize,
    /// Reads of the store that are under way at a time.
    pub max_reads: usize,
    /// Pieces handed to one stream and not yet written. Two keep it busy while the store is read.
    pub max_unsent: usize,
    /// Bytes a second sent to one peer; no limit if `None`. A second's worth may come at once.
    pub rate: Option<u64>,
    /// What a peer is told to wait that is refused.
    pub retry_after: Duration,
    /// Shortest time between two notices of what a partial holder gained.
    pub tell_interval: Duration,
    /// How long a stream may take nothing of what is to be written to it.
    pub stall_timeout: Duration,
    /// How long a stream may ask for nothing.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams: 128,
            max_peer_streams: 16,
            max_asks: 512,
            max_peer_asks: 64,
            max_reads: 4,
            max_unsent: 3,
            rate: None,
            retry_after: Duration::from_secs(1),
            tell_interval: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
        }
    }
}

/// The number of a stream, given by the driver and never used again.
pub type StreamId = u64;

/// What can happen to the serving side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A peer opened a stream.
    Opened {
        /// The stream.
        stream: StreamId,
        /// Who.
        peer: PublicKey,
    },
    /// A stream said this.
    Frame {
        /// The stream.
        stream: StreamId,
        /// What.
        frame: Frame,
    },
    /// A stream said what is no frame.
    Malformed {
        /// The stream.
        stream: StreamId,
        /// Why.
        error: FrameError,
    },
    /// A stream has ended by itself.
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// What the store holds of a watched blob: first in answer to [`Output::Watch`], then whenever
    /// it changes.
    Holding {
        /// The blob.
        id: BlobId,
        /// Its proved size and the groups; `None` if nothing is held or no size is proved.
        held: Option<(u64, Ranges)>,
    },
    /// A read has ended: once for each [`Output::Read`], also if its stream has ended meanwhile.
    Read {
        /// The stream.
        stream: StreamId,
        /// How many bytes the frame has that is now to be written; `None` if reading failed.
        bytes: Option<u64>,
    },
    /// One frame, a piece or another, was written to the stream in full.
    Written {
        /// The stream.
        stream: StreamId,
    },
    /// The time asked for has come.
    Timeout,
}

/// What the serving side wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say what the store holds of this blob now, and whenever it changes.
    Watch {
        /// The blob.
        id: BlobId,
    },
    /// Nobody asks for this blob any more.
    Unwatch {
        /// The blob.
        id: BlobId,
    },
    /// Write this frame to the stream, behind what is to be written to it already.
    Send {
        /// The stream.
        stream: StreamId,
        /// What.
        frame: Frame,
    },
    /// Read the encoding of these groups, write it to the stream as a
    /// [`Frame::Piece`] of this ask, and say [`Input::Read`].
    Read {
        /// The stream.
        stream: StreamId,
        /// The ask.
        ask: u32,
        /// The blob.
        id: BlobId,
        /// Its size, under which the groups are encoded.
        size: u64,
        /// One piece, all of it held.
        groups: Range<u64>,
    },
    /// End the stream once what is to be written is written, or at once if there is a fault. It is
    /// forgotten: say no more of it but the end of a read that is under way.
    End {
        /// The stream.
        stream: StreamId,
        /// Who opened it.
        peer: PublicKey,
        /// What the peer did wrong, which is to be counted against it.
        fault: Option<Fault>,
    },
}

/// What a requester did that no correct one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Sent bytes that are no frame.
    #[error("malformed frame")]
    Malformed(#[from] FrameError),
    /// Sent a frame that only a provider may send.
    #[error("a frame that only a provider may send")]
    Direction,
    /// Asked before it named a blob, or named a second one.
    #[error("a stream names one blob, before all else")]
    Sequence,
    /// An ask's number isn't above all before.
    #[error("an ask's number came twice or out of order")]
    Number,
    /// Has more asks unanswered than anybody may have.
    #[error("too many asks at a time")]
    TooMany,
    /// Makes us answer, and doesn't read.
    #[error("asks and does not read")]
    Flood,
}

/// What was served, counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pieces read.
    pub pieces: u64,
    /// Their bytes, as written to streams.
    pub bytes: u64,
    /// Asks and streams for which there was no room.
    pub refused: u64,
    /// Streams ended for a fault.
    pub faults: u64,
}
