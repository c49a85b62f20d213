//! One run: nodes are started, loaded, and stopped.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    process::{cpu_time, memory},
    subjects::{Cluster, Payloads, Subject, Tracker, Transport, aether::Aether, plain::Plain},
};

/// Most messages in a run; it ends there if it is faster than that.
const MAX_MESSAGES: usize = 1 << 20;
/// Most bytes of payload that one run publishes.
const MAX_BYTES: usize = 1 << 30;
/// How long nodes are left alone between forming their mesh and the load.
const REST: Duration = Duration::from_millis(1500);

/// What one run does. The program writes it for its own fresh process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Who is measured.
    pub subject: Subject,
    /// What the nodes are connected by.
    pub transport: Transport,
    /// How many nodes; node 0 publishes and the others receive. From 2 to 33.
    pub nodes: usize,
    /// Bytes of a payload, from 8 up.
    pub size: usize,
    /// What is done to the nodes.
    pub load: Load,
    /// What the payloads are drawn from.
    pub seed: u64,
}

/// What is done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// As many messages as the subject takes.
    Throughput {
        /// For how long, in seconds; what is on its way then is waited for.
        seconds: f64,
        /// How many messages may be published and not yet received by all; without one, the
        /// subject's own back-pressure is all.
        window: Option<usize>,
    },
    /// Messages at a steady rate, slow enough that none waits for another.
    Latency {
        /// How many.
        messages: u64,
        /// How many a second.
        rate: u64,
        /// Whether Aether sends each by itself; plain gossipsub always does.
        express: bool,
    },
}

impl Load {
    fn is_express(self) -> bool {
        matches!(self, Self::Latency { express: true, .. })
    }
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Messages times receivers.
    pub deliveries: u64,
    /// Deliveries that never came.
    pub lost: u64,
    /// Deliveries that came once more.
    pub duplicates: u64,
    /// From the first publish to the last delivery, in seconds.
    pub seconds: f64,
    /// Half the messages took so long or less to their last receiver, in milliseconds.
    pub p50: f64,
    /// 99 of 100 took so long or less.
    pub p99: f64,
    /// Bytes written to streams by all nodes during the load.
    pub sent_bytes: u64,
    /// Bytes of payload delivered.
    pub payload_bytes: u64,
    /// Processor time that the load took, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory when the load began, in bytes.
    pub resident: u64,
    /// The most resident memory of the whole run, in bytes.
    pub peak: u64,
    /// Gossip mesh neighbours per node, on average, when the load began.
    pub mesh_degree: f64,
}

impl Sample {
    /// Whether each message reached each receiver once.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.deliveries > 0
    }
}

/// Makes one run in this process.
pub async fn run(trial: &Trial) -> anyhow::Result<Sample> {
    anyhow::ensure!((2..=33).contains(&trial.nodes), "a trial has 2 to 33 nodes");
    anyhow::ensure!(trial.size >= 8, "a payload has 8 bytes at least");
    match trial.subject {
        Subject::Aether => Box::pin(with::<Aether>(trial)).await,
        Subject::Plain => Box::pin(with::<Plain>(trial)).await,
    }
}

async fn with<C: Cluster>(trial: &Trial) -> anyhow::Result<Sample> {
    let (capacity, window) = match trial.load {
        Load::Throughput { window, .. } => (MAX_MESSAGES.min(MAX_BYTES / trial.size), window),
        Load::Latency { messages, .. } => (usize::try_from(messages)?, None),
    };
    let tracker = Arc::new(Tracker::new(trial.nodes - 1, capacity, trial.size, window));
    let mut payloads = Payloads::new(trial.size, trial.seed);
    let cluster = C::start(trial.nodes, trial.transport, tracker.clone()).await?;
    tokio::time::sleep(REST).await;

    let (before, memory_before, cpu_before) = (cluster.state().await?, memory()?, cpu_time());
    let published = load(&cluster, &tracker, &mut payloads, trial.load).await?;
    tracker.settle(published).await;
    let cpu = cpu_time().saturating_sub(cpu_before);
    let after = cluster.state().await?;
    let outcome = tracker.outcome(published);
    let (p50, p99) = percentiles(&outcome.latencies)?;
    let sample = Sample {
        deliveries: outcome.deliveries,
        lost: outcome.lost,
        duplicates: outcome.duplicates,
        seconds: outcome.took.as_secs_f64(),
        p50,
        p99,
        sent_bytes: after.sent_bytes.saturating_sub(before.sent_bytes),
        payload_bytes: outcome.deliveries * trial.size as u64,
        cpu_seconds: cpu.as_secs_f64(),
        resident: memory_before.resident,
        // The kernel counts its peak a little late.
        peak: memory()?.peak.max(memory_before.resident),
        mesh_degree: before.mesh_degree,
    };
    cluster.stop().await;
    Ok(sample)
}

/// Publishes, and returns how many messages.
async fn load<C: Cluster>(
    cluster: &C,
    tracker: &Tracker,
    payloads: &mut Payloads,
    load: Load,
) -> anyhow::Result<u64> {
    #[expect(clippy::disallowed_methods, reason = "the bench measures time")]
    let start = Instant::now();
    let (seconds, pace) = match load {
        Load::Throughput { seconds, .. } => (seconds, None),
        Load::Latency { rate, .. } => (f64::INFINITY, Some(Duration::from_secs(1) / rate as u32)),
    };
    let mut ticks = pace.map(|pace| {
        let mut ticks = tokio::time::interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let mut published = 0;
    while published < tracker.capacity() && start.elapsed().as_secs_f64() < seconds {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let payload = payloads.cut(published);
        if !tracker.place().await {
            break;
        }
        tracker.sent(published);
        cluster.publish(payload, load.is_express()).await?;
        published += 1;
    }
    Ok(published)
}

/// The median and the 99th percentile, in milliseconds.
fn percentiles(latencies: &[Duration]) -> anyhow::Result<(f64, f64)> {
    let mut histogram = Histogram::<u64>::new(3).context("three digits are possible")?;
    for latency in latencies {
        histogram.record(u64::try_from(latency.as_nanos())?)?;
    }
    let millis = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    Ok((millis(0.5), millis(0.99)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let latencies: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        let (p50, p99) = percentiles(&latencies).unwrap();
        assert!((p50 - 50.0).abs() < 0.1 && (p99 - 99.0).abs() < 0.1, "{p50} {p99}");
        assert_eq!(percentiles(&[]).unwrap(), (0.0, 0.0));
    }
}
