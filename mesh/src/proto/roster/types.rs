//! What a driver gives to a roster, and what it gets: settings, inputs, outputs and members.

use std::time::Duration;

use aether_core::{PublicKey, Time};

use super::{Card, Message, Profile};

/// How a roster watches.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between two probes.
    pub probe_interval: Duration,
    /// How long a ping may take before others are asked to try.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect: usize,
    /// Probe intervals that a suspicion lasts at least; more in a large roster.
    pub suspicion: u32,
    /// Times that an update is told, per doubling of the roster.
    pub retransmit: u32,
    /// Members listed.
    pub max_members: usize,
    /// Dead remembered.
    pub max_dead: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect: 3,
            suspicion: 4,
            retransmit: 3,
            max_members: 1024,
            max_dead: 1024,
        }
    }
}

/// What can happen to a roster.
#[derive(Clone, Debug)]
pub enum Input {
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
    /// The last connection to a node is gone: it is probed next.
    Disconnected {
        /// Who.
        peer: PublicKey,
    },
    /// We have other addresses or roles now.
    Profile(Profile),
    /// We go: say so.
    Leave,
    /// The time asked for has come.
    Timeout,
}

/// What a roster wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send to a node, connecting to it first if need be; if it can't be, nothing needs to be said.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        message: Message,
    },
    /// Tell the user: a member is there that wasn't.
    Joined(Card),
    /// Tell the user: a member has a new card.
    Updated(Card),
    /// Tell the user: a member is gone.
    Left {
        /// Who.
        peer: PublicKey,
        /// Whether it said so itself.
        farewell: bool,
    },
    /// Charge a peer that sent a card with a bad signature.
    Forged {
        /// Who sent it.
        from: PublicKey,
    },
}

/// A member as seen from here.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its latest card.
    pub card: Card,
    /// Smoothed time from ping to ack, if it was ever pinged.
    pub latency: Option<Duration>,
    /// When it last said something to us, or something new about itself through others.
    pub last_seen: Time,
    /// Since when our probes of it fail.
    pub suspect_since: Option<Time>,
    /// How long they have to fail until it is removed: never less than at any time meanwhile.
    pub(super) patience: Duration,
}
