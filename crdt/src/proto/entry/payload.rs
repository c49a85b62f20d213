//! Payloads: operations, grouped by the collection that they change.

use std::ops::Range;

use aether_core::{
    Domain, Hash, merkle,
    wire::{Reader, WireError},
};

use super::Content;

const COLLECTION: Domain = Domain::new("aether 2026-11 collection id v1");
const OP: Domain = Domain::new("aether 2026-11 entry op v1");
const GROUP: Domain = Domain::new("aether 2026-11 entry group v1");

/// Largest payload, in bytes: 1 MiB.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Most groups in a payload.
pub const MAX_GROUPS: usize = 256;

/// Most operations in a payload, of all groups together.
pub const MAX_OPS: usize = 65_536;

/// What the operations of a collection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An Automerge document.
    Document,
    /// A map.
    Map,
    /// A set.
    Set,
    /// A counter.
    Counter,
    /// A register.
    Register,
}

impl Kind {
    /// The byte on the wire.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Document => 1,
            Self::Map => 2,
            Self::Set => 3,
            Self::Counter => 4,
            Self::Register => 5,
        }
    }

    /// The kind of a byte, if there is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Document),
            2 => Some(Self::Map),
            3 => Some(Self::Set),
            4 => Some(Self::Counter),
            5 => Some(Self::Register),
            _ => None,
        }
    }
}

/// A collection's name in payloads: the first 16 bytes of the hash of its kind and name.
pub type CollectionId = [u8; 16];

/// A document, map, set, counter or register of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collection {
    id: CollectionId,
    kind: Kind,
}

impl Collection {
    /// The collection of this kind and name. One name may stand for one collection of each kind.
    pub fn new(kind: Kind, name: &str) -> Self {
        let hash = COLLECTION.hasher().update(&[kind.to_byte()]).update(name.as_bytes()).finish();
        Self { id: *hash.as_bytes().first_chunk().expect("a hash has 32 bytes"), kind }
    }

    /// What a payload or a row names.
    pub(in crate::proto) const fn from_parts(id: CollectionId, kind: Kind) -> Self {
        Self { id, kind }
    }

    /// Its id.
    pub const fn id(&self) -> &CollectionId {
        &self.id
    }

    /// Its kind, as the payload says. A liar may write one that the id wasn't made of: a collection
    /// is what both say together, and that one is another.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

/// The operations of one entry on one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    collection: Collection,
    ops: Vec<Range<usize>>,
}

impl Group {
    /// Which collection.
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// How many operations; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        self.ops.len()
    }
}

/// A payload whose layout and limits were checked. Keeps the bytes once, and 16 bytes for each
/// operation.
///
/// A payload is its groups, one after the other, strictly ascending by collection; it may be empty.
/// Its length and the number of groups stand in the header.
///
/// | bytes | a group |
/// |---|---|
/// | 16 | collection's id |
/// | 1 | kind: 1 document, 2 map, 3 set, 4 counter, 5 register |
/// | 4 | number of operations, 1 or more; 65,536 at most in all groups |
/// | 4 + n each | length of an operation in bytes, and its bytes |
///
/// | hash | BLAKE3 context | of |
/// |---|---|---|
/// | collection's id (16 bytes) | `aether 2026-11 collection id v1` | kind, name |
/// | operation | `aether 2026-11 entry op v1` | its bytes |
/// | group | `aether 2026-11 entry group v1` | id, kind, number, root of its operations |
///
/// The root of a payload is the [Merkle root](aether_core::merkle) over its groups' hashes, and a
/// group's over its operations' hashes. The levels have domains of their own, so nothing of one is
/// taken for something of another; and a proof of one operation doesn't need the others' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    bytes: Vec<u8>,
    groups: Vec<Group>,
}

