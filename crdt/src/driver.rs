//! The driver: owns the replicas of all spaces of a node, the commits to its store and its links.
//!
//! It runs on a thread of its own, since it reads the disk, hashes and signs. While one commit is
//! being synced, what comes next is gathered for the one after: so any number of writers share one
//! sync, and a slow disk holds back users and peers alike.

mod documents;
mod ends;
mod leaving;
mod link;
mod links;
mod list;
mod mark;
mod offering;
mod parts;
mod peers;
mod shelf;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use aether_core::{Domain, Protocol as _, PublicKey, SecretKey, Time};
use aether_mesh::PeerId;
use aether_store::{Batch, CommitError, Durability, Keyspace, Log, Store, Ticket};
use tokio::sync::{broadcast, mpsc, oneshot};

use self::{
    leaving::{Leaves, Leaving},
    list::{Listed, Listing},
    peers::Link,
};
pub(crate) use self::{
    link::Event,
    link::tag,
    links::{Links, STREAM},
    parts::Part,
    shelf::{Names, Racks, Shelf},
};
use crate::{
    collections::Desks,
    proto::{
        access::Access,
        archive::Record,
        entry::Collection,
        id::{EntryId, FeedId, Position, SpaceId},
        map::Edit,
        replica::{Change, Config, Input, Keys, Offered, Output, Replica, WriteError},
        space::{Genesis, Mode, Role},
        time::Wall,
    },
    spaces::{Member, OpenError, Status},
};

/// Changes that wait for the commit under way, above which nothing more is taken in.
const MAX_GATHERED: usize = 16 << 20;
/// Edits that are drafted together.
const MAX_EDITS: usize = 16_384;
/// Edits that wait to be drafted, above which no more requests are looked at.
const MAX_WAITING: usize = 4 * MAX_EDITS;
/// How long the next commit may wait for those whom the last one answered.
const LINGER: Duration = Duration::from_millis(2);
/// How often the wall clock is looked at: it may be set.
const LOOK: Duration = Duration::from_secs(30);
/// Told, and not read yet, by a watcher; who is slower is told that it missed some.
const MAX_TOLD: usize = 1024;

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Opens a space, and remembers it, and whether it is the control space of a map.
    Open {
        genesis: Genesis,
        is_map: bool,
        reply: oneshot::Sender<Result<Opened, OpenError>>,
    },
    List {
        reply: oneshot::Sender<Vec<Opened>>,
    },
    Edit {
        space: SpaceId,
        edits: Vec<Edit>,
        reply: oneshot::Sender<Result<Written, WriteFailed>>,
    },
    /// Asks under which feed changes of documents are written.
    Writer {
        space: SpaceId,
        reply: oneshot::Sender<Option<Writer>>,
    },
    /// Writes changes of a document as the next entry of a feed, if that still is the own one.
    Append {
        space: SpaceId,
        document: Collection,
        feed: FeedId,
        ops: Vec<Vec<u8>>,
        reply: Reply,
    },
    /// Keeps a document's file, if the writer is who he was when it was made.
    Keep {
        space: SpaceId,
        document: Collection,
        file: Vec<u8>,
        writer: Writer,
    },
    /// Changes a member's access.
    Change {
        space: SpaceId,
        member: PublicKey,
        change: Change,
        reply: Reply,
    },
    Members {
        space: SpaceId,
        reply: oneshot::Sender<Option<Vec<Member>>>,
    },
    /// What a member may do.
    Role {
        space: SpaceId,
        member: PublicKey,
        reply: oneshot::Sender<Option<Role>>,
    },
    Status {
        space: SpaceId,
        reply: oneshot::Sender<Option<Status>>,
    },
    /// Takes in what an archive holds, in its order.
    Offer {
        space: SpaceId,
        records: Vec<Record>,
        reply: oneshot::Sender<Result<Offered, WriteFailed>>,
    },
    /// Takes no part in a space any more; with `deletes`, and forgets it.
    Leave {
        space: SpaceId,
        deletes: bool,
        reply: oneshot::Sender<Result<(), OpenError>>,
    },
    /// Opens a space that was closed.
    Again {
        space: SpaceId,
        reply: oneshot::Sender<Result<Opened, OpenError>>,
    },
    /// All spaces that were closed.
    ListClosed {
        reply: oneshot::Sender<Vec<Genesis>>,
    },
    /// What partitioned maps ask for.
    Part(Part),
}

