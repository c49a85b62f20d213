//! What an inbox knows of one topic.

use std::collections::{BTreeMap, BTreeSet};

use aether_core::{PublicKey, Time};

use super::{
    forgotten::Forgotten, recent::Recent, reports::Reports, stream::Stream, types::Config,
};
use crate::proto::envelope::Envelope;

/// Forgotten streams of which the place is remembered, as a multiple of the streams.
const REMEMBERED: usize = 8;

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) since: u64,
    pub(super) neighbours: BTreeSet<PublicKey>,
    pub(super) streams: BTreeMap<PublicKey, Stream>,
    pub(super) forgotten: Forgotten,
    /// Streams with a gap.
    pub(super) gaps: BTreeSet<PublicKey>,
    pub(super) held_bytes: usize,
    pub(super) recent: Recent,
    pub(super) tips_at: Time,
    pub(super) reports: Reports,
}

impl Topic {
    pub(super) fn new(since: u64, tips_at: Time) -> Self {
        Self {
            since,
            neighbours: BTreeSet::new(),
            streams: BTreeMap::new(),
            forgotten: Forgotten::default(),
            gaps: BTreeSet::new(),
            held_bytes: 0,
            recent: Recent::default(),
            tips_at,
            reports: Reports::default(),
        }
    }

    pub(super) fn forget(&mut self, author: &PublicKey) {
        if let Some(stream) = self.streams.remove(author) {
            self.held_bytes -= stream.held_bytes();
        }
        self.gaps.remove(author);
        self.reports.forget(author);
    }

    /// The stream of this envelope, in its place if it is the first one seen.
    pub(super) fn stream_of(
        &mut self,
        envelope: &Envelope,
        lookback: u64,
        config: &Config,
        now: Time,
    ) -> &mut Stream {
        if !self.streams.contains_key(&envelope.author) {
            self.make_room(config);
        }
        let first = || {
            let mut stream = Stream::first_contact(envelope, lookback, now);
            stream.next =
                stream.next.max(self.forgotten.next(&envelope.author, envelope.incarnation));
            stream
        };
        self.streams.entry(envelope.author).or_insert_with(first)
    }

    /// Forgets the idlest stream if there is no room for one more.
    fn make_room(&mut self, config: &Config) {
        if self.streams.len() >= config.max_streams {
            let idlest = self.streams.iter().min_by_key(|(_, stream)| stream.active);
            if let Some((author, stream)) = idlest.map(|(author, stream)| (*author, stream)) {
                self.forgotten.add(author, stream, REMEMBERED * config.max_streams);
                self.forget(&author);
            }
        }
    }

    pub(super) fn timeout(&self, config: &Config) -> Option<Time> {
        let gaps = self.gaps.iter().filter_map(|author| self.streams.get(author));
        let gaps = gaps.map(|stream| stream.ask_at().min(stream.gap_since() + config.give_up));
        let tips = Some(self.tips_at).filter(|_| !self.streams.is_empty());
        gaps.chain(self.reports.due()).chain(tips).min()
    }
}
