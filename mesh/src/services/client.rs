//! What a program calls.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use libp2p::PeerId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    runtime::Handle,
    sync::{OnceCell, mpsc, oneshot},
};
use tracing::Instrument as _;

use super::{
    Context, Failure,
    balancing::{Answer, NewCall, OneOfMany, Request},
    calling::Item,
};
use crate::{
    clock::Clock,
    identity::{peer_id, public_key},
    node::{Closed, Node},
    proto::service::{
        balancer::{AttemptId, BreakerState, Hedge, OwnerKey, Target, View},
        frame::{CallError, MAX_NAME, Trace},
    },
};

/// How long a call takes at most if nothing else is said.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// Items of a streamed reply that lie unread: more than its window has room for.
const MAX_UNREAD: usize = 8192;

/// A client of one service, wherever in the mesh it is served.
///
/// **Promise.** Each call ends once, by its deadline at the latest. It goes to a live instance: the
/// better of two drawn at random, by measured latency and calls in flight. A call that certainly
/// wasn't begun (its instance is gone or overloaded) is tried on another; one that may have been
/// begun is tried again only if it is [`idempotent`](Calling::idempotent). Retries and hedges
/// together stay within a fifth of the calls and some more a second, so that a service in trouble
/// isn't stormed. An instance that fails again and again is left alone for a while, and tried again
/// by itself.
///
/// **Order.** None between calls.
///
/// **Cost.** A round trip on a stream that is kept per instance; the first call opens it. A call
/// made while no instance is known waits for one to be found.
///
/// Cloning is cheap; all clients of one service on a node share what they know.
#[derive(Clone)]
pub struct Client {
    node: Node,
    service: Arc<str>,
    queue: Arc<OnceCell<Queue>>,
}

/// The way to the client's task.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(super) requests: mpsc::Sender<Request>,
    /// The next call's number.
    pub(super) ids: Arc<AtomicU64>,
    pub(super) clock: Clock,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.service)
    }
}

impl Client {
    pub(crate) fn new(node: Node, service: &str) -> Self {
        Self { node, service: service.into(), queue: Arc::default() }
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// A call of an endpoint, made when the result is awaited:
    ///
    /// ```no_run
    /// # #[cfg(feature = "net")]
    /// # async fn doctest(client: aether_mesh::Client) -> Result<(), aether_mesh::CallFailed> {
    /// let sum: u64 = client.call("add", &(1, 2)).idempotent().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<R>(&self, endpoint: &str, arguments: &impl Serialize) -> Calling<R> {
        let mut body = Vec::new();
        let encoded = ciborium::into_writer(arguments, &mut body);
        let body = match encoded {
            Ok(()) => Ok(body.into()),
            Err(error) => Err(CallFailed::Encode { reason: error.to_string() }),
        };
        Calling {
            client: self.clone(),
            endpoint: endpoint.into(),
            body,
            deadline: None,
            idempotent: false,
            hedge: Hedge::Never,
            target: Target::Any,
            kind: PhantomData,
        }
    }

    /// The instances that are known here, as this client sees them.
    pub async fn instances(&self) -> Result<Vec<ServiceInstance>, Closed> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue().await?;
        queue.requests.send(Request::Instances { reply }).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    async fn queue(&self) -> Result<&Queue, Closed> {
        let open = || self.node.open_client(self.service.clone());
        self.queue.get_or_try_init(open).await
    }
}

/// A call that isn't made yet.
#[must_use = "a call is made when it is awaited"]
pub struct Calling<R> {
    client: Client,
    endpoint: Arc<str>,
    body: Result<Bytes, CallFailed>,
    deadline: Option<Duration>,
    idempotent: bool,
    hedge: Hedge,
    target: Target,
    kind: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Calling<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calling({:?}, {:?})", self.client.service, self.endpoint)
    }
}

