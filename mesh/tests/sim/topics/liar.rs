//! A lying node: it forges, replays, equivocates, lies in tips, asks for everything and answers and
//! forwards nothing.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};
use aether_mesh::proto::{
    envelope::{Envelope, Header},
    link::{Frame, Have, Tip, Tips, Want},
};
use aether_sim::Draw;

use super::peer::{Input, Output, Setup, Wire, byte_string};

const MEMORY: usize = 16;

#[derive(Debug)]
pub(crate) struct Liar {
    setup: Setup,
    neighbours: BTreeSet<PublicKey>,
    /// Envelopes heard, with their topic.
    heard: VecDeque<(usize, Vec<u8>)>,
    number: u64,
    draw: Draw,
    next: Time,
    wall: u64,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(setup: Setup, now: Time, wall: u64, seed: u64) -> Self {
        Self {
            setup,
            neighbours: BTreeSet::new(),
            heard: VecDeque::new(),
            number: 0,
            draw: Draw::new(seed),
            next: now,
            wall,
            outputs: VecDeque::new(),
        }
    }

    fn lie(&mut self) {
        let neighbours: Vec<PublicKey> = self.neighbours.iter().copied().collect();
        let Some(to) = self.draw.pick(&neighbours).copied() else { return };
        match self.draw.below(8) {
            0 => self.forge(to),
            1 => self.forge_on_the_link(to),
            2 => self.replay(to),
            3 => self.equivocate(&neighbours),
            4 | 5 => self.lie_in_tips(to),
            6 => self.ask_for_everything(to),
            _ => self.talk_nonsense(to),
        }
    }

    fn say(&mut self, to: PublicKey, wire: &Wire<'_>) {
        self.outputs.push_back(Output::Send { to, bytes: wire.encode() });
    }

    fn send(&mut self, to: PublicKey, frame: &Frame) {
        self.say(to, &Wire::Link(&frame.encode()));
    }

    /// Something heard, with one byte changed.
    fn forgery(&mut self) -> Option<(usize, Vec<u8>)> {
        let heard: Vec<_> = self.heard.iter().cloned().collect();
        let (topic, mut envelope) = self.draw.pick(&heard).cloned()?;
        let at = 1 + self.draw.below(envelope.len() - 1);
        envelope[at] ^= 1 << self.draw.below(8);
        Some((topic, envelope))
    }

    fn forge(&mut self, to: PublicKey) {
        if let Some((topic, envelope)) = self.forgery() {
            self.say(to, &Wire::Gossip { topic, envelope: &envelope });
        }
    }

    fn forge_on_the_link(&mut self, to: PublicKey) {
        if let Some((topic, envelope)) = self.forgery() {
            let topic = self.setup.topics[topic];
            self.send(to, &Frame::Have(Have { topic, envelopes: vec![envelope] }));
        }
    }

    /// Everything heard again, by gossip and over the link.
    fn replay(&mut self, to: PublicKey) {
        for (n, envelope) in self.heard.clone() {
            let topic = self.setup.topics[n];
            self.say(to, &Wire::Gossip { topic: n, envelope: &envelope });
            self.send(to, &Frame::Have(Have { topic, envelopes: vec![envelope] }));
        }
    }

    /// Says something else to everyone under one number, which skips some.
    fn equivocate(&mut self, neighbours: &[PublicKey]) {
        self.number += self.draw.number(1..=3);
        let number = self.number;
        let header = Header { incarnation: 1, number, first: number, time: self.wall };
        for to in neighbours {
            let payload = byte_string(10 + self.draw.below(2000));
            let (key, mesh) = (&self.setup.key, &self.setup.mesh);
            let envelope = Envelope::seal(key, mesh, &self.setup.topics[0], header, &payload);
            self.say(*to, &Wire::Gossip { topic: 0, envelope: envelope.bytes() });
        }
    }

    fn an_author(&mut self) -> (PublicKey, u64) {
        let heard: Vec<_> = self.heard.iter().cloned().collect();
        let heard = self.draw.pick(&heard).cloned();
        let heard = heard.and_then(|(_, bytes)| Envelope::decode(bytes.into()).ok());
        match heard {
            Some(envelope) => (envelope.author, envelope.incarnation),
            None => (self.setup.key.public(), 1),
        }
    }

    fn lie_in_tips(&mut self, to: PublicKey) {
        let tips = (0..self.draw.number(1..=5)).map(|_| {
            let (author, incarnation) = self.an_author();
            let near = self.draw.number(0..=100);
            let next = *self.draw.pick(&[near, u64::MAX, u64::MAX - 1]).expect("three");
            let later = incarnation + near;
            let incarnation = *self.draw.pick(&[incarnation, later, u64::MAX]).expect("three");
            Tip { author, incarnation, next }
        });
        let frame = Frame::Tips(Tips { tips: tips.collect(), topic: self.setup.topics[0] });
        self.send(to, &frame);
    }

    fn ask_for_everything(&mut self, to: PublicKey) {
        let (author, incarnation) = self.an_author();
        let topic = self.setup.topics[self.draw.below(2)];
        let numbers = (1..=64).collect();
        self.send(to, &Frame::Want(Want { topic, author, incarnation, numbers }));
    }

    fn talk_nonsense(&mut self, to: PublicKey) {
        let len = self.draw.below(300);
        let bytes = (0..len).map(|_| self.draw.number(0..=255) as u8).collect();
        self.outputs.push_back(Output::Send { to, bytes });
    }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Connected(peer) => {
                self.neighbours.insert(peer);
            }
            Input::Disconnected(peer) => {
                self.neighbours.remove(&peer);
            }
            Input::Arrived { bytes, .. } => {
                if let Some(Wire::Gossip { topic, envelope }) = Wire::decode(&bytes) {
                    self.heard.push_front((topic, envelope.to_vec()));
                    self.heard.truncate(MEMORY);
                }
            }
            Input::Publish { .. } => {}
            Input::Timeout { wall } => {
                self.wall = wall;
                if now >= self.next {
                    let pause = Duration::from_millis(10)..=Duration::from_millis(200);
                    self.next = now + self.draw.duration(pause);
                    self.lie();
                }
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}
