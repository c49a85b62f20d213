//! What the interface says and hears, in JSON. Unknown members are to be ignored: later releases
//! add some.

mod documents;
mod pmaps;
mod presence;
mod spaces;

use aether_mesh::{Direction, Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    documents::{
        Document, DocumentAction, DocumentChange, DocumentCopy, DocumentEvent, DocumentOrigin,
        DocumentPatch, DocumentSplice, DocumentTurn, DocumentVersion,
    },
    pmaps::{Level, NewPmap, Pmap, PmapMember, PmapMembers, PmapPage, PmapStatus, Pmaps},
    presence::{PresenceEvent, Present},
    spaces::{
        ClosedSpace, MapBatch, MapEntry, MapEvent, MapPage, NewSpace, Space, SpaceAccess,
        SpaceCompacted, SpaceImported, SpaceMember, SpaceMembers, SpaceRole, SpaceStatus,
        SpaceTicket, Spaces,
    },
};

/// The node as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The node's peer id.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// The mesh that it is part of.
    pub mesh: Mesh,
    /// Its place in a closed mesh; `null` if the mesh is open.
    pub access: Option<Access>,
    /// The release of the program.
    pub version: String,
    /// The program and its version, as other nodes see it.
    pub agent: String,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// Addresses that others reach it at, with its peer id: what another node's seed may be.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<Multiaddr>,
    /// What it does for others: `relay`, `rendezvous`.
    pub roles: Vec<String>,
    /// Names of the topics that it has joined.
    pub topics: Vec<String>,
    /// Peers that it is connected to.
    pub connections: usize,
    /// Other members of the mesh that it knows to be alive.
    pub members: usize,
}

/// A mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mesh {
    /// Its name.
    pub name: String,
    /// The hash of its genesis, in hexadecimal digits.
    pub id: String,
}

/// The node's own place in a closed mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Access {
    /// In which role it is a member: `reader`, `writer`, `validator` or `admin`.
    pub role: String,
    /// Until when, in seconds since 1970, unless it is renewed.
    pub expires: u64,
    /// Whether it came by an invite and no admin's node has made it a full member yet.
    pub provisional: bool,
    /// Whether it renews members.
    pub admits: bool,
    /// How many revocations it knows.
    pub revocations: usize,
    /// Why the last node that refused it did.
    pub refused: Option<String>,
}

/// A connected peer's place in a closed mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerAccess {
    /// In which role it is a member: `reader`, `writer`, `validator` or `admin`.
    pub role: String,
    /// Until when, in seconds since 1970, unless it is renewed.
    pub expires: u64,
}

/// A revocation or a membership, as it was printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// The text.
    #[schema(example = "aether_revocation1_...")]
    pub token: String,
}

/// Another node: a member of the mesh, a connected peer, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its peer id.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// What is known of its life.
    pub state: PeerState,
    /// Whether this node is connected to it.
    pub connected: bool,
    /// Where it says it can be reached; of a peer that is no member, its end of the connection.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<Multiaddr>,
    /// Its program and version, as it says.
    pub agent: String,
    /// What it does for others, as it says.
    pub roles: Vec<String>,
    /// Smoothed round trip time, once measured.
    pub latency_ms: Option<f64>,
    /// Seconds since it was last heard of, if it is a member.
    pub last_seen_seconds: Option<f64>,
    /// Who began the connection.
    #[schema(value_type = Option<String>, example = "outbound")]
    pub direction: Option<Direction>,
    /// Whether the connection goes through a relay.
    pub relayed: Option<bool>,
    /// In how many of this node's topics' gossip meshes it is.
    pub meshes: Option<usize>,
    /// Gossipsub's score of it.
    pub score: Option<f64>,
    /// Its place in a closed mesh, if it is connected.
    pub access: Option<PeerAccess>,
}

/// What is known of a peer's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// A member that answers.
    Alive,
    /// A member whose probes fail at present.
    Suspect,
    /// Connected, and not (yet) a member.
    Connected,
}

/// A change among the members; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum MemberChange {
    /// A member is there that wasn't.
    Joined {
        /// Who.
        #[schema(value_type = String)]
        peer: PeerId,
    },
    /// A member told something new of itself.
    Updated {
        /// Who.
        #[schema(value_type = String)]
        peer: PeerId,
    },
    /// A member said farewell.
    Left {
        /// Who.
        #[schema(value_type = String)]
        peer: PeerId,
    },
    /// A member no longer answers.
    Failed {
        /// Who.
        #[schema(value_type = String)]
        peer: PeerId,
    },
    /// The reader was slow: so many changes are lost. Ask for the whole list.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The topics that the node has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Topics {
    /// Their names.
    pub topics: Vec<String>,
}

