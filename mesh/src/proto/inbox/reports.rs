//! Rule 5: when an author is told how far its stream is settled here.

use std::collections::BTreeMap;

use aether_core::{PublicKey, Time};

use super::types::Config;

/// Authors among the neighbours that wait for a report on one topic.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// With the bytes settled since their last one.
    waiting: BTreeMap<PublicKey, usize>,
    /// When those who wait are told.
    due: Time,
    /// When somebody was last told.
    last: Time,
}

impl Reports {
    /// Notes that so many bytes of this author's have been settled.
    pub(super) fn note(&mut self, author: PublicKey, bytes: usize, now: Time, config: &Config) {
        if self.waiting.is_empty() {
            self.due = now + config.report_after;
        }
        let unreported = self.waiting.entry(author).or_default();
        *unreported += bytes;
        if *unreported >= config.report_bytes {
            self.due = self.due.min(now.max(self.last + config.report_interval));
        }
    }

    pub(super) fn forget(&mut self, author: &PublicKey) {
        self.waiting.remove(author);
    }

    pub(super) fn due(&self) -> Option<Time> {
        Some(self.due).filter(|_| !self.waiting.is_empty())
    }

    /// Who is to be told now.
    pub(super) fn take(&mut self, now: Time) -> impl Iterator<Item = PublicKey> + use<> {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.last = now;
        }
        let told = if due { std::mem::take(&mut self.waiting) } else { BTreeMap::new() };
        told.into_keys()
    }
}
