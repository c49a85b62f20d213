//! A host: a replica over a disk, wired as a driver wires it. It checks on the way that nothing is
//! said of what isn't synced.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::workload::log;
use aether_core::{Protocol, PublicKey, Time, wire::Reader};
use aether_crdt::proto::{
    access::Standing,
    book::Known,
    compact,
    entry::{Draft, Header, Run},
    feed::Evidence,
    id::{EntryId, FeedId},
    map::{Edit, Feeds as _},
    replica::{self, Change, Fault, Replica, WriteError},
    rows::Changes,
    sync::{Message, read_rows},
    time::Wall,
};

/// The key of the log of own tips on a disk. No row begins with this byte.
pub(crate) const OWN: [u8; 1] = [255];
/// The same of the owner's key.
pub(crate) const OWNER: [u8; 1] = [254];

pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug)]
pub(crate) enum Input {
    Up(PublicKey),
    Down(PublicKey),
    Packet {
        from: PublicKey,
        packet: Packet,
    },
    Write {
        draft: Draft,
        cites: Vec<FeedId>,
    },
    Edit(Vec<Edit>),
    Change(PublicKey, Change),
    /// Discards what is dead; or else, drawn from this, anything.
    Discard(Option<u64>),
    Compare(PublicKey),
    Persisted(u64),
    Timeout,
}

/// What travels: a message within a stream, which has a number, or the stream's begin or end.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) stream: u32,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Begin,
    End,
    Message(Vec<u8>),
}

impl Packet {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, rest) = match &self.what {
            What::Begin => (0, &[][..]),
            What::End => (1, &[][..]),
            What::Message(bytes) => (2, &bytes[..]),
        };
        [&self.stream.to_be_bytes()[..], &[kind], rest].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (stream, kind) = (reader.u32().ok()?, reader.u8().ok()?);
        let what = match kind {
            0 => What::Begin,
            1 => What::End,
            _ => What::Message(reader.rest().to_vec()),
        };
        Some(Self { stream, what })
    }
}

#[derive(Debug)]
pub(crate) enum Output {
    Send {
        to: PublicKey,
        packet: Packet,
    },
    Persist {
        generation: u64,
        changes: Changes,
        own: Vec<EntryId>,
    },
    /// What was written, and which keys with it were added to the log.
    Written(Option<EntryId>, Vec<Vec<u8>>),
    Refused(WriteError),
    Forked(FeedId, Evidence),
    Outrun,
    Faulted(PublicKey, Fault),
    /// Something was said that isn't so.
    Violated(String),
    Sometimes(&'static str),
}

/// A stream to a peer.
#[derive(Debug, Default)]
struct Stream {
    number: u32,
    is_open: bool,
    /// Entries that the peer sent and that weren't acknowledged.
    offered: BTreeMap<u64, EntryId>,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) replica: Replica<Rows>,
    key: PublicKey,
    streams: BTreeMap<PublicKey, Stream>,
    writing: BTreeMap<u64, Changes>,
    tokens: u64,
    /// The keys that writes add to the log.
    adding: BTreeMap<u64, Vec<Vec<u8>>>,
    outputs: VecDeque<Output>,
}

