//! Rules 1, 2, 5, 6, 7, 9, 10 and 11: who gets a call.

use super::*;

#[test]
fn the_slow_one_gets_less_than_a_tenth() {
    let mut fixture = Fixture::new(Config::default(), 4);
    let took = |id: InstanceId| if id.number == 1 { ms(100) } else { ms(10) };
    let counts = fixture.traffic(2000, took);
    assert!(counts[1] * 10 < 2000, "{counts:?}");
    assert!(counts[2..=4].iter().all(|count| *count > 400), "{counts:?}");
}

#[test]
fn what_is_in_flight_counts() {
    let mut fixture = Fixture::new(Config::default(), 4);
    fixture.traffic(100, |_| ms(10));
    for _ in 0..40 {
        fixture.any();
    }
    let in_flight: Vec<usize> = fixture.balancer.instances().map(|view| view.in_flight).collect();
    assert!(in_flight.iter().all(|n| (7..=13).contains(n)), "{in_flight:?}");
}

#[test]
fn of_two_that_cost_the_same_the_less_loaded_gets_the_call() {
    let mut fixture = Fixture::new(Config::default(), 2);
    fixture.traffic(20, |id| if id.number == 1 { ms(100) } else { ms(104) });
    fixture.list([Listed { load: 900, ..listed(1) }, Listed { load: 100, ..listed(2) }]);
    let counts = fixture.traffic(20, |id| if id.number == 1 { ms(100) } else { ms(104) });
    assert_eq!((counts[1], counts[2]), (0, 20));
    // It is only for ties.
    let mut other = Fixture::new(Config::default(), 2);
    other.traffic(20, |id| if id.number == 1 { ms(50) } else { ms(10) });
    other.list([Listed { load: 0, ..listed(1) }, Listed { load: 900, ..listed(2) }]);
    let counts = other.traffic(20, |id| if id.number == 1 { ms(50) } else { ms(10) });
    assert!(counts[1] <= 1, "{counts:?}");
}

#[test]
fn the_unmeasured_get_one_call_at_a_time_and_soon() {
    let mut fixture = Fixture::new(Config::default(), 3);
    fixture.traffic(100, |_| ms(10));
    fixture.list((1..=4).map(listed));
    // It answers nothing yet: whatever the others have in flight, it gets one call.
    let outs: Vec<Out> = (0..60).map(|_| fixture.any()).collect();
    let news: Vec<&Out> = outs.iter().filter(|out| out.instance == instance(4)).collect();
    assert_eq!(news.len(), 1);
    let first = *news[0];
    fixture.end(first, Ended::Ok);
    let more = (0..60).filter(|_| fixture.any().instance == instance(4)).count();
    assert!(more > 10, "then it gets its share: {more}");
}

#[test]
fn one_that_was_slow_is_tried_again_but_seldom() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let slow = |id: InstanceId| if id.number == 1 { ms(100) } else { ms(10) };
    fixture.traffic(20, slow);
    // However rare calls are: once in 115 of them.
    let mut got = 0;
    for _ in 0..1150 {
        fixture.now = fixture.now + Duration::from_secs(60);
        got += fixture.traffic(1, slow)[1];
    }
    assert!((9..=11).contains(&got), "{got}");
    let share = fixture.traffic(230, |_| ms(10))[1];
    assert!(share > 50, "once it is fast it gets its share: {share}");
}

#[test]
fn overload_spares_an_instance_until_it_is_over() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let out = fixture.once();
    fixture.end(out, Ended::Overloaded { retry_after: ms(5000) });
    let spared = out.instance;
    fixture.wait();
    let retry = fixture.sent.pop().expect("it certainly wasn't started");
    assert_ne!(retry.instance, spared);
    fixture.end(retry, Ended::Ok);
    assert_eq!(fixture.traffic(50, |_| ms(1))[spared.number as usize], 0);
    fixture.now = fixture.now + ms(5000);
    assert!(fixture.traffic(50, |_| ms(1))[spared.number as usize] > 0);
}

