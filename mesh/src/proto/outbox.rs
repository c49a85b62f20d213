//! The outbox: when messages become envelopes, and when a topic waits for its readers.
//!
//! Rules:
//!
//! 1. **Coalescing** (Nagle's idea with a clock): messages of one topic share an envelope until it
//!    holds `max_batch` bytes or its oldest message has waited `linger`. An express message waits
//!    for nobody: it is sealed at once, with whatever waits before it.
//! 2. **Order**: the messages of a topic leave in the order they came; envelopes are numbered from
//!    1 and messages likewise, without holes.
//! 3. **Patience**: while no neighbour reads the topic, nothing is sealed.
//! 4. **Fairness**: topics that are ready take turns by bytes (deficit round robin, Shreedhar and
//!    Varghese 1995), and at most `max_handing` envelopes are with the driver at a time.
//! 5. **Pace**: a topic has at most `window` bytes on the way that its slowest moving reader
//!    hasn't settled. A reader that settles nothing for `stall` while something is on the way no
//!    longer holds the others up, until it moves again.
//! 6. **Bounds**: the driver admits messages against a budget in bytes per topic and frees it by
//!    [`Output::Seal`]; the outbox itself holds nothing longer than the window needs.
//!
//! The invariant: for every topic, `sealed + waiting = published`, and what is sealed is a prefix
//! of what was published.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};
use bytes::Bytes;

use super::envelope::{MAX_PAYLOAD, TopicId};

/// What an outbox may do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Longest wait of a message for others to share its envelope. Longer saves signatures and
    /// frames, and costs latency.
    pub linger: Duration,
    /// Bytes of messages that close an envelope, at most 65,536.
    pub max_batch: usize,
    /// Bytes of one topic on the way that the slowest moving reader hasn't settled. Twice as much
    /// is twice as fast where a round trip is long, and twice as late for the last reader where
    /// the author's own uplink is what limits it.
    pub window: usize,
    /// How long a reader may stand still before it no longer sets the pace.
    pub stall: Duration,
    /// Envelopes with the driver that aren't handed to gossip yet.
    pub max_handing: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(1),
            max_batch: 32 * 1024,
            window: 512 * 1024,
            stall: Duration::from_millis(500),
            max_handing: 16,
        }
    }
}

/// What can happen to an outbox.
#[derive(Clone, Debug)]
pub enum Input {
    /// A topic is used for the first time.
    Open {
        /// The topic.
        topic: TopicId,
    },
    /// A topic is no longer used: what still waits is dropped.
    Close {
        /// The topic.
        topic: TopicId,
    },
    /// A message to send: one CBOR item of at most 65,536 bytes.
    Publish {
        /// The topic.
        topic: TopicId,
        /// The encoded message.
        message: Bytes,
        /// Whether it is sealed at once.
        express: bool,
    },
    /// So many neighbours read the topic now.
    Readers {
        /// The topic.
        topic: TopicId,
        /// How many.
        count: usize,
    },
    /// A neighbour has settled everything of ours below `next`.
    Progress {
        /// The topic.
        topic: TopicId,
        /// Who.
        peer: PublicKey,
        /// The first number that it hasn't settled.
        next: u64,
    },
    /// A neighbour is gone.
    Left {
        /// Who.
        peer: PublicKey,
    },
    /// The driver has handed an envelope of this topic to gossip, or failed to.
    Handed {
        /// The topic.
        topic: TopicId,
    },
    /// The time asked for has come.
    Timeout,
}

/// What an outbox wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Seal these messages under these numbers and hand them to gossip, then say
    /// [`Input::Handed`].
    Seal {
        /// The topic.
        topic: TopicId,
        /// The envelope's number.
        number: u64,
        /// The first message's number.
        first: u64,
        /// How many messages.
        count: u64,
        /// The messages, a CBOR sequence.
        payload: Vec<u8>,
    },
}

