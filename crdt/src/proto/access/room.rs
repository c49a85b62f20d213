//! How many operations a space holds.

use super::Access;
use crate::proto::{
    entry::{AccessOp, Authority},
    id::FeedId,
};

/// Most operations on access in a space.
pub const MAX_OPERATIONS: usize = 65_536;

/// Most pins, overridden removals and runs of discarded entries that the operations of a space name
/// in all.
pub const MAX_NAMED: usize = 4 * MAX_OPERATIONS;

/// What owners alone may fill of either bound, as a fraction: so an admin who fills the space can
/// still be removed.
pub(super) const RESERVE: usize = 16;

/// How many pins, overridden removals or runs an operation names.
pub(super) const fn names(change: &AccessOp) -> usize {
    match change {
        AccessOp::Grant { over, .. } => over.len(),
        AccessOp::Remove { pins, .. } => pins.len(),
        AccessOp::Discard { runs, .. } => runs.len(),
    }
}

impl Access {
    /// Whether the space has room for an operation.
    pub(super) fn room(
        &self,
        feed: FeedId,
        authority: Authority,
        change: &AccessOp,
    ) -> Result<(), Full> {
        self.room_for(feed, authority, 1, names(change))
    }

    /// Whether an owner may discard payloads by these operations, and leave half of the room for
    /// who is granted and removed.
    ///
    /// # Errors
    /// It may not.
    pub fn may_discard(&self, feed: FeedId, operations: &[AccessOp]) -> Result<(), Full> {
        let names: usize = operations.iter().map(names).sum();
        let (ops, half) = (operations.len() + MAX_OPERATIONS / 2, MAX_NAMED / 2);
        self.room_for(feed, Authority::Genesis, ops, names.saturating_add(half))
    }

    /// Whether it has room for so many operations, which name so many entries in all.
    pub(super) fn room_for(
        &self,
        feed: FeedId,
        authority: Authority,
        ops: usize,
        names: usize,
    ) -> Result<(), Full> {
        let of = |most: usize| match self.is_owners(feed, authority) {
            true => most,
            false => most - most / RESERVE,
        };
        let ops = self.ops.len().saturating_add(ops);
        let names = self.names.saturating_add(names);
        if ops > of(MAX_OPERATIONS) || names > of(MAX_NAMED) { Err(Full) } else { Ok(()) }
    }
}

/// The operations on access have filled their room: of 65,536 operations and 262,144 entries that
/// they name, a sixteenth is for owners alone. An owner makes room by removing an admin who filled
/// it, and pinning little of his feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the space has no room for one more change of access")]
pub struct Full;
