//! Scripts, one for each rule of the [module](super): a replica whose disk is synced by hand, and
//! peers who say what the script says.

mod chains;
mod discarding;
mod forks;
mod holding;
mod intake;
mod members;
mod offering;
mod pace;
mod readers;
mod saying;
mod standing;
mod together;
mod writing;

use std::{collections::BTreeMap, sync::Arc};

use minicbor::bytes::{ByteArray, ByteVec};

use super::*;
use crate::proto::{
    entry::{Authority, Collection, Draft, Entry, Header, Kind, Misfit, Place, Run},
    map::{Action, Change, Edit, Op},
    rows::Changes as Written,
    sync::{Message, read_rows, write_rows},
    time::Hybrid,
};

type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

const WALL: Wall = Wall::from_millis(1_800_000_000_000);
const NOW: Time = Time::ZERO;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn peer(seed: u8) -> PublicKey {
    key(seed).public()
}

fn genesis() -> Genesis {
    Genesis::new(Mode::Open, [7; 16], "guests", [peer(200)]).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A replica, and what of its changes isn't synced.
struct Node {
    replica: Replica<Memory>,
    unsynced: VecDeque<(u64, Written)>,
    /// The log of own tips.
    own: Option<EntryId>,
}

impl Node {
    /// A new replica, of the key 100.
    fn new() -> Self {
        Self::open(100, Config::default(), Memory::new(), None)
    }

    fn open(seed: u8, config: Config, disk: Memory, own: Option<EntryId>) -> Self {
        let keys = key(seed).into();
        let opened = Replica::open(config, genesis(), keys, [seed; 32], disk, own);
        let mut node = Self { replica: opened.unwrap(), unsynced: VecDeque::new(), own };
        assert_eq!(node.handle(NOW, Input::Wall(WALL)), []);
        node
    }

    /// What comes out but for changes to be written, which wait for the next [`sync`](Self::sync).
    fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        self.replica.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist { generation, changes, own } => {
                    self.unsynced.push_back((generation, Arc::unwrap_or_clone(changes)));
                    self.own = own.last().copied().or(self.own);
                }
                output => outputs.push(output),
            }
        }
        outputs
    }

    /// Syncs all that was changed.
    fn sync(&mut self, now: Time) -> Vec<Output> {
        self.sync_some(now, self.unsynced.len())
    }

    /// Syncs so many generations.
    fn sync_some(&mut self, now: Time, count: usize) -> Vec<Output> {
        let some: Vec<_> = self.unsynced.drain(..count).collect();
        let Some((generation, _)) = some.last() else { return Vec::new() };
        let generation = *generation;
        for (row, value) in some.into_iter().flat_map(|(_, changes)| changes) {
            let disk = self.replica.base_mut();
            match value {
                Some(value) => disk.insert(row, value),
                None => disk.remove(&row),
            };
        }
        self.handle(now, Input::Persisted { generation })
    }

    fn say(&mut self, now: Time, from: u8, message: &Message) -> Vec<Output> {
        self.handle(now, Input::Message { from: peer(from), bytes: message.encode() })
    }

    /// Begins a session in which the peer says that it holds the same.
    fn meet(&mut self, now: Time, with: u8) {
        assert_eq!(self.handle(now, Input::Connected { peer: peer(with), opens: false }), []);
        let hello = hello(true, self.replica.digest());
        assert!(matches!(sent(&self.say(now, with, &hello))[..], [Message::Hello { .. }]));
    }

    /// Begins a session in which the peer says that it holds nothing.
    fn meet_new(&mut self, now: Time, with: u8) -> Vec<Output> {
        self.handle(now, Input::Connected { peer: peer(with), opens: false });
        self.say(now, with, &hello(true, digest(&[])));
        let empty: Vec<Row> = self.replica.rows().keys().map(|feed| Row::empty(*feed)).collect();
        self.say(now, with, &rows(true, &empty))
    }

    fn write(&mut self, now: Time, token: u64) -> Vec<Output> {
        self.write_bytes(now, token, 8)
    }

    fn write_bytes(&mut self, now: Time, token: u64, bytes: usize) -> Vec<Output> {
        let mut draft = Draft::new();
        draft.op(Collection::new(Kind::Document, "notes"), vec![9; bytes]).unwrap();
        self.handle(now, Input::Write { token, draft, cites: Vec::new() })
    }

    fn last(&self) -> Position {
        self.replica.book().last()
    }

    fn holds(&self, entry: &Entry) -> bool {
        let Ok(position) = self.replica.book().position(&entry.header().id());
        position.is_some()
    }

    /// The messages that are sent when nothing else comes until then.
    fn pass(&mut self, until: Time) -> Vec<(Time, Message)> {
        let mut all = Vec::new();
        while let Some(at) = self.replica.poll_timeout().filter(|at| *at <= until) {
            let outputs = self.handle(at, Input::Timeout);
            all.extend(sent(&outputs).into_iter().map(|message| (at, message)));
        }
        all
    }
}

