//! A lying writer: it signs a tree of entries instead of a chain, shows each peer other branches of
//! it, withholds payloads, repeats itself, forges others' headers and says rows that aren't so. Its
//! operations change the collections of others and name what it heard of, what it wrote on other
//! branches, and what there never was.

mod tree;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Hash, Protocol, PublicKey, SecretKey, Time};
use aether_crdt::proto::{
    entry::{AccessOp, Authority, Draft, Entry, FeedPin, Header, Place},
    id::{EntryId, FeedId, SpaceId},
    space::Role,
    sync::{Message, Row, read_rows, write_rows},
    time::{Hybrid, Wall},
};
use aether_sim::Draw;
use minicbor::bytes::ByteArray;

use super::host::{Input, Output, Packet, What};

/// Most entries that a liar signs.
const MOST: usize = 80;

/// Most that it sends unacknowledged while it floods: what is allowed.
const WINDOW: u64 = 256;

#[derive(Debug)]
struct Peer {
    stream: u32,
    sent: u64,
    acked: u64,
    /// How many branches it was offered of a flood.
    flooded: usize,
}

impl Peer {
    const fn new(stream: u32, flooded: usize) -> Self {
        Self { stream, sent: 0, acked: 0, flooded }
    }
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
    /// Entries at number 1 with descending hashes.
    flood: Vec<Entry>,
    /// What others sent it, and the entries of others among that.
    heard: Vec<Message>,
    others: Vec<(EntryId, Hybrid)>,
    peers: BTreeMap<PublicKey, Peer>,
    /// How much harm it does: what is found out ends the session, so a subtle liar lasts longer.
    is_crude: bool,
    /// By what it may write: everyone may, or it waits to hear of a grant.
    authority: Option<Authority>,
    /// All its grants that it heard of.
    grants: Vec<Authority>,
    next: Time,
    offered: usize,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(
        space: SpaceId,
        key: SecretKey,
        now: Time,
        wall: Wall,
        seed: u64,
        is_open: bool,
    ) -> Self {
        let mut draw = Draw::new(seed);
        // Its tree doesn't survive a crash, so each life lies in a feed of its own.
        let feed = FeedId { author: key.public(), incarnation: draw.number(0..=u64::MAX) };
        Self {
            space,
            feed,
            is_crude: draw.chance(0.3),
            authority: is_open.then_some(Authority::Genesis),
            grants: Vec::new(),
            key,
            wall: (now, wall),
            draw,
            tree: Vec::new(),
            flood: Vec::new(),
            heard: Vec::new(),
            others: Vec::new(),
            peers: BTreeMap::new(),
            next: now,
            offered: 0,
            outputs: VecDeque::new(),
        }
    }

    /// How many entries of a flood it has offered.
    pub(crate) const fn offered(&self) -> usize {
        self.offered
    }

    fn say(&mut self, to: PublicKey, message: &Message) {
        let Some(peer) = self.peers.get(&to) else { return };
        let packet = Packet { stream: peer.stream, what: What::Message(message.encode()) };
        self.outputs.push_back(Output::Send { to, packet });
    }

