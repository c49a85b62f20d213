//! The definition as it is written, over sets of entries. Shares no code but encodings.

use super::*;

/// Everything that a state hash says of a value.
pub(super) type Line = ([u8; 16], u8, Vec<u8>, EntryId, u32, Hybrid, Vec<u8>);

struct Operation<'a> {
    said: &'a Said,
    index: u32,
    collection: Collection,
    op: Op,
}

fn operations(set: &[Said]) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for said in set {
        for (index, (collection, bytes)) in (0..).zip(&said.ops) {
            let Ok(op) = Op::decode(bytes) else { continue };
            let fits = match (collection.kind(), op.change()) {
                (Kind::Map, Change::Put(_)) => true,
                (Kind::Set, Change::Put(value)) => value.is_empty(),
                (Kind::Register, Change::Put(_) | Change::Remove) => op.key().is_empty(),
                (Kind::Counter, Change::Count(_)) => true,
                (Kind::Map | Kind::Set | Kind::Counter, Change::Remove) => true,
                _ => false,
            };
            if fits {
                all.push(Operation { said, index, collection: *collection, op });
            }
        }
    }
    all
}

fn descends(set: &[Said], from: &Said, to: &Said) -> bool {
    if from.id == to.id {
        return true;
    }
    let parent = set.iter().find(|said| Some(said.id) == from.parent);
    parent.is_some_and(|parent| descends(set, parent, to))
}

/// Rule 1.
fn is_alive(set: &[Said], all: &[Operation<'_>], value: &Operation<'_>) -> bool {
    let dot = value.said.id.dot(value.index);
    let names = |other: &Operation<'_>| other.op.over().contains(&dot);
    let follows = |other: &Operation<'_>| {
        other.said.id.feed == value.said.id.feed
            && (other.said.id.number, other.index) > (value.said.id.number, value.index)
            && descends(set, other.said, value.said)
    };
    let beside = |other: &&Operation<'_>| {
        other.collection == value.collection && other.op.key() == value.op.key()
    };
    !all.iter().filter(beside).any(|other| names(other) || follows(other))
}

/// Rule 2.
pub(super) fn state(set: &[Said]) -> BTreeSet<Line> {
    let all = operations(set);
    let mut state = BTreeSet::new();
    for value in &all {
        let bytes = match value.op.change() {
            Change::Put(bytes) => bytes.clone(),
            Change::Count(total) => total.to_be_bytes().to_vec(),
            Change::Remove => continue,
        };
        if is_alive(set, &all, value) {
            let Operation { said, index, collection, op, .. } = value;
            let (key, kind) = (op.key().to_vec(), collection.kind().to_byte());
            state.insert((*collection.id(), kind, key, said.id, *index, said.time, bytes));
        }
    }
    state
}

/// The table of the state hash.
pub(super) fn hash(state: &BTreeSet<Line>) -> Hash {
    let mut bytes = Vec::new();
    for (collection, kind, key, entry, index, time, value) in state {
        bytes.extend_from_slice(collection);
        bytes.push(*kind);
        bytes.extend_from_slice(&u32::try_from(key.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(entry.feed.author.as_bytes());
        bytes.extend_from_slice(&entry.feed.incarnation.to_be_bytes());
        bytes.extend_from_slice(&entry.number.to_be_bytes());
        bytes.extend_from_slice(entry.hash.as_ref());
        bytes.extend_from_slice(&index.to_be_bytes());
        bytes.extend_from_slice(&time.to_bits().to_be_bytes());
        let value = aether_core::Domain::new("aether 2026-11 crdt value v1").hash(value);
        bytes.extend_from_slice(value.as_ref());
    }
    aether_core::Domain::new("aether 2026-11 crdt state v1").hash(&bytes)
}

/// What a replica shows, key by key.
pub(super) fn shown(replica: &Replica) -> BTreeSet<Line> {
    let mut shown = BTreeSet::new();
    for collection in collections() {
        for row in scan(&collection, Keys::All, &replica.rows) {
            let (key, alive) = row.unwrap();
            let elements = alive.elements(&replica.rows, &replica.known).unwrap();
            let last = alive.last(&replica.rows, &replica.known).unwrap();
            assert_eq!(last.as_ref(), elements.last().map(|last| &last.value));
            assert_eq!(elements, replica.get(&collection, &key));
            for Element { entry, index, time, value } in elements {
                let kind = collection.kind().to_byte();
                shown.insert((*collection.id(), kind, key.clone(), entry, index, time, value));
            }
        }
    }
    shown
}
