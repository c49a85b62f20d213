//! What several stages have in the middle: a node that is killed with -9, and comes back.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use futures::future::try_join_all;
use tokio::sync::watch;

use crate::{api::Api, lab::Lab};

/// How long the node is away.
const AWAY: Duration = Duration::from_secs(1);

/// Where a writer finds its node, which may be the one that dies.
pub(super) struct Writer {
    /// Which node it writes through.
    pub(super) node: usize,
    /// That node's interface, as it is now.
    pub(super) api: Api,
    back: Option<watch::Receiver<Option<Api>>>,
}

impl Writer {
    /// A write has failed. Waits until the node is back, if it is the one that dies and hasn't yet:
    /// then the write may be tried again. Else that is the stage's failure.
    pub(super) async fn failed(&mut self, error: Error, what: &str) -> Result<()> {
        let Some(mut back) = self.back.take() else {
            return Err(error.context(format!("node{} doesn't take {what}", self.node)));
        };
        let found = back.wait_for(Option::is_some).await.context("the node stays away")?;
        self.api = found.clone().context("the node is back")?;
        Ok(())
    }
}

/// Runs a writer at each node; once `is_half` says so, one of the nodes dies and comes back.
pub(super) async fn amid<W: Future<Output = Result<()>>>(
    lab: &mut Lab,
    write: impl Fn(Writer) -> W,
    is_half: impl Fn() -> bool,
) -> Result<()> {
    let victim = lab.draw_nodes(1)[0];
    let (back, is_back) = watch::channel(None);
    let mut writers = Vec::new();
    for (node, found) in lab.cluster.nodes().iter().enumerate() {
        let back = (node == victim).then(|| is_back.clone());
        writers.push(write(Writer { node, api: found.api()?.clone(), back }));
    }
    let timeout = lab.timeout() * 4;
    let accident = async {
        while !is_half() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("  kill -9 of {}", lab.cluster.nodes()[victim].name);
        lab.kill(&[victim])?;
        tokio::time::sleep(AWAY).await;
        let wait = lab.timeout();
        lab.cluster.launch(&[victim], wait).await?;
        let _ = back.send(Some(lab.cluster.nodes()[victim].api()?.clone()));
        Ok(())
    };
    let all = async { tokio::try_join!(try_join_all(writers), accident) };
    match tokio::time::timeout(timeout, all).await {
        Ok(result) => result.map(drop),
        Err(_) => bail!("not all is written after {timeout:?}"),
    }
}
