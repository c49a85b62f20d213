//! The judge: what the operations that count make of feeds and members. See rules 3 to 8 of the
//! [module](super).

use std::collections::BTreeSet;

use aether_core::{Hash, PublicKey};

use super::{Access, Left, Pinned, permits};
use crate::proto::{
    entry::{AccessOp, Authority, FeedPin},
    feed::Tip,
    id::{EntryId, FeedId},
    space::{Mode, Role},
};

/// What is kept of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: the feed is dropped, and none of its entries taken.
    Void(Void),
    /// Trunk and two lanes, all of which counts.
    Open,
    /// What the removals of its author leave of it, each of them something: that may be more than
    /// counts.
    Pinned(Pinned),
}

/// Why nothing is kept of a feed. All of these may pass, when other headers are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Void {
    /// It states no grant, and its author is no owner of this space, which isn't open to everyone.
    #[error("the author is a stranger here")]
    Stranger,
    /// The grant that it states isn't held, is no grant of its author's, or doesn't count.
    #[error("the grant of the feed does not stand")]
    Grant,
    /// The grant makes its author a reader.
    #[error("a reader writes nothing")]
    Reader,
    /// Its author was removed, and a removal leaves nothing of it standing.
    #[error("the author was removed, and nothing of the feed left standing")]
    Removed {
        /// A removal that says so: its last entry, if it has several.
        by: EntryId,
    },
}

/// A chain that a removal pins and that isn't held: for the feed that it is of, the removal doesn't
/// count yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pending {
    /// The tip of the chain.
    pub pin: EntryId,
    /// The removal: its last entry, if it has several.
    pub removal: EntryId,
}

/// Which operations of a feed count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// None.
    Nothing,
    /// All that its rank allows.
    All(Role),
    /// These, so far as its rank allows them.
    Some(Role, BTreeSet<Tip>),
}

impl Counted {
    /// Whether this one counts.
    pub(super) fn has(&self, change: &AccessOp, tip: Tip) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(rank) => permits(*rank, change),
            Self::Some(rank, tips) => permits(*rank, change) && tips.contains(&tip),
        }
    }
}

impl Access {
    /// What is kept of a feed that is written by `authority`, which its first header states. The
    /// feed needn't exist.
    ///
    /// A few look-ups for each removal of the author, and one for each pin of theirs.
    pub fn standing(&self, feed: FeedId, authority: Authority) -> Standing {
        let (rank, over) = match self.given(feed, authority) {
            Ok(given) => given,
            Err(void) => return Standing::Void(void),
        };
        let held = self.held.get(&feed);
        let mut removals = Vec::new();
        for removal in self.removals(feed.author, rank).filter(|id| !overrides(over, id)) {
            let pins = self.pins(removal).filter(|pin| pin.incarnation == feed.incarnation);
            let tips: BTreeSet<Tip> = pins.map(tip_of).collect();
            if tips.is_empty() {
                return Standing::Void(Void::Removed { by: removal });
            }
            // Rule 7.
            if tips.iter().all(|tip| held.is_some_and(|held| held.has(*tip))) {
                removals.push(Left { removal, tips: tips.into_iter().collect() });
            }
        }
        if removals.is_empty() { Standing::Open } else { Standing::Pinned(Pinned::new(removals)) }
    }

    /// Whether a removal is about a feed that is written by `authority`, once the chains that it
    /// pins there are held: it stands, from above the feed's rank, and the grant doesn't override
    /// it. Rule 5 of the [module](super).
    pub fn is_about(&self, removal: EntryId, feed: FeedId, authority: Authority) -> bool {
        let Ok((rank, over)) = self.given(feed, authority) else { return false };
        !overrides(over, &removal) && self.removals(feed.author, rank).any(|id| id == removal)
    }

