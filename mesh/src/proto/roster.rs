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
mod updates;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{MeshId, Protocol, PublicKey, SecretKey, Time};
use minicbor::{Decode, Encode, bytes::ByteArray};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub use self::card::{Card, CardError, Profile};
use self::updates::Updates;

/// Most updates in one message.
pub const MAX_UPDATES: usize = 16;

/// How a roster watches.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between two probes.
    pub probe_interval: Duration,
    /// How long a ping may take before others are asked to try.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect: usize,
    /// Probe intervals that a suspicion lasts at least; more in a large roster.
    pub suspicion: u32,
    /// Times that an update is told, per doubling of the roster.
    pub retransmit: u32,
    /// Members listed.
    pub max_members: usize,
    /// Dead remembered.
    pub max_dead: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect: 3,
            suspicion: 4,
            retransmit: 3,
            max_members: 1024,
            max_dead: 1024,
        }
    }
}

/// What members say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Message {
    /// Are you there? Answer with an ack of the same number.
    #[n(0)]
    Ping {
        /// Chosen by the sender.
        #[n(0)]
        number: u64,
        /// News.
        #[n(1)]
        updates: Vec<Update>,
    },
    /// I am here.
    #[n(1)]
    Ack {
        /// The ping's.
        #[n(0)]
        number: u64,
        /// News.
        #[n(1)]
        updates: Vec<Update>,
    },
    /// Ping that member for me, and pass its ack on to me under this number.
    #[n(2)]
    PingFor {
        /// Chosen by the sender.
        #[n(0)]
        number: u64,
        /// Whom to ping.
        #[n(1)]
        target: ByteArray<32>,
        /// News.
        #[n(2)]
        updates: Vec<Update>,
    },
    /// Some of those I know; first of all myself. Sent on connecting.
    #[n(3)]
    Hello {
        /// Cards.
        #[n(0)]
        updates: Vec<Update>,
    },
}

impl Message {
    fn updates(&mut self) -> &mut Vec<Update> {
        match self {
            Self::Ping { updates, .. }
            | Self::Ack { updates, .. }
            | Self::PingFor { updates, .. }
            | Self::Hello { updates } => updates,
        }
    }
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Update {
    /// A member's signed card.
    #[n(0)]
    Card(#[n(0)] Card),
    /// Somebody can't reach the member that this names, in this life and revision.
    #[n(1)]
    Suspect {
        /// Who.
        #[n(0)]
        peer: ByteArray<32>,
        /// Of which life.
        #[n(1)]
        life: u64,
        /// Of which revision.
        #[n(2)]
        revision: u64,
    },
}

/// What can happen to a roster.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connected node said this.
    Message {
        /// Who.
        from: PublicKey,
        /// What.
        message: Message,
    },
    /// A node that speaks the link is connected.
    Connected {
        /// Who.
        peer: PublicKey,
    },
    /// The last connection to a node is gone: it is probed next.
    Disconnected {
        /// Who.
        peer: PublicKey,
    },
    /// We have other addresses or roles now.
    Profile(Profile),
    /// We go: say so.
    Leave,
    /// The time asked for has come.
    Timeout,
}

/// What a roster wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send to a node, connecting to it first if need be; if it can't be, nothing needs to be said.
    Send {
        /// To whom.
        to: PublicKey,
        /// What.
        message: Message,
    },
    /// Tell the user: a member is there that wasn't.
    Joined(Card),
    /// Tell the user: a member has a new card.
    Updated(Card),
    /// Tell the user: a member is gone.
    Left {
        /// Who.
        peer: PublicKey,
        /// Whether it said so itself.
        farewell: bool,
    },
    /// Charge a peer that sent a card with a bad signature.
    Forged {
        /// Who sent it.
        from: PublicKey,
    },
}

/// A member as seen from here.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its latest card.
    pub card: Card,
    /// Smoothed time from ping to ack, if it was ever pinged.
    pub latency: Option<Duration>,
    /// When it last said something to us, or something new about itself through others.
    pub last_seen: Time,
    /// Since when our probes of it fail.
    pub suspect_since: Option<Time>,
    /// How long they have to fail until it is removed: never less than at any time meanwhile.
    patience: Duration,
}

