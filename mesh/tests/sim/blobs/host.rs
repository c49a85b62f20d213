//! A host: a fetch and a serving side, wired as a driver wires them, over a store that is a set of
//! groups.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
};

use aether_core::{Protocol, PublicKey, Time};
use aether_mesh::proto::blob::{
    Ranges,
    fetch::{self, Blame, Failure, Fetch},
    first_piece,
    frame::Frame,
    serve::{self, Serve, StreamId},
};
use aether_sim::Disk;
use bytes::Bytes;

use super::wire::{self, Blob, Packet};

#[derive(Debug)]
pub(crate) enum Input {
    Arrived {
        from: PublicKey,
        packet: Packet,
    },
    Connected(PublicKey),
    Disconnected(PublicKey),
    /// A reader wants the groups from this one on.
    Want(u64),
    /// The search has found everybody.
    Found,
    Timeout,
}

#[derive(Debug)]
pub(crate) enum Output {
    Send {
        to: PublicKey,
        packet: Packet,
    },
    Write(Range<u64>),
    Sync,
    Search,
    /// Bytes of this node didn't verify.
    Wrong(PublicKey),
    Blamed(PublicKey, Blame),
    Done,
    Failed(Failure),
    Sometimes(&'static str),
}

/// A stream of ours.
#[derive(Debug)]
struct Stream {
    number: u64,
    asks: VecDeque<Asked>,
}

#[derive(Debug)]
struct Asked {
    ask: u32,
    size: u64,
    left: Ranges,
    is_cancelled: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    blob: Blob,
    pub(crate) held: Ranges,
    pub(crate) fetch: Fetch,
    pub(crate) serve: Serve,
    /// Everybody else.
    others: Vec<PublicKey>,
    connected: BTreeSet<PublicKey>,
    streams: BTreeMap<PublicKey, Stream>,
    next_number: u64,
    /// Streams of others, by who opened them and their number there.
    incoming: BTreeMap<(PublicKey, u64), StreamId>,
    next_stream: StreamId,
    is_fetching: bool,
    unsynced: u32,
    now: Time,
    outputs: VecDeque<Output>,
}

/// What a crash left.
pub(crate) fn read_disk(disk: &Disk) -> Ranges {
    let group = |key: &[u8]| u64::from_be_bytes(*key.first_chunk().expect("a group"));
    disk.iter().map(|(key, _)| group(key)).map(|group| group..group + 1).collect()
}

impl Host {
    pub(crate) fn new(
        blob: Blob,
        held: Ranges,
        others: Vec<PublicKey>,
        life: u32,
        (fetch, serve): (fetch::Config, serve::Config),
    ) -> Self {
        let resumed = (!held.is_empty()).then(|| (blob.size, held.clone()));
        Self {
            blob,
            fetch: Fetch::new(fetch, blob.id(), resumed),
            held,
            serve: Serve::new(serve),
            others,
            connected: BTreeSet::new(),
            streams: BTreeMap::new(),
            next_number: u64::from(life) << 32,
            incoming: BTreeMap::new(),
            next_stream: 0,
            is_fetching: false,
            unsynced: 0,
            now: Time::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Begins to fetch.
    pub(crate) fn begin(&mut self, now: Time) {
        self.now = now;
        self.is_fetching = true;
        if !self.held.is_empty() && !self.is_whole() {
            self.outputs.push_back(Output::Sometimes("resumed"));
        }
        self.tell_fetch(fetch::Input::Timeout);
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.held.covers(&(0..self.blob.groups()))
    }

    pub(crate) fn fetch_stats(&self) -> fetch::Stats {
        self.fetch.stats()
    }

    fn send(&mut self, to: PublicKey, packet: Packet) {
        self.outputs.push_back(Output::Send { to, packet });
    }

    fn tell_fetch(&mut self, input: fetch::Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.fetch.handle(self.now, input);
            while let Some(output) = self.fetch.poll_output() {
                inputs.extend(self.on_fetch(output));
            }
        }
    }

    fn on_fetch(&mut self, output: fetch::Output) -> Option<fetch::Input> {
        match output {
            fetch::Output::Open { peer } if self.connected.contains(&peer) => {
                self.next_number += 1;
                let number = self.next_number;
                self.streams.insert(peer, Stream { number, asks: VecDeque::new() });
                self.send(peer, Packet::request(number, &Frame::Get(self.blob.id())));
            }
            fetch::Output::Open { peer } => return Some(fetch::Input::Lost { peer }),
            fetch::Output::Close { peer } => self.close(peer),
            fetch::Output::Ask { peer, ask, size, groups } => {
                let twice = groups.intersection(&self.held);
                assert!(twice.is_empty(), "{peer:?} is asked for {twice:?}, which is held");
                if let Some(stream) = self.streams.get_mut(&peer) {
                    let (left, is_cancelled) = (groups.clone(), false);
                    stream.asks.push_back(Asked { ask, size, left, is_cancelled });
                    let number = stream.number;
                    self.send(peer, Packet::request(number, &Frame::Ask { ask, groups }));
                }
            }
            fetch::Output::Cancel { peer, ask } => {
                let stream = self.streams.get_mut(&peer)?;
                let mut asks = stream.asks.iter_mut().filter(|asked| asked.ask == ask);
                asks.by_ref().for_each(|asked| asked.is_cancelled = true);
                let number = stream.number;
                self.send(peer, Packet::request(number, &Frame::Cancel { ask }));
            }
            fetch::Output::Blame { peer, blame } => {
                self.outputs.push_back(Output::Blamed(peer, blame));
            }
            fetch::Output::WantProviders => self.outputs.push_back(Output::Search),
            fetch::Output::Done => self.outputs.push_back(Output::Done),
            fetch::Output::Failed(failure) => self.outputs.push_back(Output::Failed(failure)),
            fetch::Output::Proved { size } => assert_eq!(size, self.blob.size),
            fetch::Output::Useless { .. } | fetch::Output::Progress { .. } => {}
        }
        None
    }

    fn close(&mut self, peer: PublicKey) {
        if let Some(stream) = self.streams.remove(&peer) {
            self.send(peer, Packet::RequesterCloses(stream.number));
        }
    }

    /// A provider said something.
    fn on_reply(&mut self, from: PublicKey, number: u64, bytes: &[u8]) {
        if self.streams.get(&from).is_none_or(|stream| stream.number != number) {
            return;
        }
        let peer = from;
        let input = match wire::frame(bytes) {
            Some(Frame::Held { size, groups }) => fetch::Input::Held { peer, size, groups },
            Some(Frame::NotHeld) => fetch::Input::NotHeld { peer },
            Some(Frame::Piece { ask, encoding }) => return self.on_piece(peer, ask, &encoding),
            Some(Frame::End { ask, why }) => {
                if !self.finish(&peer, ask) {
                    return;
                }
                fetch::Input::Ended { peer, ask, why }
            }
            Some(Frame::Busy { ask, retry_after }) => {
                if ask != 0 && !self.finish(&peer, ask) {
                    return;
                }
                fetch::Input::Busy { peer, ask, retry_after }
            }
            _ => fetch::Input::Wrong { peer, fault: Blame::Protocol },
        };
        self.tell_fetch(input);
    }

    /// An ask is over; false if it was cancelled or isn't there.
    fn finish(&mut self, peer: &PublicKey, ask: u32) -> bool {
        let Some(stream) = self.streams.get_mut(peer) else { return false };
        let Some(at) = stream.asks.iter().position(|asked| asked.ask == ask) else { return false };
        stream.asks.remove(at).is_some_and(|asked| !asked.is_cancelled)
    }

    fn on_piece(&mut self, peer: PublicKey, ask: u32, encoding: &[u8]) {
        let Some(stream) = self.streams.get_mut(&peer) else { return };
        let first = stream.asks.front_mut().filter(|asked| asked.ask == ask);
        let piece = first.and_then(|asked| Some((first_piece(&asked.left)?, asked)));
        let Some((groups, asked)) = piece else {
            self.tell_fetch(fetch::Input::Wrong { peer, fault: Blame::Protocol });
            return;
        };
        asked.left.remove(groups.clone());
        let (size, is_cancelled) = (asked.size, asked.is_cancelled);
        if asked.left.is_empty() {
            stream.asks.pop_front();
        }
        if is_cancelled {
            return;
        }
        if !self.blob.verifies(encoding, groups.clone(), size) {
            self.outputs.push_back(Output::Sometimes("wrong bytes"));
            self.outputs.push_back(Output::Wrong(peer));
            self.tell_fetch(fetch::Input::Wrong { peer, fault: Blame::WrongBytes });
            return;
        }
        self.held.insert(groups.clone());
        self.outputs.push_back(Output::Write(groups.clone()));
        self.unsynced += 1;
        if self.unsynced % 8 == 1 {
            self.outputs.push_back(Output::Sync);
        }
        self.tell_fetch(fetch::Input::Verified { peer, ask, groups });
        let held = self.holding();
        self.tell_serve(serve::Input::Holding { id: self.blob.id(), held });
    }

    fn holding(&self) -> Option<(u64, Ranges)> {
        let size = self.fetch.size()?;
        Some((size, self.held.clone()))
    }

    fn tell_serve(&mut self, input: serve::Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.serve.handle(self.now, input);
            while let Some(output) = self.serve.poll_output() {
                inputs.extend(self.on_serve(output));
            }
        }
    }

