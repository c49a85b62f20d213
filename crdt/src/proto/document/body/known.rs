//! What a body knows of its changes: the index, made when it is first asked for.

use automerge::Automerge;

use super::{Body, Broken, Core, guarded};
use crate::proto::document::{ActorId, Change, Index};

/// What was made of all changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) index: Index,
    /// Number of the last operation in the document, without those pending.
    last_op: u32,
}

/// What is known where nothing can be.
static NOTHING: Index = Index::new();

impl Known {
    /// Judges all changes of a document, which were in one of ours before.
    fn of(document: &Automerge) -> Result<Self, Broken> {
        let mut known = Self::default();
        for change in guarded(|| document.get_changes(&[]))? {
            let actor = change.actor_id().to_bytes().try_into().map(ActorId).map_err(|_| Broken)?;
            let change = Change::decode(change.raw_bytes(), &actor).map_err(|_| Broken)?;
            // They were covered by their entries when they came, and their closures are as they
            // were, so the verdicts are too.
            let last_op = known.index.take(&change, u64::MAX, |_| true).map_err(|_| Broken)?;
            known.reach(last_op.unwrap_or(0));
        }
        Ok(known)
    }

    pub(super) const fn last_op(&self) -> u32 {
        self.last_op
    }

    /// The document has this operation now.
    pub(super) fn reach(&mut self, op: u32) {
        self.last_op = self.last_op.max(op);
    }
}

impl Body {
    /// The changes in it, applied or only taken. Empty in a body that is
    /// [broken](Self::is_broken).
    ///
    /// The first call after a [load](Self::load) judges all changes, which takes as long again as
    /// the load, or twice, and at its peak some 300 bytes for each unit of
    /// [weight](crate::proto::document::weight).
    pub fn index(&self) -> &Index {
        self.known().map_or(&NOTHING, |known| &known.index)
    }

    /// Makes the index, if it isn't made: what comes next is fast.
    pub fn make_ready(&self) {
        // Whether it can be made shows when it is needed.
        let _ = self.known();
    }

    pub(super) fn last_op(&self) -> u32 {
        self.known().map_or(0, |known| known.last_op())
    }

    pub(super) fn known(&self) -> Result<&Known, Broken> {
        let known = self.known.get_or_init(|| match &self.core {
            Core::Idle(document) => Known::of(document),
            // Before a transaction is opened, the index is made.
            Core::Open(_) | Core::Broken => Err(Broken),
        });
        known.as_ref().map_err(|broken| *broken)
    }

    pub(super) fn known_mut(&mut self) -> Result<&mut Known, Broken> {
        self.known()?;
        self.known.get_mut().and_then(|known| known.as_mut().ok()).ok_or(Broken)
    }
}
