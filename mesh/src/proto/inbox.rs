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
//! 5. **Progress.** An author that is a neighbour is told how far its stream is settled, at most
//!    every `report_interval`: its outbox is paced by that.
//! 6. **Lives.** A later incarnation replaces an earlier one; the earlier one is stale from then
//!    on. What is sealed longer ago (or further ahead) than `max_age` by our clock is stale.
//! 7. **Forwarding.** An envelope of `hold_above` bytes or more is delivered at once and forwarded
//!    a moment later, after `forward_hold`: by then those neighbours that have it too have said so
//!    (gossipsub 1.2, IDONTWANT), and it isn't sent to them again.
//! 8. **Bounds.** Streams, held bytes and cached bytes per topic are bounded; over the bound the
//!    idlest stream is forgotten, the fullest gap given up, the oldest envelope dropped.
//!
//! The invariant, per stream: every number below `next` is delivered or given up; no number at or
//! above `next` is delivered; `held` is above `next`.

mod recent;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};
use bytes::Bytes;
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use self::{
    recent::Recent,
    stream::{Held, Stream},
};
use super::{
    budget::Fault,
    envelope::{Envelope, EnvelopeError, TopicId},
    link::{Frame, Have, MAX_ENTRIES, MAX_FRAME, Tip, Tips, Want},
};

/// What an inbox may hold and how patient it is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Streams remembered per topic.
    pub max_streams: usize,
    /// Bytes held per topic because they came before their turn.
    pub max_held: usize,
    /// Bytes of recent envelopes kept per topic to fill others' gaps.
    pub max_recent: usize,
    /// How far behind the first envelope seen of a stream a newcomer looks for earlier ones.
    pub lookback: u64,
    /// How long out-of-order arrival is taken for normal.
    pub reorder: Duration,
    /// Time between two questions for the same gap.
    pub ask_interval: Duration,
    /// How long a gap may stay without progress.
    pub give_up: Duration,
    /// Time between two tips on one topic.
    pub tips_interval: Duration,
    /// How long after its last envelope a stream is still told of.
    pub tips_idle: Duration,
    /// Shortest time between two reports to one author.
    pub report_interval: Duration,
    /// Bytes from which on an envelope is forwarded a moment later.
    pub hold_above: usize,
    /// How long that moment is. Longer saves copies, and costs large messages so much on each hop
    /// that isn't the author's own.
    pub forward_hold: Duration,
    /// Largest difference between an envelope's time and our clock, in milliseconds.
    pub max_age: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            max_held: 4 * 1024 * 1024,
            max_recent: 4 * 1024 * 1024,
            lookback: 32,
            reorder: Duration::from_millis(50),
            ask_interval: Duration::from_millis(300),
            give_up: Duration::from_secs(5),
            tips_interval: Duration::from_secs(1),
            tips_idle: Duration::from_secs(30),
            report_interval: Duration::from_millis(20),
            hold_above: 8 * 1024,
            forward_hold: Duration::from_millis(20),
            max_age: 10 * 60 * 1000,
        }
    }
}

/// Where an envelope came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Gossip, which waits for a verdict on this message id.
    Gossip {
        /// The message id.
        id: [u8; 20],
        /// The neighbour that forwarded it.
        from: PublicKey,
    },
    /// A neighbour's answer to a question of ours.
    Link {
        /// The neighbour.
        from: PublicKey,
    },
}

impl Origin {
    /// The neighbour that it came from.
    pub fn from(&self) -> PublicKey {
        match self {
            Self::Gossip { from, .. } | Self::Link { from } => *from,
        }
    }
}

/// What gossip is told about a message (gossipsub 1.1, extended validators).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it, and credit who brought it.
    Accept,
    /// Don't forward it, and blame nobody.
    Ignore,
    /// Don't forward it, and blame who brought it.
    Reject,
}

