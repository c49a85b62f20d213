//! What is tried, in the order of the tour. A stage is a variant here and a module with a `run`.

mod accident;
mod churn;
mod flood;
mod form;
mod kills;
mod maps;
mod publish;
mod restart;
mod serve;
mod spread;
mod typing;

use anyhow::Result;
use clap::ValueEnum;

use crate::lab::{Lab, now};

/// From so many nodes on, the tour takes [`Stage::Churn`] in.
const CHURN_FROM: usize = 25;

/// One stage of the tour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Stage {
    /// All nodes find each other from one address.
    Form,
    /// All nodes publish, and all get everything once.
    Publish,
    /// A node is killed with -9, comes back, and takes part again.
    Restart,
    /// Workers serve, one of them slow, and one of them dies.
    Serve,
    /// A large file goes from one node to all, and its first holder dies half way.
    Spread,
    /// All nodes write to one map, one of them dies in the middle, and all end with the same.
    Maps,
    /// All nodes type into one text, one of them dies in the middle, and nothing is lost.
    Type,
    /// A node is killed with -9 again and again while it is written to, and loses nothing.
    Kills,
    /// A stranger floods one node with all that it can, and the mesh goes on.
    Flood,
    /// A fifth of the nodes is killed with -9 and comes back, three times.
    Churn,
}

impl Stage {
    /// The stages of the tour of so many nodes.
    pub fn tour(nodes: usize) -> Vec<Self> {
        let churn = (nodes >= CHURN_FROM).then_some(Self::Churn);
        // What a process has in memory is read as Linux tells it.
        let flood = cfg!(target_os = "linux").then_some(Self::Flood);
        let usual = [Self::Form, Self::Publish, Self::Restart, Self::Serve, Self::Spread];
        let state = [Self::Maps, Self::Type, Self::Kills];
        usual.into_iter().chain(state).chain(flood).chain(churn).collect()
    }

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Publish => "publish",
            Self::Restart => "restart",
            Self::Serve => "serve",
            Self::Spread => "spread",
            Self::Maps => "maps",
            Self::Type => "type",
            Self::Kills => "kills",
            Self::Flood => "flood",
            Self::Churn => "churn",
        }
    }

    /// Takes the stage, and adds what it measured to the report. An error is what a later stage
    /// can't build on: a node that died, or one that was waited for in vain.
    async fn run(self, lab: &mut Lab) -> Result<()> {
        match self {
            Self::Form => form::run(lab).await,
            Self::Publish => publish::run(lab).await,
            Self::Restart => restart::run(lab).await,
            Self::Serve => serve::run(lab).await,
            Self::Spread => spread::run(lab).await,
            Self::Maps => maps::run(lab).await,
            Self::Type => typing::run(lab).await,
            Self::Kills => kills::run(lab).await,
            Self::Flood => flood::run(lab).await,
            Self::Churn => churn::run(lab).await,
        }
    }
}

/// Starts the nodes and takes the stages one after the other, until one can't go on. All that is
/// found out, failures included, is in the lab's report.
pub async fn tour(lab: &mut Lab, stages: &[Stage]) {
    let started = now();
    let timeout = lab.timeout();
    let start = lab.cluster.start(timeout).await;
    if start.is_ok() {
        lab.report.time("start", "all nodes answer", started.elapsed());
    }
    if !conclude(lab, "start", start) {
        return;
    }
    for stage in stages {
        // A stage relies on a whole mesh, whichever came before; only the first has to wait.
        let whole = if *stage == Stage::Form { Ok(()) } else { form::wait(lab).await.map(drop) };
        let result = match whole {
            Ok(()) => stage.run(lab).await,
            Err(error) => Err(error),
        };
        if !conclude(lab, stage.name(), result) {
            return;
        }
    }
}

/// Says how a stage ended, and whether the next may begin.
fn conclude(lab: &mut Lab, stage: &str, result: Result<()>) -> bool {
    if let Err(error) = &result {
        lab.report.none(stage, "aborted", 1);
        println!("  {error:#}");
    }
    println!("{stage}: {}", if lab.report.is_stage_ok(stage) { "ok" } else { "FAILED" });
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_labs_are_churned() {
        let small = [Stage::Form, Stage::Publish, Stage::Restart, Stage::Serve, Stage::Spread];
        assert!(Stage::tour(5).starts_with(&small) && !Stage::tour(5).contains(&Stage::Churn));
        let state = [Stage::Maps, Stage::Type, Stage::Kills];
        assert!(state.iter().all(|stage| Stage::tour(5).contains(stage)));
        assert_eq!(Stage::tour(5).contains(&Stage::Flood), cfg!(target_os = "linux"));
        assert_eq!(Stage::tour(50).last(), Some(&Stage::Churn));
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for stage in Stage::value_variants() {
            let value = stage.to_possible_value().unwrap();
            assert_eq!(value.get_name(), stage.name());
        }
    }
}