/// See the [module](self).
#[derive(Debug)]
pub struct Outbox {
    config: Config,
    topics: BTreeMap<TopicId, Topic>,
    /// Whose turn it is: topics that have something waiting.
    turns: VecDeque<TopicId>,
    handing: usize,
    now: Time,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Topic {
    readers: usize,
    /// How many of the waiting messages are up to the last express one.
    urgent: usize,
    waiting: VecDeque<(Time, Bytes)>,
    waiting_bytes: usize,
    deficit: usize,
    next_number: u64,
    next_message: u64,
    /// Sealed envelopes that the slowest moving reader hasn't settled: number and bytes.
    on_the_way: VecDeque<(u64, usize)>,
    on_the_way_bytes: usize,
    pace: BTreeMap<PublicKey, Pace>,
}

#[derive(Debug)]
struct Pace {
    next: u64,
    moved: Time,
    stalled: bool,
}

impl Outbox {
    /// An outbox without topics.
    ///
    /// # Panics
    /// If `max_batch` is over the largest payload of an envelope, or a bound is zero.
    pub fn new(config: Config) -> Self {
        assert!(config.max_batch > 0 && config.max_batch <= MAX_PAYLOAD, "max_batch out of range");
        assert!(config.window > 0 && config.max_handing > 0, "bounds are positive");
        Self {
            config,
            topics: BTreeMap::new(),
            turns: VecDeque::new(),
            handing: 0,
            now: Time::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Bytes that wait on a topic.
    pub fn waiting_bytes(&self, topic: &TopicId) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.waiting_bytes)
    }

    /// Bytes of a topic on the way that its slowest moving reader hasn't settled.
    pub fn on_the_way_bytes(&self, topic: &TopicId) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.on_the_way_bytes)
    }

    fn publish(&mut self, topic_id: TopicId, message: Bytes, express: bool) {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if topic.waiting.is_empty() {
            self.turns.push_back(topic_id);
        }
        topic.waiting_bytes += message.len();
        topic.waiting.push_back((self.now, message));
        if express {
            topic.urgent = topic.waiting.len();
        }
    }

    /// Gives every topic that has something waiting its turn, until none can seal.
    fn seal(&mut self) {
        let mut idle = 0;
        while idle < self.turns.len() && self.handing < self.config.max_handing {
            let Some(topic_id) = self.turns.pop_front() else { break };
            let Some(topic) = self.topics.get_mut(&topic_id) else { continue };
            match topic.seal(topic_id, self.now, &self.config) {
                Some(output) => {
                    self.outputs.push_back(output);
                    self.handing += 1;
                    idle = 0;
                }
                None => idle += 1,
            }
            match (topic.waiting.is_empty(), topic.deficit > 0) {
                (true, _) => topic.deficit = 0,
                (false, true) => self.turns.push_front(topic_id),
                (false, false) => self.turns.push_back(topic_id),
            }
        }
    }

    fn progress(&mut self, topic_id: &TopicId, peer: PublicKey, next: u64) {
        let now = self.now;
        let Some(topic) = self.topics.get_mut(topic_id) else { return };
        // Nobody can have settled what isn't sealed.
        let next = next.min(topic.next_number);
        let pace = topic.pace.entry(peer).or_insert(Pace { next: 0, moved: now, stalled: false });
        if next > pace.next {
            *pace = Pace { next, moved: now, stalled: false };
        }
        topic.settle();
    }

    fn mark_stalled(&mut self) {
        for topic in self.topics.values_mut() {
            let oldest = topic.on_the_way.front().map(|(number, _)| *number);
            for pace in topic.pace.values_mut() {
                let behind = oldest.is_some_and(|oldest| pace.next <= oldest);
                if behind && self.now >= pace.moved + self.config.stall {
                    pace.stalled = true;
                } else if !behind {
                    pace.moved = self.now;
                }
            }
            topic.settle();
        }
    }
}

impl Topic {
    fn new() -> Self {
        Self {
            readers: 0,
            urgent: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            deficit: 0,
            next_number: 1,
            next_message: 1,
            on_the_way: VecDeque::new(),
            on_the_way_bytes: 0,
            pace: BTreeMap::new(),
        }
    }

