//! Evidence: a semilattice that never names an honest author.

use proptest::prelude::*;

use super::*;

fn tip(number: u64, byte: u8) -> Tip {
    Tip { number, hash: Hash::from_bytes([byte; 32]) }
}

/// Few numbers and few hashes, so that they meet.
fn any_evidence() -> impl Strategy<Value = Evidence> {
    (1..4u64, 0..6u8, 0..6u8)
        .prop_filter_map("different", |(number, a, b)| Evidence::of(tip(number, a), tip(number, b)))
}

proptest! {
    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        a in any_evidence(), b in any_evidence(), c in any_evidence(),
    ) {
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        prop_assert_eq!(a.join(a), a);
        prop_assert_eq!(a.join(b).join(b), a.join(b));
    }

    #[test]
    fn joined_evidence_is_the_lowest_number_and_the_smallest_pair(
        all in prop::collection::vec(any_evidence(), 1..8),
    ) {
        let joined = all.iter().copied().reduce(Evidence::join).unwrap();
        let lowest = all.iter().map(Evidence::number).min().unwrap();
        let there = all.iter().filter(|one| one.number() == lowest);
        let mut hashes: Vec<Hash> = there.flat_map(Evidence::pair).collect();
        hashes.sort();
        hashes.dedup();
        prop_assert_eq!(joined.number(), lowest);
        prop_assert_eq!(&joined.pair()[..], &hashes[..2]);
    }
}

#[test]
fn one_header_or_two_numbers_are_no_evidence() {
    assert_eq!(Evidence::of(tip(1, 1), tip(1, 1)), None);
    assert_eq!(Evidence::of(tip(1, 1), tip(2, 2)), None);
    assert_eq!(Evidence::of(tip(1, 2), tip(1, 1)), Evidence::of(tip(1, 1), tip(1, 2)));
}

#[test]
fn evidence_excuses_its_number_and_what_is_above() {
    let evidence = Evidence::of(tip(5, 1), tip(5, 2)).unwrap();
    assert!(!evidence.excuses(4) && evidence.excuses(5) && evidence.excuses(6));
}

#[test]
fn news_is_what_lowers_the_evidence() {
    let mut feed = Feed::default();
    let of = |number, a, b| Evidence::of(tip(number, a), tip(number, b)).unwrap();
    assert!(feed.note(of(5, 3, 4)) && !feed.note(of(5, 3, 4)));
    assert!(feed.note(of(5, 2, 9)) && !feed.note(of(6, 0, 1)) && !feed.note(of(5, 4, 5)));
    assert_eq!(feed.evidence(), Some(of(5, 2, 3)));
    assert!(feed.note(of(4, 8, 9)) && !feed.note(of(5, 0, 1)));
    assert_eq!(feed.evidence(), Some(of(4, 8, 9)));
}

#[test]
fn an_honest_feed_is_never_named_whatever_arrives_when() {
    for_seeds(300, |rng| {
        let ranks: Vec<u8> = (0..30).map(|_| rng.next_u32() as u8).collect();
        let nodes = chain(Tip::ROOT, &ranks);
        let mut replica = Replica::default();
        for step in 0..60 {
            let node = nodes[rng.random_range(0..nodes.len())];
            let at = nodes[rng.random_range(0..nodes.len())].tip();
            replica.offer(node);
            match rng.random_range(0..40) {
                // A base is the author's own checkpoint, wherever the replica stands.
                0 => drop(replica.rebase(at)),
                1 => {
                    let all = nodes.iter().copied().collect();
                    let base = replica.feed.base();
                    replica.feed.pin(base, &[at], &all).unwrap();
                    replica.kept = oracle::way(base, at.max(base), &all);
                }
                2 => drop(replica.feed.open(replica.feed.base(), &replica.kept)),
                _ => {}
            }
            assert_eq!(replica.feed.evidence(), None, "after step {step}");
        }
    });
}

#[test]
fn an_entry_whose_parent_is_missing_is_evidence_all_the_same() {
    let mut replica = Replica::default();
    chain(Tip::ROOT, &[1, 2, 3]).into_iter().for_each(|node| replica.offer(node));
    let other = chain(Tip::ROOT, &[4, 5, 6]);
    assert_eq!(replica.insert(other[2]), Placed::Gap);
    assert_eq!(replica.feed.evidence().map(|one| one.number()), Some(3));
    assert_eq!(replica.insert(other[1]), Placed::Gap);
    assert_eq!(replica.feed.evidence().map(|one| one.number()), Some(2));
}
