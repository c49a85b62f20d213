//! The node: what a program embeds.

mod builder;
mod closed;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aether_core::{MeshId, SecretKey, wire::Reader};
use aether_store::{Batch, Durability, Options, Store};
use futures::{StreamExt as _, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    relay,
    swarm::{self, SwarmEvent},
};
use prometheus_client::registry::Registry;
use rand::Rng as _;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
};
use tracing::Instrument as _;

use self::closed::{Gate, Guarded};
pub use self::{
    builder::{Builder, SpawnError},
    closed::AccessError,
};
use crate::{
    access::{self, Access, Door, EnterError},
    behaviour::Behaviour,
    blobs::{self, BlobStore, Blobs},
    clock::{Clock, wall_millis},
    config::{Config, Preset},
    discovery::{book::Book, dns::Dns},
    identity::{self, peer_id},
    members::{self, Member, MemberEvent, MemberEvents, Members},
    metrics::{self, Metrics, MetricsRegistry},
    network::{self, BlobsEvent, Command, Network, NetworkStatus, ServicesEvent},
    proto::roster::{Profile, Roster},
    services::{self, Announced, Client, ServeError, Service, Services, Serving},
    streams::{self, AcceptError, Incoming, OpenError, Stream},
    topic::{self, Large, MAX_TOPIC_NAME, OWN_TOPICS, Topic, TopicError},
    topics::{self, Topics},
    transport,
};

/// How long a start waits for its listeners to be ready.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a shutdown waits for messages in the outbox to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// A member of a mesh.
///
/// Cloning is cheap. The node stops when its last clone, topic and subscription are dropped, or in
/// order by [`shutdown`](Self::shutdown). It needs a tokio runtime, of either flavour.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// The topics and roster drivers hold the network's queue: when the handles are gone they end, and
/// the network with them.
struct Inner {
    key: SecretKey,
    store: Store,
    config: Config,
    metrics: MetricsRegistry,
    network: mpsc::Sender<Command>,
    topics: mpsc::Sender<topics::Request>,
    members: mpsc::Sender<members::Request>,
    services: mpsc::Sender<services::Request>,
    blobs: mpsc::Sender<blobs::Request>,
    blob_store: BlobStore,
    large: Large,
    member_events: broadcast::Sender<MemberEvent>,
    /// In a closed mesh: its guard.
    gate: Option<Gate>,
    clock: Clock,
    /// The drivers' tasks, until a shutdown takes them.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.id())
    }
}

impl Node {
    /// Starts a node with the settings of a preset, in the open mesh named `aether`, with an
    /// identity that lasts as long as it runs.
    pub async fn spawn(preset: Preset) -> Result<Self, SpawnError> {
        Self::builder(preset).spawn().await
    }

    /// Changes settings before the start.
    pub fn builder(preset: Preset) -> Builder {
        Builder::from_config(Config::new(preset))
    }

    /// The node's name: libp2p's peer id of its key.
    pub fn id(&self) -> PeerId {
        peer_id(&self.inner.key.public())
    }

    /// The mesh that the node is part of.
    pub fn mesh(&self) -> MeshId {
        self.inner.config.genesis.mesh_id()
    }

    /// The node's own key, for what is signed in its name above the mesh.
    pub fn secret_key(&self) -> &SecretKey {
        &self.inner.key
    }

    /// The node's store, for what is kept above the mesh: in the folder of its data, or without
    /// one a [temporary](Store::temporary) one. Names of keyspaces and logs are shared by all.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The settings that it was started with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Joins a topic. Joining it again gives another handle of the same; the type of its messages
    /// is the program's own agreement.
    pub async fn topic<T>(&self, name: &str) -> Result<Topic<T>, TopicError> {
        if name.is_empty() || name.len() > MAX_TOPIC_NAME {
            return Err(TopicError::Name { len: name.len() });
        }
        if name.starts_with(OWN_TOPICS) {
            return Err(TopicError::Reserved);
        }
        let max_unread = self.inner.config.limits.max_unread;
        Topic::open(self.inner.topics.clone(), name, max_unread, Some(self.clone())).await
    }