    /// The rank of a feed, unless its authority doesn't stand. Removals aren't looked at.
    pub fn rank(&self, feed: FeedId, authority: Authority) -> Result<Role, Void> {
        self.given(feed, authority).map(|(rank, _)| rank)
    }

    /// Under which of several authorities a feed is written: `stated` are those that first headers
    /// of it state, of which an honest author signs one. `None` if none of them stands.
    ///
    /// It is the one of the highest rank that isn't void, and of several the smallest. Branches
    /// under another are no part of the feed's tree, whatever their hashes: so a feed has one rank,
    /// everywhere the same one, and that of an admin hangs on owners' operations only.
    pub fn authority_of(
        &self,
        feed: FeedId,
        stated: impl IntoIterator<Item = Authority>,
    ) -> Option<Authority> {
        let stands = |authority: &Authority| match self.standing(feed, *authority) {
            Standing::Void(_) => None,
            Standing::Open | Standing::Pinned(_) => self.rank(feed, *authority).ok(),
        };
        let ranked =
            stated.into_iter().filter_map(|authority| Some((stands(&authority)?, authority)));
        ranked.min_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1))).map(|(_, authority)| authority)
    }

    /// By what an author may write in a feed that it begins now: of those that stand, the one of
    /// the highest rank, and of several the smallest. `None` if it may write nothing.
    pub fn authority_for(&self, feed: FeedId) -> Option<Authority> {
        let grant = |(id, change): (EntryId, &AccessOp)| {
            matches!(change, AccessOp::Grant { .. }).then_some(Authority::Grant(id))
        };
        let grants = self.about(feed.author).filter_map(grant);
        let all = std::iter::once(Authority::Genesis).chain(grants);
        let open = all.filter(|by| self.standing(feed, *by) == Standing::Open);
        self.authority_of(feed, open)
    }

    /// What a member may do: the highest role under which a feed that it began now would stand, or
    /// reader, if it may read. `None` for a stranger to a space that isn't everyone's to read.
    ///
    /// A removal shows here as soon as it is whole, though it be pending for older feeds. As many
    /// steps as operations name the member.
    pub fn role_of(&self, member: &PublicKey) -> Option<Role> {
        if self.genesis.is_owner(member) {
            return Some(Role::Owner);
        }
        let everyone = match self.genesis.mode() {
            Mode::Open if self.removals(*member, Role::Writer).next().is_none() => {
                Some(Role::Writer)
            }
            Mode::Open | Mode::Readable => Some(Role::Reader),
            Mode::Granted | Mode::Group(_) => None,
        };
        self.granted_role(member).max(everyone)
    }

    /// The highest role that a grant gives the member, against all removals.
    pub(super) fn granted_role(&self, member: &PublicKey) -> Option<Role> {
        let below_admin: Vec<EntryId> = self.removals(*member, Role::Writer).collect();
        let below_owner: Vec<EntryId> = self.removals(*member, Role::Admin).collect();
        let granted = self.about(*member).filter_map(|(_, change)| {
            let AccessOp::Grant { role, over, .. } = change else { return None };
            let removals = if *role == Role::Admin { &below_owner } else { &below_admin };
            // A shorter list can't override them all, and lists are short.
            let stands = removals.len() <= over.len()
                && removals.iter().all(|removal| overrides(over, removal));
            stands.then_some(*role)
        });
        granted.max()
    }

    /// The chains that standing removals of a member pin and that aren't held, ascending: to be
    /// asked for, unless their feed is known to be void, and staged. [`hold`](Self::hold) says when
    /// they are there.
    ///
    /// A removal whose pins name nothing real stays pending for ever: a status should show it.
    pub fn pending(&self, member: &PublicKey) -> Vec<Pending> {
        let mut pending = Vec::new();
        for removal in self.removals(*member, Role::Reader) {
            for pin in self.pins(removal) {
                let (tip, pin) = (tip_of(pin), pin.entry(*member));
                if self.held.get(&pin.feed).is_none_or(|held| !held.has(tip)) {
                    pending.push(Pending { pin, removal });
                }
            }
        }
        pending.sort_unstable();
        pending.dedup();
        pending
    }

    /// The rank that an authority gives a feed, and the removals that it overrides: rule 4 of the
    /// [module](super).
    fn given(&self, feed: FeedId, authority: Authority) -> Result<(Role, &[Hash]), Void> {
        let Authority::Grant(grant) = authority else {
            return match self.genesis.mode() {
                _ if self.genesis.is_owner(&feed.author) => Ok((Role::Owner, &[])),
                Mode::Open => Ok((Role::Writer, &[])),
                _ => Err(Void::Stranger),
            };
        };
        match self.ops.get(&grant).filter(|op| op.counts).map(|op| &op.change) {
            Some(AccessOp::Grant { member, role, over }) if *member == feed.author => match role {
                Role::Reader => Err(Void::Reader),
                role => Ok((*role, over)),
            },
            _ => Err(Void::Grant),
        }
    }

    /// The operations about a member that count, ascending.
    pub(super) fn about(&self, member: PublicKey) -> impl Iterator<Item = (EntryId, &AccessOp)> {
        let ids = self.about.get(&member).into_iter().flatten();
        let ops = ids.filter_map(|id| Some((*id, self.ops.get(id)?)));
        ops.filter(|(_, op)| op.counts).map(|(id, op)| (id, &op.change))
    }

    /// The whole removals of a member that count against feeds of `rank`, by their last entries,
    /// ascending.
    pub(super) fn removals(&self, member: PublicKey, rank: Role) -> impl Iterator<Item = EntryId> {
        self.about(member)
            .filter(|(_, change)| matches!(change, AccessOp::Remove { more: false, .. }))
            .map(|(id, _)| id)
            .filter(move |id| self.rank_of_op(id) > rank)
    }

    /// The rank of the feed of an operation that counts: owners' and admins' alone do.
    fn rank_of_op(&self, id: &EntryId) -> Role {
        match self.ops.get(id) {
            Some(op) if self.is_owners(id.feed, op.authority) => Role::Owner,
            _ => Role::Admin,
        }
    }

    /// The pins of a removal, given its last entry: of all its parts.
    fn pins(&self, last: EntryId) -> impl Iterator<Item = &FeedPin> {
        let part = |id: &EntryId| match self.ops.get(id).map(|op| (op.parent, &op.change)) {
            Some((parent, AccessOp::Remove { member, pins, more })) => {
                Some((parent, *member, pins, *more))
            }
            _ => None,
        };
        let parts = std::iter::successors(part(&last), move |(parent, member, ..)| {
            let before = part(parent.as_ref()?);
            before.filter(|(_, other, _, more)| *more && other == member)
        });
        parts.flat_map(|(_, _, pins, _)| pins)
    }

    /// What counts of a feed that holds operations: rule 3 of the [module](super).
    pub(super) fn judge_ops(&self, feed: FeedId, authority: Authority) -> Counted {
        let Ok((rank, _)) = self.given(feed, authority) else { return Counted::Nothing };
        let pinned = match self.standing(feed, authority) {
            Standing::Void(_) => return Counted::Nothing,
            Standing::Open => return Counted::All(rank),
            Standing::Pinned(pinned) => pinned,
        };
        let Some(held) = self.held.get(&feed) else { return Counted::Nothing };
        let left = pinned.removals().iter().map(|left| held.on(left.tips.iter().copied()));
        let all = left.reduce(|some, other| some.intersection(&other).copied().collect());
        Counted::Some(rank, all.unwrap_or_default())
    }
}

fn overrides(over: &[Hash], removal: &EntryId) -> bool {
    over.binary_search(&removal.hash).is_ok()
}

const fn tip_of(pin: &FeedPin) -> Tip {
    Tip { number: pin.number, hash: pin.hash }
}
