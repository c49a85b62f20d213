//! What the interface says and hears about spaces and their maps.

use std::collections::BTreeMap;

use aether_mesh::PeerId;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The spaces that the node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spaces {
    /// Those in which it takes part, ascending by id.
    pub spaces: Vec<Space>,
    /// Those that are closed, ascending by id.
    #[serde(default)]
    pub closed: Vec<ClosedSpace>,
}

/// A space in which the node takes no part, though it has what is stored of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedSpace {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// What whoever founded it called it.
    pub name: String,
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Space {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// What whoever founded it called it.
    pub name: String,
    /// How it stands with it on this node.
    pub status: SpaceStatus,
    /// A hash of what all its collections show, equal on two nodes that hold the same; if it was
    /// asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// How it stands with a space on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceStatus {
    /// Entries that were taken in, those that were evicted since among them.
    pub entries: u64,
    /// Feeds: one for each author and life of its data folder.
    pub feeds: usize,
    /// Feeds whose authors signed two entries of one number.
    pub forked: usize,
    /// Nodes with which it is being synced.
    pub peers: usize,
    /// A hash of all that is held: equal on two nodes exactly if they hold the same.
    pub digest: String,
    /// What this node may do: `owner`, `admin`, `writer` or `reader`; missing if it has no role,
    /// and nobody tells it anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether payloads that were discarded are still to be dropped here.
    pub is_compacting: bool,
    /// Whether the disk failed, so that nothing is written until a restart.
    pub has_failed: bool,
}

/// What became of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceImported {
    /// Its space, as it is now.
    pub space: Space,
    /// Entries, and evidence of forks, that are new here.
    pub taken: u64,
    /// Those that were here before.
    pub known: u64,
    /// Those that can't be taken in, though nobody did wrong: to import the archive again tries
    /// again.
    pub left: u64,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// What is discarded of a space, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceCompacted {
    /// Entries whose payloads go.
    pub entries: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// A space to found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSpace {
    /// Its name, at most 255 bytes.
    pub name: String,
    /// Who has access without being given a role.
    #[serde(default)]
    pub access: SpaceAccess,
}

/// Who has access to a space without being given a role.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum SpaceAccess {
    /// Everyone who has its ticket reads and writes.
    #[default]
    Open,
    /// Everyone who has its ticket reads; who writes is granted.
    Readable,
    /// Nobody: who reads and who writes is granted.
    Granted,
}

/// What a member of a space may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SpaceRole {
    /// Is served.
    Reader,
    /// Writes.
    Writer,
    /// Admits and removes writers.
    Admin,
}

/// A member of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceMember {
    /// The peer id of its node.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// What it may do.
    pub role: SpaceRole,
}

/// The members of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceMembers {
    /// Those that were given a role, by their keys.
    pub members: Vec<SpaceMember>,
}

/// What lets a node into a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceTicket {
    /// The text.
    #[schema(example = "space-...")]
    pub ticket: String,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapEntry {
    /// The key.
    pub key: String,
    /// Its value; of several that were put at the same time, the latest.
    pub value: Value,
}

/// A part of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapPage {
    /// Ascending by the bytes of the keys.
    pub entries: Vec<MapEntry>,
    /// What `after` is to be for the next page, if there may be one.
    pub next: Option<String>,
    /// Keys that were passed over, as they are no text or their values no CBOR.
    #[serde(default)]
    pub unreadable: u64,
}

/// Changes to a map, made all at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MapBatch {
    /// Keys and the values that they get.
    pub put: BTreeMap<String, Value>,
    /// Keys to remove, none of which is put as well.
    pub remove: Vec<String>,
}

/// What happens to a map; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum MapEvent {
    /// What changes behind this position will be told; the first event.
    Begun {
        /// The position, by which this node alone counts.
        position: u64,
    },
    /// Somebody wrote to a key, and this is there now.
    Put {
        /// The key.
        key: String,
        /// Its value; of several that were put at the same time, the latest.
        value: Value,
        /// Where the change is.
        position: u64,
    },
    /// Somebody wrote to a key, and nothing is there now.
    Removed {
        /// The key.
        key: String,
        /// Where the change is.
        position: u64,
    },
    /// Somebody wrote to a key what is no CBOR.
    Unreadable {
        /// The key.
        key: String,
        /// Where the change is.
        position: u64,
        /// What is wrong.
        error: String,
    },
    /// Any key may have changed: an author forked, or the reader was slow. Read the map anew.
    Rebuilt,
    /// The map can't be read; no more events come.
    Failed {
        /// Why.
        error: String,
    },
}

impl MapEvent {
    /// The event's name.
    pub(in crate::api) const fn name(&self) -> &'static str {
        match self {
            Self::Begun { .. } => "begun",
            Self::Put { .. } => "put",
            Self::Removed { .. } => "removed",
            Self::Unreadable { .. } => "unreadable",
            Self::Rebuilt => "rebuilt",
            Self::Failed { .. } => "failed",
        }
    }
}
