//! Copies of documents.

use super::{ChangeError, Document, DocumentError};
use crate::proto::document::{
    ChangeHash,
    copy::{self, Source},
    edit::Edit,
};

/// Why a document isn't copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The document of that name has been written to.
    #[error("there is a document {name:?} already; choose another name for the copy")]
    Exists {
        /// The name.
        name: String,
    },
    /// The document can't be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The copy can't be written. What was written of it before stays, without a link to what it
    /// is a copy of.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl Document {
    /// Copies what it shows into a new document of the same space, which begins with the same
    /// [template](crate::proto::document::template), without its history: the way to shrink a
    /// document, of which Automerge keeps all that was ever written. What a copy has is said
    /// [there](crate::proto::document::copy). It is durable here when this returns.
    ///
    /// Let everybody know that the copy is where they go on: nothing tells them, and what others
    /// write to the old document, then or later, isn't in the copy.
    ///
    /// # Errors
    /// There is a document of that name; or as [`view`](Self::view) and [`commit`](Self::commit).
    pub async fn copy_to(&self, name: &str) -> Result<Self, CopyError> {
        let template = self.template.clone();
        let begun: Vec<ChangeHash> = template.change().map(|(hash, _)| *hash).into_iter().collect();
        let copy = Self::new(self.space.clone(), name, template);
        if copy.collection == self.collection || copy.version().await? != begun {
            return Err(CopyError::Exists { name: name.to_owned() });
        }
        let version = self.version().await?;
        let source = Source::new(self.space.id().to_string(), self.name.clone(), &version);
        let read = self.view_at(version, move |view| copy::Copy::new(view, source));
        let mut work = read.await?.map_err(DocumentError::View)?;
        while !work.is_done() {
            let step = move |edit: &mut Edit<'_>| {
                work.step(edit)?;
                Ok(work)
            };
            work = copy.change(step).await?;
            // Nobody undoes half of it.
            copy.undo_barrier().await?;
        }
        copy.durable().await?;
        Ok(copy)
    }

    /// What this is a copy of, if it is one.
    ///
    /// # Errors
    /// It can't be opened.
    pub async fn copied_from(&self) -> Result<Option<Source>, DocumentError> {
        Ok(self.view(Source::of).await??)
    }
}
