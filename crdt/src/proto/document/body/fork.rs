//! Bodies that go their own way.

use super::{ActorId, Body, Broken, ChangeHash, Core, guarded, theirs, told};
use crate::proto::document::patch::Patch;

impl Body {
    /// A copy of the document, or of what it was at these heads; `None` if one isn't a change of
    /// it.
    ///
    /// # Panics
    /// If own edits are pending, or something is taken and not applied.
    pub(in super::super) fn fork(&self, at: Option<&[ChangeHash]>) -> Result<Option<Self>, Broken> {
        assert!(self.taken.is_empty(), "something is taken and not applied");
        let document = match &self.core {
            Core::Idle(document) => document,
            Core::Broken => return Err(Broken),
            Core::Open(_) => panic!("own edits are pending"),
        };
        let Some(heads) = at else {
            let document = guarded(|| document.clone())?;
            let (core, known) = (Core::Idle(document), self.known.clone());
            return Ok(Some(Self { core, known, ..Self::new(self.settings) }));
        };
        let heads: Vec<_> = heads.iter().map(theirs).collect();
        let known = |hash| document.get_change_meta_by_hash(hash).is_some();
        if !guarded(|| heads.iter().all(known))? {
            return Ok(None);
        }
        let forked = guarded(|| {
            let mut fork = document.fork_at(&heads).ok()?;
            // Forking draws an actor.
            fork.set_actor(self.settings.actor.0.into());
            Some(fork)
        });
        Ok(Some(Self::of(forked?.ok_or(Broken)?, self.settings)))
    }

    /// From now on, edits become changes of this actor.
    ///
    /// # Panics
    /// If own edits are pending.
    pub(in super::super) fn write_as(&mut self, actor: ActorId) -> Result<(), Broken> {
        let mut document = self.idle()?;
        guarded(|| {
            document.set_actor(actor.0.into());
        })?;
        self.core = Core::Idle(document);
        self.settings.actor = actor;
        Ok(())
    }

    /// What became different since it was at these heads.
    ///
    /// # Panics
    /// If own edits are pending, or something is taken and not applied.
    pub(in super::super) fn differences_since(
        &self,
        heads: &[ChangeHash],
    ) -> Result<Vec<Patch>, Broken> {
        assert!(self.taken.is_empty(), "something is taken and not applied");
        let Some(before) = self.view_at(heads)? else { return Err(Broken) };
        let touched = told::everywhere(&before, &self.view()?)?;
        told::Before::in_view(&before, touched)?.tell(self)
    }
}
