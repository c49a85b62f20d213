//! Blobs on real swarms.

use std::time::Duration;

use aether_mesh::{
    BlobId, GetError, Node,
    blobs::{BlobStatus, GROUP},
};
use tokio::sync::watch;

use crate::support::{all_know_all, builder, nodes, shutdown, within};

/// Content that looks like none other.
fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut reader = blake3_xof(seed);
    reader.fill(&mut bytes);
    bytes
}

fn blake3_xof(seed: u64) -> blake3::OutputReader {
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_found_fetched_and_the_same() {
    let nodes = nodes("blobs", 3).await;
    let bytes = content(3_000_000, 1);
    let added = nodes[0].blobs().add_bytes(bytes.clone()).await.unwrap();
    assert_eq!(added.id(), BlobId::of(&bytes));
    let (progress, seen) = watch::channel((0, None));
    let get = nodes[2].blobs().get(added.id()).progress(progress);
    let size = within("the blob", async { get.await }).await.unwrap();
    assert_eq!(size, bytes.len() as u64);
    assert_eq!(*seen.borrow(), (size, Some(size)));
    assert_eq!(nodes[2].blobs().read(added.id(), 0..size).await.unwrap(), bytes);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_around_the_edges_pass() {
    let nodes = nodes("blob sizes", 2).await;
    let group = usize::try_from(GROUP).unwrap();
    for len in [0, 1, 1024, group - 1, group, group + 1, 8 * group, 8 * group + 1] {
        let bytes = content(len, len as u64);
        let id = nodes[0].blobs().add_bytes(bytes.clone()).await.unwrap().id();
        let get = nodes[1].blobs().get(id).from(nodes[0].id());
        assert_eq!(within("the blob", async { get.await }).await.unwrap(), len as u64);
        let read = nodes[1].blobs().read(id, 0..len as u64 + 10).await.unwrap();
        assert_eq!(read, bytes, "{len} bytes");
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_read_without_the_rest() {
    let nodes = nodes("blob parts", 2).await;
    let bytes = content(20_000_000, 2);
    let id = nodes[0].blobs().add_bytes(bytes.clone()).await.unwrap().id();
    let range = 10_000_000..10_100_000;
    let read = within("the part", nodes[1].blobs().read(id, range)).await.unwrap();
    assert_eq!(read, bytes[10_000_000..10_100_000]);
    let BlobStatus::Partial { size, proved: true, held } = nodes[1].blobs().status(&id) else {
        panic!("all of it was fetched");
    };
    assert_eq!(size, bytes.len() as u64);
    let groups: u64 = held.iter().map(|run| run.end - run.start).sum();
    assert!(groups < size.div_ceil(GROUP) / 2, "{groups} groups were fetched");
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_give_and_those_that_have_a_part_give_it() {
    let nodes = nodes("blob swarm", 5).await;
    all_know_all(&nodes).await;
    let bytes = content(16_000_000, 3);
    let id = nodes[0].blobs().add_bytes(bytes.clone()).await.unwrap().id();
    let gets = nodes[1..].iter().map(|node| {
        let get = node.blobs().get(id);
        async move { get.await }
    });
    for size in within("all to have it", futures::future::join_all(gets)).await {
        assert_eq!(size.unwrap(), bytes.len() as u64);
    }
    let late = builder("blob swarm").seeds(nodes[1].addresses().await.unwrap());
    let late = late.spawn().await.unwrap();
    nodes[0].shutdown().await;
    let get = late.blobs().get(id);
    assert_eq!(within("it without its author", async { get.await }).await.unwrap(), 16_000_000);
    shutdown(nodes).await;
    late.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_travels_as_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    std::fs::write(source.join("a.txt"), "first").unwrap();
    std::fs::write(source.join("sub/b.bin"), content(100_000, 4)).unwrap();
    let nodes = nodes("blob folders", 2).await;
    let added = nodes[0].blobs().add_path(&source, |_| {}).await.unwrap();
    assert!(added.is_collection());
    let blobs = nodes[1].blobs();
    let get = blobs.get(added.id()).from(nodes[0].id()).with_content();
    within("the folder", async { get.await }).await.unwrap();
    let target = folder.path().join("target");
    blobs.export(added.id(), &target, |_| {}).await.unwrap();
    assert_eq!(std::fs::read(target.join("a.txt")).unwrap(), b"first");
    assert_eq!(std::fs::read(target.join("sub/b.bin")).unwrap(), content(100_000, 4));
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_holds_is_not_found() {
    let configured = builder("blob nobody").configure(|config| {
        config.blobs.fetch.patience = Duration::from_millis(300);
    });
    let node = configured.spawn().await.unwrap();
    let id = BlobId::of(b"nobody has this");
    let failed = within("the answer", async { node.blobs().get(id).await }).await.unwrap_err();
    assert!(matches!(failed, GetError::NoProviders { .. }), "{failed}");
    assert_eq!(node.blobs().status(&id), BlobStatus::Absent);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = builder("blob restart").spawn().await.unwrap();
    let seeds = first.addresses().await.unwrap();
    let second = || builder("blob restart").data(folder.path()).seeds(seeds.clone());
    let bytes = content(24_000_000, 5);
    let id = first.blobs().add_bytes(bytes.clone()).await.unwrap().id();
    let node = second().spawn().await.unwrap();
    let blobs = node.blobs();
    within("the first half", blobs.read(id, 0..12_000_000)).await.unwrap();
    drop(blobs);
    node.shutdown().await;
    drop(node);
    let node = second().spawn().await.unwrap();
    let BlobStatus::Partial { held, .. } = node.blobs().status(&id) else { panic!("not a part") };
    let kept: u64 = held.iter().map(|run| run.end - run.start).sum();
    assert!(kept >= 12_000_000 / GROUP, "{kept} groups are kept");
    within("the rest", async { node.blobs().get(id).from(first.id()).await }).await.unwrap();
    let missing = (bytes.len() as u64).div_ceil(GROUP) - kept;
    assert_eq!(counter(&node, "aether_blob_fetched_bytes_total"), missing * GROUP);
    assert_eq!(counter(&node, "aether_blob_excess_bytes_total"), 0);
    assert_eq!(node.blobs().read(id, 0..24_000_000).await.unwrap(), bytes);
    shutdown(vec![first, node]).await;
}

/// What a node has counted in this life.
fn counter(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse().ok()).unwrap()
}
