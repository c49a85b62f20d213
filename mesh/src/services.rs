//! Services: request and reply, and streams of replies, between whoever asks and whoever serves.
//!
//! - [`Service`], [`Call`], [`Items`], [`Failure`] and [`Serving`]: what a program offers.
//! - [`Client`], [`Calling`], [`Replies`] and [`CallFailed`]: what it calls.
//! - [`Context`]: what a call hands on to the calls that its handler makes.
//!
//! The driver is one task that keeps the [`directory`]. Each service that this node calls has a
//! task with its [`balancer`] and its [sessions](crate::proto::service::session), and each stream
//! on which it is called has a task with its session. A call goes from its handle to the client's
//! task, to the other node's session, to its handler, and back the same way; the directory is not
//! on it.

mod balancing;
mod bells;
mod calling;
mod client;
mod context;
mod guests;
mod haste;
mod metrics;
mod offer;
mod route;
mod service;
mod serving;
mod shop;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aether_core::{Domain, Protocol as _, PublicKey, Time};
use ciborium::Value;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{PeerId, StreamProtocol};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

pub(crate) use self::client::Queue;
use self::{
    balancing::Balancing,
    guests::Guests,
    route::{Inbound, Route},
    serving::ServerSession,
    shop::{Instance, Shop},
};
pub use self::{
    client::{
        CallFailed, Calling, Client, DEFAULT_DEADLINE, EveryAnswer, Replies, ServiceInstance,
    },
    context::Context,
    offer::{ServeError, Serving},
    service::{Call, Failure, Items, Service},
};
pub use crate::proto::service::{
    balancer::Hedge,
    frame::{CallError, Code, Trace},
};
use crate::{
    clock::wall_millis,
    framed,
    identity::{peer_id, public_key},
    network::{Command, ProviderKey, ServicesEvent},
    node::Common,
    proto::{
        budget::Fault,
        link::Frame,
        service::{
            balancer,
            directory::{self, Directory, Event, Health, Output, Refusal, TOPIC},
            frame as session_frame,
            session::{caller, server},
        },
    },
    streams::{self, Stream},
    topic::{self, Topic, TopicError},
};

const PROVIDER: Domain = Domain::new("aether 2026-11 service provider record v1");

/// How often loads are read and searches renewed.
const TICK: Duration = Duration::from_millis(250);
/// The id of each instance: a node has one of each service.
const INSTANCE_ID: u64 = 0;

/// How much a node takes on with services, and how it calls others.
#[derive(Clone, Debug)]
pub struct Config {
    /// How instances are announced and known.
    pub directory: directory::Config,
    /// How calls are spread, retried and given up.
    pub balancer: balancer::Config,
    /// What a session to an instance keeps room for.
    pub caller: caller::Config,
    /// What a session of a caller keeps room for.
    pub server: server::Config,
    /// Bytes of requests and replies of all calls that the node answers at once. What comes beyond
    /// them is refused as overload.
    pub max_room: usize,
    /// How long a shutdown waits for the calls that the node answers.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: directory::Config::default(),
            balancer: balancer::Config::default(),
            caller: caller::Config::default(),
            server: server::Config::default(),
            max_room: 64 * 1024 * 1024,
            drain: Duration::from_secs(5),
        }
    }
}

/// An instance of a service, as its node announces it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Announced {
    /// The service.
    pub service: String,
    /// The node that serves it.
    pub peer: PeerId,
    /// Its version, as it says.
    pub version: String,
    /// What can be called.
    pub endpoints: Vec<String>,
    /// `serving`, `draining` or `unhealthy`.
    pub health: String,
    /// Calls that it works on, as it last said.
    pub in_flight: u32,
    /// How many it works on at once; 0 if it sets no limit.
    pub capacity: u32,
}

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Request {
    Serve {
        name: String,
        service: Service,
        reply: oneshot::Sender<Result<(), ServeError>>,
    },
    /// The handle was dropped: like draining, and nobody waits for it.
    End {
        name: String,
    },
    /// Take nothing new, and say when nothing is under way.
    Drain {
        name: String,
        reply: oneshot::Sender<()>,
    },
    SetHealthy {
        name: String,
        is_healthy: bool,
    },
    Client {
        service: Arc<str>,
        reply: oneshot::Sender<Queue>,
    },
    List {
        reply: oneshot::Sender<Vec<Announced>>,
    },
    /// Stop in order.
    Stop {
        reply: oneshot::Sender<()>,
    },
}

