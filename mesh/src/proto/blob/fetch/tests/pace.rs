//! Rules 2, 4 and 8.

use super::*;

#[test]
fn the_window_grows_with_the_speed_and_two_asks_are_on_their_way() {
    let mut f = Fixture::proved(Config::default(), 1 << 20);
    f.provider(2, 1 << 20);
    assert_eq!(f.asks(2).iter().map(|(_, groups)| groups.count()).collect::<Vec<_>>(), [2, 2]);
    f.outputs.push(Output::Ask { peer: peer(2), ask: 1, size: 0, groups: (0..2).into() });
    f.outputs.push(Output::Ask { peer: peer(2), ask: 2, size: 0, groups: (2..4).into() });
    // A thousand groups a second, 16 MB: three quarters of a second of it and the latency.
    for _ in 0..20 {
        assert!(f.answer(2, 1) > 0);
    }
    let provider = &f.fetch.peers[&peer(2)];
    assert!((700..1000).contains(&provider.pace.window()), "{:?}", provider.pace);
    assert!(provider.asks.len() >= 2 && provider.in_flight() <= provider.pace.window());
}

#[test]
fn a_slow_provider_is_asked_for_little() {
    let mut f = Fixture::proved(Config::default(), 1 << 20);
    f.provider(2, 1 << 20);
    for _ in 0..8 {
        f.answer(2, 500);
    }
    assert!(f.fetch.peers[&peer(2)].in_flight() <= 3);
}

#[test]
fn no_group_is_asked_twice_while_others_are_left() {
    let mut f = Fixture::proved(Config::default(), 1000);
    f.provider(2, 1000);
    f.provider(3, 1000);
    let (mut slow, mut fast) = (f.asked(2), Ranges::new());
    for _ in 0..10 {
        let asks = f.asks(3);
        for (ask, groups) in asks {
            fast.extend(&groups);
            f.pass(1);
            groups.runs().iter().for_each(|run| f.verified(3, ask, run.clone()));
        }
        slow.extend(&f.asked(2));
    }
    assert_eq!(slow.intersection(&fast), Ranges::new());
    assert_eq!(f.fetch.stats().doubled, 0);
}

/// Of 20 groups all but what a slow provider was asked for are held.
fn endgame(config: Config) -> (Fixture, Ranges) {
    let mut f = Fixture::proved(config, 20);
    f.provider(2, 20);
    let slow = f.asked(2);
    f.provider(3, 20);
    for _ in 0..6 {
        f.answer(3, 20);
    }
    (f, slow)
}

#[test]
fn the_last_groups_are_asked_of_a_faster_one_and_cancelled_at_the_slow_one() {
    let (mut f, slow) = endgame(Config::default());
    f.pass(1000);
    let asks = f.asks(3);
    assert!(!asks.is_empty() && asks.iter().all(|(_, groups)| slow.includes(groups)));
    for (ask, groups) in asks {
        groups.runs().iter().for_each(|run| f.verified(3, ask, run.clone()));
    }
    while !f.is_done() {
        assert!(f.answer(3, 20) > 0);
    }
    assert!(f.cancelled().iter().all(|(of, _)| *of == peer(2)));
    assert_eq!(f.fetch.stats().doubled, slow.count());
    assert_eq!(f.fetch.stats().excess, 0);
}

#[test]
fn what_is_asked_twice_is_bounded() {
    let (mut f, _) = endgame(Config { max_excess: 1, ..Config::default() });
    f.pass(5000);
    assert_eq!(f.asked(3).count(), 1);
    assert_eq!(f.fetch.stats().doubled, 1);
}

#[test]
fn what_comes_twice_is_counted() {
    let (mut f, _) = endgame(Config::default());
    f.pass(1000);
    let (ask, groups) = f.asks(3).remove(0);
    let run = groups.runs()[0].clone();
    let first = run.start..run.start + 1;
    f.verified(3, ask, first.clone());
    f.verified(2, 1, first);
    assert_eq!(f.fetch.stats().excess, 1);
}

#[test]
fn a_wanted_group_does_not_wait_for_a_slow_provider() {
    let mut f = Fixture::proved(Config::default(), 1000);
    f.provider(2, 1000);
    let slow = f.asked(2);
    f.provider(3, 1000);
    for _ in 0..8 {
        f.answer(3, 10);
    }
    let before = f.asks(3);
    assert!(slow.covers(&(0..2)) && before.iter().all(|(_, groups)| !groups.contains(0)));
    f.handle(Input::Want { reader: 1, groups: 0..2 });
    for (ask, groups) in before {
        f.pass(100);
        groups.runs().iter().for_each(|run| f.verified(3, ask, run.clone()));
    }
    assert!(f.asked(3).covers(&(0..2)), "as soon as it has room");
}

#[test]
fn streams_are_bounded_and_the_preferred_come_first() {
    let mut f = Fixture::new(Config { max_parallel: 2, ..Config::default() });
    f.found(1);
    f.found(2);
    f.found(3);
    f.handle(Input::Found { peer: peer(4), preferred: true });
    assert_eq!(f.opened(), [peer(1), peer(2)]);
    f.handle(Input::NotHeld { peer: peer(1) });
    f.handle(Input::NotHeld { peer: peer(2) });
    assert_eq!(f.opened(), [peer(4), peer(3)]);
}

#[test]
fn a_much_slower_provider_makes_room() {
    let mut f = Fixture::proved(Config { max_parallel: 3, ..Config::default() }, 1 << 20);
    f.provider(2, 1 << 20);
    f.provider(3, 1 << 20);
    for n in 2..5 {
        f.found(n);
    }
    f.opened();
    for _ in 0..24 {
        f.answer(3, 10);
        f.answer(2, 40);
    }
    f.pass(1);
    assert_eq!(f.closed().first(), Some(&peer(1)), "it has nothing to give");
    assert_eq!(f.opened().first(), Some(&peer(4)));
}

#[test]
fn nodes_are_bounded_and_the_useless_are_forgotten_first() {
    let mut f = Fixture::new(Config { max_peers: 3, max_parallel: 1, ..Config::default() });
    for n in 1..=3 {
        f.found(n);
    }
    f.handle(Input::NotHeld { peer: peer(1) });
    f.found(4);
    assert_eq!(f.fetch.peers(), 3);
    assert!(!f.fetch.peers.contains_key(&peer(1)) && f.fetch.peers.contains_key(&peer(4)));
}
