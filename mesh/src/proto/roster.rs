//! The roster: who is alive, by a bounded SWIM-style protocol.
//!
//! After SWIM (Das, Gupta, Motivala 2002) with two of Lifeguard's remedies against false alarms
//! (Dadgar, Phillips, Currey 2018), and one change: **nobody is declared dead on hearsay.** Rules:
//!
//! 1. **Cards.** A member is known by its *card*: its addresses, agent and roles, signed by itself.
//!    A later card, by (life, revision), replaces an earlier one. So nobody can put words or
//!    addresses in another's mouth.
//! 2. **Probes.** Every `probe_interval` the next member of a shuffled round is pinged. Without an
//!    answer in `probe_timeout`, `indirect` others are asked to ping it.
//! 3. **Suspicion.** A member that no probe of ours reached is suspected, and the suspicion is
//!    gossiped; a suspected member that hears of it answers with a card of a higher revision.
//!    Whoever hears of a suspicion probes the member itself, soon; hearsay alone changes nothing.
//!    Every `probe_interval` one of the suspects is probed again, beside the round.
//! 4. **Death.** A member that stays suspected by our own probes for `suspicion` intervals, scaled
//!    with the logarithm of the roster's size and our worst self-doubt meanwhile, is removed. Its
//!    last (life, revision) is remembered, so that old gossip doesn't revive it; if it speaks up,
//!    it is told, and answers with a higher revision. Who speaks up unknown is told so as well, and
//!    answers with its card.
//! 5. **Self-doubt** (Lifeguard's local health): a timeout that comes late, and a probe that fails
//!    while nobody at all is heard, make our timeouts longer, up to ninefold; a probe that succeeds
//!    makes them shorter. A late timeout also gives probes under way the time that was lost, from
//!    now and up to `probe_timeout`, once each: their answers may wait unread. So a node that is
//!    starved of processor time or cut off suspects itself before the others.
//! 6. **Piggyback.** Updates ride on pings and acks, the least told first, each at most
//!    `retransmit · log2(n + 1)` times. Each of our pings also carries one card drawn at random,
//!    news or not, so that what all these messages lost is learned in the end.
//! 7. **Farewell.** A node that leaves in order signs a last card that says so.
//! 8. **Bounds.** Members, remembered dead, updates in a message and bytes of a card are bounded.
//!    Over `max_members` a newcomer is left out; it still talks, it is just not listed.
//!
//! Cost: a node sends about one ping and one ack per `probe_interval`, whatever the size of the
//! roster, and one more ping while it suspects somebody. A member that dies is noticed within two
//! rounds at the latest.

mod card;
mod merging;
mod message;
mod probing;
mod suspicion;
mod types;
mod updates;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{MeshId, Protocol, PublicKey, SecretKey, Time};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub use self::{
    card::{Card, CardError, Profile},
    message::{MAX_UPDATES, Message, Update},
    types::{Config, Input, Member, Output},
};
use self::{
    probing::{Favour, Probe},
    updates::Updates,
};

/// See the [module](self).
#[derive(Debug)]
pub struct Roster {
    config: Config,
    mesh: MeshId,
    key: SecretKey,
    card: Card,
    rng: ChaCha12Rng,
    members: BTreeMap<PublicKey, Member>,
    /// Last (life, revision) of those that are gone, and since when.
    dead: BTreeMap<PublicKey, (u64, u64, Time)>,
    /// Whom to probe next, last first.
    round: Vec<PublicKey>,
    urgent: VecDeque<PublicKey>,
    probes: BTreeMap<u64, Probe>,
    /// Pings sent for others, by our number.
    favours: BTreeMap<u64, Favour>,
    updates: Updates,
    next_number: u64,
    next_probe: Time,
    /// Lifeguard's local health multiplier, 0 to 8.
    doubt: u32,
    /// When any other node was last heard.
    heard: Time,
    now: Time,
    outputs: VecDeque<Output>,
}