impl<R> Calling<R> {
    /// How long the call takes at most, retries included; 10 seconds otherwise, and a day for a
    /// stream of items. It travels with the call, and what its handler calls in turn ends no later.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The call does the same when it is done twice: it may be tried again though a first try may
    /// have been begun.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Asks a second instance if the first hasn't answered in a while, and takes the first answer.
    /// Only an [`idempotent`](Self::idempotent) call with one reply is hedged.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = hedge;
        self
    }

    /// Asks the instance that owns this key, by rendezvous hashing over the live ones, or the next
    /// in rank if that one can't be asked. All clients that know the same instances agree.
    pub fn owner(mut self, key: impl AsRef<[u8]>) -> Self {
        self.target = Target::Owner(OwnerKey::new(key.as_ref()));
        self
    }

    /// Asks the instance of this node and no other, once: what comes of it is the caller's to
    /// judge. Fails at once if others are known to serve and this node isn't.
    pub fn peer(mut self, peer: &PeerId) -> Self {
        match public_key(peer) {
            Some(peer) => self.target = Target::Peer(peer),
            None => {
                let reason = format!("{peer} holds no Ed25519 key");
                self.body = Err(CallFailed::Unreachable { reason });
            }
        }
        self
    }

    /// The call as the client's task takes it, and what cancels it when it is dropped.
    async fn start(mut self, answer: Answer) -> Result<Guard, CallFailed> {
        let body = self.body?;
        for name in [&self.client.service, &self.endpoint] {
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(CallFailed::Name { name: name.to_string() });
            }
        }
        let max = self.client.node.config().services.caller.max_request;
        if body.len() > max {
            return Err(CallFailed::TooLarge { len: body.len(), max });
        }
        let queue = self.client.queue().await?.clone();
        let is_stream = matches!(answer, Answer::Items(..));
        let longest = Duration::from_secs(24 * 60 * 60);
        let usual = if is_stream { longest } else { DEFAULT_DEADLINE };
        let mut deadline = queue.clock.now() + self.deadline.take().unwrap_or(usual).min(longest);
        let context = Context::current();
        if let Some(context) = context {
            deadline = deadline.min(queue.clock.time(context.deadline));
        }
        let trace = child(context.and_then(|context| context.trace));
        let span = tracing::debug_span!(
            "call",
            service = &*self.client.service,
            endpoint = &*self.endpoint,
            trace = %trace,
        );
        let id = queue.ids.fetch_add(1, Ordering::Relaxed);
        let call = NewCall {
            id,
            endpoint: self.endpoint,
            body,
            deadline,
            idempotent: self.idempotent,
            target: self.target,
            hedge: self.hedge,
            trace: Some(trace),
            span: span.clone(),
            answer,
        };
        let request = Request::Call(Box::new(call));
        queue.requests.send(request).instrument(span).await.map_err(|_| Closed)?;
        Ok(Guard { id, requests: queue.requests, _node: self.client.node })
    }
}

impl<R: DeserializeOwned> Calling<R> {
    /// Calls every instance that isn't draining, and waits until each has answered or failed. No
    /// call is retried.
    pub async fn every(mut self) -> Result<Vec<EveryAnswer<R>>, CallFailed> {
        self.target = Target::Every;
        let (reply, answer) = oneshot::channel();
        let guard = self.start(Answer::Every(reply)).await?;
        let answers = answer.await.map_err(|_| Closed)??;
        guard.disarm();
        let each = |(peer, result): OneOfMany| EveryAnswer {
            peer: peer_id(&peer),
            result: result.and_then(|bytes| decode(&bytes)),
        };
        Ok(answers.into_iter().map(each).collect())
    }

