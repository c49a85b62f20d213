//! Large messages: those that don't fit an envelope travel as blobs.
//!
//! Whoever publishes one adds its encoding to the node's blobs and publishes the [`Reference`];
//! whoever reads it pulls the blob, from the author or from others who have read it. Both keep it
//! for those who come later, until a bound in bytes is reached; then the oldest goes first.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aether_core::BlobId;
use bytes::Bytes;
use libp2p::PeerId;

use crate::{
    blobs::{BlobStatus, BlobStore, Blobs, GetError, PinError, Reach},
    proto::reference::Reference,
};

/// The name of the pins that keep them.
const PIN: &str = "topic-messages";

/// How long a subscription waits for one.
const PATIENCE: Duration = Duration::from_secs(60);

/// The large messages that a node holds, for whoever wants them.
#[derive(Debug)]
pub(crate) struct Large {
    max_bytes: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    messages: VecDeque<Reference>,
    bytes: u64,
}

impl Kept {
    /// Notes one as the newest; those that have to go for it.
    fn keep(&mut self, reference: Reference, max_bytes: u64) -> Vec<Reference> {
        let known = self.messages.iter().position(|kept| kept.id == reference.id);
        if let Some(known) = known.and_then(|at| self.messages.remove(at)) {
            self.bytes -= known.size;
        }
        self.bytes += reference.size;
        self.messages.push_back(reference);
        let mut gone = Vec::new();
        while self.bytes > max_bytes
            && self.messages.len() > 1
            && let Some(oldest) = self.messages.pop_front()
        {
            self.bytes -= oldest.size;
            gone.push(oldest);
        }
        gone
    }

    fn holds(&self, id: &BlobId) -> bool {
        self.messages.iter().any(|kept| kept.id == *id)
    }
}

/// Why a large message isn't here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// It has more bytes than the subscription [pulls](super::Subscription::pull_up_to).
    #[error("it is larger than what is pulled here, {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// Its author said a size that isn't its own.
    #[error("it has not the {said} bytes that its author said")]
    OtherSize {
        /// What the author said.
        said: u64,
    },
    /// Nobody sent all of it in time.
    #[error("nobody sent it within {} seconds", PATIENCE.as_secs())]
    Late,
    /// It can't be had or kept.
    #[error(transparent)]
    Get(#[from] GetError),
}

impl Large {
    /// Removes what an earlier run has kept: nobody was told of it in this one.
    pub(crate) fn new(store: &BlobStore, max_bytes: u64) -> Self {
        for pin in store.pins() {
            if pin.name == PIN {
                forget(store, &pin.id);
            }
        }
        Self { max_bytes, kept: Mutex::default() }
    }

    // Nothing panics while it holds the lock, so poison would say nothing.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a message's encoding, on disk and synced, and gives what is to be published.
    pub(super) async fn put(&self, blobs: &Blobs, encoded: Bytes) -> Result<Reference, String> {
        let id = BlobId::of(&encoded);
        let reference = Reference { id, size: encoded.len() as u64 };
        let is_users = self.is_users(blobs, &id);
        // Pinned first, so that a quota never takes it between.
        self.keep(blobs, reference, is_users).await.map_err(|error| error.to_string())?;
        blobs.add_bytes(encoded).await.map_err(|error| error.to_string())?;
        Ok(reference)
    }

    /// Pulls a message of an author's.
    pub(super) async fn pull(
        &self,
        blobs: &Blobs,
        reference: Reference,
        author: PeerId,
    ) -> Result<Bytes, PullError> {
        let Reference { id, size } = reference;
        let is_users = self.is_users(blobs, &id);
        let pulled = tokio::time::timeout(PATIENCE, async {
            blobs.have(id, 0..size, author).await?;
            // The size is proved by now.
            let found = match blobs.status(&id) {
                BlobStatus::Complete { size } | BlobStatus::Partial { size, .. } => size,
                BlobStatus::Absent => size,
            };
            if found != size {
                return Err(PullError::OtherSize { said: size });
            }
            Ok(blobs.read(id, 0..size).await?)
        });
        let pulled = pulled.await.unwrap_or(Err(PullError::Late));
        if pulled.is_ok() {
            if let Err(error) = self.keep(blobs, reference, is_users).await {
                tracing::debug!(%error, "a message that was read isn't kept for others");
            }
        } else if !is_users {
            let store = blobs.store().clone();
            let _ = tokio::task::spawn_blocking(move || store.remove(&id)).await;
        }
        pulled
    }

    /// Whether somebody else has this content here, for reasons of their own. A part of it is more
    /// likely what a pull has left that was broken off.
    fn is_users(&self, blobs: &Blobs, id: &BlobId) -> bool {
        matches!(blobs.status(id), BlobStatus::Complete { .. }) && !self.kept().holds(id)
    }

    async fn keep(
        &self,
        blobs: &Blobs,
        reference: Reference,
        is_users: bool,
    ) -> Result<(), PinError> {
        if is_users {
            return Ok(());
        }
        blobs.pin(reference.id, PIN, Reach::Blob).await?;
        let gone = self.kept().keep(reference, self.max_bytes);
        if !gone.is_empty() {
            let store = blobs.store().clone();
            let forget = move || gone.iter().for_each(|gone| forget(&store, &gone.id));
            let _ = tokio::task::spawn_blocking(forget).await;
        }
        Ok(())
    }
}

/// Removes one that nobody else keeps.
fn forget(store: &BlobStore, id: &BlobId) {
    let removed = store.unpin(id, PIN).map_err(|error| error.to_string());
    let removed = removed.and_then(|()| store.remove(id).map_err(|error| error.to_string()));
    if let Err(error) = removed {
        tracing::debug!(blob = %id, error, "a large message stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(number: u8, size: u64) -> Reference {
        Reference { id: BlobId::from_bytes([number; 32]), size }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut kept = Kept::default();
        assert!(kept.keep(reference(1, 40), 100).is_empty());
        assert!(kept.keep(reference(2, 60), 100).is_empty());
        // One that comes again is the newest, and counts once.
        assert!(kept.keep(reference(1, 40), 100).is_empty());
        assert_eq!(kept.keep(reference(3, 50), 100), [reference(2, 60)]);
        assert!(kept.holds(&reference(1, 0).id) && !kept.holds(&reference(2, 0).id));
        assert_eq!(kept.keep(reference(4, 60), 100), [reference(1, 40), reference(3, 50)]);
        // The newest stays whatever its size: it's about to be announced.
        assert_eq!(kept.keep(reference(5, 500), 100), [reference(4, 60)]);
        assert_eq!((kept.bytes, kept.messages.len()), (500, 1));
    }
}
