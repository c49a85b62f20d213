//! All connections' part in streams: who takes which, and on which connection one is opened.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour,
        NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure},
        dial_opts::DialOpts,
    },
};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    AcceptError, MAX_NAMES, Stream,
    handler::{Handler, Offer, Opened, Opening, Refusal},
};

/// Streams that wait for a connection, all peers together.
const MAX_WAITING: usize = 1024;

/// For so many ticks an address is waited for of a peer of which none is known.
const PATIENCE: u32 = 4;

/// What the network driver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A stream was ended because the program doesn't take them fast enough.
    Untaken,
    /// A stream was ended because its peer has too many.
    OverLimit,
}

type Action = ToSwarm<Event, Opening>;

pub(crate) struct Behaviour {
    /// Streams that each peer may have open here.
    max_streams: usize,
    /// By protocol.
    takers: BTreeMap<String, Taker>,
    /// The protocols of those, as connections see them.
    offer: watch::Sender<Offer>,
    peers: BTreeMap<PeerId, Peer>,
    /// What is to be opened once a connection is there.
    waiting: BTreeMap<PeerId, Vec<Opening>>,
    /// Those of which no address is known, and for how many ticks. That a peer serves something may
    /// be heard a little before where it is.
    unknown: BTreeMap<PeerId, u32>,
    actions: VecDeque<Action>,
    waker: Option<Waker>,
}

struct Taker {
    protocol: StreamProtocol,
    name: Arc<str>,
    queue: mpsc::Sender<Stream>,
}

struct Peer {
    connections: BTreeMap<ConnectionId, Connection>,
    /// Room for streams that it opens.
    room: Arc<Semaphore>,
}

struct Connection {
    relayed: bool,
    /// Held by each of its streams, by its handler, and here.
    in_use: Arc<()>,
}

impl Connection {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.in_use) <= 2
    }
}