    /// Calls, and takes the reply item by item.
    pub async fn items(self) -> Result<Replies<R>, CallFailed> {
        let (queue, items) = mpsc::channel(MAX_UNREAD);
        let (end, ended) = oneshot::channel();
        let guard = self.start(Answer::Items(queue, end)).await?;
        Ok(Replies {
            items,
            ended: Some(ended),
            owed: Owed::new(),
            guard: Some(guard),
            kind: PhantomData,
        })
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for Calling<R> {
    type Output = Result<R, CallFailed>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Calls, and waits for the reply. Cancelling cancels the call, wherever it is by then.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let guard = self.start(Answer::One(reply)).await?;
            let answer = answer.await.map_err(|_| Closed)?;
            guard.disarm();
            decode(&answer?)
        })
    }
}

/// Cancels a call when it is dropped, unless it has ended.
struct Guard {
    id: u64,
    requests: mpsc::Sender<Request>,
    /// Whoever waits for an answer keeps the node running.
    _node: Node,
}

impl Guard {
    fn disarm(self) {
        let mut guard = self;
        // Nothing has this number.
        guard.id = u64::MAX;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.id != u64::MAX {
            // If the queue is full the deadline ends the call.
            let _ = self.requests.try_send(Request::Cancel { id: self.id });
        }
    }
}

/// What one instance answered to a call to every one.
#[derive(Clone, Debug, PartialEq)]
pub struct EveryAnswer<R> {
    /// The node.
    pub peer: PeerId,
    /// Its reply.
    pub result: Result<R, CallFailed>,
}

/// The items of a streamed reply. Dropping it cancels the call.
pub struct Replies<R> {
    items: mpsc::Receiver<Item>,
    ended: Option<oneshot::Receiver<Result<(), CallFailed>>>,
    /// Room to give back that a full queue didn't hear of, by session and attempt.
    owed: Owed,
    guard: Option<Guard>,
    kind: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Replies<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").finish_non_exhaustive()
    }
}

impl<R: DeserializeOwned> Replies<R> {
    /// The next item; `None` when the handler has sent all of them. An error is the last that
    /// comes. While nobody reads, the handler waits. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<R, CallFailed>> {
        while let Some(guard) = &self.guard {
            // Who is owed may wait for it before more is sent.
            let item = tokio::select! {
                biased;
                item = self.items.recv() => item,
                permit = guard.requests.reserve(), if !self.owed.is_empty() => {
                    if let (Some(owed), Ok(permit)) = (pay(&mut self.owed), permit) {
                        permit.send(owed);
                    }
                    continue;
                }
            };
            let Some(Item { bytes, session, attempt, credit }) = item else { break };
            self.owe(session, attempt, credit);
            return Some(decode(&bytes));
        }
        let ended = self.ended.as_mut()?.await;
        self.ended = None;
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(_) => Some(Err(Closed.into())),
        }
    }

    /// Tells the session that an item is taken, as soon as it hears.
    fn owe(&mut self, session: u64, attempt: AttemptId, credit: usize) {
        *self.owed.entry((session, attempt)).or_default() += credit;
        if let Some(guard) = &self.guard
            && let Ok(permit) = guard.requests.try_reserve()
            && let Some(owed) = pay(&mut self.owed)
        {
            permit.send(owed);
        }
    }
}

/// Room of sessions that is free again, and of which they haven't heard: one entry, unless a call
/// was moved to another instance meanwhile.
type Owed = BTreeMap<(u64, AttemptId), usize>;

/// Takes what is owed to one session.
fn pay(owed: &mut Owed) -> Option<Request> {
    let ((session, attempt), credit) = owed.pop_first()?;
    Some(Request::Consumed { session, attempt, credit })
}

