//! The network driver: owns the swarm, and does what others decide.
//!
//! One task. It turns libp2p's events into inputs of the other drivers and their outputs into
//! libp2p's calls; it owns the dialer, the budget and the table of connected peers. It never waits
//! for another driver: what a remote sends is dropped and counted when a driver's queue is full
//! (the topics' own repair brings it back), and what must not be lost is kept in order until there
//! is room, one entry per change of a connected peer.

mod blocking;
mod events;
mod providers;
mod status;
mod tell;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aether_core::{MeshId, Protocol as _, PublicKey, Time};
use bytes::Bytes;
use futures::{StreamExt as _, future::OptionFuture};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm,
    core::transport::ListenerId,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, TopicHash},
    multiaddr::Protocol,
    request_response::OutboundRequestId,
    swarm::{ConnectionId, dial_opts::DialOpts},
};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::providers::ProviderKey;
pub use self::status::{Connection, Direction, NetworkStatus};
use self::{providers::Searches, tell::Teller};
use crate::{
    access::{AccessEvent, Door},
    behaviour::Behaviour,
    clock::Clock,
    config::{Config, Preset},
    discovery::{
        self, Reach,
        book::Book,
        dialer::{Dial, Dialer},
        dns::Dns,
    },
    gossip,
    identity::{peer_id, public_key},
    metrics::Metrics,
    proto::{
        blob::finder::Here,
        budget::{self, Budget, Fault},
        envelope::TopicId,
        inbox::Verdict,
        link::Frame,
        roster,
        service::directory,
    },
    streams::{AcceptError, Opening, Stream},
};

const TICK: Duration = Duration::from_millis(500);
/// How often sources that must be asked are asked again.
const ASK_INTERVAL: Duration = Duration::from_secs(30);
/// How long a second connection to one peer may live before one of the two is closed.
const SETTLE: Duration = Duration::from_secs(3);
/// Peers whose life is remembered.
const MAX_LIVES: usize = 4096;
/// How long a peer that begins anew has to connect before it's dialed.
const LEFT_ALONE: Duration = Duration::from_secs(3);
/// How long a shutdown waits for the last frames to be acknowledged.
const DRAIN: Duration = Duration::from_secs(1);

/// What the network is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Join {
        topic: TopicId,
    },
    Leave {
        topic: TopicId,
    },
    Publish {
        topic: TopicId,
        number: u64,
        envelope: Bytes,
    },
    Verdict {
        id: [u8; 20],
        from: PublicKey,
        verdict: Verdict,
    },
    Send {
        to: PublicKey,
        frame: Frame,
    },
    Penalize {
        peer: PublicKey,
        fault: Fault,
    },
    /// A member's card, which may be news.
    Card {
        peer: PublicKey,
        life: u64,
        addresses: Vec<String>,
    },
    Dial {
        address: Multiaddr,
    },
    /// Have nothing to do with a peer. Answers whether there was room for it.
    Block {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    Unblock {
        peer: PeerId,
    },
    /// Closes all connections to a peer that may not be here.
    Cut {
        peer: PublicKey,
        why: String,
    },
    AcceptStreams {
        protocol: StreamProtocol,
        name: Arc<str>,
        queue: mpsc::Sender<Stream>,
        reply: oneshot::Sender<Result<(), AcceptError>>,
    },
    OpenStream {
        peer: PeerId,
        opening: Opening,
    },
    /// Put a provider record of this node into the routing table of the mesh, and keep it there.
    Provide {
        key: ProviderKey,
    },
    StopProviding {
        key: ProviderKey,
    },
    /// Look for provider records. The reply is dropped if there is no room for one more search.
    FindProviders {
        key: ProviderKey,
        reply: oneshot::Sender<Vec<PeerId>>,
    },
    Status {
        reply: oneshot::Sender<NetworkStatus>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// What the topics driver is told.
#[derive(Debug)]
pub(crate) enum TopicsEvent {
    Gossip { topic: TopicId, id: [u8; 20], from: PublicKey, bytes: Bytes },
    Frame { from: PublicKey, frame: Frame },
    Neighbour { topic: TopicId, peer: PublicKey },
    NotNeighbour { topic: TopicId, peer: PublicKey },
    Left { peer: PublicKey },
    Readers { topic: TopicId, count: usize },
    Handed { topic: TopicId, number: u64, outcome: Outcome },
}

/// What became of an envelope that was to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Handed to the queues of so many neighbours.
    Handed { neighbours: usize },
    /// Nobody reads the topic: try again when somebody does.
    NoReaders,
    /// Every neighbour's queue is full: they will ask for it.
    Full,
}

/// What the roster driver is told.
#[derive(Debug)]
pub(crate) enum RosterEvent {
    Message { from: PublicKey, message: roster::Message },
    Connected { peer: PublicKey },
    Disconnected { peer: PublicKey },
    Profile(roster::Profile),
}

/// What the services driver is told by the network and by the roster.
#[derive(Debug)]
pub(crate) enum ServicesEvent {
    Message { from: PublicKey, message: directory::Message },
    Connected { peer: PublicKey },
    Disconnected { peer: PublicKey },
    Member { peer: PublicKey, life: u64 },
    MemberLeft { peer: PublicKey, farewell: bool },
}

/// What the blobs driver is told by the network and by the roster.
#[derive(Debug)]
pub(crate) enum BlobsEvent {
    Here {
        from: PublicKey,
        here: Here,
    },
    /// About so many nodes are in the mesh.
    Nodes(usize),
}

/// The ways to the other drivers.
#[derive(Debug)]
pub(crate) struct Others {
    pub(crate) topics: mpsc::Sender<TopicsEvent>,
    pub(crate) roster: mpsc::Sender<RosterEvent>,
    pub(crate) services: mpsc::Sender<ServicesEvent>,
    pub(crate) blobs: mpsc::Sender<BlobsEvent>,
}

/// The other ends.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) topics: mpsc::Receiver<TopicsEvent>,
    pub(crate) roster: mpsc::Receiver<RosterEvent>,
    pub(crate) services: mpsc::Receiver<ServicesEvent>,
    pub(crate) blobs: mpsc::Receiver<BlobsEvent>,
}

