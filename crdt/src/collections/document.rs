//! Documents in hand.
//!
//! A document that somebody has in hand is at a [desk](desk): a task that owns it, and does one
//! thing after the other. What takes long is done on a thread for blocking work.

mod copy;
mod desk;
mod draft;
mod history;
mod lanes;
mod live;

use std::fmt;

use aether_store::ReadError;
use autosurgeon::{Hydrate, Reconcile};
use tokio::sync::{broadcast, mpsc, oneshot};

pub(crate) use self::desk::{Desks, LOADING};
pub use self::{
    copy::CopyError,
    draft::{Draft, MergeError},
    history::Revision,
};
use self::{desk::Command, live::Live};
use crate::{
    Space,
    driver::WriteFailed,
    proto::{
        document::{
            ChangeHash,
            body::Refused,
            content::{Content, ObjId},
            edit::{Edit, EditError},
            patch::Patch,
            state::Origin,
            template::Template,
            typed::{Misshapen, TypedError},
            view::{View, ViewError},
        },
        entry::Collection,
    },
};

/// A document of a space: maps, lists, texts and counters within each other, that many people edit
/// at once, together or apart. It is an [Automerge](https://automerge.org) document whose changes
/// travel as signed entries of the space.
///
/// **Promise.** An edit is shown at once in this program; edits of a tenth of a second become one
/// change, which is durable here and on its way to others soon after, and certainly when
/// [`durable`](Self::durable) returns. Replicas that hold the same entries show the same. What
/// others write at the same place at the same time is merged: texts character by character, in
/// lists both items, of two values under one key one is shown and both are kept
/// ([`View::conflicts`]).
///
/// **Cost.** A document in hand is in memory, with all of its history: some 200 bytes for each
/// change and 60 for each character ever typed. It is let go of when the last handle is gone, and a
/// minute after it was last used. Opening reads its file, and what came since.
///
/// Cloning is cheap, and all handles of one document in a program share it.
#[derive(Clone)]
pub struct Document {
    space: Space,
    name: String,
    template: Template,
    collection: Collection,
    commands: mpsc::Sender<Command>,
    patches: broadcast::Sender<Told>,
}

/// What became different in a document.
#[derive(Clone, Debug)]
pub struct PatchEvent {
    /// Who made it so.
    pub origin: Origin,
    /// What to do to what was shown before, in this order.
    pub patches: Vec<Patch>,
}

/// Why a document can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
    /// The space was closed or deleted on this node.
    #[error("the space was closed on this node: open it again, or join it")]
    Left,
    /// The store can't read it.
    #[error(transparent)]
    Store(ReadError),
    /// Automerge panics on it, each time it is opened.
    #[error("the document can't be shown: Automerge panics on it; please report it as a bug")]
    Broken,
    /// Nothing of it has that name, or it is of another kind.
    #[error(transparent)]
    View(#[from] ViewError),
    /// It isn't of the program's type.
    #[error(transparent)]
    Shape(#[from] Misshapen),
    /// A version was asked for that names changes which aren't here, or don't count.
    #[error("this node doesn't have that version of the document")]
    UnknownVersion,
    /// There is no lane for another draft.
    #[error(
        "this node has begun as many drafts of the document as it can: copy the document, and go \
         on with the copy"
    )]
    TooManyDrafts,
}

impl From<TypedError> for DocumentError {
    fn from(error: TypedError) -> Self {
        match error {
            TypedError::Shape(misshapen) => Self::Shape(misshapen),
            TypedError::View(error) => Self::View(error),
        }
    }
}

impl From<ReadError> for DocumentError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed { .. } => Self::Left,
            error => Self::Store(error),
        }
    }
}

/// Why an edit isn't done, or isn't durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The edit's own error. Nothing of it was done.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The document can't be opened.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What was edited can't be written, and is taken back.
    #[error("what was edited is taken back: {0}")]
    Write(WriteFailed),
    /// Other replicas would refuse the change, so it is taken back.
    #[error("what was edited is taken back: others would refuse it")]
    Refused(#[source] Refused),
}

impl Document {
    pub(crate) fn new(space: Space, name: &str, template: Template) -> Self {
        let collection = template.document(name);
        let (commands, patches) = space.desks().sit(&space, collection, template.clone());
        Self { space, name: name.to_owned(), template, collection, commands, patches }
    }