/// Who writes changes of documents, and since when the same entries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    /// The feed that own entries continue.
    pub(crate) feed: FeedId,
    /// How often collections were made anew.
    pub(crate) rebuilt: u64,
}

/// What a handle of a space needs to read.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) genesis: Genesis,
    /// Whether it is the control space of a partitioned map.
    pub(crate) is_map: bool,
    pub(crate) shelf: Shelf,
    pub(crate) names: Names,
    pub(crate) told: broadcast::Sender<Told>,
    pub(crate) desks: Desks,
}

/// What a write came to: the entry, or the last of several; none, if nothing had to be written.
pub(crate) type Written = Option<EntryId>;

/// Why a write wasn't done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFailed {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
    /// The space was closed or deleted on this node.
    #[error("the space was closed on this node: open it again, or join it")]
    Left,
    /// The space refuses it.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// This node's disk turned out to be an old copy, and what it writes is another feed from now
    /// on: the change builds on what others don't have.
    #[error("others have more of what this node wrote than its disk; try again")]
    Outrun,
}

/// What readers of a space are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Everything up to here is synced, and can be read.
    Held(Position),
    /// Collections were made anew: an author forked.
    Rebuilt,
    /// The space was closed or deleted, and nothing of it can be read.
    Left,
}

/// What a user waits for.
type Reply = oneshot::Sender<Result<Written, WriteFailed>>;

/// A space that is open.
#[derive(Debug)]
struct Room {
    replica: Replica<Shelf>,
    opened: Opened,
    /// Edits that wait for the commit under way.
    edits: VecDeque<(Vec<Edit>, Reply)>,
    /// Who waits for a write, by its token.
    waiting: BTreeMap<u64, Vec<(Vec<Edit>, Reply)>>,
    offers: BTreeMap<u64, oneshot::Sender<Result<Offered, WriteFailed>>>,
    tokens: u64,
    wake: Option<Time>,
    /// How often collections were made anew.
    rebuilt: u64,
    /// Whether it is being closed or deleted, and takes nothing any more.
    is_leaving: bool,
    /// What is kept of a map's partition beside.
    part: Option<parts::Keeping>,
}

/// What is on its way to the disk, or gathered for the next commit.
#[derive(Debug, Default)]
struct Changes {
    batch: Batch,
    bytes: usize,
    /// The last generation of each space; of some there may be files alone.
    generations: BTreeMap<SpaceId, u64>,
    tips: BTreeMap<(SpaceId, PublicKey), EntryId>,
    left: Vec<Leaving>,
}

pub(crate) struct Driver {
    store: Store,
    racks: Racks,
    list: Keyspace,
    /// The last own entry of each space, written down at an orderly end, with the folder's mark,
    /// and taken out before the next write. So whoever finds none, or another than the store holds,
    /// or another mark, can't know what it has signed before, and begins a new feed.
    ends: Log,
    is_ended: bool,
    tips: BTreeMap<(SpaceId, PublicKey), EntryId>,
    key: SecretKey,
    begun: Instant,
    looked: Time,
    rooms: BTreeMap<SpaceId, Room>,
    leaves: Leaves,
    links: BTreeMap<PeerId, Link>,
    gathered: Changes,
    /// How many edits wait to be drafted, in all rooms.
    waiting: usize,
    committing: Option<(Changes, Ticket)>,
    /// When that commit was begun.
    since: Time,
    /// How many users were answered by the last commit, and until when it is waited for as many to
    /// write again: else most of them would miss the next.
    answered: usize,
    linger: Time,
    faults: mpsc::Sender<PeerId>,
}

