//! What goes into a directory and what comes out.

use std::time::Duration;

use aether_core::PublicKey;
use bytes::Bytes;

use super::{AnnouncementError, Instance, Load, Message};
use crate::proto::budget::Fault;

/// How a directory announces, and what it may hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Longest time between two announcements of a node that serves something; a fifth less at
    /// least. Shorter costs everyone more, and loss matters for less long.
    pub refresh: Duration,
    /// How long an announcement holds. At least twice `refresh`, or a single loss makes live
    /// instances vanish.
    pub ttl: Duration,
    /// Shortest time between two announcements of which only the load differs.
    pub load_interval: Duration,
    /// Largest difference between an announcement's time and our clock, in milliseconds.
    pub max_age: u64,
    /// Other nodes whose announcements are held.
    pub max_nodes: usize,
    /// Bytes of others' announcements that are held. Decoded and indexed they take up to some
    /// eight times that in memory.
    pub max_bytes: usize,
    /// Instances of one service that are held, our own not counted.
    pub max_instances: usize,
    /// Nodes remembered whose announcements are gone, so that old ones don't come back.
    pub max_gone: usize,
    /// How long an answer to a question may take.
    pub ask_timeout: Duration,
    /// How often an unanswered question is asked.
    pub ask_tries: u32,
    /// Questions under way at a time.
    pub max_asking: usize,
    /// Neighbours whose questions are answered.
    pub max_neighbours: usize,
    /// Bytes of announcements in one answer, at least 4096.
    pub page: usize,
    /// Answers taken from a node in a row, and answers given to it in one `refresh`.
    pub max_pages: u32,
    /// Time between the first two searches for a service of which no instance is known. Each later
    /// one waits twice as long.
    pub find_interval: Duration,
    /// Longest time between two such searches.
    pub max_find_interval: Duration,
    /// How long a search goes on if nobody looks for the service again.
    pub find_patience: Duration,
    /// Services searched for at a time.
    pub max_searches: usize,
    /// Nodes asked of those that one search found.
    pub max_found: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(10),
            ttl: Duration::from_secs(35),
            load_interval: Duration::from_secs(1),
            max_age: 10 * 60 * 1000,
            max_nodes: 1024,
            max_bytes: 2 * 1024 * 1024,
            max_instances: 256,
            max_gone: 2048,
            ask_timeout: Duration::from_secs(2),
            ask_tries: 3,
            max_asking: 64,
            max_neighbours: 256,
            page: 64 * 1024,
            max_pages: 64,
            find_interval: Duration::from_secs(1),
            max_find_interval: Duration::from_secs(60),
            find_patience: Duration::from_secs(60),
            max_searches: 256,
            max_found: 8,
        }
    }
}

/// An event, and what our clock showed then.
#[derive(Clone, Debug)]
pub struct Input {
    /// Milliseconds since the Unix epoch.
    pub wall: u64,
    /// What happened.
    pub event: Event,
}

/// What can happen to a directory.
#[derive(Clone, Debug)]
pub enum Event {
    /// We serve this from now on; or, if we do already, it has changed.
    Serve(Instance),
    /// An instance of ours is busier, or less so. Cheap enough for every call.
    Load {
        /// Its service.
        service: String,
        /// Its id.
        id: u64,
        /// How busy.
        load: Load,
    },
    /// An instance of ours is there no longer.
    End {
        /// Its service.
        service: String,
        /// Its id.
        id: u64,
    },
    /// All instances of ours take nothing new from now on.
    Drain,
    /// We serve nothing any more, and never will again in this life.
    Stop,
    /// The topic [`TOPIC`](super::TOPIC) delivered this.
    Announced {
        /// Who published it: the envelope's author, not the neighbour that forwarded it.
        from: PublicKey,
        /// The announcement, so it claims.
        bytes: Bytes,
    },
    /// A connected node said this.
    Message {
        /// Who.
        from: PublicKey,
        /// What.
        message: Message,
    },
    /// A node that speaks the link is connected.
    Connected {
        /// Who.
        peer: PublicKey,
    },
    /// The last connection to a node is gone.
    Disconnected {
        /// Who.
        peer: PublicKey,
    },
    /// The roster has a card of this life of a node, for the first time or a new one.
    Member {
        /// Who.
        peer: PublicKey,
        /// The card's life.
        life: u64,
    },
    /// The roster says that a node is gone.
    MemberLeft {
        /// Who.
        peer: PublicKey,
        /// Whether it said so itself.
        farewell: bool,
    },
    /// Somebody here looks for a service.
    Look {
        /// The service.
        service: String,
    },
    /// These are said to serve what [`Output::Find`] looked for.
    Found {
        /// The service.
        service: String,
        /// By whose records.
        peers: Vec<PublicKey>,
    },
    /// The time asked for has come.
    Timeout,
}

/// What a directory wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Publish this on the topic [`TOPIC`](super::TOPIC), at once.
    Announce(Bytes),
    /// Send to a node, connecting to it first if need be; if it can't be, nothing needs to be said.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        message: Message,
    },
    /// Tell whoever uses this service: its instances, or what is known of them, changed. Our own
    /// load aside.
    Changed {
        /// The service.
        service: String,
    },
    /// Tell whoever gave us this instance that it isn't served, and why.
    Refused {
        /// Its service.
        service: String,
        /// Its id.
        id: u64,
        /// Why.
        reason: Refusal,
    },
    /// Put a provider record for this service into the routing table of the mesh, and keep it
    /// there.
    Provide {
        /// The service.
        service: String,
    },
    /// Let that record go.
    StopProviding {
        /// The service.
        service: String,
    },
    /// Look for provider records of this service, and say [`Event::Found`] if there are any.
    Find {
        /// The service.
        service: String,
    },
    /// Charge a node that sent an announcement that it can't have verified.
    Fault {
        /// Who.
        peer: PublicKey,
        /// What it did.
        fault: Fault,
    },
}

/// Why an instance isn't served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// With it there would be no announcement.
    #[error("the instance can't be announced")]
    Limit(#[from] AnnouncementError),
    /// The node has stopped serving.
    #[error("the node has stopped serving")]
    Stopped,
}

/// One instance in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// On which node: our own too.
    pub peer: PublicKey,
    /// In which life of that node.
    pub life: u64,
    /// What its node says of it.
    pub instance: &'a Instance,
}

/// What a directory did, counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Announcements of others taken in.
    pub accepted: u64,
    /// Announcements that were known, or older than what is known: no signature was checked.
    pub known: u64,
    /// Announcements whose time is too far from our clock.
    pub stale: u64,
    /// Announcements and instances that didn't fit.
    pub left_out: u64,
    /// Announcements that were malformed or forged.
    pub faults: u64,
    /// Answers that nobody asked for, and questions over their allowance: not read.
    pub ignored: u64,
}
