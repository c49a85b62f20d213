//! What goes into a fetch and what comes out.

use std::{ops::Range, time::Duration};

use aether_core::PublicKey;

use super::super::{Ranges, frame::Why};

/// How one blob is fetched.
#[derive(Clone, Debug)]
pub struct Config {
    /// Providers that are asked at a time. More are faster if each is slow, and cost a stream each.
    pub max_parallel: usize,
    /// Providers remembered, those that lied included.
    pub max_peers: usize,
    /// Largest blob in bytes. Who claims more is no provider.
    pub max_size: u64,
    /// How much is asked for ahead of each provider, in what it sends in this time. Longer wastes
    /// more when a provider is lost or another is faster; shorter lets the pipe run dry.
    pub ahead: Duration,
    /// Most groups that one provider is asked for ahead.
    pub max_ahead: u64,
    /// Most groups in one ask, at most [`MAX_ASK_GROUPS`](super::super::frame::MAX_ASK_GROUPS).
    pub max_ask: u64,
    /// How long a provider may take to say what it holds.
    pub open_timeout: Duration,
    /// How long a provider that was asked may verify nothing, before others are asked instead.
    pub stall_timeout: Duration,
    /// How long a provider is left alone after its first loss or stall; doubled with each that
    /// follows.
    pub rest: Duration,
    /// Losses, stalls and failures in a row after which a provider isn't tried again unless it is
    /// found again.
    pub max_losses: u32,
    /// How often a provider may fail to send what it said it holds: an honest one may have lost it
    /// meanwhile.
    pub max_false_claims: u32,
    /// Groups that may be asked of a second provider while the first is slow, in the whole
    /// download.
    pub max_excess: u64,
    /// Groups behind a wanted range that are wanted next.
    pub read_ahead: u64,
    /// The group to begin with, counted round if there are fewer. Nodes that fetch the same blob at
    /// once and begin at different places soon have different parts to give to each other, and
    /// need their common source for about one copy, not one each.
    pub begin: u64,
    /// Ranges wanted at a time.
    pub max_wants: usize,
    /// Time between two reviews that let a much slower provider make room for another.
    pub review: Duration,
    /// Providers below which more are looked for.
    pub enough_peers: usize,
    /// Time between the first two searches for providers. Each later one waits twice as long.
    pub want_interval: Duration,
    /// Longest time between two such searches.
    pub max_want_interval: Duration,
    /// How long to go on without anything verified before giving up.
    pub patience: Duration,
    /// Shortest time between two notices of progress.
    pub progress_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_parallel: 8,
            max_peers: 128,
            max_size: 1 << 42,
            ahead: Duration::from_millis(750),
            max_ahead: 2048,
            max_ask: 256,
            open_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(8),
            rest: Duration::from_secs(1),
            max_losses: 6,
            max_false_claims: 3,
            max_excess: 256,
            read_ahead: 64,
            begin: 0,
            max_wants: 16,
            review: Duration::from_secs(10),
            enough_peers: 3,
            want_interval: Duration::from_secs(1),
            max_want_interval: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            progress_interval: Duration::from_millis(100),
        }
    }
}

/// What can happen to a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This node may hold the blob.
    Found {
        /// Who.
        peer: PublicKey,
        /// Whether to try it before others: the user or the one who named the blob said so.
        preferred: bool,
    },
    /// A provider said what it holds, with [`Frame::Held`](super::super::frame::Frame::Held).
    Held {
        /// Who.
        peer: PublicKey,
        /// The size that it claims.
        size: u64,
        /// The groups that it claims to hold.
        groups: Ranges,
    },
    /// A provider said that it holds nothing.
    NotHeld {
        /// Who.
        peer: PublicKey,
    },
    /// Groups of an ask were verified under the size that their provider claims, and written. On
    /// disk for good only if the store says so: what a crash takes is asked for again.
    Verified {
        /// Who sent them.
        peer: PublicKey,
        /// In answer to which ask.
        ask: u32,
        /// Which.
        groups: Range<u64>,
    },
    /// A provider sent bytes that don't verify, or what no correct provider sends.
    Wrong {
        /// Who.
        peer: PublicKey,
        /// What.
        fault: Blame,
    },
    /// A provider ended an ask before all was sent.
    Ended {
        /// Who.
        peer: PublicKey,
        /// The ask.
        ask: u32,
        /// Why.
        why: Why,
    },
    /// A provider has no room for an ask, or for the stream at all (0).
    Busy {
        /// Who.
        peer: PublicKey,
        /// The ask, or 0.
        ask: u32,
        /// How long it asks us to wait.
        retry_after: Duration,
    },
    /// A provider's stream can't be opened, or has ended.
    Lost {
        /// Who.
        peer: PublicKey,
    },
    /// A reader waits for these groups: they come first, in order. Replaces what this reader wanted
    /// before. Beyond `max_wants` readers it is ignored: what they want comes all the same, later.
    Want {
        /// The reader's number.
        reader: u64,
        /// The groups. What lies beyond the end of the blob is ignored.
        groups: Range<u64>,
    },
    /// This reader wants nothing any more.
    Unwant {
        /// The reader's number.
        reader: u64,
    },
    /// The store can't be written.
    StoreFailed,
    /// Nobody wants the blob any more.
    Cancel,
    /// The time asked for has come.
    Timeout,
}