impl Others {
    pub(crate) fn new() -> (Self, Told) {
        let ((topics, of_topics), (roster, of_roster)) = (mpsc::channel(512), mpsc::channel(512));
        let ((services, of_services), (blobs, of_blobs)) = (mpsc::channel(512), mpsc::channel(256));
        let told =
            Told { topics: of_topics, roster: of_roster, services: of_services, blobs: of_blobs };
        (Self { topics, roster, services, blobs }, told)
    }
}

pub(crate) struct Network {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) config: Config,
    pub(crate) mesh: MeshId,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) libp2p_metrics: libp2p::metrics::Metrics,
    pub(crate) book: Book,
    dialer: Dialer,
    dns: Option<Dns>,
    found: (mpsc::Sender<Vec<Multiaddr>>, mpsc::Receiver<Vec<Multiaddr>>),
    budget: Budget,
    /// Peers that the user wants nothing to do with.
    blocked: BTreeSet<PeerId>,
    peers: BTreeMap<PeerId, Peer>,
    /// The newest life of each peer that we heard of, at most [`MAX_LIVES`].
    lives: BTreeMap<PeerId, u64>,
    topics: BTreeMap<TopicHash, TopicId>,
    /// Verdicts that gossip isn't told yet: some turns of the loop's worth.
    verdicts: Vec<([u8; 20], PublicKey, Verdict)>,
    to_topics: Teller<TopicsEvent>,
    to_roster: Teller<RosterEvent>,
    to_services: Teller<ServicesEvent>,
    to_blobs: Teller<BlobsEvent>,
    /// In a closed mesh.
    to_access: Option<Teller<AccessEvent>>,
    searches: Searches,
    /// Who guards a closed mesh.
    door: Option<Door>,
    /// Listeners through relays; a handful.
    relays: Vec<(ListenerId, Multiaddr)>,
    relays_due: Vec<Multiaddr>,
    requests: BTreeSet<OutboundRequestId>,
    next_tick: Time,
    next_ask: Time,
    next_bootstrap: Time,
    draining: Option<(Time, oneshot::Sender<()>)>,
}

#[derive(Debug)]
struct Peer {
    key: PublicKey,
    connections: BTreeMap<ConnectionId, Link>,
    topics: BTreeSet<TopicId>,
    linked: bool,
    agent: String,
}

#[derive(Debug)]
struct Link {
    address: Multiaddr,
    dialed: bool,
    relayed: bool,
    since: Time,
}

