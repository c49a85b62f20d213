//! All nodes write to one map at once, each its own keys, and of a hundredth of them two the same.
//! In the middle of it one is killed with -9, and started again. What was acknowledged is there on
//! all nodes in the end, and all of them hold and show the same.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::accident::{self, Writer};
use crate::{
    api::Api,
    lab::{Lab, now},
    report::float,
};

const STAGE: &str = "maps";

/// How many keys there are, unless [`KEYS_VARIABLE`] says another number.
const KEYS: usize = 20_000;
const KEYS_VARIABLE: &str = "AETHER_MAPS_KEYS";

/// Keys that are written at once.
const BATCH: usize = 250;

/// Of so many keys one is written by two nodes.
const SHARED: usize = 100;

const MAP: &str = "keys";

/// What nodes write, and how far they are.
struct Writing {
    space: String,
    keys: usize,
    nodes: usize,
    acknowledged: Cell<usize>,
    retried: Cell<usize>,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let keys = match std::env::var(KEYS_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{KEYS_VARIABLE} is no number"))?,
        Err(_) => KEYS,
    };
    let (space, ticket) = lab.cluster.nodes()[0].api()?.create_space("lab").await?;
    for node in &lab.cluster.nodes()[1..] {
        node.api()?.join_space(&ticket).await?;
    }
    let (acknowledged, retried) = (Cell::new(0), Cell::new(0));
    let writing = Writing { space, keys, nodes: lab.nodes(), acknowledged, retried };

    let started = now();
    let is_half = || writing.acknowledged.get() >= writing.keys / 2;
    accident::amid(lab, |writer| write(&writing, writer), is_half).await?;
    let took = started.elapsed();
    let written = writing.acknowledged.get();
    lab.report.measure(STAGE, "keys", float(keys), "");
    lab.report.measure(STAGE, "writes acknowledged", float(written), "");
    let rate = float(written) / took.as_secs_f64().max(0.001);
    lab.report.measure(STAGE, "rate, a kill in between", rate, "keys/s");
    lab.report.measure(STAGE, "batches tried again", float(writing.retried.get()), "");

    let ended = now();
    let forked = wait_until_equal(lab, &writing.space).await?;
    lab.report.time(STAGE, "all hold and show the same after", ended.elapsed());
    lab.report.none(STAGE, "forked feeds", forked);
    compare(lab, &writing).await
}

impl Writing {
    fn key(number: usize) -> String {
        format!("k{number:07}")
    }

    fn value(number: usize, node: usize) -> Value {
        json!({ "number": number, "by": node })
    }

    /// The node whose key this is, and the one that writes it as well.
    fn authors(&self, number: usize) -> (usize, Option<usize>) {
        let own = number % self.nodes;
        let is_shared = (number / self.nodes).is_multiple_of(SHARED);
        (own, is_shared.then_some((own + 1) % self.nodes))
    }

    /// What a node writes, in batches.
    fn batches(&self, node: usize) -> Vec<Vec<usize>> {
        let is_its = |number: &usize| {
            let (own, other) = self.authors(*number);
            own == node || other == Some(node)
        };
        let numbers: Vec<usize> = (0..self.keys).filter(is_its).collect();
        numbers.chunks(BATCH).map(<[usize]>::to_vec).collect()
    }
}

/// Writes what is a node's to write. What fails is written again once the node is back, if it is
/// the one that dies; what was acknowledged isn't.
async fn write(writing: &Writing, mut writer: Writer) -> Result<()> {
    let node = writer.node;
    for batch in writing.batches(node) {
        let put: BTreeMap<String, Value> = batch
            .iter()
            .map(|&number| (Writing::key(number), Writing::value(number, node)))
            .collect();
        let put = json!(put);
        while let Err(error) = writer.api.put_all(&writing.space, MAP, &put).await {
            writer.failed(error, "a batch").await?;
            writing.retried.set(writing.retried.get() + 1);
        }
        writing.acknowledged.set(writing.acknowledged.get() + batch.len());
    }
    Ok(())
}

/// Waits until the digests and the states of all nodes are one, and gives how many feeds forked.
async fn wait_until_equal(lab: &mut Lab, space: &str) -> Result<usize> {
    let (started, timeout) = (now(), lab.timeout());
    loop {
        lab.cluster.check()?;
        let asked = lab.cluster.nodes().iter().map(|node| async {
            let state = node.api()?.space_state(space).await;
            state.with_context(|| format!("{} doesn't tell its state", node.name))
        });
        let mut states = try_join_all(asked).await?;
        let forked = states[0].status.forked;
        states.dedup();
        if states.len() == 1 {
            return Ok(forked);
        }
        if started.elapsed() > timeout {
            bail!("{} different states after {timeout:?}: {states:?}", states.len());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads all on all nodes, and reports what is missing or odd.
async fn compare(lab: &mut Lab, writing: &Writing) -> Result<()> {
    let (mut missing, mut wrong) = (0, 0);
    for node in lab.cluster.nodes() {
        let found = read_all(node.api()?, &writing.space).await?;
        wrong += found.len().saturating_sub(writing.keys);
        for number in 0..writing.keys {
            let (own, other) = writing.authors(number);
            let by = |node| Some(Writing::value(number, node));
            match found.get(&Writing::key(number)) {
                None => missing += 1,
                value if value.cloned() == by(own) || value.cloned() == other.and_then(by) => {}
                Some(_) => wrong += 1,
            }
        }
    }
    let (mut shared, mut conflicts) = (0, 0);
    let api = lab.cluster.nodes()[0].api()?;
    for number in (0..writing.keys).filter(|number| writing.authors(*number).1.is_some()) {
        let values = api.map_values(&writing.space, MAP, &Writing::key(number)).await?;
        (shared, conflicts) = (shared + 1, conflicts + usize::from(values.len() > 1));
    }
    lab.report.none(STAGE, "acknowledged and missing", missing);
    lab.report.none(STAGE, "that nobody wrote", wrong);
    lab.report.measure(STAGE, "keys written by two nodes", float(shared), "");
    lab.report.measure(STAGE, "conflicts, both values kept", float(conflicts), "");
    Ok(())
}

async fn read_all(api: &Api, space: &str) -> Result<BTreeMap<String, Value>> {
    let (mut all, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let page = api.map_page(space, MAP, after.as_deref()).await?;
        all.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_author_and_a_hundredth_have_two() {
        let (space, keys) = (String::new(), 10_000);
        let (acknowledged, retried) = (Cell::new(0), Cell::new(0));
        let writing = Writing { space, keys, nodes: 5, acknowledged, retried };
        let mut written = vec![0; keys];
        for node in 0..5 {
            for number in writing.batches(node).concat() {
                written[number] += 1;
            }
        }
        assert!(written.iter().all(|times| matches!(times, 1 | 2)));
        assert_eq!(written.iter().filter(|times| **times == 2).count(), keys / SHARED);
    }
}
