//! `aether-lab`: starts nodes, takes the tour, reports, and leaves nothing behind.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use aether_lab::{Lab, Options, Stage, TOPIC, leash, tour};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::signal::unix::{SignalKind, signal};

/// Starts aether nodes on this machine and shows what they do together.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many nodes
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = parse_nodes)]
    nodes: usize,
    /// Repeats what an earlier run drew: which nodes are killed, and for how long
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Text whose lines are published; the project's README.md unless given
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave the nodes running after the tour, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Stages to take [default: all; churn from 25 nodes on, flood on Linux]
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    stages: Vec<Stage>,
    /// Keep data folders and logs in this folder, which should be empty
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The program that a node is; the one beside this program unless given
    #[arg(long, value_name = "FILE")]
    aether: Option<PathBuf>,
}

fn parse_nodes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(nodes @ 2..=200) => Ok(nodes),
        _ => Err("from 2 to 200 nodes are possible".to_owned()),
    }
}

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    if args.next().is_some_and(|first| first == leash::COMMAND) {
        let Err(error) = leash::run(args);
        return fail(&format!("can't become a node: {error}"));
    }
    // One thread: the nodes need the processors, and the thread that starts them must stay.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .context("can't start")
        .and_then(|runtime| runtime.block_on(until_signal(Args::parse())));
    result.unwrap_or_else(|error| fail(&format!("{error:#}")))
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Runs until done or told to stop. In each case the lab is dropped here, and its nodes with it.
async fn until_signal(args: Args) -> Result<ExitCode> {
    let stops = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
    let mut told = FuturesUnordered::new();
    for stop in stops {
        let mut signal = signal(stop)?;
        told.push(async move { signal.recv().await.map(|()| stop) });
    }
    let kind = tokio::select! {
        result = run(args) => return result,
        Some(Some(kind)) = told.next() => kind,
    };
    eprintln!("stopped by a signal; the nodes have ended");
    // As a shell has it.
    Ok(ExitCode::from(u8::try_from(128 + kind.as_raw_value())?))
}

async fn run(args: Args) -> Result<ExitCode> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("can't draw a seed")? >> 32,
    };
    let stages = if args.stages.is_empty() { Stage::tour(args.nodes) } else { args.stages };
    let leash = env::current_exe()?;
    let options = Options {
        aether: args.aether.unwrap_or_else(|| leash.with_file_name("aether")),
        leash,
        nodes: args.nodes,
        seed,
        lines: read_lines(args.input.as_deref())?,
        data: args.data,
    };
    println!("{} nodes, seed {seed}", args.nodes);
    let mut lab = Lab::new(options)?;
    tour(&mut lab, &stages).await;
    println!("\n{}", lab.table());
    if let Some(json) = &args.json {
        lab.report.write_json(json).with_context(|| format!("can't write {}", json.display()))?;
    }
    let ok = lab.report.is_ok();
    if !ok {
        let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
        let (nodes, names) = (args.nodes, names.join(","));
        let again = format!("testnet/run.sh --nodes {nodes} --seed {seed} --stages {names}");
        println!("\nFAILED; to try again: {again}");
        // Said once more where a log that was cut ends.
        for row in lab.report.failed() {
            println!("  {}: {}", row.stage, row.to_string().trim());
        }
    }
    if args.keep {
        keep(&lab).await?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lines of the input that say anything.
fn read_lines(input: Option<&Path>) -> Result<Vec<String>> {
    let readme = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
    let input = input.unwrap_or(readme);
    let text = fs::read(input).with_context(|| {
        format!("can't read {}; name a text file with --input", input.display())
    })?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> =
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        bail!("{} has no lines to publish", input.display());
    }
    Ok(lines)
}

/// Says what to try, and waits for the signal that ends all.
async fn keep(lab: &Lab) -> Result<()> {
    let nodes = lab.cluster.nodes();
    let running = |node: &&aether_lab::Node| node.pid().is_some();
    let first = nodes.iter().find(running).context("no node is left to keep")?;
    let last = nodes.iter().rfind(running).context("no node is left to keep")?;
    let (one, other) = (first.api()?.url(), last.api()?.url());
    let aether = lab.cluster.aether().display();
    println!("\nThe nodes run until Ctrl-C. In another terminal:\n");
    println!("  {aether} status --api {one}");
    println!("  {aether} peers --api {other}");
    println!("  {aether} topic subscribe {TOPIC} --api {other}");
    println!("  echo hello | {aether} topic publish {TOPIC} --api {one}");
    println!("  curl -N {other}/v1/topics/{TOPIC}/messages");
    if let Some(pid) = last.pid() {
        println!("  kill -9 {pid}    # and look at the peers again");
    }
    std::future::pending().await
}
