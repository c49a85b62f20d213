//! The dialer: whom to dial, and when.
//!
//! Rules:
//!
//! 1. While fewer than `target` peers are connected, candidates are dialed, at most `parallel` at
//!    a time, those that failed least first, ties at random.
//! 2. A candidate that fails waits: `base · 2^failures`, at most `max_wait`, with a jitter of a
//!    half, so that nodes that fell together don't rise together.
//! 3. Seeds are never forgotten; a seed without a peer id is dialed while nobody is connected.
//! 4. One that is left alone isn't dialed for so long, whatever is heard of it.
//! 5. The table is bounded; over the bound the candidate with the most failures is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aether_core::Time;
use libp2p::{Multiaddr, PeerId};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

const MAX_CANDIDATES: usize = 4096;
const MAX_ADDRESSES: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) target: usize,
    pub(crate) parallel: usize,
    pub(crate) base: Duration,
    pub(crate) max_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target: 16,
            parallel: 8,
            base: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
        }
    }
}

/// What to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    Peer(PeerId, Vec<Multiaddr>),
    /// A seed of which only the address is known.
    Address(Multiaddr),
}

#[derive(Debug)]
pub(crate) struct Dialer {
    config: Config,
    local: PeerId,
    rng: ChaCha12Rng,
    candidates: BTreeMap<PeerId, Candidate>,
    seeds: BTreeMap<Multiaddr, Wait>,
    connected: BTreeSet<PeerId>,
    dialing: BTreeSet<PeerId>,
    banned: BTreeSet<PeerId>,
}

#[derive(Debug, Default)]
struct Candidate {
    addresses: Vec<Multiaddr>,
    wait: Wait,
    seed: bool,
    left_alone: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    failures: u32,
    until: Time,
}

impl Dialer {
    pub(crate) fn new(config: Config, local: PeerId, seed: u64) -> Self {
        Self {
            config,
            local,
            rng: ChaCha12Rng::seed_from_u64(seed),
            candidates: BTreeMap::new(),
            seeds: BTreeMap::new(),
            connected: BTreeSet::new(),
            dialing: BTreeSet::new(),
            banned: BTreeSet::new(),
        }
    }

    /// A seed: never forgotten.
    pub(crate) fn seed(&mut self, address: Multiaddr) {
        let (bare, peer) = super::split_peer(address);
        match peer {
            Some(peer) => {
                self.found(peer, bare);
                if let Some(candidate) = self.candidates.get_mut(&peer) {
                    candidate.seed = true;
                }
            }
            None => {
                self.seeds.entry(bare).or_default();
            }
        }
    }

    /// Some source says that this peer may be there. Whether it was news.
    pub(crate) fn found(&mut self, peer: PeerId, address: Multiaddr) -> bool {
        if peer == self.local {
            return false;
        }
        if !self.candidates.contains_key(&peer) && self.candidates.len() >= MAX_CANDIDATES {
            self.forget_one();
        }
        let candidate = self.candidates.entry(peer).or_default();
        if candidate.addresses.contains(&address) {
            return false;
        }
        // News is worth a try at once, and the newest address is the likeliest.
        candidate.wait = Wait::default();
        candidate.addresses.insert(0, address);
        candidate.addresses.truncate(MAX_ADDRESSES);
        true
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.candidates.get(peer).map_or(&[], |candidate| &candidate.addresses)
    }

    pub(crate) fn connected(&mut self, peer: PeerId) {
        self.dialing.remove(&peer);
        self.connected.insert(peer);
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.wait = Wait::default();
        }
    }

    pub(crate) fn disconnected(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
    }

    pub(crate) fn failed(&mut self, now: Time, peer: PeerId) {
        self.dialing.remove(&peer);
        let Some(candidate) = self.candidates.get_mut(&peer) else { return };
        let wait = back_off(candidate.wait, now, &self.config, &mut self.rng);
        candidate.wait = wait;
        // What was never reached, and nobody vouches for any more, is dropped in time.
        if wait.failures > 16 && !candidate.seed && !self.connected.contains(&peer) {
            self.candidates.remove(&peer);
        }
    }

    /// Doesn't dial this peer before then: it's for the other side to connect.
    pub(crate) fn leave_alone(&mut self, peer: PeerId, until: Time) {
        if self.candidates.len() < MAX_CANDIDATES || self.candidates.contains_key(&peer) {
            self.candidates.entry(peer).or_default().left_alone = until;
        }
    }

    pub(crate) fn ban(&mut self, peer: PeerId) {
        self.banned.insert(peer);
    }

    pub(crate) fn pardon(&mut self, peer: &PeerId) {
        self.banned.remove(peer);
    }

    /// A seed by address alone turned out to be this node itself.
    pub(crate) fn is_self(&mut self, address: &Multiaddr) {
        self.seeds.remove(&super::split_peer(address.clone()).0);
    }

    /// What to dial now.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Dial> {
        let mut dials = Vec::new();
        let busy = self.connected.len() + self.dialing.len();
        let room = self.config.target.saturating_sub(busy);
        let room = room.min(self.config.parallel.saturating_sub(self.dialing.len()));
        let mut ready: Vec<(u32, u64, PeerId)> = Vec::new();
        for (peer, candidate) in &self.candidates {
            let idle = !self.connected.contains(peer) && !self.dialing.contains(peer);
            let allowed = !self.banned.contains(peer) && !candidate.addresses.is_empty();
            if idle && allowed && candidate.wait.until.max(candidate.left_alone) <= now {
                ready.push((candidate.wait.failures, self.rng.next_u64(), *peer));
            }
        }
        ready.sort_unstable();
        for (_, _, peer) in ready.into_iter().take(room) {
            self.dialing.insert(peer);
            dials.push(Dial::Peer(peer, self.candidates[&peer].addresses.clone()));
        }
        if self.connected.is_empty() {
            for (address, wait) in &mut self.seeds {
                if wait.until <= now {
                    *wait = back_off(*wait, now, &self.config, &mut self.rng);
                    dials.push(Dial::Address(address.clone()));
                }
            }
        }
        dials
    }

    fn forget_one(&mut self) {
        let rank = |(peer, candidate): &(&PeerId, &Candidate)| {
            (!candidate.seed && !self.connected.contains(peer), candidate.wait.failures)
        };
        let worst = self.candidates.iter().max_by_key(rank);
        if let Some(peer) = worst.map(|(peer, _)| *peer) {
            self.candidates.remove(&peer);
        }
    }
}

