//! Finding peers: many sources, one dialer.
//!
//! Seed addresses, mDNS, Kademlia, DNS, rendezvous, the roster's cards and the remembered address
//! book run side by side; each only says "this peer may be there". The [`dialer`](dialer::Dialer)
//! alone decides whom to dial and when.

pub(crate) mod book;
pub(crate) mod dialer;
pub(crate) mod dns;
pub(crate) mod mdns;

use std::net::IpAddr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// The address without a peer id at its end, and the peer id.
pub(crate) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

/// How far an address reaches, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// This machine.
    Machine,
    /// The local network: private and link-local ranges.
    Local,
    /// Everyone; names count as such.
    Global,
}

/// How far an address reaches, by its first component.
pub(crate) fn reach(address: &Multiaddr) -> Reach {
    let ip = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        Some(Protocol::Memory(_)) => return Reach::Machine,
        _ => return Reach::Global,
    };
    if ip.is_loopback() || ip.is_unspecified() {
        return Reach::Machine;
    }
    let local = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        // fc00::/7 and fe80::/10.
        IpAddr::V6(ip) => {
            ip.segments()[0] & 0xfe00 == 0xfc00 || ip.segments()[0] & 0xffc0 == 0xfe80
        }
    };
    if local { Reach::Local } else { Reach::Global }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/1", Reach::Machine),
            ("/ip6/::1/tcp/1", Reach::Machine),
            ("/memory/5", Reach::Machine),
            ("/ip4/10.1.2.3/udp/1/quic-v1", Reach::Local),
            ("/ip6/fd00::2/tcp/1", Reach::Local),
            ("/ip6/fe80::1/tcp/1", Reach::Local),
            ("/ip4/8.8.8.8/tcp/1", Reach::Global),
            ("/dns4/example.org/tcp/1", Reach::Global),
        ];
        for (address, expected) in cases {
            assert_eq!(reach(&address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn peer_ids_split_off() {
        let peer = PeerId::random();
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(split_peer(address.clone().with(Protocol::P2p(peer))), (address, Some(peer)));
    }
}
