//! Spaces: durable puts a second, bytes written for each byte put, and what two replicas say to
//! find what they lack.
//!
//! - **In batches**: one node with a store on disk; eight writers put keys of 20 bytes and random
//!   values of 100 in batches of 1,000, and wait until each batch is synced. *Engine* is the store
//!   alone, given the same keys and values in the same batches.
//! - **From 64**: 64 writers each put one key at a time and wait for it. *Disk* is what 64 writers
//!   could do who share one sync each time: 64 divided by the median time of a sync of 4 KiB to a
//!   file in the same folder, measured in the same run.
//! - **Written**: bytes that the process gave to the disk (`/proc/self/io`) until the node is shut
//!   down, for each byte of keys and values.
//! - **Kept**: bytes in the data folder for each key, without the engine's journal of 64 MiB, when
//!   each was written eleven times, in another order each time and in batches of 1,000, and the
//!   space was compacted and closed.
//! - **Sync**: two replicas in memory, as they run on a node but for disk and network. All that
//!   they say is counted from the moment they meet until they hold the same. Differences are
//!   entries of one put each, all by one of the two.

pub mod trial;

use trial::{Sample, Subject, Trial};

use super::{
    Effort,
    runs::{self, Figure, compare, take_turns},
};
use crate::{
    process::fresh,
    report::{Report, Row},
};

const WORK: &str = "crdt";
const AETHER: &str = "aether";

type Runs = runs::Runs<Trial>;

const RATE: Figure<Sample> = ("rate", "puts/s", |sample| sample.operations / sample.seconds);
const DISK: Figure<Sample> = ("disk", "puts/s", |sample| 64.0 / sample.sync_seconds);
const WRITTEN: Figure<Sample> = ("written", "bytes/byte", |sample| sample.written / sample.given);
const KEPT: Figure<Sample> = ("kept", "bytes/key", |sample| sample.written / sample.operations);
/// Twice what is alive, and 64 bytes.
const ALLOWED: Figure<Sample> =
    ("allowed", "bytes/key", |sample| 2.0 * sample.given / sample.operations + 64.0);
const SAID: Figure<Sample> = ("said", "bytes", |sample| sample.written);
const LEAST: Figure<Sample> = ("least", "bytes", |sample| 2.0 * sample.given + 1024.0);

/// Measures everything.
pub async fn measure(effort: Effort, report: &mut Report) {
    puts(effort, report).await;
    kept(effort, report).await;
    sync(effort, report).await;
}

fn runs(subject: Subject, operations: u64) -> Runs {
    Runs::of(WORK, Trial { subject, operations, seed: 0 })
}

async fn puts(effort: Effort, report: &mut Report) {
    let (batched, single) = if effort.quick { (50_000, 2_000) } else { (500_000, 20_000) };
    let mut all = [
        runs(Subject::Batches, batched),
        runs(Subject::Engine, batched),
        runs(Subject::Single, single),
    ];
    take_turns(effort.runs, &mut all).await;
    let [batches, engine, single] = &all;
    let conditions = format!(
        "{batched} puts of 120 bytes in batches of 1,000 from 8 writers, one process, durable, \
         signed by the node, {}",
        effort.describe()
    );
    let required = Row::new(WORK, "required", "puts-in-batches", "puts/s", Some(100_000.0));
    let aether = batches.row(AETHER, "puts-in-batches", &conditions, RATE);
    compare(report, Some(required), [aether]);
    let base = engine.row("engine", "puts-in-batches-beside-engine", &conditions, RATE);
    let aether = batches.row(AETHER, "puts-in-batches-beside-engine", &conditions, RATE);
    compare(report, base, [aether]);
    let required = Row::new(WORK, "put", "written-per-byte", "bytes/byte", Some(1.0));
    let aether = batches.row(AETHER, "written-per-byte", &conditions, WRITTEN);
    compare(report, Some(required), [aether]);
    let conditions =
        format!("one put of 120 bytes at a time, one process, durable, {}", effort.describe());
    let base = single.row("disk", "puts-from-64", &conditions, DISK);
    let aether = single.row(AETHER, "puts-from-64", &conditions, RATE);
    compare(report, base, [aether]);
}

async fn kept(effort: Effort, report: &mut Report) {
    let keys = if effort.quick { 20_000 } else { 200_000 };
    let mut all = [runs(Subject::Kept, keys)];
    take_turns(effort.runs.min(3), &mut all).await;
    let [kept] = &all;
    let conditions = format!(
        "{keys} keys of 20 bytes with values of 100, each written eleven times, then compacted, \
         without the journal of 64 MiB, {}",
        effort.describe()
    );
    let base = kept.row("allowed", "kept-per-key", &conditions, ALLOWED);
    compare(report, base, [kept.row(AETHER, "kept-per-key", &conditions, KEPT)]);
}

async fn sync(effort: Effort, report: &mut Report) {
    let keys = if effort.quick { 10_000 } else { 1_000_000 };
    let differences = [0, 100, 10_000];
    let mut all = differences.map(|differences| runs(Subject::Sync { differences }, keys));
    take_turns(effort.runs.min(3), &mut all).await;
    for (differences, runs) in differences.into_iter().zip(&all) {
        let conditions = format!(
            "two replicas of {keys} keys, {differences} entries differ, in memory, signatures \
             verified, {}",
            effort.describe()
        );
        let metric = format!("sync-{differences}");
        // What a session may say at most: twice what differs, and a KiB.
        let base = runs.row("allowed", &metric, &conditions, LEAST);
        compare(report, base, [runs.row(AETHER, &metric, &conditions, SAID)]);
    }
}

impl runs::Trial for Trial {
    type Sample = Sample;

    async fn run(&self, seed: u64) -> anyhow::Result<Sample> {
        fresh(WORK, &Self { seed, ..self.clone() }).await
    }
}
