//! Opening spaces: those of the list when the driver starts, and others when they are asked for.

use std::collections::{BTreeMap, VecDeque};

use aether_core::{Domain, Protocol as _, PublicKey, SecretKey, Time};
use aether_mesh::PeerId;
use aether_store::{Batch, Durability, Store};
use tokio::sync::{broadcast, mpsc};

use super::{
    Changes, Driver, MAX_TOLD, Names, Opened, Racks, Room, Shelf, begin, ends,
    leaving::Leaves,
    list::{List, Listed, Listing},
    parts, wall,
};
use crate::{
    collections::Desks,
    proto::{
        access::Access,
        id::{EntryId, SpaceId},
        replica::{Change, Config, Input, Keys, Replica},
        space::{Genesis, Mode, Role},
    },
    spaces::OpenError,
};

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
    /// The list of spaces can't be written.
    #[error("the list of spaces can't be written")]
    Write(#[source] aether_store::CommitError),
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
        let racks = Racks::open(&store)?;
        let (list, listed) = List::open(&store)?;
        // That is where the list was: what is in it would be forgotten without a word.
        if store.keyspaces().iter().any(|name| name == "space-list") {
            return Err(StartError::List);
        }
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
            leaves: Leaves::new(listed.rest),
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
        for (space, listed) in listed.spaces {
            driver.leaves.number(listed.number);
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

    /// Opens a space that may be new here, and offers it to all peers. One that is a map's control
    /// space stays that.
    pub(super) fn open_space(
        &mut self,
        genesis: Genesis,
        listing: Listing,
    ) -> Result<Opened, OpenError> {
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
        self.list.put(&listed, &mut batch);
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
    pub(super) fn enter(
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
}

#[expect(clippy::disallowed_methods, reason = "the driver draws entropy")]
pub(super) fn seed() -> [u8; 32] {
    rand::random()
}

/// The key of a space's owner, which a node makes of its own: it isn't the node's key, so that it
/// can be given away.
pub(crate) fn owner_key(node: &SecretKey, salt: &[u8; 16]) -> SecretKey {
    const OWNER: Domain = Domain::new("aether 2026-11 space owner key v1");
    let hash = OWNER.hasher().update(&node.to_bytes()).update(salt).finish();
    SecretKey::from_bytes(*hash.as_bytes())
}
