use std::collections::BTreeSet;

use aether_core::{Domain, merkle, wire::Writer};
use proptest::{collection::vec, prelude::*};

use super::*;

/// An entry of groups with so many operations of 100 bytes each.
pub(super) fn entry(groups: &[usize]) -> Entry {
    let mut draft = Draft::new();
    for (group, count) in groups.iter().enumerate() {
        let collection = Collection::new(Kind::Map, &group.to_string());
        for op in 0..*count {
            draft.op(collection, [vec![7; 98], vec![group as u8, op as u8]].concat()).unwrap();
        }
    }
    draft.sign(&key(3), first(3), wall(0)).unwrap()
}

fn prune(entry: &Entry, kept: &[u32]) -> Pruned {
    Pruned::new(entry.payload(), |index| kept.contains(&index)).unwrap()
}

fn shown(entry: &Entry, bytes: Vec<u8>) -> Result<PrunedEntry, PayloadError> {
    PrunedEntry::new(entry.header().clone(), Pruned::decode(bytes)?)
}

/// Every operation by its index in the entry.
fn all(entry: &Entry) -> Vec<(u32, Collection, Vec<u8>)> {
    let ops = entry.payload().ops().enumerate();
    ops.map(|(index, (of, op))| (index as u32, *of, op.to_vec())).collect()
}

#[test]
fn every_subset_of_small_payloads_is_shown_against_the_header() {
    for groups in [&[1][..], &[2], &[3], &[5], &[7], &[3, 1, 2], &[1, 1, 1, 1]] {
        let entry = entry(groups);
        let all = all(&entry);
        for chosen in 0..1u32 << all.len() {
            let keep = |index: u32| chosen >> index & 1 == 1;
            let Some(pruned) = Pruned::new(entry.payload(), keep) else { continue };
            let shown = shown(&entry, pruned.as_bytes().to_vec()).unwrap();
            let found: Vec<_> = shown.ops().map(|(dot, of, op)| (dot, *of, op.to_vec())).collect();
            let id = entry.header().id();
            let kept = all.iter().filter(|(index, ..)| keep(*index));
            let expected: Vec<_> =
                kept.map(|(index, of, op)| (id.dot(*index), *of, op.clone())).collect();
            assert_eq!(found, expected, "{groups:?} {chosen:b}");
        }
    }
}

#[test]
fn the_layout_is_that_of_the_table() {
    let entry = entry(&[4]);
    let (map, ops) = (Collection::new(Kind::Map, "0"), all(&entry));
    let hash = |at: usize| Domain::new("aether 2026-11 entry op v1").hash(&ops[at].2);
    let mut writer = Writer::default();
    writer.array(map.id()).u8(2).u32(4).u32(1).u32(1).u32(1);
    writer.u32(100).slice(&ops[1].2);
    writer.array(hash(0).as_bytes()).array(merkle::root(&[hash(2), hash(3)]).as_bytes());
    assert_eq!(prune(&entry, &[1]).as_bytes(), writer.finish());

    let mut writer = Writer::default();
    writer.array(map.id()).u8(2).u32(4).u32(0);
    writer.array(merkle::root(&[hash(0), hash(1), hash(2), hash(3)]).as_bytes());
    assert_eq!(prune(&entry, &[]).as_bytes(), writer.finish());
}

#[test]
fn what_is_not_shorter_is_kept_whole() {
    let entry = entry(&[4]);
    assert!(Pruned::new(entry.payload(), |_| true).is_none());
    assert!(Pruned::new(&Payload::default(), |_| false).is_none());
    let small = batch().sign(&key(3), first(3), wall(0)).unwrap();
    assert!(Pruned::new(small.payload(), |index| index == 0).is_none());
    // Layout and root are right, and still it is refused: it is no shorter.
    let mut long = Vec::new();
    for group in small.payload().groups() {
        long.extend_from_slice(group.collection().id());
        long.push(group.collection().kind().to_byte());
        long.extend_from_slice(&(group.len() as u32).to_be_bytes());
        long.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        long.extend_from_slice(&(group.len() as u32).to_be_bytes());
        let ops = small.payload().ops().filter(|(of, _)| *of == group.collection());
        for (_, op) in ops {
            long.extend_from_slice(&(op.len() as u32).to_be_bytes());
            long.extend_from_slice(op);
        }
    }
    assert!(Pruned::decode(long.clone()).is_ok());
    assert_eq!(shown(&small, long), Err(PayloadError::OtherHeader));
}

