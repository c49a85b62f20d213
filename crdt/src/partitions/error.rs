//! What can go wrong.

use crate::{
    LookupError, OpenError, WriteError,
    driver::WriteFailed,
    proto::{
        map::EditError,
        partitions::{Level, PartitioningError},
    },
};

/// Why an operation on a partitioned map has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
    /// The map's settings haven't come from another node yet.
    #[error("the map's settings are not here yet; is a node reachable that has the map?")]
    NotReady,
    /// Nobody owns anything, as far as was heard until the deadline.
    #[error("the map has no members yet; let a node join its members first")]
    NoMembers,
    /// Too few owners answered a read.
    #[error(
        "{answered} of the {need} owners that level {level:?} needs answered in time; try again, \
         or at a lower level"
    )]
    Short {
        /// How many did.
        answered: usize,
        /// How many are needed.
        need: usize,
        /// By which level.
        level: Level,
    },
    /// Nobody said that a write is held by as many as the level asks for. It may be done all the
    /// same.
    #[error(
        "the write wasn't confirmed at level {level:?} in time, and may be done all the same; \
         write it again, or at a lower level"
    )]
    Unconfirmed {
        /// By which level.
        level: Level,
    },
    /// What owners hold at a key, or of a page, is more than an answer has room for.
    #[error("the values are too large to be answered together; write the key anew, or read less")]
    TooLarge,
    /// Nobody would be left who owns anything.
    #[error("this node is the last member; let another join first, or what it holds stays here")]
    LastMember,
    /// Leaving takes longer than the deadline.
    #[error("what this node holds isn't handed over yet; that goes on, see the map's status")]
    StillLeaving,
    /// A partitioned map is a space that everyone with its ticket may write.
    #[error("the ticket is that of no partitioned map: its space isn't open to everyone")]
    Mode,
    /// The node doesn't take part in it as a map.
    #[error("the space {name:?} is no partitioned map on this node; join the map by its ticket")]
    NotPartitioned {
        /// Its name or id.
        name: String,
    },
    /// A member's id that holds no key.
    #[error("the member's id holds no Ed25519 key; give the id that its node shows")]
    Key,
    /// It can't be split so.
    #[error(transparent)]
    Partitioning(#[from] PartitioningError),
    /// A key or a value is too large, or can't be encoded.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What is stored can't be read, or isn't of the expected type.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A space can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The service can't be offered.
    #[error("the map's service can't be offered to other nodes")]
    Serve(#[source] aether_mesh::ServeError),
}

impl From<EditError> for PartitionError {
    fn from(error: EditError) -> Self {
        Self::Write(error.into())
    }
}

impl From<WriteFailed> for PartitionError {
    fn from(error: WriteFailed) -> Self {
        Self::Write(error.into())
    }
}
