//! Messages: what members say to each other, and the news that rides on them.

use minicbor::{Decode, Encode, bytes::ByteArray};

use super::Card;

/// Most updates in one message.
pub const MAX_UPDATES: usize = 16;

/// What members say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Message {
    /// Are you there? Answer with an ack of the same number.
    #[n(0)]
    Ping {
        /// Chosen by the sender.
        #[n(0)]
        number: u64,
        /// News.
        #[n(1)]
        updates: Vec<Update>,
    },
    /// I am here.
    #[n(1)]
    Ack {
        /// The ping's.
        #[n(0)]
        number: u64,
        /// News.
        #[n(1)]
        updates: Vec<Update>,
    },
    /// Ping that member for me, and pass its ack on to me under this number.
    #[n(2)]
    PingFor {
        /// Chosen by the sender.
        #[n(0)]
        number: u64,
        /// Whom to ping.
        #[n(1)]
        target: ByteArray<32>,
        /// News.
        #[n(2)]
        updates: Vec<Update>,
    },
    /// Some of those I know; first of all myself. Sent on connecting.
    #[n(3)]
    Hello {
        /// Cards.
        #[n(0)]
        updates: Vec<Update>,
    },
}

impl Message {
    pub(super) fn updates(&mut self) -> &mut Vec<Update> {
        match self {
            Self::Ping { updates, .. }
            | Self::Ack { updates, .. }
            | Self::PingFor { updates, .. }
            | Self::Hello { updates } => updates,
        }
    }
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Update {
    /// A member's signed card.
    #[n(0)]
    Card(#[n(0)] Card),
    /// Somebody can't reach the member that this names, in this life and revision.
    #[n(1)]
    Suspect {
        /// Who.
        #[n(0)]
        peer: ByteArray<32>,
        /// Of which life.
        #[n(1)]
        life: u64,
        /// Of which revision.
        #[n(2)]
        revision: u64,
    },
}
