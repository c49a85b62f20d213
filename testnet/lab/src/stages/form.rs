//! All nodes find each other, having been told one address: every one lists every other as a
//! member, and gossip can go from each to each.

use anyhow::Result;

use crate::{
    lab::{Lab, now},
    report::float,
};

const STAGE: &str = "form";

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let begun = now();
    lab.wait_for_members().await?;
    lab.report.time(STAGE, "every node lists every other", begun.elapsed());
    let begun = now();
    let edges = lab.wait_for_gossip().await?;
    lab.report.time(STAGE, "gossip graph connected", begun.elapsed());
    lab.report.measure(STAGE, "edges of the gossip graph", float(edges), "");
    Ok(())
}

/// The same without the report: how every other stage begins, and ends what it broke.
pub(super) async fn wait(lab: &mut Lab) -> Result<usize> {
    lab.wait_for_members().await?;
    lab.wait_for_gossip().await
}
