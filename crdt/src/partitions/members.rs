//! Who holds a map, and how far this node is with that.

use aether_core::PublicKey;
use aether_mesh::{PeerId, identity};
use serde::Serialize;

use super::{PartitionError, PartitionedMap, keeping};
use crate::proto::partitions::{Placement, Role, Standing};

/// A member of a partitioned map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionMember {
    /// The node.
    pub peer: PeerId,
    /// Whether it hands over what it has, and is gone then.
    pub is_leaving: bool,
    /// How many partitions it owns.
    pub owns: usize,
}

/// A node's copy of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionCopy {
    /// The partition's number, from 0 on.
    pub partition: u16,
    /// How it stands with the copy.
    pub state: CopyState,
}

/// How it stands with a node's copy of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// The node owns the partition, and the copy is whole.
    Whole,
    /// The node owns the partition, and fetches what others have of it.
    Fetching,
    /// The node doesn't own the partition, and hands over what it has.
    Parting,
}

/// How it stands with a partitioned map on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    /// How many partitions the map has.
    pub partitions: u16,
    /// How many owners each has, if there are as many members.
    pub replicas: u8,
    /// How many members there are, those that are leaving among them.
    pub members: usize,
    /// Whether this node is a member.
    pub is_member: bool,
    /// Whether it is one that hands over what it has.
    pub is_leaving: bool,
    /// How many partitions this node owns.
    pub owned: usize,
    /// How many of those it holds wholly. What is missing to `owned` it is fetching.
    pub whole: usize,
    /// How many partitions it holds and doesn't own: what it is handing over, hints among it.
    pub parting: usize,
    /// How many it has handed over since it was started.
    pub parted: u64,
    /// What it has or is about to have, ascending: those it owns, and those it is handing over.
    pub copies: Vec<PartitionCopy>,
    /// A hash of the settings and the list of members: equal on two nodes that agree on them.
    pub view: String,
}

impl<K, V> PartitionedMap<K, V> {
    /// Makes this node a member. Returns when that is durable here; its share of the partitions
    /// comes after that, as [`status`](Self::status) shows.
    ///
    /// # Errors
    /// The settings aren't here yet; or the disk.
    pub async fn join_members(&self) -> Result<(), PartitionError> {
        let (shared, until) = (self.shared(), self.until());
        shared.placement(until).await?;
        keeping::set_standing(&shared.control, shared.me, Some(Standing::Joined)).await?;
        let is_in = |all: &Placement| all.members().get(&shared.me) == Some(&Standing::Joined);
        shared.placement_when(until, is_in).await.map(drop)
    }

    /// Takes this node out of the members, once all that it holds is handed over. Returns when that
    /// is so. If the deadline comes first it goes on by itself, as [`status`](Self::status) shows.
    ///
    /// # Errors
    /// It is the last member, or the deadline came; or the disk.
    pub async fn leave_members(&self) -> Result<(), PartitionError> {
        let (shared, until) = (self.shared(), self.until());
        let placement = shared.placement(until).await?;
        if !placement.members().contains_key(&shared.me) {
            return Ok(());
        }
        let others = placement.members().iter().filter(|(member, _)| **member != shared.me);
        if others.filter(|(_, standing)| **standing == Standing::Joined).count() == 0 {
            return Err(PartitionError::LastMember);
        }
        keeping::set_standing(&shared.control, shared.me, Some(Standing::Leaving)).await?;
        let is_gone = |all: &Placement| !all.members().contains_key(&shared.me);
        match shared.placement_when(until, is_gone).await {
            Err(PartitionError::NotReady) => Err(PartitionError::StillLeaving),
            left => left.map(drop),
        }
    }

    /// Takes a node out of the members that won't come back: others own what it owned, and fetch it
    /// from those who hold it too. If it comes back it hands over what it has, and owns nothing.
    ///
    /// # Errors
    /// The id holds no key; or the disk.
    pub async fn remove_member(&self, member: &PeerId) -> Result<(), PartitionError> {
        let member = identity::public_key(member).ok_or(PartitionError::Key)?;
        keeping::set_standing(&self.shared().control, member, None).await
    }

    /// The members, as they are known here.
    ///
    /// # Errors
    /// The settings aren't here yet.
    pub async fn members(&self) -> Result<Vec<PartitionMember>, PartitionError> {
        let placement = self.shared().placement(self.until()).await?;
        let member = |(key, standing): (&PublicKey, &Standing)| PartitionMember {
            peer: identity::peer_id(key),
            is_leaving: *standing == Standing::Leaving,
            owns: placement.partitions().filter(|n| placement.owns(key, *n)).count(),
        };
        Ok(placement.members().iter().map(member).collect())
    }

    /// How it stands with the map on this node.
    ///
    /// # Errors
    /// The settings aren't here yet.
    pub async fn status(&self) -> Result<PartitionStatus, PartitionError> {
        let placement = self.shared().placement(self.until()).await?;
        let known = self.shared().known();
        let progress = known.progress;
        let standing = placement.members().get(&self.shared().me);
        Ok(PartitionStatus {
            partitions: placement.partitioning().partitions(),
            replicas: placement.partitioning().replicas(),
            members: placement.members().len(),
            is_member: standing.is_some(),
            is_leaving: standing == Some(&Standing::Leaving),
            owned: progress.owned,
            whole: progress.whole,
            parting: progress.parting,
            parted: progress.parted,
            copies: placement.partitions().filter_map(|n| copy(n, known.role(n))).collect(),
            view: placement.view().to_string(),
        })
    }
}

fn copy(partition: u16, role: Role) -> Option<PartitionCopy> {
    let state = match role {
        Role::Owner { is_whole: true } => CopyState::Whole,
        Role::Owner { is_whole: false } => CopyState::Fetching,
        Role::Former { .. } => CopyState::Parting,
        Role::Stranger => return None,
    };
    Some(PartitionCopy { partition, state })
}
