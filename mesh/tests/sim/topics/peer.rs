//! An honest node: outbox, inbox and budget, wired together as the driver does it. Gossip is a
//! flood among neighbours that obeys the inbox's verdicts.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use aether_core::{MeshId, Protocol, PublicKey, SecretKey, Time};
use aether_mesh::proto::{
    budget::{self, Budget, Channel, Fault},
    envelope::{Envelope, Header, TopicId, gossip_id},
    inbox::{self, Inbox, Origin, Verdict},
    link::{Frame, FrameError},
    outbox::{self, Outbox},
};
use aether_sim::Draw;

/// Messages' bytes that a topic may hold back, as the driver bounds them.
const MAX_WAITING: usize = 16 * 1024;

/// Message ids that gossip remembers.
const MAX_SEEN: usize = 4096;

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) key: SecretKey,
    pub(crate) mesh: MeshId,
    pub(crate) topics: [TopicId; 2],
    pub(crate) inbox: inbox::Config,
    pub(crate) outbox: outbox::Config,
    pub(crate) budget: budget::Config,
}

/// What happens to a node of either kind. `wall` is its clock in milliseconds.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Connected(PublicKey),
    Disconnected(PublicKey),
    Arrived { from: PublicKey, bytes: Vec<u8>, wall: u64 },
    Publish { topic: usize, len: usize, express: bool, wall: u64 },
    Timeout { wall: u64 },
}

