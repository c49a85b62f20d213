//! One author's envelopes of one incarnation on one topic.

use std::{collections::BTreeMap, time::Duration};

use aether_core::{PublicKey, Time};

use crate::proto::{envelope::Envelope, link::Tip};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) incarnation: u64,
    /// The number that was seen first: what is missing below it isn't told to the reader.
    pub(super) floor: u64,
    /// Everything below is delivered or given up.
    pub(super) next: u64,
    /// `next` at the last tips: what was held then isn't merely on its way to others.
    pub(super) aged: u64,
    /// When the stream last moved.
    pub(super) active: Time,
    /// The lowest number that gossip brought.
    live: Option<u64>,
    /// The number of the message after the last one delivered, if any was.
    next_message: Option<u64>,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    gap: Gap,
}

/// A verified envelope that waits for its turn.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) envelope: Envelope,
    /// Sealed before we subscribed: it moves the stream, and isn't delivered.
    pub(super) early: bool,
}

/// The state of the question for the numbers from `next` to the first one held.
#[derive(Debug)]
struct Gap {
    since: Time,
    ask_at: Time,
    /// Who brought what came too early: it is likely to have what came before.
    source: Option<PublicKey>,
}

impl Stream {
    /// The stream of which this is the first envelope seen. A young stream is read from its
    /// beginning: more likely than not the first envelopes are still on their way.
    pub(super) fn first_contact(envelope: &Envelope, lookback: u64, now: Time) -> Self {
        let young = envelope.number <= lookback;
        Self {
            incarnation: envelope.incarnation,
            floor: envelope.number,
            next: if young { 1 } else { envelope.number },
            aged: 1,
            active: now,
            live: None,
            next_message: None,
            held: BTreeMap::new(),
            held_bytes: 0,
            gap: Gap { since: now, ask_at: now, source: None },
        }
    }

    /// Whether this number is settled or waits for its turn.
    pub(super) fn has(&self, number: u64) -> bool {
        number < self.next || self.held.contains_key(&number)
    }

    /// Notes that gossip brought this number.
    pub(super) fn came_live(&mut self, number: u64) {
        self.live = Some(self.live.map_or(number, |live| live.min(number)));
    }

    /// Whether gossip has brought an earlier number than this one.
    pub(super) fn is_live(&self, number: u64) -> bool {
        self.live.is_some_and(|live| live < number)
    }

    pub(super) fn hold(&mut self, held: Held, from: PublicKey, now: Time) {
        let (number, len) = (held.envelope.number, held.envelope.bytes().len());
        debug_assert!(!self.has(number), "the caller has checked");
        self.active = now;
        self.gap.source = Some(from);
        self.held_bytes += len;
        self.held.insert(number, held);
    }

    /// Our own envelope: settled as it is made.
    pub(super) fn publish(&mut self, envelope: &Envelope, now: Time) {
        self.active = now;
        self.next = envelope.number + 1;
    }

    /// The next envelope, if it is there, and how many messages are lost before it.
    pub(super) fn pop_ready(&mut self) -> Option<(Held, u64)> {
        let held = self.held.remove(&self.next)?;
        let envelope = &held.envelope;
        self.held_bytes -= envelope.bytes().len();
        self.next = envelope.number.saturating_add(1);
        let expected = self.next_message.replace(envelope.first.saturating_add(envelope.count));
        let told = envelope.number > self.floor;
        let missed = expected.filter(|_| told).map_or(0, |n| envelope.first.saturating_sub(n));
        Some((held, missed))
    }

    pub(super) fn has_gap(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Gives up on the numbers before the first one held.
    pub(super) fn skip_gap(&mut self) -> bool {
        let Some(first) = self.held.keys().next() else { return false };
        self.next = *first;
        true
    }

    pub(super) fn restart_gap(&mut self, now: Time, wait: Duration) {
        self.gap.since = now;
        self.gap.ask_at = now + wait;
    }

    pub(super) fn gap_since(&self) -> Time {
        self.gap.since
    }

    pub(super) fn ask_at(&self) -> Time {
        self.gap.ask_at
    }

    /// Notes that a question goes out now; answers whom to ask if anyone in particular.
    pub(super) fn asked(&mut self, again: Time) -> Option<PublicKey> {
        self.gap.ask_at = again;
        self.gap.source.take()
    }

    /// The missing numbers before the last one held, the first `max` of them.
    pub(super) fn gap(&self, max: usize) -> Vec<u64> {
        self.missing(self.held.keys().next_back().copied().unwrap_or(self.next), max)
    }

    /// The missing numbers below `end`, the first `max` of them.
    pub(super) fn missing(&self, end: u64, max: usize) -> Vec<u64> {
        // At most as many numbers are skipped as are held, and those are bounded.
        (self.next..end).filter(|number| !self.held.contains_key(number)).take(max).collect()
    }

    pub(super) fn tip(&self, author: PublicKey, next: u64) -> Tip {
        Tip { author, incarnation: self.incarnation, next }
    }
}
