//! Repairing: the spaces of a node made anew, of what a disk that damaged them has left.
//!
//! Entries are what a space is made of, and each is signed and linked; so whatever can be read of
//! them is offered to a replica that is empty, as an archive's would be, and all else is made of
//! that. What is lost is asked from peers when the node runs again, like everything that it lacks.

use std::collections::BTreeMap;

use aether_core::{Protocol as _, PublicKey, SecretKey, Time};
use aether_store::{Batch, CommitError, Durability, KeyspaceError, Store};

use super::{
    Racks, Shelf, StartError,
    list::{List, Listed},
    opening::{owner_key, seed},
    wall,
};
use crate::{
    proto::{
        archive::Record,
        book::salvage::{self, Left},
        entry::Header,
        id::{FeedId, Position, SpaceId},
        replica::{Config, Input, Keys, Offered, Output, Replica},
        rows::Base as _,
    },
    spaces::OpenError,
};

/// The keyspaces of a node's store that [`repair_spaces`] makes anew, and that nothing else is to
/// copy. The list of spaces is in a log.
pub const REPAIRED: [&str; 2] = Racks::NAMES;

/// Entries that are offered at a time, and bytes of them.
const CHUNK: usize = 256;
const MAX_BYTES: usize = 4 << 20;

/// What became of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Which.
    pub space: SpaceId,
    /// What whoever founded it called it.
    pub name: String,
    /// Entries that are whole.
    pub entries: u64,
    /// Entries that couldn't be read whole, and stretches of rows that couldn't be read at all.
    pub lost: u64,
    /// Entries that could be read, and build on what is lost: they come from peers with that.
    pub left: u64,
}

