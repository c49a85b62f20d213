//! A lying member: it answers for itself, helps nobody, suspects everyone, forges cards and
//! farewells and repeats old ones.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{MeshId, Protocol, PublicKey, SecretKey, Time, wire};
use aether_mesh::proto::roster::{Card, Input, Message, Output, Roster, Update};
use aether_sim::Draw;

#[derive(Debug)]
pub(crate) struct Liar {
    /// What keeps it a member.
    roster: Roster,
    mesh: MeshId,
    key: SecretKey,
    /// The first card heard of each member.
    old: BTreeMap<PublicKey, Card>,
    draw: Draw,
    next: Time,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(roster: Roster, mesh: MeshId, key: SecretKey, now: Time, seed: u64) -> Self {
        let old = BTreeMap::new();
        Self { roster, mesh, key, old, draw: Draw::new(seed), next: now, outputs: VecDeque::new() }
    }

    fn lie(&mut self) {
        let members: Vec<Card> =
            self.roster.members().values().map(|member| member.card.clone()).collect();
        for card in &members {
            self.old.entry(card.peer()).or_insert_with(|| card.clone());
        }
        let Some(to) = self.draw.pick(&members).map(Card::peer) else { return };
        let Some(victim) = self.draw.pick(&members).cloned() else { return };
        let (life, revision) = (victim.life, victim.revision);
        let update = match self.draw.below(6) {
            0 | 1 => suspect(victim.peer(), life, revision),
            2 => suspect(victim.peer(), life, u64::MAX - self.draw.number(0..=1)),
            3 => suspect(victim.peer(), u64::MAX, revision),
            4 => Update::Card(self.forge(&victim)),
            _ => Update::Card(self.old[&victim.peer()].clone()),
        };
        let number = self.draw.number(0..=u64::MAX);
        let updates = vec![update];
        let message = match self.draw.below(3) {
            0 => Message::Ping { number, updates },
            1 => Message::Ack { number, updates },
            _ => Message::Hello { updates },
        };
        self.outputs.push_back(Output::Send { to, message });
    }

    /// A later card of the victim, or its farewell, signed by the liar.
    fn forge(&mut self, victim: &Card) -> Card {
        let leaving = self.draw.chance(0.5);
        let (revision, profile) = (victim.revision + 1, victim.profile.clone());
        let ours = Card::sign(&self.key, &self.mesh, victim.life, revision, leaving, profile);
        let mut bytes = wire::to_cbor(&ours);
        let key = self.key.public();
        let at = bytes.windows(32).position(|window| window == key.as_bytes());
        let at = at.expect("a card holds its owner's key");
        bytes[at..at + 32].copy_from_slice(victim.peer().as_bytes());
        wire::from_cbor(&bytes).expect("only the key is another")
    }
}

fn suspect(peer: PublicKey, life: u64, revision: u64) -> Update {
    Update::Suspect { peer: (*peer.as_bytes()).into(), life, revision }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        if matches!(&input, Input::Message { message: Message::PingFor { .. }, .. }) {
            return;
        }
        self.roster.handle(now, input);
        if now >= self.next {
            let pause = Duration::from_millis(20)..=Duration::from_millis(500);
            self.next = now + self.draw.duration(pause);
            self.lie();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.roster.poll_output().or_else(|| self.outputs.pop_front())
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.roster.poll_timeout(), Some(self.next)].into_iter().flatten().min()
    }
}
