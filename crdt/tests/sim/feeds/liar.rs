//! A lying writer: it signs a tree of entries instead of a chain, shows each peer other branches of
//! it, withholds payloads, repeats itself, forges others' headers and says rows that aren't so.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, SecretKey, Time};
use aether_crdt::proto::{
    entry::{Authority, Collection, Draft, Entry, Kind, Place},
    id::{FeedId, SpaceId},
    sync::{Message, Row, write_rows},
    time::Wall,
};
use aether_sim::Draw;
use minicbor::bytes::ByteArray;

use super::host::{Input, Output, Packet, What};

/// Most entries that a liar signs.
const MOST: usize = 40;

#[derive(Debug)]
struct Peer {
    stream: u32,
    sent: u64,
}

#[derive(Debug)]
pub(crate) struct Liar {
    space: SpaceId,
    key: SecretKey,
    feed: FeedId,
    wall: (Time, Wall),
    draw: Draw,
    /// Each entry, and which it follows.
    tree: Vec<(Entry, Option<usize>)>,
    /// What others sent it.
    heard: Vec<Message>,
    peers: BTreeMap<PublicKey, Peer>,
    /// How much harm it does: what a peer finds out ends the session, so a subtle liar lasts longer.
    is_crude: bool,
    next: Time,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(space: SpaceId, key: SecretKey, now: Time, wall: Wall, seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        // Its tree doesn't survive a crash, so each life lies in a feed of its own.
        let feed = FeedId { author: key.public(), incarnation: draw.number(0..=u64::MAX) };
        Self {
            space,
            feed,
            is_crude: draw.chance(0.3),
            key,
            wall: (now, wall),
            draw,
            tree: Vec::new(),
            heard: Vec::new(),
            peers: BTreeMap::new(),
            next: now,
            outputs: VecDeque::new(),
        }
    }

    fn say(&mut self, to: PublicKey, message: &Message) {
        let Some(peer) = self.peers.get(&to) else { return };
        let packet = Packet { stream: peer.stream, what: What::Message(message.encode()) };
        self.outputs.push_back(Output::Send { to, packet });
    }

    /// Signs one more entry, mostly on a branch that is there, sometimes as a new one.
    fn grow(&mut self, now: Time) {
        if self.tree.len() == MOST {
            return;
        }
        let near_tip = self.tree.len().saturating_sub(3);
        let parent = match self.tree.len() {
            0 => None,
            _ if self.draw.chance(0.1) => None,
            len if self.draw.chance(0.7) => Some(near_tip + self.draw.below(len - near_tip)),
            len => Some(self.draw.below(len)),
        };
        let place = match parent {
            Some(at) => Place::after(self.tree[at].0.header(), Authority::Genesis),
            None => Some(Place::first(self.space, self.feed, Authority::Genesis)),
        };
        let mut draft = Draft::new();
        let op = self.draw.number(0..=u64::MAX).to_be_bytes().to_vec();
        draft.op(Collection::new(Kind::Map, "lies"), op).expect("there is room");
        let (then, wall) = self.wall;
        let since = u64::try_from(now.since(then).as_millis()).unwrap_or(0);
        let ahead = if self.draw.chance(0.1) { 700_000 } else { 0 };
        let wall = Wall::from_millis(wall.as_millis() + since + ahead);
        let entry = draft.sign(&self.key, place.expect("few numbers"), wall);
        self.tree.push((entry.expect("within the rules"), parent));
    }

    /// Shows a peer one branch, from its first entry or from somewhere in it.
    fn show(&mut self, to: PublicKey) {
        if self.tree.is_empty() {
            return;
        }
        let mut way = vec![self.draw.below(self.tree.len())];
        while let Some(parent) = self.tree[way[way.len() - 1]].1 {
            way.push(parent);
        }
        if self.draw.chance(0.1) {
            // What is left hangs in the air.
            way.pop();
        }
        for at in way.into_iter().rev() {
            let (header, payload) =
                (self.tree[at].0.header().encode(), self.tree[at].0.payload().as_bytes().to_vec());
            let withheld = self.is_crude && self.draw.chance(0.05);
            let payload = if withheld { Vec::new() } else { payload };
            let Some(peer) = self.peers.get_mut(&to) else { return };
            peer.sent += 1;
            let n = peer.sent;
            let message = Message::Entry { n, header: header.into(), payload: payload.into() };
            self.say(to, &message);
        }
    }

