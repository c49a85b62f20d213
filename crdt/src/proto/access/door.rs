//! The door: which entries may be taken at all, told before a signature is checked.

use super::{Access, Full, Standing, Void, permits};
use crate::proto::{
    entry::{Authority, Header},
    space::Role,
};

/// Why an entry isn't taken. None of these is a fault of who offers it: it may hold headers that
/// aren't held here, and the entry may be taken when they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing of its feed is kept.
    #[error("the feed is void")]
    Void(#[from] Void),
    /// It changes access in a way that its feed's rank doesn't allow: the feed is cut before it.
    #[error("a feed of an {rank} may not change access like that")]
    Beyond {
        /// The feed's rank.
        rank: Role,
    },
    /// It changes access, and the space has no room for that.
    #[error("no room")]
    Full(#[from] Full),
}

impl Access {
    /// Whether an entry of a feed that is written by `authority` may be taken, as far as access
    /// goes: whether it has its place in the feed is for
    /// [`Feed::judge`](crate::proto::feed::Feed::judge), and whether it fits the space for
    /// [`Header::fits`]. What that finds `Pinned` may still be staged, if it is on the way to a pin
    /// that is [pending](Self::pending). The header needs no checked signature yet.
    ///
    /// Costs what [`standing`](Self::standing) does.
    pub fn admit(&self, header: &Header, authority: Authority) -> Result<(), Refusal> {
        let rank = self.rank(header.feed(), authority)?;
        if let Standing::Void(void) = self.standing(header.feed(), authority) {
            return Err(void.into());
        }
        let Some(change) = header.access() else { return Ok(()) };
        if !permits(rank, change) {
            return Err(Refusal::Beyond { rank });
        }
        if !self.ops.contains_key(&header.id()) {
            self.room(header.feed(), authority, change)?;
        }
        Ok(())
    }
}
