//! Partitioned maps in hand.

mod error;
mod hub;
mod keeping;
mod maps;
mod members;
mod scanning;
mod serving;

use std::{collections::BTreeSet, fmt, marker::PhantomData, sync::Arc, time::Duration};

use aether_core::{Hash, PublicKey, Time};
use minicbor::bytes::{ByteArray, ByteVec};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::maps::Maps;
pub use self::{
    error::PartitionError,
    members::{CopyState, PartitionCopy, PartitionMember, PartitionStatus},
    scanning::{ParseCursorError, ScanCursor, ScanPage},
};
use self::{hub::Hub, hub::Shared};
use crate::{
    Key, Ticket,
    collections::{decode, encode},
    proto::{
        id::SpaceId,
        map::{Element, Rule},
        partitions::{Answer, Ask, Level, Placement, Role, Said, Standing, gather, join, message},
    },
};

/// How long an operation takes at most if nothing else is said.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long an owner may take to be read from before the next is asked as well.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long nobody who declined is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A map that is split among members, each of which holds a part of it.
///
/// **Promise.** Every key has so many owners as the map has [replicas](crate::Partitioning), chosen
/// among the members by a hash, and a write is synced on as many of them as its [level](Level) says
/// before it is acknowledged. While the members stay as they are, a read and a write of the same
/// key at quorum, or one at one and one at all, meet at an owner at least: the read finds what was
/// acknowledged before it began, or what was written over that. At level one reads and writes are
/// sloppy, and answer as long as anything can. In [`proto::partitions`](crate::proto::partitions)
/// stands what exactly that means, and what it doesn't: concurrent writes stand side by side and
/// the latest by hybrid time is shown; and there is no order among keys.
///
/// **Members** come and go without a stop: owners hand over what they have, and nobody drops what
/// not all owners hold. A node that isn't a member reads and writes like one, through the owners.
/// All nodes of a map trust each other, as in every space that is open to all who have its ticket.
///
/// **Cost.** A write is one entry in one feed, and crosses the net once for each owner. A read at
/// quorum asks that many owners. On disk a key is where its owners are, and nowhere else.
///
/// After a restart the map goes on by itself when the node's [`Spaces`](crate::Spaces) are opened,
/// until it is [closed](crate::Spaces::close). Cloning is cheap.
pub struct PartitionedMap<K, V> {
    hub: Arc<Hub>,
    reads: Level,
    writes: Level,
    deadline: Duration,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for PartitionedMap<K, V> {
    fn clone(&self) -> Self {
        Self { hub: Arc::clone(&self.hub), ..*self }
    }
}

impl<K, V> PartitionedMap<K, V> {
    /// The id of the map, which is that of its control space.
    pub fn id(&self) -> SpaceId {
        self.shared().control.id()
    }

    /// What whoever founded it called it.
    pub fn name(&self) -> &str {
        self.hub.shared.control.name()
    }

    /// What lets others in, with this node's addresses. Show it only to those who may read and
    /// write all of the map, and own parts of it.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn ticket(&self) -> Result<Ticket, PartitionError> {
        Ok(self.shared().control.ticket().await?)
    }

    /// This map with reads at another level; at quorum otherwise.
    #[must_use]
    pub fn reading(mut self, level: Level) -> Self {
        self.reads = level;
        self
    }

    /// This map with writes at another level; at quorum otherwise.
    #[must_use]
    pub fn writing(mut self, level: Level) -> Self {
        self.writes = level;
        self
    }