pub(crate) struct Services {
    config: Config,
    common: Common,
    /// For the balancers' generators.
    seed: u64,
    metrics: metrics::Metrics,
    directory: Directory,
    shop: Arc<Shop>,
    clients: BTreeMap<Arc<str>, Known>,
    callers: JoinSet<()>,
    sessions: JoinSet<(PeerId, bool)>,
    guests: Guests,
    route: Route,
    inbound: mpsc::Receiver<Inbound>,
    draining: watch::Sender<bool>,
    drains: Vec<Draining>,
    stopping: Option<(Time, oneshot::Sender<()>)>,
    found: FuturesUnordered<BoxFuture<'static, Option<Found>>>,
    announcements: Option<Topic<Value>>,
    commands: Vec<Command>,
    next_tick: Time,
    is_over: bool,
}

/// An instance that ends when it is idle, and who waits for that.
type Draining = (Arc<Instance>, Vec<oneshot::Sender<()>>);

/// A service, and who has provider records of it.
type Found = (String, Vec<PeerId>);

/// A service that this node calls.
struct Known {
    requests: mpsc::WeakSender<balancing::Request>,
    ids: Arc<AtomicU64>,
    instances: watch::Sender<Vec<balancer::Listed>>,
    shared: Arc<balancing::Shared>,
}

/// The name of sessions on the wire.
fn protocol(mesh: &aether_core::MeshId) -> StreamProtocol {
    let name = format!("/aether/{}/service/1", mesh.short());
    StreamProtocol::try_from_owned(name).expect("begins with a slash")
}

fn provider_key(service: &str) -> ProviderKey {
    PROVIDER.hash(service.as_bytes())
}

impl Services {
    pub(crate) fn new(config: &crate::Config, common: Common, registry: &mut Registry) -> Self {
        let config = config.services.clone();
        let (mesh, key) = (common.mesh, common.key.clone());
        let me = peer_id(&key.public());
        let seed = common.seed();
        let directory = Directory::new(config.directory.clone(), mesh, key, common.life, seed);
        let (own, inbound) = mpsc::channel(16);
        let network = common.network.clone();
        let route = Route { me, protocol: protocol(&mesh), network, own };
        Self {
            metrics: metrics::Metrics::new(registry),
            directory,
            shop: Arc::new(Shop::new(config.max_room)),
            clients: BTreeMap::new(),
            callers: JoinSet::new(),
            sessions: JoinSet::new(),
            guests: Guests::default(),
            route,
            inbound,
            draining: watch::Sender::new(false),
            drains: Vec::new(),
            stopping: None,
            found: FuturesUnordered::new(),
            announcements: None,
            commands: Vec::new(),
            next_tick: Time::ZERO,
            is_over: false,
            config,
            common,
            seed,
        }
    }

