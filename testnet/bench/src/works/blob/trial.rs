//! One run: nodes are started, a file goes to one of them, and all are stopped.

use std::{
    fs::{self, File},
    io::{self, Read as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use aether_mesh::{BlobId, Incoming, Node, Preset};
use anyhow::Context as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::Instant,
};

use crate::{
    process::{cpu_time, memory},
    subjects::Transport,
    works::transfer::Sample,
};

/// Bytes moved at a time on a bare stream.
const BLOCK: usize = 256 * 1024;

/// How long the nodes may take to find each other.
const FORMING: Duration = Duration::from_secs(60);

/// The name of the bare stream.
const STREAM: &str = "bench";

/// What one run does. The program writes it for its own fresh process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Who is measured.
    pub subject: Subject,
    /// What the nodes are connected by.
    pub transport: Transport,
    /// How many hold the file.
    pub providers: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// What the file is drawn from.
    pub seed: u64,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Aether's blobs.
    Aether,
    /// A raw stream between the same nodes.
    Stream,
    /// iroh-blobs, in a program of `testnet/peers`.
    IrohBlobs,
    /// Plain TCP, in a program of `testnet/peers`.
    Tcp,
}

impl Subject {
    /// The name in rows; of a program of `testnet/peers`, its own.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aether => "aether",
            Self::Stream => "stream",
            Self::IrohBlobs => "peer-iroh-blobs",
            Self::Tcp => "peer-tcp",
        }
    }

    pub(super) fn beside(self) -> String {
        format!("-beside-{}", self.name().trim_start_matches("peer-"))
    }

    pub(super) const fn conditions(self) -> &'static str {
        match self {
            Self::Aether => "verified, synced",
            Self::Stream => "encrypted, neither verified nor synced",
            Self::IrohBlobs => "loopback quic, encrypted, verified, its own durability",
            Self::Tcp => "loopback tcp, neither encrypted nor verified nor synced",
        }
    }
}

impl Trial {
    /// The run as a command line of a program of `testnet/peers`.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Self { bytes, providers, seed, .. } = self;
        let arguments = format!("--bytes {bytes} --providers {providers} --seed {seed}");
        arguments.split(' ').map(str::to_owned).collect()
    }
}

/// Makes one run in this process.
pub async fn run(trial: &Trial) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source");
    write_random(&source, trial.bytes, trial.seed).await?;
    let nodes = start(trial, folder.path()).await?;
    let warm = || warm(folder.path(), trial.bytes);
    let transfer = match trial.subject {
        Subject::Aether => blob(&nodes, &source, warm).await?,
        Subject::Stream => {
            stream(&nodes, &source, &folder.path().join("copy"), trial, warm).await?
        }
        Subject::IrohBlobs | Subject::Tcp => anyhow::bail!("it runs in a program of its own"),
    };
    for node in nodes {
        node.shutdown().await;
    }
    Ok(Sample {
        bytes: trial.bytes,
        received: transfer.received,
        is_intact: transfer.is_intact,
        seconds: transfer.took.as_secs_f64(),
        cpu_seconds: transfer.cpu.as_secs_f64(),
        peak: memory()?.peak,
    })
}

/// Writes so many bytes into a file, and removes it: what is measured next finds memory for its
/// own files that the system needn't take from a hypervisor first, which some machines pay for
/// more dearly than for the whole transfer.
fn warm(folder: &Path, bytes: u64) -> io::Result<()> {
    let path = folder.join("warm");
    let copied = io::copy(&mut io::repeat(0).take(bytes), &mut File::create_new(&path)?);
    fs::remove_file(&path)?;
    copied.map(drop)
}

struct Transfer {
    received: u64,
    is_intact: bool,
    took: Duration,
    cpu: Duration,
}

