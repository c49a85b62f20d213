//! A stranger floods one node, in turns, with all that a peer may begin and needn't end. Its memory
//! stays under a limit such as an operator would set; meanwhile the others are served, some of them
//! by way of that node, and afterwards a new node joins through it.
//!
//! What the limit does, and what it doesn't: above `network.max_memory` a node makes and accepts no
//! connection, and it makes QUIC's windows small enough for so many connections. What it has
//! accepted is held by the bounds of each connection, and of each protocol over all of them, which
//! know nothing of the limit; and memory that has been freed isn't all given back to the system. So
//! the limit is no promise whatever an attacker does and for however long: this stage shows what
//! seconds of each attack come to. `AETHER_FLOOD_SECONDS` makes each turn last longer.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::Ordering,
    time::Duration,
};

use aether_mesh::Multiaddr;
use anyhow::{Context as _, Result, bail};

use super::{form, serve};
use crate::{
    api::{Api, CallError},
    flood::{Flood, Target, Turn},
    lab::{Lab, now},
    memory,
    report::{float, percentile},
    workers::Workers,
};

const STAGE: &str = "flood";

/// The node that is flooded: not the first, whose address the others have been told.
const VICTIM: usize = 1;

/// The workers, of which the second is flooded.
const WORKERS: [&str; 2] = ["w0", "w1"];

const MIB: usize = 1024 * 1024;

/// What the node may have in memory, in MiB. It takes about 35 when it is idle, and 230 in the
/// worst turn.
const LIMIT: usize = 320;

/// Connections that the node takes.
const CONNECTIONS: usize = 64;

/// Bytes of the blob that is asked for.
const BLOB: usize = 16 * MIB;

/// How long a turn takes, unless [`SECONDS`] says otherwise.
const TURN: Duration = Duration::from_millis(2500);

/// The variable that makes each turn last so many seconds.
const SECONDS: &str = "AETHER_FLOOD_SECONDS";

/// What a call and a message have time for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Between two calls, two messages, and two looks at the node.
const PAUSE: Duration = Duration::from_millis(50);

const TURNS: [(Turn, &str); 8] = [
    (Turn::Handshakes, "half-open handshakes"),
    (Turn::Connections, "connections"),
    (Turn::Streams, "streams"),
    (Turn::Answers, "unread answers"),
    (Turn::Windows, "filled windows"),
    (Turn::Frames, "unfinished frames"),
    (Turn::Blobs, "unread blobs"),
    (Turn::Bodies(serve::SERVICE), "unfinished bodies"),
];

/// How honest nodes fared.
#[derive(Debug, Default)]
struct Honest {
    calls: Vec<Duration>,
    failed: Vec<String>,
    messages: Vec<Duration>,
    late: usize,
}

/// Who is flooded, and the process that it is.
struct Victim {
    target: Target,
    pid: u32,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let bytes = (LIMIT * MIB).to_string();
    let settings = [
        ("AETHER_NETWORK__MAX_MEMORY", bytes),
        ("AETHER_NETWORK__MAX_CONNECTIONS", CONNECTIONS.to_string()),
    ];
    restart(lab, &settings).await?;
    let mut workers = Workers::new(&lab.cluster)?;
    let victims = prepare(lab, &mut workers).await?;
    let pid = victims[0].pid;
    lab.report.measure(STAGE, "limit of memory", float(LIMIT), "MiB");
    lab.report.measure(STAGE, "limit of connections", float(CONNECTIONS), "");
    lab.report.measure(STAGE, "memory before", mib(memory::resident(pid)?), "MiB");

    let mut honest = Honest::default();
    let mut most = 0;
    for (turn, name) in TURNS {
        let is_bodies = matches!(turn, Turn::Bodies(_));
        let victim = &victims[usize::from(is_bodies)];
        most = most.max(take(lab, turn, name, victim, &mut honest).await?);
        lab.cluster.check()?;
    }
    let fits = most <= CONNECTIONS;
    lab.report.check(STAGE, "connected peers of the node, at most", float(most), "", fits);
    report(lab, &honest);
    recover(lab, &mut workers, pid).await?;
    workers.stop()?;
    restart(lab, &[]).await
}

