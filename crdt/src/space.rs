//! A space in hand.

use std::{fmt, sync::Arc};

use aether_mesh::{PeerId, identity};
use aether_store::{ReadError, Store};
use tokio::sync::{Semaphore, broadcast, oneshot};

use crate::{
    Counter, Document, Map, Presence, Register, Set, Ticket,
    collections::{Desks, Gatherings},
    driver::{Names, Opened, Request, Shelf, Told, WriteFailed, Written},
    proto::{
        document::template::Template,
        entry::{Collection, Kind},
        id::SpaceId,
        map::{self, Edit},
        replica::Change,
        space::{Genesis, Role},
    },
    spaces::{Inner, Member, OpenError, Status},
};

/// A space: documents, maps, sets, counters and registers that travel together.
///
/// **Promise.** A write is visible and durable here once it is acknowledged, without asking
/// anybody; reads are of this node's replica. Replicas that hold the same entries show the same,
/// whatever order they came in and whatever some writers lie about ([`proto`](crate::proto)); two
/// that are connected hold the same some seconds after the last write. There is no order among
/// writes of different nodes: concurrent values of a key stand side by side.
///
/// Cloning is cheap. When the space is [closed](crate::Spaces::close) or deleted, this handle and
/// all that came of it give errors that say so, for good: who opens the space again has another.
#[derive(Clone)]
pub struct Space {
    inner: Arc<Inner>,
    opened: Opened,
}

impl Space {
    pub(crate) const fn new(inner: Arc<Inner>, opened: Opened) -> Self {
        Self { inner, opened }
    }

    /// Its name for good, all over the world: the hash of its genesis.
    pub fn id(&self) -> SpaceId {
        self.opened.genesis.space_id()
    }

    /// What whoever founded it called it.
    pub fn name(&self) -> &str {
        self.opened.genesis.name()
    }

    /// What it is founded on.
    pub const fn genesis(&self) -> &Genesis {
        &self.opened.genesis
    }