fn hello(asks: bool, digest: Hash) -> Message {
    let digest = ByteArray::from(*digest.as_bytes());
    Message::Hello { version: 1, asks, digest, feeds: 1 }
}

fn rows(differing: bool, rows: &[Row]) -> Message {
    Message::Rows { differing, last: true, rows: write_rows(rows).into() }
}

fn ack(upto: u64, not: &[u64]) -> Message {
    Message::Ack { upto, not: not.to_vec() }
}

fn offer(n: u64, entry: &Entry) -> Message {
    let header = ByteVec::from(entry.header().encode());
    Message::Entry { n, header, payload: entry.payload().as_bytes().to_vec().into() }
}

/// The messages among outputs.
fn sent(outputs: &[Output]) -> Vec<Message> {
    let message = |output: &Output| match output {
        Output::Send { message, .. } => Some(message.clone()),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}

/// The entries among messages: their numbers in the session, and names.
fn entries(outputs: &[Output]) -> Vec<(u64, EntryId)> {
    let entry = |message| match message {
        Message::Entry { n, header, .. } => Some((n, Header::decode(&header).unwrap().id())),
        _ => None,
    };
    sent(outputs).into_iter().filter_map(entry).collect()
}

fn closed(seed: u8, fault: Fault) -> Vec<Output> {
    vec![Output::Close { peer: peer(seed), fault: Some(fault) }]
}

fn feed(author: u8) -> FeedId {
    FeedId { author: peer(author), incarnation: 1 }
}

/// A draft of an entry that puts a value, which tells it from its siblings.
fn draft(salt: u64) -> Draft {
    let mut draft = Draft::new();
    let op = Op::new(*b"k", [], Change::Put(salt.to_be_bytes().to_vec())).unwrap();
    draft.op(Collection::new(Kind::Map, "all"), op.encode()).unwrap();
    draft
}

fn sign(author: u8, parent: Option<&Entry>, draft: Draft, wall: Wall) -> Entry {
    let place = match parent {
        Some(parent) => Place::after(parent.header(), Authority::Genesis).unwrap(),
        None => Place::first(genesis().space_id(), feed(author), Authority::Genesis),
    };
    draft.sign(&key(author), place, wall).unwrap()
}

fn entry(author: u8, parent: Option<&Entry>, salt: u64) -> Entry {
    sign(author, parent, draft(salt), WALL)
}

/// Entries of one place, ascending by their hashes.
fn siblings(author: u8, parent: Option<&Entry>, count: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = (0..count).map(|salt| entry(author, parent, salt)).collect();
    all.sort_by_key(|entry| entry.header().hash());
    all
}

/// A row of somebody who holds up to these numbers and hashes.
fn row(feed: FeedId, tips: &[(u64, Hash)]) -> Row {
    let mut bytes = write_rows(&[Row::empty(feed)]);
    *bytes.last_mut().unwrap() = u8::try_from(tips.len()).unwrap();
    for (number, hash) in tips {
        bytes.extend(number.to_be_bytes());
        bytes.extend(hash.as_bytes());
    }
    read_rows(&bytes).unwrap().unwrap().remove(0)
}