/// Starts the node that is flooded anew, with these settings.
async fn restart(lab: &mut Lab, settings: &[(&str, String)]) -> Result<()> {
    lab.kill(&[VICTIM])?;
    lab.cluster.configure(VICTIM, settings);
    let timeout = lab.timeout();
    lab.cluster.launch(&[VICTIM], timeout).await?;
    form::wait(lab).await.map(drop)
}

/// Starts workers, adds a blob, and finds out where those are that will be flooded: the node, and
/// a worker.
async fn prepare(lab: &mut Lab, workers: &mut Workers) -> Result<[Victim; 2]> {
    let node = &lab.cluster.nodes()[VICTIM];
    let api = node.api()?.clone();
    let (addresses, node_pid) = (node.addresses.clone(), node.pid().context("it runs")?);
    let file = lab.cluster.folder().join("flood.bin");
    std::fs::write(&file, vec![7; BLOB])?;
    let blob = (api.add_blob(&file).await?.parse()?, BLOB as u64);
    std::fs::remove_file(&file)?;

    workers.start(&lab.cluster, WORKERS[0], 0)?;
    serve::wait_for_instances(lab, 1).await?;
    let first = api.servers(serve::SERVICE).await?;
    workers.start(&lab.cluster, WORKERS[1], 0)?;
    serve::wait_for_instances(lab, 2).await?;
    let both = api.servers(serve::SERVICE).await?;
    let second = both.iter().find(|peer| !first.contains(peer)).context("there are two")?;
    let worker = addresses_of(&api, second, lab.timeout()).await?;
    let worker_pid = workers.pid(WORKERS[1]).context("it runs")?;

    let id = api.status().await?.mesh.id;
    let mesh = id.get(..16).context("a mesh's id is longer")?.to_owned();
    let victim = |addresses: Vec<String>, pid| {
        let addresses: Result<Vec<Multiaddr>, _> = addresses.iter().map(|a| a.parse()).collect();
        let target = Target { addresses: addresses?, mesh: mesh.clone(), blob };
        anyhow::Ok(Victim { target, pid })
    };
    Ok([victim(addresses, node_pid)?, victim(worker, worker_pid)?])
}

