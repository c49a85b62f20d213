//! Watching: which keys change.

use std::{collections::VecDeque, fmt};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{Key, LookupError};
use crate::{
    Space,
    driver::Told,
    proto::{book, entry::Collection, id::Position, map::Op},
};

/// Entries that are looked at in a row.
const CHUNK: usize = 64;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed<K> {
    /// Somebody wrote to a key, here or elsewhere: read it to see what is there now.
    Key {
        /// The key.
        key: K,
        /// Where to go on watching another time.
        at: Position,
    },
    /// An author forked, and what collections show was made anew; or an owner has discarded what
    /// wasn't looked at yet. Any key may have changed.
    Rebuilt,
}

/// The keys of a collection that change, in the order in which this node takes the changes in. None
/// is missed, however slow the reader is: what it hasn't read is read from the disk.
pub struct Watch<K> {
    space: Space,
    collection: Collection,
    told: broadcast::Receiver<Told>,
    /// All up to here was looked at; `None` until the first look.
    at: Option<Position>,
    ready: VecDeque<Changed<K>>,
}

impl<K: Key> Watch<K> {
    pub(super) fn new(space: Space, collection: Collection, after: Option<Position>) -> Self {
        let told = space.told();
        // From now on means from before the first call of `next`.
        let at = after.or_else(|| book::last(space.shelf()).ok());
        Self { space, collection, told, at, ready: VecDeque::new() }
    }

    /// The next change; `None` when the node has stopped. Cancel safe.
    ///
    /// # Errors
    /// What is stored can't be read, or the space was left. Keys of another type are passed over.
    pub async fn next(&mut self) -> Option<Result<Changed<K>, LookupError>> {
        loop {
            if let Some(changed) = self.ready.pop_front() {
                return Some(Ok(changed));
            }
            match self.look() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
            match self.told.recv().await {
                // Of a space that was left nothing can be read.
                Ok(Told::Held(_) | Told::Left) => {}
                // One of what was missed may have been this.
                Ok(Told::Rebuilt) | Err(RecvError::Lagged(_)) => return Some(Ok(Changed::Rebuilt)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads on. Tells whether there was something to read.
    fn look(&mut self) -> Result<bool, LookupError> {
        let shelf = self.space.shelf();
        let after = match self.at {
            Some(at) => at,
            None => *self.at.insert(book::last(shelf)?),
        };
        let some = book::order(shelf, after).take(CHUNK).collect::<Result<Vec<_>, _>>()?;
        for (at, local, tip) in &some {
            self.at = Some(*at);
            let Some(entry) = book::entry(shelf, *local, *tip)? else {
                // What was evicted meanwhile is told of by `Rebuilt`. Of what was discarded nobody
                // knows which keys it changed.
                let is_told = matches!(self.ready.back(), Some(Changed::Rebuilt));
                if !is_told && book::is_kept(shelf, *local, *tip)? {
                    self.ready.push_back(Changed::Rebuilt);
                }
                continue;
            };
            let ops = entry.payload().ops().filter(|(of, _)| **of == self.collection);
            for (_, bytes) in ops {
                let Ok(op) = Op::decode(bytes) else { continue };
                // A key of another type can't be read by this program, whatever it holds.
                if let Some(key) = K::from_key(op.key()) {
                    self.ready.push_back(Changed::Key { key, at: *at });
                }
            }
        }
        Ok(!some.is_empty())
    }
}

impl<K> fmt::Debug for Watch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("space", &self.space).field("at", &self.at).finish()
    }
}
