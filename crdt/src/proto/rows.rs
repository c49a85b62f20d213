//! Rows: sorted bytes by bytes, in which everything is kept that outlives a process.
//!
//! What decides reads and writes rows by a trait, so that one code runs over a sorted map in tests
//! and over an engine on disk elsewhere. There are two halves: [`Base`], which is read, and
//! [`Rows`], which is written too.
//!
//! # The contract
//!
//! 1. **Reads see writes.** What [`get`](Base::get) and [`scan`](Base::scan) say is what was put
//!    and deleted before, whether it is durable yet or not.
//! 2. **Durable together.** All that one step writes, be it an entry that is applied or a
//!    collection that is rebuilt, becomes durable at once or not at all, and steps become durable
//!    in their order. Nothing that hangs on it is acknowledged before.
//! 3. **Order.** Rows ascend by the bytes of their keys, a prefix before what it begins.
//! 4. **Names.** The first byte of a key says whose row it is, so all may lie in one store:
//!
//! | first byte | whose |
//! |---|---|
//! | 0 | nobody's |
//! | 1, 2, 16 | [maps, sets, counters and registers](crate::proto::map) |
//! | 3 to 15, 17 | the replica's: its entries, feeds and positions |
//!
//! An [`Overlay`] makes rows of a base and of what isn't durable yet.

mod overlay;

use std::{collections::BTreeMap, convert::Infallible, error::Error, ops::Bound};

pub use self::overlay::{Changes, Noted, Overlay};

/// Rows that are read, written or not.
pub trait Base {
    /// Why a read or a write failed. What was written since the last durable state is then void.
    type Error: Error + 'static;

    /// The value of a key.
    ///
    /// # Errors
    /// Of the store.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// All rows from `from` on, ascending, below `below` if there is such a bound; none if `below`
    /// isn't behind `from`. Nobody goes on after an error.
    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_, Self>;
}

/// Rows that are read and written: the [contract](self).
pub trait Rows: Base {
    /// Sets the value of a key.
    ///
    /// # Errors
    /// Of the store.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Self::Error>;

    /// Deletes a key, which may not be there.
    ///
    /// # Errors
    /// Of the store.
    fn delete(&mut self, key: &[u8]) -> Result<(), Self::Error>;
}

/// A row that a scan came to: key and value.
pub type Scanned<R> = Result<(Vec<u8>, Vec<u8>), <R as Base>::Error>;

/// All rows that begin with `prefix`.
pub(crate) fn starting<'a, R: Base>(
    rows: &'a R,
    prefix: &[u8],
) -> impl Iterator<Item = Scanned<R>> + use<'a, R> {
    let below = behind(prefix);
    rows.scan(prefix, below.as_deref())
}

/// The first bytes behind all that begin with `prefix`; `None` if there are none.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            return Some(bytes);
        }
    }
    None
}

/// A part of a sorted map, which may be empty.
fn range<'a, V>(
    map: &'a BTreeMap<Vec<u8>, V>,
    from: &[u8],
    below: Option<&[u8]>,
) -> impl Iterator<Item = (&'a Vec<u8>, &'a V)> + use<'a, V> {
    let empty = below.is_some_and(|below| below <= from);
    let below = below.map_or(Bound::Unbounded, Bound::Excluded);
    let rows = (!empty).then(|| map.range::<[u8], _>((Bound::Included(from), below)));
    rows.into_iter().flatten()
}

/// Rows in memory.
impl Base for BTreeMap<Vec<u8>, Vec<u8>> {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(Self::get(self, key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_> {
        range(self, from, below).map(|(key, value)| Ok((key.clone(), value.clone())))
    }
}

impl Rows for BTreeMap<Vec<u8>, Vec<u8>> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Infallible> {
        self.insert(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
        self.remove(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