/// What can happen to an inbox. `wall` is our clock in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub enum Input {
    /// We read this topic from now on.
    Subscribe {
        /// The topic.
        topic: TopicId,
        /// Our clock.
        wall: u64,
    },
    /// We no longer read it: its state is dropped.
    Unsubscribe {
        /// The topic.
        topic: TopicId,
    },
    /// A connected node that speaks the link reads this topic too.
    Neighbour {
        /// The topic.
        topic: TopicId,
        /// Who.
        peer: PublicKey,
    },
    /// A neighbour no longer reads this topic.
    NotNeighbour {
        /// The topic.
        topic: TopicId,
        /// Who.
        peer: PublicKey,
    },
    /// A neighbour is gone.
    Left {
        /// Who.
        peer: PublicKey,
    },
    /// Gossip brought a message and waits for the verdict.
    Gossip {
        /// The topic.
        topic: TopicId,
        /// Gossip's message id.
        id: [u8; 20],
        /// The neighbour that forwarded it.
        from: PublicKey,
        /// The envelope, so it claims.
        bytes: Bytes,
        /// Our clock.
        wall: u64,
    },
    /// The signature that [`Output::Verify`] asked about is good, or not.
    Verified {
        /// The topic.
        topic: TopicId,
        /// The envelope.
        envelope: Envelope,
        /// Where it came from.
        origin: Origin,
        /// Whether the signature is good.
        valid: bool,
    },
    /// We sealed an envelope ourselves.
    Published {
        /// The topic.
        topic: TopicId,
        /// The envelope.
        envelope: Envelope,
    },
    /// A neighbour told what it holds.
    Tips {
        /// The neighbour.
        from: PublicKey,
        /// What it said.
        tips: Tips,
    },
    /// A neighbour asks for envelopes.
    Want {
        /// The neighbour.
        from: PublicKey,
        /// What it said.
        want: Want,
    },
    /// A neighbour answers.
    Have {
        /// The neighbour.
        from: PublicKey,
        /// What it said.
        have: Have,
        /// Our clock.
        wall: u64,
    },
    /// The time asked for has come.
    Timeout,
}

/// What an inbox wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Check the signature, off the swarm's task, and say [`Input::Verified`].
    Verify {
        /// The topic.
        topic: TopicId,
        /// What to check.
        envelope: Envelope,
        /// Where it came from.
        origin: Origin,
    },
    /// Tell gossip.
    Verdict {
        /// Gossip's message id.
        id: [u8; 20],
        /// The neighbour that forwarded it.
        from: PublicKey,
        /// The verdict.
        verdict: Verdict,
    },
    /// Hand to the topic's subscribers.
    Deliver {
        /// The topic.
        topic: TopicId,
        /// Verified, new and in order.
        envelope: Envelope,
        /// Messages of this stream that are lost just before this envelope.
        missed: u64,
    },
    /// Send to a neighbour; if it can't be, nothing needs to be said.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        frame: Frame,
    },
    /// Tell the outbox that a reader has settled our stream below `next`.
    Progress {
        /// The topic.
        topic: TopicId,
        /// The reader.
        peer: PublicKey,
        /// The first number that it hasn't settled.
        next: u64,
    },
    /// Charge a peer for what it did.
    Penalize {
        /// Who.
        peer: PublicKey,
        /// For what.
        fault: Fault,
    },
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Envelopes delivered.
    pub delivered: u64,
    /// Messages in them.
    pub messages: u64,
    /// Envelopes that were settled already.
    pub duplicate: u64,
    /// Envelopes of an earlier life, or too old or too new by our clock.
    pub stale: u64,
    /// Envelopes whose signature wasn't good.
    pub forged: u64,
    /// Bytes that were no envelope.
    pub malformed: u64,
    /// Envelopes of a version that isn't known here.
    pub newer: u64,
    /// Envelopes that came over the link and were new.
    pub repaired: u64,
    /// Questions for gaps.
    pub asked: u64,
    /// Envelopes given to neighbours who asked.
    pub served: u64,
    /// Messages given up.
    pub missed: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Inbox {
    config: Config,
    me: PublicKey,
    incarnation: u64,
    rng: ChaCha12Rng,
    topics: BTreeMap<TopicId, Topic>,
    /// Accepted envelopes that are forwarded later, the earliest first. No more of them than
    /// gossip delivers within `forward_hold`.
    held_back: VecDeque<(Time, [u8; 20], PublicKey)>,
    now: Time,
    outputs: VecDeque<Output>,
    stats: Stats,
}

