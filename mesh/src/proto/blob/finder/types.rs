//! What goes into a finder and what comes out.

use std::time::Duration;

use aether_core::{BlobId, PublicKey};
use bytes::Bytes;

use super::Here;
use crate::proto::budget::Fault;

/// How holders are found, and how much is said to those who look.
#[derive(Clone, Debug)]
pub struct Config {
    /// The length of a slot: about the time that gossip takes to everyone and back. Shorter makes
    /// more holders answer than are wanted, longer makes rare blobs slow to find.
    pub slot: Duration,
    /// How long what is looked for waits for more, to be asked in one message.
    pub batch: Duration,
    /// Shortest time between two looks of ours.
    pub look_interval: Duration,
    /// How long a search goes on if nobody asks for it again.
    pub patience: Duration,
    /// Blobs searched for at a time.
    pub max_searches: usize,
    /// Shortest time between two searches for provider records of one blob.
    pub find_interval: Duration,
    /// Nodes taken from those that one search for records found.
    pub max_found: usize,
    /// Looks of one asker that are considered in each `allowance`.
    pub max_looks: u32,
    /// See `max_looks`.
    pub allowance: Duration,
    /// Askers whose looks are counted.
    pub max_askers: usize,
    /// Answers of ours that wait for their slot.
    pub max_answers: usize,
    /// How long a node is remembered as a holder.
    pub ttl: Duration,
    /// Blobs whose holders are remembered.
    pub max_blobs: usize,
    /// Holders remembered of one blob.
    pub max_holders: usize,
    /// Blobs of ours with a provider record.
    pub max_records: usize,
    /// Blobs of ours that are remembered, to get a record when another goes.
    pub max_own: usize,
    /// How often a record is put again: well before it expires, which is after 24 hours in some
    /// implementations and 48 in others.
    pub refresh: Duration,
    /// Time between two records, so that many don't come at once.
    pub record_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slot: Duration::from_millis(400),
            batch: Duration::from_millis(20),
            look_interval: Duration::from_millis(500),
            patience: Duration::from_secs(120),
            max_searches: 256,
            find_interval: Duration::from_secs(5),
            max_found: 8,
            max_looks: 40,
            allowance: Duration::from_secs(10),
            max_askers: 1024,
            max_answers: 256,
            ttl: Duration::from_secs(600),
            max_blobs: 1024,
            max_holders: 16,
            max_records: 256,
            max_own: 4096,
            refresh: Duration::from_secs(11 * 3600),
            record_interval: Duration::from_millis(200),
        }
    }
}

/// What can happen to a finder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A download wants holders of this blob, so many beyond those it was told of.
    Look {
        /// The blob.
        id: BlobId,
        /// How many; at most [`MAX_ENOUGH`](super::MAX_ENOUGH) count.
        enough: u8,
    },
    /// The download has ended.
    Stop {
        /// The blob.
        id: BlobId,
    },
    /// The user, or whoever named the blob, says that this node holds it.
    Hint {
        /// The blob.
        id: BlobId,
        /// Who.
        peer: PublicKey,
    },
    /// This node doesn't hold the blob, or lied.
    Useless {
        /// The blob.
        id: BlobId,
        /// Who.
        peer: PublicKey,
    },
    /// We hold this blob, whole, and others should find it.
    Hold {
        /// The blob.
        id: BlobId,
        /// Whether it is pinned or was added here: such blobs get records first.
        pinned: bool,
    },
    /// We hold it no longer.
    Release {
        /// The blob.
        id: BlobId,
    },
    /// The topic [`TOPIC`](super::TOPIC) delivered this.
    Heard {
        /// Who published it: the envelope's author, whose signature was checked, not the neighbour
        /// that forwarded it.
        from: PublicKey,
        /// A [`Shout`](super::Shout), so it claims.
        bytes: Bytes,
    },
    /// A node answered.
    Here {
        /// Who.
        from: PublicKey,
        /// What.
        here: Here,
    },
    /// The answer to [`Output::Check`].
    Checked {
        /// Who asked.
        from: PublicKey,
        /// The number of the look.
        nonce: u64,
        /// Bit `i`: we hold some of the `i`-th blob, its last group at least.
        held: u16,
        /// Bit `i`: we hold all of it.
        whole: u16,
    },
    /// These have provider records of what [`Output::Find`] looked for.
    Found {
        /// The blob.
        id: BlobId,
        /// Who.
        peers: Vec<PublicKey>,
    },
    /// About so many nodes are in the mesh, ourselves included.
    Nodes(usize),
    /// The time asked for has come.
    Timeout,
}

/// What a finder wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Publish this on the topic [`TOPIC`](super::TOPIC), at once.
    Publish(Bytes),
    /// Send this to a node on the link, connecting to it first if need be; if it can't be, nothing
    /// needs to be said.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        here: Here,
    },
    /// Say [`Input::Checked`] with which of these are held.
    Check {
        /// Who asked.
        from: PublicKey,
        /// The number of the look.
        nonce: u64,
        /// At most [`MAX_IDS`](super::MAX_IDS).
        ids: Vec<BlobId>,
    },
    /// Tell the download of this blob that this node may hold it.
    Found {
        /// The blob.
        id: BlobId,
        /// Who.
        peer: PublicKey,
        /// Whether the user said so.
        preferred: bool,
    },
    /// Put a provider record for this blob into the routing table of the mesh, again if it is
    /// there.
    Provide {
        /// The blob.
        id: BlobId,
    },
    /// Let that record go.
    StopProviding {
        /// The blob.
        id: BlobId,
    },
    /// Look for provider records of this blob, and say [`Input::Found`] if there are any.
    Find {
        /// The blob.
        id: BlobId,
    },
    /// Charge a node that sent what no correct node sends.
    Fault {
        /// Who.
        peer: PublicKey,
        /// What it did.
        fault: Fault,
    },
}

/// What a finder did, counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Looks published.
    pub looks: u64,
    /// Answers sent.
    pub answers: u64,
    /// Answers that weren't needed any more when their slot came.
    pub suppressed: u64,
    /// Looks over an asker's allowance, answers that nobody asked for, and what had no room.
    pub ignored: u64,
    /// What was malformed.
    pub faults: u64,
}
