//! A node is killed with -9 again and again while it is written to, at drawn moments, and some
//! times while it starts. It opens by itself each time, with all that it had acknowledged. No other
//! node has what it holds, so nothing comes back from elsewhere.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    api::Api,
    lab::{Lab, now},
    report::float,
};

const STAGE: &str = "kills";

/// How often it is killed, unless [`KILLS_VARIABLE`] says another number.
const KILLS: usize = 5;
const KILLS_VARIABLE: &str = "AETHER_KILLS";

/// The longest time from the first write of a life to its end, in milliseconds.
const LONGEST: usize = 800;
/// Each so manieth life ends while the node starts, within so many milliseconds.
const EARLY: usize = 4;
const EARLIEST: usize = 300;

/// How many write to the map at once, and how many keys each puts at a time.
const WRITERS: usize = 4;
const BATCH: usize = 5;

const DOCUMENT: &str = "diary";

/// What one life of the node has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Batches of keys, by their writer and number.
    batches: Vec<(usize, usize)>,
    /// Lines of the document.
    lines: Vec<String>,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let kills = match std::env::var(KILLS_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{KILLS_VARIABLE} is no number"))?,
        Err(_) => KILLS,
    };
    // The first is the address of all others.
    let victim = lab.nodes() - 1;
    let (space, _) = api(lab, victim)?.create_space("kills").await?;
    println!("  kill -9 of {}, {kills} times", lab.cluster.nodes()[victim].name);
    let (mut lines, mut slowest) = (Vec::new(), Duration::ZERO);
    let (mut batches, mut lost, mut torn) = (0, 0, 0);
    for life in 0..kills {
        let time = Duration::from_millis(u64::try_from(lab.draw(LONGEST))?);
        let written =
            write_for(&api(lab, victim)?, &space, life, time, || lab.kill(&[victim])).await?;
        if life % EARLY == EARLY - 1 {
            let time = Duration::from_millis(u64::try_from(lab.draw(EARLIEST))?);
            lab.cluster.launch_briefly(victim, time).await?;
        }
        let started = now();
        let timeout = lab.timeout();
        lab.cluster.launch(&[victim], timeout).await?;
        slowest = slowest.max(started.elapsed());

        batches += written.batches.len();
        lines.extend(written.lines);
        let found = read_all(&api(lab, victim)?, &space, life).await?;
        lost += missing(&written.batches, &found);
        // A batch that wasn't acknowledged is there, or isn't.
        torn += found.values().filter(|keys| **keys != BATCH).count();
    }
    let text = api(lab, victim)?.document(&space, DOCUMENT).await?.content.text;
    let times = |line: &String| text.lines().filter(|other| other == line).count();
    let state = api(lab, victim)?.space_state(&space).await?;
    lab.report.measure(STAGE, "kills", float(kills), "");
    lab.report.measure(STAGE, "batches acknowledged", float(batches), "");
    lab.report.none(STAGE, "acknowledged batches lost", lost);
    lab.report.none(STAGE, "batches of which a part is there", torn);
    lab.report.measure(STAGE, "lines acknowledged", float(lines.len()), "");
    let lines = lines.iter().filter(|line| times(line) != 1).count();
    lab.report.none(STAGE, "lines lost or there twice", lines);
    lab.report.none(STAGE, "forked feeds", state.status.forked);
    lab.report.time(STAGE, "longest start", slowest);
    Ok(())
}

fn api(lab: &Lab, node: usize) -> Result<Api> {
    lab.cluster.nodes()[node].api().cloned()
}

fn map(life: usize) -> String {
    format!("life{life}")
}

/// Writes until the node is killed, which is after some time.
async fn write_for(
    api: &Api,
    space: &str,
    life: usize,
    time: Duration,
    kill: impl FnOnce() -> Result<()>,
) -> Result<Acknowledged> {
    let all = RefCell::new(Acknowledged::default());
    let put = |writer: usize| {
        let all = &all;
        async move {
            for number in 0.. {
                let key = |at: usize| format!("w{writer}-{number:05}-{at}");
                let keys: BTreeMap<String, Value> =
                    (0..BATCH).map(|at| (key(at), json!(number))).collect();
                // It fails when the node is dead.
                if api.put_all(space, &map(life), &json!(keys)).await.is_err() {
                    return;
                }
                all.borrow_mut().batches.push((writer, number));
            }
        }
    };
    let type_lines = async {
        for number in 0.. {
            let line = format!("life {life}, line {number}");
            if api.insert_text(space, DOCUMENT, 0, &format!("{line}\n")).await.is_err() {
                return;
            }
            all.borrow_mut().lines.push(line);
        }
    };
    let killed = async {
        tokio::time::sleep(time).await;
        kill()
    };
    let (_, (), killed) = futures::join!(join_all((0..WRITERS).map(put)), type_lines, killed);
    killed?;
    Ok(all.into_inner())
}

/// How many keys there are of each batch of a life.
async fn read_all(api: &Api, space: &str, life: usize) -> Result<BTreeMap<(usize, usize), usize>> {
    let (mut all, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let page = api.map_page(space, &map(life), after.as_deref()).await?;
        for entry in page.entries {
            *all.entry(batch_of(&entry.key)?).or_default() += 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// The writer and the number of the batch that a key is of.
fn batch_of(key: &str) -> Result<(usize, usize)> {
    let mut parts = key.strip_prefix('w').unwrap_or_default().split('-');
    let mut next = || parts.next().and_then(|part| part.parse().ok());
    next().zip(next()).with_context(|| format!("nobody wrote key {key}"))
}

fn missing(acknowledged: &[(usize, usize)], found: &BTreeMap<(usize, usize), usize>) -> usize {
    acknowledged.iter().filter(|batch| found.get(batch) != Some(&BATCH)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_which_a_key_is_missing_is_missed() {
        let found = [((0, 1), BATCH), ((0, 2), BATCH - 1)].into();
        assert_eq!(missing(&[(0, 1)], &found), 0);
        assert_eq!(missing(&[(0, 1), (0, 2), (1, 0)], &found), 2);
        assert_eq!(batch_of("w3-00017-4").unwrap(), (3, 17));
        assert!(batch_of("x").is_err());
    }
}
