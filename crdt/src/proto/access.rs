//! Access: who may write in a space, what is kept of each feed, and what of it counts.
//!
//! All of it is a function of the genesis and of headers: of the operations on access that are kept
//! on their feeds, and of which pinned chains are held. Nothing hangs on arrival, clocks, payloads
//! or who delivered. [`Access`] holds these facts in memory and answers from them.
//!
//! # Rules
//!
//! 1. **Authority flows down.** The ranks are those of [`Role`]: owner > admin > writer > reader. A
//!    feed has one rank for all its life, that of the [`Authority`] that its first header states:
//!    an owner's own feed, or the role of a grant. Whoever may void something stands above it, so
//!    nobody voids what voids him, and there are no circles to break. If the first headers of a
//!    forked feed disagree, [`Access::authority_of`] decides.
//! 2. **What a rank may do.** An owner's own feed grants up to admin, removes, and discards
//!    payloads. An admin's grants up to writer, and removes. A writer's does none of that. A
//!    feed is cut, on each branch, before the first operation that its rank doesn't allow:
//!    [`Access::admit`] refuses that entry, and nothing can be placed after what isn't kept.
//! 3. **Whose operations count.** All that are kept of owners' own feeds: that is A0. With A0 are
//!    judged the feeds of rank admin; the operations that count there and A0 are A1, and with A1
//!    are judged all other feeds. An operation of a feed that is void, or above what counts of it,
//!    has no effect.
//! 4. **Void.** Of a feed nothing is kept unless its authority stands: the author is an owner, or
//!    everyone may write, or the grant counts, names the author and makes it a writer at least. And
//!    of one author's feeds under one authority there are [`Incarnations`] enough.
//! 5. **Removals.** A removal that counts is about those feeds of the member whose rank is *below
//!    that of the removal's feed*, but for feeds whose grant lists it as overridden. So a removal
//!    and a grant that don't know of each other end with the member removed, and a later grant that
//!    lists the removal admits him again, with new feeds; it brings nothing of the old ones back.
//! 6. **Pins.** A removal lists the tips that it leaves standing. A feed in which some standing
//!    removal lists none is void. In any other with standing removals no hash rule applies: *kept*
//!    is the union of the chains that each of them pins, so that each can be shown to who comes
//!    later; *counted* is their intersection, the strictest.
//! 7. **Pending.** A removal is about a feed only as soon as the chains that it pins *in this feed*
//!    are held. Until then the feed goes on, and the removal is [pending](Access::pending) for it.
//!    Whoever holds the chains keeps them, so what one honest replica takes as removed all come to
//!    take so; a pin that names nothing real never counts anywhere.
//! 8. **Parts.** A removal of many tips takes several entries in a row, each but the last marked as
//!    going on. It counts when its last entry is there, under the hash of that entry's header, with
//!    the pins of all parts. One that is cut off never counts.
//!
//! Rule 7 goes by feeds and not by whole removals: else a removal that pins a chain of a feed whose
//! grant fell, which nobody is bound to keep, could never count for a newcomer; and whether it does
//! could hang on itself, if the grant is the removed member's own.
//!
//! Rule 6 voids a feed of which nothing counts even where another removal pins something of it:
//! whether anything stands under an [`Authority`] then hangs on operations alone. Did it hang on
//! chains that are held, which may be a branch under another authority, two branches of a liar
//! could take turns for ever.
//!
//! [`Header::fits`] refuses to discard outside owners' own feeds, for all replicas and
//! whatever is granted, as invalid. Rule 2 cuts it there too. Both say the same: the entry is in no
//! tree, nor is what links to it.
//!
//! One thing a removal doesn't end at once: a liar who has several grants forks the *first* entry
//! of a feed, is removed, and shows the branch under the grant that goes before. The pinned chain
//! is of the other, so the removal is pending again, and the liar writes until it is removed once
//! more, which [`Access::removal`] allows then: as often at most as it has grants.
//!
//! What is [discarded](AccessOp::Discard) is nothing to the judge: it only counts what that takes.
//! So the base of every feed is [`Tip::ROOT`].
//!
//! In a space that is open to everyone a removal bans a key, and who is banned comes back under
//! another.
//!
//! # How it is used
//!
//! One owner of a space's state does this, and nothing else touches feeds. At its start it tells of
//! the operations that are stored, and of the pinned chains. Then:
//!
//! 1. *At the door*, before a signature is checked: [`Access::admit`], with the authority that the
//!    feed's first header states.
//! 2. *After an entry was placed*: if it has an operation on access, [`Access::insert`]; and
//!    [`Access::remove`] for each operation that the entry evicted.
//! 3. *For each member that these return*: ask for the chains that are [pending](Access::pending),
//!    and tell of those that are stored or staged by [`Access::hold`]. Then, for each of the
//!    member's feeds, take the [`Standing`]: `Open`, and the feed is
//!    [opened](super::feed::Feed::open), if it was pinned; `Pinned`, and it is
//!    [pinned](super::feed::Feed::pin) to [`Pinned::tips`]; `Void`, and it is dropped. Operations
//!    that come or go by this are again told as in 2. Since authority flows down, this ends:
//!    owners' feeds never change by it, admins' only by owners', and writers' change nothing.
//! 4. *When an entry of a pinned chain is no longer stored*: [`Access::release`].
//!
//! An author makes its operations by [`Access::grant`] and [`Access::removal`].
//!
//! # Why order can't show
//!
//! With A fixed, what is kept of a feed is a reduction of a join semilattice
//! ([`feed`](super::feed), and unions of chains). A0 hangs on nothing but trees of owners' feeds,
//! A1 on A0, the rest on A1. So by induction replicas with the same trees come to the same A0, then
//! A1, then everything. Pending removals only delay.
//!
//! # Example
//!
//! ```
//! use aether_core::SecretKey;
//! use aether_crdt::proto::access::{Access, Standing};
//! use aether_crdt::proto::entry::{Authority, Draft, Place};
//! use aether_crdt::proto::{id::FeedId, space::Genesis, space::Mode, space::Role, time::Wall};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (owner, member) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]).public());
//! let genesis = Genesis::new(Mode::Granted, [7; 16], "family", [owner.public()])?;
//! let (mut access, now) = (Access::new(genesis.clone())?, Wall::from_millis(1_800_000_000_000));
//! let owners = FeedId::begin(owner.public(), now, 0x1234);
//!
//! // The owner makes the member a writer.
//! let mut draft = Draft::new();
//! draft.access(access.grant(owners, Authority::Genesis, member, Role::Writer)?);
//! let place = Place::first(genesis.space_id(), owners, Authority::Genesis);
//! let grant = draft.sign(&owner, place, now)?;
//! access.admit(grant.header(), Authority::Genesis)?;
//! assert!(access.insert(grant.header(), Authority::Genesis)?.contains(&member));
//!
//! // Under that grant, and only under it, the member's feeds stand.
//! let feed = FeedId::begin(member, now, 0x5678);
//! let granted = Authority::Grant(grant.header().id());
//! assert_eq!(access.role_of(&member), Some(Role::Writer));
//! assert_eq!(access.standing(feed, granted), Standing::Open);
//! assert!(matches!(access.standing(feed, Authority::Genesis), Standing::Void(_)));
//! # Ok(())
//! # }
//! ```
//!
//! [`Header::fits`]: super::entry::Header::fits
//! [`Tip::ROOT`]: super::feed::Tip::ROOT