impl Roster {
    /// A roster of the node with this key, in this life, that knows nobody.
    pub fn new(
        config: Config,
        mesh: MeshId,
        key: SecretKey,
        life: u64,
        profile: Profile,
        seed: u64,
    ) -> Self {
        let card = Card::sign(&key, &mesh, life, 1, false, profile);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let next_number = rng.next_u64() >> 1;
        Self {
            config,
            mesh,
            key,
            card,
            rng,
            members: BTreeMap::new(),
            dead: BTreeMap::new(),
            round: Vec::new(),
            urgent: VecDeque::new(),
            probes: BTreeMap::new(),
            favours: BTreeMap::new(),
            updates: Updates::default(),
            next_number,
            next_probe: Time::ZERO,
            doubt: 0,
            heard: Time::ZERO,
            now: Time::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Our own card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The other members, by key.
    pub fn members(&self) -> &BTreeMap<PublicKey, Member> {
        &self.members
    }

    /// How much this node doubts itself: 0 healthy, 8 starved.
    pub fn doubt(&self) -> u32 {
        self.doubt
    }

    fn me(&self) -> PublicKey {
        self.card.peer()
    }

    /// A duration stretched by self-doubt.
    fn stretched(&self, duration: Duration) -> Duration {
        duration * (1 + self.doubt)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n.max(1) as u64) as usize
    }

    fn on_message(&mut self, from: PublicKey, mut message: Message) {
        let updates = std::mem::take(message.updates());
        for update in updates.into_iter().take(MAX_UPDATES) {
            self.on_update(from, update);
        }
        self.heard_from(from);
        match message {
            Message::Ping { number, .. } => {
                self.send(from, Message::Ack { number, updates: Vec::new() });
            }
            Message::Ack { number, .. } => self.on_ack(from, number),
            Message::PingFor { number, target, .. } => {
                self.on_ping_for(from, number, PublicKey::from_bytes(target.into()));
            }
            Message::Hello { .. } => {}
        }
    }

    fn on_timeout(&mut self) {
        self.favours.retain(|_, favour| favour.until > self.now);
        self.expire_probes();
        self.remove_dead();
        if self.now >= self.next_probe {
            self.next_probe = self.now + self.stretched(self.config.probe_interval);
            for target in [self.next_in_round(), self.next_suspect()].into_iter().flatten() {
                self.probe(target);
            }
        }
        while let Some(target) = self.urgent.pop_front() {
            if self.members.contains_key(&target) {
                self.probe(target);
            }
        }
    }

    fn leave(&mut self) {
        self.sign_again(true, self.card.profile.clone());
        let farewell = Update::Card(self.card.clone());
        let peers: Vec<PublicKey> = self.members.keys().copied().collect();
        // As many as would be told in one round of gossip tell the rest.
        let start = self.below(peers.len());
        for to in peers.iter().cycle().skip(start).take(peers.len().min(16)) {
            let message = Message::Hello { updates: vec![farewell.clone()] };
            self.outputs.push_back(Output::Send { to: *to, message });
        }
    }

    fn send(&mut self, to: PublicKey, mut message: Message) {
        let limit = self.config.retransmit * (self.members.len() + 2).ilog2().max(1);
        let room = MAX_UPDATES.saturating_sub(message.updates().len());
        message.updates().extend(self.updates.take(room, limit));
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Introduces us to a node, with a few others at random.
    fn send_hello(&mut self, to: PublicKey, mut updates: Vec<Update>) {
        updates.push(Update::Card(self.card.clone()));
        let keys: Vec<PublicKey> = self.members.keys().copied().filter(|key| *key != to).collect();
        let start = self.below(keys.len());
        for key in keys.iter().cycle().skip(start).take(keys.len().min(MAX_UPDATES - updates.len()))
        {
            updates.push(Update::Card(self.members[key].card.clone()));
        }
        self.outputs.push_back(Output::Send { to, message: Message::Hello { updates } });
    }

    fn sign_again(&mut self, leaving: bool, profile: Profile) {
        let (life, revision) = (self.card.life, self.card.revision + 1);
        self.card = Card::sign(&self.key, &self.mesh, life, revision, leaving, profile);
        self.updates.tell(Update::Card(self.card.clone()), self.config.max_members);
    }
}

impl Protocol for Roster {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        let due = self.poll_timeout();
        self.now = self.now.max(now);
        match input {
            Input::Message { from, message } if from != self.me() => self.on_message(from, message),
            Input::Message { .. } => {}
            Input::Connected { peer } => self.send_hello(peer, Vec::new()),
            Input::Disconnected { peer } => {
                if self.members.contains_key(&peer) && !self.urgent.contains(&peer) {
                    self.urgent.push_back(peer);
                }
            }
            Input::Profile(profile) => {
                let profile = profile.bounded();
                if profile != self.card.profile && !self.card.is_leaving() {
                    self.sign_again(false, profile);
                }
            }
            Input::Leave => self.leave(),
            Input::Timeout => {
                self.notice_starvation(due);
                self.on_timeout();
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.members.is_empty() || self.card.is_leaving() {
            return None;
        }
        let urgent = (!self.urgent.is_empty()).then_some(self.now);
        let probes = self.probes.values().map(|probe| probe.deadline).min();
        urgent.into_iter().chain(probes).chain([self.next_probe]).min()
    }
}

#[cfg(test)]
mod tests;
