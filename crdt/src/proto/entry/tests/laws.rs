use proptest::{collection::vec, prelude::*};

use super::*;

prop_compose! {
    fn any_citation()(author in 0..4u8, incarnation in 0..4u64, number in 1..9u64) -> EntryId {
        citation(author, incarnation, number)
    }
}

fn any_access() -> impl Strategy<Value = AccessOp> {
    let list = proptest::collection::btree_set((0..5u64, 1..5u64, any::<u8>()), 0..=20);
    (0..3u8, 0..3usize, list, any_citation()).prop_map(|(kind, role, list, citation)| {
        let member = key(2).public();
        let pins = list.iter().map(|&(incarnation, number, byte)| FeedPin {
            incarnation,
            number,
            hash: hash(byte),
        });
        match kind {
            0 => {
                let role = [Role::Reader, Role::Writer, Role::Admin][role];
                let mut over: Vec<Hash> = pins.map(|pin| pin.hash).collect();
                over.sort();
                over.dedup();
                over.truncate(MAX_OVER);
                AccessOp::Grant { member, role, over }
            }
            1 => AccessOp::Remove { member, pins: pins.collect(), more: role == 0 },
            _ => {
                // Every other number, so that others are between.
                let mut numbers: Vec<u64> = list.iter().map(|&(at, _, _)| 1 + 2 * at).collect();
                numbers.dedup();
                numbers.push(100);
                let runs: Vec<_> = numbers.into_iter().map(|at| (at, at)).collect();
                discard(citation.feed, &runs)
            }
        }
    })
}

prop_compose! {
    fn any_body()(
        number in prop_oneof![Just(1u64), any::<u64>().prop_map(|n| n.max(1))],
        time: u64,
        granted: bool,
        rows in vec(any_citation(), 0..70),
        access in proptest::option::of(any_access()),
        groups in 0..=256u16,
        root: [u8; 32],
    ) -> Body {
        let content = match groups {
            0 => Payload::default().content(),
            _ => Content { bytes: u32::from(groups) * 25, groups, root: Hash::from_bytes(root) },
        };
        let mut frontier = rows;
        frontier.sort();
        frontier.dedup();
        let mut kept: Vec<EntryId> = Vec::new();
        for row in frontier {
            let same = kept.iter().filter(|other| other.feed == row.feed).count();
            if same < 2 && kept.len() < MAX_FRONTIER {
                kept.push(row);
            }
        }
        let authority = if granted { GRANTED } else { Authority::Genesis };
        Body {
            number,
            previous: hash((number != 1).into()),
            time: Hybrid::from_bits(time),
            content,
            frontier: kept,
            authority: (number == 1).then_some(authority),
            access,
            ..body()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn headers_round_trip(body in any_body()) {
        let header = signed(body);
        let bytes = header.encode();
        prop_assert!(bytes.len() <= MAX_HEADER);
        let read = Header::decode(&bytes).unwrap().verify().unwrap();
        prop_assert_eq!(read.encode(), bytes);
        prop_assert_eq!(read, header);
    }

    #[test]
    fn a_changed_header_is_refused_or_forged(
        body in any_body(),
        at: prop::sample::Index,
        by in 1..=255u8,
        cut: prop::sample::Index,
    ) {
        let mut bytes = signed(body).encode();
        prop_assert!(Header::decode(&bytes[..cut.index(bytes.len())]).is_err());
        *at.get_mut(&mut bytes) ^= by;
        if let Ok(header) = Header::decode(&bytes) {
            // One value has one encoding.
            prop_assert_eq!(header.encode(), bytes);
            prop_assert!(header.verify().is_err());
        }
    }

    #[test]
    fn random_bytes_are_harmless(mut bytes in vec(any::<u8>(), 0..700), flags in 0..8u8) {
        let _ = Header::decode(&bytes);
        if bytes.len() > 161 {
            // So far that something is read at all.
            bytes[0] = 1;
            bytes[1] = flags;
            bytes[160] %= 4;
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
