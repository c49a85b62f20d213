//! Rules 3, 4, 8, 11 and 12: how often a call is tried, and how it ends.

use super::*;

const OVERLOADED: Ended = Ended::Overloaded { retry_after: Duration::from_millis(1) };

/// The next attempt that the balancer wants; `None` if the call has ended instead.
fn next(fixture: &mut Fixture) -> Option<Out> {
    while fixture.sent.is_empty() && fixture.balancer.calls() > 0 {
        fixture.wait();
    }
    fixture.sent.pop()
}

/// Fails every attempt of a call; answers them.
fn fail_all(fixture: &mut Fixture, call: Call, ended: Ended) -> Vec<Out> {
    fixture.handle(Input::Call(call));
    let mut outs = Vec::new();
    while let Some(out) = next(fixture) {
        outs.push(out);
        fixture.end(out, ended);
    }
    outs
}

#[test]
fn what_may_have_been_started_is_repeated_only_if_idempotent() {
    for (idempotent, ended, attempts) in [
        (true, Ended::Failed, 4),
        (true, Ended::NotStarted, 4),
        (true, OVERLOADED, 4),
        (false, Ended::Failed, 1),
        (false, Ended::NotStarted, 4),
        (false, OVERLOADED, 4),
    ] {
        let mut fixture = Fixture::new(Config::default(), 8);
        let call = Call { idempotent, ..fixture.plain() };
        let outs = fail_all(&mut fixture, call, ended);
        assert_eq!(outs.len(), attempts, "{idempotent} {ended:?}");
        let attempt = outs[attempts - 1].attempt;
        assert_eq!(fixture.outcomes(), [Outcome::Attempted { attempt, ended }]);
    }
}

#[test]
fn one_that_may_have_been_started_after_a_refusal_ends_the_call() {
    let mut fixture = Fixture::new(Config::default(), 8);
    let out = fixture.once();
    fixture.end(out, Ended::NotStarted);
    let retry = next(&mut fixture).expect("a retry");
    fixture.end(retry, Ended::Failed);
    let outcome = Outcome::Attempted { attempt: retry.attempt, ended: Ended::Failed };
    assert_eq!(fixture.outcomes(), [outcome]);
}

#[test]
fn retries_go_elsewhere_while_there_is_an_elsewhere() {
    for key in 0..20u8 {
        let targets = [Target::Any, Target::Owner(OwnerKey::new(&[key]))];
        for target in targets {
            let mut fixture = Fixture::new(Config::default(), 4);
            let call = Call { target, ..fixture.plain() };
            let outs = fail_all(&mut fixture, call, Ended::Failed);
            let mut asked: Vec<InstanceId> = outs.iter().map(|out| out.instance).collect();
            asked.sort();
            assert_eq!(asked, [1, 2, 3, 4].map(instance));
        }
        let mut two = Fixture::new(Config::default(), 2);
        let call = two.plain();
        let outs = fail_all(&mut two, call, Ended::Failed);
        assert!(outs.windows(2).all(|pair| pair[0].instance != pair[1].instance), "{outs:?}");
    }
    let mut alone = Fixture::new(Config::default(), 1);
    let call = alone.plain();
    assert_eq!(fail_all(&mut alone, call, Ended::Failed).len(), 4, "the same, if it is alone");
}

#[test]
fn retries_avoid_the_broken() {
    let mut fixture = Fixture::new(Config::default(), 3);
    fixture.break_all(&[1]);
    for _ in 0..20 {
        let out = fixture.any();
        fixture.now = fixture.now + ms(2000);
        // The broken one could be probed by now; what was sent to another is not for that.
        fixture.end(out, Ended::NotStarted);
        let retry = next(&mut fixture).expect("a retry");
        if out.instance != instance(1) {
            assert_ne!(retry.instance, instance(1));
        }
        fixture.end(retry, Ended::Ok);
    }
}

