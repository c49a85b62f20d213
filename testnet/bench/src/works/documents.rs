//! Documents: what a history costs a replica, in processor time and in memory, what opening it
//! again costs, beside Automerge alone; and how soon a new peer has very many of them.
//!
//! - **Apply**: a history with one change for each edit reaches a replica in entries of 64 changes.
//!   Counted is the processor time from the messages of its peer to the text, signatures, rules of
//!   entries and of changes included; its disk is memory. *Automerge* decodes and applies the same
//!   changes, 64 at a time, and keeps no rule.
//! - **Typed**: memory of a process after the same edits were typed into a document, which makes
//!   few changes of them, as they come fast. *Automerge* makes one change of each.
//! - **Open**: the time, and the most memory, from a file on disk to the text. Both open the same
//!   file, which holds the history of *apply*.
//! - **Ready**: the same, until it can be edited: Aether makes what it takes to judge changes after
//!   the text can be read. *Automerge* is ready when it is open.
//! - **Many**: a node joins a space with very many small documents that another node has; time
//!   until it holds all, with both nodes' disks, over loopback.
//!
//! The history is a file of the sequential kind of <https://github.com/josephg/editing-traces>, if
//! one is given; else it is generated: somebody types, moves about, and deletes some of it.

mod history;
pub mod trial;

use std::path::PathBuf;

use trial::{Sample, Subject, Trial};

use super::{
    Effort,
    runs::{self, Figure, compare, take_turns},
};
use crate::{
    process::fresh,
    report::{Report, Row},
};

const WORK: &str = "documents";
const AETHER: &str = "aether";
const AUTOMERGE: &str = "automerge";

type Runs = runs::Runs<Trial>;

const CPU: Figure<Sample> = ("cpu", "s", |sample| sample.seconds);
const TIME: Figure<Sample> = ("time", "s", |sample| sample.seconds);
const MEMORY: Figure<Sample> = ("memory", "MiB", |sample| sample.bytes / f64::from(1 << 20));

/// Seconds in which a new peer has ten thousand documents.
const SOON: f64 = 3.0;

/// Measures everything.
pub async fn measure(effort: Effort, trace: Option<PathBuf>, report: &mut Report) {
    let (edits, many) = if effort.quick { (20_000, 1_000) } else { (260_000, 10_000) };
    let what = trace.as_ref().map_or("a generated history".to_owned(), |trace| {
        trace.file_name().unwrap_or_default().to_string_lossy().into_owned()
    });
    let conditions = |more: &str| {
        format!("{what} of at most {edits} edits, one process, {more}, {}", effort.describe())
    };
    let pair = |aether, automerge| {
        [aether, automerge].map(|subject| {
            let trace = trace.clone();
            Runs::of(WORK, Trial { subject, count: edits, trace, folder: None, seed: 0 })
        })
    };
    let effort = Effort { runs: effort.runs.min(3), ..effort };

    let mut apply = pair(Subject::Apply, Subject::ApplyAutomerge);
    take_turns(effort.runs, &mut apply).await;
    let under = conditions("in memory, one change an edit, 64 an entry, signatures verified");
    let base = apply[1].row(AUTOMERGE, "apply-cpu", &under, CPU);
    compare(report, base, [apply[0].row(AETHER, "apply-cpu", &under, CPU)]);

    let mut typed = pair(Subject::Type, Subject::TypeAutomerge);
    take_turns(effort.runs, &mut typed).await;
    let under = conditions("in memory, typed as fast as it goes");
    let base = typed[1].row(AUTOMERGE, "typed-memory", &under, MEMORY);
    compare(report, base, [typed[0].row(AETHER, "typed-memory", &under, MEMORY)]);

    let under = conditions("from a file, one change an edit");
    for (subject, metrics) in [
        (Subject::Open, [("open-time", TIME), ("open-peak", MEMORY)]),
        (Subject::Ready, [("ready-time", TIME), ("ready-peak", MEMORY)]),
    ] {
        let mut open = pair(subject, Subject::OpenAutomerge);
        take_turns(effort.runs, &mut open).await;
        for (metric, figure) in metrics {
            let base = open[1].row(AUTOMERGE, metric, &under, figure);
            compare(report, base, [open[0].row(AETHER, metric, &under, figure)]);
        }
    }

    let subject = Subject::Many;
    let trial = Trial { subject, count: many, trace: None, folder: None, seed: 0 };
    let mut runs = [Runs::of(WORK, trial)];
    take_turns(effort.runs, &mut runs).await;
    let under = format!(
        "{many} documents of a line, two nodes in one process, durable, QUIC over loopback, {}",
        effort.describe()
    );
    let most = Some(SOON * f64::from(u32::try_from(many).unwrap_or(u32::MAX)) / 10_000.0);
    let required = Row::new(WORK, "allowed", "many-to-a-new-peer", "s", most);
    compare(report, Some(required), [runs[0].row(AETHER, "many-to-a-new-peer", &under, TIME)]);
}

impl runs::Trial for Trial {
    type Sample = Sample;

    async fn run(&self, seed: u64) -> anyhow::Result<Sample> {
        fresh(WORK, &Self { seed, ..self.clone() }).await
    }
}
