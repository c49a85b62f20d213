//! Repair: rows are damaged one by one, the spaces made anew, and what is lost comes from a peer.

use aether_store::Keyspace;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::*;
use crate::proto::map;

impl Side {
    fn state(&self) -> aether_core::Hash {
        let book = self.driver.rooms[&genesis().space_id()].replica.book();
        map::state_hash(book.rows(), book.catalog()).unwrap()
    }
}

/// Damages a value that is stored.
fn damage(store: &Store, faults: &Faults, keyspace: &Keyspace, key: &[u8], bit: usize) {
    let value = keyspace.get(key).unwrap().unwrap();
    let mut batch = Batch::new();
    batch.put(keyspace, key, &value);
    faults.flip_next_write(bit);
    store.commit(batch, Durability::Synced).wait().unwrap();
    keyspace.get(key).unwrap_err();
}

/// Repairs the folder of the node with this key, as a program does. Tells what became of the space.
fn mend(damaged: &Path, new: &Path, key: u8) -> Repaired {
    let wreck = aether_store::Wreck::open(damaged, &Options::default()).unwrap();
    let store = Store::open(new, Options::default()).unwrap();
    wreck.copy(&store, &REPAIRED).unwrap();
    let key = SecretKey::from_bytes([key; 32]);
    let mut last = 0;
    let told = |progress: RepairProgress<'_>| {
        assert!(progress.name == "room" && progress.done <= progress.of);
        last = progress.of;
    };
    let all = repair_spaces(wreck.store(), &store, &key, told).unwrap();
    let [repaired] = &all[..] else { panic!("{all:?}") };
    assert!(last >= repaired.entries);
    repaired.clone()
}

/// Two nodes with so many entries of each, all of which both have.
async fn written(homes: [&Path; 2], count: u8) -> [Side; 2] {
    let (mut one, mut other) = (open(homes[0], 1, None), open(homes[1], 2, None));
    one.link(&other);
    other.link(&one);
    for n in 0..count {
        for side in [&mut one, &mut other] {
            drop(side.put(&[n / 2], 200 * usize::from(n)));
            side.settle().await;
        }
        talk(&mut one, &mut other).await;
    }
    assert_eq!(one.status().digest, other.status().digest);
    [one, other]
}

#[tokio::test]
async fn what_is_whole_is_made_anew_as_it_was() {
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [one, mut other] = written([homes[0].path(), homes[1].path()], 20).await;
    let (digest, state) = (other.status().digest, other.state());
    other.driver.end().await;
    drop(other);
    let repaired = mend(homes[1].path(), homes[2].path(), 2);
    assert_eq!((repaired.entries, repaired.lost, repaired.left), (40, 0, 0));
    assert_eq!(repaired.space, genesis().space_id());

    let mut other = open(homes[2].path(), 2, None);
    assert_eq!((other.status().digest, other.state()), (digest, state));
    // What it signs now is of a new feed.
    let mut written = other.put(b"new", 1);
    other.settle().await;
    written.try_recv().unwrap().unwrap();
    assert_eq!((one.status().feeds, other.status().feeds), (2, 3));
}

#[tokio::test]
async fn what_is_lost_comes_from_a_peer() {
    for seed in 0..12 {
        let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [mut one, other] = written([homes[0].path(), homes[1].path()], 20).await;
        drop(other);
        let faults = Faults::new();
        let options = Options { faults: Some(faults.clone()), ..Options::default() };
        let store = Store::open(homes[1].path(), options).unwrap();
        let racks = Racks::open(&store).unwrap();
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        for keyspace in racks.all() {
            let keys: Vec<_> = keyspace.range::<&[u8]>(..).map(|row| row.unwrap().0).collect();
            for key in keys {
                if rng.random_ratio(1, 30) {
                    damage(&store, &faults, keyspace, &key, rng.random_range(0..1000));
                }
            }
        }
        drop((store, racks));
        let repaired = mend(homes[1].path(), homes[2].path(), 2);
        assert!(repaired.entries + repaired.left <= 40, "seed {seed}: {repaired:?}");
        assert!(repaired.lost > 0 || repaired.entries == 40, "seed {seed}: {repaired:?}");

        let mut other = open(homes[2].path(), 2, None);
        assert_eq!(other.status().entries, repaired.entries);
        one.link(&other);
        other.link(&one);
        talk(&mut one, &mut other).await;
        assert_eq!(other.status().digest, one.status().digest, "seed {seed}: {repaired:?}");
        assert_eq!(other.state(), one.state(), "seed {seed}");
    }
}

#[tokio::test]
async fn without_the_engine_all_comes_from_a_peer() {
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [mut one, other] = written([homes[0].path(), homes[1].path()], 5).await;
    drop(other);
    std::fs::write(homes[1].path().join("engine/version"), "none").unwrap();
    let refused = Store::open(homes[1].path(), Options::default()).unwrap_err();
    assert!(refused.to_string().contains("repair the data folder"), "{refused}");
    let wreck = aether_store::Wreck::open(homes[1].path(), &Options::default()).unwrap();
    assert!(wreck.store().is_none());
    let store = Store::open(homes[2].path(), Options::default()).unwrap();
    wreck.copy(&store, &REPAIRED).unwrap();
    let key = SecretKey::from_bytes([2; 32]);
    let all = repair_spaces(None, &store, &key, |_| panic!("there is nothing")).unwrap();
    assert_eq!((all.len(), all[0].entries), (1, 0), "the list of spaces is in a log");
    drop(store);

    let mut other = open(homes[2].path(), 2, None);
    one.link(&other);
    other.link(&one);
    talk(&mut one, &mut other).await;
    assert_eq!((other.status().digest, other.state()), (one.status().digest, one.state()));
}
