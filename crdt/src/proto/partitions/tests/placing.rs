//! Placement.

use std::collections::BTreeSet;

use super::*;
use crate::proto::{
    partitions::placement::MAX_MEMBERS,
    space::{Genesis, Mode},
};

#[test]
fn settings_round_trip_within_their_bounds() {
    for (partitions, replicas) in [(1, 1), (64, 3), (1024, 16)] {
        let partitioning = Partitioning::new(partitions, replicas).unwrap();
        assert_eq!(Partitioning::decode(&partitioning.encode()), Some(partitioning));
    }
    assert!(Partitioning::new(0, 3).is_err() && Partitioning::new(1025, 3).is_err());
    assert!(Partitioning::new(64, 0).is_err() && Partitioning::new(64, 17).is_err());
    // Golden, and what isn't one.
    assert_eq!(Partitioning::default().encode(), [1, 0, 64, 3]);
    for bytes in [&[2, 0, 64, 3][..], &[1, 0, 0, 3], &[1, 0, 64, 0], &[1, 0, 64], &[1, 0, 64, 3, 0]]
    {
        assert_eq!(Partitioning::decode(bytes), None, "{bytes:?}");
    }
}

#[test]
fn owners_are_the_same_everywhere() {
    // Pinned: two releases that place differently would keep a key in two places.
    let placement = placement(64, 3, joined(1..=5));
    let owners: Vec<String> =
        placement.owners(7).iter().map(|owner| owner.to_string()[..8].to_owned()).collect();
    let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [peer(1)]).unwrap();
    let space = genesis_of(&genesis, 7).space_id().to_string();
    let view = placement.view().to_string();
    let found = (placement.partition_of(b"key"), owners, &view[..16], &space[..16]);
    let golden = ["ca93ac17", "8a88e3dd", "6e7a1cdd"].map(str::to_owned).to_vec();
    assert_eq!(found, (31, golden, "c37e143400a25676", "d637ba78368a56af"));
}

#[test]
fn partitions_are_spaces_of_their_own() {
    let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [peer(1)]).unwrap();
    let ids: BTreeSet<_> = (0..64).map(|n| genesis_of(&genesis, n).space_id()).collect();
    assert_eq!(ids.len(), 64);
    assert!(!ids.contains(&genesis.space_id()));
    let other = Genesis::new(Mode::Open, [8; 16], "guests", [peer(1)]).unwrap();
    assert!(!ids.contains(&genesis_of(&other, 0).space_id()));
}

#[test]
fn keys_and_partitions_are_spread() {
    let placement = placement(64, 3, joined(1..=8));
    let mut keys = [0; 64];
    for n in 0..6400u32 {
        keys[usize::from(placement.partition_of(&n.to_be_bytes()))] += 1;
    }
    assert!(keys.iter().all(|count| (50..=160).contains(count)), "{keys:?}");
    let owned = |n| placement.partitions().filter(|p| placement.owns(&peer(n), *p)).count();
    for n in 1..=8 {
        assert!((10..=40).contains(&owned(n)), "{n} owns {}", owned(n));
    }
    assert_eq!((1..=8).map(owned).sum::<usize>(), 64 * 3);
}

#[test]
fn who_comes_or_goes_moves_only_what_it_owns() {
    let (before, after) = (placement(64, 3, joined(1..=5)), placement(64, 3, joined(1..=6)));
    assert_ne!(before.view(), after.view());
    for partition in before.partitions() {
        let mut owners = after.owners(partition).to_vec();
        if owners.contains(&peer(6)) {
            owners.retain(|owner| *owner != peer(6));
            assert_eq!(owners, before.owners(partition)[..2], "the last gives way");
        } else {
            assert_eq!(owners, before.owners(partition));
        }
    }
    // Who leaves is a member still, and owns nothing.
    let mut members = joined(1..=5);
    members.push((peer(6), Standing::Leaving));
    let leaving = placement(64, 3, members);
    assert!(leaving.partitions().all(|n| leaving.owners(n) == before.owners(n)));
    assert!(leaving.members().contains_key(&peer(6)));
    assert_ne!(leaving.view(), before.view());
}

#[test]
fn a_level_is_a_number_of_owners() {
    use Level::{All, One, Quorum};
    for (members, needs) in
        [(0, [1, 1, 1]), (1, [1, 1, 1]), (2, [1, 2, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])]
    {
        let placement = placement(4, 3, joined(0..members));
        let needed = [One, Quorum, All].map(|level| placement.need(0, level));
        assert_eq!(needed, needs, "of {members}");
    }
    assert_eq!(placement(4, 5, joined(0..5)).need(0, Quorum), 3);
    assert_eq!(placement(4, 4, joined(0..5)).need(0, Quorum), 3);
}

#[test]
fn members_are_bounded() {
    let many = (0..300u32).map(|n| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        (PublicKey::from_bytes(bytes), Standing::Joined)
    });
    let placement = placement(1, 3, many.collect());
    assert_eq!(placement.members().len(), MAX_MEMBERS);
    assert_eq!(placement.members().keys().last().unwrap().as_bytes()[..4], [0, 0, 0, 255]);
}
