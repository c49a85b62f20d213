//! A large file goes from one node to all others at once, and its first holder is killed with -9
//! half way and comes back. Everyone ends with all of it, and what they had already isn't fetched
//! again.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;

use super::form;
use crate::{
    api::Api,
    lab::{Lab, now},
    report::float,
};

const STAGE: &str = "spread";

const MIB: u64 = 1024 * 1024;

/// Bytes of the file, where few nodes take it.
const SIZE: u64 = 256 * MIB;

/// Bytes that all nodes take together, at most.
const TOTAL: u64 = 5 * SIZE;

/// How long the first holder is away.
const AWAY: Duration = Duration::from_secs(2);

/// Of what was fetched, the share that may have been fetched in vain: what was on its way when the
/// holder died, and what two sent because one was slow.
const EXCESS: f64 = 0.1;

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let size = SIZE.min(TOTAL / u64::try_from(lab.nodes())?);
    let file = lab.cluster.folder().join("spread.bin");
    make(lab.cluster.aether(), &file, size)?;
    let started = now();
    let id = lab.cluster.nodes()[0].api()?.add_blob(&file).await?;
    lab.report.time(STAGE, "added and synced", started.elapsed());
    std::fs::remove_file(&file)?;
    let takers: Vec<usize> = (1..lab.nodes()).collect();
    let before = counters(lab, &takers).await?;

    let started = now();
    spread(lab, &id, &takers, size).await?;
    let took = started.elapsed();
    lab.report.measure(STAGE, "file", float(usize::try_from(size / MIB)?), "MiB");
    lab.report.time(STAGE, "all nodes have it, a kill in between", took);
    let each = float(usize::try_from(size / MIB)?) / took.as_secs_f64();
    lab.report.measure(STAGE, "rate, all nodes together", each * float(takers.len()), "MiB/s");

    let after = counters(lab, &takers).await?;
    let fetched = after.0.saturating_sub(before.0);
    let excess = after.1.saturating_sub(before.1);
    let share = float(usize::try_from(excess)?) / float(usize::try_from(fetched)?.max(1));
    lab.report.check(STAGE, "fetched in vain", share * 100.0, "%", share < EXCESS);
    let mut whole = 0;
    for node in lab.cluster.nodes() {
        whole += usize::from(node.api()?.has_blob(&id, size).await?);
    }
    lab.report.check(STAGE, "nodes with all of it", float(whole), "", whole == lab.nodes());
    form::wait(lab).await.map(drop)
}

/// A file of this size, of programs that were built: real content.
fn make(aether: &Path, file: &Path, size: u64) -> Result<()> {
    let folder = aether.parent().context("a program is in a folder")?;
    let programs: Vec<PathBuf> =
        ["aether", "aether-lab", "pool"].iter().map(|name| folder.join(name)).collect();
    let mut out = io::BufWriter::new(File::create(file)?);
    let mut left = size;
    while left > 0 {
        let before = left;
        for program in programs.iter().filter(|program| program.is_file()) {
            // What comes again differs from what came before.
            out.write_all(&left.to_be_bytes()[..usize::try_from(left.min(8))?])?;
            left -= left.min(8);
            left -= io::copy(&mut File::open(program)?.take(left), &mut out)?;
        }
        if left == before {
            bail!("there are no programs in {}", folder.display());
        }
    }
    Ok(out.flush()?)
}

/// Bytes that these nodes have fetched, and those in vain.
async fn counters(lab: &Lab, nodes: &[usize]) -> Result<(u64, u64)> {
    let (mut fetched, mut excess) = (0, 0);
    for &node in nodes {
        let api = lab.cluster.nodes()[node].api()?;
        fetched += api.metric("aether_blob_fetched_bytes_total").await?;
        excess += api.metric("aether_blob_excess_bytes_total").await?;
    }
    Ok((fetched, excess))
}

/// Lets nodes get the blob, all at once; the first holder is away for a while half way.
async fn spread(lab: &mut Lab, id: &str, takers: &[usize], size: u64) -> Result<()> {
    let (timeout, half) = (lab.timeout() * 4, size * u64::try_from(takers.len())? / 2);
    let progress: Vec<Cell<u64>> = takers.iter().map(|_| Cell::new(0)).collect();
    let apis: Vec<Api> = takers
        .iter()
        .map(|&node| Ok(lab.cluster.nodes()[node].api()?.clone()))
        .collect::<Result<_>>()?;
    let gets = apis
        .iter()
        .zip(&progress)
        .map(|(api, seen)| async move { api.get_blob(id, |done| seen.set(done)).await });
    let accident = async {
        while progress.iter().map(Cell::get).sum::<u64>() < half {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("  kill -9 of {}", lab.cluster.nodes()[0].name);
        lab.kill(&[0])?;
        tokio::time::sleep(AWAY).await;
        let wait = lab.timeout();
        lab.cluster.launch(&[0], wait).await
    };
    let all = async { tokio::try_join!(try_join_all(gets), accident) };
    match tokio::time::timeout(timeout, all).await {
        Ok(result) => result.map(drop),
        Err(_) => {
            let have: Vec<u64> = progress.iter().map(|seen| seen.get() / MIB).collect();
            bail!("after {timeout:?} the nodes have {have:?} MiB of {}", size / MIB)
        }
    }
}
