//! Maps.

use std::{fmt, marker::PhantomData, ops::Bound, ops::RangeBounds};

use serde::{Serialize, de::DeserializeOwned};

use super::{Key, LookupError, Watch, WriteError, decode, encode};
use crate::{
    Space,
    proto::{
        entry::Collection,
        id::Position,
        map::{self, Action, Edit, Element, Keys},
    },
};

/// A map of a space.
///
/// A put replaces what its node has seen at the key, and a removal removes that; so what others
/// write at the same time stands beside. [`get`](Self::get) shows the latest by hybrid logical
/// time, [`all`](Self::all) shows all of them, and the next put resolves them.
///
/// A key has at most 1,024 bytes, a value about a million. In memory is nothing, however many keys
/// there are. Reads are of this node's replica, and block on the disk for what isn't cached.
#[derive(Clone)]
pub struct Map<K, V> {
    space: Space,
    collection: Collection,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Map<K, V> {
    pub(crate) const fn new(space: Space, collection: Collection) -> Self {
        Self { space, collection, types: PhantomData }
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Map<K, V> {
    /// Gives a key a value. Returns when it is durable here; costs a share in one sync of the disk.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn put(&self, key: &K, value: &V) -> Result<(), WriteError> {
        self.write(self.batch().put(key, value)?).await
    }

    /// Removes what is seen at a key. Durable as [`put`](Self::put) is; nothing is written if
    /// nothing is there.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn remove(&self, key: &K) -> Result<(), WriteError> {
        self.write(self.batch().remove(key)?).await
    }

    /// Begins a batch of changes to this map.
    pub fn batch(&self) -> MapBatch<K, V> {
        MapBatch { collection: self.collection, edits: Vec::new(), types: PhantomData }
    }

    /// Makes all changes of a batch visible and durable here at once. Others see them entry by
    /// entry, of up to 65,536 changes and a MiB each.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, batch: MapBatch<K, V>) -> Result<(), WriteError> {
        if !batch.edits.is_empty() {
            self.space.edit(batch.edits).await?;
        }
        Ok(())
    }

    /// The value of a key; of several the latest by hybrid time.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn get(&self, key: &K) -> Result<Option<V>, LookupError> {
        let (shelf, names) = (self.space.shelf(), self.space.names());
        let alive = map::find(&self.collection, &key.to_key(), shelf)?;
        alive.last(shelf, names)?.map(|latest| decode(&latest)).transpose()
    }

    /// All values of a key: several, if nodes put them without knowing of each other. The latest is
    /// the last.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn all(&self, key: &K) -> Result<Vec<V>, LookupError> {
        self.elements(key)?.iter().map(|element| decode(&element.value)).collect()
    }

    /// The keys of a range with their values, ascending; of several values the latest. Reads as it
    /// is asked for.
    ///
    /// # Errors
    /// Each item may be a [`LookupError`].
    pub fn range(
        &self,
        keys: impl RangeBounds<K>,
    ) -> impl Iterator<Item = Result<(K, V), LookupError>> {
        // Behind a key comes what begins with it and a zero byte.
        let behind = |key: &K| [&key.to_key()[..], &[0]].concat();
        let from = match keys.start_bound() {
            Bound::Included(key) => key.to_key(),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => Vec::new(),
        };
        let below = match keys.end_bound() {
            Bound::Included(key) => Some(behind(key)),
            Bound::Excluded(key) => Some(key.to_key()),
            Bound::Unbounded => None,
        };
        let keys = match &below {
            Some(below) => Keys::Range { from: &from, below },
            None => Keys::From(&from),
        };
        self.scan(keys)
    }

    /// The keys whose bytes begin so, with their values, as [`range`](Self::range) gives them.
    ///
    /// # Errors
    /// Each item may be a [`LookupError`].
    pub fn prefix(
        &self,
        prefix: impl AsRef<[u8]>,
    ) -> impl Iterator<Item = Result<(K, V), LookupError>> {
        self.scan(Keys::Prefix(prefix.as_ref()))
    }

    /// All keys with their values, as [`range`](Self::range) gives them.
    ///
    /// # Errors
    /// Each item may be a [`LookupError`].
    pub fn iter(&self) -> impl Iterator<Item = Result<(K, V), LookupError>> {
        self.scan(Keys::All)
    }

    /// What changes from now on, or after a point that an earlier watch had come to.
    pub fn watch(&self, after: Option<Position>) -> Watch<K> {
        Watch::new(self.space.clone(), self.collection, after)
    }

    fn scan(
        &self,
        keys: Keys<'_>,
    ) -> impl Iterator<Item = Result<(K, V), LookupError>> + use<'_, K, V> {
        let (shelf, names) = (self.space.shelf(), self.space.names());
        map::scan(&self.collection, keys, shelf).filter_map(|item| {
            let latest = item.and_then(|(key, alive)| Ok((key, alive.last(shelf, names)?)));
            let (key, latest) = match latest {
                Ok((key, latest)) => (key, latest?),
                Err(error) => return Some(Err(error.into())),
            };
            let key = K::from_key(&key).ok_or(LookupError::Key);
            Some(key.and_then(|key| Ok((key, decode(&latest)?))))
        })
    }

    fn elements(&self, key: &K) -> Result<Vec<Element>, LookupError> {
        let key = key.to_key();
        Ok(map::get(&self.collection, &key, self.space.shelf(), self.space.names())?)
    }
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("space", &self.space).finish_non_exhaustive()
    }
}

/// Changes to a map, written at once by [`Map::write`].
#[derive(Clone)]
pub struct MapBatch<K, V> {
    collection: Collection,
    edits: Vec<Edit>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Serialize> MapBatch<K, V> {
    /// Gives a key a value.
    ///
    /// # Errors
    /// The key or the value is too large, or can't be encoded.
    pub fn put(mut self, key: &K, value: &V) -> Result<Self, WriteError> {
        let action = Action::Put(encode(value)?);
        self.edits.push(Edit::new(self.collection, key.to_key(), action)?);
        Ok(self)
    }

    /// Removes what is seen at a key when the batch is written.
    ///
    /// # Errors
    /// The key is too long.
    pub fn remove(mut self, key: &K) -> Result<Self, WriteError> {
        self.edits.push(Edit::new(self.collection, key.to_key(), Action::Remove)?);
        Ok(self)
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}

impl<K, V> fmt::Debug for MapBatch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapBatch").field("edits", &self.edits.len()).finish_non_exhaustive()
    }
}