    /// This map with another deadline for each operation; 10 seconds otherwise.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.hub.shared
    }

    fn until(&self) -> Time {
        self.shared().now() + self.deadline
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> PartitionedMap<K, V> {
    /// Gives a key a value, in place of what its coordinator holds there. Returns when as many
    /// owners as the level says hold it, synced. At level one, if no owner can be reached, this
    /// node keeps it as a hint, and hands it over later: no other node reads it before.
    ///
    /// # Errors
    /// Too few owners said that they hold it in time (it may be done all the same); or the key or
    /// the value is too large.
    pub async fn put(&self, key: &K, value: &V) -> Result<(), PartitionError> {
        self.write(key.to_key(), Some(encode(value)?)).await
    }

    /// Removes what its coordinator holds at a key. Durable as [`put`](Self::put) is, but never
    /// taken as a hint: whoever can't reach an owner has nothing to remove.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn remove(&self, key: &K) -> Result<(), PartitionError> {
        self.write(key.to_key(), None).await
    }

    /// The value of a key; of several the latest by hybrid time.
    ///
    /// # Errors
    /// Too few owners answered in time.
    pub async fn get(&self, key: &K) -> Result<Option<V>, PartitionError> {
        let latest = Rule::Last.resolve(self.elements(key).await?).pop();
        Ok(latest.map(|element| decode(&element.value)).transpose()?)
    }

    /// All values of a key: several, if they were written without knowing of each other. The latest
    /// is the last.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn all(&self, key: &K) -> Result<Vec<V>, PartitionError> {
        let all = Rule::All.resolve(self.elements(key).await?);
        Ok(all.iter().map(|element| decode(&element.value)).collect::<Result<_, _>>()?)
    }

    async fn write(&self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), PartitionError> {
        // What can't be written is told before anybody is asked.
        serving::edit(key.clone(), value.clone())?;
        let (shared, level, until) = (self.shared(), self.writes, self.until());
        let is_hint = level == Level::One && value.is_some();
        let third = self.deadline / 3;
        // A hint takes the rest of the time.
        let deadline = if is_hint { shared.now() + third * 2 } else { until };
        loop {
            let placement = shared.owned(until).await?;
            let partition = placement.partition_of(&key);
            let ask = Ask::Write {
                partition,
                key: ByteVec::from(key.clone()),
                value: value.clone().map(ByteVec::from),
                level: level.to_byte(),
            };
            let mut owners = placement.owners(partition).to_vec();
            // This node needs nobody to reach itself.
            owners.sort_by_key(|owner| *owner != shared.me);
            let rounds = Some(if is_hint { 1 } else { 2 });
            let config =
                gather::Config { need: 1, patience: third, pause: PAUSE, rounds, deadline };
            let accept = |said| matches!(said, Said::Written { .. }).then_some(());
            match (shared.gather(config, owners, &ask, accept).await, &value) {
                (Ok(_), _) => return Ok(()),
                (Err(_), Some(value)) if is_hint => {
                    return self.hint(partition, key, value.clone()).await;
                }
                (Err(_), _) if shared.now() >= until => {
                    return Err(PartitionError::Unconfirmed { level });
                }
                // The list of members may be another by now.
                (Err(_), _) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Takes a write for owners who can't be reached.
    async fn hint(
        &self,
        partition: u16,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<(), PartitionError> {
        let shared = self.shared();
        let copy = match shared.copy(partition) {
            Some(copy) => copy,
            None => keeping::open(shared, partition).await?,
        };
        copy.edit(vec![serving::edit(key, Some(value))?]).await?;
        // The keeper hands it over, and drops it then.
        shared.hints.send(partition).await.map_err(|_| PartitionError::Closed)
    }

    /// The alive elements of a key.
    async fn elements(&self, key: &K) -> Result<Vec<Element>, PartitionError> {
        let key = key.to_key();
        let partition = self.shared().placement(self.until()).await?.partition_of(&key);
        let ask = Ask::Get { partition, key: ByteVec::from(key) };
        let answers = self.answers(partition, &ask, Said::answer).await?;
        let joined =
            join(answers.iter().map(|(_, Answer { context, elements })| (context, &elements[..])));
        let peers: Vec<PublicKey> = answers.iter().map(|(peer, _)| *peer).collect();
        self.repair(partition, &peers, &joined.stale);
        Ok(joined.elements)
    }

    /// What as many say as the level asks for. Above level one only owners count, which have the
    /// same list of members.
    async fn answers<T>(
        &self,
        partition: u16,
        ask: &Ask,
        read: impl Fn(&Said) -> Option<(Hash, bool, T)>,
    ) -> Result<Vec<(PublicKey, T)>, PartitionError> {
        let (shared, level, until) = (self.shared(), self.reads, self.until());
        loop {
            let placement = shared.owned(until).await?;
            let need = placement.need(partition, level);
            let nodes = self.order(&placement, partition);
            let (mut is_too_large, mut is_other) = (false, false);
            let accept = |said: Said| {
                if said == message::Declined::TooLarge.into() {
                    is_too_large = true;
                }
                let (view, owns, answer) = read(&said)?;
                let is_same = view == placement.view();
                is_other |= !is_same;
                (level == Level::One || (owns && is_same)).then_some(answer)
            };
            let config = gather::Config {
                need,
                patience: PATIENCE,
                pause: PAUSE,
                rounds: Some(2),
                deadline: until,
            };
            match shared.gather(config, nodes, ask, accept).await {
                Ok(answers) => return Ok(answers),
                Err(_) if is_too_large => return Err(PartitionError::TooLarge),
                Err(answered) if shared.now() >= until => {
                    return Err(PartitionError::Short { answered, need, level });
                }
                // The list of members may be another by now.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Who is asked, in this order: the owners, this node first; and at level one others who may
    /// still have what they owned.
    fn order(&self, placement: &Placement, partition: u16) -> Vec<PublicKey> {
        let shared = self.shared();
        let mut nodes = placement.owners(partition).to_vec();
        nodes.sort_by_key(|owner| *owner != shared.me);
        if self.reads == Level::One {
            let leaving = placement.members().iter();
            let leaving = leaving.filter(|(_, standing)| **standing == Standing::Leaving);
            let leaving = leaving.map(|(member, _)| *member);
            let others: Vec<PublicKey> = placement.ranked(partition).chain(leaving).collect();
            nodes.extend(others.into_iter().filter(|other| !placement.owns(other, partition)));
            if matches!(shared.known().role(partition), Role::Former { was_whole: true }) {
                nodes.retain(|node| *node != shared.me);
                nodes.insert(0, shared.me);
            }
        }
        nodes
    }

    /// Makes those who lack something compare at once with those who don't, or, if all do, with
    /// each other.
    fn repair(&self, partition: u16, peers: &[PublicKey], stale: &BTreeSet<usize>) {
        let is_fresh = |place: &usize| !stale.contains(place) || stale.len() == peers.len();
        for (place, with) in stale
            .iter()
            .flat_map(|place| (0..peers.len()).filter(is_fresh).map(move |with| (*place, with)))
        {
            if place == with {
                continue;
            }
            let peer = ByteArray::from(*peers[with].as_bytes());
            let (ask, peer) = (Ask::Hasten { partition, peer }, peers[place]);
            let shared = Arc::clone(self.shared());
            self.shared().beside(async move {
                let until = shared.now() + DEADLINE;
                shared.ask(peer, &ask, until).await;
            });
        }
    }
}

impl<K, V> fmt::Debug for PartitionedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionedMap({:?}, {})", self.name(), self.id())
    }
}