    /// Runs until the network is gone or no handle is left.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut told: mpsc::Receiver<ServicesEvent>,
    ) {
        let (queue, mut streams) = mpsc::channel(streams::MAX_UNTAKEN);
        let Ok(mut announced) = self.begin(queue).await else { return };
        while !self.is_over {
            let wake = self.directory.poll_timeout().into_iter().chain([self.next_tick]).min();
            tokio::select! {
                event = told.recv() => match event {
                    None => return,
                    Some(event) => self.on_told(event),
                },
                request = requests.recv() => match request {
                    None => return,
                    Some(request) => self.on_request(request),
                },
                Some(stream) = streams.recv() => self.on_stream(stream),
                Some(inbound) = self.inbound.recv() => self.serve(inbound),
                message = announced.next_event() => self.on_announced(message),
                Some(ended) = self.sessions.join_next(), if !self.sessions.is_empty() => {
                    self.on_session_ended(ended.ok());
                }
                Some(_) = self.callers.join_next(), if !self.callers.is_empty() => {}
                Some(found) = self.found.next(), if !self.found.is_empty() => {
                    if let Some((service, peers)) = found {
                        let peers = peers.iter().filter_map(public_key).collect();
                        self.drive(Event::Found { service, peers });
                    }
                }
                () = self.common.clock.sleep_until(wake) => self.on_timeout(),
            }
            for command in self.commands.drain(..) {
                if self.common.network.send(command).await.is_err() {
                    return;
                }
            }
            self.see_to_drains();
        }
    }

    /// Takes streams, and reads the announcements.
    async fn begin(
        &mut self,
        queue: mpsc::Sender<Stream>,
    ) -> Result<topic::Subscription<Value>, TopicError> {
        let (protocol, name) = (self.route.protocol.clone(), "services".into());
        let (reply, answer) = oneshot::channel();
        let command = Command::AcceptStreams { protocol, name, queue, reply };
        if self.common.network.send(command).await.is_ok()
            && let Ok(Err(error)) = answer.await
        {
            tracing::error!(%error, "nothing can be served");
        }
        let requests = self.common.topics.clone();
        let topic = Topic::open(requests, TOPIC, self.common.max_unread, None).await?;
        let announced = topic.subscribe().await?;
        self.announcements = Some(topic.express());
        Ok(announced)
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Serve { name, service, reply } => {
                let _ = reply.send(self.on_serve(name, service));
            }
            Request::End { name } => self.drain(&name, None),
            Request::Drain { name, reply } => self.drain(&name, Some(reply)),
            Request::SetHealthy { name, is_healthy } => {
                if let Some(instance) = self.instance(&name) {
                    instance.set_healthy(is_healthy);
                    self.announce(&instance);
                }
            }
            Request::Client { service, reply } => {
                let _ = reply.send(self.client(service));
            }
            Request::List { reply } => {
                let _ = reply.send(self.directory.all().map(announced).collect());
            }
            Request::Stop { reply } => {
                self.shop.drain();
                self.draining.send_replace(true);
                self.drive(Event::Drain);
                self.stopping = Some((self.common.clock.now() + self.config.drain, reply));
            }
        }
    }

    fn instance(&self, name: &str) -> Option<Arc<Instance>> {
        self.shop.instances().into_iter().find(|instance| instance.name == name)
    }

    fn on_serve(&mut self, name: String, service: Service) -> Result<(), ServeError> {
        let instance = Arc::new(Instance::new(name, service));
        if !self.shop.add(instance.clone()) {
            return Err(ServeError::Taken { name: instance.name.clone() });
        }
        self.announce(&instance).map_or(Ok(()), |reason| {
            self.shop.remove(&instance.name);
            Err(ServeError::Refused(reason))
        })
    }

    /// Says what an instance is now. Why not, if it can't be said.
    fn announce(&mut self, instance: &Instance) -> Option<Refusal> {
        self.drive(Event::Serve(directory::Instance {
            service: instance.name.clone(),
            id: INSTANCE_ID,
            version: instance.service.version.clone(),
            endpoints: instance.service.endpoints.keys().cloned().collect(),
            health: instance.health(),
            load: instance.load(),
        }))
    }

    fn end(&mut self, name: String) {
        self.shop.remove(&name);
        self.drive(Event::End { service: name, id: INSTANCE_ID });
    }

    fn drain(&mut self, name: &str, reply: Option<oneshot::Sender<()>>) {
        let Some(instance) = self.instance(name) else { return };
        instance.drain();
        self.announce(&instance);
        match self.drains.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &instance)) {
            Some((_, replies)) => replies.extend(reply),
            None => self.drains.push((instance, Vec::from_iter(reply))),
        }
    }

    /// Instances that have finished what they had end; so does the driver, when it is to stop.
    fn see_to_drains(&mut self) {
        let done = |instance: &Instance| instance.load().in_flight == 0;
        let drains = std::mem::take(&mut self.drains).into_iter();
        let (ended, rest): (Vec<Draining>, _) = drains.partition(|(each, _)| done(each));
        self.drains = rest;
        for (instance, replies) in ended {
            self.end(instance.name.clone());
            for reply in replies {
                let _ = reply.send(());
            }
        }
        let is_idle = self.shop.instances().iter().all(|each| done(each));
        let now = self.common.clock.now();
        if let Some((_, reply)) = self.stopping.take_if(|(until, _)| is_idle || *until <= now) {
            self.drive(Event::Stop);
            self.is_over = true;
            let _ = reply.send(());
        }
    }

    fn client(&mut self, service: Arc<str>) -> Queue {
        let clock = self.common.clock;
        if let Some(known) = self.clients.get(&service)
            && let Some(requests) = known.requests.upgrade()
        {
            return Queue { requests, ids: known.ids.clone(), clock };
        }
        let (requests, asked) = mpsc::channel(1024);
        let instances = watch::Sender::new(self.listed(&service));
        let shared = Arc::<balancing::Shared>::default();
        self.seed = self.seed.wrapping_add(1);
        let balancing = Balancing::new(balancing::Parts {
            service: service.clone(),
            clock,
            metrics: self.metrics.clone(),
            balancer: self.config.balancer.clone(),
            caller: self.config.caller.clone(),
            route: self.route.clone(),
            instances: instances.subscribe(),
            shared: shared.clone(),
            seed: self.seed,
        });
        self.callers.spawn(balancing.run(asked));
        let ids = Arc::<AtomicU64>::default();
        let known = Known { requests: requests.downgrade(), ids: ids.clone(), instances, shared };
        self.clients.insert(service.clone(), known);
        self.drive(Event::Look { service: service.to_string() });
        Queue { requests, ids, clock }
    }

    /// The instances of a service as a balancer takes them.
    fn listed(&self, service: &str) -> Vec<balancer::Listed> {
        let listed = |each: directory::Listed<'_>| balancer::Listed {
            instance: balancer::InstanceId { peer: each.peer, number: each.instance.id },
            load: thousandths(each.instance.load),
            draining: !each.instance.is_live(),
        };
        self.directory.known(service).map(listed).collect()
    }

    fn on_told(&mut self, event: ServicesEvent) {
        self.drive(match event {
            ServicesEvent::Message { from, message } => Event::Message { from, message },
            ServicesEvent::Connected { peer } => Event::Connected { peer },
            ServicesEvent::Disconnected { peer } => Event::Disconnected { peer },
            ServicesEvent::Member { peer, life } => Event::Member { peer, life },
            ServicesEvent::MemberLeft { peer, farewell } => Event::MemberLeft { peer, farewell },
        });
    }

    fn on_announced(&mut self, event: Option<topic::Event<Value>>) {
        match event {
            Some(topic::Event::Message(message)) => {
                let Some(from) = public_key(&message.author) else { return };
                match message.value {
                    Value::Bytes(bytes) => {
                        self.drive(Event::Announced { from, bytes: bytes.into() });
                    }
                    _ => self.blame(from, Fault::Malformed),
                }
            }
            // What was missed is said again.
            Some(_) => {}
            None => self.is_over = true,
        }
    }

    fn blame(&mut self, peer: PublicKey, fault: Fault) {
        self.commands.push(Command::Penalize { peer, fault });
    }

    fn on_stream(&mut self, stream: Stream) {
        self.serve(Inbound { caller: stream.peer(), pipe: Box::new(stream) });
    }

    fn serve(&mut self, Inbound { caller, pipe }: Inbound) {
        let Some(place) = self.guests.enter(caller) else {
            tracing::debug!(%caller, "no room for one more session");
            return;
        };
        let parts = serving::Parts {
            shop: self.shop.clone(),
            clock: self.common.clock,
            metrics: self.metrics.clone(),
            config: self.config.server.clone(),
            draining: self.draining.subscribe(),
        };
        let session = ServerSession::new(parts, caller, pipe);
        self.sessions.spawn(async move {
            let is_faulty = session.run().await;
            drop(place);
            (caller, is_faulty)
        });
    }

    fn on_session_ended(&mut self, ended: Option<(PeerId, bool)>) {
        if let Some((caller, true)) = ended
            && let Some(peer) = public_key(&caller)
        {
            self.blame(peer, Fault::Malformed);
        }
    }

    fn on_timeout(&mut self) {
        self.drive(Event::Timeout);
        let now = self.common.clock.now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        for instance in self.shop.instances() {
            let (service, load) = (instance.name.clone(), instance.load());
            self.drive(Event::Load { service, id: INSTANCE_ID, load });
        }
        self.clients.retain(|_, known| known.requests.strong_count() > 0);
        let waiting = |known: &&Known| known.shared.waiting.load(Ordering::Relaxed) > 0;
        let looked = self.clients.iter().filter(|(_, known)| waiting(known));
        for service in looked.map(|(service, _)| service.to_string()).collect::<Vec<_>>() {
            self.drive(Event::Look { service });
        }
        self.set_metrics();
    }

    fn set_metrics(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let live = self.directory.all().filter(|listed| listed.instance.is_live());
        self.metrics.instances.set(gauge(live.count()));
        self.metrics.sessions.set(gauge(self.sessions.len()));
        self.metrics.room_bytes.set(gauge(self.shop.used()));
    }

    /// Tells the directory, and does what it wants. Why an instance of ours isn't served, if so.
    fn drive(&mut self, event: Event) -> Option<Refusal> {
        let input = directory::Input { wall: wall_millis(), event };
        self.directory.handle(self.common.clock.now(), input);
        let mut refusal = None;
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Announce(bytes) => self.publish(&bytes),
                Output::Send { to, message } => {
                    self.commands.push(Command::Send { to, frame: Frame::Services(message) });
                }
                Output::Changed { service } => {
                    if let Some(known) = self.clients.get(service.as_str()) {
                        known.instances.send_replace(self.listed(&service));
                    }
                }
                Output::Refused { reason, .. } => refusal = Some(reason),
                Output::Provide { service } => {
                    self.commands.push(Command::Provide { key: provider_key(&service) });
                }
                Output::StopProviding { service } => {
                    self.commands.push(Command::StopProviding { key: provider_key(&service) });
                }
                Output::Find { service } => self.find(service),
                Output::Fault { peer, fault } => self.blame(peer, fault),
            }
        }
        refusal
    }

    fn publish(&self, bytes: &[u8]) {
        let Some(topic) = &self.announcements else { return };
        if let Err(error) = topic.try_publish(&Value::Bytes(bytes.to_vec())) {
            // The next one says the same and more.
            tracing::debug!(%error, "an announcement wasn't published");
        }
    }

    fn find(&mut self, service: String) {
        let (reply, answer) = oneshot::channel();
        let key = provider_key(&service);
        self.commands.push(Command::FindProviders { key, reply });
        self.found.push(Box::pin(async move { Some((service, answer.await.ok()?)) }));
    }
}

/// A load in thousandths of the capacity.
fn thousandths(load: directory::Load) -> u32 {
    let full = u64::from(load.capacity.max(1));
    u32::try_from(u64::from(load.in_flight) * 1000 / full).unwrap_or(u32::MAX)
}

fn announced(listed: directory::Listed<'_>) -> Announced {
    let instance = listed.instance;
    let health = match instance.health {
        Health::Serving => "serving",
        Health::Draining => "draining",
        Health::Unhealthy => "unhealthy",
    };
    Announced {
        service: instance.service.clone(),
        peer: peer_id(&listed.peer),
        version: instance.version.clone(),
        endpoints: instance.endpoints.clone(),
        health: health.to_owned(),
        in_flight: instance.load.in_flight,
        capacity: instance.load.capacity,
    }
}

impl framed::Frame for session_frame::Frame {
    type Error = session_frame::FrameError;

    fn encode(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode(buffer: &mut bytes::BytesMut) -> Result<Option<Self>, Self::Error> {
        Self::decode(buffer)
    }

    fn weight(&self) -> usize {
        self.weight()
    }
}
