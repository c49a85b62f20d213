//! Drafts: branches of a document that nobody else sees until they are merged.
//!
//! A draft is a body of its own, of what the document was at a version. Its edits become changes of
//! a lane that nothing else is written in meanwhile, and which build on that version; merging hands
//! these very changes out. So the invariant is
//!
//! > a merged draft is what it would be, had another author made its edits at the version that it
//! > began with, without knowing what was written since; and nobody had heard of them until now.
//!
//! Text that was typed in both keeps what either typed, character by character, of two values under
//! one key one is shown, and so on, as of all that is written at once. Whether the changes obey
//! rules B depends on what they build on alone, so what a draft took, the document takes.
//!
//! *Cost*: beginning one copies the document in memory; at an older version it applies the changes
//! of that version anew, which takes as long as opening it.

use super::{
    ActorId, ChangeHash,
    body::{Body, Broken, CommitError, Committed},
    edit::{Edit, EditError, Edited},
    patch::Patch,
    state::FLUSH_OPERATIONS,
    undo::Inverse,
    view::View,
};
use crate::proto::time::Wall;

/// A branch of a document. See the [module](self).
#[derive(Debug)]
pub struct Draft {
    body: Body,
    base: Vec<ChangeHash>,
    /// What was done, for who undoes the merge.
    pub(super) inverse: Vec<Inverse>,
    pub(super) changes: Vec<Committed>,
    /// When it was edited last.
    wall: Wall,
    /// Why it can't be merged.
    lost: Option<CommitError>,
}

/// Why a draft isn't merged. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The version that it was made of doesn't count any more: an author forked, or was removed.
    #[error("what the draft was made of is no part of the document any more: begin another")]
    Base,
    /// Its edits can't be made a change.
    #[error(transparent)]
    Lost(#[from] CommitError),
}

impl Draft {
    /// A draft of a body in which nothing is pending or taken; `None` if it doesn't have that
    /// version. It is written in nobody's name until it is [given one](Self::write_as).
    pub(super) fn new(body: &Body, at: Option<&[ChangeHash]>) -> Result<Option<Self>, Broken> {
        let Some(body) = body.fork(at)? else { return Ok(None) };
        let (base, wall) = (body.heads()?, Wall::default());
        let (inverse, changes) = (Vec::new(), Vec::new());
        Ok(Some(Self { body, base, inverse, changes, wall, lost: None }))
    }

    /// Whose changes its edits become: an actor that writes nothing else until it is merged or
    /// dropped.
    ///
    /// # Errors
    /// Automerge panicked.
    pub fn write_as(&mut self, actor: ActorId) -> Result<(), Broken> {
        self.body.write_as(actor)
    }

    /// Whose changes its edits become.
    pub const fn actor(&self) -> ActorId {
        self.body.settings().actor
    }

    /// The version that it was made of.
    pub fn base(&self) -> &[ChangeHash] {
        &self.base
    }

    /// How many changes of an actor are in it.
    pub fn written_by(&self, actor: &ActorId) -> u32 {
        self.body.index().written_by(actor)
    }

    /// The draft as it is.
    ///
    /// # Errors
    /// Automerge panicked.
    pub fn view(&self) -> Result<View<'_>, Broken> {
        self.body.view()
    }

    /// Edits it, all or nothing.
    ///
    /// # Errors
    /// The closure's.
    pub fn edit<T, E: From<EditError>>(
        &mut self,
        wall: Wall,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (value, Edited { inverse, .. }) = self.body.edit(edit)?;
        self.wall = wall;
        self.inverse.extend(inverse);
        if self.body.pending() >= FLUSH_OPERATIONS {
            self.commit();
        }
        Ok(value)
    }

    /// What became different since it began.
    ///
    /// # Errors
    /// Automerge panicked.
    pub fn differences(&mut self) -> Result<Vec<Patch>, Broken> {
        self.commit();
        self.body.differences_since(&self.base)
    }

    /// Makes a change of what is pending.
    pub(super) fn commit(&mut self) {
        match self.body.commit(self.wall.as_millis() / 1_000) {
            Ok(change) => self.changes.extend(change),
            Err(error) => self.lost = Some(error),
        }
    }

    /// Why it can't be merged, if something is wrong with its edits.
    pub(super) const fn lost(&self) -> Option<CommitError> {
        self.lost
    }
}