#[test]
fn overload_of_all_goes_back_to_the_caller() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let (slow, soon) = (ms(100_000_000), ms(300));
    let first = fixture.once();
    fixture.end(first, Ended::Overloaded { retry_after: slow });
    fixture.wait();
    let second = fixture.sent.pop().expect("a retry");
    fixture.end(second, Ended::Overloaded { retry_after: soon });
    assert_eq!(fixture.outcomes(), [Outcome::Overloaded { retry_after: soon }]);
    let call = fixture.plain();
    fixture.handle(Input::Call(call));
    assert_eq!(fixture.outcomes(), [Outcome::Overloaded { retry_after: soon }]);
    // Nobody can ask to be left alone for ever.
    let mut alone = Fixture::new(Config::default(), 1);
    let out = alone.once();
    alone.end(out, Ended::Overloaded { retry_after: slow });
    let most = Duration::from_secs(60);
    assert_eq!(alone.outcomes(), [Outcome::Overloaded { retry_after: most }]);
}

#[test]
fn the_broken_get_nothing_but_one_probe_and_then_their_share() {
    let mut fixture = Fixture::new(Config::default(), 3);
    fixture.break_all(&[1]);
    assert_eq!(fixture.traffic(100, |_| ms(1))[1], 0);
    fixture.now = fixture.now + ms(1000);
    let probe = fixture.any();
    assert_eq!(probe.instance, instance(1), "the first call after that time is the probe");
    assert_eq!(
        fixture.decisions.last(),
        Some(&Decision::BreakerHalfOpened { instance: instance(1) })
    );
    for _ in 0..50 {
        let out = fixture.any();
        assert_ne!(out.instance, instance(1), "one at a time");
        fixture.end(out, Ended::Ok);
    }
    fixture.end(probe, Ended::Ok);
    let closed = Decision::BreakerClosed { instance: instance(1) };
    assert_eq!(fixture.decisions.last(), Some(&closed));
    assert!(fixture.traffic(200, |_| ms(1))[1] > 30);
}

#[test]
fn a_probe_goes_as_soon_as_it_may() {
    for seed in 0..20 {
        let mut fixture = Fixture::new(Config::default(), 5);
        fixture.balancer.rng = ChaCha12Rng::seed_from_u64(seed);
        fixture.break_all(&[1]);
        fixture.now = fixture.now + ms(1000);
        assert_eq!(fixture.any().instance, instance(1), "chance has no part in it");
    }
}

#[test]
fn the_recovered_are_not_judged_by_how_they_failed() {
    let mut fixture = Fixture::new(Config::default(), 1);
    fixture.traffic(1, |_| ms(1000));
    fixture.break_all(&[1]);
    let probe = fixture.any();
    fixture.now = fixture.now + ms(10);
    fixture.end(probe, Ended::Ok);
    assert_eq!(fixture.view(1).latency, Some(ms(10)));
}

#[test]
fn errors_of_the_application_are_health() {
    let mut fixture = Fixture::new(Config::default(), 1);
    for _ in 0..100 {
        let out = fixture.any();
        fixture.end(out, Ended::ApplicationError);
    }
    assert_eq!(fixture.view(1).breaker, BreakerState::Closed);
    let all = fixture.outcomes();
    let passed = |outcome: &Outcome| {
        matches!(outcome, Outcome::Attempted { ended: Ended::ApplicationError, .. })
    };
    assert!(all.len() == 100 && all.iter().all(passed), "they aren't retried");
}

#[test]
fn overload_is_neither_failure_nor_recovery() {
    let mut fixture = Fixture::new(Config::default(), 1);
    for _ in 0..100 {
        let out = fixture.once();
        fixture.end(out, Ended::Overloaded { retry_after: ms(1) });
        fixture.after(ms(1));
    }
    assert_eq!(fixture.view(1).breaker, BreakerState::Closed);
    fixture.break_all(&[1]);
    fixture.after(ms(1000));
    let probe = fixture.once();
    fixture.end(probe, Ended::Overloaded { retry_after: ms(1) });
    assert_eq!(fixture.view(1).breaker, BreakerState::HalfOpen { probe: None });
}