mod authoring;
mod door;
mod held;
mod incarnations;
mod judge;
mod pinned;
mod room;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use aether_core::{Hash, PublicKey};

use self::{held::Held, judge::Counted, room::names};
use super::{
    entry::{AccessOp, Authority, Checked, Header},
    feed::Tip,
    id::{EntryId, FeedId},
    space::{Genesis, Mode, Role},
};

pub use self::{
    authoring::ChangeError,
    door::Refusal,
    incarnations::{Began, Incarnations, MAX_INCARNATIONS},
    judge::{Pending, Standing, Void},
    pinned::{Left, Pinned},
    room::{Full, MAX_NAMED, MAX_OPERATIONS},
};

/// Who may write in a space, as the [module](self) says.
///
/// In memory: some 300 bytes for each operation, 48 for each pin of a removal, and for each pinned
/// chain of an admin's feed the operations on it. [`MAX_OPERATIONS`] and [`MAX_NAMED`] bound it.
#[derive(Clone, Debug)]
pub struct Access {
    genesis: Genesis,
    ops: BTreeMap<EntryId, Op>,
    /// How many pins and overridden removals the operations name.
    names: usize,
    /// Which grants and removals name a member.
    about: BTreeMap<PublicKey, BTreeSet<EntryId>>,
    /// The pinned chains that are held.
    held: BTreeMap<FeedId, Held>,
    /// What counts of the feeds that have operations. Only owners' operations, which count as long
    /// as they are there, and held chains change it.
    counted: BTreeMap<(FeedId, Authority), Counted>,
}

