//! The node: what a program embeds.

mod closed;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aether_core::{Genesis, GenesisError, MeshId, SecretKey, wire::Reader};
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

pub use self::closed::AccessError;
use self::closed::{Gate, Guarded};
use crate::{
    access::{self, Access, Door, EnterError, TokenError},
    behaviour::Behaviour,
    clock::{Clock, wall_millis},
    config::{Config, Preset, Roles},
    discovery::{book::Book, dns::Dns},
    identity::{self, IdentityError, peer_id},
    members::{self, Member, MemberEvent, MemberEvents, Members},
    metrics::{self, Metrics, MetricsRegistry},
    network::{self, Command, Network, NetworkStatus},
    proto::roster::{Profile, Roster},
    streams::{self, AcceptError, Incoming, OpenError, Opening, Refusal, Stream},
    topic::{MAX_TOPIC_NAME, Topic, TopicError},
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
    config: Config,
    metrics: MetricsRegistry,
    network: mpsc::Sender<Command>,
    topics: mpsc::Sender<topics::Request>,
    members: mpsc::Sender<members::Request>,
    member_events: broadcast::Sender<MemberEvent>,
    /// In a closed mesh: its guard.
    gate: Option<Gate>,
    clock: Clock,
    drivers: Mutex<Option<Drivers>>,
}

struct Drivers {
    network: JoinHandle<()>,
    topics: JoinHandle<()>,
    members: JoinHandle<()>,
    access: Option<JoinHandle<()>>,
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
        let (reply, answer) = oneshot::channel();
        let request = topics::Request::Open { name: name.to_owned(), reply };
        self.inner.topics.send(request).await.map_err(|_| Closed)?;
        match answer.await.map_err(|_| Closed)? {
            Ok(shared) => Ok(Topic::new(self.clone(), shared)),
            Err(topics::TooManyTopics { max }) => Err(TopicError::TooMany { max }),
        }
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
        let unreachable = |reason: &str| OpenError::Unreachable { peer, reason: reason.to_owned() };
        if peer == self.id() {
            return Err(unreachable("it is this node itself"));
        }
        let (reply, answer) = oneshot::channel();
        let opening = Opening { protocol, reply };
        let command = Command::OpenStream { peer, opening };
        self.inner.network.send(command).await.map_err(|_| Closed)?;
        match answer.await {
            Ok(Ok((io, in_use))) => Ok(Stream::new(io, peer, name.into(), None, in_use)),
            Ok(Err(Refusal::NotTaken)) => Err(OpenError::NotTaken { peer, name: name.to_owned() }),
            Ok(Err(Refusal::Unreachable(reason))) => Err(unreachable(&reason)),
            Err(_) if self.inner.network.is_closed() => Err(Closed.into()),
            Err(_) => Err(unreachable("the connection was lost")),
        }
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

    /// The registry of metrics, of the node and of whoever registers more.
    pub fn metrics(&self) -> &MetricsRegistry {
        &self.inner.metrics
    }

    /// Stops in order: what waits in the outboxes leaves (for at most 2 seconds, and only if
    /// somebody reads it), the members are told farewell, connections are closed. Every call on
    /// any clone fails with [`Closed`] afterwards. The second call finds nothing to do.
    pub async fn shutdown(&self) {
        let drivers = self.inner.drivers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(drivers) = drivers else { return };
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
        let _ = tokio::join!(drivers.network, drivers.topics, drivers.members);
        if let Some(access) = drivers.access {
            let _ = access.await;
        }
    }

