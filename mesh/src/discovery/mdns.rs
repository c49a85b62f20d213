//! mDNS that carries the mesh id, so that a node dials only members of its own mesh.
//!
//! libp2p's mDNS announces listen addresses under one service name for all of libp2p. This
//! behaviour wraps it: each address goes out with `/http-path/aether%2F<mesh>` before the peer id,
//! and what comes in is passed on only with the same mark, without it. A program that doesn't know
//! the mark can't dial such an address by mistake.

use std::task::{Context, Poll};

use aether_core::MeshId;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    mdns,
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewListenAddr, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ExpiredListenAddr,
    },
};

/// Nodes of this mesh that were seen on the local network.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) Vec<(PeerId, Multiaddr)>);

pub(crate) struct MeshMdns {
    inner: mdns::tokio::Behaviour,
    mark: String,
}

impl MeshMdns {
    pub(crate) fn new(mesh: &MeshId, local: PeerId) -> std::io::Result<Self> {
        let inner = mdns::tokio::Behaviour::new(mdns::Config::default(), local)?;
        Ok(Self { inner, mark: mark(mesh) })
    }
}

fn mark(mesh: &MeshId) -> String {
    format!("aether/{}", mesh.short())
}

fn marked(address: &Multiaddr, mark: &str) -> Multiaddr {
    address.clone().with(Protocol::HttpPath(mark.to_owned().into()))
}

/// The address without mark and peer id, if it has this mark.
fn unmarked(address: Multiaddr, mark: &str) -> Option<Multiaddr> {
    let (mut address, _) = super::split_peer(address);
    match address.pop()? {
        Protocol::HttpPath(found) if found == mark => Some(address),
        _ => None,
    }
}

impl NetworkBehaviour for MeshMdns {
    type ConnectionHandler = <mdns::tokio::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Seen;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    // The wrapped behaviour would offer marked addresses for dialing: it isn't asked.
    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }) => {
                let addr = &marked(addr, &self.mark);
                let event = NewListenAddr { listener_id, addr };
                self.inner.on_swarm_event(FromSwarm::NewListenAddr(event));
            }
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr }) => {
                let addr = &marked(addr, &self.mark);
                let event = ExpiredListenAddr { listener_id, addr };
                self.inner.on_swarm_event(FromSwarm::ExpiredListenAddr(event));
            }
            event => self.inner.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let event = std::task::ready!(self.inner.poll(cx));
            if let ToSwarm::GenerateEvent(event) = event {
                // What expires is forgotten by the dialer's own rule.
                let mdns::Event::Discovered(found) = event else { continue };
                let ours = found
                    .into_iter()
                    .filter_map(|(peer, address)| Some((peer, unmarked(address, &self.mark)?)));
                let seen: Vec<_> = ours.collect();
                if seen.is_empty() {
                    continue;
                }
                return Poll::Ready(ToSwarm::GenerateEvent(Seen(seen)));
            }
            return Poll::Ready(event.map_out(|_| unreachable!("events are handled above")));
        }
    }
}

#[cfg(test)]
mod tests {
    use aether_core::Genesis;

    use super::*;

    #[test]
    fn only_the_own_mark_passes() {
        let mark_of = |name| mark(&Genesis::open(name).unwrap().mesh_id());
        let address: Multiaddr = "/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap();
        let sent = marked(&address, &mark_of("ours")).with(Protocol::P2p(PeerId::random()));
        // Through its text form, as in a TXT record.
        let received: Multiaddr = sent.to_string().parse().unwrap();
        assert_eq!(unmarked(received.clone(), &mark_of("ours")), Some(address.clone()));
        assert_eq!(unmarked(received, &mark_of("others")), None);
        assert_eq!(unmarked(address.with(Protocol::P2p(PeerId::random())), &mark_of("ours")), None);
    }
}
