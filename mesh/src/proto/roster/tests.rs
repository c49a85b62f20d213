mod cards;
mod news;
mod probes;
mod suspicion;

use std::collections::BTreeSet;

use aether_core::{Domain, Genesis, wire};
use minicbor::{Encode, bytes::ByteArray};

use super::*;

const ME: u8 = 1;
const LIFE: u64 = 1_700_000_000_000;

fn mesh() -> MeshId {
    Genesis::open("aether").unwrap().mesh_id()
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn peer(n: u8) -> PublicKey {
    key(n).public()
}

fn profile(n: u8) -> Profile {
    Profile { addresses: vec![format!("/memory/{n}")], agent: "test".into(), roles: vec![] }
}

fn card(n: u8, revision: u64) -> Card {
    Card::sign(&key(n), &mesh(), LIFE, revision, false, profile(n))
}

fn farewell(n: u8, revision: u64) -> Card {
    Card::sign(&key(n), &mesh(), LIFE, revision, true, profile(n))
}

/// The same card under a signature that isn't good.
fn forged(card: &Card) -> Card {
    let mut bytes = wire::to_cbor(card);
    *bytes.last_mut().unwrap() ^= 1;
    wire::from_cbor(&bytes).unwrap()
}

fn suspect(n: u8, revision: u64) -> Update {
    Update::Suspect { peer: (*peer(n).as_bytes()).into(), life: LIFE, revision }
}

fn hello(updates: impl IntoIterator<Item = Update>) -> Message {
    Message::Hello { updates: updates.into_iter().collect() }
}

/// A roster, its clock, and what it put out and nobody took yet.
struct Fixture {
    roster: Roster,
    now: Time,
    outputs: Vec<Output>,
    /// Who answers pings at once.
    answering: BTreeSet<PublicKey>,
    /// Every ping sent: when, to whom, with which news.
    pings: Vec<(Time, PublicKey, Vec<Update>)>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let roster = Roster::new(config, mesh(), key(ME), LIFE, profile(ME), 7);
        Self {
            roster,
            now: Time::from_millis(9000),
            outputs: Vec::new(),
            answering: BTreeSet::new(),
            pings: Vec::new(),
        }
    }

    /// With members of these numbers, each in its first revision, all answering.
    fn with_members(config: Config, members: impl IntoIterator<Item = u8>) -> Self {
        let mut fixture = Self::new(config);
        for n in members {
            fixture.says(n, hello([Update::Card(card(n, 1))]));
            fixture.answering.insert(peer(n));
        }
        fixture.outputs.clear();
        fixture
    }

    fn handle(&mut self, input: Input) {
        self.roster.handle(self.now, input);
        let mut answers = Vec::new();
        while let Some(output) = self.roster.poll_output() {
            if let Output::Send { to, message: Message::Ping { number, updates } } = &output {
                self.pings.push((self.now, *to, updates.clone()));
                if self.answering.contains(to) {
                    answers.push((*to, Message::Ack { number: *number, updates: Vec::new() }));
                }
            }
            self.outputs.push(output);
        }
        for (from, message) in answers {
            self.handle(Input::Message { from, message });
        }
    }

    fn says(&mut self, n: u8, message: Message) {
        self.handle(Input::Message { from: peer(n), message });
    }

    /// Lets time pass, with a timeout whenever one is due.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(due) = self.roster.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    fn knows(&self, n: u8) -> bool {
        self.roster.members.contains_key(&peer(n))
    }

    fn suspects(&self, n: u8) -> bool {
        self.roster.members[&peer(n)].suspect_since.is_some()
    }

    fn take<T>(&mut self, choose: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for output in self.outputs.drain(..) {
            match choose(&output) {
                Some(found) => taken.push(found),
                None => rest.push(output),
            }
        }
        self.outputs = rest;
        taken
    }

    fn sent(&mut self) -> Vec<(PublicKey, Message)> {
        self.take(|output| match output {
            Output::Send { to, message } => Some((*to, message.clone())),
            _ => None,
        })
    }

    /// Whom others were asked to ping for us: (helper, target).
    fn asked(&mut self) -> Vec<(PublicKey, PublicKey, u64)> {
        self.take(|output| match output {
            Output::Send { to, message: Message::PingFor { number, target, .. } } => {
                Some((*to, PublicKey::from_bytes((*target).into()), *number))
            }
            _ => None,
        })
    }

    fn joined(&mut self) -> Vec<(PublicKey, u64)> {
        self.take(|output| match output {
            Output::Joined(card) => Some((card.peer(), card.revision)),
            _ => None,
        })
    }

    fn updated(&mut self) -> Vec<(PublicKey, u64)> {
        self.take(|output| match output {
            Output::Updated(card) => Some((card.peer(), card.revision)),
            _ => None,
        })
    }

    fn left(&mut self) -> Vec<(PublicKey, bool)> {
        self.take(|output| match output {
            Output::Left { peer, farewell } => Some((*peer, *farewell)),
            _ => None,
        })
    }

    fn forgers(&mut self) -> Vec<PublicKey> {
        self.take(|output| match output {
            Output::Forged { from } => Some(*from),
            _ => None,
        })
    }

    /// What rides on the answer to a ping of this member.
    fn news_for(&mut self, n: u8) -> Vec<Update> {
        self.outputs.clear();
        self.says(n, Message::Ping { number: 1, updates: vec![] });
        let sent = self.sent().into_iter();
        let mut acks = sent.filter_map(|(_, message)| match message {
            Message::Ack { number: 1, updates } => Some(updates),
            _ => None,
        });
        acks.next().expect("a ping is answered")
    }
}