    pub(crate) fn topics(&self) -> &mpsc::Sender<topics::Request> {
        &self.inner.topics
    }
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Closed;

/// Why a node doesn't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The mesh's name can't be one.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// An address that isn't one.
    #[error("{text:?} is no multiaddress, such as /ip4/192.0.2.1/udp/4001/quic-v1")]
    Address {
        /// What was given.
        text: String,
    },
    /// Settings that can't work together.
    #[error("{0}")]
    Config(String),
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An invite that isn't one.
    #[error(transparent)]
    Token(TokenError),
    /// The mesh is closed, and the node isn't let in.
    #[error(transparent)]
    Access(#[from] EnterError),
    /// The data folder can't be used.
    #[error("can't use the data folder {}", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Can't listen where it should.
    #[error("can't listen on {address}; is the port in use, or the address not this machine's?")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses something else.
    #[error("can't set up the network")]
    Network(#[from] std::io::Error),
}

/// Settings before the start. What isn't set is the preset's.
#[derive(Debug)]
pub struct Builder {
    config: Result<Config, SpawnError>,
    key: Option<SecretKey>,
    given: access::Given,
}

impl Builder {
    /// Starts from settings that were put together otherwise.
    pub fn from_config(config: Config) -> Self {
        Self { config: Ok(config), key: None, given: access::Given::default() }
    }

    fn change(mut self, change: impl FnOnce(&mut Config) -> Result<(), SpawnError>) -> Self {
        if let Ok(config) = &mut self.config
            && let Err(error) = change(config)
        {
            self.config = Err(error);
        }
        self
    }

    /// The open mesh of this name, instead of `aether`.
    #[must_use]
    pub fn mesh(self, name: &str) -> Self {
        self.change(|config| {
            config.genesis = Genesis::open(name)?;
            Ok(())
        })
    }

    /// Keeps identity, address book and counters in this folder.
    #[must_use]
    pub fn data(self, folder: impl Into<PathBuf>) -> Self {
        self.change(|config| {
            config.data = Some(folder.into());
            Ok(())
        })
    }

    /// This identity, instead of the data folder's or a fresh one.
    #[must_use]
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Begins with this node: a multiaddress, best with a peer id at its end.
    #[must_use]
    pub fn seed(self, address: impl ToString) -> Self {
        self.change(|config| {
            config.seeds.push(parse(&address.to_string())?);
            Ok(())
        })
    }

    /// Begins with these nodes.
    #[must_use]
    pub fn seeds<A: ToString>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        addresses.into_iter().fold(self, Self::seed)
    }

    /// Listens on these addresses, instead of the preset's.
    #[must_use]
    pub fn listen<A: ToString>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.change(|config| {
            let parsed = addresses.into_iter().map(|address| parse(&address.to_string()));
            config.listen = parsed.collect::<Result<_, _>>()?;
            Ok(())
        })
    }

    /// Asks DNS for nodes under this name: `_dnsaddr` TXT and `_aether._udp`/`_tcp` SRV records.
    #[must_use]
    pub fn dns(self, name: &str) -> Self {
        self.change(|config| {
            config.dns.push(name.to_owned());
            Ok(())
        })
    }

    /// Asks this DNS server, instead of the system's.
    #[must_use]
    pub fn dns_server(self, server: SocketAddr) -> Self {
        self.change(|config| {
            config.dns_server = Some(server);
            Ok(())
        })
    }

    /// What the node does for others.
    #[must_use]
    pub fn roles(self, roles: Roles) -> Self {
        self.change(|config| {
            config.roles = roles;
            Ok(())
        })
    }

    /// Any other setting.
    #[must_use]
    pub fn configure(self, change: impl FnOnce(&mut Config)) -> Self {
        self.change(|config| {
            change(config);
            Ok(())
        })
    }

    /// Speaks these versions of the link protocol: for tests of nodes that are a release apart.
    #[doc(hidden)]
    #[must_use]
    pub fn link_versions(self, versions: Vec<u32>) -> Self {
        self.configure(|config| config.link_versions = versions)
    }

