//! Access: who may connect to a closed mesh.
//!
//! A mesh whose genesis is closed names its admins' keys. Whoever connects shows a [`Capability`],
//! a chain of signed grants that begins at an admin's key and ends at the peer's own. It is shown
//! while the connection is made, before any protocol starts, and says who may connect, and in
//! which [`Role`]; what a role may do beyond that is for the layers above.
//!
//! Rules of a capability:
//!
//! 1. **Chain.** The first link is signed by an admin of the genesis, each other one by the key
//!    that the link before it names. The last names a peer; it is of use to that peer alone.
//! 2. **Narrowing.** A link's role, expiry and term don't exceed those of the link before it.
//! 3. **Who may sign on.** An invite's key; and a peer's key, if its role is admin.
//! 4. **Bounds.** One to [`MAX_LINKS`] links; a link lasts [`MAX_TERM`] at most.
//! 5. **Clocks.** Times are compared with a tolerance of [`CLOCK_SKEW`] both ways.
//! 6. **Order of checks.** Mesh, peer, rules 2 to 4, signatures, then what only holds true for a
//!    while: times, revocations. So a forger never learns more than that it is one.
//!
//! Rules of the mesh, kept by each node's [`Keeper`]:
//!
//! 7. **Joining.** An [`Invite`] holds a fresh key that an admin lets sign for others until the
//!    invite expires. The joiner signs a link to its own key with it. What was joined by an invite
//!    ends with the invite, because nobody can prove when that link was made; so a new member asks
//!    for a membership at once.
//! 8. **Membership.** A member whose capability was made by an invite, or has lasted half its time,
//!    asks the connected admins, one after the other. An admin's node signs a new one, of the same
//!    role, for the term that was granted. It is adopted if it lasts longer, and shown to all
//!    neighbours, so no connection is cut.
//! 9. **Revocation.** An admin of the genesis revokes a key for ever: a peer's, or an invite's. A
//!    capability is void if a link of it is signed by that key or names it, or says that its holder
//!    once came by that invite. Whoever is to come back takes a new key.
//! 10. **Spreading.** A new revocation is passed on to all neighbours. Neighbours compare a hash of
//!     what they hold when they connect and on a timer, and send what the other lacks. A revocation
//!     is forgotten after [`REVOCATION_LASTS`], when all that it revoked has long expired.
//! 11. **Cutting.** A neighbour whose capability is revoked, or has expired, is cut.
//! 12. **Bounds.** At most [`MAX_REVOCATIONS`] are held, and only an admin's are. Nobody is
//!     answered more often than the configuration says.
//!
//! The invariant: every neighbour's capability passed all checks, against all revocations held, at
//! the last of their changes; and it expires no sooner than the next timeout.
//!
//! **Why not Biscuit.** A capability could be a Biscuit token (`biscuit-auth` 6.0), which verifies
//! strictly too. It isn't, because whoever holds a Biscuit may append Datalog, regular expressions
//! among it, that each verifier runs under a limit of wall-clock time, so that two nodes may judge
//! one token differently and a busy one refuses a good one; because it reads the clock itself,
//! which a protocol here doesn't; because its signature may be P-256 as well, by the sender's
//! choice; and because it brings 37 packages, a second `ed25519-dalek` among them, for what are
//! four fixed fields here.

mod capability;
mod issuer;
mod keeper;
mod message;
mod revocation;
mod token;
mod wall;

use std::{fmt, str::FromStr, time::Duration};

pub use self::{
    capability::{
        Broken, Capability, CapabilityError, Grant, Holder, MAX_CAPABILITY, MAX_LINKS, Pass,
        Refusal,
    },
    issuer::Issuer,
    keeper::{Config, Input, Keeper, Output},
    message::{MAX_STATEMENTS, Message},
    revocation::{MAX_REVOCATIONS, Noted, Revocation, RevocationError, Revocations},
    token::{Invite, Membership, Ticket, TokenError, genesis_text, parse_genesis},
    wall::Wall,
};

/// How far two nodes' clocks may be apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// How long anything that is granted may last: 366 days.
pub const MAX_TERM: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long a revocation is held: twice what a capability may last, because an admin's node that
/// hasn't heard of it may renew what it revokes.
pub const REVOCATION_LASTS: Duration = Duration::from_secs(2 * 366 * 24 * 3600);

/// What a member is in the mesh, narrowest first.
///
/// The mesh itself only tells admins from the rest. A reader is one who connects, forwards and
/// reads; that nobody takes what it writes is for those who read to see to, with the role that
/// the connection was made in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Connects and reads.
    Reader,
    /// Writes too.
    Writer,
    /// Votes too, where a group's epoch names it.
    Validator,
    /// Admits others too.
    Admin,
}

impl Role {
    /// All roles, narrowest first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Writer, Self::Validator, Self::Admin];

    /// The role's name in configuration and text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Validator => "validator",
            Self::Admin => "admin",
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Reader => 0,
            Self::Writer => 1,
            Self::Validator => 2,
            Self::Admin => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.byte() == byte)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no role; those are reader, writer, validator and admin")]
pub struct ParseRoleError {
    text: String,
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| ParseRoleError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests;
