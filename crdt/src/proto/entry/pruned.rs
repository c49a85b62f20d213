//! Pruned payloads: some operations of a payload, shown against the header's root.

use std::ops::Range;

use aether_core::{
    Hash, merkle,
    wire::{Reader, Writer},
};

use super::{
    Checked, Collection, Header, Kind, MAX_GROUPS, MAX_OPS, MAX_PAYLOAD, Payload, PayloadError,
    payload::{group_hash, op_hash},
};
use crate::proto::id::Dot;

/// A payload of which some operations were dropped. Those that are kept stay under the dots and the
/// header that they always had, so nothing is signed anew and nothing can be altered.
///
/// It is the payload's groups, one after the other, strictly ascending by collection:
///
/// | bytes | a group |
/// |---|---|
/// | 16 | collection's id |
/// | 1 | kind, as in a [`Payload`] |
/// | 4 | number of operations that the group had, 1 or more; 65,536 at most in all groups |
/// | 4 | number of runs of operations that are kept |
/// | 8 each | runs: index of the first in the group, and how many, 1 or more; ascending, apart |
/// | 4 + n each | length of an operation that is kept in bytes, and its bytes |
/// | 32 each | roots of the largest subtrees in which nothing is kept, left to right |
///
/// How many roots there are follows from the runs, so what is kept has one encoding. Every group
/// says how many operations it had, because dots count through the whole entry; a group of which
/// nothing is kept costs 57 bytes. At a kept share of p, each kept operation costs some
/// 32·log₂(1/p) bytes on top of its own.
///
/// A pruned payload is shorter than the whole one: where it wouldn't be, the whole one is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    bytes: Vec<u8>,
    kept: Vec<Kept>,
    groups: usize,
    root: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    collection: Collection,
    /// In the entry.
    index: u32,
    op: Range<usize>,
}

impl Pruned {
    /// Keeps the operations of a payload that `keep` is true of; it is asked for each once, by the
    /// index in the entry. `None` if that isn't shorter than the whole. Hashes all of the payload.
    pub fn new(payload: &Payload, mut keep: impl FnMut(u32) -> bool) -> Option<Self> {
        let mut writer = Writer::default();
        let (mut ops, mut index) = (payload.ops(), 0);
        for group in payload.groups() {
            let ops: Vec<&[u8]> = ops.by_ref().take(group.len()).map(|(_, op)| op).collect();
            let count = u32::try_from(ops.len()).expect("at most 65,536 operations");
            let mut runs: Vec<Range<u32>> = Vec::new();
            for at in (0..count).filter(|at| keep(index + at)) {
                match runs.last_mut() {
                    Some(run) if run.end == at => run.end += 1,
                    _ => runs.push(at..at + 1),
                }
            }
            write_group(&mut writer, group.collection(), &ops, &runs);
            index += count;
        }
        let bytes = writer.finish();
        let shorter = bytes.len() < payload.as_bytes().len();
        shorter.then(|| Self::decode(bytes).expect("what is written can be read"))
    }

    /// Reads the layout of the table above, and nothing else, and computes the root. Takes the
    /// bytes over; the work is bounded by their number.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, PayloadError> {
        if bytes.len() >= MAX_PAYLOAD {
            return Err(PayloadError::TooLong { len: bytes.len() });
        }
        let (mut kept, mut hashes) = (Vec::new(), Vec::new());
        let (mut at, mut index, mut last) = (0, 0, None);
        while at < bytes.len() {
            if hashes.len() == MAX_GROUPS {
                return Err(PayloadError::TooManyGroups);
            }
            let group = read_group(&bytes, &mut at, &mut index, &mut kept)?;
            let id = *group.0.id();
            if last.is_some_and(|last| last >= id) {
                return Err(PayloadError::Order);
            }
            last = Some(id);
            hashes.push(group.1);
        }
        Ok(Self { bytes, kept, groups: hashes.len(), root: merkle::root(&hashes) })
    }

    /// The bytes, as they were read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn ops(&self) -> impl Iterator<Item = (u32, &Collection, &[u8])> {
        self.kept.iter().map(|kept| (kept.index, &kept.collection, &self.bytes[kept.op.clone()]))
    }
}

/// An entry whose payload was pruned: every operation that is kept is one that its author signed,
/// in its place.
///
/// That nothing is missing which should be kept isn't said here: a checkpoint of the feed says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedEntry {
    header: Checked<Header>,
    payload: Pruned,
}

impl PrunedEntry {
    /// Puts together what belongs together: number of groups and root are those that the header
    /// states, and the length is below the whole's.
    pub fn new(header: Checked<Header>, payload: Pruned) -> Result<Self, PayloadError> {
        let content = header.content();
        let groups = usize::from(content.groups);
        let shorter = u32::try_from(payload.bytes.len()).is_ok_and(|len| len < content.bytes);
        if !shorter || payload.groups != groups || payload.root != content.root {
            return Err(PayloadError::OtherHeader);
        }
        Ok(Self { header, payload })
    }

