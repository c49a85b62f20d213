//! The state hash: whether two replicas have the same state.

use aether_core::{Domain, Hash, wire::Writer};

use crate::proto::rows::{Base, starting};

use super::rows::{self, Feeds, Read};

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
/// that are absent. So it is equal where equal entries count. Costs a scan of all rows; in memory
/// is one key.
///
/// Writers choose what is in rows, so it is a hash over all and no sum of hashes of rows, of which
/// they could find two sets that are equal.
///
/// # Errors
/// Of the store.
pub fn state_hash<R, F>(rows: &R, feeds: &F) -> Result<Hash, R::Error>
where
    R: Base,
    F: Feeds,
{
    let mut hasher = STATE.hasher();
    let mut same: Vec<Read> = Vec::new();
    for row in starting(rows, &rows::elements()) {
        let (row, value) = row?;
        let read = rows::read(&row, &value, feeds);
        if same.first().is_some_and(|first| !first.is_beside(&read)) {
            hasher.update(&lines(&mut same));
        }
        same.push(read);
    }
    hasher.update(&lines(&mut same));
    Ok(hasher.finish())
}

impl Read {
    fn is_beside(&self, other: &Self) -> bool {
        (self.collection, &self.key) == (other.collection, &other.key)
    }
}

/// The lines of one key's elements, which are taken out of the list.
fn lines(same: &mut Vec<Read>) -> Vec<u8> {
    same.sort_by_key(|read| (read.element.entry, read.element.index));
    let mut writer = Writer::default();
    for Read { collection: (id, kind), key, element } in same.drain(..) {
        writer.array(&id).u8(kind);
        writer.u32(u32::try_from(key.len()).expect("at most 1,024 bytes")).slice(&key);
        element.entry.write(&mut writer);
        writer.u32(element.index).u64(element.time.to_bits());
        writer.array(VALUE.hash(&element.value).as_bytes());
    }
    writer.finish()
}
