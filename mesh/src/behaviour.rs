//! The libp2p behaviours of a node, in one struct.

use std::{io, time::Duration};

use aether_core::MeshId;
use libp2p::{
    PeerId, StreamProtocol,
    allow_block_list::{self, BlockedPeers},
    autonat,
    connection_limits::{self, ConnectionLimits},
    dcutr, gossipsub, identify, identity,
    kad::{self, store::MemoryStore},
    memory_connection_limits, ping, relay, rendezvous,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    upnp,
};
use prometheus_client::registry::Registry;

use crate::{config::Config, discovery::mdns::MeshMdns, gossip, link, streams};

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // Limits first: what they refuse, no other behaviour sees. Then what has the fewest protocols:
    // a connection asks for those of all whenever it is polled, and each of them passes through all
    // behaviours below its own.
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) mdns: Toggle<MeshMdns>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
    pub(crate) rendezvous_client: rendezvous::client::Behaviour,
    pub(crate) rendezvous: Toggle<rendezvous::server::Behaviour>,
    pub(crate) autonat_client: Toggle<autonat::v2::client::Behaviour>,
    pub(crate) autonat_server: Toggle<autonat::v2::server::Behaviour>,
    pub(crate) dcutr: Toggle<dcutr::Behaviour>,
    pub(crate) relay: Toggle<relay::Behaviour>,
    pub(crate) relay_client: relay::client::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) link: request_response::Behaviour<link::Codec>,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) streams: streams::Behaviour,
}

/// The name under which identify announces the mesh.
pub(crate) fn identify_protocol(mesh: &MeshId) -> String {
    format!("/aether/{}", mesh.short())
}

/// The link's protocol name in one version.
pub(crate) fn link_protocol(mesh: &MeshId, version: u32) -> StreamProtocol {
    let name = format!("/aether/{}/link/{version}", mesh.short());
    StreamProtocol::try_from_owned(name).expect("begins with a slash")
}

/// The rendezvous namespace of a mesh.
pub(crate) fn namespace(mesh: &MeshId) -> rendezvous::Namespace {
    rendezvous::Namespace::new(format!("aether/{}", mesh.short())).expect("shorter than 255 bytes")
}

impl Behaviour {
    pub(crate) fn new(
        config: &Config,
        key: &identity::Keypair,
        relay_client: relay::client::Behaviour,
        registry: &mut Registry,
    ) -> Result<Self, io::Error> {
        let local = key.public().to_peer_id();
        let mesh = config.genesis.mesh_id();
        let internet = config.preset.is_internet();
        let mdns = config.mdns.then(|| MeshMdns::new(&mesh, local)).transpose()?;
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits(config)),
            memory: config
                .limits
                .max_memory
                .map(memory_connection_limits::Behaviour::with_max_bytes)
                .into(),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(
                identify::Config::new(identify_protocol(&mesh), key.public())
                    .with_agent_version(config.agent.clone())
                    .with_push_listen_addr_updates(true),
            ),
            ping: ping::Behaviour::new(ping::Config::new()),
            kad: kademlia(local, &mesh, internet),
            gossip: gossip::behaviour(config.preset, registry).map_err(io::Error::other)?,
            link: request_response::Behaviour::with_codec(
                link::Codec::default(),
                config
                    .link_versions
                    .iter()
                    .map(|version| (link_protocol(&mesh, *version), ProtocolSupport::Full)),
                request_response::Config::default()
                    .with_request_timeout(Duration::from_secs(5))
                    .with_max_concurrent_streams(64),
            ),
            streams: streams::Behaviour::new(config.limits.max_streams),
            mdns: mdns.into(),
            relay_client,
            relay: config.roles.relay.then(|| relay_server(local)).into(),
            dcutr: internet.then(|| dcutr::Behaviour::new(local)).into(),
            autonat_client: internet.then(autonat::v2::client::Behaviour::default).into(),
            autonat_server: internet.then(autonat::v2::server::Behaviour::default).into(),
            upnp: internet.then(upnp::tokio::Behaviour::default).into(),
            rendezvous_client: rendezvous::client::Behaviour::new(key.clone()),
            rendezvous: config
                .roles
                .rendezvous
                .then(|| rendezvous::server::Behaviour::new(rendezvous::server::Config::default()))
                .into(),
        })
    }
}

fn limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
    ConnectionLimits::default()
        .with_max_established(Some(limits.max_connections))
        .with_max_established_per_peer(Some(limits.max_connections_per_peer))
        .with_max_pending_incoming(Some(limits.max_pending))
        .with_max_pending_outgoing(Some(limits.max_pending))
}

fn kademlia(local: PeerId, mesh: &MeshId, internet: bool) -> kad::Behaviour<MemoryStore> {
    let name = format!("/aether/{}/kad/1", mesh.short());
    let name = StreamProtocol::try_from_owned(name).expect("begins with a slash");
    let mut config = kad::Config::new(name);
    config.set_query_timeout(Duration::from_secs(20));
    config.set_periodic_bootstrap_interval(Some(Duration::from_secs(60)));
    let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
    if !internet {
        // A client's entry is in nobody's table: on private addresses, which are never confirmed
        // from outside, the mesh would stay a star around its seed.
        kad.set_mode(Some(kad::Mode::Server));
    }
    kad
}

/// A relay for whole connections, not merely for hole punching: longer and larger circuits than
/// upstream's defaults, fewer of them.
fn relay_server(local: PeerId) -> relay::Behaviour {
    let config = relay::Config {
        max_circuit_duration: Duration::from_secs(3600),
        max_circuit_bytes: 1 << 30,
        max_circuits: 64,
        max_circuits_per_peer: 16,
        ..relay::Config::default()
    };
    let mut relay = relay::Behaviour::new(local, config);
    // An operator who asks for a relay gets one, also where no address is ever confirmed.
    relay.set_status(Some(relay::Status::Enable));
    relay
}
