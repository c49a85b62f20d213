//! What handles ask of the driver, and what they are told.

use std::collections::BTreeMap;

use aether_core::PublicKey;
use tokio::sync::{broadcast, oneshot};

use super::{Names, Part, Shelf};
use crate::{
    collections::Desks,
    proto::{
        archive::Record,
        entry::{Collection, Run},
        id::{EntryId, FeedId, Position, SpaceId},
        map::Edit,
        replica::{Change, Offered, WriteError},
        space::{Genesis, Role},
    },
    spaces::{Member, OpenError, Status},
};

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Opens a space, and remembers it, and whether it is the control space of a map.
    Open {
        genesis: Genesis,
        is_map: bool,
        reply: oneshot::Sender<Result<Opened, OpenError>>,
    },
    List {
        reply: oneshot::Sender<Vec<Opened>>,
    },
    Edit {
        space: SpaceId,
        edits: Vec<Edit>,
        reply: oneshot::Sender<Result<Written, WriteFailed>>,
    },
    /// Asks under which feed changes of documents are written.
    Writer {
        space: SpaceId,
        reply: oneshot::Sender<Option<Writer>>,
    },
    /// Writes changes of a document as the next entry of a feed, if that still is the own one.
    Append {
        space: SpaceId,
        document: Collection,
        feed: FeedId,
        ops: Vec<Vec<u8>>,
        reply: Reply,
    },
    /// Keeps a document's file, if the writer is who he was when it was made.
    Keep {
        space: SpaceId,
        document: Collection,
        file: Vec<u8>,
        writer: Writer,
    },
    /// Changes a member's access.
    Change {
        space: SpaceId,
        member: PublicKey,
        change: Change,
        reply: Reply,
    },
    /// Discards payloads with the owner's key.
    Discard {
        space: SpaceId,
        runs: BTreeMap<FeedId, Vec<Run>>,
        reply: Reply,
    },
    Members {
        space: SpaceId,
        reply: oneshot::Sender<Option<Vec<Member>>>,
    },
    /// What a member may do.
    Role {
        space: SpaceId,
        member: PublicKey,
        reply: oneshot::Sender<Option<Role>>,
    },
    /// What this node may do.
    OwnRole {
        space: SpaceId,
        reply: oneshot::Sender<Option<Role>>,
    },
    Status {
        space: SpaceId,
        reply: oneshot::Sender<Option<Status>>,
    },
    /// Takes in what an archive holds, in its order.
    Offer {
        space: SpaceId,
        records: Vec<Record>,
        reply: oneshot::Sender<Result<Offered, WriteFailed>>,
    },
    /// Takes no part in a space any more; with `deletes`, and forgets it.
    Leave {
        space: SpaceId,
        deletes: bool,
        reply: oneshot::Sender<Result<(), OpenError>>,
    },
    /// Opens a space that was closed.
    Again {
        space: SpaceId,
        reply: oneshot::Sender<Result<Opened, OpenError>>,
    },
    /// All spaces that were closed.
    ListClosed {
        reply: oneshot::Sender<Vec<Genesis>>,
    },
    /// What partitioned maps ask for.
    Part(Part),
}

/// Who writes changes of documents, and since when the same entries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    /// The feed that own entries continue.
    pub(crate) feed: FeedId,
    /// How often collections were made anew.
    pub(crate) rebuilt: u64,
}

/// What a handle of a space needs to read.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) genesis: Genesis,
    /// Whether it is the control space of a partitioned map.
    pub(crate) is_map: bool,
    pub(crate) shelf: Shelf,
    pub(crate) names: Names,
    pub(crate) told: broadcast::Sender<Told>,
    pub(crate) desks: Desks,
}

/// What a write came to: the entry, or the last of several; none, if nothing had to be written.
pub(crate) type Written = Option<EntryId>;

/// Why a write wasn't done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFailed {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
    /// The space was closed or deleted on this node.
    #[error("the space was closed on this node: open it again, or join it")]
    Left,
    /// The space refuses it.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// This node's disk turned out to be an old copy, and what it writes is another feed from now
    /// on: the change builds on what others don't have.
    #[error("others have more of what this node wrote than its disk; try again")]
    Outrun,
}

/// What readers of a space are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Everything up to here is synced, and can be read.
    Held(Position),
    /// Collections were made anew: an author forked.
    Rebuilt,
    /// The space was closed or deleted, and nothing of it can be read.
    Left,
}

/// What a user waits for.
pub(super) type Reply = oneshot::Sender<Result<Written, WriteFailed>>;
