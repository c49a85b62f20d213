//! What partitioned maps ask of the driver: partitions' spaces, who holds what of them, frost.

use std::collections::BTreeSet;

use aether_core::{Hash, PublicKey};
use tokio::sync::oneshot;

use super::{Driver, Opened, Room, list::Listing};
use crate::{
    proto::{
        id::{EntryId, SpaceId},
        partitions::Context,
        replica::Input,
        space::Genesis,
        sync::Row,
    },
    spaces::OpenError,
};

/// What is asked for. Who is answered nothing hears that there is no such partition here, or that
/// what was asked for can't come about any more.
#[derive(Debug)]
pub(crate) enum Part {
    /// Opens a partition's space, and remembers it.
    Open { genesis: Genesis, reply: oneshot::Sender<Result<Opened, OpenError>> },
    /// Opens those of these spaces that are here.
    Here { spaces: Vec<SpaceId>, reply: oneshot::Sender<Vec<Opened>> },
    /// Of each feed the number up to which it is held, synced.
    Context { space: SpaceId, reply: oneshot::Sender<Context> },
    /// What is held, synced, and its digest.
    Rows { space: SpaceId, reply: oneshot::Sender<(Vec<Row>, Hash)> },
    /// Whether all is held here that these rows say, and whether they say all that is held here.
    Covers { space: SpaceId, rows: Vec<Row>, reply: oneshot::Sender<(bool, bool)> },
    /// Begins anti-entropy with a peer now.
    Compare { space: SpaceId, peer: PublicKey },
    /// Waits until so many of these peers hold an own entry, synced, and says how many do.
    Await {
        space: SpaceId,
        entry: EntryId,
        peers: BTreeSet<PublicKey>,
        need: usize,
        reply: oneshot::Sender<usize>,
    },
    /// Lets nothing be added any more, and says the digest once all is synced.
    Freeze { space: SpaceId, reply: oneshot::Sender<Hash> },
    /// Lets things be added again.
    Thaw { space: SpaceId },
    /// Deletes what is frozen, if it has this digest.
    Drop { space: SpaceId, digest: Hash, reply: oneshot::Sender<Result<(), OpenError>> },
}

/// What is kept of a partition beside its replica.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    awaits: Vec<Await>,
    is_frozen: bool,
    /// Who waits until all is synced.
    freezing: Option<oneshot::Sender<Hash>>,
}

/// Somebody who waits until others hold an entry.
#[derive(Debug)]
struct Await {
    entry: EntryId,
    /// Who hasn't said so yet.
    peers: BTreeSet<PublicKey>,
    held: usize,
    need: usize,
    reply: oneshot::Sender<usize>,
}

impl Room {
    /// Whether things may be added.
    pub(super) fn is_open(&self) -> bool {
        !self.is_leaving && !self.part.as_ref().is_some_and(|part| part.is_frozen)
    }

    /// After something has happened: answers whoever waited for that.
    pub(super) fn keep(&mut self) {
        let is_still = self.replica.is_synced() && self.edits.is_empty() && self.waiting.is_empty();
        let Some(part) = &mut self.part else { return };
        for waiting in &mut part.awaits {
            let before = waiting.peers.len();
            // What a peer said once stands, though its session end.
            waiting.peers.retain(|peer| !self.replica.is_held_by(peer, &waiting.entry));
            waiting.held += before - waiting.peers.len();
        }
        for done in part.awaits.extract_if(.., |one| one.held >= one.need || one.reply.is_closed())
        {
            // Who doesn't wait any more needs no answer.
            let _ = done.reply.send(done.held);
        }
        if is_still && let Some(reply) = part.freezing.take() {
            let _ = reply.send(self.replica.digest());
        }
    }

    /// Whether rows say all that is held here. Of two branches with one number that isn't known;
    /// what differs is compared, and then they are the same.
    fn is_covered_by(&self, rows: &[Row]) -> bool {
        // They ascend.
        let place = |row: &Row| rows.binary_search_by_key(&row.feed(), Row::feed).ok();
        let theirs = |row: &Row| rows.get(place(row)?);
        self.replica.rows().values().all(|ours| match theirs(ours) {
            Some(theirs) => theirs == ours || theirs.top() > ours.top(),
            None => ours.is_empty(),
        })
    }
}

impl Driver {
    /// The room of a partition, frozen or not.
    fn part(&mut self, space: &SpaceId) -> Option<&mut Room> {
        self.rooms.get_mut(space).filter(|room| !room.is_leaving && room.part.is_some())
    }

    pub(super) fn on_part(&mut self, part: Part) {
        // Whoever asked and is gone needs no answer.
        match part {
            Part::Open { genesis, reply } => {
                let _ = reply.send(self.open_space(genesis, Listing::Part));
            }
            Part::Here { spaces, reply } => {
                let here = spaces.iter().filter_map(|space| self.open_here(space));
                let _ = reply.send(here.collect());
            }
            Part::Context { space, reply } => {
                if let Some(room) = self.part(&space) {
                    let _ = reply.send(room.replica.held().collect());
                }
            }
            Part::Rows { space, reply } => {
                if let Some(room) = self.part(&space) {
                    let digest = room.replica.digest();
                    let _ = reply.send((room.replica.rows().values().cloned().collect(), digest));
                }
            }
            Part::Covers { space, rows, reply } => {
                if let Some(room) = self.part(&space) {
                    match room.replica.covers(&rows) {
                        Ok(covers) => drop(reply.send((covers, room.is_covered_by(&rows)))),
                        Err(error) => tracing::error!(%error, "a partition can't be read"),
                    }
                }
            }
            Part::Compare { space, peer } => self.feed(space, Input::Compare { peer }),
            Part::Await { space, entry, peers, need, reply } => {
                if let Some(room) = self.part(&space)
                    && let Some(part) = &mut room.part
                {
                    part.awaits.push(Await { entry, peers, held: 0, need, reply });
                    room.keep();
                }
            }
            Part::Freeze { space, reply } => self.freeze(space, reply),
            Part::Thaw { space } => self.thaw(space),
            Part::Drop { space, digest, reply } => {
                if let Some(room) = self.part(&space)
                    && !room.is_open()
                    && room.replica.is_synced()
                    && room.replica.digest() == digest
                {
                    self.leave(space, true, Some(reply));
                }
            }
        }
    }

    /// Opens a partition that is here.
    fn open_here(&mut self, space: &SpaceId) -> Option<Opened> {
        if let Some(room) = self.part(space) {
            return Some(room.opened.clone());
        }
        let (number, genesis) = self.leaves.part(space)?;
        match self.enter(number, genesis, Listing::Part) {
            Ok(opened) => {
                self.leaves.open_again(space);
                self.offer_to_all(*space);
                Some(opened)
            }
            Err(error) => {
                tracing::error!(%space, %error, "a partition can't be opened");
                None
            }
        }
    }

    fn freeze(&mut self, space: SpaceId, reply: oneshot::Sender<Hash>) {
        let Some(part) = self.part(&space).and_then(|room| room.part.as_mut()) else { return };
        part.is_frozen = true;
        part.freezing = Some(reply);
        self.withdraw(space);
        if let Some(room) = self.part(&space) {
            room.keep();
        }
    }

    fn thaw(&mut self, space: SpaceId) {
        let Some(part) = self.part(&space).and_then(|room| room.part.as_mut()) else { return };
        if std::mem::take(&mut part.is_frozen) {
            part.freezing = None;
            self.offer_to_all(space);
        }
    }
}
