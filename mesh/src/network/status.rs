//! What the network driver says about itself.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use serde::{Deserialize, Serialize};

use super::Network;
use crate::access::PeerAccess;

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The other node dialed.
    Inbound,
    /// This node dialed.
    Outbound,
}

/// One connected peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Who.
    pub peer: PeerId,
    /// Connections to it: one, but for a few seconds after both ends dialed at once.
    pub connections: usize,
    /// Its end of the oldest connection.
    pub address: Multiaddr,
    /// Who began it.
    pub direction: Direction,
    /// Whether it goes through a relay.
    pub relayed: bool,
    /// The program at the other end, as it says.
    pub agent: String,
    /// Whether it is a member that speaks the link, and not merely gossip.
    pub member: bool,
    /// In how many of our topics' gossip meshes it is.
    pub meshes: usize,
    /// Gossipsub's score of it.
    pub score: f64,
    /// Its place in a closed mesh; nothing in an open one.
    pub access: Option<PeerAccess>,
}

/// The network as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Addresses that others reach this node at, with its peer id.
    pub addresses: Vec<Multiaddr>,
    /// Connected peers, by peer id.
    pub connections: Vec<Connection>,
}

impl Network {
    pub(super) fn status(&self) -> NetworkStatus {
        let local = *self.swarm.local_peer_id();
        let with_peer = |address: Multiaddr| match address.iter().last() {
            Some(Protocol::P2p(_)) => address,
            _ => address.with(Protocol::P2p(local)),
        };
        let gossip = &self.swarm.behaviour().gossip;
        let mut meshes = std::collections::BTreeMap::<PeerId, usize>::new();
        for topic in self.topics.keys() {
            for peer in gossip.mesh_peers(topic) {
                *meshes.entry(*peer).or_default() += 1;
            }
        }
        let connections = self.peers.iter().filter_map(|(peer, state)| {
            let link = state.connections.values().min_by_key(|link| link.since)?;
            Some(Connection {
                peer: *peer,
                connections: state.connections.len(),
                address: link.address.clone(),
                direction: if link.dialed { Direction::Outbound } else { Direction::Inbound },
                relayed: link.relayed,
                agent: state.agent.clone(),
                member: state.linked,
                meshes: meshes.get(peer).copied().unwrap_or(0),
                score: gossip.peer_score(peer).unwrap_or(0.0),
                access: self.door.as_ref().and_then(|door| door.peer(&state.key)),
            })
        });
        NetworkStatus {
            addresses: self.own_addresses().into_iter().map(with_peer).collect(),
            connections: connections.collect(),
        }
    }
}
