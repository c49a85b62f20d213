//! The spaces of a node.

use std::{sync::Arc, thread};

use aether_core::PublicKey;
use aether_mesh::{Node, PeerId, identity};
use aether_store::{CommitError, ReadError};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Space, Ticket, TicketError,
    collections::{Gatherings, LOADING},
    driver::{Driver, Event, Links, Opened, Request, STREAM, Shelf, StartError, owner_key},
    partitions::Maps,
    proto::{
        id::SpaceId,
        replica::{self, Replica},
        space::{Genesis, GenesisError, Mode, Role},
    },
};

/// Requests that wait for the driver.
const QUEUE: usize = 1024;
/// Frames of links that wait for the driver, of up to a MiB each.
const EVENTS: usize = 32;

/// The spaces that a node has, each of which is replicated among all members of the mesh that have
/// it.
///
/// They live in the node's store, and are served to others as long as a handle is there: this one,
/// or one of a [`Space`] or collection. Partitioned maps are, as long as this one is there, or one
/// of the map. Cloning is cheap. Open them once for each node.
#[derive(Clone, Debug)]
pub struct Spaces {
    inner: Arc<Inner>,
    maps: Arc<Maps>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) node: Node,
    pub(crate) requests: mpsc::Sender<Request>,
    /// Where documents live that are in hand.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) gatherings: Gatherings,
    /// The memory that documents may take while they are being loaded, in MiB.
    pub(crate) loading: Arc<Semaphore>,
}

impl Inner {
    /// Asks the driver for something.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, OpenError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| OpenError::Closed)?;
        answer.await.map_err(|_| OpenError::Closed)
    }
}

impl Spaces {
    /// Opens all spaces that the node has from before, and serves them; partitioned maps, too.
    /// Reads of each what is known of its feeds.
    ///
    /// # Errors
    /// What is stored can't be read, or the spaces are open already.
    pub async fn open(node: &Node) -> Result<Self, StartError> {
        let incoming = node.accept_streams(STREAM).await.map_err(|error| match error {
            aether_mesh::AcceptError::Taken { .. } => StartError::Taken,
            _ => StartError::Closed,
        })?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (events, told) = mpsc::channel::<Event>(EVENTS);
        let (faults, blamed) = mpsc::channel(16);
        let (store, key) = (node.store().clone(), node.secret_key().clone());
        let (begun, opened) = oneshot::channel();
        let run = move || {
            let driver = match Driver::open(store, key, faults) {
                Ok(driver) => driver,
                // Whoever asked has gone, or hears of it.
                Err(error) => return drop(begun.send(Err(error))),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            match runtime {
                Ok(runtime) => {
                    let _ = begun.send(Ok(()));
                    runtime.block_on(driver.run(receiver, told));
                }
                Err(error) => drop(begun.send(Err(StartError::Thread(error)))),
            }
        };
        let thread = thread::Builder::new().name("aether-spaces".to_owned()).spawn(run);
        thread.map_err(StartError::Thread)?;
        opened.await.map_err(|_| StartError::Closed)??;
        let links = Links::new(node.clone(), events);
        #[expect(clippy::disallowed_methods, reason = "it ends with the driver, and that with us")]
        tokio::spawn(links.run(incoming, blamed));
        let runtime = tokio::runtime::Handle::current();
        let (node, gatherings) = (node.clone(), Gatherings::default());
        let loading = Arc::new(Semaphore::new(LOADING));
        let inner = Arc::new(Inner { node, requests, runtime, gatherings, loading });
        let spaces = Self { inner, maps: Arc::default() };
        for space in spaces.list().await.map_err(|_| StartError::Closed)? {
            spaces.go_on(&space).await;
        }
        Ok(spaces)
    }

    /// Founds a space of this name that everyone may read and write who has its
    /// [ticket](Space::ticket). Names need not differ: a space is what its id says.
    ///
    /// # Errors
    /// The name has more than 255 bytes; or the disk.
    pub async fn create(&self, name: &str) -> Result<Space, OpenError> {
        self.create_as(name, Mode::Open).await
    }

    /// Founds a space that not everyone may [write](Mode::Readable), or [read](Mode::Granted). Its
    /// owner is a key that this node alone has, and this node an admin of it: it
    /// [grants](Space::grant) roles to others.
    ///
    /// # Errors
    /// The name has more than 255 bytes, or the mode isn't offered; or the disk.
    pub async fn create_as(&self, name: &str, mode: Mode) -> Result<Space, OpenError> {
        self.create_with(name, mode, false).await
    }

    /// Founds one, it may be as the control space of a partitioned map.
    pub(crate) async fn create_with(
        &self,
        name: &str,
        mode: Mode,
        is_map: bool,
    ) -> Result<Space, OpenError> {
        let salt = salt();
        let owner = owner_key(self.inner.node.secret_key(), &salt).public();
        self.found_with(Genesis::new(mode, salt, name, [owner])?, is_map).await
    }

    /// Takes part in the space that a ticket names. What is in it comes from other members, as
    /// soon as one is there that has it. Joining again gives the same space.
    ///
    /// # Errors
    /// The ticket isn't one, or its space is of a kind that isn't offered; or the disk.
    pub async fn join(&self, ticket: &str) -> Result<Space, OpenError> {
        self.join_with(&Ticket::decode(ticket)?, false).await
    }

    /// Joins one, it may be as the control space of a partitioned map.
    pub(crate) async fn join_with(
        &self,
        ticket: &Ticket,
        is_map: bool,
    ) -> Result<Space, OpenError> {
        for seed in ticket.seeds() {
            self.inner.node.dial(seed.clone()).await.map_err(|_| OpenError::Closed)?;
        }
        self.found_with(ticket.genesis().clone(), is_map).await
    }

    /// Takes no part in a space any more, from now on and after a restart, until it is
    /// [opened again](Self::open_again) or joined: no session of it goes on, and nobody is served.
    /// What is stored of it stays. All its handles give errors from now on. Returns when that is
    /// durable, as is all that was written to it before. That it is closed already is no error.
    /// With the control space of a partitioned map all of the map is closed here.
    ///
    /// # Errors
    /// The node doesn't have it; or the disk, and then it stays open.
    pub async fn close(&self, space: SpaceId) -> Result<(), OpenError> {
        self.maps.end(&space).await;
        self.ask(|reply| Request::Leave { space, deletes: false, reply }).await?
    }

    /// Closes a space, open or not, and deletes what is stored of it on this node: what other nodes
    /// have of it stays there, and what only this one has is gone. Returns when that is certain,
    /// and the node is then rid of it; its rows are removed bit by bit, also after a restart. To
    /// join it later fetches it anew from others. With the control space of a partitioned map goes
    /// all that this node holds of the map: let it [leave](crate::PartitionedMap::leave_members)
    /// the members first, or its partitions have one owner less.
    ///
    /// # Errors
    /// The node doesn't have it; or the disk, and then it stays.
    pub async fn delete(&self, space: SpaceId) -> Result<(), OpenError> {
        self.maps.end(&space).await;
        self.ask(|reply| Request::Leave { space, deletes: true, reply }).await?
    }

    /// Takes part again in a space that was closed.
    ///
    /// # Errors
    /// The node doesn't have it; or the disk.
    pub async fn open_again(&self, space: SpaceId) -> Result<Space, OpenError> {
        let opened = self.ask(|reply| Request::Again { space, reply }).await??;
        Ok(self.opened(opened).await)
    }

    /// The spaces that are closed on this node, by id.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn closed(&self) -> Result<Vec<ClosedSpace>, OpenError> {
        let closed = self.ask(|reply| Request::ListClosed { reply }).await?;
        let closed = closed.into_iter();
        Ok(closed.map(|genesis| ClosedSpace { genesis }).collect())
    }

