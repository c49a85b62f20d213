//! The inbox: what is new, in which order it is delivered, and how gaps are filled.
//!
//! A *stream* is one author's envelopes of one incarnation on one topic, numbered from 1. Rules:
//!
//! 1. **Deduplicate, then verify.** What is settled already is *ignored* unverified: a replay costs
//!    its forwarder nothing and us no signature check. What is malformed or wrongly signed is
//!    *rejected* and its forwarder penalized. A number counts as seen only once an envelope under
//!    it has verified, so a forgery that comes first suppresses nothing.
//! 2. **Once, in order.** A stream's envelopes are delivered at most once, in the order of their
//!    numbers. An envelope that comes early is held until the ones before it are delivered or
//!    given up.
//! 3. **Gaps.** Out-of-order arrival is normal for `reorder`; after that the missing numbers are
//!    asked of a neighbour, another one every `ask_interval`, out of their recent caches. After
//!    `give_up` without progress the gap is given up, and the reader is told how many messages it
//!    missed.
//! 4. **Tips.** Every `tips_interval` a neighbour drawn at random is told how far each recent
//!    stream was held one interval ago, and asks for what it lacks; a new neighbour is told at
//!    once. So a lost last envelope, or a partition, costs latency and not data, as long as
//!    somebody's cache holds it. A tip is a claim: it leads to questions, never to a change of
//!    state.
//! 5. **Progress.** An author that is a neighbour is told how far its stream is settled once
//!    `report_bytes` have been settled since it was last told, though not before
//!    `report_interval`, and after `report_after` if they are fewer: its outbox is paced by that.
//! 6. **Lives.** A later incarnation replaces an earlier one; the earlier one is stale from then
//!    on. What is sealed longer ago (or further ahead) than `max_age` by our clock is stale.
//! 7. **Forwarding.** An envelope of `hold_above` bytes or more is delivered at once and forwarded
//!    a moment later: by then those neighbours that have it too have said so (gossipsub 1.2,
//!    IDONTWANT), and it isn't sent to them again. The moment is drawn between `least_hold` and
//!    `most_hold`, so that of several who could forward it to the same node one does, and the
//!    others hear in time that they needn't (the random assessment delay of Ni et al. 1999, "The
//!    broadcast storm problem").
//! 8. **Bounds.** Streams, held bytes and cached bytes per topic are bounded; over the bound the
//!    idlest stream is forgotten but for the place that it had come to, the fullest gap given up,
//!    the oldest envelope dropped.
//!
//! The invariant, per stream: every number below `next` is delivered or given up; no number at or
//! above `next` is delivered; `held` is above `next`.

mod forgotten;
mod held_back;
mod recent;
mod repair;
mod reports;
mod stream;
mod topic;
mod types;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};
use bytes::Bytes;
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub use self::types::{Config, Input, Origin, Output, Stats, Verdict};
use self::{
    held_back::HeldBack,
    stream::{Held, Stream},
    topic::Topic,
};
use super::{
    budget::Fault,
    envelope::{Envelope, EnvelopeError, TopicId},
    link::MAX_ENTRIES,
};

