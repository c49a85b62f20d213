//! Services: a client's balancer among servers that are slow, broken, overloaded, and come and go.

mod farm;

use std::time::Duration;

use aether_mesh::proto::service::balancer::{BreakerState, BudgetConfig, Config, OwnerKey, Target};
use aether_sim::{Run, Runner};

use self::farm::{Farm, Load, Mood, Server, id};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Idempotent calls to any instance, so many a second, one second each.
fn load(per_second: u64) -> Load {
    Load {
        gap: Duration::from_micros(1_000_000 / per_second),
        time: ms(1000),
        idempotent: 1.0,
        hedged: 0.0,
        cancelled: 0.0,
        targets: vec![Target::Any],
    }
}

fn runner(test: &str) -> Runner {
    Runner::new(env!("CARGO_PKG_NAME"), test).seeds(10)
}

#[test]
fn a_slow_instance_gets_less_than_a_tenth() {
    runner("a_slow_instance_gets_less_than_a_tenth").sometimes(&["slow one tried"]).run(
        |mut run: Run| {
            let pace = run.draw.duration(ms(2)..=ms(20));
            let per_second = run.draw.number(5..=500);
            let mut servers = vec![Server::new(pace); 4];
            let slow = run.draw.below(4);
            servers[slow].pace = pace * 10;
            let load = Load { hedged: run.draw.fraction() / 10.0, ..load(per_second) };
            let mut farm = Farm::new(&run, Config::default(), servers, load);
            farm.pass(Duration::from_secs(3000 / per_second + 1));
            let (got, all) = (farm.servers[slow].attempts, farm.attempts);
            farm.sometimes.add("slow one tried", got as u64);
            assert!(got * 10 < all, "{got} of {all} at {per_second} a second of {pace:?}");
            farm.finish()
        },
    );
}

#[test]
fn a_breaker_opens_and_closes_by_itself() {
    let demanded = ["breaker opened", "breaker half-opened", "breaker closed", "retried"];
    runner("a_breaker_opens_and_closes_by_itself").sometimes(&demanded).run(|mut run: Run| {
        let moods = [Mood::Refuses, Mood::Breaks, Mood::Silent];
        let mood = *run.draw.pick(&moods).expect("three moods");
        let sick = run.draw.below(4);
        let pace = run.draw.duration(ms(2)..=ms(20));
        let load = load(run.draw.number(50..=200));
        let mut farm = Farm::new(&run, Config::default(), vec![Server::new(pace); 4], load);
        let share = |farm: &mut Farm, time| {
            let (got, all) = (farm.servers[sick].attempts, farm.attempts);
            farm.pass(time);
            (farm.servers[sick].attempts - got) as f64 / (farm.attempts - all) as f64
        };
        let breaker = |farm: &Farm| {
            let view = farm.balancer.instances().find(|view| view.instance == id(sick));
            view.expect("listed").breaker
        };
        share(&mut farm, Duration::from_secs(10));
        farm.servers[sick].mood = mood;
        let before = farm.failed;
        share(&mut farm, Duration::from_secs(5));
        // The first calls that the silent one lets expire can make it too dear to get the rest of
        // those that its breaker needs.
        let silent = mood == Mood::Silent;
        assert!(silent || breaker(&farm) != BreakerState::Closed, "{mood:?}");
        let broken = share(&mut farm, Duration::from_secs(15));
        assert!(broken < 0.02, "{broken} of the calls went to the broken one");
        // What broke it costs retries; only silence costs calls, those that it was given.
        let failed = farm.failed - before;
        assert!(failed <= if silent { 60 } else { 10 }, "{failed} failed of {mood:?}");
        farm.servers[sick].mood = Mood::Serves;
        // The longest that a breaker stays open is 30 seconds.
        share(&mut farm, Duration::from_secs(31));
        assert_eq!(breaker(&farm), BreakerState::Closed, "{mood:?}");
        let healed = share(&mut farm, Duration::from_secs(20));
        assert!(healed > 0.1, "{healed} of the calls go to the healed one");
        farm.finish()
    });
}