    /// Edits it, all or nothing: if the closure fails, nothing happened. Returns when the edit is
    /// shown; see [`durable`](Self::durable).
    ///
    /// The closure runs on a thread for blocking work, and nothing else is done with the document
    /// meanwhile.
    ///
    /// # Errors
    /// The closure's, or the document can't be opened.
    pub async fn change<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        Ok(self.run(move |live| live.edit(edit)).await??)
    }

    /// Returns when all that was edited until now is durable here, in one sync.
    ///
    /// # Errors
    /// It can't be: what was edited is taken back.
    pub async fn durable(&self) -> Result<(), ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Durable(reply)).await?;
        answer.await.map_err(|_| DocumentError::Closed)?
    }

    /// Edits it, and returns when that is durable.
    ///
    /// # Errors
    /// As [`change`](Self::change) and [`durable`](Self::durable).
    pub async fn commit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let value = self.change(edit).await?;
        self.durable().await?;
        Ok(value)
    }

    /// Reads it as it is shown.
    ///
    /// # Errors
    /// It can't be opened.
    pub async fn view<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, DocumentError> {
        self.run(move |live| live.view(read)).await?
    }

    /// Reads it as it was at a version. Costs a walk of each object that is read.
    ///
    /// # Errors
    /// It can't be opened, or doesn't have that version.
    pub async fn view_at<T: Send + 'static>(
        &self,
        version: Vec<ChangeHash>,
        read: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, DocumentError> {
        self.run(move |live| live.view_at(&version, read)).await?
    }

    /// All that is in it.
    ///
    /// # Errors
    /// It can't be opened.
    pub async fn content(&self) -> Result<Content, DocumentError> {
        Ok(self.view(|view| view.content(ObjId::Root)).await??)
    }

    /// All that is in it, as a value of the program's own type: see [`typed`].
    ///
    /// # Errors
    /// It can't be opened, or isn't of that type.
    ///
    /// [`typed`]: crate::proto::document::typed
    pub async fn read<T: Hydrate + Send + 'static>(&self) -> Result<T, DocumentError> {
        Ok(self.view(|view| view.hydrate()).await??)
    }

    /// Edits it as a value of the program's own type: what the closure made different is written,
    /// and merges with what others write as [`typed`] says. All or nothing, as with
    /// [`change`](Self::change).
    ///
    /// # Errors
    /// The closure's; the document isn't of that type; or as [`change`](Self::change).
    ///
    /// [`typed`]: crate::proto::document::typed
    pub async fn update<T, R>(
        &self,
        update: impl FnOnce(&mut T) -> Result<R, EditError> + Send + 'static,
    ) -> Result<R, ChangeError>
    where
        T: Hydrate + Reconcile,
        R: Send + 'static,
    {
        self.change(move |edit| {
            let mut value: T = edit.hydrate()?;
            let result = update(&mut value)?;
            edit.reconcile(&value)?;
            Ok(result)
        })
        .await
    }

    /// Its version: the changes on which no other builds. Equal ones mean equal documents. What is
    /// being edited becomes a change first.
    ///
    /// # Errors
    /// It can't be opened.
    pub async fn version(&self) -> Result<Vec<ChangeHash>, DocumentError> {
        self.run(|live| live.version()).await?
    }

    /// A branch of it as it is now, or was at a version, that nobody else sees until it is merged.
    ///
    /// # Errors
    /// It can't be opened, or doesn't have that version; or too many drafts were begun.
    pub async fn draft(&self, at: Option<Vec<ChangeHash>>) -> Result<Draft, DocumentError> {
        let branch = self.run(move |live| live.draft(at.as_deref())).await??;
        Ok(Draft::new(self.clone(), branch))
    }

    /// Takes back the last edit of this program that isn't taken back yet; edits of one object
    /// without a pause of half a second are taken back together. Nobody else's are: what others
    /// wrote since, or in between, stays. Says whether there was one. What was edited before the
    /// document was last opened can't be taken back.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub async fn undo(&self) -> Result<bool, ChangeError> {
        Ok(self.run(Live::undo).await??)
    }

    /// What is edited from now on is taken back apart from what was edited before, without a pause.
    ///
    /// # Errors
    /// It can't be opened.
    pub async fn undo_barrier(&self) -> Result<(), DocumentError> {
        self.run(Live::undo_barrier).await
    }

    /// Takes back the last undo, if nothing was edited since. Says whether there was one.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub async fn redo(&self) -> Result<bool, ChangeError> {
        Ok(self.run(Live::redo).await??)
    }

    /// All changes that are stored of it, in the order in which this node took them in. Reads them
    /// all.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn history(&self) -> Result<Vec<Revision>, DocumentError> {
        let (space, document) = (self.space.clone(), self.collection);
        let read = move || history::read(&space, &document);
        Ok(tokio::task::spawn_blocking(read).await.map_err(|_| DocumentError::Closed)??)
    }

    /// What becomes different from now on. The document stays open while somebody listens.
    ///
    /// # Errors
    /// It can't be opened.
    pub async fn patches(&self) -> Result<Patches, DocumentError> {
        let events = self.patches.subscribe();
        self.run(|_| ()).await?;
        Ok(Patches { events })
    }

    async fn send(&self, command: Command) -> Result<(), DocumentError> {
        self.commands.send(command).await.map_err(|_| DocumentError::Closed)
    }

    /// Does something with the document, once it is open.
    async fn run<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Live) -> T + Send + 'static,
    ) -> Result<T, DocumentError> {
        let (reply, answer) = oneshot::channel();
        let run = move |live: Result<&mut Live, DocumentError>| {
            // Whoever asked and is gone needs no answer.
            let _ = reply.send(live.map(what));
        };
        self.send(Command::Run(Box::new(run))).await?;
        // Only a panic in the closure leaves it without an answer.
        answer.await.map_err(|_| DocumentError::Closed)?
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("space", &self.space).finish_non_exhaustive()
    }
}

/// What readers of patches are told.
type Told = Result<PatchEvent, Missed>;

/// What becomes different in a document: see [`Document::patches`].
#[derive(Debug)]
pub struct Patches {
    events: broadcast::Receiver<Told>,
}

/// A reader of patches has missed some, or the document was opened anew: read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("some patches were missed; read the document again")]
pub struct Missed;

impl Patches {
    /// The next event; `None` when all handles of the document are gone. Cancel safe.
    ///
    /// # Errors
    /// Some were missed: more than 1,024 wait, or what was edited couldn't be written and is taken
    /// back.
    pub async fn next(&mut self) -> Option<Result<PatchEvent, Missed>> {
        match self.events.recv().await {
            Ok(told) => Some(told),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Err(Missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