/// The getter, and then the providers, all connected to it.
async fn start(trial: &Trial, folder: &Path) -> anyhow::Result<Vec<Node>> {
    let mesh = format!("bench {}", std::process::id());
    let mut nodes: Vec<Node> = Vec::new();
    for number in 0..=trial.providers {
        let builder = Node::builder(Preset::Local).mesh(&mesh).listen([trial.transport.listen()]);
        let builder = builder.data(folder.join(format!("node {number}")));
        let seeds = match nodes.first() {
            Some(getter) => getter.addresses().await?,
            None => Vec::new(),
        };
        nodes.push(builder.seeds(seeds).spawn().await?);
    }
    let connected = async {
        while nodes[0].members().await?.len() < nodes.len() - 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let formed = tokio::time::timeout(FORMING, connected).await;
    formed.with_context(|| format!("the nodes aren't connected after {FORMING:?}"))??;
    Ok(nodes)
}

#[expect(clippy::disallowed_methods, reason = "the bench measures time")]
fn now() -> Instant {
    Instant::now()
}

async fn blob(
    nodes: &[Node],
    source: &Path,
    warm: impl FnOnce() -> io::Result<()>,
) -> anyhow::Result<Transfer> {
    let mut id = None::<BlobId>;
    for provider in &nodes[1..] {
        id = Some(provider.blobs().add_path(source, |_| {}).await?.id());
    }
    let id = id.context("there is a provider")?;
    let served = || nodes[1..].iter().map(served).sum::<u64>();
    warm()?;
    let (begin, cpu, before) = (now(), cpu_time(), served());
    let mut get = nodes[0].blobs().get(id);
    for provider in &nodes[1..] {
        get = get.from(provider.id());
    }
    let size = get.await?;
    let (took, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    // The gauge is set now and then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Each byte was verified by the name of the blob, which the provider's store has hashed.
    let is_intact = size == tokio::fs::metadata(source).await?.len();
    Ok(Transfer { received: served() - before, is_intact, took, cpu })
}

/// Bytes that a node has sent of blobs, hashes and frames included.
fn served(node: &Node) -> u64 {
    let text = node.metrics().encode();
    let line = text.lines().find(|line| line.starts_with("aether_blob_served_bytes_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn stream(
    nodes: &[Node],
    source: &Path,
    copy: &Path,
    trial: &Trial,
    warm: impl FnOnce() -> io::Result<()>,
) -> anyhow::Result<Transfer> {
    let mut tasks = JoinSet::new();
    for provider in &nodes[1..] {
        tasks.spawn(provide(provider.accept_streams(STREAM).await?, source.to_owned()));
    }
    tokio::fs::File::create_new(copy).await?.set_len(trial.bytes).await?;
    let share = trial.bytes.div_ceil(trial.providers);
    warm()?;
    let (begin, cpu) = (now(), cpu_time());
    let mut gets = JoinSet::new();
    for (number, provider) in (0..).zip(&nodes[1..]) {
        let range = number * share..trial.bytes.min((number + 1) * share);
        gets.spawn(get(nodes[0].clone(), provider.id(), range, copy.to_owned()));
    }
    let mut received = 0;
    while let Some(got) = gets.join_next().await {
        received += got??;
    }
    let (took, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    let is_intact = is_same(source, copy)?;
    Ok(Transfer { received, is_intact, took, cpu })
}

/// Compares two files, a block of each in memory.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut blocks, mut length) = ((vec![0; BLOCK], vec![0; BLOCK]), one.metadata()?.len());
    if other.metadata()?.len() != length {
        return Ok(false);
    }
    while length > 0 {
        let step = usize::try_from(length).map_or(BLOCK, |length| length.min(BLOCK));
        one.read_exact(&mut blocks.0[..step])?;
        other.read_exact(&mut blocks.1[..step])?;
        if blocks.0[..step] != blocks.1[..step] {
            return Ok(false);
        }
        length -= step as u64;
    }
    Ok(true)
}

/// Answers each stream's range, 16 bytes, with the bytes of the file.
async fn provide(mut incoming: Incoming, source: PathBuf) -> anyhow::Result<()> {
    while let Some(mut stream) = incoming.next().await {
        let (start, end) = (stream.read_u64().await?, stream.read_u64().await?);
        let mut file = tokio::fs::File::open(&source).await?;
        file.set_max_buf_size(BLOCK);
        file.seek(SeekFrom::Start(start)).await?;
        let mut block = vec![0; BLOCK];
        let mut left = end - start;
        while left > 0 {
            let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
            let read = file.read(&mut block[..length]).await?;
            anyhow::ensure!(read > 0, "the file is shorter than asked");
            stream.write_all(&block[..read]).await?;
            left -= read as u64;
        }
        stream.flush().await?;
        stream.shutdown().await?;
    }
    Ok(())
}

async fn get(
    getter: Node,
    from: aether_mesh::PeerId,
    range: Range<u64>,
    copy: PathBuf,
) -> anyhow::Result<u64> {
    let mut stream = getter.open_stream(from, STREAM).await?;
    stream.write_u64(range.start).await?;
    stream.write_u64(range.end).await?;
    stream.flush().await?;
    let mut file = tokio::fs::File::options().write(true).open(copy).await?;
    file.set_max_buf_size(BLOCK);
    file.seek(SeekFrom::Start(range.start)).await?;
    let mut block = vec![0; BLOCK];
    let (mut received, length) = (0, range.end - range.start);
    while received < length {
        let read = stream.read(&mut block).await?;
        anyhow::ensure!(read > 0, "the stream ended early");
        file.write_all(&block[..read]).await?;
        received += read as u64;
    }
    file.flush().await?;
    Ok(received)
}

async fn write_random(path: &Path, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut file = tokio::fs::File::create_new(path).await?;
    let mut block = vec![0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        draw.fill_bytes(&mut block[..length]);
        file.write_all(&block[..length]).await?;
        left -= length as u64;
    }
    Ok(file.flush().await?)
}
