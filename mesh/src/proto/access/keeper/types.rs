//! What goes into a keeper and what comes out.

use std::time::Duration;

use aether_core::PublicKey;

use super::super::{Capability, Message, Pass, Refusal, Revocation, Wall};

/// How a keeper behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often neighbours are told what is held: the longest that a revocation which was lost on
    /// the way stays unknown to a neighbour of one who knows it. Some 70 bytes each time.
    pub state_interval: Duration,
    /// How long a member waits for an admin's answer before it asks the next.
    pub renew_interval: Duration,
    /// A neighbour gets one answer of each kind in so long.
    pub answer_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_interval: Duration::from_secs(30),
            renew_interval: Duration::from_secs(15),
            answer_interval: Duration::from_secs(5),
        }
    }
}

/// What a keeper is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// What the wall clock says. From time to time, in case it is set.
    Wall(Wall),
    /// A peer is connected, and showed this.
    Connected {
        /// Who.
        peer: PublicKey,
        /// What lets it in.
        capability: Box<Capability>,
    },
    /// A connected peer can be sent messages.
    Linked {
        /// Who.
        peer: PublicKey,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// Who.
        peer: PublicKey,
    },
    /// A neighbour says something.
    Message {
        /// Who.
        from: PublicKey,
        /// What.
        message: Message,
    },
    /// The node's user brings a revocation.
    Revoke(Revocation),
    /// The node's user brings a capability to show from now on.
    Hold(Box<Capability>),
    /// The time that [`poll_timeout`](aether_core::Protocol::poll_timeout) named has come.
    Timeout,
}

/// What a keeper wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message; it may be lost.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        message: Message,
    },
    /// Close all connections to a peer.
    Cut {
        /// Whom.
        peer: PublicKey,
        /// Why.
        why: Refusal,
    },
    /// A neighbour is in, by what its capability says. Comes again when it shows another.
    Admitted(Pass),
    /// Show this from now on, and keep it over restarts.
    Adopted {
        /// The capability.
        capability: Box<Capability>,
        /// What it says.
        pass: Pass,
    },
    /// Refuse what this revokes, and keep it over restarts.
    Keep(Revocation),
    /// The revocation of this key is over.
    Forget(PublicKey),
    /// What this node shows is worth nothing any more: nobody lets it in. Its user must know.
    LockedOut(Refusal),
    /// A revocation found no room: an admin revoked far too much. Its user must know.
    Full,
    /// A neighbour sent what no honest node sends.
    Fault {
        /// Who.
        from: PublicKey,
    },
}
