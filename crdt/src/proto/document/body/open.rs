//! Pending edits: an open transaction, and what is remembered of it.

use automerge::transaction::{OwnedTransaction, Transactable};

use super::{Body, Broken, Call, Core, Pending, Savepoint, guarded};
use crate::proto::document::content::{ObjId, OpRef};

impl Body {
    /// The transaction that edits go into, and what is remembered of them.
    pub(in super::super) fn open(
        &mut self,
    ) -> Result<(&mut OwnedTransaction, &mut Pending), Broken> {
        if let Core::Idle(_) = self.core {
            let last_op = self.known()?.last_op();
            let document = self.idle()?;
            let tx = guarded(|| document.into_transaction(None, None))?.map_err(|_| Broken)?;
            self.core = Core::Open(Box::new(tx));
            self.pending = Pending::after(last_op);
        }
        match &mut self.core {
            Core::Open(tx) => Ok((tx, &mut self.pending)),
            Core::Idle(_) | Core::Broken => Err(Broken),
        }
    }

    /// Does what the call says, in the open transaction, and remembers it. `Err` if Automerge
    /// refuses or panics; then the document is as good as broken until it is
    /// [rolled back](Self::roll_back).
    pub(in super::super) fn call(&mut self, call: Call) -> Result<(), Broken> {
        let (tx, pending) = self.open()?;
        let done = guarded(|| call.perform(tx))?;
        done.map_err(|_| Broken)?;
        pending.remember(call, tx.pending_ops());
        Ok(())
    }

    pub(in super::super) const fn pending_mut(&mut self) -> &mut Pending {
        &mut self.pending
    }

    pub(in super::super) const fn pending_ref(&self) -> &Pending {
        &self.pending
    }

    /// The next operation that an edit makes.
    pub(in super::super) fn next_op(&self) -> OpRef {
        let counter = match self.core {
            Core::Open(_) => self.pending.next(),
            Core::Idle(_) | Core::Broken => self.last_op() + 1,
        };
        OpRef { counter, actor: self.settings.actor }
    }

    /// Where edits stand.
    pub(in super::super) fn savepoint(&self) -> Savepoint {
        self.pending.mark()
    }

    /// Takes back what was edited since.
    pub(in super::super) fn roll_back(&mut self, to: &Savepoint) -> Result<(), Broken> {
        if let Core::Idle(_) = self.core {
            return Ok(());
        }
        let tx = self.close()?;
        let document = guarded(|| tx.rollback().0)?;
        self.core = Core::Idle(Box::new(document));
        let mut pending = std::mem::take(&mut self.pending);
        pending.truncate(to);
        if pending.operations() == 0 {
            return Ok(());
        }
        let (tx, _) = self.open()?;
        let done = guarded(|| pending.calls().iter().all(|call| call.perform(tx).is_ok()));
        let same = done == Ok(true) && tx.pending_ops() == pending.operations();
        self.pending = pending;
        if same { Ok(()) } else { Err(self.give_up()) }
    }

    /// From now on it is broken.
    pub(in super::super) fn give_up(&mut self) -> Broken {
        self.core = Core::Broken;
        Broken
    }

    /// The element of `object` that an operation made or wrote into.
    pub(in super::super) fn element(&self, object: ObjId, op: OpRef) -> Option<OpRef> {
        let pending =
            (op.actor == self.settings.actor).then(|| self.pending.element(object, op)).flatten();
        match pending {
            Some(element) => Some(element),
            None => self.index().element(object, op),
        }
    }

    /// How deep an object lies in others; 0 for the root.
    pub(in super::super) fn depth(&self, object: ObjId) -> Option<u32> {
        match object {
            ObjId::Root => Some(0),
            ObjId::Made(made) if made.actor == self.settings.actor => {
                self.pending.depth(made.counter).or_else(|| self.index().depth(made))
            }
            ObjId::Made(made) => self.index().depth(made),
        }
    }
}