#[test]
fn a_deadline_is_a_failure_if_there_was_time() {
    let mut fixture = Fixture::new(Config::default(), 1);
    fixture.traffic(1, |_| ms(100));
    let short = |fixture: &mut Fixture, time| {
        let deadline = fixture.now + ms(time);
        let call = Call { deadline, ..fixture.plain() };
        fixture.call(call);
        fixture.after(ms(time));
    };
    for _ in 0..20 {
        short(&mut fixture, 50);
    }
    assert_eq!(fixture.view(1).breaker, BreakerState::Closed, "it never had its 100 ms");
    for _ in 0..5 {
        short(&mut fixture, 150);
    }
    assert!(fixture.is_open(1));
    assert_eq!(fixture.view(1).latency, Some(ms(150)));
}

#[test]
fn where_all_are_broken_one_call_at_a_time_goes_to_the_nearest() {
    let mut fixture = Fixture::new(Config::default(), 3);
    fixture.break_all(&[1, 2, 3]);
    let until = |view: View| match view.breaker {
        BreakerState::Open { until } => until,
        other => panic!("{other:?}"),
    };
    let nearest = fixture.balancer.instances().min_by_key(|view| until(*view)).unwrap();
    assert!(until(nearest) > fixture.now);
    let probe = fixture.any();
    assert_eq!(probe.instance, nearest.instance);
    for _ in 0..3 {
        let call = fixture.plain();
        fixture.handle(Input::Call(call));
    }
    let outcomes = fixture.outcomes();
    assert_eq!(outcomes.len(), 3);
    let failed_fast = |outcome: &Outcome| matches!(outcome, Outcome::Unavailable { .. });
    assert!(outcomes.iter().all(failed_fast), "{outcomes:?}");
    fixture.end(probe, Ended::Ok);
    assert_eq!(fixture.any().instance, probe.instance);
}

#[test]
fn a_key_has_one_owner_and_moves_only_when_it_must() {
    let mut fixture = Fixture::new(Config::default(), 10);
    let owner = |fixture: &mut Fixture, key: u32| {
        let target = Target::Owner(OwnerKey::new(&key.to_be_bytes()));
        let call = Call { target, idempotent: false, ..fixture.plain() };
        let out = fixture.call(call);
        fixture.end(out, Ended::Ok);
        out.instance
    };
    let before: Vec<InstanceId> = (0..200).map(|key| owner(&mut fixture, key)).collect();
    let of_third = before.iter().filter(|id| **id == instance(3)).count();
    assert!((8..=35).contains(&of_third), "a tenth each: {of_third}");
    let again: Vec<InstanceId> = (0..200).map(|key| owner(&mut fixture, key)).collect();
    assert_eq!(before, again);
    fixture.list((1..=10).filter(|n| *n != 3).map(listed));
    let gone: Vec<InstanceId> = (0..200).map(|key| owner(&mut fixture, key)).collect();
    for (before, after) in before.iter().zip(&gone) {
        assert_eq!(before != after, *before == instance(3));
    }
    // The same list with the third broken, or draining, gives the same ranks.
    fixture.list((1..=10).map(|n| Listed { draining: n == 3, ..listed(n) }));
    let drained: Vec<InstanceId> = (0..200).map(|key| owner(&mut fixture, key)).collect();
    assert_eq!(drained, gone);
    fixture.list((1..=10).map(listed));
    fixture.break_all(&[3]);
    let broken: Vec<InstanceId> = (0..200).map(|key| owner(&mut fixture, key)).collect();
    assert_eq!(broken, gone);
}

#[test]
fn ranks_are_the_same_on_every_node() {
    // Pinned: two releases that weigh differently would send a key to two owners.
    let weight = instance(1).weight(&OwnerKey::new(b"key")).to_string();
    assert_eq!(weight, "951142412532bfa0a77d08238261382d853bf71211549b8e1a09c82cd84e72b8");
}

