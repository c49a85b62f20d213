//! The budget: how much a peer may send, and when it has misbehaved enough.
//!
//! Rules:
//!
//! 1. Each peer has two token buckets per channel (gossip, link): messages and bytes. What
//!    exceeds them is dropped unread and counted; it is no fault, as a burst can be honest.
//! 2. Each fault costs points, by how surely it is malice. Points fade linearly to zero over
//!    `forgiveness`. At `max_points` the peer is dropped, and refused for `ban`.
//! 3. The table is bounded: of those that hold neither points nor a ban, the longest unseen is
//!    forgotten first; then the one with the fewest points.
//!
//! Gossipsub's own peer scores (gossipsub 1.1, section "Peer Scoring") judge how well a peer
//! gossips, and take it out of the mesh; the budget judges what it sends, and closes the door.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// Sent bytes that are no envelope or frame.
    Malformed,
    /// Sent an envelope whose signature is not its author's.
    Forged,
    /// Sent more bytes in one message than any message may have.
    Oversized,
}

impl Fault {
    /// Every fault, for tables and metrics.
    pub const ALL: [Self; 3] = [Self::Malformed, Self::Forged, Self::Oversized];

    /// The fault's name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Oversized => "oversized",
        }
    }

    const fn points(self) -> f64 {
        match self {
            Self::Malformed | Self::Forged | Self::Oversized => 10.0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By which way something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Envelopes by gossip.
    Gossip,
    /// Frames on the link.
    Link,
}

/// How much one peer may send on one channel.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Messages a second.
    pub messages: u32,
    /// Bytes a second.
    pub bytes: u32,
    /// Seconds' worth that may come at once.
    pub burst: f64,
}

/// What peers may do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Envelopes that one neighbour may forward.
    pub gossip: Rate,
    /// Frames that one neighbour may send.
    pub link: Rate,
    /// Points at which a peer is dropped.
    pub max_points: f64,
    /// How long it takes `max_points` to fade.
    pub forgiveness: Duration,
    /// How long a dropped peer is refused.
    pub ban: Duration,
    /// Peers remembered.
    pub max_peers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gossip: Rate { messages: 10_000, bytes: 128 * 1024 * 1024, burst: 4.0 },
            link: Rate { messages: 1000, bytes: 32 * 1024 * 1024, burst: 4.0 },
            max_points: 100.0,
            forgiveness: Duration::from_secs(600),
            ban: Duration::from_secs(300),
            max_peers: 4096,
        }
    }
}

/// What can happen to a budget.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A peer did wrong.
    Fault {
        /// Who.
        peer: PublicKey,
        /// What.
        fault: Fault,
    },
    /// The time asked for has come.
    Timeout,
}

/// What a budget wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Close every connection to this peer and refuse new ones until [`Output::Pardon`].
    Ban {
        /// Who.
        peer: PublicKey,
        /// Its last fault.
        fault: Fault,
    },
    /// Refuse this peer no longer.
    Pardon {
        /// Who.
        peer: PublicKey,
    },
}

/// See the [module](self).
#[derive(Debug)]
pub struct Budget {
    config: Config,
    peers: BTreeMap<PublicKey, Account>,
    now: Time,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Account {
    gossip: Bucket,
    link: Bucket,
    points: f64,
    seen: Time,
    banned_until: Option<Time>,
}

#[derive(Debug)]
struct Bucket {
    messages: f64,
    bytes: f64,
    at: Time,
}

impl Bucket {
    fn full(rate: &Rate, now: Time) -> Self {
        let (messages, bytes) = (f64::from(rate.messages), f64::from(rate.bytes));
        Self { messages: messages * rate.burst, bytes: bytes * rate.burst, at: now }
    }

    fn take(&mut self, rate: &Rate, now: Time, bytes: usize) -> bool {
        let passed = now.since(self.at).as_secs_f64();
        let full = Self::full(rate, now);
        self.messages = (self.messages + passed * f64::from(rate.messages)).min(full.messages);
        self.bytes = (self.bytes + passed * f64::from(rate.bytes)).min(full.bytes);
        self.at = now;
        if self.messages < 1.0 || self.bytes < bytes as f64 {
            return false;
        }
        self.messages -= 1.0;
        self.bytes -= bytes as f64;
        true
    }
}

impl Budget {
    /// A budget that knows nobody.
    pub fn new(config: Config) -> Self {
        Self { config, peers: BTreeMap::new(), now: Time::ZERO, outputs: VecDeque::new() }
    }

    /// Whether a message of `bytes` from this peer is within its budget; spends it if so.
    pub fn admit(&mut self, now: Time, peer: PublicKey, channel: Channel, bytes: usize) -> bool {
        self.now = self.now.max(now);
        let now = self.now;
        let rate = match channel {
            Channel::Gossip => self.config.gossip,
            Channel::Link => self.config.link,
        };
        let account = self.account(peer);
        let bucket = match channel {
            Channel::Gossip => &mut account.gossip,
            Channel::Link => &mut account.link,
        };
        bucket.take(&rate, now, bytes)
    }

    /// Whether this peer is refused now.
    pub fn is_banned(&self, peer: &PublicKey) -> bool {
        self.peers.get(peer).is_some_and(|account| account.banned_until.is_some())
    }

