//! Blobs beside a bare stream, iroh-blobs, and plain TCP: speed, bytes in excess, processor time,
//! memory.
//!
//! A file of random bytes goes from one provider, or from four that hold all of it, to a getter.
//! A run counts if what came is what was sent.
//!
//! - **Aether**: nodes with stores on disk, on real sockets, all in one process. It is measured
//!   from the call of `get` until the blob is whole in the getter's store, verified and synced.
//! - **Stream**: the same nodes with a raw libp2p stream for each provider, of which each sends its
//!   share from a file; the getter writes to a file. Nothing is verified beyond the transport, nor
//!   synced.
//! - **iroh-blobs** (QUIC) and **TCP** (neither encrypted nor verified) run in programs of
//!   `testnet/peers`, and are left out by name where those aren't built.

pub mod trial;

use trial::{Subject, Trial};

use super::{
    Effort,
    runs::{self, compare, take_turns},
    transfer::{FIGURES, Sample},
};
use crate::{
    process::{fresh, output, peer},
    report::{Report, Row},
    subjects::Transport,
};

const WORK: &str = "blob";
const AETHER: &str = "aether";
const STREAM: &str = "stream";

const MIB: u64 = 1024 * 1024;

type Runs = runs::Runs<Trial>;

/// Measures everything, on both transports.
pub async fn measure(effort: Effort, report: &mut Report) {
    for transport in [Transport::Tcp, Transport::Quic] {
        for providers in [1, 4] {
            Bench { effort, transport, providers }.transfers(report).await;
        }
    }
}

#[derive(Clone, Copy)]
struct Bench {
    effort: Effort,
    transport: Transport,
    providers: u64,
}

impl Bench {
    async fn transfers(self, report: &mut Report) {
        // iroh-blobs has no TCP, and TCP no QUIC.
        let other = match self.transport {
            Transport::Tcp => Subject::Tcp,
            Transport::Quic => Subject::IrohBlobs,
        };
        let is_built = peer(other.name()).is_some();
        let subjects = [Subject::Aether, Subject::Stream, other];
        let taken = if is_built { 3 } else { 2 };
        let mut all: Vec<Runs> =
            subjects.into_iter().take(taken).map(|subject| self.runs(subject)).collect();
        take_turns(self.effort.runs, &mut all).await;
        let (aether, stream) = (&all[0], &all[1]);
        let conditions = format!(
            "{} MiB, one process, {}, {AETHER} verified and synced, {STREAM} neither, {}",
            self.bytes() / MIB,
            self.transport.describe(),
            self.effort.describe(),
        );
        for figure in FIGURES {
            let metric = self.metric(figure.0, "");
            let base = stream.row(STREAM, &metric, &conditions, figure);
            compare(report, base, [aether.row(AETHER, &metric, &conditions, figure)]);
        }
        let name = other.name();
        let Some(beside) = all.get(2) else {
            eprintln!("{WORK}: {name} is left out: testnet/peers/build.sh builds it");
            let metric = self.metric(FIGURES[0].0, &other.beside());
            let row = Row::new(WORK, name, &metric, FIGURES[0].1, None);
            return report.push(row.under("left out: it isn't built"));
        };
        let conditions = format!(
            "Aether as in {}; {name} in a process of its own, {}, {}",
            self.metric(FIGURES[0].0, ""),
            other.conditions(),
            self.effort.describe(),
        );
        for figure in FIGURES {
            let metric = self.metric(figure.0, &other.beside());
            let base = beside.row(name, &metric, &conditions, figure);
            compare(report, base, [aether.row(AETHER, &metric, &conditions, figure)]);
        }
    }

    fn bytes(self) -> u64 {
        if self.effort.quick { 64 * MIB } else { 256 * MIB }
    }

    fn metric(self, figure: &str, beside: &str) -> String {
        format!("{figure}-from-{}{beside}/{}", self.providers, self.transport.name())
    }

    fn runs(self, subject: Subject) -> Runs {
        let Self { transport, providers, .. } = self;
        Runs::of(WORK, Trial { subject, transport, providers, bytes: self.bytes(), seed: 0 })
    }
}

impl runs::Trial for Trial {
    type Sample = Sample;

    async fn run(&self, seed: u64) -> anyhow::Result<Sample> {
        let trial = Self { seed, ..self.clone() };
        if matches!(self.subject, Subject::Aether | Subject::Stream) {
            return fresh(WORK, &trial).await;
        }
        let name = self.subject.name();
        let program = peer(name).ok_or_else(|| anyhow::anyhow!("{name} isn't built"))?;
        output(&program, &trial.arguments()).await
    }
}
