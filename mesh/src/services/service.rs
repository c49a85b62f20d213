//! What a program serves: endpoints and their handlers.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use libp2p::PeerId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};

use super::{Context, serving::FromHandler};
use crate::proto::service::{
    frame::{CallError, Code},
    session::MAX_ITEM,
};

/// A service to offer: its endpoints, and how much it takes on at once.
///
/// ```
/// use aether_mesh::{Call, Failure, Service};
///
/// async fn divide(call: Call<(u64, u64)>) -> Result<u64, Failure> {
///     let (a, b) = call.value;
///     a.checked_div(b).ok_or_else(|| Failure::new(1, "division by zero"))
/// }
///
/// let service = Service::new().version("1.2.0").endpoint("divide", divide);
/// ```
#[derive(Clone)]
pub struct Service {
    pub(super) version: String,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) concurrency: u32,
    pub(super) rate: Option<u32>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<&String> = self.endpoints.keys().collect();
        f.debug_struct("Service")
            .field("version", &self.version)
            .field("endpoints", &endpoints)
            .field("concurrency", &self.concurrency)
            .field("rate", &self.rate)
            .finish()
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// A service without endpoints, of version `0.1.0`, that answers 256 calls at once.
    pub fn new() -> Self {
        Self { version: "0.1.0".into(), endpoints: BTreeMap::new(), concurrency: 256, rate: None }
    }

    /// The version, as others see it: by semver (<https://semver.org>), at most 64 bytes.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// How many calls are answered at once; what comes beyond them is refused as overload, and its
    /// caller told when to try again. At least 1.
    #[must_use]
    pub fn concurrency(mut self, calls: u32) -> Self {
        self.concurrency = calls.max(1);
        self
    }

    /// How many calls a second one peer may make, and as many at once; what comes beyond them is
    /// refused as overload. Without it there is no limit but
    /// [`concurrency`](Self::concurrency).
    #[must_use]
    pub fn rate(mut self, calls: u32) -> Self {
        self.rate = Some(calls.max(1));
        self
    }

    /// Answers calls of this name with one reply each. Arguments and replies are CBOR by serde,
    /// each at most 4 MiB encoded.
    ///
    /// The handler runs as a task of its own, as many at a time as
    /// [`concurrency`](Self::concurrency) says. When the caller gives up, the deadline passes or
    /// the caller is lost, it is dropped at its next `await`. When it panics, its caller gets an
    /// error, and nothing else happens.
    #[must_use]
    pub fn endpoint<A, R, F, Fut>(mut self, name: &str, handler: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(Call<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        let run = move |raw: Raw| -> BoxFuture<'static, Result<Bytes, CallError>> {
            match raw.decode() {
                Err(error) => Box::pin(std::future::ready(Err(error))),
                Ok(call) => {
                    let answer = handler(call);
                    Box::pin(async move { encode(&answer.await?) })
                }
            }
        };
        self.endpoints.insert(name.to_owned(), Endpoint::Reply(Arc::new(run)));
        self
    }

    /// Answers calls of this name with a stream of items, each at most 64 KiB encoded. The stream
    /// ends when the handler returns. For the rest like [`endpoint`](Self::endpoint).
    #[must_use]
    pub fn stream<A, R, F, Fut>(mut self, name: &str, handler: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(Call<A>, Items<R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let run = move |raw: Raw, items: RawItems| -> BoxFuture<'static, Result<(), CallError>> {
            match raw.decode() {
                Err(error) => Box::pin(std::future::ready(Err(error))),
                Ok(call) => {
                    let items = Items { raw: items, kind: std::marker::PhantomData };
                    let answer = handler(call, items);
                    Box::pin(async move { Ok(answer.await?) })
                }
            }
        };
        self.endpoints.insert(name.to_owned(), Endpoint::Items(Arc::new(run)));
        self
    }
}

type Reply = dyn Fn(Raw) -> BoxFuture<'static, Result<Bytes, CallError>> + Send + Sync;
type Stream = dyn Fn(Raw, RawItems) -> BoxFuture<'static, Result<(), CallError>> + Send + Sync;

/// One endpoint's handler.
#[derive(Clone)]
pub(super) enum Endpoint {
    /// With one reply.
    Reply(Arc<Reply>),
    /// With items.
    Items(Arc<Stream>),
}

/// A call as it arrives.
pub(super) struct Raw {
    pub(super) body: Bytes,
    pub(super) caller: PeerId,
    pub(super) context: Context,
}

impl Raw {
    fn decode<A: DeserializeOwned>(self) -> Result<Call<A>, CallError> {
        // ciborium refuses nesting deeper than 256.
        match ciborium::from_reader(&self.body[..]) {
            Ok(value) => Ok(Call { value, caller: self.caller, context: self.context }),
            Err(error) => Err(CallError::new(Code::Malformed, error.to_string())),
        }
    }
}

/// A call, as a handler gets it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call<T> {
    /// The arguments.
    pub value: T,
    /// The node that calls; the transport has verified that it has this identity's key.
    pub caller: PeerId,
    /// The deadline and the trace. Calls that the handler makes in this task have them by
    /// themselves.
    pub context: Context,
}

/// A handler's own error: an answer to the caller like any other, which isn't tried elsewhere.
///
/// Any error becomes one with code 0, so `?` works in handlers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The service's own code.
    pub code: u32,
    /// For a person to read; at most 512 bytes travel.
    pub message: String,
}

impl Failure {
    /// An error of the service.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(0, error.to_string())
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::new(Code::Application(failure.code), failure.message)
    }
}

/// Where a handler puts the items of its reply.
pub struct Items<T> {
    raw: RawItems,
    kind: std::marker::PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

impl<T: Serialize> Items<T> {
    /// Sends an item, and waits while the caller is behind: some 64 KiB lie between the two, and
    /// what the caller allows.
    ///
    /// # Errors
    ///
    /// If the item can't be encoded, or has more than 64 KiB. When the caller is gone the handler
    /// is dropped.
    pub async fn send(&mut self, item: &T) -> Result<(), Failure> {
        let item = encode(item).map_err(|error| Failure::new(0, error.message))?;
        if item.len() > MAX_ITEM {
            let message = format!("an item has at most {MAX_ITEM} bytes, not {}", item.len());
            return Err(Failure::new(0, message));
        }
        self.raw.send(item).await;
        Ok(())
    }
}

/// The way of items to the session.
pub(super) struct RawItems {
    pub(super) call: u64,
    pub(super) session: mpsc::Sender<FromHandler>,
}

impl RawItems {
    async fn send(&self, item: Bytes) {
        let (taken, is_taken) = oneshot::channel();
        let event = FromHandler { call: self.call, item, taken };
        if self.session.send(event).await.is_ok() && is_taken.await.is_ok() {
            return;
        }
        // The call is over, and the session is about to drop its handler.
        std::future::pending().await
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, CallError> {
    let mut bytes = Vec::new();
    match ciborium::into_writer(value, &mut bytes) {
        Ok(()) => Ok(bytes.into()),
        Err(error) => {
            Err(CallError::new(Code::Dropped, format!("the reply can't be encoded: {error}")))
        }
    }
}