#[test]
fn every_instance_is_asked_once() {
    let mut fixture = Fixture::new(Config::default(), 4);
    fixture.break_all(&[1]);
    fixture.list((1..=5).map(|n| Listed { draining: n == 5, ..listed(n) }));
    let call = Call { target: Target::Every, ..fixture.plain() };
    fixture.handle(Input::Call(call));
    let outs: Vec<Out> = fixture.sent.drain(..).collect();
    let asked: Vec<InstanceId> = outs.iter().map(|out| out.instance).collect();
    assert_eq!(asked, [1, 2, 3, 4].map(instance), "the broken too, not the draining");
    let ends = [Ended::Ok, Ended::Failed, Ended::ApplicationError, Ended::NotStarted];
    for (out, ended) in outs.iter().zip(ends) {
        assert_eq!(fixture.outcomes(), []);
        fixture.end(*out, ended);
        assert_eq!(fixture.answers.pop(), Some((out.instance, ended)), "one by one");
    }
    assert_eq!(fixture.outcomes(), [Outcome::Completed]);
    assert!(fixture.sent.is_empty(), "no retries");
    assert!(fixture.is_open(1), "an answer out of turn is no probe");
}

#[test]
fn a_call_to_one_node_is_tried_there_once() {
    let mut fixture = Fixture::new(Config::default(), 4);
    fixture.break_all(&[2]);
    let to = |fixture: &mut Fixture, n| Call {
        target: Target::Peer(instance(n).peer),
        ..fixture.plain()
    };
    for ended in [Ended::Ok, Ended::NotStarted, Ended::Failed] {
        let call = to(&mut fixture, 2);
        let out = fixture.call(call);
        assert_eq!(out.instance, instance(2), "though its breaker is open");
        fixture.end(out, ended);
        let attempt = out.attempt;
        assert_eq!(fixture.outcomes(), [Outcome::Attempted { attempt, ended }], "no retry");
    }
    // Nobody answers in its place.
    fixture.list((1..=4).map(|n| Listed { draining: n == 3, ..listed(n) }));
    for n in [3, 9] {
        let call = to(&mut fixture, n);
        fixture.handle(Input::Call(call));
        assert_eq!(fixture.outcomes(), [Outcome::NoInstance]);
    }
}

#[test]
fn a_call_to_every_instance_ends_with_its_deadline() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let call = Call { target: Target::Every, ..fixture.plain() };
    fixture.handle(Input::Call(call));
    let (first, second) = (fixture.sent[0], fixture.sent[1]);
    fixture.end(first, Ended::Ok);
    fixture.wait();
    assert_eq!(fixture.cancelled, [second.attempt]);
    assert_eq!(fixture.outcomes(), [Outcome::DeadlineExceeded]);
    let mut nobody = Fixture::new(Config::default(), 0);
    let call = Call { target: Target::Every, ..nobody.plain() };
    nobody.handle(Input::Call(call));
    assert_eq!(nobody.outcomes(), [Outcome::NoInstance]);
}

#[test]
fn the_draining_finish_and_get_nothing_new() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let out = fixture.any();
    let n = out.instance.number as u8;
    fixture.list((1..=2).map(|m| Listed { draining: m == n, ..listed(m) }));
    assert_eq!(fixture.traffic(50, |_| ms(1))[usize::from(n)], 0);
    fixture.done.clear();
    fixture.end(out, Ended::Ok);
    assert_eq!(fixture.done.len(), 1);
    fixture.list((1..=2).map(|m| Listed { draining: true, ..listed(m) }));
    let call = fixture.plain();
    fixture.handle(Input::Call(call));
    assert_eq!(fixture.done.pop(), Some((call.id, Outcome::NoInstance)));
}

#[test]
fn instances_are_bounded_and_the_known_stay() {
    let config = Config { max_instances: 3, ..Config::default() };
    let mut fixture = Fixture::new(config, 0);
    fixture.list([listed(8), listed(9)]);
    fixture.list((1..=9).map(listed));
    let kept: Vec<InstanceId> = fixture.balancer.instances().map(|view| view.instance).collect();
    assert_eq!(kept, [1, 8, 9].map(instance));
    assert_eq!(fixture.decisions.pop(), Some(Decision::InstancesLeftOut { count: 6 }));
}

#[test]
fn one_that_goes_and_comes_back_still_has_what_was_in_flight() {
    let mut fixture = Fixture::new(Config::default(), 1);
    let out = fixture.any();
    fixture.list([]);
    fixture.list([listed(1)]);
    assert_eq!(fixture.view(1).in_flight, 1);
    fixture.end(out, Ended::Ok);
    assert_eq!(fixture.view(1).in_flight, 0);
}
