//! What a node is told before it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use aether_core::Genesis;
use libp2p::Multiaddr;

use crate::{
    blobs,
    proto::{access, budget, inbox, outbox, roster},
    services,
};

/// Where a node lives: sensible settings for all of the rest.
///
/// | | `Local` | `Lan` | `Internet`, `Closed` |
/// |---|---|---|---|
/// | listens on | loopback, free ports | all interfaces, free ports | all interfaces, port 4001 |
/// | QUIC, TCP | yes | yes | yes |
/// | mDNS | no (it doesn't see loopback) | yes | no |
/// | DCUtR, AutoNAT v2, UPnP | no | no | yes |
/// | gossip heartbeat | 200 ms | 700 ms | 1 s |
/// | private addresses | used | used | not told to others |
///
/// Whether a mesh is closed is said by its genesis, and any preset will do for it. `Closed` is
/// `Internet` for who wants to be sure: the node doesn't start in an open mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// One machine: tests, demonstrations, the testnet.
    Local,
    /// One network, without NAT between the nodes.
    Lan,
    /// The open Internet.
    Internet,
    /// The open Internet, and a closed mesh.
    Closed,
}

impl Preset {
    /// Whether NAT and strangers are to be expected.
    pub(crate) fn is_internet(self) -> bool {
        matches!(self, Self::Internet | Self::Closed)
    }

    /// Whether an open mesh is refused.
    pub(crate) fn needs_closed(self) -> bool {
        self == Self::Closed
    }
}

/// What a node does for others beside taking part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Relays connections for nodes that can't be reached (libp2p circuit relay v2).
    pub relay: bool,
    /// Keeps a list of nodes by namespace (libp2p rendezvous).
    pub rendezvous: bool,
}

impl Roles {
    /// The names of those that are set, as other nodes see them: `relay`, `rendezvous`.
    pub fn names(self) -> Vec<String> {
        let relay = self.relay.then_some("relay");
        let rendezvous = self.rendezvous.then_some("rendezvous");
        relay.into_iter().chain(rendezvous).map(str::to_owned).collect()
    }
}

/// How much a node takes on.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Established connections, all peers together.
    pub max_connections: u32,
    /// Established connections to one peer.
    pub max_connections_per_peer: u32,
    /// Connections whose handshake isn't done, by direction.
    pub max_pending: u32,
    /// Peers to look for; more may connect by themselves.
    pub target_peers: usize,
    /// Resident memory of the process, in bytes, above which no connection is made or accepted.
    /// What those take that are there is bounded by connection and by protocol, whatever is said
    /// here; but QUIC's windows are made small enough for all connections to fit into a quarter of
    /// it, so a low limit with many connections makes transfers over long distances slower.
    pub max_memory: Option<usize>,
    /// Topics joined at a time. Gossipsub tells all of them in one message.
    pub max_topics: usize,
    /// Bytes of messages that wait to be sent, per topic.
    pub max_outbox: usize,
    /// Bytes of envelopes that wait for a subscriber to read them, per subscriber.
    pub max_unread: usize,
    /// Bytes on disk of large messages of topics, those that were published and those that were
    /// read, kept for other readers. The oldest go first.
    pub max_large: u64,
    /// Streams that each peer may have open here, over all names. The transports allow 256 per
    /// connection, the node's own protocols included.
    pub max_streams: usize,
    /// What each peer may send.
    pub budget: budget::Config,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_connections_per_peer: 4,
            max_pending: 128,
            target_peers: 16,
            max_memory: None,
            max_topics: 96,
            max_outbox: 4 * 1024 * 1024,
            max_unread: 16 * 1024 * 1024,
            max_large: 256 * 1024 * 1024,
            max_streams: 128,
            budget: budget::Config::default(),
        }
    }
}

/// Everything that a node is told. Made by [`Config::new`] and changed field by field, or through
/// [`Builder`](crate::Builder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where the node lives.
    pub preset: Preset,
    /// The mesh that it is part of.
    pub genesis: Genesis,
    /// Where it keeps its identity, address book and counters. Without it nothing is kept, and
    /// each start is a new identity unless a key is given.
    pub data: Option<PathBuf>,
    /// Addresses to listen on; an empty list only dials.
    pub listen: Vec<Multiaddr>,
    /// Addresses that others reach the node at, when it can't see them itself.
    pub external: Vec<Multiaddr>,
    /// Nodes to begin with. `/dnsaddr/name` stands for all that the name leads to.
    pub seeds: Vec<Multiaddr>,
    /// Names to ask for nodes in DNS.
    pub dns: Vec<String>,
    /// The DNS server to ask, instead of the system's.
    pub dns_server: Option<SocketAddr>,
    /// Look for nodes on the local network by mDNS.
    pub mdns: bool,
    /// Rendezvous nodes, with peer ids: register there and ask there.
    pub rendezvous: Vec<Multiaddr>,
    /// Relays, with peer ids, to be reachable through.
    pub relays: Vec<Multiaddr>,
    /// What the node does for others.
    pub roles: Roles,
    /// The program and its version, as others see it. At most 64 bytes.
    pub agent: String,
    /// How much the node takes on.
    pub limits: Limits,
    /// How messages are coalesced and paced.
    pub outbox: outbox::Config,
    /// How gaps are filled.
    pub inbox: inbox::Config,
    /// How members are watched.
    pub roster: roster::Config,
    /// How services are offered, found and called.
    pub services: services::Config,
    /// How blobs are kept, fetched and served.
    pub blobs: blobs::Config,
    /// How often access is talked about, in a closed mesh.
    pub access: access::Config,
    /// Link protocol versions that the node speaks, newest first.
    pub(crate) link_versions: Vec<u32>,
}

