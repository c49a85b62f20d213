//! Leaving spaces: closing them, and deleting what is stored of them.
//!
//! What is to be left is written to the list first, in one commit with all that was written to the
//! space before; once that is synced, the space is left. So who is told that a write is done has it
//! done, and a node that is killed has left the space or hasn't.
//!
//! With the control space of a partitioned map the partitions are left that are here.
//!
//! Of a space that is deleted the number goes to a list of its own, and its rows are removed in
//! batches that ride with the commits of others. A node that is killed meanwhile goes on when it
//! starts. The number is given to no other space while rows may be left, nor in this life, in which
//! handles may still be there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use aether_store::{CommitError, ReadError};
use tokio::sync::oneshot;

use super::{
    Driver, Opened, Part, Request, Room, Told, WriteFailed,
    list::{Listed, Listing},
};
use crate::{
    proto::{
        id::{FeedId, SpaceId},
        partitions::{genesis_of, placement::MAX_PARTITIONS},
        space::Genesis,
    },
    spaces::OpenError,
};

/// Rows that are removed at a time.
const MAX_ROWS: usize = 4096;
/// Bytes of them, about, which are read for that.
const MAX_BYTES: usize = 4 << 20;

/// Spaces that were left.
#[derive(Debug)]
pub(super) struct Leaves {
    closed: BTreeMap<SpaceId, Listed>,
    /// Numbers of spaces that were deleted and of which rows may be left.
    sweeping: VecDeque<u32>,
    /// The number of the next space.
    next: u32,
    /// Spaces of which the list is about to change, and what is asked of them meanwhile.
    going: BTreeSet<SpaceId>,
    put_off: VecDeque<Request>,
    /// Whether the driver ends: the next life does the rest.
    is_ending: bool,
}

/// A space that is being left.
#[derive(Debug)]
pub(super) struct Leaving {
    space: SpaceId,
    /// What its row in the list says from now on, unless it is deleted.
    listed: Listed,
    deletes: bool,
    reply: Option<Reply>,
}

/// Whom to tell that a space was left, or why not.
type Reply = oneshot::Sender<Result<(), OpenError>>;

impl Leaves {
    /// Given the numbers of the spaces that are still to be deleted.
    pub(super) fn new(rest: BTreeSet<u32>) -> Self {
        Self {
            closed: BTreeMap::new(),
            next: rest.last().map_or(0, |last| last.saturating_add(1)),
            sweeping: rest.into_iter().collect(),
            going: BTreeSet::new(),
            put_off: VecDeque::new(),
            is_ending: false,
        }
    }

    /// A number was given.
    pub(super) fn number(&mut self, number: u32) {
        self.next = self.next.max(number.saturating_add(1));
    }

    pub(super) fn close(&mut self, listed: Listed) {
        self.closed.insert(listed.genesis.space_id(), listed);
    }

    pub(super) fn is_closed(&self, space: &SpaceId) -> bool {
        self.closed.contains_key(space)
    }

    pub(super) fn closed(&self) -> Vec<Genesis> {
        let is_users = |(space, listed): &(&SpaceId, &Listed)| {
            listed.listing != Listing::Part && !self.going.contains(*space)
        };
        let closed = self.closed.iter().filter(is_users);
        closed.map(|(_, listed)| listed.genesis.clone()).collect()
    }

    /// Whether it is closed, and the control space of a map.
    pub(super) fn is_map(&self, space: &SpaceId) -> bool {
        self.closed.get(space).is_some_and(|listed| listed.listing == Listing::ClosedMap)
    }

    /// The number and the genesis of a partition that is here and not open.
    pub(super) fn part(&self, space: &SpaceId) -> Option<(u32, Genesis)> {
        let listed = self.closed.get(space).filter(|_| !self.going.contains(space))?;
        (listed.listing == Listing::Part).then(|| (listed.number, listed.genesis.clone()))
    }

    /// The number of a space that is opened: its own, if it was closed, or a new one.
    pub(super) fn number_of(&self, space: &SpaceId) -> u32 {
        self.closed.get(space).map_or(self.next, |listed| listed.number)
    }

    pub(super) fn open_again(&mut self, space: &SpaceId) {
        self.closed.remove(space);
    }

    pub(super) fn put_off(&mut self, request: Request) {
        self.put_off.push_back(request);
    }

    pub(super) const fn end(&mut self) {
        self.is_ending = true;
    }
}

/// Whoever asked and is gone needs no answer.
fn tell(reply: Option<Reply>, answer: Result<(), OpenError>) {
    if let Some(reply) = reply {
        let _ = reply.send(answer);
    }
}

impl Room {
    /// Its row in the list.
    fn listed(&self) -> Listed {
        let listing = match (&self.part, self.opened.is_map) {
            (Some(_), _) => Listing::Part,
            (None, true) => Listing::Map,
            (None, false) => Listing::Open,
        };
        let Opened { shelf, genesis, .. } = &self.opened;
        Listed { listing, number: shelf.number(), genesis: genesis.clone() }
    }
}

