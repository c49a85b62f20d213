//! Rule 1.

use super::*;

#[test]
fn the_last_group_is_asked_first_and_more_behind_it() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 100);
    let asks = f.asks(1);
    assert_eq!(asks[0].1.runs(), one(99..100));
    assert_eq!(asks[1].1.runs()[0].start, 0);
    f.provider(2, 100);
    assert_eq!(f.asked(2), Ranges::new(), "nobody else before the size is proved");
    f.verified(1, 1, 99..100);
    assert!(f.outputs.contains(&Output::Proved { size: 100 * GROUP }));
    assert!(!f.asked(2).is_empty());
}

#[test]
fn nothing_counts_before_the_size_is_proved() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 100);
    f.verified(1, 2, 0..2);
    assert!(f.fetch.held().is_empty());
}

#[test]
fn what_was_asked_behind_a_proof_that_is_refused_is_taken_back() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 100);
    let last = f.asks(1).last().unwrap().0;
    f.handle(Input::Ended { peer: peer(1), ask: 1, why: Why::NotHeld });
    assert!(f.cancelled().contains(&(peer(1), last)));
    assert_eq!(f.asked(1), Ranges::new(), "it can't prove what it claims");
}

#[test]
fn each_claimed_size_may_be_proved_and_whoever_claimed_another_lied() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 1 << 20);
    f.provider(2, 100);
    f.provider(3, 90);
    assert_eq!(f.asks(1)[0].1.runs(), one((1 << 20) - 1..1 << 20));
    assert_eq!(f.asks(2)[0].1.runs(), one(99..100));
    f.verified(2, 1, 99..100);
    let lied = [(peer(1), Blame::FalseSize), (peer(3), Blame::FalseSize)];
    assert_eq!(f.blamed(), lied);
    assert_eq!(f.closed(), [peer(1), peer(3)]);
    f.provider(4, 101);
    assert_eq!(f.blamed(), [(peer(4), Blame::FalseSize)]);
}

#[test]
fn a_proof_that_takes_long_is_asked_of_another() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 100);
    f.provider(2, 100);
    f.pass(1000);
    assert_eq!(f.asked(2).runs()[1], 99..100);
}

#[test]
fn two_claims_of_one_node_are_a_lie() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 100);
    f.holds(1, 50 * GROUP, 0..50);
    assert_eq!(f.blamed(), [(peer(1), Blame::FalseSize)]);
}

#[test]
fn a_blob_larger_than_allowed_has_no_provider() {
    let mut f = Fixture::new(Config { max_size: 10 * GROUP, ..Config::default() });
    f.provider(1, 11);
    assert_eq!((f.asked(1), f.closed()), (Ranges::new(), vec![peer(1)]));
    f.provider(2, 10);
    assert!(!f.asked(2).is_empty());
}

#[test]
fn a_holder_of_a_part_without_the_end_waits_for_a_proof() {
    let mut f = Fixture::new(Config::default());
    f.found(1);
    f.holds(1, 100 * GROUP, 0..50);
    assert_eq!(f.asked(1), Ranges::new());
    f.provider(2, 100);
    f.verified(2, 1, 99..100);
    assert!(!f.asked(1).is_empty());
}

#[test]
fn a_huge_claim_takes_no_memory() {
    let mut f = Fixture::new(Config { max_size: u64::MAX, ..Config::default() });
    f.provider(1, 1 << 49);
    assert_eq!(f.asks(1)[0].1.runs(), one((1 << 49) - 1..1 << 49));
    assert!(f.fetch.held().is_empty());
}

#[test]
fn the_empty_blob_is_one_group() {
    let mut f = Fixture::new(Config::default());
    f.found(1);
    f.holds(1, 0, 0..1);
    assert_eq!(f.asked(1).runs(), one(0..1));
    f.verified(1, 1, 0..1);
    assert!(f.is_done());
}