/// Why spaces can't be repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The list of spaces can't be read.
    #[error(transparent)]
    List(#[from] StartError),
    /// A keyspace can't be opened.
    #[error(transparent)]
    Keyspace(#[from] KeyspaceError),
    /// The new store can't be written.
    #[error(transparent)]
    Write(#[from] CommitError),
    /// A space can't be made anew.
    #[error("the space {space} can't be made anew")]
    Space {
        /// Which.
        space: SpaceId,
        /// Why.
        #[source]
        source: OpenError,
    },
}

/// How far a repair has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairProgress<'a> {
    /// The space that is being made anew.
    pub name: &'a str,
    /// Entries of it that were looked at.
    pub done: u64,
    /// Of so many.
    pub of: u64,
}

/// Makes all spaces anew in `to`, a store that holds nothing but the copied logs of the node, of
/// what can be read of `from`. Without `from` they are empty, and all of them comes from peers.
/// Returns when that is synced.
///
/// `key` is the node's. Its next entries begin a new feed in each space, since nobody knows what it
/// had signed.
///
/// In memory are some 100 bytes for each entry of a space.
///
/// # Errors
/// What can't be read of `from` is counted, and no error.
pub fn repair_spaces(
    from: Option<&Store>,
    to: &Store,
    key: &SecretKey,
    mut progress: impl FnMut(RepairProgress<'_>),
) -> Result<Vec<Repaired>, RepairError> {
    let (old, new) = (from.map(Racks::open).transpose()?, Racks::open(to)?);
    let mut all = Vec::new();
    for (space, listed) in List::open(to)?.1.spaces {
        let shelf = Shelf::new(new.clone(), listed.number);
        let failed = |source| RepairError::Space { space, source };
        let mut remaking = Remaking::begin(listed, key, shelf, to).map_err(failed)?;
        if let Some(old) = &old {
            remaking.read(old, &mut progress)?;
        }
        all.push(remaking.done);
    }
    to.commit(Batch::new(), Durability::Synced).wait()?;
    Ok(all)
}

/// A space that is being made anew.
struct Remaking<'a> {
    store: &'a Store,
    shelf: Shelf,
    replica: Replica<Shelf>,
    /// This node's, and the owner's if this node is that.
    authors: [PublicKey; 2],
    offers: u64,
    done: Repaired,
}

/// An entry of the old rows.
struct Found {
    /// Whether an owner wrote it, and so may have discarded payloads of others in it.
    is_owners: bool,
    position: Position,
    row: Vec<u8>,
}

impl<'a> Remaking<'a> {
    fn begin(
        listed: Listed,
        key: &SecretKey,
        shelf: Shelf,
        store: &'a Store,
    ) -> Result<Self, OpenError> {
        let genesis = listed.genesis;
        let (space, name) = (genesis.space_id(), genesis.name().to_owned());
        let owner = owner_key(key, genesis.salt());
        let authors = [key.public(), owner.public()];
        let keys = Keys { own: key.clone(), owner: Some(owner) };
        let mut replica =
            Replica::open(Config::default(), genesis, keys, seed(), shelf.clone(), Vec::new())?;
        replica.handle(Time::ZERO, Input::Wall(wall()));
        let done = Repaired { space, name, entries: 0, lost: 0, left: 0 };
        Ok(Self { store, shelf, replica, authors, offers: 0, done })
    }

    fn read(
        &mut self,
        old: &Racks,
        progress: &mut impl FnMut(RepairProgress<'_>),
    ) -> Result<(), RepairError> {
        let rows = Shelf::new(old.clone(), self.shelf.number());
        let (mut found, mut witnesses, mut staged) = (Vec::new(), BTreeMap::new(), Vec::new());
        for first in salvage::KEPT {
            for row in rows.salvage(&[first]) {
                let Ok((row, value)) = row else {
                    self.done.lost += 1;
                    continue;
                };
                match salvage::read(&row, &value) {
                    Some(Left::Entry { position, header }) => {
                        let is_owners = Header::decode(&header)
                            .is_ok_and(|header| self.replica.genesis().is_owner(&header.author()));
                        found.push(Found { is_owners, position, row });
                    }
                    Some(Left::Witness { local, header }) => {
                        witnesses.entry(local).or_insert_with(Vec::new).push(header);
                    }
                    Some(Left::Credential(record)) => drop(self.offer(vec![record])?),
                    Some(Left::Staged { feed, .. }) => staged.push((feed, row)),
                    None => self.done.lost += 1,
                }
            }
        }
        found.sort_unstable_by_key(|found| (!found.is_owners, found.position));
        self.give(&rows, found, progress)?;
        for pair in witnesses.into_values() {
            if let Ok([first, second]) = <[_; 2]>::try_from(pair) {
                self.offer(vec![Record::Evidence { first, second }])?;
            }
        }
        self.give_staged(&rows, staged)
    }

    /// Gives entries in their order, and those again that weren't taken, until none is.
    fn give(
        &mut self,
        rows: &Shelf,
        mut found: Vec<Found>,
        progress: &mut impl FnMut(RepairProgress<'_>),
    ) -> Result<(), RepairError> {
        let (of, mut done) = (found.len() as u64, 0);
        loop {
            let (before, mut left) = (self.done.entries, Vec::new());
            let (mut some, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
            for entry in found {
                progress(RepairProgress { name: &self.done.name, done, of });
                done = of.min(done + 1);
                let Some(record) = self.record(rows, &entry) else { continue };
                if let Record::Entry { header, payload } = &record {
                    bytes += header.len() + payload.len();
                }
                some.push(entry);
                records.push(record);
                if records.len() == CHUNK || bytes >= MAX_BYTES {
                    bytes = 0;
                    self.give_some(&mut some, std::mem::take(&mut records), &mut left)?;
                }
            }
            self.give_some(&mut some, records, &mut left)?;
            if self.done.entries == before || left.is_empty() {
                self.done.left += left.len() as u64;
                return Ok(());
            }
            found = left;
        }
    }

    /// The record of an entry; it is lost, if there is none.
    fn record(&mut self, rows: &Shelf, entry: &Found) -> Option<Record> {
        let value = rows.get(&entry.row).ok().flatten();
        let left = value.and_then(|value| salvage::read(&entry.row, &value));
        let record = match left {
            Some(Left::Entry { position, header }) => {
                let book = self.replica.book();
                let gone = |header: &Header| book.is_discarded(&header.feed(), header.number());
                salvage::entry(rows, position, header, gone).ok()
            }
            _ => None,
        };
        let record = record.flatten();
        self.done.lost += u64::from(record.is_none());
        record
    }

    /// Offers entries together, and if not all are taken one by one, to know which are.
    fn give_some(
        &mut self,
        some: &mut Vec<Found>,
        records: Vec<Record>,
        left: &mut Vec<Found>,
    ) -> Result<(), RepairError> {
        let Offered { taken, known, .. } = self.offer(records.clone())?;
        self.done.entries += taken;
        if taken + known == records.len() as u64 {
            some.clear();
            return Ok(());
        }
        for (entry, record) in some.drain(..).zip(records) {
            match self.offer(vec![record])? {
                Offered { taken: 1, .. } => self.done.entries += 1,
                Offered { known: 1, .. } => {}
                _ => left.push(entry),
            }
        }
        Ok(())
    }

    /// Gives what waited for its chain. What this node wrote itself stays set aside if it isn't
    /// taken.
    fn give_staged(
        &mut self,
        rows: &Shelf,
        staged: Vec<(FeedId, Vec<u8>)>,
    ) -> Result<(), RepairError> {
        for (feed, row) in staged {
            let Ok(Some(value)) = rows.get(&row) else { continue };
            let Some(Left::Staged { record, .. }) = salvage::read(&row, &value) else { continue };
            let offered = self.offer(vec![record])?;
            if offered.taken + offered.known == 0 && self.authors.contains(&feed.author) {
                let mut batch = Batch::new();
                self.shelf.write(&[(row, Some(value))].into(), &mut batch);
                self.store.commit(batch, Durability::Buffered).wait()?;
            }
        }
        Ok(())
    }

    /// Offers records, and writes what follows from them. Those behind one that is at fault are
    /// offered after it.
    fn offer(&mut self, mut records: Vec<Record>) -> Result<Offered, RepairError> {
        let mut all = Offered::default();
        while !records.is_empty() {
            self.offers += 1;
            let (token, given) = (self.offers, std::mem::take(&mut records));
            let behind = given.clone();
            self.replica.handle(Time::ZERO, Input::Offer { token, records: given });
            let offered = self.write(token)?;
            all.taken += offered.taken;
            all.known += offered.known;
            all.left += offered.left;
            if let Some((place, _)) = offered.fault {
                all.left += 1;
                records = behind.into_iter().skip(place + 1).collect();
            }
        }
        Ok(all)
    }

    fn write(&mut self, token: u64) -> Result<Offered, RepairError> {
        let mut offered = Offered::default();
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist { generation, changes, .. } => {
                    let mut batch = Batch::new();
                    self.shelf.write(&changes, &mut batch);
                    self.store.commit(batch, Durability::Buffered).wait()?;
                    self.replica.handle(Time::ZERO, Input::Persisted { generation });
                }
                Output::Offered { token: of, offered: came } if of == token => offered = came,
                _ => {}
            }
        }
        Ok(offered)
    }
}
