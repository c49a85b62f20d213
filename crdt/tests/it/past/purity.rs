//! Whatever order changes come in, as long as each is behind those it builds on: honest ones pass,
//! and the same ones are void.

use std::collections::{BTreeMap, BTreeSet};

use aether_crdt::proto::document::{Index, weight::DEFAULT_LIMIT};
use automerge::{Change, ChangeHash};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::judge;
use crate::{chunks::Parts, script::World};

/// Judges changes in a random order that has each behind those it builds on. Returns the void ones.
fn void(rng: &mut ChaCha12Rng, changes: &[Change]) -> BTreeSet<ChangeHash> {
    let mut waiting: BTreeMap<ChangeHash, &Change> =
        changes.iter().map(|change| (change.hash(), change)).collect();
    let (mut index, mut void) = (Index::default(), BTreeSet::new());
    while !waiting.is_empty() {
        let ready: Vec<ChangeHash> = waiting
            .values()
            .filter(|change| change.deps().iter().all(|dep| !waiting.contains_key(dep)))
            .map(|change| change.hash())
            .collect();
        let next = ready[rng.random_range(0..ready.len())];
        let change = waiting.remove(&next).unwrap();
        match judge(&index, change.raw_bytes()) {
            Ok(accepted) => index.apply(accepted),
            Err(_) => drop(void.insert(next)),
        }
    }
    assert_eq!(index.len() + void.len(), changes.len());
    assert!(index.weight() <= DEFAULT_LIMIT);
    void
}

#[test]
fn every_honest_change_passes_on_every_replica_in_every_order() {
    let mut changes = 0;
    for seed in 0..120 {
        let mut world = World::new(seed);
        (0..40).for_each(|_| drop(world.step()));
        let all = world.merged();
        for document in world.replicas.iter().chain([&all]) {
            let mut index = Index::default();
            for change in document.get_changes(&[]) {
                let judged = judge(&index, change.raw_bytes());
                index.apply(judged.unwrap_or_else(|why| panic!("seed {seed}: {why}: {change:?}")));
                changes += 1;
            }
        }
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        for _ in 0..5 {
            assert_eq!(void(&mut rng, &all.get_changes(&[])), BTreeSet::new(), "seed {seed}");
        }
    }
    assert!(changes > 4_000, "only {changes}");
}

/// A change as somebody wrote it who hadn't written before, on what `deps` says.
fn stranger(by: u8, like: &Change, deps: Vec<[u8; 32]>) -> Option<Change> {
    let parts = Parts::parse(like.raw_bytes());
    let parts = Parts { actor: vec![by; 16], seq: 1, deps, ..parts };
    let bytes = parts.bytes();
    let actor = aether_crdt::proto::document::ActorId([by; 16]);
    aether_crdt::proto::document::Change::decode(&bytes, &actor).ok()?;
    Change::try_from(&bytes[..]).ok()
}

#[test]
fn fifty_orders_make_the_same_changes_void() {
    let (mut voids, mut others) = (0, 0);
    for seed in 0..12 {
        let mut world = World::new(seed);
        (0..24).for_each(|_| drop(world.step()));
        let honest = world.merged().get_changes(&[]);
        let mut changes = honest.clone();
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        for by in 1..=12 {
            // It names what its own past may lack, and others build on it.
            let like = &honest[rng.random_range(0..honest.len())];
            let deps = like.deps().iter().map(|dep| dep.0).collect();
            let Some(lie) = stranger(by, like, deps) else { continue };
            changes.extend(stranger(100 + by, like, vec![lie.hash().0]));
            changes.push(lie);
        }
        let first = void(&mut rng, &changes);
        assert!(honest.iter().all(|change| !first.contains(&change.hash())));
        (0..49).for_each(|_| assert_eq!(void(&mut rng, &changes), first, "seed {seed}"));
        voids += first.len();
        others += changes.len() - honest.len() - first.len();
    }
    assert!(voids > 40 && others > 0, "{voids} void, {others} not");
}
