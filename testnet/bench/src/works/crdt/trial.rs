//! One run: a node that is written to, an engine alone, or two replicas that meet.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use aether_core::{Protocol as _, PublicKey, SecretKey, Time};
use aether_crdt::{
    Spaces,
    proto::{
        entry::{Collection, Kind},
        map::{Action, Edit},
        replica::{Config, Input, Output, Replica},
        space::{Genesis, Mode},
        sync::digest,
        time::Wall,
    },
};
use aether_mesh::{Node, Preset};
use aether_store::{Batch, Durability, Options, Store};
use anyhow::Context as _;
use ciborium::Value;
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::works::runs;

/// Puts of one batch.
const BATCH: u64 = 1000;
/// Bytes of a key and of a value.
const KEY: usize = 20;
const VALUE: usize = 100;

/// What one run does. The program writes it for its own fresh process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What is measured.
    pub subject: Subject,
    /// How many puts, or keys that both replicas hold.
    pub operations: u64,
    /// What keys and values are drawn from.
    pub seed: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A map of a space, written in batches.
    Batches,
    /// The store alone, written in the same batches.
    Engine,
    /// A map of a space, 64 writers of one put at a time.
    Single,
    /// A map of a space of which every key is written ten times more, and then the space compacted.
    Kept,
    /// Two replicas that meet.
    Sync {
        /// Entries that one of them lacks.
        differences: u64,
    },
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// How many operations were asked for.
    pub operations: f64,
    /// From the first to the last acknowledgement.
    pub seconds: f64,
    /// Bytes of keys and values, or of the entries that differed.
    pub given: f64,
    /// Bytes given to the disk, or to the other replica.
    pub written: f64,
    /// The median time of a sync of the disk; 0 if it wasn't measured.
    pub sync_seconds: f64,
    /// Whether what was written is there, and the same everywhere.
    pub is_intact: bool,
}

impl runs::Sample for Sample {
    const TROUBLE: &'static str = "lost something";

    fn is_clean(&self) -> bool {
        self.is_intact && self.operations > 0.0
    }

    fn summary(&self) -> String {
        let rate = self.operations / self.seconds;
        format!("{rate:.0}/s, {:.0} bytes for {:.0}", self.written, self.given)
    }
}

/// Makes one run.
pub async fn run(trial: &Trial) -> anyhow::Result<Sample> {
    match trial.subject {
        Subject::Batches => node(trial, 8, BATCH).await,
        Subject::Single => node(trial, 64, 1).await,
        Subject::Kept => kept(trial).await,
        Subject::Engine => engine(trial),
        Subject::Sync { differences } => meet(trial, differences),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

fn draw(rng: &mut ChaCha8Rng) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (vec![0; KEY], vec![0; VALUE]);
    rng.fill_bytes(&mut key);
    rng.fill_bytes(&mut value);
    (key, value)
}

/// Bytes that this process has given to the disk.
fn written() -> anyhow::Result<f64> {
    let io = std::fs::read_to_string("/proc/self/io").context("/proc/self/io can't be read")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("the kernel doesn't count what is written")?.trim().parse()?)
}

/// The median time of a sync of 4 KiB.
fn sync_time(folder: &Path) -> anyhow::Result<f64> {
    let mut file = File::create(folder.join("sync"))?;
    let mut all = Vec::new();
    for _ in 0..100 {
        let begun = now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        all.push(begun.elapsed());
    }
    all.sort_unstable();
    Ok(all[all.len() / 2].as_secs_f64())
}

async fn node(trial: &Trial, writers: u64, batch: u64) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir_in(".")?;
    let sync_seconds = sync_time(folder.path())?;
    let data = folder.path().join("data");
    let node = Node::builder(Preset::Local).mesh("bench").data(data).spawn().await?;
    let space = Spaces::open(&node).await?.create("bench").await?;
    let map = space.map::<Vec<u8>, Value>("bench");
    let (before, begun) = (written()?, now());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let map = map.clone();
        let count = trial.operations / writers / batch;
        let mut rng = ChaCha8Rng::seed_from_u64(trial.seed * 1000 + writer);
        tasks.spawn(async move {
            for _ in 0..count {
                let mut all = map.batch();
                for _ in 0..batch {
                    let (key, value) = draw(&mut rng);
                    all = all.put(&key, &Value::Bytes(value))?;
                }
                map.write(all).await?;
            }
            anyhow::Ok(count * batch)
        });
    }
    let mut operations = 0;
    while let Some(done) = tasks.join_next().await {
        operations += done??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let found = map.iter().try_fold(0, |count, item| item.map(|_| count + 1))?;
    node.shutdown().await;
    drop((map, space, node));
    Ok(Sample {
        operations: operations as f64,
        seconds,
        given: operations as f64 * (KEY + VALUE) as f64,
        written: written()? - before,
        sync_seconds,
        is_intact: found == operations,
    })
}