/// What a fetch wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a stream to this node and say [`Frame::Get`](super::super::frame::Frame::Get).
    Open {
        /// Who.
        peer: PublicKey,
    },
    /// Close this node's stream. Nothing of it counts any more: say nothing about it, not even
    /// that it is lost.
    Close {
        /// Who.
        peer: PublicKey,
    },
    /// Send this ask. What comes in answer is to be verified under `size`.
    Ask {
        /// To whom.
        peer: PublicKey,
        /// Its number.
        ask: u32,
        /// The size that the provider claims.
        size: u64,
        /// The groups.
        groups: Ranges,
    },
    /// Cancel this ask. Pieces of it that still come are dropped unread.
    Cancel {
        /// To whom.
        peer: PublicKey,
        /// Its number.
        ask: u32,
    },
    /// The size is proved: the last group was verified under it.
    Proved {
        /// The blob's size in bytes.
        size: u64,
    },
    /// This node lied, and isn't used again in this download: count it against the node, and tell
    /// the [finder](super::super::finder) that it is no holder.
    Blame {
        /// Who.
        peer: PublicKey,
        /// What it did.
        blame: Blame,
    },
    /// This node holds nothing: tell the [finder](super::super::finder).
    Useless {
        /// Who.
        peer: PublicKey,
    },
    /// Look for more providers, and say [`Input::Found`] of each.
    WantProviders,
    /// So much is held. At most once every `progress_interval`.
    Progress {
        /// Groups held.
        held: u64,
        /// Groups in all.
        of: u64,
    },
    /// All is held. Nothing follows.
    Done,
    /// The download has ended without all. Nothing follows.
    Failed(Failure),
}

/// What a node did that no honest one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Blame {
    /// Sent bytes that aren't the blob's.
    #[error("sent bytes that are not the content")]
    WrongBytes,
    /// Claimed a size that isn't the blob's, or two.
    #[error("claimed a false size")]
    FalseSize,
    /// Too often didn't have what it said to hold.
    #[error("claimed to hold what it does not")]
    FalseClaim,
    /// Sent what is no frame, or one that has no place there.
    #[error("broke the protocol")]
    Protocol,
}

/// Why a node is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// It lied.
    #[error(transparent)]
    Lied(#[from] Blame),
    /// It holds nothing of the blob.
    #[error("does not hold the blob")]
    NotHeld,
    /// It claims a larger blob than may be fetched.
    #[error("claims a blob larger than allowed")]
    TooLarge,
    /// It said nothing, or its bytes stopped coming.
    #[error("stopped answering")]
    Silent,
    /// Its stream can't be opened, or ended.
    #[error("the connection was lost")]
    Lost,
    /// It has no room.
    #[error("is busy")]
    Busy,
    /// It can't read its own store.
    #[error("can not read what it holds")]
    Failed,
}

/// Why a download ended, and what is known of those who were asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// The last trouble with each provider that had any, at most `max_peers`.
    pub peers: Vec<(PublicKey, Trouble)>,
}

/// Why a download ended without all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The user cancelled it.
    #[error("the download was cancelled")]
    Cancelled,
    /// The store failed.
    #[error("the blob can not be written; see to the disk and try again")]
    Store,
    /// For `patience` nothing came.
    #[error("nobody who can be reached sends the blob; try again when a holder is online")]
    NoProviders,
}

/// What a fetch did, counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups verified that weren't held.
    pub verified: u64,
    /// Groups verified that were held already.
    pub excess: u64,
    /// Groups asked of a second provider because the first was slow.
    pub doubled: u64,
    /// Asks sent.
    pub asks: u64,
    /// Times that a provider stalled.
    pub stalls: u64,
    /// Groups verified of asks that had ended: not counted as held.
    pub late: u64,
}
