//! The pinned chains of a feed that are held, as far as operations on access stand on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::feed::Tip;

/// The chains that are held of one feed. Only entries with operations on access are in it, so it
/// grows by what is on the chains together, and not by what is on each.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// For each pin, the highest operation on the chain to it.
    chains: BTreeMap<Tip, Option<Tip>>,
    /// For each operation on a chain, the next below it. A chain is linked by hashes, so that is
    /// the same on all chains.
    below: BTreeMap<Tip, Option<Tip>>,
}

impl Held {
    /// The chain to `pin` is held; `ops` are the operations on it, ascending.
    pub(super) fn insert(&mut self, pin: Tip, ops: impl IntoIterator<Item = Tip>) {
        let mut last = None;
        for op in ops {
            self.below.insert(op, last);
            last = Some(op);
        }
        self.chains.insert(pin, last);
    }

    /// The chain to `pin` isn't held any more; whether it was.
    pub(super) fn remove(&mut self, pin: Tip) -> bool {
        let was = self.chains.remove(&pin).is_some();
        let on = self.on(self.chains.keys().copied());
        self.below.retain(|op, _| on.contains(op));
        was
    }

    /// The pins whose chains are held.
    pub(super) fn pins(&self) -> impl Iterator<Item = Tip> {
        self.chains.keys().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    pub(super) fn has(&self, pin: Tip) -> bool {
        self.chains.contains_key(&pin)
    }

    /// The operations on the chains to these pins. As many steps as there are pins and operations.
    pub(super) fn on(&self, pins: impl IntoIterator<Item = Tip>) -> BTreeSet<Tip> {
        let mut on = BTreeSet::new();
        for pin in pins {
            let mut at = self.chains.get(&pin).copied().flatten();
            // Below an operation that was passed, all were.
            while let Some(op) = at.filter(|op| on.insert(*op)) {
                at = self.below.get(&op).copied().flatten();
            }
        }
        on
    }
}
