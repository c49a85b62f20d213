//! What the interface says and hears about partitioned maps.

use aether_mesh::PeerId;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MapEntry;

/// The partitioned maps that the node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pmaps {
    /// All that aren't closed, ascending by id.
    pub maps: Vec<Pmap>,
}

/// A partitioned map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pmap {
    /// Its id, in hexadecimal digits, which is that of the space with its settings.
    pub id: String,
    /// What whoever founded it called it.
    pub name: String,
}

/// A partitioned map to found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPmap {
    /// Its name, at most 255 bytes.
    pub name: String,
    /// Into how many partitions it is split for good, 1 to 1,024; 64 by default.
    #[serde(default)]
    pub partitions: Option<u16>,
    /// How many members own each for good, 1 to 16; 3 by default.
    #[serde(default)]
    pub replicas: Option<u8>,
}

/// How it stands with a partitioned map on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PmapStatus {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// What whoever founded it called it.
    pub name: String,
    /// How many partitions it has, numbered from 0 on.
    pub partitions: u16,
    /// How many owners each has, if there are as many members.
    pub replicas: u8,
    /// How many members there are, those that are leaving among them.
    pub members: usize,
    /// Whether this node is a member.
    pub is_member: bool,
    /// Whether it is one that hands over what it has.
    pub is_leaving: bool,
    /// How many partitions this node owns: those that are whole and those that it fetches.
    pub owned: usize,
    /// Partitions that this node owns and holds wholly, ascending.
    pub whole: Vec<u16>,
    /// Partitions that it owns and has yet to fetch from other members, wholly or in part.
    pub fetching: Vec<u16>,
    /// Partitions that it holds and doesn't own: it hands them over.
    pub parting: Vec<u16>,
    /// How many it has handed over since it was started.
    pub parted: u64,
    /// A hash of the settings and the list of members: equal on two nodes that agree on them.
    pub view: String,
}

/// A member of a partitioned map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PmapMember {
    /// The node's peer id.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Whether it hands over what it has, and is gone then.
    pub is_leaving: bool,
    /// How many partitions it owns.
    pub owns: usize,
}

/// The members of a partitioned map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PmapMembers {
    /// By their keys, as they are known to this node.
    pub members: Vec<PmapMember>,
}

/// A part of a partitioned map: some keys of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PmapPage {
    /// Ascending by the bytes of the keys; there may be none though there is a next page.
    pub entries: Vec<MapEntry>,
    /// What `from` is to be for the next page, if there is one.
    pub next: Option<String>,
    /// Keys that were passed over, as they are no text or their values no CBOR.
    #[serde(default)]
    pub unreadable: u64,
}

/// How many owners of a key are to have answered before an operation is done.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// One, or for a write whose owners can't be reached the node itself: sloppy, and eventual.
    One,
    /// More than half: a read finds what was written at quorum before it.
    #[default]
    Quorum,
    /// All of them.
    All,
}

impl Level {
    /// The level's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }
}

impl From<Level> for aether_crdt::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::One => Self::One,
            Level::Quorum => Self::Quorum,
            Level::All => Self::All,
        }
    }
}