/// Why the spaces of a node can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A keyspace can't be opened.
    #[error(transparent)]
    Keyspace(#[from] aether_store::KeyspaceError),
    /// The log of own feeds' ends can't be opened.
    #[error(transparent)]
    Log(#[from] aether_store::LogError),
    /// What is stored can't be read.
    #[error(transparent)]
    Read(#[from] aether_store::ReadError),
    /// The list of spaces holds what this release doesn't know.
    #[error(
        "the list of spaces is of another release, whose rows this one can't read; export the \
         spaces by that release, and import them"
    )]
    List,
    /// A space can't be opened.
    #[error("space {space} can't be opened")]
    Space {
        /// Which.
        space: SpaceId,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// Spaces are open already on this node.
    #[error("the spaces of this node are open already; clone their handle")]
    Taken,
    /// No thread can be had.
    #[error("no thread can be had for the spaces")]
    Thread(#[source] std::io::Error),
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
}

impl Driver {
    /// Opens all spaces that the node's store lists.
    pub(crate) fn open(
        store: Store,
        key: SecretKey,
        faults: mpsc::Sender<PeerId>,
    ) -> Result<Self, StartError> {
        let (racks, list) = (Racks::open(&store)?, store.keyspace("space-list")?);
        let aether_store::Opened { log, records, .. } = store.log("space-ends")?;
        let tips = ends::read(&store, &records)?;
        let mut driver = Self {
            racks,
            list,
            ends: log,
            is_ended: !records.is_empty(),
            tips,
            key,
            begun: begin(),
            looked: Time::ZERO,
            rooms: BTreeMap::new(),
            leaves: Leaves::open(&store)?,
            links: BTreeMap::new(),
            gathered: Changes::default(),
            waiting: 0,
            committing: None,
            since: Time::ZERO,
            answered: 0,
            linger: Time::ZERO,
            faults,
            store,
        };
        let all: Vec<_> = driver.list.range::<&[u8]>(..).collect::<Result<_, _>>()?;
        for (_, value) in all {
            let listed = Listed::decode(&value).ok_or(StartError::List)?;
            driver.leaves.number(listed.number);
            let space = listed.genesis.space_id();
            // Partitions are opened when their map is.
            if !matches!(listed.listing, Listing::Open | Listing::Map) {
                driver.leaves.close(listed);
                continue;
            }
            let opened = driver.enter(listed.number, listed.genesis, listed.listing);
            opened.map_err(|source| StartError::Space { space, source })?;
        }
        Ok(driver)
    }

    fn now(&self) -> Time {
        let since = self.begun.elapsed();
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Runs until no handle is left, and what was asked for is synced.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut events: mpsc::Receiver<Event>,
    ) {
        let mut is_open = true;
        // What the life before had still to delete.
        self.commit();
        while is_open || self.is_busy() {
            let wake = self.rooms.values().filter_map(|room| room.wake).min();
            let mut until = wake.unwrap_or(Time::MAX).min(self.looked + LOOK);
            if self.is_lingering() {
                until = until.min(self.linger);
            }
            let wait = until.since(self.now());
            let has_room = self.gathered.bytes < MAX_GATHERED;
            let may_ask = is_open && has_room && self.waiting < MAX_WAITING;
            tokio::select! {
                done = committed(&mut self.committing), if self.committing.is_some() => {
                    self.on_committed(done);
                }
                request = requests.recv(), if may_ask => match request {
                    None => {
                        is_open = false;
                        self.leaves.end();
                    }
                    Some(request) => {
                        self.on_request(request);
                        while self.waiting < MAX_WAITING
                            && self.gathered.bytes < MAX_GATHERED
                            && let Ok(request) = requests.try_recv()
                        {
                            self.on_request(request);
                        }
                    }
                },
                Some(event) = events.recv(), if has_room => {
                    self.on_event(event);
                    while self.gathered.bytes < MAX_GATHERED
                        && let Ok(event) = events.try_recv()
                    {
                        self.on_event(event);
                    }
                }
                () = tokio::time::sleep(wait) => self.on_timeout(),
            }
            self.commit();
        }
        self.end().await;
    }

    /// Whether those who were answered last may be about to write again.
    fn is_lingering(&self) -> bool {
        let waiting: usize = self.rooms.values().map(|room| room.edits.len()).sum();
        self.committing.is_none() && waiting < self.answered && self.now() < self.linger
    }

    fn is_busy(&self) -> bool {
        let is_gathered = !self.gathered.batch.is_empty();
        let is_asked = self.rooms.values().any(|room| !room.edits.is_empty());
        self.committing.is_some() || is_gathered || is_asked
    }

    fn on_request(&mut self, request: Request) {
        match request {
            // Whoever asked and is gone needs no answer.
            request if self.is_put_off(&request) => self.leaves.put_off(request),
            Request::Open { genesis, is_map, reply } => {
                let listing = if is_map { Listing::Map } else { Listing::Open };
                let _ = reply.send(self.open_space(genesis, listing));
            }
            Request::List { reply } => {
                let is_users = |room: &&Room| !room.is_leaving && room.part.is_none();
                let rooms = self.rooms.values().filter(is_users);
                let _ = reply.send(rooms.map(|room| room.opened.clone()).collect());
            }
            Request::Edit { space, edits, reply } => match room(&mut self.rooms, &space) {
                Some(room) => {
                    self.waiting += edits.len();
                    room.edits.push_back((edits, reply));
                }
                None => drop(reply.send(Err(WriteFailed::Left))),
            },
            Request::Writer { space, reply } => {
                let now = self.now();
                let _ = reply.send(room(&mut self.rooms, &space).map(|room| room.writer(now)));
            }
            Request::Append { space, document, feed, ops, reply } => {
                self.append(space, document, feed, ops, reply);
            }
            Request::Keep { space, document, file, writer } => {
                self.keep(space, &document, &file, writer);
            }
            Request::Change { space, member, change, reply } => {
                self.change(space, member, change, reply);
            }
            Request::Members { space, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.map(|room| Member::all(&room.replica)));
            }
            Request::Role { space, member, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.and_then(|room| room.replica.access().role_of(&member)));
            }
            Request::Status { space, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.map(|room| Status::of(&room.replica)));
            }
            Request::Offer { space, records, reply } => self.take_in(space, records, reply),
            Request::Leave { space, deletes, reply } => self.leave(space, deletes, Some(reply)),
            Request::Again { space, reply } => drop(reply.send(self.open_again(&space))),
            Request::ListClosed { reply } => drop(reply.send(self.leaves.closed())),
            Request::Part(part) => self.on_part(part),
        }
    }

    /// Opens a space that may be new here, and offers it to all peers. One that is a map's control
    /// space stays that.
    fn open_space(&mut self, genesis: Genesis, listing: Listing) -> Result<Opened, OpenError> {
        let space = genesis.space_id();
        let (number, listing) = match self.rooms.get(&space).map(|room| &room.opened) {
            Some(opened) if opened.is_map || listing != Listing::Map => return Ok(opened.clone()),
            Some(opened) => (opened.shelf.number(), listing),
            None if self.leaves.is_map(&space) => (self.leaves.number_of(&space), Listing::Map),
            None => (self.leaves.number_of(&space), listing),
        };
        // What can't be opened is not to be listed: no driver would start with it.
        Access::new(genesis.clone()).map_err(|_| OpenError::Mode(genesis.mode()))?;
        let listed = Listed { listing, number, genesis: genesis.clone() };
        let mut batch = Batch::new();
        batch.put(&self.list, space.as_hash().as_bytes(), &listed.encode());
        self.store.commit(batch, Durability::Synced).wait()?;
        if let Some(room) = self.rooms.get_mut(&space) {
            room.opened.is_map = true;
            return Ok(room.opened.clone());
        }
        self.leaves.number(number);
        let opened = self.enter(number, genesis, listing)?;
        self.leaves.open_again(&space);
        self.offer_to_all(space);
        Ok(opened)
    }

    /// Makes a space's room, of what is stored of it.
    fn enter(
        &mut self,
        number: u32,
        genesis: Genesis,
        listing: Listing,
    ) -> Result<Opened, OpenError> {
        let space = genesis.space_id();
        let shelf = Shelf::new(self.racks.clone(), number);
        let first = (space, PublicKey::from_bytes([0; 32]));
        let tips = self.tips.range(first..).take_while(|((of, _), _)| *of == space);
        let own: Vec<EntryId> = tips.map(|(_, tip)| *tip).collect();
        let owner = owner_key(&self.key, genesis.salt());
        let keys = Keys { own: self.key.clone(), owner: Some(owner) };
        let config = Config::default();
        let mut replica = Replica::open(config, genesis.clone(), keys, seed(), shelf.clone(), own)?;
        replica.handle(self.now(), Input::Wall(wall()));
        let names = Names::default();
        names.extend(replica.book().catalog().feeds().iter().map(|known| known.id()));
        let part = (listing == Listing::Part).then(parts::Keeping::default);
        // Nobody watches a partition.
        let (told, _) = broadcast::channel(if part.is_some() { 1 } else { MAX_TOLD });
        let is_map = listing == Listing::Map;
        let opened = Opened { genesis, is_map, shelf, names, told, desks: Desks::default() };
        let room = Room {
            replica,
            opened: opened.clone(),
            edits: VecDeque::new(),
            waiting: BTreeMap::new(),
            offers: BTreeMap::new(),
            tokens: 0,
            wake: None,
            rebuilt: 0,
            is_leaving: false,
            part,
        };
        self.rooms.insert(space, room);
        self.drain(space);
        self.admit_founder(space);
        Ok(opened)
    }

    /// Who founds a space that isn't everyone's to write makes its own node an admin of it: the
    /// owner's key writes no more than changes of access.
    fn admit_founder(&mut self, space: SpaceId) {
        let member = self.key.public();
        let Some(room) = self.rooms.get_mut(&space) else { return };
        let is_new = room.replica.access().is_empty() && room.replica.owns();
        if is_new && room.opened.genesis.mode() != Mode::Open {
            room.tokens += 1;
            let (token, change) = (room.tokens, Change::Grant(Role::Admin));
            self.feed(space, Input::Change { token, member, change });
        }
    }

    fn change(&mut self, space: SpaceId, member: PublicKey, change: Change, reply: Reply) {
        let Some(room) = room(&mut self.rooms, &space) else {
            return drop(reply.send(Err(WriteFailed::Left)));
        };
        room.tokens += 1;
        let token = room.tokens;
        room.waiting.insert(token, vec![(Vec::new(), reply)]);
        self.feed(space, Input::Change { token, member, change });
    }

    fn on_timeout(&mut self) {
        let now = self.now();
        if now >= self.looked + LOOK {
            self.looked = now;
            for space in self.rooms.keys().copied().collect::<Vec<_>>() {
                self.feed(space, Input::Wall(wall()));
            }
        }
        let due = self.rooms.iter().filter(|(_, room)| room.wake.is_some_and(|wake| wake <= now));
        for space in due.map(|(space, _)| *space).collect::<Vec<_>>() {
            self.feed(space, Input::Timeout);
        }
    }

    fn feed(&mut self, space: SpaceId, input: Input) {
        let now = self.now();
        if let Some(room) = self.rooms.get_mut(&space) {
            room.replica.handle(now, input);
            self.drain(space);
        }
    }

    fn drain(&mut self, space: SpaceId) {
        let mut held = None;
        while let Some(output) = self.rooms.get_mut(&space).and_then(|r| r.replica.poll_output()) {
            match output {
                Output::Persist { generation, changes, own } => {
                    self.gather(space, generation, changes, own);
                }
                Output::Send { to, message } => {
                    self.send(space, &to, message.encode());
                }
                Output::Held { position, .. } => held = Some(position),
                Output::Rebuilt => {
                    if let Some(room) = self.rooms.get_mut(&space) {
                        room.rebuilt += 1;
                    }
                    self.tell(space, Told::Rebuilt);
                }
                Output::Written { token, id } => self.answer(space, token, &Ok(id)),
                Output::Offered { token, offered } => self.taken_in(space, token, Ok(offered)),
                Output::Refused { token, why } => self.refused(space, token, why),
                Output::Forked { feed, evidence } => {
                    let number = evidence.number();
                    tracing::warn!(%space, author = %feed.author, number, "an author forked");
                }
                Output::Outrun { feed } => tracing::warn!(
                    %space,
                    incarnation = feed.incarnation,
                    "others have more of this node's feed than its disk: a new one begins"
                ),
                Output::Unreadable { error } => tracing::error!(
                    %space,
                    error,
                    "a space can't be read: nothing of it is written until a restart"
                ),
                Output::Close { peer, fault } => self.close(space, &peer, fault),
            }
        }
        if let Some(position) = held {
            self.tell(space, Told::Held(position));
        }
        if let Some(room) = self.rooms.get_mut(&space) {
            // Who leaves is woken by the disk alone.
            room.wake = room.replica.poll_timeout().filter(|_| !room.is_leaving);
            room.keep();
        }
    }

    fn tell(&self, space: SpaceId, told: Told) {
        if let Some(room) = self.rooms.get(&space) {
            // Without a watcher nobody hears it.
            let _ = room.opened.told.send(told);
        }
    }

    fn gather(
        &mut self,
        space: SpaceId,
        generation: u64,
        changes: crate::proto::rows::Changes,
        own: Vec<EntryId>,
    ) {
        let Some(room) = self.rooms.get(&space) else { return };
        let feeds = room.replica.book().catalog().feeds();
        let known = room.opened.names.len();
        room.opened.names.extend(feeds[known..].iter().map(|known| known.id()));
        let size = |(row, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            row.len() + value.as_ref().map_or(0, Vec::len)
        };
        self.gathered.bytes += changes.iter().map(size).sum::<usize>();
        self.gathered.generations.insert(space, generation);
        let tips = own.into_iter().map(|own| ((space, own.feed.author), own));
        self.gathered.tips.extend(tips);
        room.opened.shelf.write(changes, &mut self.gathered.batch);
    }

    /// Drafts what waits and commits what is gathered, if no commit is under way.
    fn commit(&mut self) {
        if self.committing.is_some() || self.is_lingering() {
            return;
        }
        let waiting = self.rooms.iter().filter(|(_, room)| !room.edits.is_empty());
        for space in waiting.map(|(space, _)| *space).collect::<Vec<_>>() {
            self.draft(space);
        }
        self.sweep();
        if self.gathered.batch.is_empty() {
            return;
        }
        let mut changes = std::mem::take(&mut self.gathered);
        self.begin(&mut changes);
        let batch = std::mem::take(&mut changes.batch);
        let ticket = self.store.commit(batch, Durability::Synced);
        self.committing = Some((changes, ticket));
        self.since = self.now();
    }

    /// Puts the edits of all who wait together, so that they share an entry.
    fn draft(&mut self, space: SpaceId) {
        let Some(room) = self.rooms.get_mut(&space) else { return };
        room.tokens += 1;
        let (token, mut edits, mut replies) = (room.tokens, Vec::new(), Vec::new());
        while let Some((next, _)) = room.edits.front() {
            if !edits.is_empty() && edits.len() + next.len() > MAX_EDITS {
                break;
            }
            let Some((next, reply)) = room.edits.pop_front() else { break };
            self.waiting = self.waiting.saturating_sub(next.len());
            edits.extend(next.iter().cloned());
            replies.push((next, reply));
        }
        room.waiting.insert(token, replies);
        self.feed(space, Input::Edit { token, edits });
    }

    fn answer(&mut self, space: SpaceId, token: u64, answer: &Result<Written, WriteFailed>) {
        let waiting = self.rooms.get_mut(&space).and_then(|room| room.waiting.remove(&token));
        for (_, reply) in waiting.into_iter().flatten() {
            self.answered += 1;
            let _ = reply.send(answer.clone());
        }
    }

    /// If several waited, one alone may be at fault: each is tried by itself.
    fn refused(&mut self, space: SpaceId, token: u64, why: WriteError) {
        let Some(room) = self.rooms.get_mut(&space) else { return };
        let Some(waiting) = room.waiting.remove(&token) else {
            return self.taken_in(space, token, Err(why.into()));
        };
        if waiting.len() == 1 || why != WriteError::Overflow {
            for (_, reply) in waiting {
                let _ = reply.send(Err(why.into()));
            }
            return;
        }
        for (edits, reply) in waiting {
            let Some(room) = self.rooms.get_mut(&space) else { return };
            room.tokens += 1;
            let token = room.tokens;
            room.waiting.insert(token, vec![(edits.clone(), reply)]);
            self.feed(space, Input::Edit { token, edits });
        }
    }

    fn on_committed(&mut self, done: Result<(), CommitError>) {
        let Some((mut changes, _)) = self.committing.take() else { return };
        let mut left = std::mem::take(&mut changes.left);
        let now = self.now();
        self.linger = now + (now.since(self.since) / 4).min(LINGER);
        self.answered = 0;
        if let Err(error) = done {
            tracing::error!(%error, "spaces can't be written: nothing is until a restart");
            left.extend(self.fail());
            return self.stay(left, &error);
        }
        for (space, generation) in changes.generations {
            self.feed(space, Input::Persisted { generation });
        }
        self.left(left);
    }

    /// What was gathered builds on what wasn't written, and a disk that was full may have room
    /// again: it must not be written either.
    fn fail(&mut self) -> Vec<Leaving> {
        let gathered = std::mem::take(&mut self.gathered);
        for space in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.feed(space, Input::Failed);
        }
        gathered.left
    }
}

async fn committed(committing: &mut Option<(Changes, Ticket)>) -> Result<(), CommitError> {
    match committing {
        Some((_, ticket)) => ticket.await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn begin() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the driver draws entropy")]
fn seed() -> [u8; 32] {
    rand::random()
}

/// The key of a space's owner, which a node makes of its own: it isn't the node's key, so that it
/// can be given away.
pub(crate) fn owner_key(node: &SecretKey, salt: &[u8; 16]) -> SecretKey {
    const OWNER: Domain = Domain::new("aether 2026-11 space owner key v1");
    let hash = OWNER.hasher().update(&node.to_bytes()).update(salt).finish();
    SecretKey::from_bytes(*hash.as_bytes())
}

/// The room of a space that isn't being left, nor frozen.
fn room<'a>(rooms: &'a mut BTreeMap<SpaceId, Room>, space: &SpaceId) -> Option<&'a mut Room> {
    rooms.get_mut(space).filter(|room| room.is_open())
}

#[cfg(test)]
mod tests;