fn back_off(wait: Wait, now: Time, config: &Config, rng: &mut ChaCha12Rng) -> Wait {
    let failures = wait.failures.saturating_add(1);
    let full = config.base.saturating_mul(1 << failures.min(16)).min(config.max_wait);
    let jitter = full.mul_f64(0.5 * (rng.next_u32() as f64 / u32::MAX as f64));
    Wait { failures, until: now + (full - jitter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    fn dialer(target: usize) -> Dialer {
        let config = Config { target, parallel: 2, ..Config::default() };
        Dialer::new(config, PeerId::random(), 1)
    }

    #[test]
    fn dials_up_to_the_target_and_no_more_at_once_than_allowed() {
        let mut dialer = dialer(3);
        let peers: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            assert!(dialer.found(*peer, address(n as u16 + 1)));
        }
        let first = dialer.due(Time::ZERO);
        assert_eq!(first.len(), 2);
        assert_eq!(dialer.due(Time::ZERO), [], "two are on the way");
        for dial in first {
            let Dial::Peer(peer, _) = dial else { panic!("{dial:?}") };
            dialer.connected(peer);
        }
        assert_eq!(dialer.due(Time::ZERO).len(), 1, "the third fills the target");
    }

    #[test]
    fn failures_wait_longer_each_time_and_news_ends_the_wait() {
        let mut dialer = dialer(3);
        let peer = PeerId::random();
        dialer.found(peer, address(1));
        let (mut now, mut waits) = (Time::ZERO, Vec::new());
        for _ in 0..6 {
            assert_eq!(dialer.due(now).len(), 1);
            dialer.failed(now, peer);
            let start = now;
            while dialer.candidates[&peer].wait.until > now {
                now = now + Duration::from_millis(10);
            }
            waits.push(now.since(start));
        }
        assert!(waits[5] > waits[0] * 8, "{waits:?}");
        dialer.due(now);
        dialer.failed(now, peer);
        assert_eq!(dialer.due(now), []);
        assert!(!dialer.found(peer, address(1)), "the same address is no news");
        assert_eq!(dialer.due(now), []);
        dialer.found(peer, address(2));
        assert_eq!(dialer.due(now), [Dial::Peer(peer, vec![address(2), address(1)])]);
    }

    #[test]
    fn one_that_is_left_alone_is_dialed_later_whatever_is_heard() {
        let mut dialer = dialer(3);
        let peer = PeerId::random();
        let later = Time::ZERO + Duration::from_secs(3);
        dialer.leave_alone(peer, later);
        dialer.found(peer, address(1));
        assert_eq!(dialer.due(Time::ZERO), []);
        assert_eq!(dialer.due(later), [Dial::Peer(peer, vec![address(1)])]);
    }

    #[test]
    fn seeds_without_a_peer_id_are_dialed_while_alone() {
        let mut dialer = dialer(3);
        dialer.seed(address(7));
        assert_eq!(dialer.due(Time::ZERO), [Dial::Address(address(7))]);
        let later = Time::from_millis(3_600_000);
        assert_eq!(dialer.due(later), [Dial::Address(address(7))]);
        dialer.connected(PeerId::random());
        assert_eq!(dialer.due(later + Duration::from_secs(3600)), []);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_seeds() {
        let mut dialer = dialer(0);
        let seed = PeerId::random();
        dialer.seed(address(1).with(libp2p::multiaddr::Protocol::P2p(seed)));
        for n in 0..MAX_CANDIDATES + 100 {
            dialer.found(PeerId::random(), address((n % 60_000) as u16 + 1));
        }
        assert_eq!(dialer.candidates.len(), MAX_CANDIDATES);
        assert!(dialer.candidates.contains_key(&seed));
        for port in 1..100 {
            dialer.found(seed, address(port));
        }
        assert_eq!(dialer.addresses(&seed).len(), MAX_ADDRESSES);
    }

    #[test]
    fn the_banned_and_oneself_are_not_dialed() {
        let mut dialer = dialer(3);
        let (local, peer) = (dialer.local, PeerId::random());
        assert!(!dialer.found(local, address(1)));
        dialer.found(peer, address(1));
        dialer.ban(peer);
        assert_eq!(dialer.due(Time::ZERO), []);
        dialer.pardon(&peer);
        assert_eq!(dialer.due(Time::ZERO).len(), 1);
    }
}
