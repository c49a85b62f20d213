//! Rules 1, 2 and 6: what is new, and in which order it is delivered.

use super::*;

// Rule 1: deduplicate, then verify.

#[test]
fn what_is_settled_is_ignored_unverified_and_blames_nobody() {
    let mut fixture = Fixture::new(Config::default());
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &original);
    assert_eq!((fixture.verified(), fixture.verdicts()), (1, vec![Verdict::Accept]));
    fixture.gossip(BOB, &original);
    fixture.gossip(BOB, &forged(&original));
    assert_eq!(fixture.verified(), 0);
    assert_eq!(fixture.verdicts(), [Verdict::Ignore; 2]);
    assert_eq!(fixture.faults(), []);
    assert_eq!(fixture.delivered(), [(1, 0)]);
    assert_eq!(fixture.inbox.stats().duplicate, 2);
}

#[test]
fn what_is_held_is_settled_too() {
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.gossip(BOB, &envelope(AUTHOR, 2));
    assert_eq!(fixture.verified(), 1);
    assert_eq!(fixture.verdicts(), [Verdict::Accept, Verdict::Ignore]);
}

#[test]
fn a_forgery_that_comes_first_suppresses_nothing() {
    let mut fixture = Fixture::new(Config::default());
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &forged(&original));
    assert_eq!(fixture.verdicts(), [Verdict::Reject]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Forged)]);
    assert_eq!((fixture.delivered(), fixture.next()), (vec![], None));
    fixture.gossip(BOB, &original);
    assert_eq!((fixture.delivered(), fixture.verdicts()), (vec![(1, 0)], vec![Verdict::Accept]));
    assert_eq!(fixture.inbox.stats().forged, 1);
}

#[test]
fn a_forgery_under_verification_suppresses_nothing_either() {
    let mut fixture = Fixture::new(Config::default());
    fixture.verifies = false;
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &forged(&original));
    fixture.gossip(BOB, &original);
    assert_eq!(fixture.verified(), 2);
}

#[test]
fn a_forger_on_the_link_is_penalized() {
    let mut fixture = Fixture::new(Config::default());
    fixture.have(ALICE, &[forged(&envelope(AUTHOR, 1))]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Forged)]);
    assert_eq!((fixture.delivered(), fixture.verdicts()), (vec![], vec![]));
}

#[test]
fn what_comes_twice_while_it_is_verified_is_delivered_once() {
    let mut fixture = Fixture::new(Config::default());
    fixture.verifies = false;
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &original);
    fixture.have(BOB, std::slice::from_ref(&original));
    let pending = fixture.take(|output| match output {
        Output::Verify { envelope, origin, .. } => Some((envelope.clone(), *origin)),
        _ => None,
    });
    assert_eq!(pending.len(), 2);
    for (envelope, origin) in pending.into_iter().rev() {
        fixture.handle(Input::Verified { topic: topic(), envelope, origin, valid: true });
    }
    assert_eq!((fixture.delivered(), fixture.verdicts()), (vec![(1, 0)], vec![Verdict::Ignore]));
}

#[test]
fn the_malformed_is_rejected_and_the_newer_ignored() {
    let mut fixture = Fixture::new(Config::default());
    let bytes = envelope(AUTHOR, 1).bytes().to_vec();
    fixture.gossip_bytes(ALICE, bytes[..100].to_vec());
    assert_eq!(fixture.verdicts(), [Verdict::Reject]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Malformed)]);
    fixture.gossip_bytes(ALICE, [&bytes[..65], &[0; MAX_PAYLOAD + 1], &bytes[..64]].concat());
    assert_eq!(fixture.verdicts(), [Verdict::Reject]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Oversized)]);
    fixture.gossip_bytes(ALICE, [&[2], &bytes[1..]].concat());
    assert_eq!((fixture.verdicts(), fixture.faults()), (vec![Verdict::Ignore], vec![]));
    let stats = fixture.inbox.stats();
    assert_eq!((stats.malformed, stats.newer, fixture.verified()), (2, 1, 0));
}