    /// The header.
    pub const fn header(&self) -> &Checked<Header> {
        &self.header
    }

    /// The pruned payload.
    pub const fn payload(&self) -> &Pruned {
        &self.payload
    }

    /// The operations that are kept, ascending, with their dots and collections.
    pub fn ops(&self) -> impl Iterator<Item = (Dot, &Collection, &[u8])> {
        let id = self.header.id();
        self.payload.ops().map(move |(index, collection, op)| (id.dot(index), collection, op))
    }
}

fn write_group(writer: &mut Writer, collection: &Collection, ops: &[&[u8]], runs: &[Range<u32>]) {
    let len = |len: usize| u32::try_from(len).expect("at most 1 MiB");
    writer.array(collection.id()).u8(collection.kind().to_byte());
    writer.u32(len(ops.len())).u32(len(runs.len()));
    for run in runs {
        writer.u32(run.start).u32(run.end - run.start);
    }
    for op in runs.iter().cloned().flatten().filter_map(|at| ops.get(usize::try_from(at).ok()?)) {
        writer.u32(len(op.len())).slice(op);
    }
    let hashes: Vec<Hash> = ops.iter().map(|op| op_hash(op)).collect();
    let omitted = |range: Range<usize>| {
        let root = merkle::root(&hashes[range]);
        writer.array(root.as_bytes());
        Ok(root)
    };
    root(0..ops.len(), runs, omitted, |at| hashes[at]).expect("nothing is read, so nothing fails");
}

/// The group that begins at `at`, which is moved to its end, as `index` is by its operations: its
/// collection and hash.
fn read_group(
    bytes: &[u8],
    at: &mut usize,
    index: &mut u32,
    kept: &mut Vec<Kept>,
) -> Result<(Collection, Hash), PayloadError> {
    let mut reader = Reader::new(&bytes[*at..]);
    let (id, kind) = (reader.array()?, reader.u8()?);
    let kind = Kind::from_byte(kind).ok_or(PayloadError::Kind { kind })?;
    let collection = Collection::from_parts(id, kind);
    let (count, runs) = (reader.u32()?, reader.u32()?);
    if count == 0 {
        return Err(PayloadError::EmptyGroup);
    }
    let after = index.checked_add(count).filter(|after| *after as usize <= MAX_OPS);
    let after = after.ok_or(PayloadError::TooManyOps)?;
    let mut list: Vec<Range<u32>> = Vec::new();
    for _ in 0..runs {
        let (start, len) = (reader.u32()?, reader.u32()?);
        let end = start.checked_add(len).filter(|end| len > 0 && *end <= count);
        let end = end.ok_or(PayloadError::Runs)?;
        if list.last().is_some_and(|last| last.end >= start) {
            return Err(PayloadError::Runs);
        }
        list.push(start..end);
    }
    let mut end = *at + 16 + 1 + 4 + 4 + 8 * list.len();
    let first = kept.len();
    for at in list.iter().cloned().flatten() {
        let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let op = end + 4..end + 4 + reader.slice(len)?.len();
        end = op.end;
        kept.push(Kept { collection, index: *index + at, op });
    }
    let mut ops = kept[first..].iter().map(|kept| op_hash(&bytes[kept.op.clone()]));
    let omitted = |_| {
        end += Hash::LEN;
        Ok(Hash::from_bytes(reader.array()?))
    };
    let next = |_| ops.next().expect("one for each index of the runs");
    let root = root(0..count as usize, &list, omitted, next)?;
    (*at, *index) = (end, after);
    Ok((collection, group_hash(&collection, count as usize, &root)))
}

/// The Merkle root over the leaves of `range`, of which `kept` are given by `leaf`, and the largest
/// subtrees without any by `omitted`, both from left to right. As deep as the bits of the range.
fn root(
    range: Range<usize>,
    kept: &[Range<u32>],
    mut omitted: impl FnMut(Range<usize>) -> Result<Hash, PayloadError>,
    mut leaf: impl FnMut(usize) -> Hash,
) -> Result<Hash, PayloadError> {
    subtree(range, kept, &mut omitted, &mut leaf)
}

fn subtree(
    range: Range<usize>,
    kept: &[Range<u32>],
    omitted: &mut impl FnMut(Range<usize>) -> Result<Hash, PayloadError>,
    leaf: &mut impl FnMut(usize) -> Hash,
) -> Result<Hash, PayloadError> {
    let next = kept.partition_point(|run| run.end as usize <= range.start);
    if kept.get(next).is_none_or(|run| run.start as usize >= range.end) {
        return omitted(range);
    }
    let len = range.len();
    if len == 1 {
        return Ok(leaf(range.start));
    }
    // RFC 9162, section 2.1.1: at the largest power of two below the number of leaves.
    let middle = range.start + len.next_power_of_two() / 2;
    let left = subtree(range.start..middle, kept, omitted, leaf)?;
    let right = subtree(middle..range.end, kept, omitted, leaf)?;
    Ok(merkle::root(&[left, right]))
}
