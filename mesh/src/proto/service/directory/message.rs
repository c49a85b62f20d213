//! Messages: how a node learns from a neighbour what was announced before it came.

use minicbor::{Decode, Encode, bytes::ByteVec};

/// Most announcements in one message.
pub const MAX_TOLD: usize = 64;

/// What neighbours say to each other.
///
/// Encoded in CBOR as a flat array of a kind (0 ask, 1 tell) and the fields, of which later
/// releases may add some.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Message {
    /// What is there?
    #[n(0)]
    Ask {
        /// Where the last answer said that it goes on; the largest number to begin.
        #[n(0)]
        below: u64,
    },
    /// This is there.
    #[n(1)]
    Tell {
        /// The question's `below`.
        #[n(0)]
        asked: u64,
        /// At most [`MAX_TOLD`], the last learnt first.
        #[n(1)]
        announcements: Vec<Told>,
        /// Where to go on asking, if there is more. A number that only its sender understands,
        /// and less than `asked`.
        #[n(2)]
        below: Option<u64>,
    },
}

/// An announcement that a neighbour passes on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    /// The announcement, byte for byte.
    #[n(0)]
    pub bytes: ByteVec,
    /// For how long it has been known to those who passed it on, in milliseconds.
    #[n(1)]
    pub age: u64,
}