/// An operation that is kept on its feed.
#[derive(Clone, Debug)]
struct Op {
    authority: Authority,
    parent: Option<EntryId>,
    change: AccessOp,
    counts: bool,
}

impl Op {
    /// Whom it is about; nobody, if it discards payloads.
    const fn member(&self) -> Option<PublicKey> {
        match self.change {
            AccessOp::Grant { member, .. } | AccessOp::Remove { member, .. } => Some(member),
            AccessOp::Discard { .. } => None,
        }
    }
}

impl Access {
    /// A space of which no operation is known: its owners may write, and in an open one everyone.
    ///
    /// # Errors
    /// The space's mode isn't offered yet.
    pub fn new(genesis: Genesis) -> Result<Self, ModeError> {
        if let Mode::Group(_) = genesis.mode() {
            return Err(ModeError::Group);
        }
        Ok(Self {
            genesis,
            ops: BTreeMap::new(),
            names: 0,
            about: BTreeMap::new(),
            held: BTreeMap::new(),
            counted: BTreeMap::new(),
        })
    }

    /// The space's genesis.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// How many operations are held, of [`MAX_OPERATIONS`].
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether no operation is held.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The members that operations name and that have a role, with the highest they have. As many
    /// steps as there are operations.
    pub fn members(&self) -> impl Iterator<Item = (PublicKey, Role)> {
        self.about.keys().filter_map(|member| Some((*member, self.role_of(member)?)))
    }

    /// Takes in the header of an entry that is kept on its feed, which is written by `authority`;
    /// one without an operation on access, or that is held already, changes nothing. The header
    /// [fits](Header::fits) the space. Parents come before children, as feeds place them; feeds in
    /// any order.
    ///
    /// Returns the members to judge again: their roles, feeds and pending removals may have
    /// changed, nobody else's have. An owner's operation costs as many steps as there are
    /// operations of the member that it names.
    ///
    /// # Errors
    /// The space has no room for the operation, and nothing changed. Then the entry isn't kept; it
    /// may be offered again when there is room. Until then replicas may differ.
    pub fn insert(
        &mut self,
        header: &Checked<Header>,
        authority: Authority,
    ) -> Result<BTreeSet<PublicKey>, Full> {
        debug_assert_eq!(header.space(), self.genesis.space_id(), "a header that fits");
        let mut affected = BTreeSet::new();
        let (id, Some(change)) = (header.id(), header.access()) else { return Ok(affected) };
        if self.ops.contains_key(&id) {
            return Ok(affected);
        }
        self.room(id.feed, authority, change)?;
        let change = change.clone();
        self.names += names(&change);
        let op = Op { authority, parent: header.parent(), change, counts: false };
        if let Some(member) = op.member() {
            self.about.entry(member).or_default().insert(id);
        }
        if !self.counted.contains_key(&(id.feed, authority)) {
            let counted = self.judge_ops(id.feed, authority);
            self.counted.insert((id.feed, authority), counted);
        }
        let counts = self.counts(id, &op);
        let member = op.member().filter(|_| counts);
        self.ops.insert(id, Op { counts, ..op });
        if let Some(member) = member {
            self.changed(id.feed, authority, member, &mut affected);
        }
        Ok(affected)
    }

    /// Forgets the operation of an entry that is no longer kept on its feed, and returns the
    /// members to judge again, as [`insert`](Self::insert) does.
    pub fn remove(&mut self, id: &EntryId) -> BTreeSet<PublicKey> {
        let mut affected = BTreeSet::new();
        let Some(op) = self.ops.remove(id) else { return affected };
        self.names -= names(&op.change);
        let of_feed = |other: &EntryId| other.feed == id.feed;
        let mut rest = self.ops.range(first_of(id.feed)..).take_while(|(other, _)| of_feed(other));
        if !rest.any(|(_, other)| other.authority == op.authority) {
            self.counted.remove(&(id.feed, op.authority));
        }
        let Some(member) = op.member() else { return affected };
        if let Some(about) = self.about.get_mut(&member) {
            about.remove(id);
            if about.is_empty() {
                self.about.remove(&member);
            }
        }
        if op.counts {
            self.changed(id.feed, op.authority, member, &mut affected);
        }
        affected
    }

