//! Presence in hand.

mod cursor;
mod gathering;

use std::{fmt, marker::PhantomData, time::Duration};

use aether_mesh::{PeerId, TopicError, identity};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, oneshot,
};

pub use self::cursor::{Cursor, CursorPosition};
pub(crate) use self::gathering::Gatherings;
use self::gathering::{Command, Told};
use super::{LookupError, WriteError, decode, encode};
use crate::{Space, proto::presence::SetError};

/// What those who are in a space now say of themselves under one name: who looks at a document, or
/// where their [cursors](Cursor) are. For what belongs to a document, its name is a good one.
///
/// **Promise.** A value shows at the others within a second or so while they are connected; when
/// it is cleared, or its node goes in order, it is gone as fast, and within 45 seconds if its node
/// is cut off or dies. Values are signed by their nodes, the newest of each is shown, and nothing
/// is stored. A node doesn't see its own.
///
/// **Who is shown.** In a space that not everyone may read, its members; in others, who may write.
/// Whoever is in the mesh and knows the space's id can hear what is said: put nothing secret into
/// it.
///
/// **Bounds.** A value has at most 4 KiB encoded, a node 16 names in a space, of 16 KiB together;
/// 256 nodes are shown.
///
/// Cloning is cheap. A node's values are there until they are cleared, or all handles of presence
/// in the space are gone.
pub struct Presence<T> {
    space: Space,
    name: String,
    commands: mpsc::Sender<Command>,
    told: broadcast::Sender<Told>,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for Presence<T> {
    fn clone(&self) -> Self {
        Self {
            space: self.space.clone(),
            name: self.name.clone(),
            commands: self.commands.clone(),
            told: self.told.clone(),
            types: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Presence<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("space", &self.space).field("name", &self.name).finish()
    }
}

/// Why presence isn't said or heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
    /// The space was closed or deleted on this node.
    #[error("the space was closed on this node: open it again, or join it")]
    Left,
    /// A name or a value is too large.
    #[error(transparent)]
    Set(#[from] SetError),
    /// serde can't encode the value.
    #[error("the value can't be encoded as CBOR: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// The space's topic can't be joined.
    #[error("presence travels over a topic that this node can't join: {0}")]
    Topic(#[from] TopicError),
}

/// What somebody says under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present<T> {
    /// Who.
    pub peer: PeerId,
    /// What it says.
    pub value: T,
}

/// What became different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceEvent<T> {
    /// Somebody says something, or something else than before.
    Says(Present<T>),
    /// Somebody says nothing any more, or isn't heard any more.
    Gone {
        /// Who.
        peer: PeerId,
    },
    /// Events were missed, as more than 1,024 waited: ask who is there.
    Missed,
}

impl<T> Presence<T> {
    pub(crate) fn new(space: Space, name: &str) -> Self {
        let (commands, told) = space.gatherings().join(&space);
        Self { space, name: name.to_owned(), commands, told, types: PhantomData }
    }

    async fn ask<R>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<R, PresenceError>>) -> Command,
    ) -> Result<R, PresenceError> {
        let (reply, answer) = oneshot::channel();
        let gone =
            || if self.space.is_left() { PresenceError::Left } else { PresenceError::Closed };
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// This node says nothing under the name any more.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub async fn clear(&self) -> Result<(), PresenceError> {
        self.ask(|reply| Command::Clear { name: self.name.clone(), reply }).await
    }
}

impl<T: Serialize> Presence<T> {
    /// What this node says under the name from now on.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub async fn set(&self, value: &T) -> Result<(), PresenceError> {
        self.say(value, None).await
    }

    /// What this node says for so long, unless it is set again before: for what stands for somebody
    /// who may go without a word.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub async fn set_for(&self, value: &T, lasts: Duration) -> Result<(), PresenceError> {
        self.say(value, Some(lasts)).await
    }

    async fn say(&self, value: &T, lasts: Option<Duration>) -> Result<(), PresenceError> {
        let value = encode(value).map_err(|error| match error {
            WriteError::Encode { reason } => PresenceError::Encode { reason },
            error => PresenceError::Encode { reason: error.to_string() },
        })?;
        let name = self.name.clone();
        self.ask(|reply| Command::Set { name, value, lasts, reply }).await
    }
}

impl<T: DeserializeOwned> Presence<T> {
    /// What others say under the name, by who they are. Values of another type are passed over.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub async fn others(&self) -> Result<Vec<Present<T>>, PresenceError> {
        let name = self.name.clone();
        let others = self.ask(|reply| Command::Others { name, reply }).await?;
        let others = others.into_iter();
        Ok(others.filter_map(|(author, value)| present(author, &value).ok()).collect())
    }

    /// What becomes different from now on. What is there already is told by
    /// [`others`](Self::others): ask after this, and nothing is missed.
    pub fn changes(&self) -> PresenceChanges<T> {
        PresenceChanges { told: self.told.subscribe(), presence: self.clone() }
    }
}

fn present<T: DeserializeOwned>(
    author: aether_core::PublicKey,
    value: &[u8],
) -> Result<Present<T>, LookupError> {
    let peer = identity::peer_id(&author);
    decode(value).map(|value| Present { peer, value }).inspect_err(|error| {
        tracing::debug!(%peer, %error, "passed over presence of another type");
    })
}

/// What becomes different: see [`Presence::changes`].
pub struct PresenceChanges<T> {
    told: broadcast::Receiver<Told>,
    presence: Presence<T>,
}

impl<T> fmt::Debug for PresenceChanges<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceChanges").field("presence", &self.presence).finish()
    }
}

impl<T: DeserializeOwned> PresenceChanges<T> {
    /// The next event; `None` when the node has stopped, or the space was left. Cancel safe. A
    /// value of another type is passed over as if it said nothing.
    pub async fn next(&mut self) -> Option<PresenceEvent<T>> {
        loop {
            let told = tokio::select! {
                told = self.told.recv() => told,
                () = self.presence.commands.closed() => return None,
            };
            match told {
                Ok(Told { author, name, value }) if name == self.presence.name => {
                    let peer = identity::peer_id(&author);
                    let says = value.and_then(|value| present(author, &value).ok());
                    return Some(says.map_or(PresenceEvent::Gone { peer }, PresenceEvent::Says));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(PresenceEvent::Missed),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
