//! A whole member: a roster and a directory, wired as a driver wires them, over a gossip that
//! floods and repairs nothing.

use std::collections::{BTreeSet, VecDeque};

use aether_core::{Domain, Hash, MeshId, Protocol, PublicKey, SecretKey, Time, wire};
use aether_mesh::proto::{
    budget::Fault,
    link::Frame,
    roster::{self, Profile, Roster},
    service::directory::{self, Config, Directory, Event},
};
use bytes::Bytes;

const SEEN: Domain = Domain::new("aether tests gossip id");

/// What travels between members.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// Between rosters.
    Roster(roster::Message),
    /// Between directories.
    Directory(directory::Message),
    /// An announcement on its way: who published it, which the envelope around it would prove.
    Gossip(PublicKey, Bytes),
}

impl Packet {
    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Roster(message) => [vec![0], Frame::Roster(message).encode()].concat(),
            Self::Directory(message) => [vec![1], wire::to_cbor(&message)].concat(),
            Self::Gossip(author, bytes) => [&[2], &author.as_bytes()[..], &bytes].concat(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match kind {
            0 => match Frame::decode(rest) {
                Ok(Frame::Roster(message)) => Some(Self::Roster(message)),
                _ => None,
            },
            1 => Some(Self::Directory(wire::from_cbor(rest).ok()?)),
            _ => {
                let (author, bytes) = rest.split_first_chunk()?;
                let author = PublicKey::from_bytes(*author);
                Some(Self::Gossip(author, Bytes::copy_from_slice(bytes)))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Input {
    /// Our clock, in milliseconds since the Unix epoch.
    pub(crate) wall: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Arrived {
        from: PublicKey,
        packet: Packet,
    },
    Connected(PublicKey),
    Disconnected(PublicKey),
    User(Event),
    /// Stops serving, and leaves.
    Leave,
    Timeout,
}

#[derive(Debug)]
pub(crate) enum Output {
    Send {
        to: PublicKey,
        packet: Packet,
    },
    /// We published an announcement.
    Announced(Bytes),
    Changed(String),
    Find(String),
    Fault(PublicKey, Fault),
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) directory: Directory,
    pub(crate) config: Config,
    pub(crate) left: bool,
    pub(crate) me: PublicKey,
    roster: Roster,
    neighbours: BTreeSet<PublicKey>,
    seen: BTreeSet<Hash>,
    now: Time,
    wall: u64,
    outputs: VecDeque<Output>,
}

impl Member {
    pub(crate) fn new(config: Config, mesh: MeshId, key: &SecretKey, life: u64, seed: u64) -> Self {
        let (profile, settings) = (Profile::default(), roster::Config::default());
        let roster = Roster::new(settings, mesh, key.clone(), life, profile, seed);
        Self {
            directory: Directory::new(config.clone(), mesh, key.clone(), life, seed),
            config,
            left: false,
            me: key.public(),
            roster,
            neighbours: BTreeSet::new(),
            seen: BTreeSet::new(),
            now: Time::ZERO,
            wall: 0,
            outputs: VecDeque::new(),
        }
    }

    fn tell_roster(&mut self, input: roster::Input) {
        self.roster.handle(self.now, input);
        while let Some(output) = self.roster.poll_output() {
            match output {
                roster::Output::Send { to, message } => self.send(to, Packet::Roster(message)),
                roster::Output::Joined(card) | roster::Output::Updated(card) => {
                    self.tell_directory(Event::Member { peer: card.peer(), life: card.life });
                }
                roster::Output::Left { peer, farewell } => {
                    self.tell_directory(Event::MemberLeft { peer, farewell });
                }
                roster::Output::Forged { .. } => {}
            }
        }
    }

    fn tell_directory(&mut self, event: Event) {
        self.directory.handle(self.now, directory::Input { wall: self.wall, event });
        while let Some(output) = self.directory.poll_output() {
            match output {
                directory::Output::Announce(bytes) => {
                    self.spread(self.me, self.me, &bytes);
                    self.outputs.push_back(Output::Announced(bytes));
                }
                directory::Output::Send { to, message } => {
                    self.send(to, Packet::Directory(message));
                }
                directory::Output::Changed { service } => {
                    self.outputs.push_back(Output::Changed(service));
                }
                directory::Output::Find { service } => {
                    self.outputs.push_back(Output::Find(service));
                }
                directory::Output::Fault { peer, fault } => {
                    self.outputs.push_back(Output::Fault(peer, fault));
                }
                directory::Output::Refused { .. }
                | directory::Output::Provide { .. }
                | directory::Output::StopProviding { .. } => {}
            }
        }
    }

    fn send(&mut self, to: PublicKey, packet: Packet) {
        self.outputs.push_back(Output::Send { to, packet });
    }

    /// Sends what is seen for the first time to all neighbours but the one that it came from.
    fn spread(&mut self, from: PublicKey, author: PublicKey, bytes: &Bytes) -> bool {
        let new = self.seen.insert(SEEN.hasher().update(author.as_bytes()).update(bytes).finish());
        for to in self.neighbours.clone().into_iter().filter(|to| new && *to != from) {
            self.send(to, Packet::Gossip(author, bytes.clone()));
        }
        new
    }

    fn on_packet(&mut self, from: PublicKey, packet: Packet) {
        match packet {
            Packet::Roster(message) => self.tell_roster(roster::Input::Message { from, message }),
            Packet::Directory(message) => self.tell_directory(Event::Message { from, message }),
            Packet::Gossip(author, bytes) => {
                if self.spread(from, author, &bytes) {
                    self.tell_directory(Event::Announced { from: author, bytes });
                }
            }
        }
    }
}

impl Protocol for Member {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        (self.now, self.wall) = (now, input.wall);
        match input.what {
            What::Arrived { from, packet } => self.on_packet(from, packet),
            What::Connected(peer) => {
                self.neighbours.insert(peer);
                self.tell_roster(roster::Input::Connected { peer });
                self.tell_directory(Event::Connected { peer });
            }
            What::Disconnected(peer) => {
                self.neighbours.remove(&peer);
                self.tell_roster(roster::Input::Disconnected { peer });
                self.tell_directory(Event::Disconnected { peer });
            }
            What::User(event) => self.tell_directory(event),
            What::Leave => {
                self.left = true;
                self.tell_directory(Event::Stop);
                self.tell_roster(roster::Input::Leave);
            }
            What::Timeout => {
                self.tell_roster(roster::Input::Timeout);
                self.tell_directory(Event::Timeout);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.roster.poll_timeout(), self.directory.poll_timeout()].into_iter().flatten().min()
    }
}
