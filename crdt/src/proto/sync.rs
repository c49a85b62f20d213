//! Anti-entropy: how two replicas of a space find what they lack of each other's, and send it.
//!
//! A [`Row`] says of one feed what is kept of it: its tips and its evidence. Rows speak only of
//! what is synced to disk, so a row is an acknowledgement. A [`digest`] covers all rows.
//!
//! | flight | opener | acceptor |
//! |---|---|---|
//! | 1 | Hello with its digest | |
//! | 2 | | Hello with its own; all its Rows, if the digests differ |
//! | 3 | the Rows of its own that differ, and Evidence and Entries that the other lacks | |
//! | 4 | Ack | Evidence and Entries that the other lacks |
//!
//! 1. **Equal replicas** need two messages, of 120 bytes together; others have compared all they
//!    hold after one round trip.
//! 2. **Order.** A replica sends in the order in which it took in
//!    ([`Position`](super::id::Position)). It took in only what was settled, so that order is a
//!    linear extension of causality, and who receives it never has to wait. What it writes
//!    later follows; what others wrote waits for the next comparison. Only what was
//!    [discarded](super::entry::AccessOp::Discard) is sent behind all that says so.
//! 3. **Pace.** [`MAX_UNACKED`] entries or [`MAX_UNACKED_BYTES`] are on their way at most; one
//!    entry may be larger. An [`Ack`](Message::Ack) says that they are synced, or that they were
//!    not taken and why is nobody's fault. So the receiver's disk sets the pace.
//! 4. **Trust.** Rows and acknowledgements of a peer change what it is sent, and nothing else. The
//!    worst that false ones do is that the liar lacks something.
//!
//! Here are the parts of a session. Whoever runs it decides what is taken in, and when to say
//! hello.

mod message;
mod rows;
mod session;

pub use self::{
    message::{MAX_MESSAGE, MAX_NOT, MAX_ROWS, Message, Named},
    rows::{Row, digest, read_rows, write_rows},
    session::{Gathered, Receiving},
};

/// Most entries of a session that were sent and not acknowledged.
pub const MAX_UNACKED: usize = 256;

/// Most bytes of them, unless it is one entry alone.
pub const MAX_UNACKED_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
