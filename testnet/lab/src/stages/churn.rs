//! A fifth of the nodes, drawn by the seed, is killed with -9 all at once and started again, three
//! times: the others may have noticed by then, or not yet. Once the roster has settled, what is
//! published reaches everyone.

use std::time::Duration;

use anyhow::Result;

use super::form;
use crate::{
    lab::{Lab, now},
    report::float,
};

const STAGE: &str = "churn";

const ROUNDS: usize = 3;
/// Longest time that the dead stay dead, in milliseconds; about what others need to notice.
const MAX_AWAY: usize = 10_000;
/// Lines per node.
const LINES: usize = 20;

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let mut killed = 0;
    for round in 1..=ROUNDS {
        let fifth = (lab.nodes() / 5).max(1);
        let victims = lab.draw_nodes(fifth);
        let away = Duration::from_millis(u64::try_from(lab.draw(MAX_AWAY))?);
        println!("  kill -9 of {victims:?}, away for {away:?}");
        lab.kill(&victims)?;
        tokio::time::sleep(away).await;
        let started = now();
        let timeout = lab.timeout();
        lab.cluster.launch(&victims, timeout).await?;
        form::wait(lab).await?;
        lab.report.time(STAGE, &format!("settled after round {round}"), started.elapsed());
        killed += victims.len();
    }
    lab.report.measure(STAGE, "killed and restarted", float(killed), "nodes");
    lab.exchange(STAGE, LINES).await.map(drop)
}