    /// The names of the topics that are joined.
    pub async fn topics_joined(&self) -> Result<Vec<String>, Closed> {
        let (reply, answer) = oneshot::channel();
        self.inner.topics.send(topics::Request::Names { reply }).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    /// Takes the streams that others open under this name, from now on and until the result is
    /// dropped. It is the program's own agreement what is said on them.
    ///
    /// A peer may have 128 streams open here, and 64 wait to be taken; what comes beyond them is
    /// ended at once and counted in the metrics.
    pub async fn accept_streams(&self, name: &str) -> Result<Incoming, AcceptError> {
        let protocol = streams::protocol(&self.mesh(), name)
            .ok_or_else(|| AcceptError::Name { name: name.to_owned() })?;
        let (queue, incoming) = mpsc::channel(streams::MAX_UNTAKEN);
        let (reply, answer) = oneshot::channel();
        let command = Command::AcceptStreams { protocol, name: name.into(), queue, reply };
        self.inner.network.send(command).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)??;
        Ok(Incoming::new(incoming, self.clone()))
    }

    /// Opens a stream to a peer that takes streams of this name. One that isn't connected is
    /// dialed, where the roster or discovery knows its addresses.
    ///
    /// It takes a round trip, or a dial of at most 10 seconds. Cancelling leaves nothing open.
    pub async fn open_stream(&self, peer: PeerId, name: &str) -> Result<Stream, OpenError> {
        let protocol = streams::protocol(&self.mesh(), name)
            .ok_or_else(|| OpenError::Name { name: name.to_owned() })?;
        if peer == self.id() {
            let reason = "it is this node itself".to_owned();
            return Err(OpenError::Unreachable { peer, reason });
        }
        streams::open(&self.inner.network, peer, protocol, name).await
    }