impl Host {
    pub(crate) fn new(mut replica: Replica<Rows>, key: PublicKey, now: Time, wall: Wall) -> Self {
        replica.handle(now, replica::Input::Wall(wall));
        Self {
            replica,
            key,
            streams: BTreeMap::new(),
            writing: BTreeMap::new(),
            tokens: 0,
            adding: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    fn opens(&self, peer: PublicKey) -> bool {
        self.key < peer
    }

    fn feed(&mut self, now: Time, input: replica::Input) {
        self.replica.handle(now, input);
        while let Some(output) = self.replica.poll_output() {
            self.act(now, output);
        }
    }

    /// Begins a stream to a peer, if that is this end's part.
    fn open(&mut self, now: Time, peer: PublicKey) {
        let opens = self.opens(peer);
        let stream = self.streams.entry(peer).or_default();
        if opens {
            stream.number += 1;
            (stream.is_open, stream.offered) = (true, BTreeMap::new());
            let packet = Packet { stream: stream.number, what: What::Begin };
            self.outputs.push_back(Output::Send { to: peer, packet });
            self.feed(now, replica::Input::Connected { peer, opens });
        }
    }

    fn packet(&mut self, now: Time, from: PublicKey, Packet { stream: number, what }: Packet) {
        let opens = self.opens(from);
        let Some(stream) = self.streams.get_mut(&from) else { return };
        let is_current = stream.is_open && stream.number == number;
        match what {
            What::Begin if !opens => {
                *stream = Stream { number, is_open: true, offered: BTreeMap::new() };
                self.feed(now, replica::Input::Disconnected { peer: from });
                self.feed(now, replica::Input::Connected { peer: from, opens });
            }
            What::End if is_current => {
                stream.is_open = false;
                self.feed(now, replica::Input::Disconnected { peer: from });
                self.open(now, from);
            }
            What::Message(bytes) if is_current => {
                if let Ok(Some(Message::Entry { n, header, .. })) = Message::decode(&bytes)
                    && let Ok(header) = Header::decode(&header)
                {
                    stream.offered.insert(n, header.id());
                }
                self.feed(now, replica::Input::Message { from, bytes });
            }
            _ => {}
        }
    }

    fn act(&mut self, now: Time, output: replica::Output) {
        match output {
            replica::Output::Send { to, message } => {
                self.check(to, &message);
                let Some(stream) = self.streams.get(&to) else { return };
                let packet =
                    Packet { stream: stream.number, what: What::Message(message.encode()) };
                self.outputs.push_back(Output::Send { to, packet });
            }
            replica::Output::Persist { generation, changes, own } => {
                let changes = Arc::unwrap_or_clone(changes);
                self.writing.insert(generation, changes.clone());
                self.outputs.push_back(Output::Persist { generation, changes, own });
            }
            replica::Output::Written { token, id } => {
                let keys = self.adding.remove(&token).unwrap_or_default();
                self.outputs.push_back(Output::Written(id, keys));
            }
            replica::Output::Refused { token, why } => {
                self.adding.remove(&token);
                self.outputs.push_back(Output::Refused(why));
            }
            replica::Output::Forked { feed, evidence } => {
                self.outputs.push_back(Output::Forked(feed, evidence));
            }
            replica::Output::Offered { .. } => self.violated("nothing was offered".to_owned()),
            replica::Output::Outrun { .. } => self.outputs.push_back(Output::Outrun),
            replica::Output::Rebuilt => {
                self.outputs.push_back(Output::Sometimes("collections rebuilt"));
            }
            replica::Output::Dropped => {
                self.outputs.push_back(Output::Sometimes("discarded payloads dropped"));
            }
            replica::Output::Held { id, .. } => {
                if !self.is_synced(&id) && !self.may_go(&id.feed) {
                    self.violated(format!("{id:?} is said to be held"));
                }
            }
            replica::Output::Unreadable { error } => {
                self.violated(format!("memory can't be read: {error}"));
            }
            replica::Output::Close { peer, fault } => {
                let stream = self.streams.entry(peer).or_default();
                stream.is_open = false;
                let packet = Packet { stream: stream.number, what: What::End };
                self.outputs.push_back(Output::Send { to: peer, packet });
                match fault {
                    Some(fault) => self.outputs.push_back(Output::Faulted(peer, fault)),
                    None => {
                        self.outputs.push_back(Output::Sometimes("session ended in peace"));
                        self.open(now, peer);
                    }
                }
            }
        }
    }

    fn violated(&mut self, what: String) {
        self.outputs.push_back(Output::Violated(what));
    }

    /// Whether entries of a feed may go that were synced: it is forked, or stands no more.
    fn may_go(&self, feed: &FeedId) -> bool {
        let book = self.replica.book();
        let stands = |known: &Known| {
            self.replica.access().standing(*feed, known.authority()) == Standing::Open
        };
        book.evidence(feed).is_some() || !book.known(feed).is_some_and(stands)
    }

    /// Whether the disk has an entry for certain.
    fn is_synced(&mut self, id: &EntryId) -> bool {
        let Some(local) = self.replica.book().catalog().local(&id.feed) else { return false };
        let name = [&local.to_be_bytes()[..], &id.number.to_be_bytes(), id.hash.as_bytes()];
        let row = [&[3][..], &name.concat()].concat();
        self.replica.base_mut().contains_key(&row)
    }

    /// Whether what is said is synced. What may have been evicted since isn't asked for.
    fn check(&mut self, to: PublicKey, message: &Message) {
        match message {
            Message::Rows { rows, .. } => {
                let rows = read_rows(rows).ok().flatten().expect("honest rows are in order");
                for row in rows {
                    for tip in row.tips() {
                        let id = EntryId { feed: row.feed(), number: tip.number, hash: tip.hash };
                        if !self.is_synced(&id) && !self.may_go(&id.feed) {
                            self.violated(format!("a row says {id:?}"));
                        }
                    }
                }
            }
            Message::Entry { header, .. } => {
                let id = Header::decode(header).expect("honest headers are read").id();
                if !self.is_synced(&id) {
                    self.violated(format!("{id:?} is sent"));
                }
            }
            Message::Ack { upto, not } => {
                let Some(stream) = self.streams.get_mut(&to) else { return };
                let rest = stream.offered.split_off(&(upto + 1));
                let acked = std::mem::replace(&mut stream.offered, rest);
                for (n, id) in acked {
                    if !not.contains(&n) && !self.may_go(&id.feed) && !self.is_synced(&id) {
                        self.violated(format!("{id:?} is acknowledged"));
                    }
                }
                if !not.is_empty() {
                    self.outputs.push_back(Output::Sometimes("entry refused"));
                }
            }
            Message::Evidence { .. } => {
                self.outputs.push_back(Output::Sometimes("evidence sent"));
            }
            Message::Ask { .. } => {
                self.outputs.push_back(Output::Sometimes("chain asked for"));
            }
            Message::Credential { .. } => {
                self.outputs.push_back(Output::Sometimes("credential shown"));
            }
            Message::Hello { .. } => {}
        }
    }
}

impl Protocol for Host {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Up(peer) => {
                self.streams.entry(peer).or_default();
                self.open(now, peer);
            }
            Input::Down(peer) => {
                if let Some(stream) = self.streams.get_mut(&peer) {
                    stream.is_open = false;
                }
                self.feed(now, replica::Input::Disconnected { peer });
            }
            Input::Packet { from, packet } => self.packet(now, from, packet),
            Input::Write { draft, cites } => {
                self.tokens += 1;
                let token = self.tokens;
                self.feed(now, replica::Input::Write { token, draft, cites });
            }
            Input::Edit(edits) => {
                self.tokens += 1;
                let token = self.tokens;
                let added = edits.iter().filter(|edit| *edit.collection() == log());
                self.adding.insert(token, added.map(|edit| edit.key().to_vec()).collect());
                self.feed(now, replica::Input::Edit { token, edits });
            }
            Input::Change(member, change) => {
                self.tokens += 1;
                let token = self.tokens;
                self.feed(now, replica::Input::Change { token, member, change });
            }
            Input::Discard(lie) => {
                self.tokens += 1;
                let (token, book) = (self.tokens, self.replica.book());
                let runs = match lie {
                    Some(salt) => anything(book.catalog().feeds(), salt),
                    None => {
                        let Ok(found) = compact::find(book, |_, _| {});
                        found.runs
                    }
                };
                self.feed(now, replica::Input::Discard { token, runs });
            }
            Input::Persisted(generation) => {
                let rest = self.writing.split_off(&(generation + 1));
                for changes in std::mem::replace(&mut self.writing, rest).into_values() {
                    for (key, value) in changes {
                        match value {
                            Some(value) => self.replica.base_mut().insert(key, value),
                            None => self.replica.base_mut().remove(&key),
                        };
                    }
                }
                self.feed(now, replica::Input::Persisted { generation });
            }
            Input::Compare(peer) => self.feed(now, replica::Input::Compare { peer }),
            Input::Timeout => self.feed(now, replica::Input::Timeout),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.replica.poll_timeout()
    }
}

/// Entries of some feeds, whatever they hold.
fn anything(feeds: &[Known], salt: u64) -> BTreeMap<FeedId, Vec<Run>> {
    let some = feeds.iter().skip(usize::try_from(salt % 3).unwrap_or(0)).step_by(3);
    let runs = some.filter_map(|known| {
        let top = known.feed().tips().into_iter().map(|tip| tip.number).max()?;
        let first = 1 + salt % top;
        let last = first + (salt / 7) % (top + 1 - first);
        Some((known.id(), vec![Run { first, last }]))
    });
    runs.collect()
}