    fn on_serve(&mut self, output: serve::Output) -> Vec<serve::Input> {
        match output {
            serve::Output::Watch { id } => {
                let held = self.holding();
                vec![serve::Input::Holding { id, held }]
            }
            serve::Output::Unwatch { .. } => vec![],
            serve::Output::Send { stream, frame } => {
                self.reply(stream, &frame);
                vec![serve::Input::Written { stream }]
            }
            serve::Output::Read { stream, ask, size, groups, .. } => {
                assert!(self.held.covers(&groups) && size == self.blob.size);
                if self.is_fetching && !self.is_whole() {
                    self.outputs.push_back(Output::Sometimes("served by one that fetches"));
                }
                let encoding = self.blob.encode(groups);
                let bytes = Some(encoding.len() as u64);
                self.reply(stream, &Frame::Piece { ask, encoding });
                vec![serve::Input::Read { stream, bytes }, serve::Input::Written { stream }]
            }
            serve::Output::End { stream, fault, .. } => {
                assert_eq!(fault, None, "requesters are honest");
                let of = self.incoming.iter().find(|(_, other)| **other == stream);
                if let Some((peer, number)) = of.map(|(key, _)| *key) {
                    self.incoming.remove(&(peer, number));
                    self.send(peer, Packet::ProviderCloses(number));
                }
                vec![]
            }
        }
    }