impl Network {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        config: Config,
        parts: Parts,
        others: Others,
    ) -> Self {
        let mesh = config.genesis.mesh_id();
        let dialing = discovery::dialer::Config {
            target: config.limits.target_peers,
            max_wait: match config.preset {
                Preset::Local => Duration::from_secs(5),
                Preset::Lan | Preset::Internet | Preset::Closed => Duration::from_secs(60),
            },
            ..discovery::dialer::Config::default()
        };
        let dialer = Dialer::new(dialing, *swarm.local_peer_id(), parts.seed);
        let budget = Budget::new(config.limits.budget.clone());
        let guard = parts.guard;
        Self {
            swarm,
            mesh,
            clock: parts.clock,
            metrics: parts.metrics,
            libp2p_metrics: parts.libp2p_metrics,
            book: parts.book,
            dialer,
            dns: parts.dns,
            found: mpsc::channel(16),
            budget,
            blocked: BTreeSet::new(),
            peers: BTreeMap::new(),
            lives: BTreeMap::new(),
            topics: BTreeMap::new(),
            verdicts: Vec::new(),
            to_topics: Teller::new(others.topics),
            to_roster: Teller::new(others.roster),
            to_services: Teller::new(others.services),
            to_blobs: Teller::new(others.blobs),
            to_access: guard.as_ref().map(|guard| Teller::new(guard.told.clone())),
            searches: Searches::default(),
            door: guard.map(|guard| guard.door),
            relays: Vec::new(),
            relays_due: config.relays.clone(),
            requests: BTreeSet::new(),
            next_tick: Time::ZERO,
            next_ask: Time::ZERO,
            next_bootstrap: Time::ZERO,
            draining: None,
            config,
        }
    }

    /// Runs until it is told to stop, or nobody is left who could tell.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.begin();
        let mut batch = Vec::new();
        let guard = self.to_access.as_ref().map(Teller::queue);
        let mut aside = std::pin::pin!(tokio::task::yield_now());
        loop {
            let wake = self.budget.poll_timeout().into_iter().chain([self.next_tick]).min();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                received = commands.recv_many(&mut batch, 64) => {
                    if received == 0 {
                        break;
                    }
                    for command in batch.drain(..) {
                        self.on_command(command);
                    }
                }
                Some(addresses) = self.found.1.recv() => self.on_resolved(addresses),
                // Forwarding steps aside: a yielded task goes on once the runtime has looked at its
                // sockets, and what came in meanwhile is received before the copies go out.
                () = &mut aside, if !self.verdicts.is_empty() => {
                    aside.set(tokio::task::yield_now());
                    for (id, from, verdict) in std::mem::take(&mut self.verdicts) {
                        self.report(id, from, verdict);
                    }
                }
                () = self.to_topics.flush(), if self.to_topics.has_backlog() => {}
                () = self.to_roster.flush(), if self.to_roster.has_backlog() => {}
                () = self.to_services.flush(), if self.to_services.has_backlog() => {}
                () = self.to_blobs.flush(), if self.to_blobs.has_backlog() => {}
                Some(()) = OptionFuture::from(self.to_access.as_mut().map(Teller::flush)),
                    if self.to_access.as_ref().is_some_and(Teller::has_backlog) => {}
                // Without its guard a closed mesh's node lets nobody stay.
                Some(()) = OptionFuture::from(guard.as_ref().map(mpsc::Sender::closed)) => break,
                () = self.clock.sleep_until(wake) => self.on_tick(),
            }
            if self.is_drained() {
                break;
            }
        }
        tracing::debug!("network stopped");
    }

    fn begin(&mut self) {
        for address in self.config.external.clone() {
            self.swarm.add_external_address(address);
        }
        for (peer, address) in self.book.remembered() {
            self.dialer.found(peer, address);
        }
        let points = self.config.rendezvous.clone();
        for address in self.config.seeds.clone().into_iter().chain(points) {
            match address.iter().next() {
                Some(Protocol::Dnsaddr(name)) => self.config.dns.push(name.into_owned()),
                _ => self.dialer.seed(address),
            }
        }
        // The listeners were ready before this driver was.
        for address in self.swarm.listeners().cloned().collect::<Vec<_>>() {
            self.on_listening(address);
        }
        self.announce();
        self.on_tick();
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Join { topic } => self.join(topic),
            Command::Leave { topic } => self.leave(topic),
            Command::Publish { topic, number, envelope } => self.publish(topic, number, envelope),
            Command::Verdict { id, from, verdict } => self.verdicts.push((id, from, verdict)),
            Command::Send { to, frame } => self.send(to, &frame),
            Command::Penalize { peer, fault } => self.penalize(peer, fault),
            Command::Card { peer, life, addresses } => self.on_card(peer, life, addresses),
            Command::Dial { address } => {
                self.dialer.seed(address);
                self.dial();
            }
            Command::Block { peer, reply } => drop(reply.send(self.block(peer))),
            Command::Unblock { peer } => self.unblock(peer),
            Command::Cut { peer, why } => {
                let peer = peer_id(&peer);
                tracing::info!(%peer, why, "cut off");
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::AcceptStreams { protocol, name, queue, reply } => {
                let streams = &mut self.swarm.behaviour_mut().streams;
                let _ = reply.send(streams.accept(protocol, name, queue));
            }
            Command::OpenStream { peer, opening } => {
                let addresses = self.dialer.addresses(&peer).to_vec();
                self.swarm.behaviour_mut().streams.open(peer, addresses, opening);
            }
            Command::Provide { key } => self.provide(&key),
            Command::StopProviding { key } => self.stop_providing(&key),
            Command::FindProviders { key, reply } => self.find_providers(&key, reply),
            Command::Status { reply } => {
                let _ = reply.send(self.status());
            }
            Command::Shutdown { reply } => {
                self.draining = Some((self.clock.now() + DRAIN, reply));
            }
        }
    }

    fn is_drained(&mut self) -> bool {
        let Some((until, _)) = &self.draining else { return false };
        if !self.requests.is_empty() && self.clock.now() < *until {
            return false;
        }
        if let Some((_, reply)) = self.draining.take() {
            let _ = reply.send(());
        }
        true
    }

    fn join(&mut self, topic: TopicId) {
        let name = IdentTopic::new(topic.gossip_name());
        self.topics.insert(name.hash(), topic);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if let Err(reason) = gossip.set_topic_params(name.clone(), gossip::topic_score()) {
            tracing::warn!(reason, "topic scores are off");
        }
        if let Err(error) = gossip.subscribe(&name) {
            tracing::error!(%error, ?topic, "gossipsub refused the topic");
        }
        // Who reads it already: subscriptions came before we knew the topic.
        let hash = name.hash();
        let readers: Vec<PeerId> = gossip
            .all_peers()
            .filter(|(_, topics)| topics.contains(&&hash))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in readers {
            self.on_subscribed(peer, topic);
        }
    }

    fn leave(&mut self, topic: TopicId) {
        let name = IdentTopic::new(topic.gossip_name());
        self.swarm.behaviour_mut().gossip.unsubscribe(&name);
        self.topics.remove(&name.hash());
        for peer in self.peers.values_mut() {
            peer.topics.remove(&topic);
        }
    }

    #[tracing::instrument(level = "trace", skip(self, envelope), fields(len = envelope.len()))]
    fn publish(&mut self, topic: TopicId, number: u64, envelope: Bytes) {
        let hash = TopicHash::from_raw(topic.gossip_name());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let outcome = match gossip.publish(hash, Vec::from(envelope)) {
            Ok(_) => Outcome::Handed { neighbours: self.readers(&topic) },
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => Outcome::NoReaders,
            Err(gossipsub::PublishError::AllQueuesFull(_)) => Outcome::Full,
            Err(error) => {
                tracing::error!(%error, ?topic, "gossipsub refused an envelope");
                Outcome::Full
            }
        };
        self.to_topics.tell(TopicsEvent::Handed { topic, number, outcome });
    }

    /// The key of a connected peer.
    fn key_of(&self, peer: &PeerId) -> Option<PublicKey> {
        self.peers.get(peer).map(|peer| peer.key)
    }

    fn readers(&self, topic: &TopicId) -> usize {
        self.peers.values().filter(|peer| peer.topics.contains(topic)).count()
    }

    fn report(&mut self, id: [u8; 20], from: PublicKey, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let id = MessageId::from(id.as_slice());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(&id, &peer_id(&from), acceptance) {
            tracing::debug!("a verdict came after its message had left the cache");
        }
    }

    #[tracing::instrument(level = "trace", skip(self, frame))]
    fn send(&mut self, to: PublicKey, frame: &Frame) {
        let peer = peer_id(&to);
        if self.requests.len() >= 4096 {
            return self.metrics.drop_for("link_queue");
        }
        let known = self.peers.get(&peer);
        if known.is_some_and(|known| !known.linked) || self.budget.is_banned(&to) {
            return;
        }
        let addresses = self.dialer.addresses(&peer).to_vec();
        let link = &mut self.swarm.behaviour_mut().link;
        let request = link.send_request_with_addresses(&peer, frame.encode(), addresses);
        self.requests.insert(request);
    }

    /// For what must arrive; nothing in an open mesh.
    fn tell_access(&mut self, event: AccessEvent) {
        if let Some(access) = &mut self.to_access {
            access.tell(event);
        }
    }

    /// Tells the roster what to write on our card.
    fn announce(&mut self) {
        let addresses = self.own_addresses();
        let profile = roster::Profile {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            agent: self.config.agent.clone(),
            roles: self.config.roles.names(),
        };
        self.to_roster.tell(RosterEvent::Profile(profile));
    }

    /// Where others can reach us: confirmed addresses first.
    fn own_addresses(&self) -> Vec<Multiaddr> {
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for address in self.swarm.external_addresses().chain(self.swarm.listeners()) {
            let bare = discovery::split_peer(address.clone()).0;
            if self.is_useful(&bare) && !addresses.contains(&bare) {
                addresses.push(bare);
            }
        }
        addresses
    }

    /// Whether an address means the same to others as to us, where this node lives.
    fn is_useful(&self, address: &Multiaddr) -> bool {
        let least = match self.config.preset {
            Preset::Local => Reach::Machine,
            Preset::Lan => Reach::Local,
            Preset::Internet | Preset::Closed => Reach::Global,
        };
        discovery::reach(address) >= least
    }

    fn on_card(&mut self, peer: PublicKey, life: u64, addresses: Vec<String>) {
        let peer = peer_id(&peer);
        for address in addresses {
            if let Ok(address) = address.parse()
                && self.is_useful(&address)
            {
                self.dialer.found(peer, address);
            }
        }
        self.begin_anew(peer, life);
        self.dial();
    }

    /// A peer that was killed and is back connects before QUIC has given up on its former life.
    /// Gossipsub greets a peer on its first connection only, so the new life would never hear what
    /// we subscribe to: all connections are closed, and the next one is a first one. For the peer
    /// too, so it's the peer who makes it: one of ours could come before it knows that the others
    /// are closed.
    fn begin_anew(&mut self, peer: PeerId, life: u64) {
        let before = self.lives.insert(peer, life);
        if self.lives.len() > MAX_LIVES {
            self.lives.pop_first();
        }
        let reborn = before.is_some_and(|before| before < life);
        let connections = self.peers.get(&peer).map_or(0, |peer| peer.connections.len());
        if reborn && connections > 1 {
            tracing::debug!(%peer, "closed: it has begun a new life; the next connection is fresh");
            let _ = self.swarm.disconnect_peer_id(peer);
            self.dialer.leave_alone(peer, self.clock.now() + LEFT_ALONE);
        }
    }

    fn on_resolved(&mut self, addresses: Vec<Multiaddr>) {
        for address in addresses {
            self.dialer.seed(address);
        }
        self.dial();
    }
}

/// What a network is made of beside the swarm.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) libp2p_metrics: libp2p::metrics::Metrics,
    pub(crate) book: Book,
    pub(crate) dns: Option<Dns>,
    pub(crate) guard: Option<Guard>,
    pub(crate) seed: u64,
}

/// What stands between a closed mesh and the rest.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) door: Door,
    pub(crate) told: mpsc::Sender<AccessEvent>,
}

/// The message id that gossipsub was given by [`crate::gossip`].
fn gossip_id(id: &MessageId) -> Option<[u8; 20]> {
    id.0.as_slice().try_into().ok()
}

/// The topic id of an unknown gossip topic is of no use; a known one is looked up.
fn known_topic(topics: &BTreeMap<TopicHash, TopicId>, hash: &TopicHash) -> Option<TopicId> {
    topics.get(hash).copied()
}
