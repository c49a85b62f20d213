//! What goes into a server and comes out of it.

use std::time::Duration;

use aether_core::Time;
use bytes::Bytes;

use super::super::Fault;
#[cfg(doc)]
use super::{
    super::{FREE_CREDIT, MAX_ITEM},
    Server,
};
#[cfg(doc)]
use crate::proto::service::frame::Code;
use crate::proto::service::frame::{CallError, Frame, FrameError, Request};

/// What a server may do, and what it keeps room for.
///
/// A session takes at most `max_calls` x [`FREE_CREDIT`] + `request_room` bytes for what the caller
/// sends, and `send_room` for what it is sent.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls in progress, those included whose reply is still being sent. More are refused.
    pub max_calls: usize,
    /// Largest body of a request, in bytes. Larger ones are refused.
    pub max_request: usize,
    /// Bytes for bodies beyond the first [`FREE_CREDIT`] of each, at least `max_request`. A body
    /// counts until its handler is done with it. More lets more large bodies come at once.
    pub request_room: usize,
    /// Bytes of replies that wait to be sent. A streamed reply takes 128 KiB of it from the
    /// beginning, a whole one its length once it is there, and is dropped if there isn't as much.
    pub send_room: usize,
    /// Longest time that a call may have, whatever its caller says.
    pub max_deadline: Duration,
    /// How long a caller that was refused for want of room is asked to wait.
    pub retry_after: Duration,
    /// Bytes with the driver that it hasn't written yet, beyond which replies wait; at least 32
    /// KiB. More saves wake-ups, less lets a small call overtake a large one sooner.
    pub max_unsent: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_calls: 1024,
            max_request: 4 * 1024 * 1024,
            request_room: 16 * 1024 * 1024,
            send_room: 32 * 1024 * 1024,
            max_deadline: Duration::from_secs(24 * 60 * 60),
            retry_after: Duration::from_millis(100),
            max_unsent: 256 * 1024,
        }
    }
}

/// What can happen to a server. What is said of a call that has ended is ignored.
#[derive(Clone, Debug)]
pub enum Input {
    /// The call may be made: answers [`Output::Arrived`].
    Admit {
        /// Which.
        call: u64,
    },
    /// The call failed: it isn't admitted, or its handler answers with an error or panicked.
    Fail {
        /// Which.
        call: u64,
        /// Why.
        error: CallError,
    },
    /// The handler's whole reply. A caller that expects items gets it as the only one.
    Reply {
        /// Which.
        call: u64,
        /// The reply.
        reply: Bytes,
    },
    /// One item of the handler's, at most [`MAX_ITEM`] bytes, and only while
    /// [`Server::has_room`]. Otherwise the call ends with [`Code::Dropped`].
    Item {
        /// Which.
        call: u64,
        /// The item.
        item: Bytes,
    },
    /// The handler has no more items.
    End {
        /// Which.
        call: u64,
    },
    /// A frame has come.
    Received(Frame),
    /// Bytes have come that are no frame.
    Broken(FrameError),
    /// Take no new calls.
    Drain,
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

/// What a server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this frame to the stream, in order.
    Send(Frame),
    /// A call has come. Say whether it may be made, by [`Input::Admit`] or [`Input::Fail`]: the
    /// service may be unknown, the caller not allowed, the node too busy. Its body may not be here.
    Arrived {
        /// Which.
        call: u64,
        /// What it is.
        request: Request,
        /// When it ends at the latest, by our own clock. The handler's own calls end no later.
        deadline: Time,
    },
    /// Start the handler with this body.
    Start {
        /// Which.
        call: u64,
        /// The whole body.
        body: Bytes,
    },
    /// The handler may give items again: see [`Server::has_room`].
    Room {
        /// Which.
        call: u64,
    },
    /// The call is over. If its handler still runs, drop it.
    Ended {
        /// Which.
        call: u64,
        /// How it ended.
        ending: Ending,
    },
    /// All calls have ended since [`Input::Drain`]: close the stream.
    Drained,
    /// Reset the stream and blame the caller. Nothing follows.
    Close {
        /// For what.
        fault: Fault,
    },
}

/// How a call ended at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its reply, or the end of its items, was handed to the driver.
    Replied,
    /// An error was handed to the driver: the handler's, or that the reply had to be dropped.
    Failed,
    /// The caller cancelled it.
    Cancelled,
    /// Its deadline passed.
    DeadlineExceeded,
    /// The session has ended.
    Lost,
}
