//! Where forgotten streams had come to, so that none of it is delivered twice.

use std::collections::{BTreeMap, VecDeque};

use aether_core::PublicKey;

use super::stream::Stream;

/// Life and next number of streams that were forgotten for lack of room; some 100 bytes each.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    places: BTreeMap<PublicKey, (u64, u64)>,
    /// The authors of those, in the order in which they were first forgotten.
    order: VecDeque<PublicKey>,
}

impl Forgotten {
    /// Remembers where a stream had come to, and at most `max` streams.
    pub(super) fn add(&mut self, author: PublicKey, stream: &Stream, max: usize) {
        let place = (stream.incarnation, stream.next);
        if self.places.insert(author, place).is_none() {
            self.order.push_back(author);
        }
        while self.order.len() > max {
            if let Some(first) = self.order.pop_front() {
                self.places.remove(&first);
            }
        }
    }

    /// Where this author had come to in this life: 1 if it isn't remembered.
    pub(super) fn next(&self, author: &PublicKey, incarnation: u64) -> u64 {
        match self.places.get(author) {
            Some((life, next)) if *life == incarnation => *next,
            // A life before the one remembered was over then.
            Some((life, _)) if *life > incarnation => u64::MAX,
            _ => 1,
        }
    }
}
