//! Topics beside plain gossipsub: throughput, latency, bytes, processor time, memory.
//!
//! Eight nodes in one process, all connected to all over loopback, read one topic; node 0
//! publishes. Each run is a fresh process; the subjects take turns.
//!
//! - **Throughput** is deliveries (messages times receivers) divided by the time from the first
//!   publish to the last delivery, and only a run without loss counts. Aether is published to in a
//!   loop that its own back-pressure holds. Plain gossipsub has none, so a window bounds how many
//!   messages are on their way; the window is the one, of [`WINDOWS`], at which a first run
//!   without loss was fastest, so that plain is quoted at its best.
//! - **Latency** is the time from publish to the last of the receivers, at a low, steady rate.
//! - **Bytes** are what all nodes wrote to their streams, before encryption and the transport's
//!   own framing, divided by the bytes of payload delivered.
//! - **CPU** is of the whole process during the load: publisher, receivers, and the bench's own
//!   bookkeeping, which is the same for both.

pub mod trial;

use trial::{Load, Sample, Trial};

use super::{
    Effort,
    runs::{self, Figure, compare, take_turns},
};
use crate::{
    process::fresh,
    report::{Report, median},
    subjects::{Subject, Transport},
};

const WORK: &str = "gossip";
const AETHER: &str = "aether";
const EXPRESS: &str = "aether, express";
const PLAIN: &str = "plain gossipsub";

/// Nodes in a run.
pub const NODES: usize = 8;
/// Windows that plain gossipsub is tried with, in messages.
pub const WINDOWS: [usize; 4] = [16, 64, 256, 1024];
/// Sizes of payloads, in bytes, with their names in metrics.
pub const SIZES: [(usize, &str); 3] = [(64, "64"), (1024, "1k"), (32 * 1024, "32k")];
/// Messages a second when latency is measured.
const RATE: u64 = 200;

/// Measures everything, on both transports.
pub async fn measure(effort: Effort, report: &mut Report) {
    for transport in [Transport::Tcp, Transport::Quic] {
        let bench = Bench { effort, transport };
        for (size, name) in SIZES {
            bench.throughput(size, name, report).await;
        }
        bench.latency(report).await;
    }
}

/// What is measured of a throughput run, the throughput first.
const THROUGHPUT: [Figure<Sample>; 5] = [
    ("throughput", "deliveries/s", |sample| sample.deliveries as f64 / sample.seconds),
    ("bytes", "B/delivered B", |sample| sample.sent_bytes as f64 / sample.payload_bytes as f64),
    ("cpu", "s/M deliveries", |sample| sample.cpu_seconds * 1e6 / sample.deliveries as f64),
    ("memory-peak", "MiB", |sample| sample.peak as f64 / 1048576.0),
    ("memory-growth", "MiB", |sample| {
        sample.peak.saturating_sub(sample.resident) as f64 / 1048576.0
    }),
];
const LATENCY: [Figure<Sample>; 2] =
    [("", "ms, median", |sample| sample.p50), ("-p99", "ms, 99 %", |sample| sample.p99)];

#[derive(Clone, Copy)]
struct Bench {
    effort: Effort,
    transport: Transport,
}

impl Bench {
    async fn throughput(self, size: usize, name: &str, report: &mut Report) {
        let seconds = if self.effort.quick { 0.5 } else { 3.0 };
        let window = self.best_window(size, seconds).await;
        let mut runs = [(Subject::Aether, None), (Subject::Plain, Some(window))]
            .map(|(subject, window)| (subject, Load::Throughput { seconds, window }))
            .map(|(subject, load)| self.trial(subject, size, load));
        take_turns(self.effort.runs, &mut runs).await;
        let [aether, plain] = runs;
        let conditions = format!("{}, plain's window {window}", self.conditions(&aether, &plain));
        for figure in THROUGHPUT {
            let metric = format!("{}-{name}/{}", figure.0, self.transport.name());
            let base = plain.row(PLAIN, &metric, &conditions, figure);
            compare(report, base, [aether.row(AETHER, &metric, &conditions, figure)]);
        }
    }

    async fn latency(self, report: &mut Report) {
        let messages = if self.effort.quick { 100 } else { 3 * RATE };
        let load = |express| Load::Latency { messages, rate: RATE, express };
        let mut runs = [(Subject::Aether, false), (Subject::Plain, false), (Subject::Aether, true)]
            .map(|(subject, express)| self.trial(subject, 64, load(express)));
        take_turns(self.effort.runs, &mut runs).await;
        let [batched, plain, express] = runs;
        let rate = format!("{RATE} messages/s");
        for figure in LATENCY {
            let metric = |kind| format!("latency{kind}-64{}/{}", figure.0, self.transport.name());
            let conditions = format!("{}, {rate}", self.conditions(&batched, &plain));
            let base = plain.row(PLAIN, &metric(""), &conditions, figure);
            let batched = batched.row(AETHER, &metric(""), &conditions, figure);
            let conditions = format!("{}, {rate}", self.conditions(&express, &plain));
            let express = express.row(EXPRESS, &metric("-express"), &conditions, figure);
            compare(report, base, [batched, express]);
        }
    }

    fn trial(self, subject: Subject, size: usize, load: Load) -> Runs {
        let transport = self.transport;
        Runs::of(WORK, Trial { subject, transport, nodes: NODES, size, load, seed: 0 })
    }

    /// The window at which plain gossipsub is fastest without loss; the smallest if there is none.
    async fn best_window(self, size: usize, seconds: f64) -> usize {
        let (mut best, mut fastest) = (WINDOWS[0], 0.0);
        for window in WINDOWS {
            let load = Load::Throughput { seconds, window: Some(window) };
            let mut runs = self.trial(Subject::Plain, size, load);
            runs.one_more().await;
            let speed = runs.clean().map(THROUGHPUT[0].2).next().unwrap_or(0.0);
            if speed > fastest {
                (best, fastest) = (window, speed);
            }
        }
        best
    }

    fn conditions(self, aether: &Runs, plain: &Runs) -> String {
        let degree = |runs: &Runs| {
            let degree = median(runs.samples().iter().map(|sample| sample.mesh_degree).collect());
            degree.map_or_else(|| "unknown".to_owned(), |degree| format!("{degree:.1}"))
        };
        format!(
            "{NODES} nodes, one process, {}, signatures verified, not durable, \
             mesh degree {} vs {}, {}",
            self.transport.describe(),
            degree(aether),
            degree(plain),
            self.effort.describe(),
        )
    }
}

type Runs = runs::Runs<Trial>;

impl runs::Trial for Trial {
    type Sample = Sample;

    async fn run(&self, seed: u64) -> anyhow::Result<Sample> {
        fresh(WORK, &Self { seed, ..self.clone() }).await
    }
}

impl runs::Sample for Sample {
    const TROUBLE: &str = "lost or repeated messages";

    fn is_clean(&self) -> bool {
        self.is_clean()
    }

    fn summary(&self) -> String {
        let speed = THROUGHPUT[0].2(self);
        let Self { p50, lost, duplicates, .. } = self;
        format!("{speed:.0} deliveries/s, {p50:.2} ms, {lost} lost, {duplicates} twice")
    }
}