    fn reply(&mut self, stream: StreamId, frame: &Frame) {
        let of = self.incoming.iter().find(|(_, other)| **other == stream);
        if let Some((peer, number)) = of.map(|(key, _)| *key) {
            self.send(peer, Packet::reply(number, frame));
        }
    }

    fn on_request(&mut self, from: PublicKey, number: u64, bytes: &Bytes) {
        let Some(frame) = wire::frame(bytes) else { return };
        if let Frame::Get(_) = frame {
            self.next_stream += 1;
            self.incoming.insert((from, number), self.next_stream);
            let stream = self.next_stream;
            self.tell_serve(serve::Input::Opened { stream, peer: from });
        }
        if let Some(stream) = self.incoming.get(&(from, number)).copied() {
            self.tell_serve(serve::Input::Frame { stream, frame });
        }
    }

    fn on_disconnected(&mut self, peer: PublicKey) {
        self.connected.remove(&peer);
        let of_peer = (peer, 0)..=(peer, u64::MAX);
        let gone: Vec<StreamId> = self.incoming.range(of_peer).map(|(_, stream)| *stream).collect();
        self.incoming.retain(|(of, _), _| *of != peer);
        for stream in gone {
            self.tell_serve(serve::Input::Closed { stream });
        }
        if self.streams.remove(&peer).is_some() {
            self.tell_fetch(fetch::Input::Lost { peer });
        }
    }

    fn on_packet(&mut self, from: PublicKey, packet: Packet) {
        match packet {
            Packet::Request(number, bytes) => self.on_request(from, number, &bytes),
            Packet::Reply(number, bytes) => self.on_reply(from, number, &bytes),
            Packet::RequesterCloses(number) => {
                if let Some(stream) = self.incoming.remove(&(from, number)) {
                    self.tell_serve(serve::Input::Closed { stream });
                }
            }
            Packet::ProviderCloses(number) => {
                if self.streams.get(&from).is_some_and(|stream| stream.number == number) {
                    self.streams.remove(&from);
                    self.tell_fetch(fetch::Input::Lost { peer: from });
                }
            }
        }
    }
}

impl Protocol for Host {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        let doubled = self.fetch.stats().doubled;
        match input {
            Input::Arrived { from, packet } => self.on_packet(from, packet),
            Input::Connected(peer) => {
                self.connected.insert(peer);
                if self.is_fetching {
                    self.tell_fetch(fetch::Input::Found { peer, preferred: false });
                }
            }
            Input::Disconnected(peer) => self.on_disconnected(peer),
            Input::Want(group) => {
                let groups = group..group + 20;
                self.tell_fetch(fetch::Input::Want { reader: group % 4, groups });
            }
            Input::Found => {
                for peer in self.others.clone() {
                    self.tell_fetch(fetch::Input::Found { peer, preferred: false });
                }
            }
            Input::Timeout => {
                if self.is_fetching {
                    self.tell_fetch(fetch::Input::Timeout);
                }
                self.tell_serve(serve::Input::Timeout);
            }
        }
        if self.fetch.stats().doubled > doubled {
            self.outputs.push_back(Output::Sometimes("group doubled"));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let fetch = self.fetch.poll_timeout().filter(|_| self.is_fetching);
        [fetch, self.serve.poll_timeout()].into_iter().flatten().min()
    }
}