impl Payload {
    /// Reads the layout of the tables above, and nothing else. Takes the bytes over.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, PayloadError> {
        if bytes.len() > MAX_PAYLOAD {
            return Err(PayloadError::TooLong { len: bytes.len() });
        }
        let mut groups: Vec<Group> = Vec::new();
        let (mut at, mut left) = (0, MAX_OPS);
        while at < bytes.len() {
            if groups.len() == MAX_GROUPS {
                return Err(PayloadError::TooManyGroups);
            }
            let group = read_group(&bytes, &mut at, left)?;
            if groups.last().is_some_and(|last| last.collection.id >= group.collection.id) {
                return Err(PayloadError::Order);
            }
            left -= group.len();
            groups.push(group);
        }
        Ok(Self { bytes, groups })
    }

    /// The bytes, as they were read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The groups, ascending by collection.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// All operations with their collections, in the order in which dots count them, from 0.
    pub fn ops(&self) -> impl Iterator<Item = (&Collection, &[u8])> {
        self.groups
            .iter()
            .flat_map(|group| self.group_ops(group).map(move |op| (&group.collection, op)))
    }

    /// Where the bytes of each operation begin, in the order of [`ops`](Self::ops).
    pub(in crate::proto) fn places(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().flat_map(|group| group.ops.iter().map(|range| range.start))
    }

    fn group_ops<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a [u8]> {
        group.ops.iter().map(|range| &self.bytes[range.clone()])
    }

    /// What a header says of this payload. Hashes all of it.
    pub fn content(&self) -> Content {
        let hashes = self.groups.iter().map(|group| {
            let ops: Vec<Hash> = self.group_ops(group).map(op_hash).collect();
            group_hash(&group.collection, group.ops.len(), &merkle::root(&ops))
        });
        let hashes: Vec<Hash> = hashes.collect();
        Content {
            bytes: u32::try_from(self.bytes.len()).expect("at most 1 MiB"),
            groups: u16::try_from(self.groups.len()).expect("at most 256 groups"),
            root: merkle::root(&hashes),
        }
    }
}

/// The group that begins at `at`, which is moved to its end, with at most `left` operations.
fn read_group(bytes: &[u8], at: &mut usize, left: usize) -> Result<Group, PayloadError> {
    let mut reader = Reader::new(&bytes[*at..]);
    let (id, kind) = (reader.array()?, reader.u8()?);
    let kind = Kind::from_byte(kind).ok_or(PayloadError::Kind { kind })?;
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count == 0 {
        return Err(PayloadError::EmptyGroup);
    }
    if count > left {
        return Err(PayloadError::TooManyOps);
    }
    let mut end = *at + 16 + 1 + 4;
    // Room for what arrived, not for what is claimed.
    let mut ops = Vec::with_capacity(count.min((bytes.len() - end) / 4));
    for _ in 0..count {
        let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let op = reader.slice(len)?;
        ops.push(end + 4..end + 4 + op.len());
        end += 4 + op.len();
    }
    *at = end;
    Ok(Group { collection: Collection { id, kind }, ops })
}

fn op_hash(op: &[u8]) -> Hash {
    OP.hash(op)
}

fn group_hash(collection: &Collection, count: usize, ops: &Hash) -> Hash {
    let count = u32::try_from(count).expect("at most 65,536 operations");
    GROUP
        .hasher()
        .update(&collection.id)
        .update(&[collection.kind.to_byte()])
        .update(&count.to_be_bytes())
        .update(ops.as_ref())
        .finish()
}

/// Why bytes are no payload, or not this header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// More bytes than there may be.
    #[error("a payload has at most 1 MiB, not {len} bytes")]
    TooLong {
        /// Length found, in bytes.
        len: usize,
    },
    /// More groups than there may be.
    #[error("a payload has at most 256 groups")]
    TooManyGroups,
    /// More operations than there may be.
    #[error("a payload has at most 65,536 operations")]
    TooManyOps,
    /// A group without operations.
    #[error("a group has at least one operation")]
    EmptyGroup,
    /// Groups out of order, or two of one collection.
    #[error("the groups are not strictly ascending")]
    Order,
    /// No such kind of collection.
    #[error("a collection of kind {kind} is not known here")]
    Kind {
        /// Kind found.
        kind: u8,
    },
    /// It isn't what the header commits to.
    #[error("the payload is not this header's")]
    OtherHeader,
    /// Too short, or a length beyond the end.
    #[error("the payload is torn")]
    Torn(#[from] WireError),
}
