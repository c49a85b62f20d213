//! Topics: typed publish and subscribe.

mod large;
mod subscription;

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

pub(crate) use self::large::{Large, forget_left};
pub use self::{
    large::PullError,
    subscription::{Event, Message, Subscription},
};
use crate::{
    node::{Closed, Node},
    proto::{envelope::MAX_PAYLOAD, reference::Reference},
    topics::{Publish, Request, Shared, Subscriber, TooManyTopics},
};

/// Largest message, in bytes of its CBOR encoding: 16 MiB.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Largest message that travels in an envelope; a larger one travels as a blob.
pub const MAX_INLINE: usize = MAX_PAYLOAD;

/// Longest topic name, in bytes.
pub const MAX_TOPIC_NAME: usize = 255;

/// How the names of the node's own topics begin.
pub(crate) const OWN_TOPICS: &str = "aether/";

/// Envelopes that a subscriber may leave unread; there is a bound in bytes besides.
const MAX_UNREAD_ENVELOPES: usize = 8192;

/// A topic of messages of type `T`, encoded as CBOR (RFC 8949) by serde.
///
/// **Promise.** While the network is connected and unattacked, every message published after a
/// subscriber joined reaches it once, verified to be its author's, and in the author's order.
/// There is no order between authors. What gossip loses is repaired from the neighbours' caches
/// (some 4 MiB per topic); what can't be repaired within 5 seconds is reported as
/// [`Event::Missed`], never skipped in silence. A node doesn't receive its own messages.
///
/// **Cost.** One signature and one gossip per envelope. Messages share an envelope for about 1 ms
/// or 32 KiB; see [`express`](Self::express).
///
/// **Large messages.** One above 65,536 bytes encoded travels as a blob: it is written to disk and
/// synced, its hash is gossiped, and each subscription that [wants](Subscription::pull_up_to) it
/// pulls it, verified, from the author or from others who have read it. Author and readers keep the
/// last 256 MiB of such messages on disk, for those who read later.
///
/// **Bounds.** A message has at most 16 MiB encoded. 4 MiB of messages and references wait in the
/// outbox; beyond that [`publish`](Self::publish) waits.
///
/// Cloning is cheap. The topic is left when its last handle and subscription are dropped.
pub struct Topic<T> {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    /// Bytes that a subscription may leave unread.
    max_unread: usize,
    /// Keeps the node running; the node's own parts don't.
    owner: Option<Node>,
    express: bool,
    kind: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            shared: self.shared.clone(),
            max_unread: self.max_unread,
            owner: self.owner.clone(),
            express: self.express,
            kind: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.shared.name)
    }
}

/// Encodes a message as it stands in an envelope's payload, or in a blob.
fn encode<T: Serialize>(message: &T, max: usize) -> Result<Bytes, PublishError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(message, &mut bytes)
        .map_err(|error| PublishError::Encode(error.to_string()))?;
    if bytes.len() > max {
        return Err(PublishError::TooLarge { len: bytes.len(), max });
    }
    if Reference::is_tagged(&bytes) {
        let why = "the tag that it begins with is that of references to large messages";
        return Err(PublishError::Encode(why.to_owned()));
    }
    Ok(bytes.into())
}

impl<T: Serialize> Topic<T> {
    /// Queues a message for sending, and waits only while the outbox is full, or while a large
    /// message is written to disk. The message leaves as soon as somebody reads the topic.
    ///
    /// The [`Receipt`] tells what becomes of it; dropping it doesn't take the message back.
    pub async fn publish(&self, message: &T) -> Result<Receipt, PublishError> {
        // The node's own topics, which have no owner, have no large messages.
        let max = if self.owner.is_some() { MAX_MESSAGE } else { MAX_INLINE };
        let mut message = encode(message, max)?;
        if message.len() > MAX_INLINE
            && let Some(node) = &self.owner
        {
            let put = node.large().put(&node.blobs(), message).await;
            message = put.map_err(PublishError::Store)?.encode().into();
        }
        let size = u32::try_from(message.len()).map_err(|_| Closed)?;
        let room = self.shared.room.clone();
        let permit = room.acquire_many_owned(size).await.map_err(|_| Closed)?;
        let (publish, receipt) = self.queued(message, permit);
        self.requests.send(publish).await.map_err(|_| Closed)?;
        Ok(receipt)
    }

    /// Queues a message of at most 65,536 bytes if there is room for it right now.
    pub fn try_publish(&self, message: &T) -> Result<Receipt, PublishError> {
        let message = encode(message, MAX_INLINE)?;
        let size = u32::try_from(message.len()).map_err(|_| Closed)?;
        let permit = self.shared.room.clone().try_acquire_many_owned(size);
        let (publish, receipt) = self.queued(message, permit.map_err(|_| PublishError::Full)?);
        match self.requests.try_send(publish) {
            Ok(()) => Ok(receipt),
            Err(mpsc::error::TrySendError::Full(_)) => Err(PublishError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Closed.into()),
        }
    }

