//! Counters.

use std::{fmt, marker::PhantomData};

use super::{Key, LookupError, Watch, WriteError};
use crate::{
    Space,
    proto::{
        entry::Collection,
        id::Position,
        map::{Action, Edit, counter},
    },
};

/// Counters of a space, one for each key, which begin at 0. What nodes add at the same time adds
/// up.
#[derive(Clone)]
pub struct Counter<K> {
    space: Space,
    collection: Collection,
    types: PhantomData<fn() -> K>,
}

impl<K> Counter<K> {
    pub(crate) const fn new(space: Space, collection: Collection) -> Self {
        Self { space, collection, types: PhantomData }
    }
}

impl<K: Key> Counter<K> {
    /// Adds to a counter; a negative number takes away. Returns when it is durable here.
    ///
    /// # Errors
    /// See [`WriteError`]. What one node adds altogether fits 64 bits.
    pub async fn add(&self, key: &K, more: i64) -> Result<(), WriteError> {
        self.edit(key, Action::Add(more)).await
    }

    /// Sets a counter to 0, as far as it is seen here: what others add at the same time stays, with
    /// all that the same node added before.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn reset(&self, key: &K) -> Result<(), WriteError> {
        self.edit(key, Action::Reset).await
    }

    async fn edit(&self, key: &K, action: Action) -> Result<(), WriteError> {
        let edit = Edit::new(self.collection, key.to_key(), action)?;
        self.space.edit(vec![edit]).await?;
        Ok(())
    }

    /// The sum of what all have added.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn get(&self, key: &K) -> Result<i128, LookupError> {
        Ok(counter::value(&self.collection, &key.to_key(), self.space.shelf())?)
    }

    /// What changes from now on, or after a point that an earlier watch had come to.
    pub fn watch(&self, after: Option<Position>) -> Watch<K> {
        Watch::new(self.space.clone(), self.collection, after)
    }
}

impl<K> fmt::Debug for Counter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("space", &self.space).finish_non_exhaustive()
    }
}
