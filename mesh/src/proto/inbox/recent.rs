//! The recent cache: envelopes kept a while to fill others' gaps, oldest dropped first.

use std::collections::{BTreeMap, VecDeque};

use aether_core::PublicKey;

use crate::proto::envelope::Envelope;

type Key = (PublicKey, u64, u64);

#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<Key>,
    envelopes: BTreeMap<Key, Envelope>,
    bytes: usize,
}

impl Recent {
    pub(super) fn insert(&mut self, envelope: Envelope, max: usize) {
        let key = (envelope.author, envelope.incarnation, envelope.number);
        let len = envelope.bytes().len();
        self.bytes += len;
        // An author may sign one number twice, with different contents.
        match self.envelopes.insert(key, envelope) {
            Some(replaced) => self.bytes -= replaced.bytes().len(),
            None => self.order.push_back(key),
        }
        while self.bytes > max {
            let Some(key) = self.order.pop_front() else { return };
            if let Some(dropped) = self.envelopes.remove(&key) {
                self.bytes -= dropped.bytes().len();
            }
        }
    }

    pub(super) fn get(
        &self,
        author: &PublicKey,
        incarnation: u64,
        number: u64,
    ) -> Option<&Envelope> {
        self.envelopes.get(&(*author, incarnation, number))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
