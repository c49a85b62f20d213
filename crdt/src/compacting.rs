//! Compacting spaces.

use aether_store::ReadError;

use crate::{
    Space, WriteFailed,
    driver::Request,
    proto::{book::Book, compact, rows::Overlay, space::Role},
};

/// How far a search for what can be discarded has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactProgress {
    /// Entries that were looked at, those that were evicted since among them.
    pub done: u64,
    /// Of how many.
    pub of: u64,
}

/// What is discarded of a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Entries whose payloads go.
    pub entries: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Why a space isn't compacted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// This node isn't an owner of the space.
    #[error("only an owner compacts a space: run it on a node that founded it")]
    Owner,
    /// What is stored of the space can't be read, or the space was left.
    #[error("what is stored of the space can't be read")]
    Read(#[from] ReadError),
    /// It can't be written down what is discarded.
    #[error(transparent)]
    Write(#[from] WriteFailed),
    /// The runtime is being shut down.
    #[error("the node has stopped")]
    Closed,
}

impl Space {
    /// Discards the payloads of all entries that no longer do anything, as what they put was
    /// overwritten or removed: on this node and, once they hear of it, on all others. Who joins
    /// later isn't sent them. What can be read stays the same everywhere, and so do documents with
    /// their histories; [`compact`] has the rules. It can't be undone: a later removal of a member
    /// doesn't bring back what that member had overwritten.
    ///
    /// Durable here once it returns; then the payloads are dropped some at a time, and the store's
    /// files merged, for which the disk needs room for what is left once more. Others do the same.
    /// To be called now and then: it reads all payloads, and costs a look-up for each of their
    /// operations, on a thread for blocking work.
    ///
    /// # Errors
    /// This node isn't an owner, or the disk fails; nothing is discarded then.
    pub async fn compact(
        &self,
        told: impl FnMut(CompactProgress) + Send + 'static,
    ) -> Result<Compacted, CompactError> {
        let found = self.find_dead(told).await?;
        let compacted = Compacted { entries: found.entries, bytes: found.bytes };
        if found.entries > 0 {
            let runs = found.runs;
            let written = self.ask(|space, reply| Request::Discard { space, runs, reply });
            written.await.unwrap_or(Err(WriteFailed::Closed))?;
        }
        Ok(compacted)
    }

    /// What [`compact`](Self::compact) would discard now. Nothing changes.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub async fn compactable(
        &self,
        told: impl FnMut(CompactProgress) + Send + 'static,
    ) -> Result<Compacted, CompactError> {
        let found = self.find_dead(told).await?;
        Ok(Compacted { entries: found.entries, bytes: found.bytes })
    }

    async fn find_dead(
        &self,
        mut told: impl FnMut(CompactProgress) + Send + 'static,
    ) -> Result<compact::Found, CompactError> {
        let role = self.ask(|space, reply| Request::OwnRole { space, reply });
        match role.await.ok_or(CompactError::Closed)? {
            Some(Role::Owner) => {}
            _ if self.shelf().is_left() => return Err(WriteFailed::Left.into()),
            _ => return Err(CompactError::Owner),
        }
        let space = self.clone();
        let find = move || {
            let still = space.shelf().still(space.store().snapshot())?;
            let book = Book::open(Overlay::new(still))?;
            compact::find(&book, |done, of| {
                told(CompactProgress { done: done.as_number(), of: of.as_number() });
            })
        };
        let found = tokio::task::spawn_blocking(find).await;
        Ok(found.map_err(|_| CompactError::Closed)??)
    }
}
