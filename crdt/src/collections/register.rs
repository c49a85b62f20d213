//! Registers.

use std::{fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use super::{LookupError, WriteError, decode, encode};
use crate::{
    Space,
    proto::{
        entry::Collection,
        map::{self, Action, Edit},
    },
};

/// A register of a space: one value, or several if nodes set it without knowing of each other.
#[derive(Clone)]
pub struct Register<V> {
    space: Space,
    collection: Collection,
    types: PhantomData<fn() -> V>,
}

impl<V> Register<V> {
    pub(crate) const fn new(space: Space, collection: Collection) -> Self {
        Self { space, collection, types: PhantomData }
    }
}

impl<V: Serialize + DeserializeOwned> Register<V> {
    /// Sets the value. Returns when it is durable here.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn set(&self, value: &V) -> Result<(), WriteError> {
        self.edit(Action::Put(encode(value)?)).await
    }

    /// Removes the value that is seen here.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn clear(&self) -> Result<(), WriteError> {
        self.edit(Action::Remove).await
    }

    async fn edit(&self, action: Action) -> Result<(), WriteError> {
        self.space.edit(vec![Edit::new(self.collection, [], action)?]).await?;
        Ok(())
    }

    /// The value; of several the latest by hybrid time.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn get(&self) -> Result<Option<V>, LookupError> {
        let (shelf, names) = (self.space.shelf(), self.space.names());
        let alive = map::find(&self.collection, &[], shelf)?;
        alive.last(shelf, names)?.map(|latest| decode(&latest)).transpose()
    }

    /// All values; the latest is the last.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn all(&self) -> Result<Vec<V>, LookupError> {
        let found = map::get(&self.collection, &[], self.space.shelf(), self.space.names())?;
        found.iter().map(|element| decode(&element.value)).collect()
    }
}

impl<V> fmt::Debug for Register<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("space", &self.space).finish_non_exhaustive()
    }
}