#[test]
fn retries_wait_a_random_part_of_a_doubling_time() {
    let config = Config { max_retries: 8, ..Config::default() };
    let (mut longest, mut shortest) = ([Duration::ZERO; 8], [Duration::MAX; 8]);
    let mut fixture = Fixture::new(config, 20);
    for _ in 0..12 {
        let call = fixture.plain();
        fail_all(&mut fixture, call, Ended::NotStarted);
        // What comes back has a new breaker.
        fixture.list([]);
        fixture.list((1..=20).map(listed));
    }
    let waits = fixture.decisions.iter().filter_map(|decision| match decision {
        Decision::Retried { wait, .. } => Some(*wait),
        _ => None,
    });
    for (n, wait) in waits.enumerate() {
        longest[n % 8] = wait.max(longest[n % 8]);
        shortest[n % 8] = wait.min(shortest[n % 8]);
    }
    for (retry, longest) in longest.iter().enumerate() {
        let most = ms(25 << retry).min(ms(1000));
        assert!(*longest <= most, "{longest:?} of {most:?}");
        assert!(*longest > most / 2, "{longest:?} of {most:?}: the whole range is used");
        assert!(
            shortest[retry] < most / 2,
            "{shortest:?} of {most:?}: they don't all come at once"
        );
    }
}

#[test]
fn no_retry_waits_past_the_deadline() {
    let config = Config { backoff: ms(1000), ..Config::default() };
    let mut early = 0;
    for seed in 0..50 {
        let mut fixture = Fixture::new(config.clone(), 4);
        fixture.balancer.rng = ChaCha12Rng::seed_from_u64(seed);
        let deadline = fixture.now + ms(10);
        let call = Call { deadline, ..fixture.plain() };
        let out = fixture.call(call);
        fixture.end(out, Ended::NotStarted);
        early += usize::from(!fixture.done.is_empty());
    }
    assert!(early > 40, "most waits would be too long: {early}");
}

#[test]
fn retries_stay_within_the_budget() {
    let budget = BudgetConfig { min_per_second: 1.0, ..BudgetConfig::default() };
    let mut fixture = Fixture::new(Config { budget, ..Config::default() }, 20);
    let (mut attempts, start) = (0, fixture.now);
    for _ in 0..1000 {
        let call = fixture.plain();
        attempts += fail_all(&mut fixture, call, Ended::NotStarted).len();
    }
    let seconds = fixture.now.since(start).as_secs_f64() + 10.0;
    let most = 1000.0 * 1.2 + seconds;
    assert!(attempts as f64 <= most, "{attempts} of {most}");
    let empty = |decision: &&Decision| matches!(decision, Decision::BudgetEmpty { .. });
    assert!(fixture.decisions.iter().filter(empty).count() > 100);
}

#[test]
fn a_hedge_comes_after_its_delay_and_the_first_answer_wins() {
    for winner in 0..2 {
        let mut fixture = Fixture::new(Config::default(), 2);
        let call = Call { hedge: Hedge::After(ms(30)), ..fixture.plain() };
        let first = fixture.call(call);
        assert_eq!(fixture.balancer.poll_timeout(), Some(fixture.now + ms(30)));
        fixture.wait();
        let second = fixture.sent.pop().expect("a hedge");
        assert_ne!(first.instance, second.instance);
        assert_eq!(second.time_left, ms(9970));
        let (wins, loses) = if winner == 0 { (first, second) } else { (second, first) };
        fixture.end(wins, Ended::Ok);
        assert_eq!(fixture.cancelled, [loses.attempt]);
        let outcome = Outcome::Attempted { attempt: wins.attempt, ended: Ended::Ok };
        assert_eq!(fixture.outcomes(), [outcome]);
        fixture.end(loses, Ended::Ok);
        assert_eq!(fixture.outcomes(), [], "what comes too late is ignored");
    }
}

