//! Sessions: many calls on one stream.
//!
//! The end that opened the stream is a [`Caller`], the other a [`Server`]; two nodes that call each
//! other have two sessions. Neither end trusts the other.
//!
//! Rules:
//!
//! 1. **Numbers**: a caller's calls have ascending numbers from 1. A frame about a call that is
//!    over is ignored, as a cancellation or a deadline may have crossed it; a frame about a call
//!    that was never made, and a second head of a call, is a fault.
//! 2. **One end**: each call ends exactly once at each side, by [`caller::Output::Finished`] and by
//!    [`server::Output::Ended`], also when the session is lost. Nothing of a call is delivered or
//!    sent after its end. A whole reply is delivered whole or not at all.
//! 3. **Deadline**: a deadline travels as the time that remains. The server measures it by its own
//!    clock from the arrival of the head, cut at `max_deadline`; so do the calls that a handler
//!    makes in turn. Each side ends the call by itself when its deadline passes.
//! 4. **Turns**: bodies, replies and items travel in pieces of at most [`MAX_CHUNK`], and calls
//!    that have something to send take turns, one piece each. Heads, cancellations, errors and
//!    grants wait for nobody. Pieces are handed out only while less than `max_unsent` is unsent, so
//!    a call that comes later never waits behind a large body.
//! 5. **Whole bodies and replies**: the first [`FREE_CREDIT`] bytes need no permission. The rest is
//!    granted at once and in full, in the order of the calls, when the receiver has room for it;
//!    so two half-sent bodies never wait for each other.
//! 6. **Items**: a streamed reply may have [`STREAM_CREDIT`] bytes on the way and unread, or more
//!    if the caller grants it; what the reader consumed is granted again. Each frame counts for its
//!    piece and [`ITEM_OVERHEAD`]. An item has at most [`MAX_ITEM`] bytes, which always fit.
//! 7. **Bounds**: the memory that a session takes is bounded by the configuration at each side,
//!    whatever the other does. A call for which there is no room is refused before its handler
//!    starts (`Overloaded`), or isn't sent at all ([`caller::Unsent`]); a reply for which there is
//!    no room is dropped, and its caller is told so.
//! 8. **Draining**: a server that drains says so, refuses new calls as `Overloaded`, and finishes
//!    those it has. A caller that was told makes no new calls.
//! 9. **Faults**: what can't come from a correct peer ends the session with a [`Fault`], and all
//!    calls in it.
//!
//! There is no credit shared by all calls of a session, as HTTP/2 has it (RFC 9113, section 5.2):
//! one slow reader could hold all of it, and half-received replies could wait for each other. What
//! bounds a session is that credit for a call is given only out of the session's room.
//!
//! The driver follows the contract of [`Protocol`](aether_core::Protocol). It also reports what it
//! has written ([`caller::Input::Sent`], [`server::Input::Sent`]), the sum of
//! [`Frame::weight`](super::frame::Frame::weight); it always reads for a caller, and for a server
//! while [`Server::is_reading`].

use super::frame::{CallError, Code, FrameError};

pub mod caller;
mod outgoing;
mod room;
pub mod server;

pub use caller::Caller;
pub use server::Server;

#[cfg(doc)]
use super::frame::MAX_CHUNK;

/// Bytes of a whole body or reply that may be sent before the receiver grants the rest.
pub const FREE_CREDIT: usize = 32 * 1024;

/// Credit of a streamed reply at its beginning. Holds a largest item, and what a reader has
/// consumed without the caller having granted it again.
pub const STREAM_CREDIT: usize = 96 * 1024;

/// Largest item of a streamed reply, in bytes.
pub const MAX_ITEM: usize = 64 * 1024;

/// What each frame of a streamed reply counts for beside its piece: about what it takes in memory.
pub const ITEM_OVERHEAD: usize = 64;

/// What a peer did that no correct peer does. It ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Sent bytes that are no frame.
    #[error("malformed frame")]
    Malformed(#[from] FrameError),
    /// Sent a frame that only the other end may send.
    #[error("a frame that only the other end may send")]
    Direction,
    /// Made a call whose number isn't above all before.
    #[error("a call's number came twice or out of order")]
    Number,
    /// Spoke of a call that was never made.
    #[error("a frame about a call that was never made")]
    NoCall,
    /// Sent something that the call's state or shape doesn't allow.
    #[error("a frame that doesn't fit the call")]
    Sequence,
    /// Sent more than it had announced, or a larger item than any may be.
    #[error("more bytes than announced")]
    Length,
    /// Sent more than it had credit for, or granted more than there can be.
    #[error("more bytes than granted")]
    Credit,
}

fn deadline_exceeded() -> CallError {
    CallError::new(Code::DeadlineExceeded, "the deadline passed")
}

#[cfg(test)]
mod tests;
