//! What a flooder does at a time.

use std::sync::Arc;

use aether_mesh::proto::{blob, link, service};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use libp2p::Multiaddr;

use super::{
    Tally, Target,
    peer::{flood, half_open},
    speech::{self, GREETING, Speech},
};

/// Connections that it wants at a time: more than a node accepts.
const CONNECTIONS: usize = 256;

/// Connections that it wants where streams are the point.
const FEW: usize = 16;

/// Streams that it wants on each of those. The transports allow 256 in all, and the node opens
/// some of its own.
const DEPTH: usize = 224;

/// Connections that it wants where windows are the point, and streams on each. To be refused more
/// of them would only take its time.
const MANY: usize = 56;
const SHALLOW: usize = 4;

/// What a flooder does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// TCP connections that never end their handshake.
    Handshakes,
    /// Connections by both transports, kept open.
    Connections,
    /// Streams of many protocols, agreed on and left, or never agreed on.
    Streams,
    /// Frames announced at their largest size that lack one byte.
    Frames,
    /// Blobs asked for and not read.
    Blobs,
    /// Calls whose answers aren't read, and more behind them, on as many streams as can be.
    Answers,
    /// The same on a few streams of as many connections as can be: windows of connections are
    /// larger than those of their streams.
    Windows,
    /// Calls of this service whose bodies lack their ends.
    Bodies(&'static str),
}

impl Turn {
    /// Floods until it is dropped.
    pub(super) async fn run(self, target: Target, tally: Arc<Tally>) {
        let tally = &*tally;
        let script = |number| self.speech(number, &target);
        let floods: Vec<BoxFuture<'_, ()>> = match self {
            Self::Handshakes => {
                let tcp = target.addresses.iter().find(|address| is_tcp(address));
                let beginnings = [&[][..], GREETING, &GREETING[..7]];
                let floods = tcp.into_iter().flat_map(|address| {
                    (0..CONNECTIONS).map(move |i| (address, beginnings[i % beginnings.len()]))
                });
                floods.map(|(address, said)| half_open(address, said, tally).boxed()).collect()
            }
            _ => {
                let (count, depth) = match self {
                    Self::Connections => (CONNECTIONS, 0),
                    Self::Windows => (MANY, SHALLOW),
                    _ => (FEW, DEPTH),
                };
                let addresses = target.addresses.iter().cycle().take(count);
                addresses.map(|address| flood(address, depth, &script, tally).boxed()).collect()
            }
        };
        join_all(floods).await;
    }

    /// What the stream of this number says.
    fn speech(self, number: usize, target: &Target) -> Speech {
        let ours = |name: &str| format!("/aether/{}/{name}", target.mesh);
        match self {
            Self::Handshakes | Self::Connections => speech::left("/nothing"),
            Self::Streams => match number % 10 {
                0..2 => speech::left(&ours("service/1")),
                2..4 => speech::left(&ours("blob/1")),
                4 => speech::left(&ours("link/1")),
                5 => speech::left(&ours("kad/1")),
                6 => speech::left(&ours("stream/nobody")),
                7 => speech::left("/meshsub/1.2.0"),
                8 => speech::left("/ipfs/ping/1.0.0"),
                _ => speech::undecided(),
            },
            Self::Frames => match number % 4 {
                0 => speech::unfinished(&ours("link/1"), link::MAX_FRAME),
                1 => speech::unfinished(&ours("blob/1"), blob::frame::MAX_FRAME),
                _ => speech::unfinished(&ours("service/1"), service::frame::MAX_FRAME),
            },
            Self::Blobs => speech::unread_blob(&ours("blob/1"), target.blob),
            Self::Answers | Self::Windows => speech::unread_calls(&ours("service/1")),
            Self::Bodies(service) => speech::half_calls(&ours("service/1"), service),
        }
    }
}

fn is_tcp(address: &Multiaddr) -> bool {
    address.to_string().contains("/tcp/")
}