/// See the [module](self).
#[derive(Debug)]
pub struct Inbox {
    config: Config,
    me: PublicKey,
    incarnation: u64,
    rng: ChaCha12Rng,
    topics: BTreeMap<TopicId, Topic>,
    held_back: HeldBack,
    now: Time,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl Inbox {
    /// An inbox of the node `me` in this life, without topics.
    pub fn new(config: Config, me: PublicKey, incarnation: u64, seed: u64) -> Self {
        Self {
            config,
            me,
            incarnation,
            rng: ChaCha12Rng::seed_from_u64(seed),
            topics: BTreeMap::new(),
            held_back: HeldBack::default(),
            now: Time::ZERO,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Bytes held and cached over all topics.
    pub fn bytes(&self) -> usize {
        self.topics.values().map(|topic| topic.held_bytes + topic.recent.bytes()).sum()
    }

    /// The first number of a stream that isn't settled, if the stream is known.
    pub fn next(&self, topic: &TopicId, author: &PublicKey) -> Option<(u64, u64)> {
        let stream = self.topics.get(topic)?.streams.get(author)?;
        Some((stream.incarnation, stream.next))
    }

    /// An envelope of ours or another's that is in the recent cache.
    pub fn recent(&self, topic: &TopicId, author: &PublicKey, number: u64) -> Option<&Envelope> {
        let topic = self.topics.get(topic)?;
        let incarnation = topic.streams.get(author)?.incarnation;
        topic.recent.get(author, incarnation, number)
    }

    fn arrived(&mut self, topic_id: TopicId, bytes: Bytes, origin: Origin, wall: u64) {
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) => envelope,
            Err(EnvelopeError::Version { .. }) => {
                self.stats.newer += 1;
                return self.conclude(origin, Verdict::Ignore);
            }
            Err(error) => {
                self.stats.malformed += 1;
                let oversized = matches!(error, EnvelopeError::TooLarge { .. });
                let fault = if oversized { Fault::Oversized } else { Fault::Malformed };
                self.outputs.push_back(Output::Penalize { peer: origin.from(), fault });
                return self.conclude(origin, Verdict::Reject);
            }
        };
        if envelope.time.abs_diff(wall) > self.config.max_age {
            self.stats.stale += 1;
            return self.conclude(origin, Verdict::Ignore);
        }
        if self.is_settled(&topic_id, &envelope) {
            return self.conclude(origin, Verdict::Ignore);
        }
        self.outputs.push_back(Output::Verify { topic: topic_id, envelope, origin });
    }

    /// Whether there is nothing to gain from an envelope; counts why.
    fn is_settled(&mut self, topic: &TopicId, envelope: &Envelope) -> bool {
        let Some(topic) = self.topics.get(topic) else { return true };
        let Some(stream) = topic.streams.get(&envelope.author) else {
            let seen =
                envelope.number < topic.forgotten.next(&envelope.author, envelope.incarnation);
            self.stats.duplicate += u64::from(seen);
            return seen || envelope.author == self.me;
        };
        let stale = envelope.incarnation < stream.incarnation || envelope.author == self.me;
        let seen = envelope.incarnation == stream.incarnation && stream.has(envelope.number);
        self.stats.stale += u64::from(stale && !seen);
        self.stats.duplicate += u64::from(seen);
        stale || seen
    }

    fn conclude(&mut self, origin: Origin, verdict: Verdict) {
        if let Origin::Gossip { id, from } = origin {
            self.outputs.push_back(Output::Verdict { id, from, verdict });
        }
    }

    fn verified(&mut self, topic_id: TopicId, envelope: Envelope, origin: Origin, valid: bool) {
        if !valid {
            self.stats.forged += 1;
            let peer = origin.from();
            self.outputs.push_back(Output::Penalize { peer, fault: Fault::Forged });
            return self.conclude(origin, Verdict::Reject);
        }
        // It may have come by another way while it was being verified.
        if self.is_settled(&topic_id, &envelope) {
            return self.conclude(origin, Verdict::Ignore);
        }
        match origin {
            Origin::Gossip { id, from } if envelope.bytes().len() >= self.config.hold_above => {
                let due = self.now + self.draw_hold();
                self.held_back.add(due, id, from);
            }
            origin => self.conclude(origin, Verdict::Accept),
        }
        self.stats.repaired += u64::from(matches!(origin, Origin::Link { .. }));
        self.accept(topic_id, envelope, origin);
    }

    fn accept(&mut self, topic_id: TopicId, envelope: Envelope, origin: Origin) {
        let author = envelope.author;
        let later_life = self
            .topics
            .get(&topic_id)
            .and_then(|topic| topic.streams.get(&author))
            .is_some_and(|stream| stream.incarnation < envelope.incarnation);
        if later_life {
            self.flush(topic_id, author);
        }
        let now = self.now;
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if later_life {
            topic.forget(&author);
        }
        topic.recent.insert(envelope.clone(), self.config.max_recent);
        topic.held_bytes += envelope.bytes().len();
        let since = topic.since;
        let stream = topic.stream_of(&envelope, self.config.lookback, &self.config, now);
        // Only a repair can bring what is older than our subscription. Clocks differ, so what is
        // numbered after something that gossip brought live isn't older, whatever its time says.
        let early = match origin {
            Origin::Gossip { .. } => {
                stream.came_live(envelope.number);
                false
            }
            Origin::Link { .. } => envelope.time < since && !stream.is_live(envelope.number),
        };
        stream.hold(Held { envelope, early }, origin.from(), now);
        self.deliver_ready(topic_id, author);
        self.keep_bounds(topic_id);
    }

    /// Delivers what has its turn, and sees to gap and report.
    fn deliver_ready(&mut self, topic_id: TopicId, author: PublicKey) {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        let Some(stream) = topic.streams.get_mut(&author) else { return };
        let (before, mut settled) = (stream.next, 0);
        while let Some((Held { envelope, early }, missed)) = stream.pop_ready() {
            settled += envelope.bytes().len();
            if early {
                continue;
            }
            self.stats.delivered += 1;
            self.stats.messages += envelope.count;
            self.stats.missed += missed;
            self.outputs.push_back(Output::Deliver { topic: topic_id, envelope, missed });
        }
        topic.held_bytes -= settled;
        let moved = stream.next > before;
        if stream.has_gap() {
            let wait = if moved { self.config.report_interval } else { self.config.reorder };
            if moved || topic.gaps.insert(author) {
                stream.restart_gap(self.now, wait);
            }
            topic.gaps.insert(author);
        } else {
            topic.gaps.remove(&author);
        }
        if moved && topic.neighbours.contains(&author) {
            topic.reports.note(author, settled, self.now, &self.config);
        }
    }

    /// Gives up on every gap of a stream and delivers all that is held of it.
    fn flush(&mut self, topic_id: TopicId, author: PublicKey) {
        while self.skip_gap(topic_id, author) {}
    }

    /// Gives up on the first gap of a stream; false if there was none.
    fn skip_gap(&mut self, topic_id: TopicId, author: PublicKey) -> bool {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return false };
        let Some(stream) = topic.streams.get_mut(&author) else { return false };
        if !stream.skip_gap() {
            return false;
        }
        self.deliver_ready(topic_id, author);
        true
    }

