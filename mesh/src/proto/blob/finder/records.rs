//! Provider records of what we hold.
//!
//! Rule 6 of the [finder](super).

use std::collections::BTreeMap;

use aether_core::{BlobId, Time};

use super::{Finder, Output};

#[derive(Debug, Default)]
pub(super) struct Records {
    own: BTreeMap<BlobId, Own>,
    held: u64,
    /// Whether what should have a record may differ from what has one.
    is_changed: bool,
    /// Those that should have a record, and when it is to be put.
    due: BTreeMap<BlobId, Time>,
    /// When the next record may be put.
    next: Time,
}

#[derive(Debug)]
struct Own {
    pinned: bool,
    /// The how-many-eth blob that we came to hold.
    number: u64,
    is_provided: bool,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.own.len()
    }

    pub(super) fn hold(&mut self, id: BlobId, pinned: bool, max_own: usize) {
        self.held += 1;
        let number = self.held;
        let own = self.own.entry(id).or_insert(Own { pinned, number, is_provided: false });
        own.pinned = pinned;
        self.is_changed = true;
        // The least important has no record, as more blobs are remembered than have one.
        if self.own.len() > max_own {
            let without = self.own.iter().filter(|(_, own)| !own.is_provided);
            let least = without.min_by_key(|(_, own)| (own.pinned, own.number));
            if let Some(least) = least.map(|(id, _)| *id) {
                self.own.remove(&least);
            }
        }
    }

    /// True if it had a record.
    pub(super) fn release(&mut self, id: &BlobId) -> bool {
        self.is_changed = true;
        self.due.remove(id);
        self.own.remove(id).is_some_and(|own| own.is_provided)
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        self.due.values().min().map(|due| (*due).max(self.next))
    }

    /// Chooses who has a record; gives those that lose theirs.
    fn choose(&mut self, max_records: usize, now: Time) -> Vec<BlobId> {
        let mut ranked: Vec<_> =
            self.own.iter().map(|(id, own)| ((own.pinned, own.number), *id)).collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        let rest = ranked.split_off(ranked.len().min(max_records));
        for (_, id) in ranked {
            self.due.entry(id).or_insert(now);
        }
        let mut stopped = Vec::new();
        for (_, id) in rest {
            self.due.remove(&id);
            if let Some(own) = self.own.get_mut(&id).filter(|own| own.is_provided) {
                own.is_provided = false;
                stopped.push(id);
            }
        }
        stopped
    }
}

impl Finder {
    pub(super) fn put_records(&mut self) {
        let (now, config) = (self.now, &self.config);
        if std::mem::take(&mut self.records.is_changed) {
            let stopped = self.records.choose(config.max_records, now);
            self.outputs.extend(stopped.into_iter().map(|id| Output::StopProviding { id }));
        }
        if now < self.records.next {
            return;
        }
        let first = self.records.due.iter().min_by_key(|(_, due)| **due);
        let Some(id) = first.filter(|(_, due)| **due <= now).map(|(id, _)| *id) else { return };
        self.records.due.insert(id, now + config.refresh);
        self.records.next = now + config.record_interval;
        if let Some(own) = self.records.own.get_mut(&id) {
            own.is_provided = true;
        }
        self.outputs.push_back(Output::Provide { id });
    }
}