impl Driver {
    /// Whether a request has to wait until a space is left.
    pub(super) fn is_put_off(&self, request: &Request) -> bool {
        let space = match request {
            Request::Open { genesis, .. } | Request::Part(Part::Open { genesis, .. }) => {
                genesis.space_id()
            }
            Request::Leave { space, .. } | Request::Again { space, .. } => *space,
            _ => return false,
        };
        self.leaves.going.contains(&space)
    }

    /// Leaves a space; and with a map's control space what is here of its partitions.
    pub(super) fn leave(&mut self, space: SpaceId, deletes: bool, reply: Option<Reply>) {
        let room = self.rooms.get(&space);
        let closed = self.leaves.closed.get(&space).cloned();
        let Some(listed) = room.map(Room::listed).or(closed) else {
            let name = space.to_string();
            return tell(reply, Err(OpenError::NotFound { name }));
        };
        if room.is_none() && !deletes {
            return tell(reply, Ok(()));
        }
        if listed.listing.opened() == Listing::Map {
            for part in (0..MAX_PARTITIONS).map(|n| genesis_of(&listed.genesis, n).space_id()) {
                let is_here = self.rooms.contains_key(&part) || self.leaves.is_closed(&part);
                if is_here && !self.leaves.going.contains(&part) {
                    self.leave(part, deletes, None);
                }
            }
        }
        self.empty(space);
        let listed = Listed { listing: listed.listing.closed(), ..listed };
        match deletes {
            true => self.list.delete(&listed, &mut self.gathered.batch),
            false => self.list.put(&listed, &mut self.gathered.batch),
        }
        self.leaves.going.insert(space);
        self.gathered.left.push(Leaving { space, listed, deletes, reply });
    }

    /// Ends the sessions of a space, and takes nothing from users any more.
    fn empty(&mut self, space: SpaceId) {
        let Some(room) = self.rooms.get_mut(&space) else { return };
        room.is_leaving = true;
        for (edits, reply) in mem::take(&mut room.edits) {
            self.waiting = self.waiting.saturating_sub(edits.len());
            let _ = reply.send(Err(WriteFailed::Left));
        }
        self.withdraw(space);
    }

    /// The list says that these were left, and all that was written to them is synced.
    pub(super) fn left(&mut self, left: Vec<Leaving>) {
        for Leaving { space, listed, deletes, reply } in left {
            self.leaves.going.remove(&space);
            let number = listed.number;
            if let Some(room) = self.rooms.remove(&space) {
                room.opened.shelf.leave();
                // Without a reader nobody hears it.
                let _ = room.opened.told.send(Told::Left);
                let goes_on =
                    |feed: &FeedId| !room.replica.has_failed() && room.replica.continues(feed);
                self.tips.retain(|(of, _), tip| *of != space || goes_on(&tip.feed));
                self.leaves.close(listed);
            }
            if deletes {
                self.leaves.closed.remove(&space);
                self.tips.retain(|(of, _), _| *of != space);
                self.leaves.sweeping.push_back(number);
            }
            tell(reply, Ok(()));
        }
        self.resume();
    }

    /// The list can't be written: all spaces stay as they are.
    pub(super) fn stay(&mut self, left: Vec<Leaving>, why: &CommitError) {
        self.leaves.sweeping.clear();
        for Leaving { space, reply, .. } in left {
            self.leaves.going.remove(&space);
            if let Some(room) = self.rooms.get_mut(&space) {
                room.is_leaving = false;
            }
            tell(reply, Err(why.clone().into()));
        }
        self.resume();
    }

    fn resume(&mut self) {
        for request in mem::take(&mut self.leaves.put_off) {
            self.on_request(request);
        }
    }

    pub(super) fn open_again(&mut self, space: &SpaceId) -> Result<Opened, OpenError> {
        let closed = self.leaves.closed.get(space).cloned();
        let Some(listed) = closed.or_else(|| self.rooms.get(space).map(Room::listed)) else {
            return Err(OpenError::NotFound { name: space.to_string() });
        };
        self.open_space(listed.genesis, listed.listing.opened())
    }

    /// Removes some rows of a space that was deleted. No commit is under way, so what isn't found
    /// isn't there: nothing is written to it any more.
    pub(super) fn sweep(&mut self) {
        let Some(number) = self.leaves.sweeping.front().copied() else { return };
        if self.leaves.is_ending {
            return;
        }
        let (mut rows, mut bytes) = (0, 0);
        let below = number.saturating_add(1).to_be_bytes();
        let all = number.to_be_bytes()..below;
        let racks = self.racks.all().into_iter();
        for (rack, row) in
            racks.flat_map(|rack| rack.range(all.clone()).map(move |row| (rack, row)))
        {
            let key = match row {
                Ok((key, value)) => {
                    bytes += value.len();
                    key.to_vec()
                }
                Err(ReadError::Corrupt { key, .. }) => key,
                Err(error) => {
                    tracing::error!(%error, "a deleted space is removed after a restart");
                    self.leaves.sweeping.pop_front();
                    return;
                }
            };
            rows += 1;
            self.gathered.bytes += key.len();
            self.gathered.batch.remove(rack, key);
            if rows == MAX_ROWS || bytes >= MAX_BYTES {
                return;
            }
        }
        if rows == 0 {
            self.list.swept(number, &mut self.gathered.batch);
            self.leaves.sweeping.pop_front();
        }
    }
}