/// What a reply that has ended holds of its session's room is given back, read or not. (One that
/// hasn't ended is cancelled, which does the same.)
impl<R> Drop for Replies<R> {
    fn drop(&mut self) {
        let Some(Guard { requests, .. }) = &self.guard else { return };
        let mut owed = mem::take(&mut self.owed);
        self.items.close();
        while let Ok(Item { session, attempt, credit, .. }) = self.items.try_recv() {
            *owed.entry((session, attempt)).or_default() += credit;
        }
        while let Ok(permit) = requests.try_reserve() {
            let Some(next) = pay(&mut owed) else { return };
            permit.send(next);
        }
        if let Ok(runtime) = Handle::try_current() {
            let requests = requests.clone();
            runtime.spawn(async move {
                while let Some(next) = pay(&mut owed) {
                    if requests.send(next).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}

fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, CallFailed> {
    // ciborium refuses nesting deeper than 256.
    ciborium::from_reader(bytes).map_err(|error| CallFailed::Decode { reason: error.to_string() })
}

/// The context of a call: in the caller's trace, or a new one (W3C Trace Context, section 3.2).
#[expect(clippy::disallowed_methods, reason = "ids of traces are drawn here")]
fn child(parent: Option<Trace>) -> Trace {
    let span = rand::random::<[u8; 8]>();
    match parent {
        Some(parent) => Trace { span, ..parent },
        None => Trace { trace: rand::random(), span, flags: 0 },
    }
}

/// An instance of a service, as a client on this node sees it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ServiceInstance {
    /// The node that serves.
    pub peer: PeerId,
    /// Calls of this client that it works on.
    pub in_flight: usize,
    /// Its latency as it counts for the balancer: risen at once by a slow answer, fallen slowly.
    pub latency: Option<Duration>,
    /// Whether it is left alone, as it failed again and again.
    pub is_broken: bool,
}

impl From<View> for ServiceInstance {
    fn from(view: View) -> Self {
        Self {
            peer: peer_id(&view.instance.peer),
            in_flight: view.in_flight,
            latency: view.latency,
            is_broken: view.breaker != BreakerState::Closed,
        }
    }
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailed {
    /// The handler's own error.
    #[error("the service answered with error {}: {}", .0.code, .0.message)]
    Service(Failure),
    /// The instance doesn't answer such a call: it has no such endpoint, can't read the arguments,
    /// panicked over them, or its reply is too large.
    #[error("the call failed: {0}")]
    Refused(CallError),
    /// No instance was found before the deadline.
    #[error("no instance of the service {service:?} was found; is its name right, does it run?")]
    NoInstance {
        /// The service.
        service: String,
    },
    /// All instances that could be asked are busy.
    #[error("all instances are busy; try again in {retry_after:?}")]
    Overloaded {
        /// When it makes sense to try again.
        retry_after: Duration,
    },
    /// All instances failed of late, and are left alone for a while.
    #[error("all instances failed of late; try again in {retry_after:?}")]
    Unavailable {
        /// When it makes sense to try again.
        retry_after: Duration,
    },
    /// The deadline passed. The handler may have run.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The instance was lost while it worked. The handler may have run.
    #[error("the instance was lost before it answered")]
    Lost,
    /// The instance wasn't reached. The handler hasn't run.
    #[error("the instance can't be reached: {reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// Too many calls of this client are under way.
    #[error("too many calls of this service are under way on this node; wait for some to end")]
    Busy,
    /// The arguments are too large.
    #[error("arguments have at most {max} bytes encoded, not {len}; send a blob's id instead")]
    TooLarge {
        /// Their length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Not a name.
    #[error("services and endpoints have names of 1 to {MAX_NAME} bytes, not {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// serde can't encode the arguments.
    #[error("the arguments can't be encoded as CBOR: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// The reply isn't what the caller expects.
    #[error("the reply isn't of the expected type: {reason}")]
    Decode {
        /// Why.
        reason: String,
    },
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl CallFailed {
    /// Its name in metrics.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "application_error",
            Self::NoInstance { .. } => "no_instance",
            Self::Overloaded { .. } | Self::Busy => "overloaded",
            Self::Unavailable { .. } => "unavailable",
            Self::DeadlineExceeded => "deadline",
            Self::Cancelled => "cancelled",
            _ => "failed",
        }
    }
}
