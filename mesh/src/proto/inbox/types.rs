//! What goes into an inbox and what comes out.

use std::time::Duration;

use aether_core::PublicKey;
use bytes::Bytes;

use crate::proto::{
    budget::Fault,
    envelope::{Envelope, TopicId},
    link::{Frame, Have, Tips, Want},
};

/// What an inbox may hold and how patient it is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Streams remembered per topic.
    pub max_streams: usize,
    /// Bytes held per topic because they came before their turn.
    pub max_held: usize,
    /// Bytes of recent envelopes kept per topic to fill others' gaps.
    pub max_recent: usize,
    /// How far behind the first envelope seen of a stream a newcomer looks for earlier ones.
    pub lookback: u64,
    /// How long out-of-order arrival is taken for normal.
    pub reorder: Duration,
    /// Time between two questions for the same gap.
    pub ask_interval: Duration,
    /// How long a gap may stay without progress.
    pub give_up: Duration,
    /// Time between two tips on one topic.
    pub tips_interval: Duration,
    /// How long after its last envelope a stream is still told of.
    pub tips_idle: Duration,
    /// Settled bytes after which their author is told: a quarter of an outbox's window or less, so
    /// that a full window is never waiting for `report_after`.
    pub report_bytes: usize,
    /// Shortest time between two reports on one topic.
    pub report_interval: Duration,
    /// Longest time that settled bytes go unreported. Well below the outbox's `stall`.
    pub report_after: Duration,
    /// Bytes from which on an envelope is forwarded a moment later.
    pub hold_above: usize,
    /// How long that moment is at least. Longer saves copies, and costs large messages so much on
    /// each hop that isn't the author's own. It pays if it is longer than what an author's outbox
    /// has on the way takes to reach the last reader.
    pub least_hold: Duration,
    /// How long it is at most. A node with `n` neighbours waits `1 / (n + 1)` of the way from the
    /// least to the most, on average, for the first of them.
    pub most_hold: Duration,
    /// Largest difference between an envelope's time and our clock, in milliseconds.
    pub max_age: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            max_held: 4 * 1024 * 1024,
            max_recent: 4 * 1024 * 1024,
            lookback: 32,
            reorder: Duration::from_millis(50),
            ask_interval: Duration::from_millis(300),
            give_up: Duration::from_secs(5),
            tips_interval: Duration::from_secs(1),
            tips_idle: Duration::from_secs(30),
            report_bytes: 64 * 1024,
            report_interval: Duration::from_millis(20),
            report_after: Duration::from_millis(200),
            hold_above: 8 * 1024,
            least_hold: Duration::from_millis(30),
            most_hold: Duration::from_millis(150),
            max_age: 10 * 60 * 1000,
        }
    }
}

/// Where an envelope came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Gossip, which waits for a verdict on this message id.
    Gossip {
        /// The message id.
        id: [u8; 20],
        /// The neighbour that forwarded it.
        from: PublicKey,
    },
    /// A neighbour's answer to a question of ours.
    Link {
        /// The neighbour.
        from: PublicKey,
    },
}

impl Origin {
    /// The neighbour that it came from.
    pub fn from(&self) -> PublicKey {
        match self {
            Self::Gossip { from, .. } | Self::Link { from } => *from,
        }
    }
}

/// What gossip is told about a message (gossipsub 1.1, extended validators).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it, and credit who brought it.
    Accept,
    /// Don't forward it, and blame nobody.
    Ignore,
    /// Don't forward it, and blame who brought it.
    Reject,
}

/// What can happen to an inbox. `wall` is our clock in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub enum Input {
    /// We read this topic from now on.
    Subscribe {
        /// The topic.
        topic: TopicId,
        /// Our clock.
        wall: u64,
    },
    /// We no longer read it: its state is dropped.
    Unsubscribe {
        /// The topic.
        topic: TopicId,
    },
    /// A connected node that speaks the link reads this topic too.
    Neighbour {
        /// The topic.
        topic: TopicId,
        /// Who.
        peer: PublicKey,
    },
    /// A neighbour no longer reads this topic.
    NotNeighbour {
        /// The topic.
        topic: TopicId,
        /// Who.
        peer: PublicKey,
    },
    /// A neighbour is gone.
    Left {
        /// Who.
        peer: PublicKey,
    },
    /// Gossip brought a message and waits for the verdict.
    Gossip {
        /// The topic.
        topic: TopicId,
        /// Gossip's message id.
        id: [u8; 20],
        /// The neighbour that forwarded it.
        from: PublicKey,
        /// The envelope, so it claims.
        bytes: Bytes,
        /// Our clock.
        wall: u64,
    },
    /// The signature that [`Output::Verify`] asked about is good, or not.
    Verified {
        /// The topic.
        topic: TopicId,
        /// The envelope.
        envelope: Envelope,
        /// Where it came from.
        origin: Origin,
        /// Whether the signature is good.
        valid: bool,
    },
    /// We sealed an envelope ourselves.
    Published {
        /// The topic.
        topic: TopicId,
        /// The envelope.
        envelope: Envelope,
    },
    /// A neighbour told what it holds.
    Tips {
        /// The neighbour.
        from: PublicKey,
        /// What it said.
        tips: Tips,
    },
    /// A neighbour asks for envelopes.
    Want {
        /// The neighbour.
        from: PublicKey,
        /// What it said.
        want: Want,
    },
    /// A neighbour answers.
    Have {
        /// The neighbour.
        from: PublicKey,
        /// What it said.
        have: Have,
        /// Our clock.
        wall: u64,
    },
    /// The time asked for has come.
    Timeout,
}

/// What an inbox wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Check the signature, off the swarm's task, and say [`Input::Verified`].
    Verify {
        /// The topic.
        topic: TopicId,
        /// What to check.
        envelope: Envelope,
        /// Where it came from.
        origin: Origin,
    },
    /// Tell gossip.
    Verdict {
        /// Gossip's message id.
        id: [u8; 20],
        /// The neighbour that forwarded it.
        from: PublicKey,
        /// The verdict.
        verdict: Verdict,
    },
    /// Hand to the topic's subscribers.
    Deliver {
        /// The topic.
        topic: TopicId,
        /// Verified, new and in order.
        envelope: Envelope,
        /// Messages of this stream that are lost just before this envelope.
        missed: u64,
    },
    /// Send to a neighbour; if it can't be, nothing needs to be said.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        frame: Frame,
    },
    /// Tell the outbox that a reader has settled our stream below `next`.
    Progress {
        /// The topic.
        topic: TopicId,
        /// The reader.
        peer: PublicKey,
        /// The first number that it hasn't settled.
        next: u64,
    },
    /// Charge a peer for what it did.
    Penalize {
        /// Who.
        peer: PublicKey,
        /// For what.
        fault: Fault,
    },
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Envelopes delivered.
    pub delivered: u64,
    /// Messages in them.
    pub messages: u64,
    /// Envelopes that were settled already.
    pub duplicate: u64,
    /// Envelopes of an earlier life, or too old or too new by our clock.
    pub stale: u64,
    /// Envelopes whose signature wasn't good.
    pub forged: u64,
    /// Bytes that were no envelope.
    pub malformed: u64,
    /// Envelopes of a version that isn't known here.
    pub newer: u64,
    /// Envelopes that came over the link and were new.
    pub repaired: u64,
    /// Questions for gaps.
    pub asked: u64,
    /// Envelopes given to neighbours who asked.
    pub served: u64,
    /// Messages given up.
    pub missed: u64,
}