    /// What lets others in, with this node's addresses. Show it only to those who may read and
    /// write all of the space.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn ticket(&self) -> Result<Ticket, OpenError> {
        let addresses = self.inner.node.addresses().await.map_err(|_| OpenError::Closed)?;
        Ok(Ticket::new(self.opened.genesis.clone(), addresses))
    }

    /// Gives a member a role, by an entry that every replica judges alike: a
    /// [`Reader`](Role::Reader) is served where not everyone may read, a [`Writer`](Role::Writer)
    /// writes, an [`Admin`](Role::Admin) admits and removes writers. The owner's node may grant all
    /// three, an admin's the first two. Durable here once it returns; another node lets the member
    /// in once it has heard of it.
    ///
    /// # Errors
    /// This node may not grant it, or the member has it; or the disk.
    pub async fn grant(&self, member: &PeerId, role: Role) -> Result<(), ChangeAccessError> {
        self.change(member, Change::Grant(role)).await
    }

    /// Removes a member. What this node holds of the member's entries stays, and what it doesn't
    /// hold is void for good, whatever the member signs later or had signed in secret. A removal
    /// and a grant that don't know of each other end with the member removed; a later grant admits
    /// it again. In a space that everyone may write this bans a key, and who is banned may come
    /// back under another.
    ///
    /// Until a node has heard of it, it takes what the member writes; then it drops that.
    ///
    /// # Errors
    /// This node may not remove the member, or it is none; or the disk.
    pub async fn remove(&self, member: &PeerId) -> Result<(), ChangeAccessError> {
        self.change(member, Change::Remove).await
    }

    async fn change(&self, member: &PeerId, change: Change) -> Result<(), ChangeAccessError> {
        let member = identity::public_key(member).ok_or(ChangeAccessError::Key)?;
        if self.shelf().is_left() {
            return Err(WriteFailed::Left.into());
        }
        let written = self.ask(|space, reply| Request::Change { space, member, change, reply });
        written.await.unwrap_or(Err(WriteFailed::Closed))?;
        Ok(())
    }

    /// The members that have a role, by their keys: nobody in a space that is everyone's, unless
    /// somebody was granted one.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn members(&self) -> Result<Vec<Member>, OpenError> {
        let members = self.ask(|space, reply| Request::Members { space, reply }).await;
        let members = members.ok_or(OpenError::Closed)?.filter(|_| !self.shelf().is_left());
        members.ok_or_else(|| OpenError::Left { name: self.name().to_owned() })
    }

    /// How it stands with it on this node.
    ///
    /// # Errors
    /// The node has stopped, or the space was left.
    pub async fn status(&self) -> Result<Status, OpenError> {
        let status = self.ask(|space, reply| Request::Status { space, reply }).await;
        let status = status.ok_or(OpenError::Closed)?.filter(|_| !self.shelf().is_left());
        status.ok_or_else(|| OpenError::Left { name: self.name().to_owned() })
    }

    /// A hash of what all collections show, equal on two nodes that hold the same. Reads
    /// everything: call it where blocking does no harm.
    ///
    /// # Errors
    /// What is stored can't be read.
    pub fn state_hash(&self) -> Result<aether_core::Hash, ReadError> {
        map::state_hash(self.shelf(), self.names())
    }

    /// The map of this name. Its types are the program's own agreement, as with all collections.
    pub fn map<K, V>(&self, name: &str) -> Map<K, V> {
        Map::new(self.clone(), Collection::new(Kind::Map, name))
    }

    /// The set of this name.
    pub fn set<K>(&self, name: &str) -> Set<K> {
        Set::new(self.clone(), Collection::new(Kind::Set, name))
    }

    /// The counters of this name, one for each key.
    pub fn counter<K>(&self, name: &str) -> Counter<K> {
        Counter::new(self.clone(), Collection::new(Kind::Counter, name))
    }

    /// The register of this name: a single value.
    pub fn register<V>(&self, name: &str) -> Register<V> {
        Register::new(self.clone(), Collection::new(Kind::Register, name))
    }

    /// The document of this name, which begins empty. Nothing is read until it is used.
    pub fn document(&self, name: &str) -> Document {
        self.document_from(name, &Template::empty())
    }

    /// The document of this name that begins with a template, the same for all who use it:
    /// [`Template::text`], say.
    pub fn document_from(&self, name: &str, template: &Template) -> Document {
        Document::new(self.clone(), name, template.clone())
    }

    /// What those who are here say of themselves under this name. Nothing is heard until the first
    /// handle is there, and little more than a second later everybody's.
    pub fn presence<T>(&self, name: &str) -> Presence<T> {
        Presence::new(self.clone(), name)
    }

    /// Whether it was closed or deleted since this handle was had: then nothing can be read or
    /// written by it any more, though the space may be open again.
    pub fn is_left(&self) -> bool {
        self.opened.shelf.is_left()
    }

    /// Whether it is the control space of a partitioned map in which this node takes part.
    pub const fn is_partitioned(&self) -> bool {
        self.opened.is_map
    }

    pub(crate) const fn shelf(&self) -> &Shelf {
        &self.opened.shelf
    }

    pub(crate) const fn names(&self) -> &Names {
        &self.opened.names
    }

    pub(crate) const fn desks(&self) -> &Desks {
        &self.opened.desks
    }

    pub(crate) fn gatherings(&self) -> &Gatherings {
        &self.inner.gatherings
    }

    pub(crate) fn node(&self) -> &aether_mesh::Node {
        &self.inner.node
    }

    pub(crate) fn store(&self) -> &Store {
        self.inner.node.store()
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.inner.runtime
    }

    /// Asks the driver for something.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(SpaceId, oneshot::Sender<T>) -> Request,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(request(self.id(), reply)).await.ok()?;
        answer.await.ok()
    }

    /// Tells the driver something that needs no answer.
    pub(crate) async fn tell(&self, request: Request) {
        // A driver that is gone needs to know nothing.
        let _ = self.inner.requests.send(request).await;
    }

    /// The memory for documents that are being loaded.
    pub(crate) fn loading(&self) -> Arc<Semaphore> {
        self.inner.loading.clone()
    }

    pub(crate) fn told(&self) -> broadcast::Receiver<Told> {
        self.opened.told.subscribe()
    }

    /// Makes edits visible and durable, all at once.
    pub(crate) async fn edit(&self, edits: Vec<Edit>) -> Result<Written, WriteFailed> {
        if self.shelf().is_left() {
            // It may have been opened again, and what is seen here isn't what is there now.
            return Err(WriteFailed::Left);
        }
        let written = self.ask(|space, reply| Request::Edit { space, edits, reply }).await;
        written.unwrap_or(Err(WriteFailed::Closed))
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({:?}, {})", self.name(), self.id())
    }
}

/// Why a member's access can't be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeAccessError {
    /// The member's id isn't that of an Ed25519 key, as all nodes have one.
    #[error("the member's id holds no Ed25519 key; give the id that its node shows")]
    Key,
    /// It isn't written.
    #[error(transparent)]
    Write(#[from] WriteFailed),
}