    /// The id of the space that this node has, open or closed, and that has this id; or, if exactly
    /// one has this name, that one.
    ///
    /// # Errors
    /// None, or several of this name.
    pub async fn find(&self, id_or_name: &str) -> Result<SpaceId, OpenError> {
        let open = self.list().await?.into_iter().map(|space| space.genesis().clone());
        let closed = self.closed().await?.into_iter().map(|closed| closed.genesis);
        let all: Vec<Genesis> = open.chain(closed).collect();
        let is_it = |genesis: &&Genesis| genesis.space_id().to_string() == id_or_name;
        if let Some(found) = all.iter().find(is_it) {
            return Ok(found.space_id());
        }
        let named: Vec<&Genesis> = all.iter().filter(|of| of.name() == id_or_name).collect();
        match named[..] {
            [] => Err(OpenError::NotFound { name: id_or_name.to_owned() }),
            [found] => Ok(found.space_id()),
            _ => Err(OpenError::Ambiguous { name: id_or_name.to_owned(), count: named.len() }),
        }
    }

    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, OpenError> {
        self.inner.ask(request).await
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn maps(&self) -> &Maps {
        &self.maps
    }

    pub(crate) fn requests(&self) -> &mpsc::Sender<Request> {
        &self.inner.requests
    }

    pub(crate) async fn found(&self, genesis: Genesis) -> Result<Space, OpenError> {
        self.found_with(genesis, false).await
    }

    async fn found_with(&self, genesis: Genesis, is_map: bool) -> Result<Space, OpenError> {
        let opened = self.ask(|reply| Request::Open { genesis, is_map, reply }).await??;
        Ok(self.opened(opened).await)
    }

    async fn opened(&self, opened: Opened) -> Space {
        let space = Space::new(self.inner.clone(), opened);
        self.go_on(&space).await;
        space
    }

    /// All spaces that this node has and that aren't [closed](Self::closed), by id.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn list(&self) -> Result<Vec<Space>, OpenError> {
        let all = self.ask(|reply| Request::List { reply }).await?.into_iter();
        Ok(all.map(|opened| Space::new(self.inner.clone(), opened)).collect())
    }

