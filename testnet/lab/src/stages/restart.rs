//! One node is killed with -9 and, when all others have noticed, started again with its data. It
//! comes back as the same peer and gets what is published from then on.

use anyhow::Result;

use super::form;
use crate::{
    lab::{Lab, now},
    report::float,
};

const STAGE: &str = "restart";

/// Lines per node.
const LINES: usize = 20;

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let victim = lab.draw_nodes(1);
    let before = lab.cluster.nodes()[victim[0]].peer.clone();
    println!("  kill -9 of {}", lab.cluster.nodes()[victim[0]].name);

    let killed = now();
    lab.kill(&victim)?;
    let watchers: Vec<usize> = (0..lab.nodes()).filter(|node| *node != victim[0]).collect();
    lab.wait_for_deaths(&watchers, &victim).await?;
    lab.report.time(STAGE, "death noticed by all", killed.elapsed());

    let started = now();
    let timeout = lab.timeout();
    lab.cluster.launch(&victim, timeout).await?;
    lab.report.time(STAGE, "answers again", started.elapsed());
    let same = lab.cluster.nodes()[victim[0]].peer == before;
    lab.report.check(STAGE, "same peer id", float(usize::from(same)), "", same);
    form::wait(lab).await?;
    lab.report.time(STAGE, "member everywhere again", started.elapsed());

    lab.exchange(STAGE, LINES).await.map(drop)
}
