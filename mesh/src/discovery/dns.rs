//! DNS as a source of peers.
//!
//! For a name `example.org` three records are asked, side by side:
//!
//! - TXT at `_dnsaddr.example.org`: `dnsaddr=<multiaddress>` (multiformats' dnsaddr), one per
//!   record; an address that ends in another `/dnsaddr/name` is followed, at most [`MAX_DEPTH`]
//!   deep;
//! - SRV at `_aether._udp.example.org` (RFC 2782): QUIC at that host and port;
//! - SRV at `_aether._tcp.example.org`: TCP at that host and port.
//!
//! At most [`MAX_ADDRESSES`] addresses are taken from one name.

use std::{net::SocketAddr, sync::Arc};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
};
use libp2p::{Multiaddr, multiaddr::Protocol};

const MAX_DEPTH: usize = 3;
const MAX_ADDRESSES: usize = 64;

/// A resolver, by the system's configuration or by one server.
#[derive(Clone)]
pub(crate) struct Dns {
    resolver: Arc<TokioResolver>,
}

impl Dns {
    pub(crate) fn new(server: Option<SocketAddr>) -> Result<Self, hickory_resolver::net::NetError> {
        let builder = match server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        Ok(Self { resolver: Arc::new(builder.build()?) })
    }

    /// All addresses that a name leads to. A record that doesn't resolve or doesn't parse is
    /// skipped: one typo in a zone doesn't cost the others.
    pub(crate) async fn resolve(&self, name: &str) -> Vec<Multiaddr> {
        let (mut found, udp, tcp) =
            tokio::join!(self.dnsaddr(name), self.srv(name, "udp"), self.srv(name, "tcp"));
        found.extend(udp);
        found.extend(tcp);
        found.truncate(MAX_ADDRESSES);
        tracing::debug!(name, addresses = found.len(), "resolved");
        found
    }

    async fn dnsaddr(&self, name: &str) -> Vec<Multiaddr> {
        let (mut found, mut names) = (Vec::new(), vec![name.to_owned()]);
        for _ in 0..MAX_DEPTH {
            let mut deeper = Vec::new();
            for name in names.drain(..) {
                for address in self.txt(&name).await {
                    match address.iter().next() {
                        Some(Protocol::Dnsaddr(next)) => deeper.push(next.into_owned()),
                        _ => found.push(address),
                    }
                }
            }
            deeper.truncate(MAX_ADDRESSES);
            names = deeper;
        }
        found
    }

    async fn txt(&self, name: &str) -> Vec<Multiaddr> {
        let lookup = self.resolver.lookup(format!("_dnsaddr.{name}."), RecordType::TXT).await;
        let Ok(lookup) = lookup else { return Vec::new() };
        let mut found = Vec::new();
        for record in lookup.answers().iter().take(MAX_ADDRESSES) {
            let RData::TXT(txt) = &record.data else { continue };
            let text: Vec<u8> = txt.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            let address = std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.strip_prefix("dnsaddr="))
                .and_then(|text| text.parse().ok());
            match address {
                Some(address) => found.push(address),
                None => tracing::warn!(name, "skipped a TXT record that is no dnsaddr"),
            }
        }
        found
    }

    async fn srv(&self, name: &str, transport: &str) -> Vec<Multiaddr> {
        let name = format!("_aether._{transport}.{name}.");
        let Ok(lookup) = self.resolver.lookup(name, RecordType::SRV).await else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for record in lookup.answers().iter().take(MAX_ADDRESSES) {
            let RData::SRV(srv) = &record.data else { continue };
            let Ok(ips) = self.resolver.lookup_ip(srv.target.clone()).await else { continue };
            for ip in ips.iter().take(8) {
                let host = Multiaddr::from(ip);
                found.push(match transport {
                    "udp" => host.with(Protocol::Udp(srv.port)).with(Protocol::QuicV1),
                    _ => host.with(Protocol::Tcp(srv.port)),
                });
            }
        }
        found
    }
}