impl Config {
    /// The settings of a preset, in the open mesh named `aether`.
    pub fn new(preset: Preset) -> Self {
        let genesis = crate::access::unnamed();
        let listen: &[&str] = match preset {
            Preset::Local => &["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"],
            Preset::Lan => &["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"],
            Preset::Internet | Preset::Closed => &[
                "/ip4/0.0.0.0/udp/4001/quic-v1",
                "/ip4/0.0.0.0/tcp/4001",
                "/ip6/::/udp/4001/quic-v1",
                "/ip6/::/tcp/4001",
            ],
        };
        let listen = listen.iter().map(|text| text.parse().expect("constants parse")).collect();
        let mut limits = Limits::default();
        if preset == Preset::Local {
            // Fifty nodes on one machine see each other's load as their own.
            limits.target_peers = 12;
        }
        Self {
            preset,
            genesis,
            data: None,
            listen,
            external: Vec::new(),
            seeds: Vec::new(),
            dns: Vec::new(),
            dns_server: None,
            mdns: preset == Preset::Lan,
            rendezvous: Vec::new(),
            relays: Vec::new(),
            roles: Roles::default(),
            agent: concat!("aether/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits,
            outbox: outbox::Config::default(),
            inbox: inbox::Config::default(),
            roster: roster::Config::default(),
            services: services::Config::default(),
            blobs: blobs::Config::default(),
            access: access::Config::default(),
            link_versions: vec![1],
        }
    }

    /// How long an idle connection is kept.
    pub(crate) fn idle_timeout(&self) -> Duration {
        match self.preset {
            Preset::Local => Duration::from_secs(3600),
            Preset::Lan => Duration::from_secs(300),
            Preset::Internet | Preset::Closed => Duration::from_secs(120),
        }
    }

    /// Refuses settings that can't work. [`Builder::spawn`](crate::Builder::spawn) asks this first;
    /// a program that reads settings from somewhere can ask it earlier, to say where the wrong one
    /// stands.
    ///
    /// | field | what it must be |
    /// |---|---|
    /// | `rendezvous`, `relays` | addresses that end in `/p2p/<peer id>` |
    /// | `outbox.max_batch` | from 1 to 65,536 bytes, the most that an envelope carries |
    /// | `limits.max_outbox` | 65,536 bytes at least, or the largest message would never fit |
    /// | `limits.max_topics` | from 1 to 96; the node has some of its own |
    ///
    /// # Errors
    ///
    /// The first field that is wrong, by its name in the table, a colon, a space, and what is wrong
    /// with it: `relays: /ip4/192.0.2.3/tcp/4001 must end in /p2p/<peer id>`.
    pub fn check(&self) -> Result<(), String> {
        let without_peer = |address: &&Multiaddr| crate::discovery::split_peer((*address).clone());
        for (what, addresses) in [("rendezvous", &self.rendezvous), ("relays", &self.relays)] {
            if let Some(address) = addresses.iter().find(|a| without_peer(a).1.is_none()) {
                return Err(format!("{what}: {address} must end in /p2p/<peer id>"));
            }
        }
        let batch = self.outbox.max_batch;
        if batch == 0 || batch > crate::proto::envelope::MAX_PAYLOAD {
            return Err(format!("outbox.max_batch: {batch} is not within 1 to 65536 bytes"));
        }
        if self.limits.max_outbox < crate::proto::envelope::MAX_PAYLOAD {
            return Err("limits.max_outbox: must hold one message, so 65536 bytes at least".into());
        }
        if self.limits.max_topics == 0 || self.limits.max_topics > 96 {
            return Err("limits.max_topics: from 1 to 96 topics are possible".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sound() {
        for preset in [Preset::Local, Preset::Lan, Preset::Internet, Preset::Closed] {
            assert_eq!(Config::new(preset).check(), Ok(()));
        }
    }

    #[test]
    fn what_can_not_work_is_named() {
        type Change = fn(&mut Config);
        fn without_peer() -> Vec<Multiaddr> {
            vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]
        }
        let changes: [(&str, Change); 6] = [
            ("rendezvous: ", |config| config.rendezvous = without_peer()),
            ("relays: ", |config| config.relays = without_peer()),
            ("outbox.max_batch: ", |config| config.outbox.max_batch = 0),
            ("outbox.max_batch: ", |config| config.outbox.max_batch = 100_000),
            ("limits.max_outbox: ", |config| config.limits.max_outbox = 1000),
            ("limits.max_topics: ", |config| config.limits.max_topics = 101),
        ];
        for (name, change) in changes {
            let mut config = Config::new(Preset::Local);
            change(&mut config);
            let error = config.check().unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