    fn lie(&mut self, now: Time) {
        self.grow(now);
        let peers: Vec<PublicKey> = self.peers.keys().copied().collect();
        let Some(to) = self.draw.pick(&peers).copied() else { return };
        match self.draw.below(if self.is_crude { 10 } else { 7 }) {
            0..=3 => self.show(to),
            4 => {
                let digest = ByteArray::from([7; 32]);
                self.say(to, &Message::Hello { version: 1, asks: true, digest, feeds: 9 });
            }
            5 => {
                let rows = write_rows(&[Row::empty(self.feed)]).into();
                self.say(to, &Message::Rows { differing: true, last: true, rows });
            }
            6 => {
                let mut pair: Vec<Entry> =
                    self.tree.iter().map(|(entry, _)| entry.clone()).collect();
                pair.sort_by_key(|entry| (entry.header().number(), entry.header().hash()));
                let forked = pair
                    .windows(2)
                    .find(|pair| pair[0].header().number() == pair[1].header().number());
                if let Some([first, second]) = forked {
                    let [first, second] =
                        [first, second].map(|entry| entry.header().encode().into());
                    self.say(to, &Message::Evidence { first, second });
                }
            }
            7 => self.say(to, &Message::Ack { upto: 1 << 40, not: vec![] }),
            8 => self.forge(to),
            _ => {
                let Some(message) = self.draw.pick(&self.heard).cloned() else { return };
                self.say(to, &message);
            }
        }
    }

    /// Another's header with a bit flipped, and a fork of another that isn't one.
    fn forge(&mut self, to: PublicKey) {
        let entries = self.heard.iter().filter_map(|message| match message {
            Message::Entry { header, payload, .. } => Some((header.to_vec(), payload.to_vec())),
            _ => None,
        });
        let entries: Vec<_> = entries.collect();
        let Some((mut header, payload)) = self.draw.pick(&entries).cloned() else { return };
        let honest = header.clone();
        let at = header.len() - 1 - self.draw.below(120);
        header[at] ^= 1 << self.draw.below(8);
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.sent += 1;
        let n = peer.sent;
        if self.draw.chance(0.5) {
            let mut pair = [honest, header];
            pair.sort();
            let [first, second] = pair.map(Into::into);
            self.say(to, &Message::Evidence { first, second });
        } else {
            let message = Message::Entry { n, header: header.into(), payload: payload.into() };
            self.say(to, &message);
        }
    }

    fn packet(&mut self, from: PublicKey, Packet { stream, what }: Packet) {
        match what {
            What::Begin => drop(self.peers.insert(from, Peer { stream, sent: 0 })),
            What::End => {
                // It is back at once.
                if let Some(peer) = self.peers.get_mut(&from)
                    && self.key.public() < from
                {
                    *peer = Peer { stream: stream + 1, sent: 0 };
                    let packet = Packet { stream: stream + 1, what: What::Begin };
                    self.outputs.push_back(Output::Send { to: from, packet });
                }
            }
            What::Message(bytes) => {
                let Ok(Some(message)) = Message::decode(&bytes) else { return };
                if let Message::Entry { n, .. } = message {
                    // It is a good listener.
                    self.say(from, &Message::Ack { upto: n, not: vec![] });
                }
                if self.heard.len() < 64 {
                    self.heard.push(message);
                }
            }
        }
    }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Up(peer) if self.key.public() < peer => {
                let stream = self.draw.number(1 << 16..=1 << 17);
                let stream = u32::try_from(stream).expect("17 bits");
                self.peers.insert(peer, Peer { stream, sent: 0 });
                let packet = Packet { stream, what: What::Begin };
                self.outputs.push_back(Output::Send { to: peer, packet });
            }
            Input::Down(peer) => drop(self.peers.remove(&peer)),
            Input::Packet { from, packet } => self.packet(from, packet),
            _ => {}
        }
        while now >= self.next {
            self.lie(now);
            self.next =
                self.next + self.draw.duration(Duration::from_millis(100)..=Duration::from_secs(2));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}
