//! What handles, the service and the keeper of one map share on a node.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use aether_core::{Domain, Protocol as _, PublicKey, Time};
use aether_mesh::{Client, ServeError, Serving, identity};
use ciborium::Value;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{error::PartitionError, keeping, serving};
use crate::{
    OpenError, Space,
    driver::{Part, Request, tag},
    proto::{
        id::SpaceId,
        partitions::{
            Ask, Placement, Progress, Role, Said,
            gather::{Config, Gather, Input, Output},
        },
        space::Mode,
    },
    spaces::Inner,
};

const SERVICE: Domain = Domain::new("aether 2026-11 partition service v1");

/// The endpoint of all questions.
pub(super) const ASK: &str = "ask";

/// What the keeper publishes.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) placement: Option<Arc<Placement>>,
    /// What this node is to each partition.
    pub(super) roles: Arc<Vec<Role>>,
    pub(super) progress: Progress,
}

impl Known {
    pub(super) fn role(&self, partition: u16) -> Role {
        self.roles.get(usize::from(partition)).copied().unwrap_or(Role::Stranger)
    }
}

/// See the [module](self).
pub(super) struct Shared {
    pub(super) inner: Arc<Inner>,
    pub(super) control: Space,
    pub(super) me: PublicKey,
    client: Client,
    pub(super) known: watch::Sender<Known>,
    copies: RwLock<BTreeMap<u16, Space>>,
    /// Tells the keeper of copies that were opened for hints.
    pub(super) hints: mpsc::Sender<u16>,
    begun: Instant,
}

/// A map that is open on this node. Its end is that of its service and its keeper.
pub(crate) struct Hub {
    pub(super) shared: Arc<Shared>,
    keeper: AbortHandle,
    serving: Mutex<Option<Serving>>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({:?})", self.shared.control)
    }
}

impl Hub {
    /// Opens what a control space is the control space of.
    pub(super) async fn open(inner: &Arc<Inner>, control: Space) -> Result<Self, PartitionError> {
        if control.genesis().mode() != Mode::Open {
            return Err(PartitionError::Mode);
        }
        let node = &inner.node;
        let name = service_name(&control.id());
        let (hints, told) = mpsc::channel(64);
        let shared = Arc::new(Shared {
            inner: Arc::clone(inner),
            me: node.secret_key().public(),
            client: node.client(&name),
            control,
            known: watch::Sender::default(),
            copies: RwLock::default(),
            hints,
            begun: begin(),
        });
        let serving = serve(&shared, &name).await?;
        let keeping = keeping::run(Arc::clone(&shared), told);
        #[expect(clippy::disallowed_methods, reason = "it ends with the hub")]
        let keeper = tokio::spawn(keeping).abort_handle();
        Ok(Self { shared, keeper, serving: Mutex::new(Some(serving)) })
    }

