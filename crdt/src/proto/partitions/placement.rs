//! Placement: which key is of which partition, and which members own it.

use std::collections::BTreeMap;

use aether_core::{
    Domain, Hash, PublicKey,
    wire::{Reader, Writer},
};
use aether_mesh::proto::service::balancer::{InstanceId, OwnerKey};

use crate::proto::{
    entry::{Collection, Kind},
    id::SpaceId,
    map::{self, Entries, Keys},
    rows::Base,
    space::{Genesis, Mode},
};

const SALT: Domain = Domain::new("aether 2026-11 partition salt v1");
const KEY: Domain = Domain::new("aether 2026-11 partition of key v1");
const VIEW: Domain = Domain::new("aether 2026-11 partition view v1");

/// Most partitions of a map.
pub const MAX_PARTITIONS: u16 = 1024;
/// Most owners of a partition.
pub const MAX_REPLICAS: u8 = 16;
/// Most members that count: of more, those with the smallest keys.
pub const MAX_MEMBERS: usize = 256;

/// How a map is split: fixed for good when it is founded.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 2 | partitions, big endian |
/// | 1 | replicas |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitioning {
    partitions: u16,
    replicas: u8,
}

impl Partitioning {
    /// So many partitions, 1 to 1,024, each owned by so many members, 1 to 16. Take a few more
    /// partitions than there will ever be members times ten: they are what moves. Each costs its
    /// owners a space, which is some 10 KiB of memory and a hello per peer each half minute.
    ///
    /// # Errors
    /// A number is out of its bounds.
    pub const fn new(partitions: u16, replicas: u8) -> Result<Self, PartitioningError> {
        if partitions == 0 || partitions > MAX_PARTITIONS {
            return Err(PartitioningError::Partitions { partitions });
        }
        if replicas == 0 || replicas > MAX_REPLICAS {
            return Err(PartitioningError::Replicas { replicas });
        }
        Ok(Self { partitions, replicas })
    }

    /// How many partitions there are.
    pub const fn partitions(&self) -> u16 {
        self.partitions
    }