/// What became of a request to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// Messages queued for sending.
    pub published: u64,
    /// Connected nodes that read the topic now. With none, messages wait in the outbox.
    pub neighbours: usize,
}

/// A message, or what is to be said in its place; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum TopicEvent {
    /// A message.
    Message {
        /// What was published.
        value: String,
        /// Who published it; its signature was checked.
        #[schema(value_type = String)]
        author: PeerId,
        /// The author's life that it comes from.
        life: u64,
        /// Its number among the author's messages on this topic in this life, from 1.
        number: u64,
        /// When the author sealed it, by the author's clock: milliseconds since 1970.
        time_ms: u64,
    },
    /// So many messages are lost just here: the reader was slow, or they couldn't be repaired.
    Missed {
        /// How many.
        count: u64,
    },
    /// A message that isn't text.
    Undecodable {
        /// Who published it.
        #[schema(value_type = String)]
        author: PeerId,
        /// Its number.
        number: u64,
        /// Why it isn't.
        error: String,
    },
    /// A large message that nobody sent. Its blob may be had later.
    Unpulled {
        /// Who published it.
        #[schema(value_type = String)]
        author: PeerId,
        /// Its number.
        number: u64,
        /// The blob that is its encoding in CBOR.
        blob: String,
        /// Bytes that it has, as its author says.
        size: u64,
        /// Why it isn't here.
        error: String,
    },
}

/// Instances of services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Services {
    /// One for each service and node.
    pub instances: Vec<Instance>,
}

/// An instance of a service, as its node announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// The service's name.
    pub service: String,
    /// The node that serves it.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Its version, as it says.
    pub version: String,
    /// What can be called.
    pub endpoints: Vec<String>,
    /// `serving`, `draining` or `unhealthy`.
    pub health: String,
    /// Calls that it works on, as it last said.
    pub in_flight: u32,
    /// How many it works on at once; 0 if it sets no limit.
    pub capacity: u32,
}

/// What one instance answered to a call to every one: a reply, or an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeReply {
    /// The node.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Its reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<serde_json::Value>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An item of a streamed reply, or its end; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Item {
    /// An item.
    Item {
        /// What it is.
        value: serde_json::Value,
    },
    /// All items have come.
    End,
    /// The call failed; no more items come.
    Failed {
        /// Why.
        error: String,
    },
}

/// What the node holds of blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobsHeld {
    /// Bytes that they take on disk.
    pub used: u64,
    /// Bytes that they may take.
    pub quota: u64,
    /// Ascending by id.
    pub blobs: Vec<Blob>,
}

/// A blob, in whole or part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blob {
    /// The BLAKE3 hash of the content.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of it that are here.
    pub held: u64,
    /// Whether all of it is.
    pub is_whole: bool,
    /// Bytes that it takes on disk, about.
    pub on_disk: u64,
    /// Whether a pin keeps it, its own or a collection's.
    pub kept: bool,
    /// Its own pins.
    pub pins: Vec<String>,
}

/// A blob that is here now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobAdded {
    /// The BLAKE3 hash of the content; of a folder, of its collection.
    pub id: String,
    /// Its size in bytes; of a collection that came with its content, all of that.
    pub size: u64,
    /// How many files of a folder were added.
    pub files: u64,
}

/// How a blob is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BlobPin {
    /// It is a collection, and its files are kept too.
    pub content: bool,
}

/// How far a blob is; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum BlobEvent {
    /// So many bytes are here.
    Progress {
        /// Bytes so far.
        done: u64,
        /// Bytes in all, once that is proved.
        of: Option<u64>,
    },
    /// All is here, and synced to disk.
    Added(BlobAdded),
    /// It came to nothing.
    Failed {
        /// Why.
        error: String,
    },
}

impl BlobEvent {
    /// The event's name.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Progress { .. } => "progress",
            Self::Added(_) => "added",
            Self::Failed { .. } => "failed",
        }
    }
}

/// An address to dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dial {
    /// A multiaddress, best with a peer id at its end.
    #[schema(example = "/ip4/192.0.2.1/udp/4001/quic-v1")]
    pub address: String,
}

/// Whether the node can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether all is well.
    pub ok: bool,
    /// What isn't.
    pub reasons: Vec<String>,
}