#[derive(Debug)]
struct Topic {
    since: u64,
    neighbours: BTreeSet<PublicKey>,
    streams: BTreeMap<PublicKey, Stream>,
    /// Streams with a gap.
    gaps: BTreeSet<PublicKey>,
    held_bytes: usize,
    recent: Recent,
    tips_at: Time,
    /// Authors among the neighbours that wait for a report.
    reports: BTreeSet<PublicKey>,
    report_at: Time,
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
            held_back: VecDeque::new(),
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
            return envelope.author == self.me;
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
                self.held_back.push_back((self.now + self.config.forward_hold, id, from));
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
        let before = stream.next;
        while let Some((Held { envelope, early }, missed)) = stream.pop_ready() {
            topic.held_bytes -= envelope.bytes().len();
            if early {
                continue;
            }
            self.stats.delivered += 1;
            self.stats.messages += envelope.count;
            self.stats.missed += missed;
            self.outputs.push_back(Output::Deliver { topic: topic_id, envelope, missed });
        }
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
            if topic.reports.is_empty() {
                topic.report_at = self.now + self.config.report_interval;
            }
            topic.reports.insert(author);
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

    fn on_tips(&mut self, from: PublicKey, tips: Tips) {
        for tip in tips.tips {
            if tip.author == self.me {
                if tip.incarnation == self.incarnation {
                    let (topic, next) = (tips.topic, tip.next);
                    self.outputs.push_back(Output::Progress { topic, peer: from, next });
                }
                continue;
            }
            let Some(topic) = self.topics.get(&tips.topic) else { return };
            let numbers = match topic.streams.get(&tip.author) {
                Some(stream) if stream.incarnation > tip.incarnation => continue,
                Some(stream) if stream.incarnation == tip.incarnation => {
                    stream.missing(tip.next, MAX_ENTRIES)
                }
                // A stream that we don't know: ask for its end. What comes is verified first.
                _ => {
                    let reach = self.config.lookback.min(MAX_ENTRIES as u64);
                    (tip.next.saturating_sub(reach).max(1)..tip.next).collect()
                }
            };
            self.ask(tips.topic, tip.author, tip.incarnation, numbers, from);
        }
    }

