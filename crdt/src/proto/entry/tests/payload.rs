use aether_core::{Domain, merkle, wire::Writer};
use proptest::{collection::vec, prelude::*};

use super::*;

/// A group: a byte of its collection's id, its kind, its operations.
type Raw<'a> = (u8, u8, &'a [&'a [u8]]);

/// A payload as on the wire, of groups with any collection and kind.
fn raw(groups: &[Raw<'_>]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (collection, kind, ops) in groups {
        writer.array(&[*collection; 16]).u8(*kind).u32(u32::try_from(ops.len()).unwrap());
        for op in *ops {
            writer.u32(u32::try_from(op.len()).unwrap()).slice(op);
        }
    }
    writer.finish()
}

fn content(groups: &[Raw<'_>]) -> Content {
    Payload::decode(raw(groups)).unwrap().content()
}

#[test]
fn operations_come_in_the_order_in_which_dots_count_them() {
    let payload = Payload::decode(raw(&[(1, 2, &[b"a", b""]), (2, 1, &[b"c"])])).unwrap();
    let ops: Vec<(Kind, &[u8])> = payload.ops().map(|(of, op)| (of.kind(), op)).collect();
    assert_eq!(ops, [(Kind::Map, &b"a"[..]), (Kind::Map, b""), (Kind::Document, b"c")]);
    let groups: Vec<usize> = payload.groups().iter().map(Group::len).collect();
    assert_eq!(groups, [2, 1]);
    assert_eq!(payload.groups()[1].collection().id(), &[2; 16]);
    assert_eq!(Payload::decode(vec![]), Ok(Payload::default()));
}

#[test]
fn the_root_is_that_of_the_table() {
    let op = Domain::new("aether 2026-11 entry op v1");
    let group = Domain::new("aether 2026-11 entry group v1");
    let ops = [op.hash(b"a"), op.hash(b"b"), op.hash(b"c")];
    let map = [&[1; 16][..], &[2], &3u32.to_be_bytes(), merkle::root(&ops).as_ref()].concat();
    let set = [&[2; 16][..], &[3], &1u32.to_be_bytes(), op.hash(b"d").as_ref()].concat();
    let root = merkle::root(&[group.hash(&map), group.hash(&set)]);
    let found = content(&[(1, 2, &[b"a", b"b", b"c"]), (2, 3, &[b"d"])]);
    assert_eq!(found, Content { bytes: 21 + 3 * 5 + 21 + 5, groups: 2, root });
    // Neither level is taken for the other.
    assert_ne!(op.hash(&map), group.hash(&map));
    let none = Payload::default().content();
    assert_eq!(none, Content { bytes: 0, groups: 0, root: merkle::root(&[]) });
}

#[test]
fn every_part_of_a_payload_is_part_of_the_root() {
    let root = content(&[(1, 2, &[b"a", b"b"]), (2, 2, &[b"c"])]).root;
    let others: [&[Raw<'_>]; 8] = [
        &[(1, 2, &[b"a", b"x"]), (2, 2, &[b"c"])],
        &[(1, 2, &[b"b", b"a"]), (2, 2, &[b"c"])],
        &[(1, 2, &[b"a"]), (2, 2, &[b"b", b"c"])],
        &[(1, 2, &[b"ab"]), (2, 2, &[b"c"])],
        &[(1, 3, &[b"a", b"b"]), (2, 2, &[b"c"])],
        &[(0, 2, &[b"a", b"b"]), (2, 2, &[b"c"])],
        &[(1, 2, &[b"a", b"b"])],
        &[(1, 2, &[b"a", b"b", b"c"])],
    ];
    for other in others {
        assert_ne!(content(other).root, root, "{other:?}");
    }
}

#[test]
fn groups_are_strictly_ascending_and_not_empty() {
    let refused = [
        (raw(&[(2, 2, &[b"a"]), (1, 2, &[b"b"])]), PayloadError::Order),
        (raw(&[(1, 2, &[b"a"]), (1, 2, &[b"b"])]), PayloadError::Order),
        (raw(&[(1, 2, &[b"a"]), (1, 3, &[b"b"])]), PayloadError::Order),
        (raw(&[(1, 2, &[])]), PayloadError::EmptyGroup),
        (raw(&[(1, 6, &[b"a"])]), PayloadError::Kind { kind: 6 }),
    ];
    for (bytes, why) in refused {
        assert_eq!(Payload::decode(bytes), Err(why));
    }
}

#[test]
fn payloads_are_bounded_in_bytes_groups_and_operations() {
    let of_len = |len: usize| raw(&[(1, 2, &[&vec![7; len - 25]])]);
    assert_eq!(of_len(MAX_PAYLOAD).len(), MAX_PAYLOAD);
    assert!(Payload::decode(of_len(MAX_PAYLOAD)).is_ok());
    let len = MAX_PAYLOAD + 1;
    assert_eq!(Payload::decode(of_len(len)), Err(PayloadError::TooLong { len }));

    let groups = |count: u16| {
        let group = |at: u16| {
            let id = [&at.to_be_bytes()[..], &[0; 14]].concat();
            [&id[..], &[2], &1u32.to_be_bytes(), &[0; 4]].concat()
        };
        (0..count).flat_map(group).collect::<Vec<u8>>()
    };
    assert!(Payload::decode(groups(256)).is_ok());
    assert_eq!(Payload::decode(groups(257)), Err(PayloadError::TooManyGroups));

    let ops = |counts: [usize; 2]| {
        let [one, two] = counts.map(|count| vec![&b""[..]; count]);
        raw(&[(1, 2, &one), (2, 2, &two)])
    };
    assert!(Payload::decode(ops([MAX_OPS - 1, 1])).is_ok());
    assert_eq!(Payload::decode(ops([MAX_OPS, 1])), Err(PayloadError::TooManyOps));
    assert_eq!(Payload::decode(ops([1, MAX_OPS])), Err(PayloadError::TooManyOps));
}

#[test]
fn a_claimed_number_of_operations_takes_no_memory() {
    let mut bytes = raw(&[(1, 2, &[b"a"])]);
    bytes[17..21].copy_from_slice(&65_536u32.to_be_bytes());
    assert!(matches!(Payload::decode(bytes.clone()), Err(PayloadError::Torn(_))));
    bytes[17..21].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Payload::decode(bytes.clone()), Err(PayloadError::TooManyOps));
    bytes[17..25].copy_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(Payload::decode(bytes), Err(PayloadError::Torn(_))));
}

#[test]
fn a_collection_is_of_its_kind_and_name() {
    let map = Collection::new(Kind::Map, "m");
    assert_eq!(map, Collection::new(Kind::Map, "m"));
    assert_ne!(map.id(), Collection::new(Kind::Set, "m").id());
    assert_ne!(map.id(), Collection::new(Kind::Map, "n").id());
    for byte in 0..=255 {
        assert!(Kind::from_byte(byte).is_none_or(|kind| kind.to_byte() == byte));
    }
}

#[test]
fn every_truncation_and_flipped_byte_is_refused_or_anothers() {
    let entry = example("first");
    let bytes = entry.payload().as_bytes();
    let header = entry.header();
    let fits = |bytes: Vec<u8>| {
        let payload = Payload::decode(bytes);
        payload.is_ok_and(|payload| Entry::new(header.clone(), payload).is_ok())
    };
    assert!(fits(bytes.to_vec()));
    for at in 0..bytes.len() {
        assert!(!fits(bytes[..at].to_vec()), "cut at {at}");
        for by in 1..=255 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= by;
            assert!(!fits(flipped), "{by} at {at}");
        }
    }
    assert!(!fits([bytes, &[0]].concat()));
}