#[derive(Debug)]
struct Probe {
    target: PublicKey,
    sent: Time,
    deadline: Time,
    indirect_sent: bool,
    /// Whether the deadline was put off already because our timeout was late.
    put_off: bool,
}

#[derive(Debug)]
struct Favour {
    asker: PublicKey,
    number: u64,
    until: Time,
}

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

    fn suspicion(&self) -> Duration {
        let scale = (self.members.len() + 1).ilog2().max(1);
        self.stretched(self.config.probe_interval * self.config.suspicion * scale.div_ceil(2))
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn send(&mut self, to: PublicKey, mut message: Message) {
        let limit = self.config.retransmit * (self.members.len() + 2).ilog2().max(1);
        let room = MAX_UPDATES.saturating_sub(message.updates().len());
        message.updates().extend(self.updates.take(room, limit));
        self.outputs.push_back(Output::Send { to, message });
    }

    fn sign_again(&mut self, leaving: bool, profile: Profile) {
        let (life, revision) = (self.card.life, self.card.revision + 1);
        self.card = Card::sign(&self.key, &self.mesh, life, revision, leaving, profile);
        self.updates.tell(Update::Card(self.card.clone()), self.config.max_members);
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

    /// Whoever speaks is alive. Whoever we hold for dead, or don't know, is told so.
    fn heard_from(&mut self, from: PublicKey) {
        self.heard = self.now;
        if let Some(member) = self.members.get_mut(&from) {
            member.last_seen = self.now;
            member.suspect_since = None;
        } else if self.members.len() < self.config.max_members {
            // Whose card we never saw is suspected in life 0, which any card refutes.
            let (life, revision, _) = self.dead.get(&from).copied().unwrap_or_default();
            let peer = (*from.as_bytes()).into();
            self.send_hello(from, vec![Update::Suspect { peer, life, revision }]);
        }
    }

    fn on_update(&mut self, from: PublicKey, update: Update) {
        match update {
            Update::Card(card) => self.on_card(from, card),
            Update::Suspect { peer, life, revision } => {
                self.on_suspect(PublicKey::from_bytes(peer.into()), life, revision);
            }
        }
    }

    fn on_card(&mut self, from: PublicKey, card: Card) {
        let peer = card.peer();
        if peer == self.me() || !self.is_news(&card) {
            return;
        }
        // Verified only if it is news, so that a repeated card costs no signature check.
        if card.verify(&self.mesh).is_err() {
            self.outputs.push_back(Output::Forged { from });
            return;
        }
        if card.is_leaving() {
            self.bury(peer, (card.life, card.revision));
            if self.members.remove(&peer).is_some() {
                self.outputs.push_back(Output::Left { peer, farewell: true });
                self.updates.tell(Update::Card(card), self.config.max_members);
            }
            return;
        }
        if !self.members.contains_key(&peer) && self.members.len() >= self.config.max_members {
            return;
        }
        self.dead.remove(&peer);
        let latency = self.members.get(&peer).and_then(|known| known.latency);
        let known = self.members.contains_key(&peer);
        let member = Member {
            card: card.clone(),
            latency,
            last_seen: self.now,
            suspect_since: None,
            patience: Duration::ZERO,
        };
        if self.members.is_empty() {
            // There was nobody to probe until now: that isn't late.
            self.next_probe = self.next_probe.max(self.now);
        }
        self.members.insert(peer, member);
        self.updates.tell(Update::Card(card.clone()), self.config.max_members);
        let output = if known { Output::Updated(card) } else { Output::Joined(card) };
        self.outputs.push_back(output);
    }

    fn is_news(&self, card: &Card) -> bool {
        let peer = card.peer();
        let version = (card.life, card.revision);
        let newer = |known: (u64, u64)| version > known;
        self.members.get(&peer).is_none_or(|known| newer((known.card.life, known.card.revision)))
            && self.dead.get(&peer).is_none_or(|(life, revision, _)| newer((*life, *revision)))
    }

    fn on_suspect(&mut self, peer: PublicKey, life: u64, revision: u64) {
        if peer == self.me() {
            self.on_suspected(life, revision);
            return;
        }
        let Some(member) = self.members.get(&peer) else { return };
        let current = (member.card.life, member.card.revision) == (life, revision);
        if current && !self.urgent.contains(&peer) && self.urgent.len() < self.config.max_members {
            self.urgent.push_back(peer);
        }
    }

    /// Answers a suspicion of ourselves. Nobody holds a later card of ours than our last, so who
    /// names a later one is lying; were it answered, a lie could use all revisions up.
    fn on_suspected(&mut self, life: u64, revision: u64) {
        let ours = (self.card.life, self.card.revision);
        if (life, revision) == ours && !self.card.is_leaving() {
            self.sign_again(false, self.card.profile.clone());
        } else if (life, revision) < ours {
            self.updates.tell(Update::Card(self.card.clone()), self.config.max_members);
        }
    }

    fn on_ack(&mut self, from: PublicKey, number: u64) {
        if let Some(favour) = self.favours.remove(&number) {
            let ack = Message::Ack { number: favour.number, updates: Vec::new() };
            self.send(favour.asker, ack);
            return;
        }
        let Some(probe) = self.probes.remove(&number) else { return };
        let now = self.now;
        self.doubt = self.doubt.saturating_sub(1);
        if let Some(member) = self.members.get_mut(&probe.target) {
            member.suspect_since = None;
            member.last_seen = now;
            if from == probe.target {
                let sample = now.since(probe.sent);
                // RFC 6298's smoothing: one eighth of the new sample.
                let smooth = |old: Duration| (old * 7 + sample) / 8;
                member.latency = Some(member.latency.map_or(sample, smooth));
            }
        }
    }

    fn on_ping_for(&mut self, asker: PublicKey, number: u64, target: PublicKey) {
        let room = self.favours.len() < self.config.max_members;
        if target == self.me() || !self.members.contains_key(&target) || !room {
            return;
        }
        let ours = self.number();
        let until = self.now + self.config.probe_interval * 10;
        self.favours.insert(ours, Favour { asker, number, until });
        self.send(target, Message::Ping { number: ours, updates: Vec::new() });
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

    fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n.max(1) as u64) as usize
    }

    /// Takes a late timeout for a sign that answers may wait unread as well.
    fn notice_starvation(&mut self, due: Option<Time>) {
        let late = due.map_or(Duration::ZERO, |due| self.now.since(due));
        if late > self.config.probe_timeout / 4 {
            self.doubt = (self.doubt + 1).min(8);
            let (now, more) = (self.now, late.min(self.config.probe_timeout));
            for probe in self.probes.values_mut().filter(|probe| !probe.put_off) {
                probe.deadline = probe.deadline.max(now) + more;
                probe.put_off = true;
            }
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

    fn next_in_round(&mut self) -> Option<PublicKey> {
        loop {
            if self.round.is_empty() {
                self.round = self.members.keys().copied().collect();
                for last in (1..self.round.len()).rev() {
                    let other = self.below(last + 1);
                    self.round.swap(last, other);
                }
            }
            let target = self.round.pop()?;
            if self.members.contains_key(&target) {
                return Some(target);
            }
        }
    }

    /// One of the suspects that aren't being probed, at random. They have turns of their own, so
    /// that many of them don't keep the round from finding others.
    fn next_suspect(&mut self) -> Option<PublicKey> {
        let probed = |peer| self.probes.values().any(|probe| probe.target == peer);
        let waits = |(peer, member): (&PublicKey, &Member)| {
            (member.suspect_since.is_some() && !probed(*peer)).then_some(*peer)
        };
        let suspects: Vec<PublicKey> = self.members.iter().filter_map(waits).collect();
        let at = self.below(suspects.len());
        suspects.get(at).copied()
    }

    fn probe(&mut self, target: PublicKey) {
        if self.probes.values().any(|probe| probe.target == target) {
            return;
        }
        let number = self.number();
        let deadline = self.now + self.stretched(self.config.probe_timeout);
        let probe =
            Probe { target, sent: self.now, deadline, indirect_sent: false, put_off: false };
        self.probes.insert(number, probe);
        // A suspected member hears of it first-hand, so that it can answer.
        let suspicion = self.members.get(&target).and_then(|member| {
            member.suspect_since.map(|_| Update::Suspect {
                peer: (*target.as_bytes()).into(),
                life: member.card.life,
                revision: member.card.revision,
            })
        });
        let updates = [Some(self.any_card()), suspicion].into_iter().flatten().collect();
        self.send(target, Message::Ping { number, updates });
    }

    /// Our own card or a member's, drawn at random.
    fn any_card(&mut self) -> Update {
        let at = self.below(self.members.len() + 1);
        let member = self.members.values().nth(at);
        Update::Card(member.map_or(&self.card, |member| &member.card).clone())
    }

    fn expire_probes(&mut self) {
        let late: Vec<u64> = self
            .probes
            .iter()
            .filter(|(_, probe)| probe.deadline <= self.now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let Some(mut probe) = self.probes.remove(&number) else { continue };
            let heard = self.members.get(&probe.target).map(|member| member.last_seen);
            if heard.is_none_or(|heard| heard > probe.sent) {
                continue;
            }
            if probe.indirect_sent {
                if self.heard < probe.sent {
                    self.doubt = (self.doubt + 1).min(8);
                }
                self.suspect(probe.target);
                continue;
            }
            probe.indirect_sent = true;
            probe.put_off = false;
            probe.deadline = self.now + self.stretched(self.config.probe_interval);
            let target = probe.target;
            self.probes.insert(number, probe);
            for helper in self.helpers(target) {
                let target = (*target.as_bytes()).into();
                self.send(helper, Message::PingFor { number, target, updates: Vec::new() });
            }
        }
    }

    fn helpers(&mut self, target: PublicKey) -> Vec<PublicKey> {
        let healthy = |(key, member): (&PublicKey, &Member)| {
            (*key != target && member.suspect_since.is_none()).then_some(*key)
        };
        let mut others: Vec<PublicKey> = self.members.iter().filter_map(healthy).collect();
        let mut helpers = Vec::new();
        while helpers.len() < self.config.indirect && !others.is_empty() {
            let at = self.below(others.len());
            helpers.push(others.swap_remove(at));
        }
        helpers
    }

    fn suspect(&mut self, peer: PublicKey) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&peer) else { return };
        if member.suspect_since.is_none() {
            member.suspect_since = Some(now);
            member.patience = Duration::ZERO;
            let (life, revision) = (member.card.life, member.card.revision);
            let suspicion = Update::Suspect { peer: (*peer.as_bytes()).into(), life, revision };
            self.updates.tell(suspicion, self.config.max_members);
        }
    }

    fn remove_dead(&mut self) {
        let (now, patience) = (self.now, self.suspicion());
        let mut gone = Vec::new();
        for (peer, member) in &mut self.members {
            let Some(since) = member.suspect_since else { continue };
            // A node that was cut off and now hears the first others again loses its doubt. It
            // must not lose its patience with those that it hasn't reached yet.
            member.patience = member.patience.max(patience);
            if now >= since + member.patience {
                gone.push(*peer);
            }
        }
        for peer in gone {
            if let Some(member) = self.members.remove(&peer) {
                self.bury(peer, (member.card.life, member.card.revision));
                self.outputs.push_back(Output::Left { peer, farewell: false });
            }
        }
    }

    fn bury(&mut self, peer: PublicKey, (life, revision): (u64, u64)) {
        if self.dead.len() >= self.config.max_dead {
            let oldest = self.dead.iter().min_by_key(|(_, (_, _, since))| *since);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.dead.remove(&oldest);
            }
        }
        self.dead.insert(peer, (life, revision, self.now));
        self.probes.retain(|_, probe| probe.target != peer);
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