    /// The space of this id that this node has; or, if exactly one has this name, that one.
    ///
    /// # Errors
    /// None, or several of this name; or it is closed.
    pub async fn get(&self, id_or_name: &str) -> Result<Space, OpenError> {
        let is_it = |space: &Space| space.id().to_string() == id_or_name;
        let mut all = self.list().await?;
        if let Some(place) = all.iter().position(is_it) {
            return Ok(all.swap_remove(place));
        }
        all.retain(|space| space.name() == id_or_name);
        match all.len() {
            0 => {
                let found = self.find(id_or_name).await;
                found.and(Err(OpenError::Left { name: id_or_name.to_owned() }))
            }
            1 => Ok(all.swap_remove(0)),
            count => Err(OpenError::Ambiguous { name: id_or_name.to_owned(), count }),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a space's salt is drawn here")]
fn salt() -> [u8; 16] {
    rand::random()
}

/// Why a space can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
    /// There is none of this name or id.
    #[error("this node has no space {name:?}; join it with a ticket from a node that has it")]
    NotFound {
        /// The name or id.
        name: String,
    },
    /// It was closed, or deleted, on this node.
    #[error("the space {name:?} is closed on this node; open it again, or join it")]
    Left {
        /// The name or id.
        name: String,
    },
    /// Several have the name.
    #[error("{count} spaces are named {name:?}; say which by its id")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many.
        count: usize,
    },
    /// The genesis breaks a rule.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The ticket isn't one.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The space is of a kind that isn't offered.
    #[error("spaces of mode {0:?} are not offered by this release; upgrade")]
    Mode(Mode),
    /// What is stored of it can't be read.
    #[error("what is stored of the space can't be read")]
    Read(#[from] ReadError),
    /// It can't be written down.
    #[error("the space can't be stored")]
    Write(#[from] CommitError),
}

impl From<replica::OpenError<ReadError>> for OpenError {
    fn from(error: replica::OpenError<ReadError>) -> Self {
        match error {
            replica::OpenError::Mode(mode) => Self::Mode(mode),
            replica::OpenError::Rows(error) => Self::Read(error),
        }
    }
}

/// A member of a space: somebody whom an owner or admin gave a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who: the node's key.
    pub key: PublicKey,
    /// The highest role that it has now.
    pub role: Role,
}

impl Member {
    pub(crate) fn all(replica: &Replica<Shelf>) -> Vec<Self> {
        replica.access().members().map(|(key, role)| Self { key, role }).collect()
    }

    /// The member's node, as the mesh names it.
    pub fn peer(&self) -> PeerId {
        identity::peer_id(&self.key)
    }
}

/// A space in which this node takes no part, though it has what is stored of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSpace {
    genesis: Genesis,
}

impl ClosedSpace {
    /// Its id.
    pub const fn id(&self) -> SpaceId {
        self.genesis.space_id()
    }

    /// What whoever founded it called it.
    pub fn name(&self) -> &str {
        self.genesis.name()
    }
}

/// How it stands with a space on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Entries that were taken in, those that were evicted since among them.
    pub entries: u64,
    /// Feeds: one for each author and life of its data folder.
    pub feeds: usize,
    /// Feeds whose authors signed two entries of one number.
    pub forked: usize,
    /// Nodes with which it is being synced.
    pub peers: usize,
    /// A hash of all that is held: equal on two nodes exactly if they hold the same.
    pub digest: String,
    /// What this node may do: `owner`, `admin`, `writer` or `reader`; none if it has no role and
    /// the space is nobody's to read without.
    pub role: Option<String>,
    /// Whether payloads that were discarded are still to be dropped here.
    pub is_compacting: bool,
    /// Whether the disk failed, so that nothing is written until a restart.
    pub has_failed: bool,
}

impl Status {
    pub(crate) fn of(replica: &Replica<Shelf>) -> Self {
        let rows = replica.rows();
        Self {
            entries: replica.synced().as_number(),
            feeds: rows.len(),
            forked: rows.values().filter(|row| row.evidence().is_some()).count(),
            peers: replica.peers().count(),
            digest: crate::proto::sync::digest(rows.values()).to_string(),
            role: replica.own_role().map(|role| role.to_string()),
            is_compacting: replica.book().is_dropping(),
            has_failed: replica.has_failed(),
        }
    }
}