    /// Ends it while handles may be there. They give errors once the control space is left.
    pub(super) fn end(&self) {
        self.keeper.abort();
        drop(self.serving.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Offers the service. A hub that has just ended may still be taking its own back.
async fn serve(shared: &Arc<Shared>, name: &str) -> Result<Serving, PartitionError> {
    let mut tries = 0;
    loop {
        let service = serving::service(Arc::clone(shared));
        match shared.inner.node.serve(name, service).await {
            Err(ServeError::Taken { .. }) if tries < 100 => tries += 1,
            served => return served.map_err(PartitionError::Serve),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Who knows the control space finds the service, and its name tells nobody else which space that
/// is.
fn service_name(control: &SpaceId) -> String {
    let hash = SERVICE.hash(control.as_hash().as_bytes()).to_string();
    format!("pmap-{}", &hash[..32])
}

impl Shared {
    pub(super) fn now(&self) -> Time {
        let since = self.begun.elapsed();
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// The placement, waited for until the deadline.
    pub(super) async fn placement(&self, until: Time) -> Result<Arc<Placement>, PartitionError> {
        self.placement_when(until, |_| true).await
    }

    /// The placement once somebody owns something, waited for until the deadline: the list of
    /// members comes after the settings.
    pub(super) async fn owned(&self, until: Time) -> Result<Arc<Placement>, PartitionError> {
        let is_owned = |placement: &Placement| !placement.owners(0).is_empty();
        match self.placement_when(until, is_owned).await {
            Err(PartitionError::NotReady) if self.known.borrow().placement.is_some() => {
                Err(PartitionError::NoMembers)
            }
            found => found,
        }
    }

    /// The placement once it is as wanted, waited for until the deadline.
    pub(super) async fn placement_when(
        &self,
        until: Time,
        is_it: impl Fn(&Placement) -> bool,
    ) -> Result<Arc<Placement>, PartitionError> {
        if self.control.is_left() {
            return Err(OpenError::Left { name: self.control.name().to_owned() }.into());
        }
        let mut known = self.known.subscribe();
        let is_known = |known: &Known| known.placement.as_deref().is_some_and(&is_it);
        let found = tokio::time::timeout(until.since(self.now()), known.wait_for(is_known));
        let found = found.await.map_err(|_| PartitionError::NotReady)?;
        let found = found.map_err(|_| PartitionError::Closed)?.placement.clone();
        found.ok_or(PartitionError::NotReady)
    }

    pub(super) fn copy(&self, partition: u16) -> Option<Space> {
        let copies = self.copies.read().unwrap_or_else(PoisonError::into_inner);
        copies.get(&partition).filter(|copy| !copy.is_left()).cloned()
    }

    pub(super) fn keep(&self, partition: u16, copy: Space) {
        let mut copies = self.copies.write().unwrap_or_else(PoisonError::into_inner);
        copies.insert(partition, copy);
    }

    /// Forgets a copy that was dropped. `false` if there is another by now.
    pub(super) fn forget(&self, partition: u16) -> bool {
        let mut copies = self.copies.write().unwrap_or_else(PoisonError::into_inner);
        if copies.get(&partition).is_some_and(|copy| !copy.is_left()) {
            return false;
        }
        copies.remove(&partition);
        true
    }

    /// Asks the driver of spaces; nothing if the partition isn't here.
    pub(super) async fn part<T>(
        &self,
        part: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Part,
    ) -> Option<T> {
        self.inner.ask(|reply| Request::Part(part(reply))).await.ok()
    }

    /// Tells the driver of spaces something.
    pub(super) async fn tell(&self, part: Part) {
        self.control.tell(Request::Part(part)).await;
    }

    /// Asks a node of the map, this one among them. Nothing if it wasn't reached in time.
    pub(super) async fn ask(
        self: &Arc<Self>,
        peer: PublicKey,
        ask: &Ask,
        deadline: Time,
    ) -> Option<Said> {
        let left = deadline.since(self.now());
        if peer == self.me {
            let answer = Box::pin(serving::answer(self, peer, ask.clone()));
            return tokio::time::timeout(left, answer).await.ok();
        }
        // It shows that this node knows the space, to that node and nobody else.
        let proof = tag(&self.control.id(), &self.me, &peer);
        let question = Value::Bytes([&proof[..], &ask.encode()].concat());
        let call = self.client.call::<Value>(ASK, &question).peer(&identity::peer_id(&peer));
        match call.deadline(left).await {
            Ok(Value::Bytes(bytes)) => Said::decode(&bytes).ok(),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "a node of a partitioned map didn't answer");
                None
            }
        }
    }

    /// Gathers what nodes say to a question; `accept` makes of it what is wanted, or declines.
    pub(super) async fn gather<T>(
        self: &Arc<Self>,
        config: Config,
        nodes: impl IntoIterator<Item = PublicKey>,
        ask: &Ask,
        mut accept: impl FnMut(Said) -> Option<T>,
    ) -> Result<Vec<(PublicKey, T)>, usize> {
        let mut gather = Gather::new(config, nodes);
        let mut asked = FuturesUnordered::new();
        gather.handle(self.now(), Input::Timeout);
        loop {
            while let Some(output) = gather.poll_output() {
                match output {
                    Output::Ask(peer) => asked
                        .push(async move { (peer, self.ask(peer, ask, config.deadline).await) }),
                    Output::Done(said) => return Ok(said),
                    Output::Short(said) => return Err(said.len()),
                }
            }
            let wait = gather.poll_timeout().unwrap_or(Time::MAX).since(self.now());
            let input = tokio::select! {
                Some((peer, said)) = asked.next(), if !asked.is_empty() => {
                    match said.and_then(&mut accept) {
                        Some(answer) => Input::Said(peer, answer),
                        None => Input::Declined(peer),
                    }
                }
                () = tokio::time::sleep(wait) => Input::Timeout,
            };
            gather.handle(self.now(), input);
        }
    }

    /// Runs something beside, which nobody waits for.
    pub(super) fn beside(&self, future: impl Future<Output = ()> + Send + 'static) {
        let bounded = tokio::time::timeout(Duration::from_secs(10), future);
        self.control.runtime().spawn(async move { drop(bounded.await) });
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver owns the clock")]
fn begin() -> Instant {
    Instant::now()
}
