//! Who is measured: each subject is some nodes in this process, all connected to all, that read one
//! topic.
//!
//! [`Tracker`] is what a subject reports to: which node got which message, and when.

pub(crate) mod aether;
pub(crate) mod plain;
mod tracker;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use tracker::{Payloads, Tracker};

/// How long the nodes may take to find each other and to form their gossip mesh.
const FORMING: Duration = Duration::from_secs(60);

/// Gossipsub's `mesh_n_low`: with fewer neighbours than these a node still looks for more; with as
/// many it is content.
const MESH_LOW: usize = 5;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Aether's topics.
    Aether,
    /// libp2p's gossipsub with its defaults: signed, `ValidationMode::Strict`.
    Plain,
}

/// What the nodes are connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP, Noise, Yamux.
    Tcp,
    /// QUIC, with TLS.
    Quic,
}

impl Transport {
    /// Its short name, in metrics and goals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }

    /// Its parts, in conditions.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Tcp => "loopback tcp, noise, yamux",
            Self::Quic => "loopback quic, tls",
        }
    }

    pub(crate) fn listen(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// What the nodes know of themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State {
    /// Bytes that all nodes have written to their streams: before encryption and the transport's
    /// own framing.
    pub(crate) sent_bytes: u64,
    /// Gossip mesh neighbours per node, on average.
    pub(crate) mesh_degree: f64,
}

/// Some nodes that are connected, all to all, and subscribed to one topic.
///
/// Node 0 publishes; each other node reports what it gets to the tracker.
pub(crate) trait Cluster: Sized {
    /// Starts the nodes and returns when their gossip mesh has formed.
    async fn start(
        nodes: usize,
        transport: Transport,
        tracker: Arc<Tracker>,
    ) -> anyhow::Result<Self>;

    /// Publishes as the subject's users do: returns when the subject has taken the message, and
    /// waits for as long as it makes its users wait.
    async fn publish(&self, payload: Vec<u8>, express: bool) -> anyhow::Result<()>;

    /// What the nodes know now.
    async fn state(&self) -> anyhow::Result<State>;

    /// Stops all nodes.
    async fn stop(self);
}

/// How many neighbours each node must have in its gossip mesh before the measurement.
fn enough_neighbours(nodes: usize) -> usize {
    MESH_LOW.min(nodes.saturating_sub(1))
}

/// Waits until a condition holds.
pub(crate) async fn until<F>(what: &str, condition: F) -> anyhow::Result<()>
where
    F: AsyncFn() -> anyhow::Result<bool>,
{
    let wait = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::time::timeout(FORMING, wait)
        .await
        .with_context(|| format!("waited {FORMING:?} in vain for {what}"))?
}

/// The outbound bytes in libp2p's bandwidth counters, given all counters in the OpenMetrics text
/// format.
fn outbound_bytes(metrics: &str) -> u64 {
    let counters = metrics.lines().filter(|line| {
        line.starts_with("libp2p_bandwidth_bytes_total{") && line.contains("direction=\"Outbound\"")
    });
    counters.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_is_summed_over_protocols_and_outbound_only() {
        let text = "# TYPE libp2p_bandwidth_bytes counter\n\
            libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp\",direction=\"Outbound\"} 5\n\
            libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp\",direction=\"Inbound\"} 70\n\
            libp2p_bandwidth_bytes_total{protocols=\"/ip4/udp/quic-v1\",direction=\"Outbound\"} 6\n\
            another_total{direction=\"Outbound\"} 800\n";
        assert_eq!(outbound_bytes(text), 11);
    }
}
