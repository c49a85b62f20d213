//! What goes into a replica and what comes out.

use std::{collections::BTreeMap, sync::Arc};

use aether_core::PublicKey;

use crate::proto::{
    access::{ChangeError, Full},
    archive::Record,
    entry::{Draft, DraftError, Misfit, Run},
    feed::{Evidence, Placed},
    id::{EntryId, FeedId, Position},
    map::Edit,
    rows::Changes,
    space::Role,
    sync::Message,
    time::Wall,
};

/// Bounds of a replica. The memory that peers can make it use is their sum.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most feeds, of some 500 bytes each. Entries of more aren't taken. 65,536 by default.
    pub max_feeds: usize,
    /// Most sessions, each with some 32 KiB for the rows of 256 feeds, and 121 bytes for each feed
    /// more. 256 by default.
    pub max_sessions: usize,
    /// Most own entries that aren't synced. 1,024 by default.
    pub max_writes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_feeds: 65_536, max_sessions: 256, max_writes: 1024 }
    }
}

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// The node's wall clock shows this now. Give it at the start and whenever the clock was set.
    Wall(Wall),
    /// A stream to a peer is open.
    Connected {
        /// Who, as authenticated.
        peer: PublicKey,
        /// Whether this end says hello first: exactly one does.
        opens: bool,
    },
    /// The stream is gone.
    Disconnected {
        /// Whose.
        peer: PublicKey,
    },
    /// A message came.
    Message {
        /// From whom.
        from: PublicKey,
        /// As it came.
        bytes: Vec<u8>,
    },
    /// A user of this node writes.
    Write {
        /// What tells this write from others, for the answer.
        token: u64,
        /// What to write. Its frontier is completed here.
        draft: Draft,
        /// Feeds that the operations refer to, at most 32: what is kept of them is cited.
        cites: Vec<FeedId>,
    },
    /// A user of this node changes maps, sets, counters and registers. All edits become visible and
    /// durable at once on this replica, in one entry or several; others see one entry at a time.
    Edit {
        /// What tells this write from others, for the answer.
        token: u64,
        /// The edits, in their order.
        edits: Vec<Edit>,
    },
    /// A user of this node changes a member's access.
    Change {
        /// What tells this write from others, for the answer.
        token: u64,
        /// Whose access.
        member: PublicKey,
        /// What to make of it.
        change: Change,
    },
    /// A user of this node, who is an owner, discards payloads: what
    /// [`find`](crate::proto::compact::find) found.
    Discard {
        /// What tells this write from others, for the answer.
        token: u64,
        /// Of which entries, by their feeds.
        runs: BTreeMap<FeedId, Vec<Run>>,
    },
    /// A user of this node offers what an archive holds, say, in the order in which it stands
    /// there: it is taken in as what a peer sends is. How much is offered that isn't synced is
    /// bounded by whoever offers it.
    Offer {
        /// What tells this offer from others, and from writes, for the answer.
        token: u64,
        /// What is offered.
        records: Vec<Record>,
    },
    /// A peer is known to lack something, or to have more: if nothing is being compared with it
    /// already, that begins now and not when the time for it has come.
    Compare {
        /// Who.
        peer: PublicKey,
    },
    /// All changes up to this generation are synced to disk, and are what the base holds.
    Persisted {
        /// That of [`Output::Persist`].
        generation: u64,
    },
    /// A write or a sync failed: nothing is taken in, written or acknowledged any more.
    Failed,
    /// The deadline of `poll_timeout` has come.
    Timeout,
}

/// A change of a member's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives it a role.
    Grant(Role),
    /// Removes it, and leaves what this replica keeps of its feeds standing.
    Remove,
}