    fn ask(
        &mut self,
        topic: TopicId,
        author: PublicKey,
        incarnation: u64,
        numbers: Vec<u64>,
        to: PublicKey,
    ) {
        if !numbers.is_empty() {
            self.stats.asked += 1;
            let frame = Frame::Want(Want { topic, author, incarnation, numbers });
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    fn on_want(&mut self, from: PublicKey, want: Want) {
        let Some(topic) = self.topics.get(&want.topic) else { return };
        let mut room = MAX_FRAME - 1024;
        let mut envelopes = Vec::new();
        for number in want.numbers.iter().take(MAX_ENTRIES) {
            let found = topic.recent.get(&want.author, want.incarnation, *number);
            let Some(envelope) = found else { continue };
            let len = envelope.bytes().len() + 8;
            if len > room {
                break;
            }
            room -= len;
            envelopes.push(envelope.bytes().to_vec());
        }
        if !envelopes.is_empty() {
            self.stats.served += envelopes.len() as u64;
            let frame = Frame::Have(Have { topic: want.topic, envelopes });
            self.outputs.push_back(Output::Send { to: from, frame });
        }
    }

    fn forward_held_back(&mut self) {
        while let Some((due, id, from)) = self.held_back.front().copied() {
            if due > self.now {
                return;
            }
            self.held_back.pop_front();
            self.outputs.push_back(Output::Verdict { id, from, verdict: Verdict::Accept });
        }
    }

    fn on_timeout(&mut self) {
        self.forward_held_back();
        let topics: Vec<TopicId> = self.topics.keys().copied().collect();
        for topic in topics {
            self.chase_gaps(topic);
            self.report(topic);
            self.tell_tips(topic);
        }
    }

    fn chase_gaps(&mut self, topic_id: TopicId) {
        let Some(topic) = self.topics.get(&topic_id) else { return };
        let authors: Vec<PublicKey> = topic.gaps.iter().copied().collect();
        for author in authors {
            let (now, config) = (self.now, &self.config);
            let Some(topic) = self.topics.get_mut(&topic_id) else { return };
            let Some(stream) = topic.streams.get_mut(&author) else { continue };
            if now >= stream.gap_since() + config.give_up {
                self.skip_gap(topic_id, author);
                continue;
            }
            if now < stream.ask_at() {
                continue;
            }
            let source = stream.asked(now + config.ask_interval);
            let (incarnation, numbers) = (stream.incarnation, stream.gap(MAX_ENTRIES));
            let source = source.filter(|peer| topic.neighbours.contains(peer));
            let to = source.or_else(|| pick(&topic.neighbours, &mut self.rng));
            if let Some(to) = to {
                self.ask(topic_id, author, incarnation, numbers, to);
            }
        }
    }

    fn report(&mut self, topic_id: TopicId) {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if topic.reports.is_empty() || self.now < topic.report_at {
            return;
        }
        for to in std::mem::take(&mut topic.reports) {
            let Some(stream) = topic.streams.get(&to) else { continue };
            let tips = vec![stream.tip(to, stream.next)];
            let frame = Frame::Tips(Tips { topic: topic_id, tips });
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    fn tell_tips(&mut self, topic_id: TopicId) {
        let (now, idle) = (self.now, self.config.tips_idle);
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if now < topic.tips_at {
            return;
        }
        topic.tips_at = now + self.config.tips_interval;
        let mut tips = Vec::new();
        for (author, stream) in &mut topic.streams {
            if now < stream.active + idle && stream.aged > 1 {
                tips.push(stream.tip(*author, stream.aged));
            }
            stream.aged = stream.next;
        }
        if let Some(to) = pick(&topic.neighbours, &mut self.rng) {
            self.send_tips(topic_id, to, tips);
        }
    }

    /// Sends tips, or a random run of them if there are more than fit.
    fn send_tips(&mut self, topic: TopicId, to: PublicKey, mut tips: Vec<Tip>) {
        if tips.is_empty() {
            return;
        }
        if tips.len() > MAX_ENTRIES {
            let start = below(&mut self.rng, tips.len());
            tips.rotate_left(start);
            tips.truncate(MAX_ENTRIES);
        }
        self.outputs.push_back(Output::Send { to, frame: Frame::Tips(Tips { topic, tips }) });
    }

    fn on_neighbour(&mut self, topic_id: TopicId, peer: PublicKey) {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if topic.neighbours.insert(peer) {
            let known =
                topic.streams.iter().filter(|(author, stream)| stream.next > 1 && **author != peer);
            let tips = known.map(|(author, stream)| stream.tip(*author, stream.next)).collect();
            self.send_tips(topic_id, peer, tips);
        }
    }
}

impl Topic {
    fn new(since: u64, tips_at: Time) -> Self {
        Self {
            since,
            neighbours: BTreeSet::new(),
            streams: BTreeMap::new(),
            gaps: BTreeSet::new(),
            held_bytes: 0,
            recent: Recent::default(),
            tips_at,
            reports: BTreeSet::new(),
            report_at: Time::ZERO,
        }
    }

    fn forget(&mut self, author: &PublicKey) {
        if let Some(stream) = self.streams.remove(author) {
            self.held_bytes -= stream.held_bytes();
        }
        self.gaps.remove(author);
        self.reports.remove(author);
    }

    /// The stream of this envelope, in its place if it is the first one seen.
    fn stream_of(
        &mut self,
        envelope: &Envelope,
        lookback: u64,
        config: &Config,
        now: Time,
    ) -> &mut Stream {
        if !self.streams.contains_key(&envelope.author) {
            self.make_room(config);
        }
        let first = || Stream::first_contact(envelope, lookback, now);
        self.streams.entry(envelope.author).or_insert_with(first)
    }

    /// Forgets the idlest stream if there is no room for one more.
    fn make_room(&mut self, config: &Config) {
        if self.streams.len() >= config.max_streams {
            let idlest = self.streams.iter().min_by_key(|(_, stream)| stream.active);
            if let Some(author) = idlest.map(|(author, _)| *author) {
                self.forget(&author);
            }
        }
    }

    fn timeout(&self, config: &Config) -> Option<Time> {
        let gaps = self.gaps.iter().filter_map(|author| self.streams.get(author));
        let gaps = gaps.map(|stream| stream.ask_at().min(stream.gap_since() + config.give_up));
        let report = Some(self.report_at).filter(|_| !self.reports.is_empty());
        let tips = Some(self.tips_at).filter(|_| !self.streams.is_empty());
        gaps.chain(report).chain(tips).min()
    }
}

fn below(rng: &mut ChaCha12Rng, n: usize) -> usize {
    (rng.next_u64() % n.max(1) as u64) as usize
}

fn pick(peers: &BTreeSet<PublicKey>, rng: &mut ChaCha12Rng) -> Option<PublicKey> {
    peers.iter().nth(below(rng, peers.len())).copied()
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
        let held_back = self.held_back.front().map(|(due, ..)| *due);
        let topics = self.topics.values().filter_map(|topic| topic.timeout(&self.config));
        topics.chain(held_back).min()
    }
}

#[cfg(test)]
mod tests;
