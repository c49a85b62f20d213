//! Topics: typed publish and subscribe.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use libp2p::PeerId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};

use crate::{
    identity::peer_id,
    node::{Closed, Node},
    proto::envelope::MAX_PAYLOAD,
    topics::{Delivery, Publish, Request, Shared, Subscriber, TooManyTopics},
};

/// Largest message, in bytes of its CBOR encoding.
pub const MAX_MESSAGE: usize = MAX_PAYLOAD;

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
/// **Bounds.** A message has at most 65,536 bytes encoded. 4 MiB of messages wait in the outbox;
/// beyond that [`publish`](Self::publish) waits.
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

/// Encodes a message as it stands in an envelope's payload.
fn encode<T: Serialize>(message: &T) -> Result<Bytes, PublishError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(message, &mut bytes)
        .map_err(|error| PublishError::Encode(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE {
        return Err(PublishError::TooLarge { len: bytes.len() });
    }
    Ok(bytes.into())
}

impl<T: Serialize> Topic<T> {
    /// Queues a message for sending, and waits only while the outbox is full. The message leaves
    /// as soon as somebody reads the topic.
    ///
    /// The [`Receipt`] tells what becomes of it; dropping it doesn't take the message back.
    pub async fn publish(&self, message: &T) -> Result<Receipt, PublishError> {
        let message = encode(message)?;
        let size = u32::try_from(message.len()).map_err(|_| Closed)?;
        let room = self.shared.room.clone();
        let permit = room.acquire_many_owned(size).await.map_err(|_| Closed)?;
        let (handed, receipt) = oneshot::channel();
        let (topic, express) = (self.shared.id, self.express);
        let publish = Publish { topic, message, express, permit, handed };
        self.requests.send(Request::Publish(publish)).await.map_err(|_| Closed)?;
        Ok(Receipt(receipt))
    }

    /// Queues a message if there is room for it right now.
    pub fn try_publish(&self, message: &T) -> Result<Receipt, PublishError> {
        let message = encode(message)?;
        let size = u32::try_from(message.len()).map_err(|_| Closed)?;
        let permit = self
            .shared
            .room
            .clone()
            .try_acquire_many_owned(size)
            .map_err(|_| PublishError::Full)?;
        let (handed, receipt) = oneshot::channel();
        let (topic, express) = (self.shared.id, self.express);
        let publish = Publish { topic, message, express, permit, handed };
        match self.requests.try_send(Request::Publish(publish)) {
            Ok(()) => Ok(Receipt(receipt)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(PublishError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Closed.into()),
        }
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
        Ok(Subscription { _topic: self.clone(), deliveries, bytes, missed, current: None })
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
    /// Over the limit.
    #[error("a message has at most {MAX_MESSAGE} bytes encoded, and this one has {len}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
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

/// A message as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// What was published.
    pub value: T,
    /// Who published it; its signature was checked.
    pub author: PeerId,
    /// The author's life that it comes from; a later one has a larger number.
    pub life: u64,
    /// Its number among the author's messages on this topic in this life, from 1.
    pub number: u64,
    /// When the author sealed it, by the author's clock.
    pub time: SystemTime,
}

/// What a subscription yields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<T> {
    /// A message.
    Message(Message<T>),
    /// So many messages are lost to this subscription just here: it read too slowly, or they
    /// couldn't be repaired.
    Missed(u64),
    /// A message that isn't a `T`.
    Undecodable {
        /// Who published it.
        author: PeerId,
        /// Its number; see [`Message::number`].
        number: u64,
        /// Why it isn't.
        error: String,
    },
}

/// A stream of messages. Ends when the node stops.
pub struct Subscription<T> {
    /// Keeps the topic joined.
    _topic: Topic<T>,
    deliveries: mpsc::Receiver<Delivery>,
    bytes: Arc<AtomicUsize>,
    missed: Arc<AtomicU64>,
    current: Option<Current>,
}

/// The envelope that is being read.
struct Current {
    payload: Bytes,
    author: PeerId,
    life: u64,
    number: u64,
    time: SystemTime,
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({:?})", self._topic.shared.name)
    }
}

impl<T: DeserializeOwned> Subscription<T> {
    /// The next message; `None` when the node has stopped. Passes over what was missed or can't be
    /// decoded: see [`next_event`](Self::next_event) for those who want to know.
    ///
    /// Cancel safe: a message is either returned or still there.
    pub async fn next(&mut self) -> Option<Message<T>> {
        loop {
            match self.next_event().await? {
                Event::Message(message) => return Some(message),
                Event::Missed(count) => tracing::warn!(count, "missed messages"),
                Event::Undecodable { author, error, .. } => {
                    tracing::debug!(%author, error, "passed over a message of another type");
                }
            }
        }
    }

    /// The next event; `None` when the node has stopped. Cancel safe.
    pub async fn next_event(&mut self) -> Option<Event<T>> {
        loop {
            if let Some(event) = self.next_of_current() {
                return Some(event);
            }
            let delivery = match self.deliveries.try_recv() {
                Ok(delivery) => delivery,
                Err(_) => {
                    // Everything queued is read: what was dropped after it is told now.
                    let missed = self.missed.swap(0, Ordering::Relaxed);
                    if missed > 0 {
                        return Some(Event::Missed(missed));
                    }
                    self.deliveries.recv().await?
                }
            };
            if let Some(event) = self.begin(delivery) {
                return Some(event);
            }
        }
    }

    fn begin(&mut self, delivery: Delivery) -> Option<Event<T>> {
        let Delivery { envelope, missed } = delivery;
        self.bytes.fetch_sub(envelope.bytes().len(), Ordering::Relaxed);
        let since = Duration::from_millis(envelope.time);
        self.current = Some(Current {
            payload: envelope.payload(),
            author: peer_id(&envelope.author),
            life: envelope.incarnation,
            number: envelope.first,
            time: SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH),
        });
        (missed > 0).then_some(Event::Missed(missed))
    }

    fn next_of_current(&mut self) -> Option<Event<T>> {
        let current = self.current.as_mut()?;
        if current.payload.is_empty() {
            self.current = None;
            return None;
        }
        let len = item_len(&current.payload);
        let item = current.payload.split_to(len);
        let number = current.number;
        current.number += 1;
        // ciborium refuses nesting deeper than 256.
        Some(match ciborium::from_reader(&item[..]) {
            Ok(value) => Event::Message(Message {
                value,
                author: current.author,
                life: current.life,
                number,
                time: current.time,
            }),
            Err(error) => {
                Event::Undecodable { author: current.author, number, error: error.to_string() }
            }
        })
    }
}

/// The length of the first item of a payload. The inbox lets only well-formed sequences through.
fn item_len(payload: &[u8]) -> usize {
    let mut decoder = minicbor::Decoder::new(payload);
    match decoder.skip() {
        Ok(()) => decoder.position().clamp(1, payload.len()),
        Err(_) => payload.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_split_into_their_messages() {
        let mut payload = encode(&"one").unwrap().to_vec();
        payload.extend_from_slice(&encode(&(2, "two")).unwrap());
        assert_eq!(item_len(&payload), 4);
        assert_eq!(item_len(&payload[4..]), payload.len() - 4);
    }

    #[test]
    fn the_limit_is_named() {
        let error = encode(&"x".repeat(MAX_MESSAGE)).unwrap_err();
        assert_eq!(error, PublishError::TooLarge { len: MAX_MESSAGE + 5 });
        assert!(error.to_string().contains("65536"));
    }
}