#[test]
fn one_of_two_that_fails_leaves_it_to_the_other() {
    let mut fixture = Fixture::new(Config::default(), 3);
    let call = Call { hedge: Hedge::After(ms(30)), ..fixture.plain() };
    let first = fixture.call(call);
    fixture.wait();
    let second = fixture.sent.pop().expect("a hedge");
    fixture.end(first, Ended::Failed);
    assert_eq!((fixture.sent.len(), fixture.done.len()), (0, 0));
    assert_eq!(fixture.balancer.poll_timeout(), Some(call.deadline), "no retry is planned");
    fixture.end(second, Ended::Failed);
    let third = next(&mut fixture).expect("now it is retried");
    assert!(![first.instance, second.instance].contains(&third.instance));
}

#[test]
fn only_idempotent_calls_are_hedged_and_only_elsewhere() {
    for (idempotent, instances) in [(false, 2), (true, 1)] {
        let mut fixture = Fixture::new(Config::default(), instances);
        let hedge = Hedge::After(ms(30));
        let call = Call { hedge, idempotent, ..fixture.plain() };
        fixture.call(call);
        assert_eq!(next(&mut fixture), None);
        assert_eq!(fixture.outcomes(), [Outcome::DeadlineExceeded]);
    }
}

#[test]
fn nobody_waits_for_a_probe_of_what_is_dead() {
    for is_dead in [true, false] {
        let mut fixture = Fixture::new(Config::default(), 2);
        fixture.break_all(&[1]);
        fixture.after(ms(1000));
        let probe = fixture.any();
        assert_eq!(probe.instance, instance(1));
        assert_eq!(fixture.balancer.poll_timeout(), Some(fixture.now + ms(500)));
        if is_dead {
            fixture.wait();
            let hedge = fixture.sent.pop().expect("a hedge");
            assert_eq!(hedge.instance, instance(2));
            fixture.end(hedge, Ended::Ok);
            assert!(fixture.is_open(1), "a probe that is beaten has failed");
        } else {
            fixture.end(probe, Ended::Ok);
            assert_eq!(fixture.view(1).breaker, BreakerState::Closed);
        }
    }
    // What may not be done twice waits.
    let mut fixture = Fixture::new(Config::default(), 2);
    fixture.break_all(&[1]);
    fixture.after(ms(1000));
    let probe = fixture.once();
    assert_eq!(fixture.balancer.poll_timeout(), Some(fixture.now + probe.time_left));
}

#[test]
fn hedges_are_paid_from_the_budget() {
    let budget = BudgetConfig { fraction: 0.0, min_per_second: 0.2, ..BudgetConfig::default() };
    let mut fixture = Fixture::new(Config { budget, ..Config::default() }, 9);
    for _ in 0..9 {
        let call = Call { hedge: Hedge::After(ms(1)), ..fixture.plain() };
        fixture.call(call);
    }
    fixture.after(ms(1));
    assert_eq!(fixture.sent.len(), 2);
    let empty = |decision: &&Decision| matches!(decision, Decision::BudgetEmpty { .. });
    assert_eq!(fixture.decisions.iter().filter(empty).count(), 7);
}

#[test]
fn a_hedge_can_follow_the_latencies() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let hedged = |fixture: &mut Fixture| {
        let call = Call { hedge: Hedge::P95, ..fixture.plain() };
        let out = fixture.call(call);
        let timeout = fixture.balancer.poll_timeout().unwrap();
        fixture.now = fixture.now + ms(40);
        fixture.end(out, Ended::Ok);
        timeout.since(call.deadline - ms(10_000))
    };
    for _ in 0..20 {
        assert_eq!(hedged(&mut fixture), ms(10_000), "too little is known");
    }
    assert_eq!(hedged(&mut fixture), ms(40));
}

#[test]
fn the_slow_do_not_hide_behind_their_hedges() {
    let mut fixture = Fixture::new(Config::default(), 2);
    fixture.traffic(20, |_| ms(10));
    let call = Call { hedge: Hedge::After(ms(50)), ..fixture.plain() };
    let slow = fixture.call(call);
    fixture.wait();
    let hedge = fixture.sent.pop().expect("a hedge");
    fixture.now = fixture.now + ms(10);
    fixture.end(hedge, Ended::Ok);
    let n = slow.instance.number as u8;
    assert_eq!(fixture.view(n).latency, Some(ms(60)), "at least");
}