    /// Offers a service under this name to every node of the mesh, this one too.
    ///
    /// Others learn of it within a moment, by gossip; who joins later asks its neighbours. There
    /// may be as many instances of a service as there are nodes, and none is special.
    pub async fn serve(&self, name: &str, service: Service) -> Result<Serving, ServeError> {
        let (reply, answer) = oneshot::channel();
        let request = services::Request::Serve { name: name.to_owned(), service, reply };
        self.inner.services.send(request).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)??;
        Ok(Serving::new(name.to_owned(), self.inner.services.clone(), self.clone()))
    }

    /// A client of the service of this name, wherever it is served.
    pub fn client(&self, service: &str) -> Client {
        Client::new(self.clone(), service)
    }

    /// The node's blobs: content by its hash, kept here and fetched from others.
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.clone(), self.inner.blob_store.clone(), self.inner.blobs.clone())
    }

    /// The large messages of topics.
    pub(crate) fn large(&self) -> &Large {
        &self.inner.large
    }

    /// All instances of all services that are known here, whatever their health.
    pub async fn services(&self) -> Result<Vec<Announced>, Closed> {
        let (reply, answer) = oneshot::channel();
        let request = services::Request::List { reply };
        self.inner.services.send(request).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    /// The other members that are alive, as this node sees it.
    pub async fn members(&self) -> Result<Vec<Member>, Closed> {
        let (reply, answer) = oneshot::channel();
        self.inner.members.send(members::Request::List { reply }).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    /// Changes among the members from now on.
    pub fn member_events(&self) -> MemberEvents {
        MemberEvents(self.inner.member_events.subscribe())
    }

    /// Addresses that others reach this node at, with its peer id: what another's seed may be.
    pub async fn addresses(&self) -> Result<Vec<Multiaddr>, Closed> {
        Ok(self.status().await?.addresses)
    }

    /// Addresses and connections as they are now.
    pub async fn status(&self) -> Result<NetworkStatus, Closed> {
        let (reply, answer) = oneshot::channel();
        self.inner.network.send(Command::Status { reply }).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    /// Takes an address for a seed from now on, and dials it if peers are still looked for.
    pub async fn dial(&self, address: Multiaddr) -> Result<(), Closed> {
        self.inner.network.send(Command::Dial { address }).await.map_err(|_| Closed)
    }

    /// Has nothing to do with a peer from now on: closes the connections to it and makes none,
    /// until it is [unblocked](Self::unblock) or the node stops. What it wrote still comes, by way
    /// of others. Up to 4,096 peers can be blocked.
    ///
    /// # Errors
    /// That many are; or the node has stopped.
    pub async fn block(&self, peer: PeerId) -> Result<(), BlockError> {
        let (reply, answer) = oneshot::channel();
        self.inner.network.send(Command::Block { peer, reply }).await.map_err(|_| Closed)?;
        if answer.await.map_err(|_| Closed)? { Ok(()) } else { Err(BlockError::TooMany) }
    }

    /// Takes a block away.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn unblock(&self, peer: PeerId) -> Result<(), Closed> {
        self.inner.network.send(Command::Unblock { peer }).await.map_err(|_| Closed)
    }

    /// The registry of metrics, of the node and of whoever registers more.
    pub fn metrics(&self) -> &MetricsRegistry {
        &self.inner.metrics
    }

    /// Stops in order: the node's services take nothing new, and what they have begun is finished
    /// (for at most 5 seconds); what waits in the outboxes leaves (for at most 2 seconds, and only
    /// if somebody reads it), the members are told farewell, connections are closed. Every call on
    /// any clone fails with [`Closed`] afterwards. The second call finds nothing to do.
    pub async fn shutdown(&self) {
        let tasks = &self.inner.tasks;
        let tasks = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if tasks.is_empty() {
            return;
        }
        let (reply, drained) = oneshot::channel();
        if self.inner.services.send(services::Request::Stop { reply }).await.is_ok() {
            let _ = drained.await;
        }
        let (reply, flushed) = oneshot::channel();
        let until = self.inner.clock.now() + FLUSH;
        let request = topics::Request::Flush { until, reply };
        if self.inner.topics.send(request).await.is_ok() {
            let _ = flushed.await;
        }
        let (reply, left) = oneshot::channel();
        if self.inner.members.send(members::Request::Leave { reply }).await.is_ok() {
            let _ = left.await;
        }
        let (reply, stopped) = oneshot::channel();
        if self.inner.network.send(Command::Shutdown { reply }).await.is_ok() {
            let _ = stopped.await;
        }
        // The network is gone, so the others end; a panic in one of them was logged by tokio.
        for task in tasks {
            let _ = task.await;
        }
    }

    pub(crate) async fn open_client(&self, service: Arc<str>) -> Result<services::Queue, Closed> {
        let (reply, answer) = oneshot::channel();
        let request = services::Request::Client { service, reply };
        self.inner.services.send(request).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Closed;

/// Why a peer isn't blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// So many are that no more can be.
    #[error("4,096 peers are blocked, and no more can be; unblock some")]
    TooMany,
}

/// What a node keeps on disk.
struct Opened {
    store: Store,
    life: u64,
    blobs: BlobStore,
}

impl Opened {
    fn open(config: &Config) -> Result<Self, SpawnError> {
        let (store, life) = open_store(config)?;
        let opened = match &config.data {
            Some(data) => BlobStore::open(&data.join("blobs"), config.blobs.store),
            None => BlobStore::temporary(config.blobs.store),
        };
        let blobs = opened.map_err(|error| SpawnError::Store {
            path: config.data.clone().unwrap_or_else(std::env::temp_dir).join("blobs"),
            source: error.into(),
        })?;
        topic::forget_left(&blobs);
        Ok(Self { store, life, blobs })
    }
}

/// Opens the node's store and counts up its life: later than every one before, and than the clock
/// if that is behind.
fn open_store(config: &Config) -> Result<(Store, u64), SpawnError> {
    let path = config.data.as_ref().map(|data| data.join("store"));
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SpawnError::Store {
        path: config.data.clone().unwrap_or_default(),
        source,
    };
    let store = match &path {
        Some(path) => Store::open(path, Options::default()),
        None => Store::temporary(Options::default()),
    };
    let store = store.map_err(|error| failed(error.into()))?;
    let opened = store.log("lives").map_err(|error| failed(error.into()))?;
    let last = opened.records.last().and_then(|record| Reader::new(record).u64().ok());
    let life = wall_millis().max(last.map_or(0, |last| last.saturating_add(1)));
    let mut batch = Batch::new();
    batch.rewrite(&opened.log, vec![life.to_be_bytes().to_vec()]);
    store.commit(batch, Durability::Synced).wait().map_err(|error| failed(error.into()))?;
    Ok((store, life))
}

/// Starts the drivers. Boxed, so that the whole swarm is compiled here, once, and not again in each
/// program that starts a node.
fn start(
    config: Config,
    key: SecretKey,
    entry: Option<access::Entry>,
    opened: Opened,
) -> BoxFuture<'static, Result<Node, SpawnError>> {
    Box::pin(start_here(config, key, entry, opened))
}

/// Sets up all that can fail, then runs the drivers.
async fn start_here(
    config: Config,
    key: SecretKey,
    entry: Option<access::Entry>,
    opened: Opened,
) -> Result<Node, SpawnError> {
    let Opened { store, life, blobs } = opened;
    let clock = Clock::start();
    let mut registry = Registry::default();
    let guarded = entry.map(|entry| guard(entry, &config, &key, &store, clock)).transpose()?;
    let (guarded, guard) = guarded.unzip();
    let door = guard.as_ref().map(|guard: &network::Guard| guard.door.clone());
    let mut swarm = build_swarm(&config, &key, door, &mut registry)?;
    let metrics = Metrics::new(&mut registry);
    let libp2p_metrics = metrics::libp2p(&mut registry);
    listen(&mut swarm, &config.listen).await?;
    let dns = resolver(&config);
    let book = Book::open(store.clone()).map_err(|error| SpawnError::Store {
        path: config.data.clone().unwrap_or_default(),
        source: error.into(),
    })?;
    let parts = network::Parts { clock, metrics, libp2p_metrics, book, dns, guard, seed: seed() };
    Ok(run(config, (key, store), (life, blobs), swarm, parts, guarded, registry))
}

/// Sets up what guards a node of a closed mesh.
fn guard(
    entry: access::Entry,
    config: &Config,
    key: &SecretKey,
    store: &Store,
    clock: Clock,
) -> Result<(Guarded, network::Guard), SpawnError> {
    let data = config.data.as_deref();
    let opened = access::open(entry, &config.access, key, store, data, clock);
    let (keeper, door, memory) = opened.map_err(|error| match error {
        access::OpenError::Refused(refusal) => EnterError::Refused(refusal).into(),
        access::OpenError::File(error) => EnterError::File(error).into(),
        access::OpenError::Store(error) => SpawnError::Store {
            path: config.data.clone().unwrap_or_default(),
            source: error.into(),
        },
    })?;
    let (tell, told) = mpsc::channel(512);
    let guard = network::Guard { door: door.clone(), told: tell };
    Ok((Guarded { keeper, door, memory, told }, guard))
}

fn build_swarm(
    config: &Config,
    key: &SecretKey,
    door: Option<Door>,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, SpawnError> {
    let keypair = identity::keypair(key);
    let local = keypair.public().to_peer_id();
    let (relay_transport, relay_client) = relay::client::new(local);
    let transport = transport::build(&keypair, relay_transport, door, &config.limits, registry)?;
    let behaviour = Behaviour::new(config, &keypair, relay_client, registry)?;
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.idle_timeout())
        .with_smart_dial();
    Ok(Swarm::new(transport, behaviour, local, swarm_config))
}

fn resolver(config: &Config) -> Option<Dns> {
    match Dns::new(config.dns_server) {
        Ok(dns) => Some(dns),
        Err(error) => {
            tracing::warn!(%error, "no DNS: names lead to no nodes");
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the protocols' generators are seeded here")]
fn seed() -> u64 {
    rand::rng().next_u64()
}

/// What the drivers above the network have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) mesh: MeshId,
    pub(crate) key: SecretKey,
    pub(crate) life: u64,
    pub(crate) clock: Clock,
    pub(crate) network: mpsc::Sender<Command>,
    pub(crate) topics: mpsc::Sender<topics::Request>,
    pub(crate) max_unread: usize,
}

impl Common {
    #[expect(clippy::disallowed_methods, reason = "the protocols' generators are seeded here")]
    pub(crate) fn seed(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// Runs the drivers, and gives the handle that talks to them.
fn run(
    config: Config,
    (key, store): (SecretKey, Store),
    (life, blob_store): (u64, BlobStore),
    swarm: Swarm<Behaviour>,
    parts: network::Parts,
    guarded: Option<Guarded>,
    mut registry: Registry,
) -> Node {
    let (clock, metrics, large) = (parts.clock, parts.metrics.clone(), config.limits.max_large);
    let local = *swarm.local_peer_id();
    let (network_tx, network_rx) = mpsc::channel(1024);
    let (topics_tx, topics_rx) = mpsc::channel(1024);
    let (members_tx, members_rx) = mpsc::channel(64);
    let (services_tx, services_rx) = mpsc::channel(256);
    let (blobs_tx, blobs_rx) = mpsc::channel(256);
    let (others, told) = network::Others::new();
    let to_others = (others.services.clone(), others.blobs.clone());
    let (member_events, _) = broadcast::channel(members::MAX_UNREAD);

    let common = Common {
        mesh: config.genesis.mesh_id(),
        key: key.clone(),
        life,
        clock,
        network: network_tx.clone(),
        topics: topics_tx.clone(),
        max_unread: config.limits.max_unread,
    };
    let network = Network::new(swarm, config.clone(), parts, others);
    let topics = Topics::new(&config, &common, metrics.clone());
    let services = Services::new(&config, common.clone(), &mut registry);
    let blobs = blobs::Driver::new(&config, common.clone(), blob_store.clone(), &mut registry);
    let members = members(&config, &common, &metrics, &member_events, to_others);
    let (gate, access) = guarded.map(|guarded| keep(guarded, clock, metrics, &network_tx)).unzip();
    let mut drivers: Vec<(&'static str, BoxFuture<'static, ()>)> = vec![
        ("network", Box::pin(network.run(network_rx))),
        ("topics", Box::pin(topics.run(topics_rx, told.topics))),
        ("members", Box::pin(members.run(members_rx, told.roster))),
        ("services", Box::pin(services.run(services_rx, told.services))),
        ("blobs", Box::pin(blobs.run(blobs_rx, told.blobs))),
    ];
    if let Some(access) = access {
        drivers.push(("access", Box::pin(access)));
    }
    #[expect(clippy::disallowed_methods, reason = "shutdown joins them; they end with the handles")]
    let spawn = |(name, driver): (&'static str, BoxFuture<'static, ()>)| {
        tokio::spawn(driver.instrument(tracing::info_span!("node", peer = %local, driver = name)))
    };
    let tasks = drivers.into_iter().map(spawn).collect();
    tracing::info!(peer = %local, mesh = %common.mesh.short(), "node started");
    let inner = Inner {
        key,
        store,
        config,
        metrics: MetricsRegistry::new(registry),
        network: network_tx,
        topics: topics_tx,
        members: members_tx,
        services: services_tx,
        blobs: blobs_tx,
        large: Large::new(large),
        blob_store,
        member_events,
        gate,
        clock,
        tasks: Mutex::new(tasks),
    };
    Node { inner: Arc::new(inner) }
}

/// The roster driver of a node that knows nobody.
fn members(
    config: &Config,
    common: &Common,
    metrics: &Metrics,
    events: &broadcast::Sender<MemberEvent>,
    (services, blobs): (mpsc::Sender<ServicesEvent>, mpsc::Sender<BlobsEvent>),
) -> Members {
    let profile = Profile { agent: config.agent.clone(), ..Profile::default() };
    let (roster, key) = (config.roster.clone(), common.key.clone());
    Members {
        roster: Roster::new(roster, common.mesh, key, common.life, profile, common.seed()),
        clock: common.clock,
        metrics: metrics.clone(),
        network: common.network.clone(),
        events: events.clone(),
        services,
        blobs,
    }
}

/// The access driver, and the gate that talks to it.
fn keep(
    guarded: Guarded,
    clock: Clock,
    metrics: Metrics,
    network: &mpsc::Sender<Command>,
) -> (Gate, impl Future<Output = ()> + use<>) {
    let Guarded { keeper, door, memory, told } = guarded;
    let (requests, asked) = mpsc::channel(16);
    let gate = Gate { door: door.clone(), requests };
    let access = Access { keeper, door, memory, clock, metrics, network: network.clone() };
    (gate, access.run(asked, told))
}

/// libp2p's TCP listeners share a port with whoever listens there already (`SO_REUSEPORT`, for hole
/// punching), and half the connections would go astray in silence: a port is tried without first.
fn refuse_taken_port(address: &Multiaddr) -> std::io::Result<()> {
    use libp2p::multiaddr::Protocol;
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => std::net::IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => std::net::IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => std::net::TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Listens on all addresses, and waits until each listener is ready, so that whoever asks for the
/// node's addresses gets them.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<(), SpawnError> {
    let mut waiting: Vec<(ListenerId, Multiaddr)> = Vec::new();
    for address in addresses {
        let failed = |source| SpawnError::Listen { address: address.clone(), source };
        refuse_taken_port(address).map_err(failed)?;
        let listener = swarm.listen_on(address.clone()).map_err(|error| match error {
            libp2p::TransportError::MultiaddrNotSupported(_) => {
                failed(std::io::Error::other("no transport of this node listens there"))
            }
            libp2p::TransportError::Other(source) => failed(source),
        })?;
        waiting.push((listener, address.clone()));
    }
    let ready = async {
        while !waiting.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.retain(|(listener, _)| *listener != listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(source), .. } => {
                    let failed = waiting.iter().find(|(listener, _)| *listener == listener_id);
                    if let Some((_, address)) = failed {
                        return Err(SpawnError::Listen { address: address.clone(), source });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    };
    match tokio::time::timeout(LISTEN_TIMEOUT, ready).await {
        Ok(result) => result,
        // An interface without an address is no reason not to start.
        Err(_) => {
            tracing::warn!("some listeners are not ready yet");
            Ok(())
        }
    }
}
