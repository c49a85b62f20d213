//! How an author makes operations on access out of what stands now.

use aether_core::PublicKey;

use super::{Access, Full, Standing, Void, room::names};
use crate::proto::{
    entry::{AccessError, AccessOp, Authority, FeedPin, MAX_OVER, MAX_PINS},
    id::FeedId,
    space::{Mode, Role},
};

/// Why an author can't change a member's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Nothing that the author writes in the feed would stand.
    #[error("the author's feed does not stand")]
    Void(#[from] Void),
    /// The author was removed: what it writes in the feed counts no more.
    #[error("the author was removed")]
    Removed,
    /// The author is neither owner nor admin in the feed.
    #[error("a {rank} changes nobody's access")]
    Rank {
        /// The feed's rank.
        rank: Role,
    },
    /// The role is above what the author may grant, or the member above whom it may remove.
    #[error("an {rank} can neither grant the role of {role} nor take it away")]
    Above {
        /// The author's rank.
        rank: Role,
        /// The role asked for, or that the member has.
        role: Role,
    },
    /// The member is an owner, or is to become one: owners are founded with the space, for ever.
    #[error("the owners of a space are the same for ever")]
    Owner,
    /// The member has the role, or a higher one: to lower it, remove the member first.
    #[error("the member is a {role} already")]
    Has {
        /// What it has.
        role: Role,
    },
    /// No grant that stands names the member.
    #[error("no grant names the member")]
    Unknown,
    /// The member was removed, and nothing of that is pending.
    #[error("the member was removed already")]
    AlreadyRemoved,
    /// More removals stand against the member than one grant overrides: it needs a new key.
    #[error("more removals stand against the member than a grant can override, which are 16")]
    TooManyRemovals,
    /// What is to be left standing breaks the rules of pins.
    #[error("what the removal leaves standing breaks the rules of pins")]
    Pins(#[from] AccessError),
    /// The space has no room.
    #[error("no room")]
    Full(#[from] Full),
}

impl Access {
    /// The operation by which the author of a feed, present or about to begin, gives a member a
    /// role. It overrides every removal that stands now against the role.
    ///
    /// # Errors
    /// Why the operation would have no effect. None is made.
    pub fn grant(
        &self,
        feed: FeedId,
        authority: Authority,
        member: PublicKey,
        role: Role,
    ) -> Result<AccessOp, ChangeError> {
        let rank = self.powers(feed, authority)?;
        if self.genesis().is_owner(&member) || role == Role::Owner {
            return Err(ChangeError::Owner);
        }
        if role >= rank {
            return Err(ChangeError::Above { rank, role });
        }
        if let Some(role) = self.role_of(&member).filter(|has| *has >= role) {
            return Err(ChangeError::Has { role });
        }
        let removals = self.removals(member, role).take(MAX_OVER + 1).map(|id| id.hash);
        let mut over: Vec<_> = removals.collect();
        if over.len() > MAX_OVER {
            return Err(ChangeError::TooManyRemovals);
        }
        over.sort_unstable();
        let change = AccessOp::Grant { member, role, over };
        self.room(feed, authority, &change)?;
        Ok(change)
    }

    /// The operations by which the author of a feed, present or about to begin, removes a member
    /// and leaves `tips` of the member's feeds standing: those that the author holds, several of a
    /// forked feed. They go into consecutive entries, in this order. What isn't on the way to one
    /// of the tips is void for good, also what the author doesn't hold.
    ///
    /// The author counts the removal from the start if it holds the chains to the tips, and
    /// [says so](Self::hold).
    ///
    /// # Errors Why the operation would have no effect. None is made. A member who was removed can
    /// be removed again as long as something of that is pending, with tips that exist.
    pub fn removal(
        &self,
        feed: FeedId,
        authority: Authority,
        member: PublicKey,
        tips: impl IntoIterator<Item = FeedPin>,
    ) -> Result<Vec<AccessOp>, ChangeError> {
        let rank = self.powers(feed, authority)?;
        if self.genesis().is_owner(&member) {
            return Err(ChangeError::Owner);
        }
        let is_granted = self.about(member).any(|(_, op)| matches!(op, AccessOp::Grant { .. }));
        if !is_granted && self.genesis().mode() != Mode::Open {
            return Err(ChangeError::Unknown);
        }
        match self.granted_role(&member) {
            Some(role) if role >= rank => return Err(ChangeError::Above { rank, role }),
            Some(_) => {}
            None => {
                let stands = self.removals(member, Role::Reader).next().is_none();
                if !stands && self.pending(&member).is_empty() {
                    return Err(ChangeError::AlreadyRemoved);
                }
            }
        }
        let mut pins: Vec<FeedPin> = tips.into_iter().collect();
        pins.sort_unstable();
        pins.dedup();
        let parts = pins.len().div_ceil(MAX_PINS).max(1);
        let change = |part: usize| {
            let pins = pins.iter().skip(part * MAX_PINS).take(MAX_PINS).copied().collect();
            AccessOp::Remove { member, pins, more: part + 1 < parts }
        };
        let changes: Vec<AccessOp> = (0..parts).map(change).collect();
        for change in &changes {
            change.encode()?;
        }
        self.room_for(feed, authority, changes.len(), changes.iter().map(names).sum())?;
        Ok(changes)
    }

    /// The rank by which an author may change access in a feed.
    fn powers(&self, feed: FeedId, authority: Authority) -> Result<Role, ChangeError> {
        match self.standing(feed, authority) {
            Standing::Void(void) => return Err(void.into()),
            Standing::Pinned(_) => return Err(ChangeError::Removed),
            Standing::Open => {}
        }
        match self.rank(feed, authority)? {
            rank @ (Role::Owner | Role::Admin) => Ok(rank),
            rank @ (Role::Writer | Role::Reader) => Err(ChangeError::Rank { rank }),
        }
    }
}
