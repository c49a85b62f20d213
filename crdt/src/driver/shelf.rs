//! Shelves: the rows of one space in the node's store.

use std::sync::{Arc, PoisonError, RwLock};

use aether_store::{Batch, Keyspace, ReadError};

use crate::proto::{
    id::FeedId,
    map::Feeds,
    rows::{Base, Changes, Scanned},
};

/// The rows of one space, whose keys begin with the number that stands for it in this store.
///
/// Reads see what is durable, and block on the disk for what isn't cached.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    rows: Keyspace,
    space: u32,
}

impl Shelf {
    pub(crate) const fn new(rows: Keyspace, space: u32) -> Self {
        Self { rows, space }
    }

    fn key(&self, row: &[u8]) -> Vec<u8> {
        [&self.space.to_be_bytes()[..], row].concat()
    }

    /// Adds changes to what the next commit writes.
    pub(crate) fn write(&self, changes: Changes, batch: &mut Batch) {
        for (row, value) in changes {
            match value {
                Some(value) => batch.put(&self.rows, &self.key(&row), &value),
                None => batch.remove(&self.rows, &self.key(&row)),
            };
        }
    }
}

impl Base for Shelf {
    type Error = ReadError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.rows.get(&self.key(key))?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_> {
        let below = match below {
            Some(below) => self.key(below),
            None => self.space.saturating_add(1).to_be_bytes().to_vec(),
        };
        let front = self.key(&[]).len();
        self.rows.range(self.key(from)..below).map(move |row| {
            let (key, value) = row?;
            Ok((key.get(front..).unwrap_or_default().to_vec(), value.to_vec()))
        })
    }
}

/// The numbers of a space's feeds, for readers beside the driver. It learns of a feed before any
/// row names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<RwLock<Vec<FeedId>>>);

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn extend(&self, feeds: impl IntoIterator<Item = FeedId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(feeds);
    }
}

impl Feeds for Names {
    fn local(&self, feed: &FeedId) -> Option<u32> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|known| known == feed)?;
        u32::try_from(place).ok()
    }

    fn feed(&self, local: u32) -> FeedId {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all[usize::try_from(local).expect("usize has 32 bits or more")]
    }
}