    fn queued(&self, message: Bytes, permit: OwnedSemaphorePermit) -> (Request, Receipt) {
        let (handed, receipt) = oneshot::channel();
        let (topic, express) = (self.shared.id, self.express);
        let publish = Publish { topic, message, express, permit, handed };
        (Request::Publish(publish), Receipt(receipt))
    }
}

impl<T> Topic<T> {
    /// Joins a topic. Without an owner the handle doesn't keep the node running.
    pub(crate) async fn open(
        requests: mpsc::Sender<Request>,
        name: &str,
        max_unread: usize,
        owner: Option<Node>,
    ) -> Result<Self, TopicError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Open { name: name.to_owned(), reply };
        requests.send(request).await.map_err(|_| Closed)?;
        match answer.await.map_err(|_| Closed)? {
            Ok(shared) => {
                Ok(Self { requests, shared, max_unread, owner, express: false, kind: PhantomData })
            }
            Err(TooManyTopics { max }) => Err(TopicError::TooMany { max }),
        }
    }

    /// The same topic, where messages published through this handle wait for no others: lower
    /// latency, and a signature and a gossip for almost each of them.
    #[must_use]
    pub fn express(mut self) -> Self {
        self.express = true;
        self
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How many connected nodes read the topic, as last heard.
    pub fn neighbours(&self) -> usize {
        *self.shared.readers.borrow()
    }

    /// Waits until at least so many connected nodes read the topic.
    pub async fn wait_for_neighbours(&self, count: usize) {
        let mut readers = self.shared.readers.subscribe();
        // The sender is ours: it can't be gone.
        let _ = readers.wait_for(|readers| *readers >= count).await;
    }

    /// Starts to receive. What is published from now on is kept for this subscription until it is
    /// read, at most 16 MiB of it; see [`Event::Missed`].
    pub async fn subscribe(&self) -> Result<Subscription<T>, Closed> {
        let (queue, deliveries) = mpsc::channel(MAX_UNREAD_ENVELOPES);
        let bytes = Arc::new(AtomicUsize::new(0));
        let missed = Arc::new(AtomicU64::new(0));
        let subscriber = Subscriber {
            queue,
            bytes: bytes.clone(),
            max_bytes: self.max_unread,
            missed: missed.clone(),
        };
        let topic = self.shared.id;
        let request = Request::Subscribe { topic, subscriber };
        self.requests.send(request).await.map_err(|_| Closed)?;
        Ok(Subscription::new(self.clone(), deliveries, bytes, missed))
    }
}

/// What becomes of a published message.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<usize>);

impl Receipt {
    /// Waits until the message is signed and handed to the neighbours that read the topic, and
    /// tells to how many. Zero if their queues were all full: they will ask for it.
    ///
    /// Handed over isn't delivered: a publisher of gossip can't know its readers.
    pub async fn handed(self) -> Result<usize, Closed> {
        self.0.await.map_err(|_| Closed)
    }
}

/// Why a message isn't queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Over the limit: of a message, or of one that is published [at
    /// once](Topic::try_publish).
    #[error("a message has at most {max} bytes encoded here, and this one has {len}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A large message can't be kept on disk.
    #[error("the message doesn't fit an envelope and can't be kept as a blob: {0}")]
    Store(String),
    /// The outbox is full; only from [`Topic::try_publish`].
    #[error("the outbox of this topic is full; wait with `publish`, or try again")]
    Full,
    /// serde can't encode it.
    #[error("the message can't be encoded as CBOR: {0}")]
    Encode(String),
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a topic can't be joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Empty or too long.
    #[error("a topic's name has 1 to {MAX_TOPIC_NAME} bytes, not {len}")]
    Name {
        /// Its length in bytes.
        len: usize,
    },
    /// The name begins as those of the node's own topics do.
    #[error("topic names that begin with {OWN_TOPICS:?} are the node's own; choose another")]
    Reserved,
    /// No room for one more.
    #[error("the node has joined {max} topics, which is its limit; leave one first")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named() {
        let error = encode(&"x".repeat(MAX_INLINE), MAX_INLINE).unwrap_err();
        assert_eq!(error, PublishError::TooLarge { len: MAX_INLINE + 5, max: MAX_INLINE });
        assert!(error.to_string().contains("65536"));
    }

    #[test]
    fn no_message_looks_like_a_reference() {
        let tagged = ciborium::tag::Required::<_, { crate::proto::reference::TAG }>("m");
        assert!(matches!(encode(&tagged, MAX_INLINE), Err(PublishError::Encode(_))));
        let other = ciborium::tag::Required::<_, 7>("m");
        assert!(encode(&other, MAX_INLINE).is_ok());
    }
}