    /// Takes note that the chain of an entry that removals pin is held, stored or staged, from
    /// number 1, and in the tree of its feed: nothing on it was refused. `ops` are those entries of
    /// the chain that have operations on access, ascending; a writer's feed has none. Returns the
    /// members to judge again.
    ///
    /// Costs as many steps as the feed has operations, for each removal of its author.
    pub fn hold(
        &mut self,
        pin: &EntryId,
        ops: impl IntoIterator<Item = Tip>,
    ) -> BTreeSet<PublicKey> {
        let tip = Tip { number: pin.number, hash: pin.hash };
        self.held.entry(pin.feed).or_default().insert(tip, ops);
        self.held_changed(pin.feed)
    }

    /// The pinned chains of a member's feeds that are held, by their tips.
    pub fn held(&self, member: &PublicKey) -> impl Iterator<Item = EntryId> {
        let first = FeedId { author: *member, incarnation: 0 };
        let of_member =
            self.held.range(first..).take_while(move |(feed, _)| feed.author == *member);
        of_member.flat_map(|(feed, held)| {
            held.pins().map(|pin| EntryId { feed: *feed, number: pin.number, hash: pin.hash })
        })
    }

    /// Takes note that such a chain is no longer held, and returns the members to judge again.
    pub fn release(&mut self, pin: &EntryId) -> BTreeSet<PublicKey> {
        let tip = Tip { number: pin.number, hash: pin.hash };
        let Some(held) = self.held.get_mut(&pin.feed) else { return BTreeSet::new() };
        if !held.remove(tip) {
            return BTreeSet::new();
        }
        if held.is_empty() {
            self.held.remove(&pin.feed);
        }
        self.held_changed(pin.feed)
    }

    /// An operation about a member that counts came or went. If it is an owner's, what counts of
    /// the member's own operations may be another.
    fn changed(
        &mut self,
        feed: FeedId,
        authority: Authority,
        member: PublicKey,
        affected: &mut BTreeSet<PublicKey>,
    ) {
        affected.insert(member);
        if self.is_owners(feed, authority) {
            let first = FeedId { author: member, incarnation: 0 };
            self.judge_again(first, |feed| feed.author == member, affected);
        }
    }

    fn held_changed(&mut self, feed: FeedId) -> BTreeSet<PublicKey> {
        let mut affected = [feed.author].into();
        self.judge_again(feed, |other| *other == feed, &mut affected);
        affected
    }

    /// Finds anew which operations of some feeds count, from `first` on, and whom that affects.
    fn judge_again(
        &mut self,
        first: FeedId,
        which: impl Fn(&FeedId) -> bool,
        affected: &mut BTreeSet<PublicKey>,
    ) {
        let from = (first, Authority::Genesis);
        let feeds = self.counted.range(from..).map(|(feed, _)| *feed);
        let feeds: Vec<_> = feeds.take_while(|(feed, _)| which(feed)).collect();
        for key in feeds {
            let counted = self.judge_ops(key.0, key.1);
            self.counted.insert(key, counted);
        }
        let ops = self.ops.range(first_of(first)..).take_while(|(id, _)| which(&id.feed));
        let turned: Vec<EntryId> =
            ops.filter(|(id, op)| self.counts(**id, op) != op.counts).map(|(id, _)| *id).collect();
        for id in turned {
            let Some(op) = self.ops.get_mut(&id) else { continue };
            op.counts = !op.counts;
            affected.extend(op.member());
        }
    }

    /// Whether an operation is allowed to its feed's rank, and what counts of the feed has it.
    fn counts(&self, id: EntryId, op: &Op) -> bool {
        let tip = Tip { number: id.number, hash: id.hash };
        let counted = self.counted.get(&(id.feed, op.authority));
        counted.is_some_and(|counted| counted.has(&op.change, tip))
    }

    fn is_owners(&self, feed: FeedId, authority: Authority) -> bool {
        authority == Authority::Genesis && self.genesis.is_owner(&feed.author)
    }
}

/// The smallest name that an entry of a feed can have.
const fn first_of(feed: FeedId) -> EntryId {
    EntryId { feed, number: 0, hash: Hash::from_bytes([0; Hash::LEN]) }
}

/// Whether a feed of a rank may hold an operation: rule 2 of the [module](self).
const fn permits(rank: Role, change: &AccessOp) -> bool {
    match (rank, change) {
        (Role::Owner, _) => true,
        (Role::Admin, AccessOp::Grant { role, .. }) => matches!(role, Role::Reader | Role::Writer),
        (Role::Admin, AccessOp::Remove { .. }) => true,
        (Role::Admin | Role::Writer | Role::Reader, _) => false,
    }
}

/// Why who may write in a space can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModeError {
    /// Its members are a group's.
    #[error("spaces whose members are a group's are not offered yet")]
    Group,
}
