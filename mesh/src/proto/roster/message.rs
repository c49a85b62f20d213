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
        #[cbor(with = "news")]
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
        #[cbor(with = "news")]
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
        #[cbor(with = "news")]
        updates: Vec<Update>,
    },
    /// Some of those I know; first of all myself. Sent on connecting.
    #[n(3)]
    Hello {
        /// Cards.
        #[n(0)]
        #[cbor(with = "news")]
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

/// A piece of news. On the wire an array that begins with its kind; a kind that isn't known here is
/// skipped, so that a later release can add one.
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

mod news {
    //! Updates on the wire.

    use minicbor::{Decode as _, Decoder, Encode as _, Encoder};

    use super::{MAX_UPDATES, Update};

    /// The kinds of this release.
    const KINDS: u32 = 2;

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        updates: &[Update],
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        updates.encode(e, context)
    }

    pub(super) fn decode<'b, C>(
        d: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Vec<Update>, minicbor::decode::Error> {
        let count = d
            .array()?
            .ok_or_else(|| minicbor::decode::Error::message("updates of unknown length"))?;
        let mut updates = Vec::new();
        for _ in 0..count {
            let mut ahead = d.probe();
            ahead.array()?;
            if ahead.u32()? < KINDS && updates.len() < MAX_UPDATES {
                updates.push(Update::decode(d, context)?);
            } else {
                d.skip()?;
            }
        }
        Ok(updates)
    }
}