impl Behaviour {
    pub(crate) fn new(max_streams: usize) -> Self {
        Self {
            max_streams,
            takers: BTreeMap::new(),
            offer: watch::Sender::new(Vec::new().into()),
            peers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            unknown: BTreeMap::new(),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Streams under this protocol go to the queue from now on.
    pub(crate) fn accept(
        &mut self,
        protocol: StreamProtocol,
        name: Arc<str>,
        queue: mpsc::Sender<Stream>,
    ) -> Result<(), AcceptError> {
        self.forget_gone();
        if self.takers.contains_key(protocol.as_ref()) {
            return Err(AcceptError::Taken { name: name.as_ref().to_owned() });
        }
        if self.takers.len() >= MAX_NAMES {
            return Err(AcceptError::TooMany);
        }
        let key = protocol.as_ref().to_owned();
        self.takers.insert(key, Taker { protocol, name, queue });
        self.tell_offer();
        Ok(())
    }

    /// No longer offers what nobody takes any more.
    fn forget_gone(&mut self) {
        let before = self.takers.len();
        self.takers.retain(|_, taker| !taker.queue.is_closed());
        if self.takers.len() < before {
            self.tell_offer();
        }
    }

    /// Opens a stream, dialing the peer if it isn't connected. If nobody knows an address of it,
    /// one is waited for, for a second or two.
    pub(crate) fn open(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, opening: Opening) {
        if let Some(connection) = self.best_connection(&peer) {
            let handler = NotifyHandler::One(connection);
            let event = opening;
            return self.act(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() >= MAX_WAITING {
            let reason = format!("{MAX_WAITING} streams wait for connections already");
            let _ = opening.reply.send(Err(Refusal::Unreachable(reason)));
            return;
        }
        self.waiting.entry(peer).or_default().push(opening);
        self.dial(peer, addresses);
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let opts = DialOpts::peer_id(peer).addresses(addresses);
        let opts = opts.extend_addresses_through_behaviour().build();
        self.act(ToSwarm::Dial { opts });
    }

    /// Dials those again of which an address has become known.
    pub(crate) fn dial_found<'a>(&mut self, addresses: impl Fn(&PeerId) -> &'a [Multiaddr]) {
        for peer in self.unknown.keys().copied().collect::<Vec<_>>() {
            let found = addresses(&peer);
            if !found.is_empty() {
                self.unknown.remove(&peer);
                self.dial(peer, found.to_vec());
            }
        }
    }

    /// To be called on every tick of the network: gives up on peers of which no address was found.
    pub(crate) fn on_tick(&mut self) {
        self.forget_gone();
        let waiting = &mut self.waiting;
        self.unknown.retain(|peer, ticks| {
            *ticks += 1;
            if *ticks > PATIENCE {
                refuse(waiting.remove(peer), "no address of it is known");
            }
            *ticks <= PATIENCE
        });
    }

    /// Whether no stream is open on a connection.
    pub(crate) fn is_idle(&self, peer: &PeerId, connection: &ConnectionId) -> bool {
        let peer = self.peers.get(peer);
        peer.and_then(|peer| peer.connections.get(connection)).is_none_or(Connection::is_idle)
    }

    /// Whether a peer has any stream open.
    pub(crate) fn has_streams(&self, peer: &PeerId) -> bool {
        let peer = self.peers.get(peer);
        peer.is_some_and(|peer| !peer.connections.values().all(Connection::is_idle))
    }

    /// A direct connection before a relayed one, then the oldest.
    fn best_connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        let connections = &self.peers.get(peer)?.connections;
        connections.iter().min_by_key(|(id, c)| (c.relayed, **id)).map(|(id, _)| *id)
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn tell_offer(&self) {
        let protocols = self.takers.values().map(|taker| taker.protocol.clone());
        self.offer.send_replace(protocols.collect::<Vec<_>>().into());
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, relayed: bool) -> Handler {
        let max_streams = self.max_streams;
        let (in_use, offer) = (Arc::new(()), self.offer.subscribe());
        let state = self.peers.entry(peer).or_insert_with(|| Peer {
            connections: BTreeMap::new(),
            room: Arc::new(Semaphore::new(max_streams)),
        });
        state.connections.insert(connection, Connection { relayed, in_use: in_use.clone() });
        Handler::new(offer, in_use)
    }

    fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.connections.remove(&connection);
        if state.connections.is_empty() {
            self.peers.remove(&peer);
        }
    }

    fn open_waiting(&mut self, peer: PeerId) {
        self.unknown.remove(&peer);
        for opening in self.waiting.remove(&peer).into_iter().flatten() {
            self.open(peer, Vec::new(), opening);
        }
    }

    fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        // Somebody else dials it already, or it is connected by now: that is waited for.
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        if matches!(error, DialError::NoAddresses) && self.waiting.contains_key(&peer) {
            self.unknown.entry(peer).or_default();
            return;
        }
        refuse(self.waiting.remove(&peer), &error.to_string());
    }
}

/// Tells all who wait for a peer why they get no stream.
fn refuse(waiting: Option<Vec<Opening>>, reason: &str) {
    for opening in waiting.into_iter().flatten() {
        let _ = opening.reply.send(Err(Refusal::Unreachable(reason.to_owned())));
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connected(peer, connection, is_relayed(local)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connected(peer, connection, is_relayed(address)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => {
                self.open_waiting(peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.disconnected(peer_id, connection_id);
            }
            // Another behaviour may refuse a connection after it was shown to this one.
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }) => {
                self.disconnected(peer, connection_id);
                self.dial_failed(peer, error);
            }
            FromSwarm::ListenFailure(ListenFailure {
                peer_id: Some(peer), connection_id, ..
            }) => self.disconnected(peer, connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        Opened { protocol, stream }: THandlerOutEvent<Self>,
    ) {
        let Some(taker) = self.takers.get(protocol.as_ref()) else { return };
        let Some(state) = self.peers.get(&peer) else { return };
        let Some(in_use) = state.connections.get(&connection).map(|c| c.in_use.clone()) else {
            return;
        };
        let Ok(room) = state.room.clone().try_acquire_owned() else {
            return self.act(ToSwarm::GenerateEvent(Event::OverLimit));
        };
        let stream = Stream::new(stream, peer, taker.name.clone(), Some(room), in_use);
        if let Err(mpsc::error::TrySendError::Full(_)) = taker.queue.try_send(stream) {
            self.act(ToSwarm::GenerateEvent(Event::Untaken));
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == libp2p::multiaddr::Protocol::P2pCircuit)
}