#[test]
fn our_own_envelopes_come_back_unread() {
    let mut fixture = Fixture::new(Config::default());
    fixture.handle(Input::Published { topic: topic(), envelope: envelope(ME, 1) });
    fixture.gossip(ALICE, &envelope(ME, 1));
    // Nor is anything believed that we haven't said in this life.
    fixture.gossip(ALICE, &envelope(ME, 2));
    let header = Header { incarnation: LIFE + 1, number: 1, first: 1, time: WALL };
    fixture.gossip(ALICE, &seal(ME, header, &[0]));
    assert_eq!((fixture.verified(), fixture.delivered()), (0, vec![]));
    assert_eq!(fixture.verdicts(), [Verdict::Ignore; 3]);
}

#[test]
fn a_topic_that_is_not_read_is_ignored_and_forgotten() {
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.handle(Input::Unsubscribe { topic: topic() });
    assert_eq!((fixture.inbox.bytes(), fixture.next()), (0, None));
    fixture.outputs.clear();
    fixture.gossip(ALICE, &envelope(AUTHOR, 3));
    assert_eq!((fixture.verified(), fixture.verdicts()), (0, vec![Verdict::Ignore]));
    assert_eq!(fixture.inbox.poll_timeout(), None);
}

// Rule 2: once, in order.

#[test]
fn what_comes_early_waits_for_its_turn() {
    let mut fixture = Fixture::new(Config::default());
    for number in [3, 5, 1, 4] {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    assert_eq!(fixture.delivered(), [(1, 0)]);
    assert!(fixture.inbox.bytes() > 0);
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    assert_eq!(fixture.delivered(), [(2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(fixture.verdicts(), [Verdict::Accept; 5]);
    assert_eq!(fixture.inbox.topics[&topic()].held_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_arrival_is_delivered_once_in_order(
        order in Just((1..=20).collect::<Vec<u64>>()).prop_shuffle(),
        again in proptest::collection::vec(1..=20u64, 0..20),
    ) {
        let mut fixture = Fixture::new(Config::default());
        for number in order.into_iter().chain(again) {
            fixture.gossip(ALICE, &envelope(AUTHOR, number));
        }
        let expected: Vec<_> = (1..=20).map(|number| (number, 0)).collect();
        prop_assert_eq!(fixture.delivered(), expected);
    }
}

// Rule 6: lives.

#[test]
fn a_later_life_flushes_and_replaces_the_earlier() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    for number in [1, 3, 5] {
        fixture.gossip(ALICE, &of_life(LIFE, number));
    }
    assert_eq!(fixture.delivered(), [(1, 0)]);
    fixture.gossip(ALICE, &of_life(LIFE + 1, 1));
    assert_eq!(fixture.delivered(), [(3, 1), (5, 1), (1, 0)]);
    assert_eq!(fixture.next(), Some((LIFE + 1, 2)));
    fixture.outputs.clear();
    fixture.gossip(ALICE, &of_life(LIFE, 2));
    fixture.gossip(ALICE, &of_life(LIFE, 6));
    assert_eq!((fixture.verified(), fixture.delivered()), (0, vec![]));
    assert_eq!((fixture.verdicts(), fixture.faults()), (vec![Verdict::Ignore; 2], vec![]));
    assert_eq!(fixture.inbox.stats().stale, 2);
}

#[test]
fn a_forged_life_replaces_nothing() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &of_life(LIFE, 1));
    fixture.gossip(ALICE, &forged(&of_life(u64::MAX, 1)));
    fixture.gossip(ALICE, &of_life(LIFE, 2));
    assert_eq!(fixture.delivered(), [(1, 0), (2, 0)]);
}

#[test]
fn what_is_sealed_too_long_ago_or_ahead_is_stale() {
    let age = Config::default().max_age;
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &sealed_at(1, WALL - age - 1));
    fixture.gossip(ALICE, &sealed_at(1, WALL + age + 1));
    assert_eq!((fixture.verified(), fixture.verdicts()), (0, vec![Verdict::Ignore; 2]));
    assert_eq!((fixture.faults(), fixture.inbox.stats().stale), (vec![], 2));
    fixture.gossip(ALICE, &sealed_at(1, WALL - age));
    fixture.gossip(ALICE, &sealed_at(2, WALL + age));
    assert_eq!(fixture.delivered(), [(1, 0), (2, 0)]);
}
