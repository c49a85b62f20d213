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

use super::Effort;
use crate::{
    process::fresh,
    report::{Report, Row, median},
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

/// What is measured of a throughput run besides the throughput: name, unit, figure.
type Figure = (&'static str, &'static str, fn(&Sample) -> f64);
const THROUGHPUT: [Figure; 5] = [
    ("throughput", "deliveries/s", |sample| sample.deliveries as f64 / sample.seconds),
    ("bytes", "B/delivered B", |sample| sample.sent_bytes as f64 / sample.payload_bytes as f64),
    ("cpu", "s/M deliveries", |sample| sample.cpu_seconds * 1e6 / sample.deliveries as f64),
    ("memory-peak", "MiB", |sample| sample.peak as f64 / 1048576.0),
    ("memory-growth", "MiB", |sample| {
        sample.peak.saturating_sub(sample.resident) as f64 / 1048576.0
    }),
];
const LATENCY: [Figure; 2] =
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
            .map(|(subject, load)| Runs::of(self.trial(subject, size, load)));
        self.take_turns(&mut runs).await;
        let [aether, plain] = runs;
        let conditions = format!("{}, plain's window {window}", self.conditions(&aether, &plain));
        for (figure, unit, of) in THROUGHPUT {
            let metric = format!("{figure}-{name}/{}", self.transport.name());
            let base = plain.row(PLAIN, &metric, unit, &conditions, of);
            compare(report, base, [aether.row(AETHER, &metric, unit, &conditions, of)]);
        }
    }

    async fn latency(self, report: &mut Report) {
        let messages = if self.effort.quick { 100 } else { 3 * RATE };
        let load = |express| Load::Latency { messages, rate: RATE, express };
        let mut runs = [(Subject::Aether, false), (Subject::Plain, false), (Subject::Aether, true)]
            .map(|(subject, express)| Runs::of(self.trial(subject, 64, load(express))));
        self.take_turns(&mut runs).await;
        let [batched, plain, express] = runs;
        let rate = format!("{RATE} messages/s");
        for (figure, unit, of) in LATENCY {
            let metric = |kind| format!("latency{kind}-64{figure}/{}", self.transport.name());
            let conditions = format!("{}, {rate}", self.conditions(&batched, &plain));
            let base = plain.row(PLAIN, &metric(""), unit, &conditions, of);
            let batched = batched.row(AETHER, &metric(""), unit, &conditions, of);
            let conditions = format!("{}, {rate}", self.conditions(&express, &plain));
            let express = express.row(EXPRESS, &metric("-express"), unit, &conditions, of);
            compare(report, base, [batched, express]);
        }
    }

    fn trial(self, subject: Subject, size: usize, load: Load) -> Trial {
        Trial { subject, transport: self.transport, nodes: NODES, size, load, seed: 0 }
    }

    /// The window at which plain gossipsub is fastest without loss; the smallest if there is none.
    async fn best_window(self, size: usize, seconds: f64) -> usize {
        let (mut best, mut fastest) = (WINDOWS[0], 0.0);
        for window in WINDOWS {
            let load = Load::Throughput { seconds, window: Some(window) };
            let mut runs = Runs::of(self.trial(Subject::Plain, size, load));
            runs.one_more().await;
            let speed = runs.clean().map(THROUGHPUT[0].2).next().unwrap_or(0.0);
            if speed > fastest {
                (best, fastest) = (window, speed);
            }
        }
        best
    }

    async fn take_turns(self, runs: &mut [Runs]) {
        for _ in 0..self.effort.runs {
            for runs in &mut *runs {
                runs.one_more().await;
            }
        }
    }

    fn conditions(self, aether: &Runs, plain: &Runs) -> String {
        let degree = |runs: &Runs| {
            let degree = median(runs.samples.iter().map(|sample| sample.mesh_degree).collect());
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

/// Puts the rows into the report, compared with the baseline's, and the baseline's after them.
fn compare(report: &mut Report, base: Option<Row>, rows: impl IntoIterator<Item = Option<Row>>) {
    for row in rows.into_iter().flatten() {
        report.push(match &base {
            Some(base) => row.against(base),
            None => row,
        });
    }
    if let Some(base) = base {
        report.push(base);
    }
}

/// All runs of one trial so far.
struct Runs {
    trial: Trial,
    samples: Vec<Sample>,
    failed: u64,
}

impl Runs {
    fn of(trial: Trial) -> Self {
        Self { trial, samples: Vec::new(), failed: 0 }
    }

    /// Makes another run, with a seed of its own, and says on standard error how it went.
    async fn one_more(&mut self) {
        self.trial.seed = self.samples.len() as u64 + self.failed;
        let Trial { subject, transport, size, load, .. } = &self.trial;
        eprint!("{WORK}: {subject:?}, {transport:?}, {size} B, {load:?}: ");
        match fresh::<_, Sample>(WORK, &self.trial).await {
            Ok(sample) => {
                let speed = THROUGHPUT[0].2(&sample);
                let Sample { p50, lost, duplicates, .. } = sample;
                let troubles = if sample.is_clean() { "" } else { " DOESN'T COUNT" };
                eprintln!(
                    "{speed:.0} deliveries/s, {p50:.2} ms, {lost} lost, \
                     {duplicates} twice{troubles}"
                );
                self.samples.push(sample);
            }
            Err(error) => {
                eprintln!("{error:#}");
                self.failed += 1;
            }
        }
    }

    fn clean(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.is_clean())
    }

    /// The row of one figure: its median over the runs that count, if those are more than half.
    /// No row if no run came to its end.
    fn row(
        &self,
        subject: &str,
        metric: &str,
        unit: &str,
        conditions: &str,
        figure: fn(&Sample) -> f64,
    ) -> Option<Row> {
        let clean: Vec<f64> = self.clean().map(figure).collect();
        let (ended, count) = (self.samples.len(), clean.len());
        let all = ended as u64 + self.failed;
        if ended == 0 {
            return None;
        }
        let mut conditions = conditions.to_owned();
        if (count as u64) < all {
            conditions.push_str(&format!(
                ", {} of {all} runs lost or repeated messages, {} failed",
                ended - count,
                self.failed
            ));
        }
        let value = if 2 * count as u64 > all { median(clean) } else { None };
        Some(Row::new(WORK, subject, metric, unit, value).under(&conditions))
    }
}
