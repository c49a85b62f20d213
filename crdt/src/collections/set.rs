//! Sets.

use std::{fmt, marker::PhantomData};

use super::{Key, LookupError, Watch, WriteError};
use crate::{
    Space,
    proto::{
        entry::Collection,
        id::Position,
        map::{self, Action, Edit, Keys},
    },
};

/// A set of a space: an observed-remove set. A removal removes what its node has seen, so an
/// element that somebody adds at the same time stays.
#[derive(Clone)]
pub struct Set<K> {
    space: Space,
    collection: Collection,
    types: PhantomData<fn() -> K>,
}

impl<K> Set<K> {
    pub(crate) const fn new(space: Space, collection: Collection) -> Self {
        Self { space, collection, types: PhantomData }
    }
}

impl<K: Key> Set<K> {
    /// Adds an element. Returns when it is durable here.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn insert(&self, element: &K) -> Result<(), WriteError> {
        self.edit(element, Action::Put(Vec::new())).await
    }

    /// Removes an element, as far as it is seen here. Returns when that is durable here.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn remove(&self, element: &K) -> Result<(), WriteError> {
        self.edit(element, Action::Remove).await
    }

    async fn edit(&self, element: &K, action: Action) -> Result<(), WriteError> {
        let edit = Edit::new(self.collection, element.to_key(), action)?;
        self.space.edit(vec![edit]).await?;
        Ok(())
    }

    /// Whether it has an element.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn contains(&self, element: &K) -> Result<bool, LookupError> {
        let key = element.to_key();
        Ok(!map::find(&self.collection, &key, self.space.shelf())?.is_empty())
    }

    /// All elements, ascending. Reads as it is asked for.
    ///
    /// # Errors
    /// Each item may be a [`LookupError`].
    pub fn iter(&self) -> impl Iterator<Item = Result<K, LookupError>> {
        let all = map::scan(&self.collection, Keys::All, self.space.shelf());
        all.map(|item| K::from_key(&item?.0).ok_or(LookupError::Key))
    }

    /// What changes from now on, or after a point that an earlier watch had come to.
    pub fn watch(&self, after: Option<Position>) -> Watch<K> {
        Watch::new(self.space.clone(), self.collection, after)
    }
}

impl<K> fmt::Debug for Set<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("space", &self.space).finish_non_exhaustive()
    }
}