/// How often every key is written again.
const ROUNDS: usize = 10;
/// How long nothing is given back until it is taken that nothing will be, and at the latest.
const STILL: Duration = Duration::from_secs(15);
const LATEST: Duration = Duration::from_secs(600);

async fn kept(trial: &Trial) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir_in(".")?;
    let data = folder.path().join("data");
    let node = Node::builder(Preset::Local).mesh("bench").data(&data).spawn().await?;
    let space = Spaces::open(&node).await?.create("bench").await?;
    let map = space.map::<Vec<u8>, Value>("bench");
    let mut rng = ChaCha8Rng::seed_from_u64(trial.seed);
    let mut keys: Vec<Vec<u8>> = (0..trial.operations).map(|_| draw(&mut rng).0).collect();
    let mut last = BTreeMap::new();
    for _ in 0..=ROUNDS {
        keys.shuffle(&mut rng);
        for some in keys.chunks(usize::try_from(BATCH)?) {
            let mut all = map.batch();
            for key in some {
                let value = draw(&mut rng).1;
                all = all.put(key, &Value::Bytes(value.clone()))?;
                last.insert(key.clone(), value);
            }
            map.write(all).await?;
        }
    }
    let begun = now();
    let found = space.compact(|_| {}).await?;
    while space.status().await?.is_compacting {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (mut least, mut since) = (u64::MAX, now());
    while since.elapsed() < STILL && begun.elapsed() < LATEST {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let bytes = bytes_in(&data)?;
        if bytes < least {
            (least, since) = (bytes, now());
        }
    }
    let seconds = begun.elapsed().saturating_sub(STILL).as_secs_f64();
    let is_intact = found.entries > 0
        && map.iter().try_fold(0, |count, item| {
            let (key, value) = item?;
            let is_last = matches!(value, Value::Bytes(value) if last.get(&key) == Some(&value));
            anyhow::Ok(if is_last { count + 1 } else { count })
        })? == last.len();
    let ending = node.store().ending();
    node.shutdown().await;
    drop((map, space, node));
    tokio::task::spawn_blocking(move || ending.wait(LATEST)).await?;
    Ok(Sample {
        operations: trial.operations as f64,
        seconds,
        given: last.len() as f64 * (KEY + VALUE) as f64,
        written: bytes_in(&data)? as f64,
        sync_seconds: 0.0,
        is_intact,
    })
}

/// Bytes of all files in a folder but for the engine's journal, which has 64 MiB however little is
/// stored. One that goes meanwhile has none.
fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        match entry.metadata() {
            _ if entry.path().extension().is_some_and(|extension| extension == "jnl") => {}
            Ok(metadata) if metadata.is_dir() => bytes += bytes_in(&entry.path())?,
            Ok(metadata) => bytes += metadata.len(),
            Err(_) => {}
        }
    }
    Ok(bytes)
}