    /// How many members own each.
    pub const fn replicas(&self) -> u8 {
        self.replicas
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(1).u16(self.partitions).u8(self.replicas);
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` if it is of a later release, or torn.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8().ok()?;
        let (partitions, replicas) = (reader.u16().ok()?, reader.u8().ok()?);
        reader.end().ok()?;
        Self::new(partitions, replicas).ok().filter(|_| version == 1)
    }
}

/// 64 partitions, of three owners each.
impl Default for Partitioning {
    fn default() -> Self {
        Self { partitions: 64, replicas: 3 }
    }
}

/// Why a map can't be split so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitioningError {
    /// None, or too many.
    #[error("a map has 1 to 1,024 partitions, not {partitions}")]
    Partitions {
        /// How many.
        partitions: u16,
    },
    /// None, or too many.
    #[error("a partition has 1 to 16 replicas, not {replicas}")]
    Replicas {
        /// How many.
        replicas: u8,
    },
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It owns partitions.
    Joined,
    /// It owns none any more, and hands over what it has.
    Leaving,
}

impl Standing {
    /// The byte that stands for it in the list of members: 1 joined, 2 leaving.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Joined => 1,
            Self::Leaving => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Joined),
            2 => Some(Self::Leaving),
            _ => None,
        }
    }
}

/// The register of a control space that holds its [`Partitioning`].
pub fn config() -> Collection {
    Collection::new(Kind::Register, "config")
}

/// The map of a control space that holds the members: by the 32 bytes of their keys, how they
/// [stand](Standing::to_byte).
pub fn members() -> Collection {
    Collection::new(Kind::Map, "members")
}

/// The map of a partition's space that holds its keys.
pub fn items() -> Collection {
    Collection::new(Kind::Map, "items")
}

/// The genesis of a partition's space, which is that of the control space but for its salt: the
/// first 16 bytes of BLAKE3, context `aether 2026-11 partition salt v1`, of the control space's id
/// (32) and the partition (2, big endian). So whoever has the map's ticket has all of it.
///
/// # Panics
/// Never: what fits one genesis fits the other.
pub fn genesis_of(control: &Genesis, partition: u16) -> Genesis {
    let id = control.space_id();
    let id = id.as_hash().as_bytes();
    let hash = SALT.hasher().update(id).update(&partition.to_be_bytes()).finish();
    let salt = *hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    let owners = control.owners().iter().copied();
    let genesis = Genesis::new(Mode::Open, salt, control.name(), owners);
    genesis.expect("its name and owners stand in a genesis already")
}

/// Who owns what: a function of what the control space holds, the same on all nodes that hold the
/// same of it.
///
/// A key's partition is BLAKE3, context `aether 2026-11 partition of key v1`, of the control
/// space's id and the key: its first 8 bytes as a number, modulo the number of partitions. The
/// owners of a partition are the joined members of the highest weights for it by the
/// [rendezvous hashing](InstanceId::weight) that services have (Thaler and Ravishankar, 1998), for
/// the control space's id and the partition, as instance 0. So when a member comes or goes, only
/// partitions that it owns then, or owned, get another owner, and each of them only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    control: SpaceId,
    partitioning: Partitioning,
    members: BTreeMap<PublicKey, Standing>,
    view: Hash,
    owners: Vec<Vec<PublicKey>>,
}

impl Placement {
    /// The placement among these members. Costs a hash for each member and partition.
    pub fn new(
        control: SpaceId,
        partitioning: Partitioning,
        members: impl IntoIterator<Item = (PublicKey, Standing)>,
    ) -> Self {
        let mut members: BTreeMap<PublicKey, Standing> = members.into_iter().collect();
        while members.len() > MAX_MEMBERS {
            members.pop_last();
        }
        let mut view = VIEW.hasher();
        view.update(control.as_hash().as_bytes()).update(&partitioning.encode());
        for (member, standing) in &members {
            view.update(member.as_bytes()).update(&[standing.to_byte()]);
        }
        let view = view.finish();
        let mut placement = Self { control, partitioning, members, view, owners: Vec::new() };
        let replicas = usize::from(partitioning.replicas());
        let owners = |partition| placement.ranked(partition).take(replicas).collect();
        placement.owners = (0..partitioning.partitions()).map(owners).collect();
        placement
    }

    /// Reads it from what is stored of the control space; `None` while nobody's settings have come.
    ///
    /// # Errors
    /// Of the store.
    pub fn read<R: Base, F: Entries<R>>(
        control: SpaceId,
        rows: &R,
        feeds: &F,
    ) -> Result<Option<Self>, R::Error> {
        let config = map::find(&config(), &[], rows)?.last(rows, feeds)?;
        let Some(partitioning) = config.and_then(|found| Partitioning::decode(&found)) else {
            return Ok(None);
        };
        let mut all = Vec::new();
        for item in map::scan(&members(), Keys::All, rows) {
            let (key, alive) = item?;
            let standing = alive.last(rows, feeds)?.and_then(|found| found.first().copied());
            let Ok(key) = <[u8; 32]>::try_from(key) else { continue };
            let key = PublicKey::from_bytes(key);
            if let Some(standing) = standing.and_then(Standing::from_byte)
                && key.check().is_ok()
            {
                all.push((key, standing));
            }
        }
        Ok(Some(Self::new(control, partitioning, all)))
    }

    /// How the map is split.
    pub const fn partitioning(&self) -> Partitioning {
        self.partitioning
    }

    /// All partitions.
    pub const fn partitions(&self) -> std::ops::Range<u16> {
        0..self.partitioning.partitions
    }

    /// The members, by their keys.
    pub const fn members(&self) -> &BTreeMap<PublicKey, Standing> {
        &self.members
    }

    /// BLAKE3, context `aether 2026-11 partition view v1`, of the control space's id, the settings
    /// and the members, ascending, with how they stand: equal exactly if all that is. Nodes that
    /// count a quorum together compare it.
    pub const fn view(&self) -> Hash {
        self.view
    }

    /// The partition of a key.
    pub fn partition_of(&self, key: &[u8]) -> u16 {
        let hash = KEY.hasher().update(self.control.as_hash().as_bytes()).update(key).finish();
        let front = *hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
        let number = u64::from_be_bytes(front) % u64::from(self.partitioning.partitions);
        u16::try_from(number).expect("below the number of partitions")
    }

    /// The joined members, by rank for a partition: its owners are the first.
    pub fn ranked(&self, partition: u16) -> impl Iterator<Item = PublicKey> + use<> {
        let named = [&self.control.as_hash().as_bytes()[..], &partition.to_be_bytes()].concat();
        let key = OwnerKey::new(&named);
        let joined = self.members.iter().filter(|(_, standing)| **standing == Standing::Joined);
        let weighed = joined.map(|(peer, _)| {
            let instance = InstanceId { peer: *peer, number: 0 };
            (instance.weight(&key), *peer)
        });
        let mut weighed: Vec<(Hash, PublicKey)> = weighed.collect();
        weighed.sort_unstable_by(|one, other| other.cmp(one));
        weighed.into_iter().map(|(_, peer)| peer)
    }

    /// The owners of a partition, in the order in which they are asked: as many as there are
    /// replicas, or all joined members if they are fewer.
    pub fn owners(&self, partition: u16) -> &[PublicKey] {
        self.owners.get(usize::from(partition)).map_or(&[], Vec::as_slice)
    }

    /// Whether a node owns a partition.
    pub fn owns(&self, node: &PublicKey, partition: u16) -> bool {
        self.owners(partition).contains(node)
    }

    /// How many of a partition's owners a level asks for; more than there are if there are none.
    pub fn need(&self, partition: u16, level: Level) -> usize {
        let owners = self.owners(partition).len();
        match level {
            Level::One => 1,
            Level::Quorum => owners / 2 + 1,
            Level::All => owners.max(1),
        }
    }
}

/// How many owners are to have answered before an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One, or for a write whose owners can't be reached the node itself: sloppy, and never waits
    /// for others.
    One,
    /// More than half.
    Quorum,
    /// All of them.
    All,
}
