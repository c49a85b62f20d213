//! Subscriptions: what has come, one message after the other.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aether_core::BlobId;
use bytes::Bytes;
use futures::future::BoxFuture;
use libp2p::PeerId;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{MAX_MESSAGE, PullError, Topic};
use crate::{identity::peer_id, proto::reference::Reference, topics::Delivery};

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
#[derive(Clone, Debug)]
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
    /// A large message that isn't here: it is larger than the subscription
    /// [pulls](Subscription::pull_up_to), or nobody sent it. It can still be
    /// [fetched](crate::Blobs::get) by its hash.
    Unpulled {
        /// Who published it.
        author: PeerId,
        /// Its number; see [`Message::number`].
        number: u64,
        /// The blob that is its CBOR encoding.
        id: BlobId,
        /// The bytes that its author says it has.
        size: u64,
        /// Why it isn't here.
        error: PullError,
    },
}

/// A stream of messages. Ends when the node stops.
pub struct Subscription<T> {
    /// Keeps the topic joined.
    topic: Topic<T>,
    deliveries: mpsc::Receiver<Delivery>,
    bytes: Arc<AtomicUsize>,
    missed: Arc<AtomicU64>,
    current: Option<Current>,
    max_pulled: u64,
    /// A large message that is on its way: kept here, so that cancelling loses nothing.
    pulling: Option<Pulling>,
}

/// The envelope that is being read.
struct Current {
    payload: Bytes,
    author: PeerId,
    life: u64,
    number: u64,
    time: SystemTime,
}

/// One message of an envelope, which isn't decoded.
#[derive(Clone, Copy)]
struct Item {
    author: PeerId,
    life: u64,
    number: u64,
    time: SystemTime,
}

struct Pulling {
    item: Item,
    reference: Reference,
    pulled: BoxFuture<'static, Result<Bytes, PullError>>,
}

/// What comes next.
enum Next<T> {
    Event(Event<T>),
    Pull(Item, Reference),
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({:?})", self.topic.name())
    }
}

impl<T> Subscription<T> {
    pub(super) fn new(
        topic: Topic<T>,
        deliveries: mpsc::Receiver<Delivery>,
        bytes: Arc<AtomicUsize>,
        missed: Arc<AtomicU64>,
    ) -> Self {
        let max_pulled = MAX_MESSAGE as u64;
        let (current, pulling) = (None, None);
        Self { topic, deliveries, bytes, missed, current, max_pulled, pulling }
    }

    /// Pulls messages of up to so many bytes; 16 MiB unless said, and at most. A larger one costs
    /// nothing but its reference, and is told of as [`Event::Unpulled`]. While one is pulled, for a
    /// minute at most, what follows waits.
    #[must_use]
    pub fn pull_up_to(mut self, bytes: u64) -> Self {
        self.max_pulled = bytes.min(MAX_MESSAGE as u64);
        self
    }
}

impl<T: DeserializeOwned> Subscription<T> {
    /// The next message; `None` when the node has stopped. Passes over what was missed or can't be
    /// pulled or decoded: see [`next_event`](Self::next_event) for those who want to know.
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
                Event::Unpulled { author, id, error, .. } => {
                    tracing::warn!(%author, blob = %id, %error, "missed a large message");
                }
            }
        }
    }

    /// The next event; `None` when the node has stopped. Cancel safe.
    pub async fn next_event(&mut self) -> Option<Event<T>> {
        loop {
            if let Some(pulling) = &mut self.pulling {
                let (item, reference) = (pulling.item, pulling.reference);
                let pulled = (&mut pulling.pulled).await;
                self.pulling = None;
                return Some(match pulled {
                    Ok(encoded) => decode(item, &encoded),
                    Err(error) => unpulled(item, reference, error),
                });
            }
            match self.next_of_current() {
                Some(Next::Event(event)) => return Some(event),
                Some(Next::Pull(item, reference)) => {
                    if let Some(event) = self.pull(item, reference) {
                        return Some(event);
                    }
                    continue;
                }
                None => {}
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

    fn next_of_current(&mut self) -> Option<Next<T>> {
        let current = self.current.as_mut()?;
        if current.payload.is_empty() {
            self.current = None;
            return None;
        }
        let len = item_len(&current.payload);
        let bytes = current.payload.split_to(len);
        let &mut Current { author, life, number, time, .. } = current;
        current.number += 1;
        let item = Item { author, life, number, time };
        if !Reference::is_tagged(&bytes) {
            return Some(Next::Event(decode(item, &bytes)));
        }
        Some(match Reference::decode(&bytes) {
            Ok(reference) => Next::Pull(item, reference),
            Err(error) => {
                Next::Event(Event::Undecodable { author, number, error: error.to_string() })
            }
        })
    }

    /// Begins to pull a message, unless it isn't wanted.
    fn pull(&mut self, item: Item, reference: Reference) -> Option<Event<T>> {
        let (max, owner) = (self.max_pulled, self.topic.owner.clone());
        let Some(node) = owner.filter(|_| reference.size <= max) else {
            return Some(unpulled(item, reference, PullError::TooLarge { max }));
        };
        let pulled = async move {
            let blobs = node.blobs();
            node.large().pull(&blobs, reference, item.author).await
        };
        self.pulling = Some(Pulling { item, reference, pulled: Box::pin(pulled) });
        None
    }
}

fn decode<T: DeserializeOwned>(item: Item, bytes: &[u8]) -> Event<T> {
    let Item { author, life, number, time } = item;
    // ciborium refuses nesting deeper than 256.
    match ciborium::from_reader(bytes) {
        Ok(value) => Event::Message(Message { value, author, life, number, time }),
        Err(error) => Event::Undecodable { author, number, error: error.to_string() },
    }
}

fn unpulled<T>(item: Item, reference: Reference, error: PullError) -> Event<T> {
    let (Item { author, number, .. }, Reference { id, size }) = (item, reference);
    Event::Unpulled { author, number, id, size, error }
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
        let reference = Reference { id: BlobId::of(b"x"), size: 70_000 }.encode();
        let payload = [&[0x63, b'o', b'n', b'e'][..], &reference, &[0x01]].concat();
        assert_eq!(item_len(&payload), 4);
        assert_eq!(item_len(&payload[4..]), reference.len());
        assert_eq!(item_len(&payload[4 + reference.len()..]), 1);
    }
}