    /// Starts the node. When this returns it listens.
    pub async fn spawn(self) -> Result<Node, SpawnError> {
        let mut config = self.config?;
        config.check().map_err(SpawnError::Config)?;
        let key = match (self.key, &config.data) {
            (Some(key), _) => key,
            (None, Some(data)) => identity::load_or_create(&data.join("identity.key"))?,
            (None, None) => identity::generate()?,
        };
        let entry = access::enter(&mut config, self.given, &key)?;
        let storage = config.clone();
        let (store, life) = tokio::task::spawn_blocking(move || open_store(&storage))
            .await
            .map_err(std::io::Error::other)??;
        start(config, key, entry, store, life).await
    }
}

fn parse(text: &str) -> Result<Multiaddr, SpawnError> {
    text.parse().map_err(|_| SpawnError::Address { text: text.to_owned() })
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
    store: Store,
    life: u64,
) -> BoxFuture<'static, Result<Node, SpawnError>> {
    Box::pin(start_here(config, key, entry, store, life))
}

/// Sets up all that can fail, then runs the drivers.
async fn start_here(
    config: Config,
    key: SecretKey,
    entry: Option<access::Entry>,
    store: Store,
    life: u64,
) -> Result<Node, SpawnError> {
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
    let book = Book::open(store).map_err(|error| SpawnError::Store {
        path: config.data.clone().unwrap_or_default(),
        source: error.into(),
    })?;
    let parts = network::Parts { clock, metrics, libp2p_metrics, book, dns, guard, seed: seed() };
    Ok(run(config, key, life, swarm, parts, guarded, registry))
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
    let transport = transport::build(&keypair, relay_transport, door, registry)?;
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

/// Runs the drivers, and gives the handle that talks to them.
fn run(
    config: Config,
    key: SecretKey,
    life: u64,
    swarm: Swarm<Behaviour>,
    parts: network::Parts,
    guarded: Option<Guarded>,
    registry: Registry,
) -> Node {
    let (clock, metrics) = (parts.clock, parts.metrics.clone());
    let local = *swarm.local_peer_id();
    let mesh = config.genesis.mesh_id();
    let (network_tx, network_rx) = mpsc::channel(1024);
    let (topics_tx, topics_rx) = mpsc::channel(1024);
    let (members_tx, members_rx) = mpsc::channel(64);
    let (to_topics, topics_events) = mpsc::channel(512);
    let (to_members, members_told) = mpsc::channel(512);
    let (member_events, _) = broadcast::channel(members::MAX_UNREAD);

    let network = Network::new(swarm, config.clone(), parts, to_topics, to_members);
    let parts = topics::Parts {
        mesh,
        key: key.clone(),
        life,
        clock,
        metrics: metrics.clone(),
        network: network_tx.clone(),
        seed: seed(),
    };
    let topics = Topics::new(&config, parts);
    let profile = Profile { agent: config.agent.clone(), ..Profile::default() };
    let members = Members {
        roster: Roster::new(config.roster.clone(), mesh, key.clone(), life, profile, seed()),
        clock,
        metrics: metrics.clone(),
        network: network_tx.clone(),
        events: member_events.clone(),
    };
    let (gate, access) = guarded.map(|guarded| keep(guarded, clock, metrics, &network_tx)).unzip();
    let span = |driver| tracing::info_span!("node", peer = %local, driver);
    #[expect(clippy::disallowed_methods, reason = "shutdown joins them; they end with the handles")]
    let drivers = Drivers {
        network: tokio::spawn(network.run(network_rx).instrument(span("network"))),
        topics: tokio::spawn(topics.run(topics_rx, topics_events).instrument(span("topics"))),
        members: tokio::spawn(members.run(members_rx, members_told).instrument(span("members"))),
        access: access.map(|access| tokio::spawn(access.instrument(span("access")))),
    };
    tracing::info!(peer = %local, mesh = %mesh.short(), "node started");
    let inner = Inner {
        key,
        config,
        metrics: MetricsRegistry::new(registry),
        network: network_tx,
        topics: topics_tx,
        members: members_tx,
        member_events,
        gate,
        clock,
        drivers: Mutex::new(Some(drivers)),
    };
    Node { inner: Arc::new(inner) }
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
