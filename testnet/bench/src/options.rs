//! The command line.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::{
    report::Report,
    works::{Effort, blob, crdt, documents, gossip, service},
};

/// Measures Aether side by side with what it stands on.
#[derive(Debug, clap::Parser)]
#[command(name = "aether-bench", version)]
pub struct Options {
    /// What to measure
    name: Name,
    /// Writes the rows to this file, as a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs per figure, of which the median is quoted
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Short runs, for trying; the rows say so
    #[arg(long)]
    quick: bool,
    /// The history that `documents` applies, types and opens: a sequential trace, as it is or
    /// packed by gzip
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Makes one run in this process and prints what it measured: what the program tells itself
    #[arg(long, hide = true, value_name = "JSON", conflicts_with_all = ["json", "quick"])]
    trial: Option<String>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Topics beside plain gossipsub.
    Gossip,
    /// Services beside plain request-response, and beside NATS where it is installed.
    Service,
    /// Blobs beside a bare stream, and beside iroh-blobs and plain TCP where they are built.
    Blob,
    /// Spaces: maps beside the engine alone, and what two replicas say to each other.
    Crdt,
    /// Documents beside Automerge alone.
    Documents,
    /// Everything.
    All,
}

impl Name {
    /// The works that the name stands for.
    fn works(self) -> &'static [&'static str] {
        match self {
            Self::Gossip => &["gossip"],
            Self::Service => &["service"],
            Self::Blob => &["blob"],
            Self::Crdt => &["crdt"],
            Self::Documents => &["documents"],
            Self::All => &["gossip", "service", "blob", "crdt", "documents"],
        }
    }
}

/// Does what the command line says. The exit status is 1 if a goal has no row.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(trial) = &options.trial {
        println!("{}", sample(options.name, trial)?);
        return Ok(ExitCode::SUCCESS);
    }
    let effort = Effort { runs: options.runs, quick: options.quick };
    let works = options.name.works();
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for work in works {
        match *work {
            "gossip" => runtime.block_on(gossip::measure(effort, &mut report)),
            "service" => runtime.block_on(service::measure(effort, &mut report)),
            "blob" => runtime.block_on(blob::measure(effort, &mut report)),
            "crdt" => runtime.block_on(crdt::measure(effort, &mut report)),
            "documents" => {
                let trace = options.trace.as_ref().map(std::path::absolute).transpose()?;
                runtime.block_on(documents::measure(effort, trace, &mut report));
            }
            other => anyhow::bail!("there is no work named {other}"),
        }
    }
    let missing = report.complete(works);
    println!("{}", report.render());
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()?)
            .with_context(|| format!("can't write the rows to {}", path.display()))?;
    }
    for goal in &missing {
        eprintln!("the goal {goal} has no row: the lines above say which runs failed");
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes one run in this process. What it measured, as JSON.
fn sample(name: Name, trial: &str) -> anyhow::Result<String> {
    const UNKNOWN: &str = "the trial is not one of this release";
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(match name {
        Name::Gossip => {
            let trial = serde_json::from_str(trial).context(UNKNOWN)?;
            serde_json::to_string(&runtime.block_on(gossip::trial::run(&trial))?)
        }
        Name::Service => {
            let trial = serde_json::from_str(trial).context(UNKNOWN)?;
            serde_json::to_string(&runtime.block_on(service::trial::run(&trial))?)
        }
        Name::Blob => {
            let trial = serde_json::from_str(trial).context(UNKNOWN)?;
            serde_json::to_string(&runtime.block_on(blob::trial::run(&trial))?)
        }
        Name::Crdt => {
            let trial = serde_json::from_str(trial).context(UNKNOWN)?;
            serde_json::to_string(&runtime.block_on(crdt::trial::run(&trial))?)
        }
        Name::Documents => {
            let trial = serde_json::from_str(trial).context(UNKNOWN)?;
            serde_json::to_string(&runtime.block_on(documents::trial::run(&trial))?)
        }
        Name::All => anyhow::bail!("a trial is of one work"),
    }?)
}
