//! One run: two nodes are started, one calls the other, and both are stopped.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::Instant};

use super::{aether::Aether, plain::Plain};
use crate::{
    process::{cpu_time, memory},
    subjects::Transport,
};

/// What a run does that isn't counted, before what is.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long the first call may take, for which the nodes find each other.
const FORMING: Duration = Duration::from_secs(60);

/// What one run does. The program writes it for its own fresh process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Who is measured.
    pub subject: Subject,
    /// What the nodes are connected by.
    pub transport: Transport,
    /// Calls in flight.
    pub depth: usize,
    /// Bytes of a request, and of its reply.
    pub size: usize,
    /// For how long, in seconds; calls in flight then are waited for.
    pub seconds: f64,
    /// What the requests are drawn from.
    pub seed: u64,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Aether's services.
    Aether,
    /// libp2p's request-response.
    RequestResponse {
        /// Streams are used before the other side has agreed on their protocol.
        is_lazy: bool,
    },
    /// Request and reply by a NATS server, in a program of `testnet/peers`.
    Nats,
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Calls that came back with what was sent.
    pub calls: u64,
    /// Calls that didn't.
    pub failed: u64,
    /// From the end of the warm-up to the last reply, in seconds.
    pub seconds: f64,
    /// Half the calls took so long or less, in milliseconds.
    pub p50: f64,
    /// 99 of 100 took so long or less.
    pub p99: f64,
    /// Processor time that the load took, in seconds, of all processes.
    pub cpu_seconds: f64,
    /// The most resident memory of the whole run, of all processes, in bytes.
    pub peak: u64,
}

impl Sample {
    /// Whether each call came back.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.calls > 0
    }
}

impl Trial {
    /// The run as a command line of `peer-nats`.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Self { depth, size, seconds, seed, .. } = self;
        let arguments = format!("--depth {depth} --size {size} --seconds {seconds} --seed {seed}");
        arguments.split(' ').map(str::to_owned).collect()
    }
}

/// Two nodes, of which one calls the other.
pub(super) trait Pair: Send + Sync + 'static {
    /// Calls, and returns the reply.
    fn call(&self, payload: Vec<u8>) -> impl Future<Output = anyhow::Result<Vec<u8>>> + Send;

    /// Stops both.
    async fn stop(self);
}

/// Makes one run in this process.
pub async fn run(trial: &Trial) -> anyhow::Result<Sample> {
    match trial.subject {
        Subject::Aether => with(Aether::start(trial.transport).await?, trial).await,
        Subject::RequestResponse { is_lazy } => {
            with(Plain::start(trial.transport, is_lazy).await?, trial).await
        }
        Subject::Nats => anyhow::bail!("NATS runs in a program of its own"),
    }
}

async fn with<P: Pair>(pair: P, trial: &Trial) -> anyhow::Result<Sample> {
    let pair = Arc::new(pair);
    tokio::time::timeout(FORMING, pair.call(vec![0; trial.size]))
        .await
        .with_context(|| format!("waited {FORMING:?} in vain for the first reply"))??;
    #[expect(clippy::disallowed_methods, reason = "the bench measures time")]
    let begin = Instant::now() + WARM_UP;
    let time = Time { begin, end: begin + Duration::from_secs_f64(trial.seconds) };
    let turns = Arc::new(Mutex::new(Turns::new(begin)?));
    let mut callers = JoinSet::new();
    for caller in 0..trial.depth {
        let mut draw = ChaCha8Rng::seed_from_u64(trial.seed);
        draw.set_stream(caller as u64);
        callers.spawn(call_in_turn(pair.clone(), turns.clone(), time, trial.size, draw));
    }
    tokio::time::sleep_until(begin).await;
    let before = cpu_time();
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let cpu = cpu_time().saturating_sub(before);
    let sample = turns.lock().unwrap_or_else(PoisonError::into_inner).sample(time, cpu)?;
    if let Some(pair) = Arc::into_inner(pair) {
        pair.stop().await;
    }
    Ok(sample)
}

/// When calls are counted that begin between.
#[derive(Clone, Copy)]
struct Time {
    begin: Instant,
    end: Instant,
}

/// What all callers have done.
struct Turns {
    /// In nanoseconds, of the calls that came back.
    latencies: Histogram<u64>,
    failed: u64,
    last: Instant,
}

impl Turns {
    fn new(begin: Instant) -> anyhow::Result<Self> {
        let latencies = Histogram::new(3).context("three digits are possible")?;
        Ok(Self { latencies, failed: 0, last: begin })
    }

    fn sample(&self, time: Time, cpu: Duration) -> anyhow::Result<Sample> {
        let millis = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e6;
        Ok(Sample {
            calls: self.latencies.len(),
            failed: self.failed,
            seconds: self.last.saturating_duration_since(time.begin).as_secs_f64(),
            p50: millis(0.5),
            p99: millis(0.99),
            cpu_seconds: cpu.as_secs_f64(),
            peak: memory()?.peak,
        })
    }
}

/// Makes one call after the other; gives up at the first that fails.
#[expect(clippy::disallowed_methods, reason = "the bench measures time")]
async fn call_in_turn<P: Pair>(
    pair: Arc<P>,
    turns: Arc<Mutex<Turns>>,
    time: Time,
    size: usize,
    mut draw: ChaCha8Rng,
) -> anyhow::Result<()> {
    let mut payload = vec![0; size];
    let mut start = Instant::now();
    while start < time.end {
        draw.fill_bytes(&mut payload);
        start = Instant::now();
        let reply = pair.call(payload.clone()).await;
        let now = Instant::now();
        let problem = match reply {
            Ok(reply) if reply == payload => None,
            Ok(_) => Some("another reply".to_owned()),
            Err(error) => Some(format!("{error:#}")),
        };
        let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problem {
            eprintln!("a call failed: {problem}");
            turns.failed += 1;
            break;
        }
        if start >= time.begin {
            turns.latencies.record(u64::try_from((now - start).as_nanos())?)?;
            turns.last = now;
        }
        drop(turns);
        start = now;
    }
    Ok(())
}