    /// How many peers are remembered.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn account(&mut self, peer: PublicKey) -> &mut Account {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.config.max_peers {
            self.forget_one();
        }
        let now = self.now;
        let config = &self.config;
        let account = self.peers.entry(peer).or_insert_with(|| Account {
            gossip: Bucket::full(&config.gossip, now),
            link: Bucket::full(&config.link, now),
            points: 0.0,
            seen: now,
            banned_until: None,
        });
        let passed = now.since(account.seen).as_secs_f64() / config.forgiveness.as_secs_f64();
        account.points = (account.points - passed * config.max_points).max(0.0);
        account.seen = now;
        account
    }

    fn forget_one(&mut self) {
        let rank = |account: &Account| {
            let points = (account.points * 1000.0) as u64;
            (account.banned_until.is_some(), points, account.seen)
        };
        let least = self.peers.iter().min_by_key(|(_, account)| rank(account));
        if let Some(peer) = least.map(|(peer, _)| *peer)
            && let Some(account) = self.peers.remove(&peer)
            && account.banned_until.is_some()
        {
            self.outputs.push_back(Output::Pardon { peer });
        }
    }

    fn on_fault(&mut self, peer: PublicKey, fault: Fault) {
        let (max_points, until) = (self.config.max_points, self.now + self.config.ban);
        let account = self.account(peer);
        account.points += fault.points();
        if account.points >= max_points && account.banned_until.is_none() {
            account.banned_until = Some(until);
            self.outputs.push_back(Output::Ban { peer, fault });
        }
    }

    fn pardon(&mut self) {
        for (peer, account) in &mut self.peers {
            if account.banned_until.is_some_and(|until| self.now >= until) {
                account.banned_until = None;
                account.points = 0.0;
                self.outputs.push_back(Output::Pardon { peer: *peer });
            }
        }
    }
}

impl Protocol for Budget {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Fault { peer, fault } => self.on_fault(peer, fault),
            Input::Timeout => self.pardon(),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.peers.values().filter_map(|account| account.banned_until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PublicKey {
        PublicKey::from_bytes([n; 32])
    }

    fn config() -> Config {
        Config {
            gossip: Rate { messages: 10, bytes: 1000, burst: 2.0 },
            link: Rate { messages: 1, bytes: 1000, burst: 1.0 },
            max_peers: 3,
            ..Config::default()
        }
    }

    fn outputs(budget: &mut Budget) -> Vec<Output> {
        std::iter::from_fn(|| budget.poll_output()).collect()
    }

    #[test]
    fn messages_are_limited_and_refill_with_time() {
        let mut budget = Budget::new(config());
        let admit = |budget: &mut Budget, ms| {
            (0..100)
                .filter(|_| budget.admit(Time::from_millis(ms), peer(1), Channel::Gossip, 1))
                .count()
        };
        assert_eq!(admit(&mut budget, 0), 20);
        assert_eq!(admit(&mut budget, 500), 5);
        assert_eq!(admit(&mut budget, 60_000), 20, "no more than the burst is saved up");
    }

    #[test]
    fn bytes_are_limited_by_themselves() {
        let mut budget = Budget::new(config());
        assert!(budget.admit(Time::ZERO, peer(1), Channel::Gossip, 1500));
        assert!(!budget.admit(Time::ZERO, peer(1), Channel::Gossip, 501));
        assert!(budget.admit(Time::ZERO, peer(1), Channel::Gossip, 500));
    }

    #[test]
    fn peers_and_channels_do_not_share() {
        let mut budget = Budget::new(config());
        assert!(budget.admit(Time::ZERO, peer(1), Channel::Link, 1));
        assert!(!budget.admit(Time::ZERO, peer(1), Channel::Link, 1));
        assert!(budget.admit(Time::ZERO, peer(1), Channel::Gossip, 1));
        assert!(budget.admit(Time::ZERO, peer(2), Channel::Link, 1));
    }

    #[test]
    fn enough_faults_ban_once_and_a_ban_ends() {
        let mut budget = Budget::new(config());
        let fault = Input::Fault { peer: peer(1), fault: Fault::Forged };
        for _ in 0..9 {
            budget.handle(Time::ZERO, fault);
        }
        assert_eq!(outputs(&mut budget), []);
        budget.handle(Time::ZERO, fault);
        budget.handle(Time::ZERO, fault);
        assert_eq!(outputs(&mut budget), [Output::Ban { peer: peer(1), fault: Fault::Forged }]);
        assert!(budget.is_banned(&peer(1)));
        let end = budget.poll_timeout().unwrap();
        assert_eq!(end, Time::from_millis(300_000));
        budget.handle(end, Input::Timeout);
        assert_eq!(outputs(&mut budget), [Output::Pardon { peer: peer(1) }]);
        assert!(!budget.is_banned(&peer(1)));
    }

    #[test]
    fn points_fade() {
        let mut budget = Budget::new(config());
        for minute in 0..100 {
            let now = Time::from_millis(minute * 60_000);
            budget.handle(now, Input::Fault { peer: peer(1), fault: Fault::Malformed });
        }
        assert_eq!(outputs(&mut budget), [], "one mistake a minute is forgiven for ever");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_harmless_first() {
        let mut budget = Budget::new(config());
        for _ in 0..10 {
            budget.handle(Time::ZERO, Input::Fault { peer: peer(1), fault: Fault::Forged });
        }
        budget.handle(Time::ZERO, Input::Fault { peer: peer(2), fault: Fault::Forged });
        for n in 3..200 {
            budget.admit(Time::from_millis(n.into()), peer(n), Channel::Gossip, 1);
        }
        assert_eq!(budget.len(), 3);
        assert!(budget.is_banned(&peer(1)));
        assert!(budget.peers.contains_key(&peer(2)));
    }
}
