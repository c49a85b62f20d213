//! What documents are run with, hand out, and answer.

use std::time::Duration;

use crate::proto::document::{
    ActorId, ChangeHash, Why,
    body::{Committed, Refused, Settings},
    patch::Patch,
};

/// How a document is run.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What its body is opened with.
    pub settings: Settings,
    /// How long edits are gathered into one change. Automerge's memory goes by changes: 150 to 270
    /// bytes for each. Zero makes one of each edit.
    pub coalesce: Duration,
    /// How long changes of others are gathered into one batch: they are shown so much later.
    pub gather: Duration,
    /// Edits of one object are undone together if they are no further apart.
    pub undo_pause: Duration,
    /// Most bytes of changes that wait for others.
    pub max_waiting: usize,
}

impl Config {
    /// Gathers edits for 100 ms and changes for 20 ms, undoes what is no further apart than half a
    /// second, and keeps at most 16 MiB waiting.
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            coalesce: Duration::from_millis(100),
            gather: Duration::from_millis(20),
            undo_pause: Duration::from_millis(500),
            max_waiting: 16 << 20,
        }
    }
}

/// Why what is shown became different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An edit.
    Local,
    /// Undo or redo.
    Undo,
    /// Changes of others.
    Remote,
    /// Changes were set aside.
    Rebuilt,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A change of our own: to be appended to the feed, in the lane of this actor.
    Append(ActorId, Committed),
    /// Tell subscribers.
    Patches(Origin, Vec<Patch>),
    /// A change is void: say so in the history, and keep its entry.
    Void(ChangeHash, Why),
    /// Pending edits were taken back, since every replica would refuse them: tell the user.
    Lost(Refused),
    /// Automerge panicked, and the document is asleep: [wake](super::Document::wake) it from its
    /// last file and its entries. If that happens again at the same changes, leave it closed. Edits
    /// that were pending are lost.
    Broken,
}

/// What became of a change that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is applied, or will be with the next batch.
    Taken,
    /// It waits for changes that it builds on, or for an entry that covers them.
    Waiting,
    /// It is void.
    Void(Why),
    /// There is no room to let it wait: give it again when others have come.
    Full,
    /// The document is asleep: give it again when it is awake.
    Asleep,
}

/// What is left of a document that sleeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slept {
    /// For [`Document::wake`](super::Document::wake).
    pub file: Vec<u8>,
    /// The changes on which no other builds.
    pub heads: Vec<ChangeHash>,
    /// Changes that were received and aren't in the file: they must be given again after waking.
    pub missing: Vec<ChangeHash>,
}