    /// Whether rules 1, 3 and 5 let an envelope go now.
    fn is_ready(&self, now: Time, config: &Config) -> bool {
        let Some((oldest, _)) = self.waiting.front() else { return false };
        let full = self.waiting_bytes >= config.max_batch;
        let due = self.urgent > 0 || full || now >= *oldest + config.linger;
        due && self.readers > 0 && !self.is_held_up(config)
    }

    fn is_held_up(&self, config: &Config) -> bool {
        let paced = self.pace.values().any(|pace| !pace.stalled);
        paced && self.on_the_way_bytes >= config.window
    }

    fn seal(&mut self, topic: TopicId, now: Time, config: &Config) -> Option<Output> {
        if !self.is_ready(now, config) {
            self.deficit = 0;
            return None;
        }
        if self.deficit == 0 {
            self.deficit = config.max_batch;
        }
        let mut payload = Vec::new();
        let mut count = 0;
        while let Some((_, message)) = self.waiting.front() {
            if count > 0 && payload.len() + message.len() > config.max_batch {
                break;
            }
            payload.extend_from_slice(message);
            self.waiting_bytes -= message.len();
            self.waiting.pop_front();
            self.urgent = self.urgent.saturating_sub(1);
            count += 1;
        }
        let (number, first) = (self.next_number, self.next_message);
        self.next_number += 1;
        self.next_message += count;
        self.deficit = self.deficit.saturating_sub(payload.len());
        // Whoever had settled all that was sent has stood still since now at the earliest.
        for pace in self.pace.values_mut().filter(|pace| pace.next == number) {
            pace.moved = now;
        }
        self.on_the_way.push_back((number, payload.len()));
        self.on_the_way_bytes += payload.len();
        self.settle();
        Some(Output::Seal { topic, number, first, count, payload })
    }

    /// Forgets what the slowest moving reader has settled; everything, if nobody sets the pace.
    fn settle(&mut self) {
        let slowest = self.pace.values().filter(|pace| !pace.stalled).map(|pace| pace.next).min();
        let settled = slowest.unwrap_or(u64::MAX);
        while let Some((number, bytes)) = self.on_the_way.front().copied() {
            if number >= settled {
                break;
            }
            self.on_the_way.pop_front();
            self.on_the_way_bytes -= bytes;
        }
    }

    fn timeout(&self, config: &Config) -> Option<Time> {
        let linger = self
            .waiting
            .front()
            .filter(|_| self.readers > 0 && !self.is_held_up(config))
            .map(|(oldest, _)| if self.urgent > 0 { *oldest } else { *oldest + config.linger });
        let moving = self.pace.values().filter(|pace| !pace.stalled);
        let stall = moving
            .filter(|_| !self.on_the_way.is_empty())
            .map(|pace| pace.moved + config.stall)
            .min();
        linger.into_iter().chain(stall).min()
    }
}

impl Protocol for Outbox {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Open { topic } => {
                self.topics.entry(topic).or_insert_with(Topic::new);
            }
            Input::Close { topic } => {
                self.topics.remove(&topic);
                self.turns.retain(|turn| *turn != topic);
            }
            Input::Publish { topic, message, express } => self.publish(topic, message, express),
            Input::Readers { topic, count } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.readers = count;
                }
            }
            Input::Progress { topic, peer, next } => self.progress(&topic, peer, next),
            Input::Left { peer } => {
                for topic in self.topics.values_mut() {
                    topic.pace.remove(&peer);
                    topic.settle();
                }
            }
            Input::Handed { .. } => self.handing = self.handing.saturating_sub(1),
            Input::Timeout => self.mark_stalled(),
        }
        self.seal();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.handing >= self.config.max_handing {
            return None;
        }
        self.topics.values().filter_map(|topic| topic.timeout(&self.config)).min()
    }
}

#[cfg(test)]
mod tests;
