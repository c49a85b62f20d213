//! Drafts in hand.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{ChangeError, Document, DocumentError, lanes::Lease, live::Live};
use crate::proto::{
    document::{
        ChangeHash,
        content::{Content, ObjId},
        draft,
        edit::{Edit, EditError},
        patch::Patch,
        view::View,
    },
    time::Wall,
};

/// A branch of a document that nobody else sees until it is [merged](Self::merge): to try something
/// out, or to write for a while without being watched.
///
/// **Promise.** A merged draft is what it would be, had somebody else made its edits to the version
/// that it began with, without having heard of what was written since. What is typed in both into
/// one text stays, of two values under one key one is shown and both are kept, what was deleted in
/// either is gone. A merge is [undone](Document::undo) at once.
///
/// It lives in memory: what isn't merged when the last handle is gone is lost.
///
/// **Cost.** As much memory as the document, and the time to copy it; at an older version as much
/// time as opening it. A node can have 255 drafts of a document open at once, and in its life merge
/// as many that were made of older versions.
///
/// Cloning is cheap, and all clones share the draft.
#[derive(Clone)]
pub struct Draft {
    document: Document,
    branch: Arc<Mutex<Branch>>,
}

pub(super) struct Branch {
    pub(super) draft: draft::Draft,
    pub(super) lease: Lease,
}

/// Why a draft isn't merged. Nothing of it was, and it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The document can't be opened.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It can't go into the document.
    #[error(transparent)]
    Draft(#[from] draft::MergeError),
}

impl Draft {
    pub(super) fn new(document: Document, branch: Branch) -> Self {
        Self { document, branch: Arc::new(Mutex::new(branch)) }
    }

    /// The document that it is a branch of.
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The version that it was made of.
    pub fn base(&self) -> Vec<ChangeHash> {
        self.branch.lock().unwrap_or_else(PoisonError::into_inner).draft.base().to_vec()
    }

    /// Does something with it where it may take its time.
    async fn run<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut draft::Draft) -> T + Send + 'static,
    ) -> Result<T, DocumentError> {
        let branch = self.branch.clone();
        let run = move || what(&mut branch.lock().unwrap_or_else(PoisonError::into_inner).draft);
        // Only a panic in the closure, or a runtime that ends, leaves it without an answer. An edit
        // that panics is taken back before.
        tokio::task::spawn_blocking(run).await.map_err(|_| DocumentError::Closed)
    }

    /// Edits it, all or nothing: if the closure fails, nothing happened.
    ///
    /// # Errors
    /// The closure's.
    pub async fn change<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let wall = wall();
        Ok(self.run(move |draft| draft.edit(wall, edit)).await??)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Automerge panicked on it.
    pub async fn view<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, DocumentError> {
        let view = move |draft: &mut draft::Draft| draft.view().map(|view| read(&view));
        self.run(view).await?.map_err(|_| DocumentError::Broken)
    }

    /// All that is in it.
    ///
    /// # Errors
    /// Automerge panicked on it.
    pub async fn content(&self) -> Result<Content, DocumentError> {
        Ok(self.view(|view| view.content(ObjId::Root)).await??)
    }

    /// What is different from the version that it was made of: patches, by which what that showed
    /// becomes what this shows.
    ///
    /// # Errors
    /// Automerge panicked on it.
    pub async fn differences(&self) -> Result<Vec<Patch>, DocumentError> {
        self.run(draft::Draft::differences).await?.map_err(|_| DocumentError::Broken)
    }

    /// Makes its edits the document's, all or nothing, as one step that is undone at once. Says
    /// whether there were any. Returns when they are shown; see [`Document::durable`]. The draft
    /// can be edited on, from where it is, and merged again.
    ///
    /// # Errors
    /// The document can't be opened, or what the draft was made of doesn't count in it any more.
    pub async fn merge(&self) -> Result<bool, MergeError> {
        let branch = self.branch.clone();
        let merge = move |live: &mut Live| {
            live.merge(&mut branch.lock().unwrap_or_else(PoisonError::into_inner))
        };
        self.document.run(merge).await?
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("document", &self.document).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "a draft owns its clock")]
fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
