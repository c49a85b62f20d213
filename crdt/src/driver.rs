//! The driver: owns the replicas of all spaces of a node, the commits to its store and its links.
//!
//! It runs on a thread of its own, since it reads the disk, hashes and signs. While one commit is
//! being synced, what comes next is gathered for the one after: so any number of writers share one
//! sync, and a slow disk holds back users and peers alike.

mod answering;
mod documents;
mod ends;
mod leaving;
mod link;
mod links;
mod list;
mod mark;
mod offering;
mod opening;
mod parts;
mod peers;
mod repair;
mod request;
mod shelf;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use aether_core::{Protocol as _, PublicKey, SecretKey, Time};
use aether_mesh::PeerId;
use aether_store::{Batch, CommitError, Durability, Log, Store, Ticket};
use tokio::sync::{mpsc, oneshot};

use self::{
    leaving::{Leaves, Leaving},
    list::List,
    peers::Link,
    request::Reply,
};
pub(crate) use self::{
    link::Event,
    link::tag,
    links::{Links, STREAM},
    opening::owner_key,
    parts::Part,
    request::{Opened, Request, Told, Writer, Written},
    shelf::{Names, Racks, Shelf},
};
pub use self::{
    opening::StartError,
    repair::{REPAIRED, RepairError, RepairProgress, Repaired, repair_spaces},
    request::WriteFailed,
};
use crate::proto::{
    id::{EntryId, SpaceId},
    map::Edit,
    replica::{Input, Offered, Output, Replica, WriteError},
    time::Wall,
};

/// Changes that wait for the commit under way, above which nothing more is taken in.
const MAX_GATHERED: usize = 16 << 20;
/// Edits that are drafted together.
const MAX_EDITS: usize = 16_384;
/// Edits that wait to be drafted, above which no more requests are looked at.
const MAX_WAITING: usize = 4 * MAX_EDITS;
/// Edits of a space that are drafted while a commit is under way: so many that an entry of their
/// own costs little. Fewer wait, and share an entry with those who come meanwhile.
const AHEAD: usize = 512;
/// How long the next commit may wait for those whom the last one answered.
const LINGER: Duration = Duration::from_millis(2);
/// How often the wall clock is looked at: it may be set.
const LOOK: Duration = Duration::from_secs(30);
/// Told, and not read yet, by a watcher; who is slower is told that it missed some.
const MAX_TOLD: usize = 1024;

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
    list: List,
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

impl Driver {
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
        let drafted = |room: &Room| room.waiting.values().map(Vec::len).sum::<usize>();
        let waiting: usize = self.rooms.values().map(|room| room.edits.len() + drafted(room)).sum();
        self.committing.is_none() && waiting < self.answered && self.now() < self.linger
    }

    fn is_busy(&self) -> bool {
        let is_gathered = !self.gathered.batch.is_empty();
        let is_asked = self.rooms.values().any(|room| !room.edits.is_empty());
        self.committing.is_some() || is_gathered || is_asked
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
                    self.gather(space, generation, &changes, own);
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
                Output::Dropped => self.racks.merge(),
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
                    "a space can't be read: nothing of it is written until a restart; if the disk \
                     has damaged it, repair the data folder"
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
        changes: &crate::proto::rows::Changes,
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

    /// Drafts what waits and commits what is gathered, if no commit is under way; else drafts what
    /// is much.
    fn commit(&mut self) {
        if self.committing.is_some() {
            return self.draft_all(AHEAD);
        }
        if self.is_lingering() {
            return;
        }
        self.draft_all(1);
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

    /// Drafts what waits in each space, if that is so many edits.
    fn draft_all(&mut self, least: usize) {
        let has_many = |room: &Room| {
            let mut edits = 0;
            room.edits.iter().any(|(some, _)| {
                edits += some.len().max(1);
                edits >= least
            })
        };
        let many = self.rooms.iter().filter(|(_, room)| has_many(room));
        for space in many.map(|(space, _)| *space).collect::<Vec<_>>() {
            if self.gathered.bytes < MAX_GATHERED {
                self.draft(space);
            }
        }
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

/// The room of a space that isn't being left, nor frozen.
fn room<'a>(rooms: &'a mut BTreeMap<SpaceId, Room>, space: &SpaceId) -> Option<&'a mut Room> {
    rooms.get_mut(space).filter(|room| room.is_open())
}

#[cfg(test)]
mod tests;