#[derive(Debug)]
pub(crate) enum Output {
    Send { to: PublicKey, bytes: Vec<u8> },
    Published { topic: TopicId, envelope: Envelope },
    Delivered { topic: TopicId, envelope: Envelope, missed: u64 },
    Banned(PublicKey),
    Happened(&'static str),
}

/// A message on the wire: gossip on a topic, or a frame of the link.
pub(crate) enum Wire<'a> {
    Gossip { topic: usize, envelope: &'a [u8] },
    Link(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Gossip { topic, envelope } => [&[u8::from(*topic == 1)], *envelope].concat(),
            Self::Link(frame) => [&[2], *frame].concat(),
        }
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first()? {
            (2, frame) => Some(Self::Link(frame)),
            (topic @ (0 | 1), envelope) => {
                Some(Self::Gossip { topic: usize::from(*topic), envelope })
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Peer {
    setup: Setup,
    incarnation: u64,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    budget: Budget,
    neighbours: BTreeSet<PublicKey>,
    seen: BTreeSet<[u8; 20]>,
    seen_order: VecDeque<[u8; 20]>,
    /// Messages that gossip holds until the verdict: their topic and bytes.
    awaiting: BTreeMap<[u8; 20], (usize, Vec<u8>)>,
    /// Signature checks under way on other cores, by when they end.
    checking: BTreeMap<(Time, u64), (TopicId, Envelope, Origin)>,
    checks: u64,
    draw: Draw,
    now: Time,
    wall: u64,
    outputs: VecDeque<Output>,
}

impl Peer {
    pub(crate) fn new(setup: Setup, incarnation: u64, now: Time, wall: u64, seed: u64) -> Self {
        let me = setup.key.public();
        let mut peer = Self {
            incarnation,
            outbox: Outbox::new(setup.outbox.clone()),
            inbox: Inbox::new(setup.inbox.clone(), me, incarnation, seed),
            budget: Budget::new(setup.budget.clone()),
            setup,
            neighbours: BTreeSet::new(),
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            awaiting: BTreeMap::new(),
            checking: BTreeMap::new(),
            checks: 0,
            draw: Draw::new(seed),
            now,
            wall,
            outputs: VecDeque::new(),
        };
        for topic in peer.setup.topics {
            peer.inbox.handle(now, inbox::Input::Subscribe { topic, wall });
            peer.outbox.handle(now, outbox::Input::Open { topic });
        }
        peer
    }

    /// Whether all that others can make grow is within its bounds.
    pub(crate) fn check_bounds(&self) -> Result<(), String> {
        let Setup { inbox, outbox, budget, .. } = &self.setup;
        let held = (self.inbox.bytes(), 2 * (inbox.max_held + inbox.max_recent));
        let peers = (self.budget.len(), budget.max_peers);
        let topics = self.setup.topics.map(|topic| {
            // The last envelope may overstep the window.
            let window = outbox.window + outbox.max_batch.max(8 * 1024);
            let on_the_way = (self.outbox.on_the_way_bytes(&topic), window);
            (on_the_way, (self.outbox.waiting_bytes(&topic), MAX_WAITING))
        });
        let topics = topics.into_iter().flat_map(|(a, b)| [a, b]);
        for (found, bound) in topics.chain([held, peers]) {
            if found > bound {
                return Err(format!("{found} is over {bound}: {:?}", self.inbox.stats()));
            }
        }
        Ok(())
    }

    fn connected(&mut self, peer: PublicKey) {
        if self.budget.is_banned(&peer) || !self.neighbours.insert(peer) {
            return;
        }
        for topic in self.setup.topics {
            self.inbox.handle(self.now, inbox::Input::Neighbour { topic, peer });
        }
        self.count_readers();
    }

    fn disconnected(&mut self, peer: PublicKey) {
        self.neighbours.remove(&peer);
        self.inbox.handle(self.now, inbox::Input::Left { peer });
        self.outbox.handle(self.now, outbox::Input::Left { peer });
        self.count_readers();
    }

    fn count_readers(&mut self) {
        let count = self.neighbours.len();
        for topic in self.setup.topics {
            self.outbox.handle(self.now, outbox::Input::Readers { topic, count });
        }
    }

    fn arrived(&mut self, from: PublicKey, bytes: &[u8]) {
        if !self.neighbours.contains(&from) {
            return;
        }
        let Some(wire) = Wire::decode(bytes) else { return self.fault(from, Fault::Malformed) };
        let channel = match wire {
            Wire::Gossip { .. } => Channel::Gossip,
            Wire::Link(_) => Channel::Link,
        };
        if !self.budget.admit(self.now, from, channel, bytes.len()) {
            return self.happened("message over budget dropped");
        }
        match wire {
            Wire::Gossip { topic, envelope } => self.gossiped(from, topic, envelope),
            Wire::Link(frame) => self.linked(from, frame),
        }
    }

    fn gossiped(&mut self, from: PublicKey, topic: usize, envelope: &[u8]) {
        let topic_id = self.setup.topics[topic];
        let id = gossip_id(&topic_id.gossip_name(), envelope);
        if !self.see(id) {
            return;
        }
        self.awaiting.insert(id, (topic, envelope.to_vec()));
        let (bytes, wall) = (envelope.to_vec().into(), self.wall);
        let input = inbox::Input::Gossip { topic: topic_id, id, from, bytes, wall };
        self.inbox.handle(self.now, input);
    }

    /// Whether a message id is new to gossip.
    fn see(&mut self, id: [u8; 20]) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.seen_order.push_back(id);
        if self.seen_order.len() > MAX_SEEN
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    fn linked(&mut self, from: PublicKey, frame: &[u8]) {
        let input = match Frame::decode(frame) {
            Ok(Frame::Tips(tips)) => inbox::Input::Tips { from, tips },
            Ok(Frame::Want(want)) => inbox::Input::Want { from, want },
            Ok(Frame::Have(have)) => inbox::Input::Have { from, have, wall: self.wall },
            Ok(Frame::Roster(_) | Frame::Services(_) | Frame::Access(_) | Frame::Blobs(_))
            | Err(FrameError::UnknownKind { .. }) => return,
            Err(_) => return self.fault(from, Fault::Malformed),
        };
        let asked = self.inbox.stats().asked;
        let is_tips = matches!(input, inbox::Input::Tips { .. });
        self.inbox.handle(self.now, input);
        if is_tips && self.inbox.stats().asked > asked {
            self.happened("tip asked about");
        }
    }

    fn publish(&mut self, topic: usize, len: usize, express: bool) {
        let topic = self.setup.topics[topic];
        if self.outbox.waiting_bytes(&topic) + len > MAX_WAITING {
            return self.happened("publisher held back");
        }
        let message = byte_string(len).into();
        self.outbox.handle(self.now, outbox::Input::Publish { topic, message, express });
    }

    fn timeout(&mut self) {
        while let Some(check) = self.checking.first_entry()
            && check.key().0 <= self.now
        {
            let (topic, envelope, origin) = check.remove();
            let valid = envelope.verify(&self.setup.mesh, &topic).is_ok();
            let input = inbox::Input::Verified { topic, envelope, origin, valid };
            self.inbox.handle(self.now, input);
        }
        self.inbox.handle(self.now, inbox::Input::Timeout);
        self.outbox_timeout();
        self.budget.handle(self.now, budget::Input::Timeout);
    }

    fn outbox_timeout(&mut self) {
        let window = self.setup.outbox.window;
        let held_up = |outbox: &Outbox, topic: &TopicId| {
            outbox.on_the_way_bytes(topic) >= window && outbox.waiting_bytes(topic) > 0
        };
        let before = self.setup.topics.map(|topic| held_up(&self.outbox, &topic));
        self.outbox.handle(self.now, outbox::Input::Timeout);
        let after = self.setup.topics.map(|topic| held_up(&self.outbox, &topic));
        if before.contains(&true) {
            self.happened("topic waited for a reader");
        }
        if before.iter().zip(after).any(|(before, after)| *before && !after) {
            self.happened("stalled reader passed over");
        }
    }

    fn fault(&mut self, peer: PublicKey, fault: Fault) {
        self.budget.handle(self.now, budget::Input::Fault { peer, fault });
    }

    fn happened(&mut self, what: &'static str) {
        self.outputs.push_back(Output::Happened(what));
    }

    fn send(&mut self, to: PublicKey, wire: &Wire<'_>) {
        if self.neighbours.contains(&to) {
            self.outputs.push_back(Output::Send { to, bytes: wire.encode() });
        }
    }

    fn flood(&mut self, topic: usize, envelope: &[u8], except: Option<PublicKey>) {
        let to: Vec<PublicKey> =
            self.neighbours.iter().copied().filter(|peer| Some(*peer) != except).collect();
        for to in to {
            self.send(to, &Wire::Gossip { topic, envelope });
        }
    }

    /// Acts on all outputs of the three, and on what follows from that.
    fn drain(&mut self) {
        loop {
            if let Some(output) = self.inbox.poll_output() {
                self.act_on_inbox(output);
            } else if let Some(output) = self.outbox.poll_output() {
                self.seal(output);
            } else if let Some(output) = self.budget.poll_output() {
                self.act_on_budget(output);
            } else {
                return;
            }
        }
    }

    fn act_on_inbox(&mut self, output: inbox::Output) {
        match output {
            inbox::Output::Verify { topic, envelope, origin } => {
                let due = self.now + self.draw.duration(Duration::ZERO..=Duration::from_millis(2));
                self.checks += 1;
                self.checking.insert((due, self.checks), (topic, envelope, origin));
            }
            inbox::Output::Verdict { id, from, verdict } => {
                let (topic, envelope) =
                    self.awaiting.remove(&id).expect("one verdict for each message of gossip");
                if verdict == Verdict::Accept {
                    self.flood(topic, &envelope, Some(from));
                }
            }
            inbox::Output::Deliver { topic, envelope, missed } => {
                self.outputs.push_back(Output::Delivered { topic, envelope, missed });
            }
            inbox::Output::Send { to, frame } => self.send(to, &Wire::Link(&frame.encode())),
            inbox::Output::Progress { topic, peer, next } => {
                self.outbox.handle(self.now, outbox::Input::Progress { topic, peer, next });
            }
            inbox::Output::Penalize { peer, fault } => self.fault(peer, fault),
        }
    }

    fn seal(&mut self, output: outbox::Output) {
        let outbox::Output::Seal { topic, number, first, count, payload } = output;
        let header = Header { incarnation: self.incarnation, number, first, time: self.wall };
        let envelope = Envelope::seal(&self.setup.key, &self.setup.mesh, &topic, header, &payload);
        assert_eq!(envelope.count, count, "the outbox counts its messages");
        self.see(gossip_id(&topic.gossip_name(), envelope.bytes()));
        self.outputs.push_back(Output::Published { topic, envelope: envelope.clone() });
        let n = usize::from(topic == self.setup.topics[1]);
        self.flood(n, envelope.bytes(), None);
        self.inbox.handle(self.now, inbox::Input::Published { topic, envelope });
        self.outbox.handle(self.now, outbox::Input::Handed { topic });
    }

    fn act_on_budget(&mut self, output: budget::Output) {
        match output {
            budget::Output::Ban { peer, .. } => {
                self.disconnected(peer);
                self.outputs.push_back(Output::Banned(peer));
            }
            budget::Output::Pardon { .. } => self.happened("banned peer pardoned"),
        }
    }
}

/// A CBOR byte string of `len` bytes in all, as the message of a user.
pub(crate) fn byte_string(len: usize) -> Vec<u8> {
    let body = u16::try_from(len.saturating_sub(3)).expect("messages of the simulation are small");
    let mut message = vec![0x59];
    message.extend(body.to_be_bytes());
    message.resize(3 + usize::from(body), 0);
    message
}

impl Protocol for Peer {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        let before = self.inbox.stats();
        match input {
            Input::Connected(peer) => self.connected(peer),
            Input::Disconnected(peer) => self.disconnected(peer),
            Input::Arrived { from, bytes, wall } => {
                self.wall = wall;
                self.arrived(from, &bytes);
            }
            Input::Publish { topic, len, express, wall } => {
                self.wall = wall;
                self.publish(topic, len, express);
            }
            Input::Timeout { wall } => {
                self.wall = wall;
                self.timeout();
            }
        }
        self.drain();
        let after = self.inbox.stats();
        for (grew, what) in [
            (after.repaired > before.repaired, "envelope repaired by the link"),
            (after.missed > before.missed, "envelope given up"),
            (after.duplicate > before.duplicate, "duplicate ignored"),
            (after.stale > before.stale, "stale envelope ignored"),
            (after.forged > before.forged, "forgery refused"),
        ] {
            if grew {
                self.happened(what);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let checked = self.checking.keys().next().map(|(due, _)| *due);
        let ours = [self.inbox.poll_timeout(), self.outbox.poll_timeout()];
        ours.into_iter().chain([self.budget.poll_timeout(), checked]).flatten().min()
    }
}