#[test]
fn a_call_ends_at_its_deadline_and_its_attempts_with_it() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let out = fixture.any();
    assert_eq!(out.time_left, ms(10_000));
    fixture.wait();
    assert_eq!(fixture.now, Time::from_millis(11_000));
    assert_eq!(fixture.cancelled, [out.attempt]);
    assert_eq!(fixture.outcomes(), [Outcome::DeadlineExceeded]);
    // A driver that comes late doesn't make an answer timely, nor a cancellation.
    let late = fixture.any();
    fixture.now = fixture.now + ms(10_000);
    fixture.end(late, Ended::Ok);
    assert_eq!(fixture.outcomes(), [Outcome::DeadlineExceeded]);
    assert_eq!(fixture.cancelled, [out.attempt], "what has ended isn't cancelled");
    let late = fixture.any();
    fixture.now = fixture.now + ms(10_000);
    fixture.handle(Input::Cancel(late.call));
    assert_eq!(fixture.outcomes(), [Outcome::DeadlineExceeded]);
    let none = Call { deadline: fixture.now, ..fixture.plain() };
    fixture.handle(Input::Call(none));
    assert_eq!(fixture.outcomes(), [Outcome::DeadlineExceeded]);
    assert!(fixture.sent.is_empty());
}

#[test]
fn an_answer_counts_before_the_timers_of_the_same_moment() {
    let mut fixture = Fixture::new(Config::default(), 2);
    let call = Call { hedge: Hedge::After(ms(30)), ..fixture.plain() };
    let out = fixture.call(call);
    fixture.now = fixture.now + ms(30);
    fixture.end(out, Ended::Ok);
    assert!(fixture.sent.is_empty() && fixture.done.len() == 1);
}

#[test]
fn a_cancelled_call_ends_and_blames_nobody() {
    let mut fixture = Fixture::new(Config::default(), 1);
    for _ in 0..50 {
        let out = fixture.any();
        fixture.handle(Input::Cancel(out.call));
        assert_eq!(fixture.cancelled.pop(), Some(out.attempt));
        assert_eq!(fixture.outcomes(), [Outcome::Cancelled]);
        fixture.handle(Input::Cancel(out.call));
        fixture.end(out, Ended::Failed);
        assert_eq!(fixture.outcomes(), []);
    }
    assert_eq!(fixture.view(1).breaker, BreakerState::Closed);
    // While it waits for a retry as well.
    let out = fixture.any();
    fixture.end(out, Ended::NotStarted);
    fixture.handle(Input::Cancel(out.call));
    assert_eq!(fixture.outcomes(), [Outcome::Cancelled]);
    assert_eq!(fixture.balancer.poll_timeout(), None);
}

#[test]
fn a_cancelled_probe_makes_room_for_another() {
    let mut fixture = Fixture::new(Config::default(), 1);
    fixture.break_all(&[1]);
    let probe = fixture.any();
    fixture.handle(Input::Cancel(probe.call));
    assert_eq!(fixture.any().instance, instance(1));
}

#[test]
fn calls_are_bounded() {
    let config = Config { max_calls: 5, max_instances: 5, ..Config::default() };
    let mut fixture = Fixture::new(config, 3);
    let every = Call { target: Target::Every, ..fixture.plain() };
    fixture.handle(Input::Call(every));
    let outs: Vec<Out> = fixture.sent.drain(..).collect();
    fixture.any();
    fixture.any();
    let refused = fixture.plain();
    fixture.handle(Input::Call(refused));
    assert_eq!(fixture.done.pop(), Some((refused.id, Outcome::Busy)));
    for out in outs {
        fixture.end(out, Ended::Ok);
    }
    fixture.any();
    assert_eq!(fixture.balancer.calls(), 3);
}

#[test]
fn nobody_is_there() {
    let mut fixture = Fixture::new(Config::default(), 0);
    let call = fixture.plain();
    fixture.handle(Input::Call(call));
    assert_eq!(fixture.outcomes(), [Outcome::NoInstance]);
    assert_eq!(fixture.balancer.poll_timeout(), None);
}
