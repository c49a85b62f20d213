mod arrival;
mod bounds;
mod forwarding;
mod repair;
mod reports;

use aether_core::{Genesis, MeshId, SecretKey};
use proptest::prelude::*;

use super::*;
use crate::proto::{
    envelope::{Header, MAX_PAYLOAD, OVERHEAD, gossip_id},
    link::{Frame, Have, MAX_FRAME, Tip, Tips, Want},
};

const WALL: u64 = 1_700_000_000_000;
const LIFE: u64 = WALL - 1000;
const ME: u8 = 1;
const AUTHOR: u8 = 2;
const ALICE: u8 = 3;
const BOB: u8 = 4;

fn mesh() -> MeshId {
    Genesis::open("aether").unwrap().mesh_id()
}

fn topic() -> TopicId {
    TopicId::new(&mesh(), "greetings")
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn peer(n: u8) -> PublicKey {
    key(n).public()
}

fn seal(author: u8, header: Header, payload: &[u8]) -> Envelope {
    Envelope::seal(&key(author), &mesh(), &topic(), header, payload)
}

/// One message of one byte, numbered like its envelope.
fn envelope(author: u8, number: u64) -> Envelope {
    let header = Header { incarnation: LIFE, number, first: number, time: WALL };
    seal(author, header, &[0])
}

fn envelopes(author: u8, numbers: impl IntoIterator<Item = u64>) -> Vec<Envelope> {
    numbers.into_iter().map(|number| envelope(author, number)).collect()
}

fn of_life(incarnation: u64, number: u64) -> Envelope {
    seal(AUTHOR, Header { incarnation, number, first: number, time: WALL }, &[0])
}

fn sealed_at(number: u64, time: u64) -> Envelope {
    seal(AUTHOR, Header { incarnation: LIFE, number, first: number, time }, &[0])
}

/// The same content under a signature that isn't good.
fn forged(envelope: &Envelope) -> Envelope {
    let mut bytes = envelope.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Envelope::decode(bytes.into()).unwrap()
}

/// An envelope with a payload of so many bytes: that many messages.
fn sized(author: u8, number: u64, len: usize) -> Envelope {
    let header =
        Header { incarnation: LIFE, number, first: 1 + (number - 1) * len as u64, time: WALL };
    seal(author, header, &vec![0; len])
}

fn want(numbers: impl IntoIterator<Item = u64>) -> Want {
    let numbers = numbers.into_iter().collect();
    Want { topic: topic(), author: peer(AUTHOR), incarnation: LIFE, numbers }
}

fn tip(author: u8, incarnation: u64, next: u64) -> Tip {
    Tip { author: peer(author), incarnation, next }
}

/// An inbox that reads one topic, its clock, and what it put out and nobody took yet.
struct Fixture {
    inbox: Inbox,
    now: Time,
    wall: u64,
    /// Whether `Verify` is answered at once, truthfully.
    verifies: bool,
    outputs: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let inbox = Inbox::new(config, peer(ME), LIFE, 7);
        let now = Time::from_millis(5000);
        let mut fixture = Self { inbox, now, wall: WALL, verifies: true, outputs: Vec::new() };
        fixture.handle(Input::Subscribe { topic: topic(), wall: WALL });
        fixture
    }

    /// With neighbours Alice and Bob.
    fn with_neighbours(config: Config) -> Self {
        let mut fixture = Self::new(config);
        fixture.neighbour(ALICE);
        fixture.neighbour(BOB);
        fixture
    }

    fn handle(&mut self, input: Input) {
        self.inbox.handle(self.now, input);
        while let Some(output) = self.inbox.poll_output() {
            self.outputs.push(output.clone());
            if let Output::Verify { topic, envelope, origin } = output
                && self.verifies
            {
                let valid = envelope.verify(&mesh(), &topic).is_ok();
                self.handle(Input::Verified { topic, envelope, origin, valid });
            }
        }
    }

    fn neighbour(&mut self, n: u8) {
        self.handle(Input::Neighbour { topic: topic(), peer: peer(n) });
    }

    fn gossip_bytes(&mut self, from: u8, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let id = gossip_id(&topic().gossip_name(), &bytes);
        self.handle(Input::Gossip { topic: topic(), id, from: peer(from), bytes, wall: self.wall });
    }

    fn gossip(&mut self, from: u8, envelope: &Envelope) {
        self.gossip_bytes(from, envelope.bytes().clone());
    }

    fn have(&mut self, from: u8, envelopes: &[Envelope]) {
        let envelopes = envelopes.iter().map(|envelope| envelope.bytes().to_vec()).collect();
        let have = Have { topic: topic(), envelopes };
        self.handle(Input::Have { from: peer(from), have, wall: self.wall });
    }

    fn tips(&mut self, from: u8, tips: Vec<Tip>) {
        self.handle(Input::Tips { from: peer(from), tips: Tips { topic: topic(), tips } });
    }

    /// Lets time pass, with a timeout whenever one is due.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(due) = self.inbox.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
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

    /// (number, messages missed before it) of what was delivered.
    fn delivered(&mut self) -> Vec<(u64, u64)> {
        self.take(|output| match output {
            Output::Deliver { envelope, missed, .. } => Some((envelope.number, *missed)),
            _ => None,
        })
    }

    fn verified(&mut self) -> usize {
        self.take(|output| matches!(output, Output::Verify { .. }).then_some(())).len()
    }

    fn verdicts(&mut self) -> Vec<Verdict> {
        self.take(|output| match output {
            Output::Verdict { verdict, .. } => Some(*verdict),
            _ => None,
        })
    }

    fn faults(&mut self) -> Vec<(PublicKey, Fault)> {
        self.take(|output| match output {
            Output::Penalize { peer, fault } => Some((*peer, *fault)),
            _ => None,
        })
    }

    fn wants(&mut self) -> Vec<(PublicKey, Vec<u64>)> {
        self.take(|output| match output {
            Output::Send { to, frame: Frame::Want(want) } => Some((*to, want.numbers.clone())),
            _ => None,
        })
    }

    fn told(&mut self) -> Vec<(PublicKey, Vec<Tip>)> {
        self.take(|output| match output {
            Output::Send { to, frame: Frame::Tips(tips) } => Some((*to, tips.tips.clone())),
            _ => None,
        })
    }

    fn served(&mut self) -> Vec<(PublicKey, Frame)> {
        self.take(|output| match output {
            Output::Send { to, frame: frame @ Frame::Have(_) } => Some((*to, frame.clone())),
            _ => None,
        })
    }

    fn next(&self) -> Option<(u64, u64)> {
        self.inbox.next(&topic(), &peer(AUTHOR))
    }
}
