//! Messages: what neighbours say to each other about access.

use aether_core::wire::{WireError, from_cbor};
use minicbor::{
    Decode, Encode,
    bytes::{ByteArray, ByteVec},
};

use super::MAX_REVOCATIONS;

/// Most revocations in one message.
pub const MAX_STATEMENTS: usize = 512;

/// Longest revocation and capability in a message, in bytes. There is room for those of a later
/// release, which are skipped.
const MAX_STATEMENT: usize = 512;
const MAX_SHOWN: usize = 4096;

/// Length of the name of a revocation or a capability.
const ID: usize = 16;

/// What a node says to a neighbour. On the wire a CBOR array that begins with its number; one that
/// isn't known is skipped, so that a later release can add one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Message {
    /// What I hold. Sent on connecting and on a timer.
    #[n(0)]
    State {
        /// [`Revocations::digest`](super::Revocations::digest).
        #[n(0)]
        revocations: ByteArray<32>,
        /// [`Capability::id`](super::Capability::id) of what lets me in.
        #[n(1)]
        capability: ByteArray<ID>,
    },
    /// Send me the revocations that I lack.
    #[n(1)]
    Want {
        /// [`Revocation::id`](super::Revocation::id) of those that I hold, 16 bytes each.
        #[n(0)]
        held: ByteVec,
    },
    /// Revocations, at most [`MAX_STATEMENTS`].
    #[n(2)]
    Revocations {
        /// [`Revocation::encode`](super::Revocation::encode) of each.
        #[n(0)]
        statements: Vec<ByteVec>,
    },
    /// Show me what lets you in.
    #[n(3)]
    Ask,
    /// This lets me in.
    #[n(4)]
    Show {
        /// [`Capability::encode`](super::Capability::encode).
        #[n(0)]
        capability: ByteVec,
    },
    /// Give me a membership for a new term.
    #[n(5)]
    Renew,
    /// Your membership.
    #[n(6)]
    Renewed {
        /// [`Capability::encode`](super::Capability::encode).
        #[n(0)]
        capability: ByteVec,
    },
}

/// Messages of this release.
const NUMBERS: u32 = 7;

impl Message {
    /// Reads a message; `None` if it is of a later release.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let mut ahead = minicbor::Decoder::new(bytes);
        ahead.array().map_err(|_| WireError::Cbor)?;
        if ahead.u32().map_err(|_| WireError::Cbor)? >= NUMBERS {
            return Ok(None);
        }
        let message: Self = from_cbor(bytes)?;
        message.check()?;
        Ok(Some(message))
    }

    fn check(&self) -> Result<(), WireError> {
        let within = |len: usize, max: usize| match len {
            len if len > max => Err(WireError::TooLong { len, max }),
            _ => Ok(()),
        };
        match self {
            Self::Want { held } => within(held.len(), MAX_REVOCATIONS * ID),
            Self::Revocations { statements } => {
                within(statements.len(), MAX_STATEMENTS)?;
                statements.iter().try_for_each(|one| within(one.len(), MAX_STATEMENT))
            }
            Self::Show { capability } | Self::Renewed { capability } => {
                within(capability.len(), MAX_SHOWN)
            }
            Self::State { .. } | Self::Ask | Self::Renew => Ok(()),
        }
    }
}