/// What a replica wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these changes, all or nothing and after those before, and say when they are synced.
    Persist {
        /// Which changes, counted from 1.
        generation: u64,
        /// Rows that are put, and those that are deleted.
        changes: Arc<Changes>,
        /// Of each feed the last entry among them that was signed here: what is written down at an
        /// orderly end.
        own: Vec<EntryId>,
    },
    /// Send a message.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        message: Message,
    },
    /// An entry is synced here: give it to readers.
    Held {
        /// Which.
        id: EntryId,
        /// Where in the order of intake, which no entry precedes that it depends on.
        position: Position,
    },
    /// Collections were made anew, since entries were evicted that had changed them, or values were
    /// discarded that were alive: what they show may be other than what was told of each entry.
    Rebuilt,
    /// Payloads that were discarded are dropped, and synced: files may be merged.
    Dropped,
    /// The user's write is synced.
    Written {
        /// Which write.
        token: u64,
        /// The entry, or the last of several; none if there was nothing to write.
        id: Option<EntryId>,
    },
    /// What was taken in of an offer is synced.
    Offered {
        /// Which offer.
        token: u64,
        /// What became of it.
        offered: Offered,
    },
    /// The user's write wasn't done, and nothing of it ever will be; or, if the disk failed, it may
    /// be there when the replica is opened anew.
    Refused {
        /// Which write.
        token: u64,
        /// Why.
        why: WriteError,
    },
    /// An author is shown to have forked a feed, at this number or a lower one than before.
    Forked {
        /// Which feed.
        feed: FeedId,
        /// By which headers.
        evidence: Evidence,
    },
    /// Somebody has more of this node's own feed than the node itself, whose disk must be an old
    /// copy. The next write begins a new incarnation.
    Outrun {
        /// The feed that has ended.
        feed: FeedId,
    },
    /// The base couldn't be read, which ends all as [`Input::Failed`] does.
    Unreadable {
        /// What the base said.
        error: String,
    },
    /// A session has ended: close the stream.
    Close {
        /// Whose.
        peer: PublicKey,
        /// What the peer did that no honest one does, if that is why.
        fault: Option<Fault>,
    },
}

/// What became of records that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Taken in.
    pub taken: u64,
    /// Held since before.
    pub known: u64,
    /// Not taken in, through nobody's fault: something that they build on isn't here, their place
    /// is another's, or their time hasn't come. They may be offered again.
    pub left: u64,
    /// What no honest node writes down, and where: those behind it weren't looked at.
    pub fault: Option<(usize, Fault)>,
}

/// What a peer did that no honest one does. What honest nodes may disagree on (the time, what is
/// kept of a fork) is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// What it said can't be read or breaks a rule.
    Malformed,
    /// A signature isn't the author's.
    Forged,
    /// A payload isn't the header's.
    Payload,
    /// It said what nobody asked for, or out of order.
    Unasked,
}

/// Why a write wasn't done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Too many writes aren't synced.
    #[error("too many writes are not synced yet; wait for some of them")]
    Busy,
    /// The disk failed, now or before: a write, or a read of what is stored.
    #[error(
        "the disk failed, which the node's log tells more of; nothing is written until a restart"
    )]
    Failed,
    /// No feed is left.
    #[error("the space has as many feeds as are taken")]
    Feeds,
    /// The draft makes no entry.
    #[error("the draft makes no entry")]
    Draft(#[from] DraftError),
    /// The entry couldn't stand in the space: an owner's key writes no payloads, and no other key
    /// discards them.
    #[error("the entry can't stand in the space")]
    Misfit(#[from] Misfit),
    /// The changes of access, of which discarding is one, have filled their room.
    #[error("no room")]
    Full(#[from] Full),
    /// This node may not write in the space.
    #[error("this node may not write in the space; ask one of its admins to make it a writer")]
    NotGranted,
    /// The change of access wouldn't stand.
    #[error("the access can't be changed so")]
    Access(#[from] ChangeError),
    /// What this author has added to a counter altogether doesn't fit 64 bits. Nothing of the write
    /// was done.
    #[error("the edits make what this author added to a counter too large")]
    Overflow,
}

/// What became of an entry that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// It was taken in now.
    Taken(EntryId, Placed),
    /// It is kept since before.
    Known(Position),
    /// It was staged: it is kept once its chain is whole.
    Staged,
    /// It isn't kept, and that is nobody's fault: its place is another's, its parent or something
    /// it cites isn't here, or its time hasn't come.
    Not,
}
