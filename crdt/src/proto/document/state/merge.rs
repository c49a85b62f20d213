//! Drafts: begun of what is shown, and merged into it.

use aether_core::Time;

use super::{Document, Origin, Output};
use crate::proto::document::{
    ChangeHash,
    body::{Broken, CommitError},
    draft::{Draft, MergeError},
    edit::Edited,
};

impl Document {
    /// A draft of the document, or of what it was at these heads; `None` while it sleeps, or if it
    /// doesn't have that version. It must be [given a name](Draft::write_as) before it is edited.
    pub fn draft(&mut self, at: Option<&[ChangeHash]>) -> Option<Draft> {
        self.settle();
        let drafted = Draft::new(self.body.as_ref()?, at);
        drafted.ok().flatten()
    }

    /// Merges a draft: its changes are handed out, and shown, as edits of our own, which are undone
    /// together. Says whether it had any; `None` while it sleeps. It can be edited on, and merged
    /// again.
    ///
    /// # Errors
    /// What it was made of doesn't count any more.
    pub fn merge(&mut self, now: Time, draft: &mut Draft) -> Option<Result<bool, MergeError>> {
        self.settle();
        self.body.as_ref()?;
        let merged = self.take_in(draft);
        if let Ok(true) = merged {
            let inverse = std::mem::take(&mut draft.inverse);
            self.history.barrier();
            self.history.record(now, &Edited { patches: Vec::new(), inverse });
            self.history.barrier();
        }
        Some(merged)
    }

    fn take_in(&mut self, draft: &mut Draft) -> Result<bool, MergeError> {
        draft.commit();
        if let Some(lost) = draft.lost() {
            return Err(lost.into());
        }
        let Some(body) = &mut self.body else { return Err(CommitError::Broken(Broken).into()) };
        if draft.changes.is_empty() {
            return Ok(false);
        }
        if !draft.base().iter().all(|change| body.index().contains(change)) {
            return Err(MergeError::Base);
        }
        let actor = draft.actor();
        // All or none: once the first is taken, each other has the same closure as in the draft.
        for change in &draft.changes {
            let taken = body.take(&change.bytes, &actor, |_| true);
            taken.map_err(CommitError::Refused)?;
        }
        match body.apply() {
            Ok(patches) => self.outputs.push_back(Output::Patches(Origin::Local, patches)),
            Err(broken) => {
                self.broken();
                return Err(CommitError::Broken(broken).into());
            }
        }
        for change in draft.changes.drain(..) {
            self.outputs.push_back(Output::Append(actor, change));
        }
        Ok(true)
    }
}