    fn offer(&mut self, to: PublicKey, header: Vec<u8>, payload: Vec<u8>) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.sent += 1;
        let n = peer.sent;
        let message = Message::Entry { n, header: header.into(), payload: payload.into() };
        self.say(to, &message);
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
            let entry = &self.tree[at].0;
            let (header, payload) = (entry.header().encode(), entry.payload().as_bytes().to_vec());
            let withheld = self.is_crude && self.draw.chance(0.05);
            self.offer(to, header, if withheld { Vec::new() } else { payload });
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
            6 => self.show_fork(to),
            7 => self.say(to, &Message::Ack { upto: 1 << 40, not: vec![] }),
            8 => self.forge(to),
            _ => {
                let Some(message) = self.draw.pick(&self.heard).cloned() else { return };
                self.say(to, &message);
            }
        }
    }

    fn show_fork(&mut self, to: PublicKey) {
        let mut pair: Vec<&Entry> = self.tree.iter().map(|(entry, _)| entry).collect();
        pair.sort_by_key(|entry| (entry.header().number(), entry.header().hash()));
        let number = |entry: &Entry| entry.header().number();
        let forks: Vec<[Vec<u8>; 2]> = pair
            .windows(2)
            .filter(|pair| number(pair[0]) == number(pair[1]))
            .map(|pair| [pair[0].header().encode(), pair[1].header().encode()])
            .collect();
        let Some([first, second]) = self.draw.pick(&forks).cloned() else { return };
        self.say(to, &Message::Evidence { first: first.into(), second: second.into() });
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
        if self.draw.chance(0.5) {
            let mut pair = [honest, header];
            pair.sort();
            let [first, second] = pair.map(Into::into);
            self.say(to, &Message::Evidence { first, second });
        } else {
            self.offer(to, header, payload);
        }
    }

    /// Answers with rows that say that it has more of the peer's own feeds than the peer.
    fn boast(&mut self, to: PublicKey, rows: &[u8]) {
        let Ok(Some(rows)) = read_rows(rows) else { return };
        let own = rows.iter().filter(|row| row.feed().author == to);
        let boasts = own.flat_map(|row| {
            let mut bytes = write_rows(&[Row::empty(row.feed())]);
            if let Some(tips) = bytes.last_mut() {
                *tips = 1;
            }
            bytes.extend((row.top() + 3).to_be_bytes());
            bytes.extend([6; Hash::LEN]);
            bytes
        });
        let rows = boasts.collect::<Vec<u8>>().into();
        self.say(to, &Message::Rows { differing: true, last: true, rows });
    }

    /// Answers that it has nothing, so that it is sent everything.
    fn learn(&mut self, from: PublicKey, rows: &[u8], last: bool) {
        let Ok(Some(rows)) = read_rows(rows) else { return };
        let rows: Vec<Row> = rows.iter().map(|row| Row::empty(row.feed())).collect();
        let rows = write_rows(&rows).into();
        self.say(from, &Message::Rows { differing: true, last, rows });
    }

    /// Hears of a grant: by one it writes, and now and then it begins anew by another.
    fn granted(&mut self, header: &Header) {
        let Some(AccessOp::Grant { member, .. }) = header.access() else { return };
        let grant = Authority::Grant(header.id());
        if *member != self.key.public() || self.grants.contains(&grant) {
            return;
        }
        self.grants.push(grant);
        if self.authority.is_none() || self.draw.chance(0.5) {
            self.authority = Some(grant);
            self.tree.clear();
            let incarnation = self.draw.number(0..=u64::MAX);
            self.feed = FeedId { author: self.key.public(), incarnation };
        }
    }

    fn packet(&mut self, from: PublicKey, Packet { stream, what }: Packet) {
        let flooded = self.peers.get(&from).map_or(0, |peer| peer.flooded);
        match what {
            What::Begin => drop(self.peers.insert(from, Peer::new(stream, flooded))),
            What::End => {
                // It is back at once.
                if self.peers.contains_key(&from) && self.key.public() < from {
                    self.peers.insert(from, Peer::new(stream + 1, flooded));
                    let packet = Packet { stream: stream + 1, what: What::Begin };
                    self.outputs.push_back(Output::Send { to: from, packet });
                }
            }
            What::Message(bytes) => {
                let Ok(Some(message)) = Message::decode(&bytes) else { return };
                self.hear(from, &message);
                if let Message::Entry { header, .. } = &message
                    && let Ok(header) = Header::decode(header)
                    && self.authority != Some(Authority::Genesis)
                {
                    self.granted(&header);
                }
                if self.heard.len() < 64 {
                    if let Message::Entry { header, .. } = &message
                        && let Ok(header) = Header::decode(header)
                        && header.author() != self.key.public()
                    {
                        self.others.push((header.id(), header.time()));
                    }
                    self.heard.push(message);
                }
            }
        }
    }

    fn hear(&mut self, from: PublicKey, message: &Message) {
        match message {
            // It is a good listener.
            Message::Entry { n, .. } => self.say(from, &Message::Ack { upto: *n, not: vec![] }),
            Message::Ack { upto, .. } => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.acked = *upto;
                }
            }
            Message::Rows { differing: false, rows, .. } if self.draw.chance(0.5) => {
                self.boast(from, rows);
            }
            Message::Rows { differing: false, rows, last } => self.learn(from, rows, *last),
            _ => {}
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
                self.peers.insert(peer, Peer::new(stream, 0));
                let packet = Packet { stream, what: What::Begin };
                self.outputs.push_back(Output::Send { to: peer, packet });
            }
            Input::Down(peer) => drop(self.peers.remove(&peer)),
            Input::Packet { from, packet } => self.packet(from, packet),
            _ => {}
        }
        while now >= self.next {
            let rest = if self.flood.is_empty() {
                self.lie(now);
                self.draw.duration(Duration::from_millis(100)..=Duration::from_secs(2))
            } else {
                self.pour();
                Duration::from_secs(1)
            };
            self.next = self.next + rest;
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}