proptest! {
    #[test]
    fn payloads_round_trip(
        groups in proptest::collection::btree_map(
            any::<[u8; 16]>(),
            (1..6u8, vec(vec(any::<u8>(), 0..20), 1..8)),
            0..6,
        ),
    ) {
        let mut writer = Writer::default();
        for (id, (kind, ops)) in &groups {
            writer.array(id).u8(*kind).u32(u32::try_from(ops.len()).unwrap());
            for op in ops {
                writer.u32(u32::try_from(op.len()).unwrap()).slice(op);
            }
        }
        let bytes = writer.finish();
        let payload = Payload::decode(bytes.clone()).unwrap();
        prop_assert_eq!(payload.as_bytes(), &bytes);
        let expected: Vec<(&[u8; 16], &[u8])> = groups
            .iter()
            .flat_map(|(id, (_, ops))| ops.iter().map(move |op| (id, &op[..])))
            .collect();
        let found: Vec<(&[u8; 16], &[u8])> =
            payload.ops().map(|(collection, op)| (collection.id(), op)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn random_bytes_are_harmless(bytes in vec(0..8u8, 0..200)) {
        if let Ok(payload) = Payload::decode(bytes.clone()) {
            prop_assert_eq!(payload.as_bytes(), &bytes);
            let _ = payload.content();
        }
    }
}
