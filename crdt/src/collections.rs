//! Collections in hand: documents of a space, and its maps, sets, counters and registers, typed.

mod counter;
mod document;
mod key;
mod map;
mod presence;
mod register;
mod set;
mod watch;

use aether_store::ReadError;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    counter::Counter,
    document::{
        ChangeError, CopyError, Document, DocumentError, Draft, MergeError, Missed, PatchEvent,
        Patches, Revision,
    },
    key::Key,
    map::{Map, MapBatch},
    presence::{
        Cursor, CursorPosition, Presence, PresenceChanges, PresenceError, PresenceEvent, Present,
    },
    register::Register,
    set::Set,
    watch::{Changed, Watch},
};
pub(crate) use self::{
    document::{Desks, LOADING},
    presence::Gatherings,
};
use crate::{driver::WriteFailed, proto::map::EditError};

/// Why a write to a collection wasn't done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A key or a value is too large.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// serde can't encode the value.
    #[error("the value can't be encoded as CBOR: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// The space refuses it, or the node has stopped.
    #[error(transparent)]
    Failed(#[from] WriteFailed),
}

/// Why a collection can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The space was closed or deleted on this node.
    #[error("the space was closed on this node: open it again, or join it")]
    Left,
    /// The store can't read it.
    #[error(transparent)]
    Store(ReadError),
    /// Somebody wrote a value that isn't of this type.
    #[error("the value isn't of the expected type: {reason}")]
    Decode {
        /// Why.
        reason: String,
    },
    /// Somebody wrote a key that isn't of this type.
    #[error("a key isn't of the expected type")]
    Key,
}

impl From<ReadError> for LookupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed { .. } => Self::Left,
            error => Self::Store(error),
        }
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)
        .map_err(|error| WriteError::Encode { reason: error.to_string() })?;
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LookupError> {
    // ciborium refuses nesting deeper than 256.
    ciborium::from_reader(bytes).map_err(|error| LookupError::Decode { reason: error.to_string() })
}
