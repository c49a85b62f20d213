//! The state hash: whether two replicas have the same state.

use aether_core::{Domain, Hash, wire::Writer};

use crate::proto::{
    entry::{Collection, CollectionId, Kind},
    rows::{Base, starting},
};

use super::{
    read::Alive,
    rows::{self, Element, Entries},
};

const STATE: Domain = Domain::new("aether 2026-11 crdt state v1");
const VALUE: Domain = Domain::new("aether 2026-11 crdt value v1");

/// The hash of the state of all collections: BLAKE3, context `aether 2026-11 crdt state v1`, over
/// the alive elements, ascending by these fields in their order but for time and value:
///
/// | bytes | field |
/// |---|---|
/// | 16 + 1 | collection: id, kind |
/// | 4 + n | length of the key, and the key; keys ascend by their bytes, not by length |
/// | 80 | entry: author, incarnation, number, hash |
/// | 4 | index |
/// | 8 | hybrid time |
/// | 32 | BLAKE3 of the value, context `aether 2026-11 crdt value v1` |
///
/// Nothing local is in it: not the numbers of feeds in rows, not the order of arrival, and no dots
/// that are absent. So it is equal where equal entries count. Costs a scan of all keys, and some
/// look-ups for each value; in memory is one key.
///
/// Writers choose what is in rows, so it is a hash over all and no sum of hashes of rows, of which
/// they could find two sets that are equal.
///
/// # Errors
/// Of the store.
pub fn state_hash<R, F>(rows: &R, feeds: &F) -> Result<Hash, R::Error>
where
    R: Base,
    F: Entries<R>,
{
    let mut hasher = STATE.hasher();
    for row in starting(rows, &rows::keys()) {
        let (row, value) = row?;
        let ((id, kind), key) = rows::read_key(&row);
        let kind = Kind::from_byte(kind).expect("what was put is read back");
        let alive = Alive::of(&Collection::from_parts(id, kind), key, &value, rows)?;
        let mut elements = alive.elements(rows, feeds)?;
        elements.sort_by_key(|element| (element.entry, element.index));
        hasher.update(&lines(&id, kind, key, &elements));
    }
    Ok(hasher.finish())
}

/// The lines of one key's elements.
fn lines(id: &CollectionId, kind: Kind, key: &[u8], elements: &[Element]) -> Vec<u8> {
    let mut writer = Writer::default();
    for Element { entry, index, time, value } in elements {
        writer.array(id).u8(kind.to_byte());
        writer.u32(u32::try_from(key.len()).expect("at most 1,024 bytes")).slice(key);
        entry.write(&mut writer);
        writer.u32(*index).u64(time.to_bits());
        writer.array(VALUE.hash(value).as_bytes());
    }
    writer.finish()
}