    fn keep_bounds(&mut self, topic_id: TopicId) {
        while let Some(topic) = self.topics.get(&topic_id) {
            if topic.held_bytes <= self.config.max_held {
                return;
            }
            let fullest = topic
                .gaps
                .iter()
                .max_by_key(|author| topic.streams.get(author).map_or(0, Stream::held_bytes))
                .copied();
            match fullest {
                Some(author) if self.skip_gap(topic_id, author) => {}
                _ => return,
            }
        }
    }

    fn published(&mut self, topic_id: TopicId, envelope: Envelope) {
        let (now, max_recent) = (self.now, self.config.max_recent);
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        topic.stream_of(&envelope, u64::MAX, &self.config, now).publish(&envelope, now);
        topic.recent.insert(envelope, max_recent);
    }

    /// How long this node waits before it forwards a large envelope.
    fn draw_hold(&mut self) -> Duration {
        let (least, most) = (self.config.least_hold, self.config.most_hold);
        let fraction = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        least + most.saturating_sub(least).mul_f64(fraction)
    }

    fn on_timeout(&mut self) {
        while let Some((id, from)) = self.held_back.take(self.now) {
            self.outputs.push_back(Output::Verdict { id, from, verdict: Verdict::Accept });
        }
        let topics: Vec<TopicId> = self.topics.keys().copied().collect();
        for topic in topics {
            self.chase_gaps(topic);
            self.report(topic);
            self.tell_tips(topic);
        }
    }
}

impl Protocol for Inbox {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Subscribe { topic, wall } => {
                let tips_at = self.now + self.config.tips_interval;
                self.topics.entry(topic).or_insert_with(|| Topic::new(wall, tips_at));
            }
            Input::Unsubscribe { topic } => {
                self.topics.remove(&topic);
            }
            Input::Neighbour { topic, peer } => self.on_neighbour(topic, peer),
            Input::NotNeighbour { topic, peer } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.neighbours.remove(&peer);
                }
            }
            Input::Left { peer } => {
                for topic in self.topics.values_mut() {
                    topic.neighbours.remove(&peer);
                }
            }
            Input::Gossip { topic, id, from, bytes, wall } => {
                self.arrived(topic, bytes, Origin::Gossip { id, from }, wall);
            }
            Input::Verified { topic, envelope, origin, valid } => {
                self.verified(topic, envelope, origin, valid);
            }
            Input::Published { topic, envelope } => self.published(topic, envelope),
            Input::Tips { from, tips } => self.on_tips(from, tips),
            Input::Want { from, want } => self.on_want(from, want),
            Input::Have { from, have, wall } => {
                for bytes in have.envelopes.into_iter().take(MAX_ENTRIES) {
                    self.arrived(have.topic, bytes.into(), Origin::Link { from }, wall);
                }
            }
            Input::Timeout => self.on_timeout(),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let topics = self.topics.values().filter_map(|topic| topic.timeout(&self.config));
        topics.chain(self.held_back.due()).min()
    }
}

#[cfg(test)]
mod tests;
