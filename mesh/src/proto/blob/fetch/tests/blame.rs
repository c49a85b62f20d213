//! Rules 6 and 7.

use super::*;

#[test]
fn a_liar_is_named_and_never_asked_again_and_its_groups_go_to_others() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.provider(2, 100);
    let lost = f.asked(2);
    f.handle(Input::Wrong { peer: peer(2), fault: Blame::WrongBytes });
    assert_eq!(f.blamed(), [(peer(2), Blame::WrongBytes)]);
    assert_eq!(f.closed(), [peer(2)]);
    f.provider(3, 100);
    assert_eq!(f.asked(3).runs()[0].start, lost.runs()[0].start);
    f.opened();
    f.found(2);
    f.pass(60_000);
    assert!(!f.opened().contains(&peer(2)));
}

#[test]
fn false_claims_are_forgiven_a_few_times_only() {
    let mut f = Fixture::proved(Config { max_false_claims: 2, ..Config::default() }, 100);
    f.provider(2, 100);
    for ask in 1..=2 {
        let groups = f.fetch.peers[&peer(2)].asks[&ask].left.clone();
        f.asks(2);
        f.handle(Input::Ended { peer: peer(2), ask, why: Why::NotHeld });
        assert_eq!(f.blamed(), []);
        assert!(!f.asked(2).includes(&groups), "it isn't asked for these again");
    }
    f.handle(Input::Ended { peer: peer(2), ask: 3, why: Why::NotHeld });
    assert_eq!(f.blamed(), [(peer(2), Blame::FalseClaim)]);
}

#[test]
fn an_ask_that_ends_cancelled_unasked_is_a_fault() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.provider(2, 100);
    f.handle(Input::Ended { peer: peer(2), ask: 1, why: Why::Cancelled });
    assert_eq!(f.blamed(), [(peer(2), Blame::Protocol)]);
}

#[test]
fn who_sends_nothing_is_closed_and_others_are_asked_instead() {
    let mut f = Fixture::proved(Config { max_excess: 0, ..Config::default() }, 8);
    f.provider(2, 8);
    let asked = f.asked(2);
    assert_eq!(asked.runs(), one(0..4));
    f.provider(3, 8);
    f.asks(3);
    f.pass(7000);
    f.verified(3, 1, 4..6);
    assert_eq!(f.closed(), []);
    f.pass(1000);
    assert_eq!(f.closed(), [peer(2)]);
    assert!(f.asked(3).contains(0));
    assert_eq!(f.fetch.stats().stalls, 1);
}

#[test]
fn rests_double_and_end_when_something_comes() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.found(2);
    f.opened();
    for wait in [1000, 2000, 4000] {
        f.handle(Input::Lost { peer: peer(2) });
        f.pass(wait - 1);
        assert_eq!(f.opened(), []);
        f.pass(1);
        assert_eq!(f.opened(), [peer(2)]);
    }
    f.holds(2, 100 * GROUP, 0..100);
    f.verified(2, 1, 0..1);
    f.handle(Input::Lost { peer: peer(2) });
    f.pass(1000);
    assert_eq!(f.opened(), [peer(2)]);
}

#[test]
fn who_is_lost_too_often_is_gone_until_it_is_found_again() {
    let mut f = Fixture::proved(Config { max_losses: 2, ..Config::default() }, 100);
    f.found(2);
    f.opened();
    for _ in 0..3 {
        f.handle(Input::Lost { peer: peer(2) });
        f.pass(10_000);
    }
    assert_eq!(f.opened().len(), 2);
    f.found(2);
    assert_eq!(f.opened(), [peer(2)]);
}

#[test]
fn who_never_says_what_it_holds_is_closed() {
    let mut f = Fixture::new(Config::default());
    f.found(1);
    f.pass(9999);
    assert_eq!(f.closed(), []);
    f.pass(1);
    assert_eq!(f.closed(), [peer(1)]);
}

#[test]
fn who_is_busy_is_asked_later_and_its_groups_are_free() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.provider(2, 100);
    let retry_after = Duration::from_secs(2);
    let groups: Vec<_> = f.asks(2);
    for (ask, _) in &groups {
        f.handle(Input::Busy { peer: peer(2), ask: *ask, retry_after });
    }
    f.provider(3, 100);
    assert_eq!(f.asked(3).runs()[0].start, 0);
    f.pass(1999);
    assert_eq!(f.asked(2), Ranges::new());
    f.pass(1);
    assert!(!f.asked(2).is_empty());
}

#[test]
fn a_busy_stream_is_opened_again_later() {
    let mut f = Fixture::new(Config::default());
    f.found(1);
    f.opened();
    let retry_after = Duration::ZERO;
    f.handle(Input::Busy { peer: peer(1), ask: 0, retry_after });
    assert_eq!(f.closed(), [peer(1)]);
    f.pass(99);
    assert_eq!(f.opened(), [], "at least a tenth of a second");
    f.pass(1);
    assert_eq!(f.opened(), [peer(1)]);
}

#[test]
fn who_can_not_read_its_store_rests() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.provider(2, 100);
    f.opened();
    f.handle(Input::Ended { peer: peer(2), ask: 1, why: Why::Failed });
    assert_eq!((f.closed(), f.blamed()), (vec![peer(2)], vec![]));
    f.pass(1000);
    assert_eq!(f.opened(), [peer(2)]);
}