#[test]
fn overload_brings_no_storm_of_retries() {
    let demanded = ["all overloaded", "budget empty", "retried"];
    runner("overload_brings_no_storm_of_retries").sometimes(&demanded).run(|mut run: Run| {
        let moods = [Mood::Serves, Mood::Flaky, Mood::Flaky, Mood::Flaky, Mood::Refuses];
        let pace = run.draw.duration(ms(20)..=ms(100));
        let mut servers = vec![Server::new(pace); 6];
        for server in &mut servers {
            server.capacity = run.draw.below(40) + 1;
        }
        let load = Load { hedged: 0.2, ..load(run.draw.number(200..=1000)) };
        let budget = BudgetConfig::default();
        let config = Config { budget: budget.clone(), ..Config::default() };
        let mut farm = Farm::new(&run, config, servers, load);
        let mut seconds = budget.memory.as_secs_f64();
        for _ in 0..10 {
            farm.pass(Duration::from_secs(2));
            seconds += 2.0;
            let calls = farm.calls as f64;
            let most = calls * (1.0 + budget.fraction) + seconds * budget.min_per_second;
            assert!(farm.attempts as f64 <= most, "{} attempts, {most} allowed", farm.attempts);
            for server in &mut farm.servers {
                server.mood = *farm.draw.pick(&moods).expect("moods");
            }
        }
        farm.finish()
    });
}

#[test]
fn each_call_ends_once_and_in_time() {
    let demanded = [
        "all overloaded",
        "answered",
        "breaker closed",
        "breaker half-opened",
        "breaker opened",
        "budget empty",
        "busy",
        "cancelled",
        "completed",
        "deadline exceeded",
        "failed",
        "hedged",
        "instances left out",
        "no instance",
        "one of every instance answered",
        "retried",
        "unavailable",
    ];
    runner("each_call_ends_once_and_in_time")
        .seeds(30)
        .regressions(&[137])
        .sometimes(&demanded)
        .run(|mut run: Run| {
            let count = run.draw.below(8) + 1;
            let servers =
                (0..count).map(|_| Server::new(run.draw.duration(ms(1)..=ms(100)))).collect();
            let keys = (0..4u8).map(|key| Target::Owner(OwnerKey::new(&[key])));
            let named = Target::Peer(id(0).peer);
            let others = [Target::Any, Target::Any, Target::Any, Target::Every, named];
            let load = Load {
                time: run.draw.duration(ms(10)..=ms(2000)),
                idempotent: 0.5,
                hedged: 0.3,
                cancelled: 0.1,
                targets: keys.chain(others).collect(),
                ..load(run.draw.number(20..=500))
            };
            let max_calls = run.draw.below(200) + 6;
            let config = Config { max_calls, max_instances: 6, ..Config::default() };
            let mut farm = Farm::new(&run, config, servers, load);
            for _ in 0..60 {
                let time = farm.draw.duration(ms(1)..=ms(1000));
                farm.pass(time);
                disturb(&mut farm);
            }
            farm.finish()
        });
}

/// Changes one server, or all.
fn disturb(farm: &mut Farm) {
    let moods = [Mood::Serves, Mood::Serves, Mood::Refuses, Mood::Breaks, Mood::Silent];
    let mood = *farm.draw.pick(&moods).expect("moods");
    let one = farm.draw.below(farm.servers.len());
    match farm.draw.below(6) {
        0 => farm.servers[one].listed ^= true,
        1 => farm.servers[one].draining ^= true,
        2 => farm.servers[one].capacity = farm.draw.below(4) + 1,
        3 => farm.servers.iter_mut().for_each(|server| server.mood = mood),
        4 => farm.servers[one].pace = farm.draw.duration(ms(1)..=ms(200)),
        _ => farm.servers[one].mood = mood,
    }
    farm.list();
}
