//! The maps that a node takes part in: founding, joining and opening them, and who keeps them
//! going.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use tokio::sync::Mutex;

use super::{DEADLINE, Hub, PartitionError, PartitionedMap, keeping};
use crate::{
    OpenError, Space, Spaces, Ticket,
    proto::{
        id::SpaceId,
        map::Action,
        partitions::{Level, Partitioning, placement},
        space::Mode,
    },
    spaces::Inner,
};

/// The maps that go on, whether somebody uses them or not.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    hubs: Mutex<BTreeMap<SpaceId, Arc<Hub>>>,
}

impl Maps {
    /// The hub of the map with this control space.
    async fn open(&self, inner: &Arc<Inner>, control: Space) -> Result<Arc<Hub>, PartitionError> {
        let mut hubs = self.hubs.lock().await;
        let id = control.id();
        if let Some(hub) = hubs.get(&id).filter(|hub| !hub.shared.control.is_left()) {
            return Ok(Arc::clone(hub));
        }
        let hub = Arc::new(Hub::open(inner, control).await?);
        hubs.insert(id, Arc::clone(&hub));
        Ok(hub)
    }

    /// Ends what goes on of a map, if this is one: its space is about to be left.
    pub(crate) async fn end(&self, map: &SpaceId) {
        if let Some(hub) = self.hubs.lock().await.remove(map) {
            hub.end();
        }
    }
}

impl Spaces {
    /// Founds a map that is split so. Nobody owns anything of it until a member
    /// [joins](PartitionedMap::join_members), this node, say. Its name is that of a space, which
    /// [`Spaces::list`] lists; its partitions it doesn't.
    ///
    /// # Errors
    /// The name has more than 255 bytes; or the disk.
    pub async fn create_partitioned<K, V>(
        &self,
        name: &str,
        partitioning: Partitioning,
    ) -> Result<PartitionedMap<K, V>, PartitionError> {
        let control = self.create_with(name, Mode::Open, true).await?;
        let settings = Action::Put(partitioning.encode());
        keeping::set(&control, placement::config(), Vec::new(), settings).await?;
        self.map(control).await
    }

    /// Takes part in the map that a [ticket](PartitionedMap::ticket) names: to read and write it.
    /// What it holds comes once it [joins the members](PartitionedMap::join_members).
    ///
    /// # Errors
    /// The ticket isn't one; or the disk.
    pub async fn join_partitioned<K, V>(
        &self,
        ticket: &str,
    ) -> Result<PartitionedMap<K, V>, PartitionError> {
        let ticket = Ticket::decode(ticket).map_err(OpenError::from)?;
        if ticket.genesis().mode() != Mode::Open {
            return Err(PartitionError::Mode);
        }
        let control = self.join_with(&ticket, true).await?;
        self.map(control).await
    }

    /// The map of this name or id that this node created or joined before.
    ///
    /// # Errors
    /// As [`Spaces::get`]; or the space of this name isn't here as a map.
    pub async fn partitioned<K, V>(
        &self,
        id_or_name: &str,
    ) -> Result<PartitionedMap<K, V>, PartitionError> {
        let control = self.get(id_or_name).await?;
        if !control.is_partitioned() {
            return Err(PartitionError::NotPartitioned { name: id_or_name.to_owned() });
        }
        self.map(control).await
    }

    async fn map<K, V>(&self, control: Space) -> Result<PartitionedMap<K, V>, PartitionError> {
        let hub = self.maps().open(self.inner(), control).await?;
        let (reads, writes) = (Level::Quorum, Level::Quorum);
        Ok(PartitionedMap { hub, reads, writes, deadline: DEADLINE, types: PhantomData })
    }

    /// Lets the map go on whose control space was opened, if it is one.
    pub(crate) async fn go_on(&self, space: &Space) {
        if !space.is_partitioned() {
            return;
        }
        // The spaces are of use without it, and whoever uses the map hears what is wrong.
        if let Err(error) = self.maps().open(self.inner(), space.clone()).await {
            tracing::error!(space = %space.id(), %error, "a partitioned map doesn't go on");
        }
    }
}
