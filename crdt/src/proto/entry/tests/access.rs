use super::*;
use proptest::{collection::vec, prelude::*};

fn member() -> PublicKey {
    key(2).public()
}

fn grant(over: Vec<Hash>) -> AccessOp {
    AccessOp::Grant { member: member(), role: Role::Writer, over }
}

fn remove(pins: Vec<FeedPin>) -> AccessOp {
    AccessOp::Remove { member: member(), pins, more: false }
}

fn pin(incarnation: u64, number: u64) -> FeedPin {
    FeedPin { incarnation, number, hash: hash(1) }
}

/// The bytes with another at an index.
fn changed(op: &AccessOp, at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = op.encode().unwrap();
    bytes[at] = byte;
    bytes
}

#[test]
fn operations_round_trip_and_nothing_else_is_read() {
    let pins = vec![pin(1, 1), pin(1, 2), pin(2, 1)];
    for op in [
        grant(vec![]),
        grant(vec![hash(1), hash(2)]),
        AccessOp::Grant { member: member(), role: Role::Admin, over: vec![] },
        AccessOp::Grant { member: member(), role: Role::Reader, over: vec![] },
        remove(vec![]),
        AccessOp::Remove { member: member(), pins, more: true },
        discard(feed(7), &[(1, 1)]),
        discard(feed(7), &[(1, 4), (6, 6), (8, u64::MAX)]),
    ] {
        let bytes = op.encode().unwrap();
        assert_eq!(AccessOp::decode(&bytes), Ok(op));
        for cut in 0..bytes.len() {
            assert!(matches!(AccessOp::decode(&bytes[..cut]), Err(AccessError::Torn(_))));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(AccessOp::decode(&longer), Err(AccessError::Torn(_))));
    }
}

#[test]
fn kinds_and_roles_that_are_not_known_are_refused() {
    for kind in [0, 4, 255] {
        let bytes = changed(&grant(vec![]), 0, kind);
        assert_eq!(AccessOp::decode(&bytes), Err(AccessError::Kind { kind }));
    }
    for role in [3, 255] {
        assert_eq!(AccessOp::decode(&changed(&grant(vec![]), 1, role)), Err(AccessError::Role));
    }
    let owner = AccessOp::Grant { member: member(), role: Role::Owner, over: vec![] };
    assert_eq!(owner.encode(), Err(AccessError::Role));
    assert_eq!(AccessOp::decode(&changed(&remove(vec![]), 33, 2)), Err(AccessError::More));
}

#[test]
fn lists_are_strictly_ascending() {
    for over in [vec![hash(2), hash(1)], vec![hash(1), hash(1)]] {
        assert_eq!(grant(over).encode(), Err(AccessError::Order));
    }
    for pins in [vec![pin(2, 1), pin(1, 2)], vec![pin(1, 1), pin(1, 1)]] {
        assert_eq!(remove(pins).encode(), Err(AccessError::Order));
    }
    let bytes = changed(&grant(vec![hash(1), hash(2)]), 35, 3);
    assert_eq!(AccessOp::decode(&bytes), Err(AccessError::Order));
    // Ascending by number, not by what stands behind it.
    let bytes = changed(&remove(vec![pin(1, 1), pin(1, 2)]), 35 + 15, 3);
    assert_eq!(AccessOp::decode(&bytes), Err(AccessError::Order));
}

#[test]
fn numbers_of_what_is_pinned_begin_at_one() {
    assert_eq!(remove(vec![pin(1, 0)]).encode(), Err(AccessError::Number));
    let bytes = changed(&remove(vec![pin(1, 1)]), 35 + 15, 0);
    assert_eq!(AccessOp::decode(&bytes), Err(AccessError::Number));
    assert_eq!(discard(feed(7), &[(0, 1)]).encode(), Err(AccessError::Number));
    let bytes = changed(&discard(feed(7), &[(1, 1)]), 1 + 40 + 2 + 7, 0);
    assert_eq!(AccessOp::decode(&bytes), Err(AccessError::Number));
}

#[test]
fn runs_ascend_and_others_are_between() {
    for runs in [
        &[(2, 1)][..],
        &[(5, 6), (1, 2)],
        &[(1, 2), (2, 3)],
        &[(1, 2), (3, 4)],
        &[(1, u64::MAX), (u64::MAX, u64::MAX)],
    ] {
        assert_eq!(discard(feed(7), runs).encode(), Err(AccessError::Order), "{runs:?}");
    }
    let bytes = changed(&discard(feed(7), &[(1, 2), (4, 4)]), 1 + 40 + 2 + 16 + 7, 3);
    assert_eq!(AccessOp::decode(&bytes), Err(AccessError::Order));
}

#[test]
fn lists_are_bounded() {
    let over = |count: u8| grant((1..=count).map(hash).collect());
    let most = over(16).encode().unwrap();
    assert_eq!(most.len(), 1 + 1 + 32 + 1 + 16 * 32);
    assert!(AccessOp::decode(&most).is_ok());
    assert_eq!(over(17).encode(), Err(AccessError::TooMany));
    let mut more = [&most[..], &[17; 32]].concat();
    more[34] = 17;
    assert_eq!(AccessOp::decode(&more), Err(AccessError::TooMany));

    let runs = |count: u64| {
        let runs: Vec<_> = (1..=count).map(|at| (2 * at, 2 * at)).collect();
        discard(feed(7), &runs)
    };
    assert_eq!(runs(0).encode(), Err(AccessError::TooMany));
    let most = runs(384).encode().unwrap();
    assert_eq!(most.len(), 1 + 40 + 2 + 384 * 16);
    assert!(most.len() <= MAX_ACCESS_OP);
    assert!(AccessOp::decode(&most).is_ok());
    assert_eq!(runs(385).encode(), Err(AccessError::TooMany));
    let mut more = [&most[..], &[0xff; 16]].concat();
    more[42] = 129;
    assert_eq!(AccessOp::decode(&more), Err(AccessError::TooMany));

    let pins = |count| remove((1..=count).map(|number| pin(1, number)).collect());
    let most = pins(128).encode().unwrap();
    assert_eq!(most.len(), 1 + 32 + 1 + 1 + 128 * 48);
    assert!(most.len() <= MAX_ACCESS_OP);
    assert!(AccessOp::decode(&most).is_ok());
    assert_eq!(pins(129).encode(), Err(AccessError::TooMany));
    let mut more = [&most[..], &[0xff; 48]].concat();
    more[34] = 129;
    assert_eq!(AccessOp::decode(&more), Err(AccessError::TooMany));
}

#[test]
fn a_pin_names_an_entry_of_the_member() {
    let entry = pin(3, 4).entry(member());
    let feed = FeedId { author: member(), incarnation: 3 };
    assert_eq!(entry, EntryId { feed, number: 4, hash: hash(1) });
}

proptest! {
    #[test]
    fn what_is_read_is_written_back(kind in 0..5u8, tail in vec(0..3u8, 0..200)) {
        let bytes = [&[kind][..], &tail].concat();
        if let Ok(op) = AccessOp::decode(&bytes) {
            prop_assert_eq!(op.encode(), Ok(bytes));
        }
    }
}