/// Where a peer is, once the node knows.
async fn addresses_of(api: &Api, peer: &str, timeout: Duration) -> Result<Vec<String>> {
    let started = now();
    loop {
        let known = api.peers().await?.into_iter().find(|known| known.peer == peer);
        match known {
            Some(known) if !known.addresses.is_empty() => return Ok(known.addresses),
            _ if started.elapsed() > timeout => bail!("{peer} is nowhere after {timeout:?}"),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Lets the flooder have a turn while the others go on. How many connections the node had at most.
async fn take(
    lab: &mut Lab,
    turn: Turn,
    name: &str,
    victim: &Victim,
    honest: &mut Honest,
) -> Result<usize> {
    let is_forgotten = memory::forget_peak(victim.pid);
    let flood = Flood::start(turn, victim.target.clone())?;
    let (most, seen) = go_on(lab, victim.pid, length()?, honest).await?;
    // Where the peak can't be begun anew it is that of all turns until now.
    let peak = if is_forgotten { memory::peak(victim.pid)? } else { seen };
    let tally = flood.tally();
    let (connections, streams) = (&tally.connections, &tally.streams);
    let report = &mut lab.report;
    let mut count = |what: &str, value: usize| {
        report.measure(STAGE, &format!("{what}, {name}"), float(value), "");
    };
    count("connections tried", connections.tried());
    count("connections held", connections.most());
    if streams.tried() > 0 {
        count("streams tried", streams.tried());
        count("streams held", streams.most());
    }
    let said = tally.said.load(Ordering::Relaxed);
    if said > 0 {
        report.measure(STAGE, &format!("said, {name}"), float(said) / float(MIB), "MiB");
    }
    let fits = peak <= (LIMIT * MIB) as u64;
    report.check(STAGE, &format!("peak of memory, {name}"), mib(peak), "MiB", fits);
    drop(flood);
    Ok(most)
}

/// How long a turn takes.
fn length() -> Result<Duration> {
    let Ok(seconds) = std::env::var(SECONDS) else { return Ok(TURN) };
    let seconds = seconds.parse().with_context(|| format!("{SECONDS} is a number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

/// Calls and publishes for a turn's time, and watches the node: how many connections it had at
/// most, and bytes in memory.
async fn go_on(
    lab: &mut Lab,
    pid: u32,
    turn: Duration,
    honest: &mut Honest,
) -> Result<(usize, u64)> {
    let apis: Vec<Api> =
        lab.cluster.nodes().iter().map(|node| Ok(node.api()?.clone())).collect::<Result<_>>()?;
    let started = now();
    let goes_on = || started.elapsed() < turn;
    let state = RefCell::new(honest);
    let (connections, resident) = (Cell::new(0), Cell::new(0));
    let calls = async {
        for number in (0..apis.len()).cycle() {
            if !goes_on() {
                break;
            }
            let asked = now();
            let answer = apis[number].call(serve::SERVICE, "count", 100, DEADLINE).await;
            match answer {
                Ok(_) => state.borrow_mut().calls.push(asked.elapsed()),
                Err(CallError(error)) => state.borrow_mut().failed.push(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(())
    };
    let messages = async {
        for author in (0..apis.len()).cycle() {
            if !goes_on() {
                break;
            }
            let took = lab.time_one(author).await?;
            let is_late = took.is_none_or(|took| took > DEADLINE);
            state.borrow_mut().late += usize::from(is_late);
            state.borrow_mut().messages.extend(took);
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(())
    };
    let watch = async {
        while goes_on() {
            connections.set(connections.get().max(apis[VICTIM].status().await?.connections));
            resident.set(resident.get().max(memory::resident(pid)?));
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(calls, messages, watch)?;
    Ok((connections.get(), resident.get()))
}

fn report(lab: &mut Lab, honest: &Honest) {
    let report = &mut lab.report;
    let Honest { calls, failed, messages, late } = honest;
    let any = !calls.is_empty() && !messages.is_empty();
    report.check(STAGE, "calls answered meanwhile", float(calls.len()), "", any);
    report.none(STAGE, "calls failed", failed.len());
    let seconds = |times: &[Duration], percent| percentile(times, percent).as_secs_f64();
    report.measure(STAGE, "call p50", seconds(calls, 50), "s");
    report.measure(STAGE, "longest call", seconds(calls, 100), "s");
    report.check(STAGE, "messages delivered meanwhile", float(messages.len()), "", any);
    report.none(STAGE, "messages late or missing", *late);
    report.measure(STAGE, "message p50, to the last reader", seconds(messages, 50), "s");
    report.measure(STAGE, "longest message", seconds(messages, 100), "s");
    for error in failed.iter().take(3) {
        println!("  {error}");
    }
}

/// Waits until the node has let go of the flooder, and lets a new node join through it.
async fn recover(lab: &mut Lab, workers: &mut Workers, pid: u32) -> Result<()> {
    let (started, timeout) = (now(), lab.timeout());
    let honest = lab.nodes() + WORKERS.len() - 1;
    let api = lab.cluster.nodes()[VICTIM].api()?.clone();
    loop {
        let left = api.status().await?.connections;
        if left <= honest {
            break lab.report.check(STAGE, "connected peers afterwards", float(left), "", true);
        }
        if started.elapsed() > timeout {
            bail!("the node has {left} peers, {timeout:?} after the flood");
        }
        tokio::time::sleep(PAUSE).await;
    }
    lab.report.time(STAGE, "let go of", started.elapsed());
    let started = now();
    workers.start_at(&lab.cluster, VICTIM, "new", 0)?;
    serve::wait_for_instances(lab, WORKERS.len() + 1).await?;
    lab.report.time(STAGE, "a new node joined through it", started.elapsed());
    let after = memory::resident(pid)?;
    lab.report.measure(STAGE, "memory after", mib(after), "MiB");
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    float(usize::try_from(bytes).unwrap_or(usize::MAX)) / float(MIB)
}
