//! `peer-iroh-blobs --bytes N`: a file of random bytes by iroh-blobs over QUIC on loopback, from
//! one or more providers to a getter, each with an endpoint and a store on disk of its own, all in
//! this process. Every provider serves a share of the file.
//!
//! What is measured begins with the getter's first connection and ends when its store has the whole
//! blob, verified. Adding the file to the providers' stores, and exporting it, isn't in it.

use std::{ops::Range, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;
use iroh::{Endpoint, EndpointAddr, RelayMode, endpoint::presets, protocol::Router};
use iroh_blobs::{
    BlobsProtocol, Hash,
    protocol::{ChunkRanges, ChunkRangesExt as _, GetRequest},
    store::fs::FsStore,
};
use peer_sample::{Transfer, cpu_time, is_same, now, peak_memory_of, random_file, shares, warm};
use tokio::task::JoinSet;

/// Bytes that iroh-blobs verifies at once.
const GROUP: u64 = 16 * 1024;

/// How long to wait for what was received to be in the getter's store.
const SETTLING: Duration = Duration::from_secs(30);

/// Copies a file by iroh-blobs, and prints how that went.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Bytes of the file
    #[arg(long)]
    bytes: u64,
    /// How many provide a share of the file each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    providers: u64,
    /// What the file is drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the files are made for a while, in a folder of their own
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(&options.folder)?;
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    random_file(&source, options.bytes, options.seed)?;
    let shares = shares(options.bytes, options.providers, GROUP);
    let mut providers = Vec::new();
    for number in 0..shares.len() {
        let store = FsStore::load(folder.path().join(format!("provider {number}"))).await?;
        let hash = store.blobs().add_path(&source).await?.hash;
        let blobs = BlobsProtocol::new(&store, None);
        let router = Router::builder(endpoint().await?).accept(iroh_blobs::ALPN, blobs).spawn();
        providers.push((hash, router));
    }
    let hash = providers.first().context("an empty file has no provider")?.0;
    let store = FsStore::load(folder.path().join("getter")).await?;
    let getter = endpoint().await?;

    warm(folder.path(), options.bytes)?;
    let (begin, cpu) = (now(), cpu_time());
    let mut gets = JoinSet::new();
    for (share, (_, router)) in shares.into_iter().zip(&providers) {
        gets.spawn(get(getter.clone(), store.clone(), address(router.endpoint()), hash, share));
    }
    let mut received = 0;
    while let Some(got) = gets.join_next().await {
        received += got??;
    }
    let complete = store.blobs().observe(hash).await_completion();
    tokio::time::timeout(SETTLING, complete).await.context("the blob isn't complete")??;
    let (took, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));

    store.blobs().export(hash, &copy).await?;
    peer_sample::print(&Transfer {
        bytes: options.bytes,
        received,
        is_intact: is_same(&source, &copy)?,
        seconds: took.as_secs_f64(),
        cpu_seconds: cpu.as_secs_f64(),
        peak: peak_memory_of("self")?,
    })?;
    getter.close().await;
    for (_, router) in providers {
        router.shutdown().await?;
    }
    store.shutdown().await?;
    Ok(())
}

/// On loopback, without relays or lookups.
async fn endpoint() -> anyhow::Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled);
    Ok(builder.clear_ip_transports().bind_addr("127.0.0.1:0")?.bind().await?)
}

fn address(endpoint: &Endpoint) -> EndpointAddr {
    let sockets = endpoint.bound_sockets().into_iter();
    sockets.fold(EndpointAddr::new(endpoint.id()), EndpointAddr::with_ip_addr)
}

/// Gets a share of the blob. How many bytes that took.
async fn get(
    getter: Endpoint,
    store: FsStore,
    provider: EndpointAddr,
    hash: Hash,
    share: Range<u64>,
) -> anyhow::Result<u64> {
    let connection = getter.connect(provider, iroh_blobs::ALPN).await?;
    let request = GetRequest::blob_ranges(hash, ChunkRanges::bytes(share));
    let stats = store.remote().execute_get(connection, request).complete().await?;
    Ok(stats.total_bytes_read())
}
