//! What goes into a caller and comes out of it.

use std::sync::Arc;

use aether_core::Time;
use bytes::Bytes;

use super::super::Fault;
#[cfg(doc)]
use super::super::{FREE_CREDIT, STREAM_CREDIT};
use crate::proto::service::frame::{CallError, Frame, FrameError, Trace};

/// What a caller may do, and what it keeps room for.
///
/// A session takes at most `max_calls` x [`FREE_CREDIT`] + `reply_room` + `stream_room` bytes for
/// what the server sends.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls in progress. More are not sent.
    pub max_calls: usize,
    /// Largest body of a request, in bytes. What is larger is not sent; it travels better as a
    /// blob.
    pub max_request: usize,
    /// Largest whole reply, in bytes. A larger one is not taken.
    pub max_reply: usize,
    /// Bytes for whole replies beyond the first [`FREE_CREDIT`] of each, at least `max_reply`. More
    /// lets more large replies come at once.
    pub reply_room: usize,
    /// Bytes of one streamed reply on the way and unread, at least [`STREAM_CREDIT`]. Twice as much
    /// is twice as fast where a round trip is long.
    pub stream_window: usize,
    /// Bytes for streamed replies; each call for one takes `stream_window` of it, and isn't sent if
    /// there isn't as much.
    pub stream_room: usize,
    /// Bytes with the driver that it hasn't written yet, beyond which bodies wait; at least 32 KiB.
    /// More saves wake-ups, less lets a small call overtake a large one sooner.
    pub max_unsent: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_calls: 1024,
            max_request: 4 * 1024 * 1024,
            max_reply: 4 * 1024 * 1024,
            reply_room: 16 * 1024 * 1024,
            stream_window: 256 * 1024,
            stream_room: 16 * 1024 * 1024,
            max_unsent: 256 * 1024,
        }
    }
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name of the service, 1 to 64 bytes.
    pub service: Arc<str>,
    /// Name of what is asked of it, 1 to 64 bytes.
    pub endpoint: Arc<str>,
    /// When the call ends at the latest.
    pub deadline: Time,
    /// Whether the call may be made twice with the effect of once.
    pub idempotent: bool,
    /// Whether the reply is a stream of items.
    pub streaming: bool,
    /// The span that the call belongs to.
    pub trace: Option<Trace>,
    /// The body.
    pub body: Bytes,
}

/// What can happen to a caller.
#[derive(Clone, Debug)]
pub enum Input {
    /// Make a call. The driver numbers the calls of a session, ascending from 1.
    Call {
        /// Its number.
        number: u64,
        /// What it is.
        call: Call,
    },
    /// The call's answer is wanted no more, or the rest of its items.
    Cancel {
        /// Which.
        call: u64,
    },
    /// The reader has taken an item. Owed for every item, also when the call has finished since,
    /// unless it is cancelled instead.
    Consumed {
        /// Which.
        call: u64,
        /// The item's [`Output::Item::credit`].
        credit: usize,
    },
    /// A frame has come.
    Received(Frame),
    /// Bytes have come that are no frame.
    Broken(FrameError),
    /// The stream has ended or failed.
    Closed,
    /// The driver has written frames of this weight.
    Sent {
        /// The sum of [`Frame::weight`].
        weight: usize,
    },
    /// The time asked for has come.
    Timeout,
}

/// What a caller wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this frame to the stream, in order.
    Send(Frame),
    /// Give this item to the call's reader, and say [`Input::Consumed`] when it has taken it.
    Item {
        /// Which.
        call: u64,
        /// The item.
        item: Bytes,
        /// What it counts for.
        credit: usize,
    },
    /// Tell the call's owner how it ended. Nothing of this call follows.
    Finished {
        /// Which.
        call: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// Make new calls elsewhere, and close the stream when none is in progress: the server drains.
    GoingAway,
    /// Reset the stream and blame the server. Nothing follows but [`Output::Finished`] of calls
    /// made later.
    Close {
        /// For what.
        fault: Fault,
    },
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this whole reply.
    Reply(Bytes),
    /// With the end of its items.
    Ended,
    /// With an error: the server's, or our own by deadline or cancellation.
    Failed(CallError),
    /// With the session. The handler may have run.
    Lost,
    /// Before it began: nothing was sent.
    Unsent(Unsent),
}

impl Outcome {
    /// Whether the handler may have run, so that another try may repeat its effect.
    pub const fn may_have_started(&self) -> bool {
        match self {
            Self::Unsent(_) => false,
            Self::Failed(error) => !error.code.is_unstarted(),
            Self::Reply(_) | Self::Ended | Self::Lost => true,
        }
    }
}

/// Why a call wasn't sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsent {
    /// Too many calls are in progress, or too much is unsent or unread.
    #[error("the session is full")]
    Full,
    /// The server drains.
    #[error("the server is going away")]
    GoingAway,
    /// The session has ended.
    #[error("the session has ended")]
    Closed,
    /// The body is too large.
    #[error("the body is too large")]
    TooLarge,
    /// A name is empty or too long.
    #[error("a name is empty or too long")]
    Name,
}