#[test]
fn every_truncation_and_flipped_byte_is_refused_or_anothers() {
    let entry = entry(&[5, 3, 1]);
    let bytes = prune(&entry, &[1, 2, 6]).as_bytes().to_vec();
    assert!(shown(&entry, bytes.clone()).is_ok());
    assert!(shown(&entry, [&bytes[..], &[0]].concat()).is_err());
    for at in 0..bytes.len() {
        assert!(shown(&entry, bytes[..at].to_vec()).is_err(), "cut at {at}");
        for by in [1, 2, 4, 0x80, 0xff] {
            let mut flipped = bytes.clone();
            flipped[at] ^= by;
            assert!(shown(&entry, flipped).is_err(), "{by} at {at}");
        }
    }
}

/// A group of one collection with these counts, runs and bytes after them.
fn raw(count: u32, runs: &[(u32, u32)], tail: &[u8]) -> Vec<u8> {
    let mut bytes = [&[1; 16][..], &[2], &count.to_be_bytes()].concat();
    bytes.extend_from_slice(&(runs.len() as u32).to_be_bytes());
    for (start, len) in runs {
        bytes.extend_from_slice(&start.to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
    }
    [bytes, tail.to_vec()].concat()
}

#[test]
fn runs_are_ascending_and_apart_and_within_the_group() {
    let tail = [0; 4 * 4];
    for runs in [
        &[(0, 0)][..],
        &[(0, 1), (1, 1)],
        &[(2, 1), (0, 1)],
        &[(0, 2), (1, 1)],
        &[(3, 2)],
        &[(4, 1)],
        &[(u32::MAX, 1)],
    ] {
        assert_eq!(Pruned::decode(raw(4, runs, &tail)), Err(PayloadError::Runs), "{runs:?}");
    }
    assert_eq!(Pruned::decode(raw(0, &[], &[0; 32])), Err(PayloadError::EmptyGroup));
    assert!(Pruned::decode(raw(65_536, &[], &[0; 32])).is_ok());
    assert_eq!(Pruned::decode(raw(65_537, &[], &[0; 32])), Err(PayloadError::TooManyOps));
    let twice = [raw(1, &[], &[0; 32]), raw(1, &[], &[0; 32])].concat();
    assert_eq!(Pruned::decode(twice), Err(PayloadError::Order));
    let len = MAX_PAYLOAD;
    assert_eq!(Pruned::decode(vec![0; len]), Err(PayloadError::TooLong { len }));
}

#[test]
fn a_kept_operation_in_another_place_is_refused() {
    let entry = entry(&[4]);
    let bytes = prune(&entry, &[1]).as_bytes().to_vec();
    // The first index of the only run.
    for other in [0, 2, 3] {
        let mut moved = bytes.clone();
        moved[25..29].copy_from_slice(&u32::to_be_bytes(other));
        assert!(shown(&entry, moved).is_err(), "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_kept_is_found_again(
        groups in vec(1..40usize, 1..5),
        kept in proptest::collection::btree_set(0..160u32, 0..40),
    ) {
        let entry = entry(&groups);
        let total: usize = groups.iter().sum();
        let kept: BTreeSet<u32> = kept.into_iter().filter(|at| (*at as usize) < total).collect();
        if let Some(pruned) = Pruned::new(entry.payload(), |index| kept.contains(&index)) {
            let shown = shown(&entry, pruned.as_bytes().to_vec()).unwrap();
            let found: BTreeSet<u32> = shown.ops().map(|(dot, ..)| dot.index).collect();
            prop_assert_eq!(found, kept);
            prop_assert_eq!(shown.payload(), &pruned);
        }
    }

    #[test]
    fn random_bytes_are_harmless(bytes in vec(0..4u8, 0..300)) {
        if let Ok(pruned) = Pruned::decode(bytes.clone()) {
            prop_assert_eq!(pruned.as_bytes(), &bytes);
        }
    }
}
