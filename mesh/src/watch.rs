//! Watches gossipsub's streams, because gossipsub gives up on a connection in silence.
//!
//! A gossipsub handler that has had to open its stream five times on one connection stops for
//! good: the connection stays, publishing still succeeds, and nothing arrives any more. It happens
//! to a peer that sends a frame over the size limit, and may happen to an honest one. Nothing
//! upstream tells the program. So this behaviour wraps gossipsub's, passes everything through
//! unchanged, and reports each stream after the first on a connection. The driver then closes the
//! connection while it still can be replaced by a fresh one.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use futures::future::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::ConnectionEvent,
    },
};

/// What the wrapped behaviour says, or what was seen of its streams.
#[derive(Debug)]
pub(crate) enum Event<E> {
    /// The wrapped behaviour's own event.
    Inner(E),
    /// A stream had to be opened anew on this connection.
    Reopened { peer: PeerId, connection: ConnectionId, inbound: bool, times: u32 },
}

#[derive(Debug)]
pub(crate) struct Watched<B> {
    pub(crate) inner: B,
    events: VecDeque<(PeerId, ConnectionId, Reopened)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reopened {
    inbound: bool,
    times: u32,
}

impl<B> Watched<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, events: VecDeque::new() }
    }
}

#[derive(Debug)]
pub(crate) struct Handler<H> {
    inner: H,
    inbound: u32,
    outbound: u32,
    report: Option<Reopened>,
}

impl<H> Handler<H> {
    fn new(inner: H) -> Self {
        Self { inner, inbound: 0, outbound: 0, report: None }
    }
}

impl<H: ConnectionHandler> ConnectionHandler for Handler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = Either<H::ToBehaviour, Reopened>;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>,
    > {
        if let Some(report) = self.report.take() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Either::Right(report)));
        }
        self.inner.poll(cx).map(|event| event.map_custom(Either::Left))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx).map(|event| event.map(Either::Left))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let (inbound, times) = match &event {
            ConnectionEvent::FullyNegotiatedInbound(_) => (true, &mut self.inbound),
            ConnectionEvent::FullyNegotiatedOutbound(_) => (false, &mut self.outbound),
            _ => return self.inner.on_connection_event(event),
        };
        *times += 1;
        if *times > 1 {
            self.report = Some(Reopened { inbound, times: *times - 1 });
        }
        self.inner.on_connection_event(event);
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Watched<B> {
    type ConnectionHandler = Handler<B::ConnectionHandler>;
    type ToSwarm = Event<B::ToSwarm>;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner =
            self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(Handler::new(inner))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner = self
            .inner
            .handle_established_outbound_connection(connection, peer, address, role, port)?;
        Ok(Handler::new(inner))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, connection, event),
            // At most five per connection and direction, drained on every poll.
            Either::Right(reopened) => self.events.push_back((peer, connection, reopened)),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer, connection, Reopened { inbound, times })) = self.events.pop_front() {
            let event = Event::Reopened { peer, connection, inbound, times };
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        self.inner.poll(cx).map(|event| event.map_out(Event::Inner))
    }
}
