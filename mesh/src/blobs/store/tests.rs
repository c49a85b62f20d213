//! What the rules promise.

mod add;
mod collections;
mod crash;
mod damage;
mod download;
mod folder;
mod quota;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;

/// Around all the edges: chunks, groups, subtrees.
const SIZES: [u64; 15] = [
    0,
    1,
    1023,
    1024,
    1025,
    GROUP - 1,
    GROUP,
    GROUP + 1,
    2 * GROUP,
    2 * GROUP + 1,
    3 * GROUP + 1025,
    5 * GROUP,
    16 * GROUP,
    17 * GROUP + 3,
    67 * GROUP + 5000,
];

/// Small and seeded.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn content(size: u64, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn fresh() -> (TempDir, BlobStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    (folder, store)
}

fn open(path: &Path) -> BlobStore {
    BlobStore::open(path, Options::default()).unwrap()
}

fn with_quota(quota: u64, eviction: Eviction) -> (TempDir, BlobStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path(), Options { quota, eviction }).unwrap();
    (folder, store)
}

fn read_all(store: &BlobStore, id: &BlobId) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.reader(id).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn encode(store: &BlobStore, id: &BlobId, groups: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.encode(id, groups).unwrap().write_to(&mut bytes).unwrap();
    bytes
}

fn receive(download: &Download, groups: Range<u64>, encoded: &[u8]) -> Result<(), WriteError> {
    let mut writer = download.writer(groups).unwrap();
    writer.push(encoded)?;
    writer.finish()
}

/// A blob in a store of its own, to be fetched from.
fn provider(size: u64, seed: u64) -> (BlobStore, BlobId, Vec<u8>) {
    let store = BlobStore::temporary(Options::default()).unwrap();
    let content = content(size, seed);
    let id = store.add_bytes(&content).unwrap().id();
    (store, id, content)
}

/// A list of one run.
fn one(run: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(run).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn blob_file(folder: &Path, id: &BlobId, suffix: &str) -> PathBuf {
    folder.join("blobs").join(format!("{id}{suffix}"))
}

fn held(store: &BlobStore, id: &BlobId) -> Vec<Range<u64>> {
    match store.status(id) {
        BlobStatus::Absent => Vec::new(),
        BlobStatus::Partial { held, .. } => held,
        BlobStatus::Complete { size } => std::iter::once(0..groups(size)).collect(),
    }
}

/// Reads each group that is held: what comes is right, and what doesn't come isn't held any more.
fn only_right_bytes(store: &BlobStore, id: &BlobId, content: &[u8]) {
    for group in held(store, id).into_iter().flatten() {
        let mut bytes = vec![0; GROUP as usize];
        match store.read_at(id, group * GROUP, &mut bytes) {
            Ok(read) => {
                let at = (group * GROUP) as usize;
                assert_eq!(bytes[..read], content[at..at + read], "group {group}");
            }
            Err(ReadError::Damaged { groups }) => {
                assert!(groups.contains(&group));
                let held = held(store, id);
                assert!(!held.iter().any(|run| run.contains(&group)), "{group} is still held");
            }
            // It was under a damaged pair.
            Err(ReadError::Missing { groups }) => assert!(groups.contains(&group)),
            Err(ReadError::Absent) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Fetches what is missing, and compares.
fn complete(store: &BlobStore, from: &BlobStore, id: &BlobId, content: &[u8]) {
    let download = store.begin(*id, content.len() as u64).unwrap();
    for run in download.missing() {
        receive(&download, run.clone(), &encode(from, id, run)).unwrap();
    }
    assert!(download.is_complete());
    assert_eq!(read_all(store, id), content);
}
