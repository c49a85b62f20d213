//! Taking out what was applied.

use std::collections::BTreeSet;

use super::{Document, Origin, Output, waiting::Held};
use crate::proto::document::{
    ActorId, Change, ChangeHash,
    body::{Body, Broken, Committed},
};

impl Document {
    /// The entries of these changes count no more: they are taken out, with all that builds on
    /// them, which waits for them. Should one count again, it is [received](Self::receive) again.
    ///
    /// If one of our own is among them, edits go on as `fresh`, an actor that has written nothing:
    /// the old one's next change would have to build on what is gone. Says whether they do. Costs
    /// as much as applying all that stays, if anything was applied.
    pub fn set_aside(&mut self, gone: &BTreeSet<ChangeHash>, fresh: ActorId) -> bool {
        for hash in gone {
            self.forget_held(hash);
            self.void.remove(hash);
        }
        let applied = |body: &Body| gone.iter().any(|hash| body.index().contains(hash));
        if !self.body.as_ref().is_some_and(applied) {
            return false;
        }
        self.settle();
        match self.rebuild(gone, fresh) {
            Some(Ok(fresh)) => fresh,
            Some(Err(Broken)) => {
                self.broken();
                false
            }
            None => false,
        }
    }

    /// Other changes count than before: what doesn't is [set aside](Self::set_aside), and what is
    /// void or waits is forgotten. All that counts is to be [received](Self::receive) again.
    pub fn recount(
        &mut self,
        counts: impl Fn(&ChangeHash, &ActorId) -> bool,
        fresh: ActorId,
    ) -> bool {
        self.settle();
        for hash in self.held.keys().copied().collect::<Vec<_>>() {
            self.forget_held(&hash);
        }
        self.void.clear();
        let Some(body) = self.body.as_mut() else { return false };
        let Ok(changes) = body.changes() else {
            self.broken();
            return false;
        };
        let gone = changes.iter().filter(|(actor, change)| !counts(&change.hash, actor));
        self.set_aside(&gone.map(|(_, change)| change.hash).collect(), fresh)
    }

    fn rebuild(
        &mut self,
        gone: &BTreeSet<ChangeHash>,
        fresh: ActorId,
    ) -> Option<Result<bool, Broken>> {
        let body = self.body.as_mut()?;
        let changes = match body.changes() {
            Ok(changes) => changes,
            Err(broken) => return Some(Err(broken)),
        };
        let own = body.settings().actor;
        let (mut aside, mut kept, mut dependents) = (gone.clone(), Vec::new(), Vec::new());
        let mut is_own = false;
        for (actor, Committed { hash, bytes }) in changes {
            let Ok(Change { deps, .. }) = Change::decode(&bytes, &actor) else {
                return Some(Err(Broken));
            };
            let itself = aside.contains(&hash);
            if !itself && !deps.iter().any(|dep| aside.contains(dep)) {
                kept.push((actor, bytes));
                continue;
            }
            is_own |= actor == own;
            aside.insert(hash);
            if !itself {
                let uncovered = BTreeSet::new();
                dependents.push((hash, Held { actor, bytes, deps, uncovered }));
            }
        }
        if is_own {
            self.config.settings.actor = fresh;
        }
        let mut new = Body::new(self.config.settings);
        for (actor, bytes) in kept {
            // Its closure is as it was, so the verdict is too.
            if new.take(&bytes, &actor, |_| true).is_err() {
                return Some(Err(Broken));
            }
        }
        let told = new.apply().and_then(|_| new.differences(body));
        let patches = match told {
            Ok(patches) => patches,
            Err(broken) => return Some(Err(broken)),
        };
        self.body = Some(new);
        self.outputs.push_back(Output::Patches(Origin::Rebuilt, patches));
        for (hash, held) in dependents {
            self.hold(hash, held);
        }
        Some(Ok(is_own))
    }
}