fn engine(trial: &Trial) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir_in(".")?;
    let store = Store::open(folder.path().join("data"), Options::default())?;
    let rows = store.keyspace("bench")?;
    let mut rng = ChaCha8Rng::seed_from_u64(trial.seed);
    let (before, begun) = (written()?, now());
    for _ in 0..trial.operations / BATCH / 8 {
        // As many as eight writers have on their way.
        let mut tickets = Vec::new();
        for _ in 0..8 {
            let mut batch = Batch::new();
            for _ in 0..BATCH {
                let (key, value) = draw(&mut rng);
                batch.put(&rows, &key[..], &value);
            }
            tickets.push(store.commit(batch, Durability::Synced));
        }
        for ticket in tickets {
            ticket.wait()?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let operations = trial.operations / BATCH / 8 * BATCH * 8;
    drop((rows, store));
    Ok(Sample {
        operations: operations as f64,
        seconds,
        given: operations as f64 * (KEY + VALUE) as f64,
        written: written()? - before,
        sync_seconds: 0.0,
        is_intact: true,
    })
}

/// A replica in memory, whose disk is as fast.
struct Side {
    key: PublicKey,
    replica: Replica<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What it has said, and not been heard.
    said: Vec<Vec<u8>>,
    bytes: u64,
    entries: u64,
}

impl Side {
    fn new(genesis: &Genesis, byte: u8) -> anyhow::Result<Self> {
        let key = SecretKey::from_bytes([byte; 32]);
        let public = key.public();
        let seed = [byte; 32];
        let replica = Replica::open(
            Config::default(),
            genesis.clone(),
            key.into(),
            seed,
            BTreeMap::new(),
            None,
        )?;
        let mut side = Self { key: public, replica, said: Vec::new(), bytes: 0, entries: 0 };
        side.feed(Input::Wall(Wall::from_millis(1_800_000_000_000)));
        Ok(side)
    }

    fn feed(&mut self, input: Input) {
        let now = Time::from_millis(1);
        self.replica.handle(now, input);
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist { generation, changes, .. } => {
                    for (row, value) in Arc::unwrap_or_clone(changes) {
                        match value {
                            Some(value) => self.replica.base_mut().insert(row, value),
                            None => self.replica.base_mut().remove(&row),
                        };
                    }
                    self.replica.handle(now, Input::Persisted { generation });
                }
                Output::Send { message, .. } => {
                    if let aether_crdt::proto::sync::Message::Entry { header, payload, .. } =
                        &message
                    {
                        self.entries += (header.len() + payload.len()) as u64;
                    }
                    let bytes = message.encode();
                    self.bytes += bytes.len() as u64;
                    self.said.push(bytes);
                }
                _ => {}
            }
        }
    }

    fn put(&mut self, rng: &mut ChaCha8Rng, count: u64) -> anyhow::Result<()> {
        let map = Collection::new(Kind::Map, "bench");
        let edit = |(key, value)| Edit::new(map, key, Action::Put(value));
        let edits = (0..count).map(|_| edit(draw(rng))).collect::<Result<_, _>>()?;
        self.feed(Input::Edit { token: 0, edits });
        Ok(())
    }
}

/// Lets two replicas talk until neither has more to say.
fn talk(one: &mut Side, other: &mut Side) {
    one.feed(Input::Connected { peer: other.key, opens: true });
    other.feed(Input::Connected { peer: one.key, opens: false });
    while !one.said.is_empty() || !other.said.is_empty() {
        for bytes in std::mem::take(&mut one.said) {
            other.feed(Input::Message { from: one.key, bytes });
        }
        for bytes in std::mem::take(&mut other.said) {
            one.feed(Input::Message { from: other.key, bytes });
        }
    }
    one.feed(Input::Disconnected { peer: other.key });
    other.feed(Input::Disconnected { peer: one.key });
}

fn meet(trial: &Trial, differences: u64) -> anyhow::Result<Sample> {
    let owner = SecretKey::from_bytes([9; 32]).public();
    let genesis = Genesis::new(Mode::Open, [7; 16], "bench", [owner])?;
    let (mut one, mut other) = (Side::new(&genesis, 1)?, Side::new(&genesis, 2)?);
    let mut rng = ChaCha8Rng::seed_from_u64(trial.seed);
    for _ in 0..trial.operations / BATCH {
        one.put(&mut rng, BATCH)?;
    }
    talk(&mut one, &mut other);
    for _ in 0..differences {
        one.put(&mut rng, 1)?;
    }
    (one.bytes, one.entries, other.bytes) = (0, 0, 0);
    let begun = now();
    talk(&mut one, &mut other);
    let seconds = begun.elapsed().max(Duration::from_micros(1)).as_secs_f64();
    let digests = [&one, &other].map(|side| digest(side.replica.rows().values()));
    Ok(Sample {
        operations: differences.max(1) as f64,
        seconds,
        given: one.entries as f64,
        written: (one.bytes + other.bytes) as f64,
        sync_seconds: 0.0,
        is_intact: digests[0] == digests[1],
    })
}
