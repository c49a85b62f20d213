//! The transports, put together by hand.
//!
//! TCP and WebSocket: multistream-select, Noise, Yamux. QUIC brings its own. A relayed connection
//! is a stream through a relay, upgraded like TCP. Names are resolved before dialing.
//!
//! By hand, and not by libp2p's builder, because what happens between authentication and the first
//! protocol is ours to extend: after [`authenticate`](libp2p::core::transport::upgrade::Builder)
//! a connection knows its peer. In a closed mesh the [exchange] of capabilities follows, on
//! whatever transport, and lets the peer in or not before any protocol sees it.

use std::{io, time::Duration};

use libp2p::{
    PeerId, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport, OrTransport, upgrade::Version},
    },
    dns, identity, noise, quic, relay, tcp, websocket, yamux,
};
use prometheus_client::registry::Registry;

use crate::{
    access::{Door, exchange},
    config::Limits,
};

/// How long a connection may take to be usable.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that one peer may have open on a connection, by either transport.
const MAX_STREAMS: usize = 256;

pub(crate) fn build(
    key: &identity::Keypair,
    relay: relay::client::Transport,
    door: Option<Door>,
    limits: &Limits,
    registry: &mut Registry,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, io::Error> {
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let streams = OrTransport::new(websocket::Config::new(tcp()), tcp())
        .upgrade(Version::V1)
        .authenticate(noise.clone())
        .multiplex(yamux())
        .timeout(UPGRADE_TIMEOUT);
    let memory = OrTransport::new(MemoryTransport::new(), relay)
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux())
        .timeout(UPGRADE_TIMEOUT);
    let mut quic = quic::Config::new(key);
    quic.max_concurrent_stream_limit = MAX_STREAMS as u32;
    if let Some(window) = window(limits) {
        quic.max_connection_data = window;
        // One stream alone doesn't take all of a connection.
        quic.max_stream_data = window / 3 * 2;
    }
    let quic = quic::tokio::Transport::new(quic)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let direct = OrTransport::new(quic, streams).map(|either, _| match either {
        futures::future::Either::Left(quic) => quic,
        futures::future::Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    let named = dns::tokio::Transport::system(direct)?;
    // Names last: resolving takes any address and fails late, where the next transport is not
    // tried any more.
    let all = OrTransport::new(memory, named)
        .map(|either, _| match either {
            futures::future::Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
            futures::future::Either::Right(direct) => direct,
        })
        .boxed();
    let all = match door {
        None => all,
        Some(door) => {
            all.and_then(move |(peer, muxer), point| exchange(door, peer, muxer, point)).boxed()
        }
    };
    let counted = libp2p::metrics::BandwidthTransport::new(all, registry);
    Ok(counted.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

/// Bytes that a QUIC connection may bring before they are read, where memory has a limit: all
/// connections together take a quarter of it. Without a limit, libp2p's 15 MB each stand.
fn window(limits: &Limits) -> Option<u32> {
    /// Less would make every transfer slow, 15 MB is enough for any.
    const RANGE: (usize, usize) = (256 * 1024, 15_000_000);
    let connections = usize::try_from(limits.max_connections).unwrap_or(usize::MAX).max(1);
    let each = limits.max_memory? / 4 / connections;
    u32::try_from(each.clamp(RANGE.0, RANGE.1)).ok()
}

fn yamux() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_share_a_quarter_of_the_limit_of_memory() {
        let window = |max_memory, max_connections| {
            window(&Limits { max_memory, max_connections, ..Limits::default() })
        };
        const MIB: usize = 1024 * 1024;
        assert_eq!(window(None, 64), None);
        assert_eq!(window(Some(256 * MIB), 64), Some(1024 * 1024));
        assert_eq!(window(Some(MIB), 64), Some(256 * 1024));
        assert_eq!(window(Some(usize::MAX), 0), Some(15_000_000));
    }
}
