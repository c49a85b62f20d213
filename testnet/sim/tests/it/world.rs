//! One rule of the world a test.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use aether_core::Time;
use aether_sim::{Clock, Draw, Fault, Limits, Link, NodeId, Run, Scenario, Schedule, World};

use crate::probe::{Act, Probes};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn world(scenario: Scenario) -> World<Probes> {
    World::new(Run::new(1), scenario, Probes)
}

fn texts(world: &World<Probes>, node: NodeId) -> Vec<String> {
    world.node(node).unwrap().texts().into_iter().map(String::from).collect()
}

/// What a panicking closure said.
fn panic_of(body: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(body)).expect_err("it must panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).into(),
    }
}

/// A run in which every kind of thing happens.
fn busy(seed: u64) -> World<Probes> {
    let mut run = Run::new(seed);
    let scenario = Scenario::draw(&mut run.draw, &Limits::default());
    let mut world = World::new(run, scenario, Probes);
    while world.now() < world.heals() {
        let nodes = world.ids().len();
        let (from, to) = (NodeId(world.draw().below(nodes)), NodeId(world.draw().below(nodes)));
        world.command(from, vec![Act::Put("k"), Act::Send(to, "x"), Act::Sync, Act::Show("done")]);
        world.command(from, vec![Act::WakeAfter(ms(70))]);
        let pause = world.draw().duration(ms(0)..=ms(100));
        world.run_for(pause);
    }
    world
}

#[test]
fn a_seed_fixes_the_trace_and_only_its_own() {
    for seed in 0..5 {
        let (once, again) = (busy(seed).finish(), busy(seed).finish());
        assert_eq!(once, again, "seed {seed}");
        assert_ne!(once.trace, busy(seed + 100).finish().trace, "seed {seed}");
        assert!(once.events > 300, "seed {seed}");
    }
}

#[test]
fn the_trace_hash_tells_times_and_contents_apart() {
    let trace = |text, at| {
        let mut world = world(Scenario::calm(2));
        world.command_at(Time::from_millis(at), A, vec![Act::Send(B, text)]);
        world.run_for(ms(100));
        world.finish().trace
    };
    assert_eq!(trace("x", 5), trace("x", 5));
    assert_ne!(trace("x", 5), trace("y", 5));
    assert_ne!(trace("x", 5), trace("x", 6));
}

#[test]
fn messages_take_their_latency_and_keep_their_order() {
    let mut world = world(Scenario::calm(2));
    world.command(A, vec![Act::Send(B, "1"), Act::Send(B, "2"), Act::Send(A, "self")]);
    world.run_for(Duration::ZERO);
    assert_eq!((texts(&world, A), texts(&world, B)), (vec!["n0: self".into()], vec![]));
    world.run_for(ms(1));
    let log = &world.node(B).unwrap().log;
    let due = Time::from_millis(1);
    assert_eq!(*log, [(due, "n0: 1".into()), (due, "n0: 2".into())]);
}

#[test]
fn timeouts_come_once_and_follow_a_deadline_that_moves() {
    let mut world = world(Scenario::calm(1));
    world.command(A, vec![Act::WakeAt(Time::from_millis(10))]);
    world.run_until(Time::from_millis(5));
    world.command(A, vec![Act::WakeAt(Time::from_millis(30))]);
    world.run_until(Time::from_millis(20));
    assert_eq!(texts(&world, A), Vec::<String>::new());
    world.command(A, vec![Act::WakeAt(Time::from_millis(25))]);
    world.run_until(Time::from_millis(100));
    assert_eq!(world.node(A).unwrap().log, [(Time::from_millis(25), "timeout".into())]);
    world.command(A, vec![Act::WakeAt(Time::MAX)]);
    assert!(!world.step(), "for ever is no event");
}

#[test]
fn clocks_run_at_their_own_rate_from_their_own_origin() {
    let mut scenario = Scenario::calm(3);
    let fast = Clock { drift: 500_000, ..Clock::TRUE };
    scenario.clocks.insert(A, fast);
    scenario.clocks.insert(B, Clock { drift: -500_000, ..Clock::TRUE });
    scenario.clocks.insert(C, Clock { origin: ms(1 << 30), ahead: ms(7), ..Clock::TRUE });
    let mut world = world(scenario);
    for node in [A, B, C] {
        world.command(node, vec![Act::WakeAfter(ms(30))]);
    }
    let woken = |world: &World<Probes>| [A, B, C].map(|node| texts(world, node).len());
    world.run_until(Time::from_millis(20));
    assert_eq!(woken(&world), [1, 0, 0]);
    world.run_until(Time::from_millis(30));
    assert_eq!(woken(&world), [1, 0, 1]);
    world.run_until(Time::from_millis(60));
    assert_eq!(woken(&world), [1, 1, 1]);
    assert_eq!(world.node(A).unwrap().log[0].0, Time::from_millis(30), "by its own clock");

    let first = world.node(C).unwrap().boot;
    assert_ne!(first.now, Time::ZERO);
    assert_eq!(first.wall, Time::from_millis(7));
    world.fault(Fault::Crash(C));
    world.fault(Fault::Start { node: C, wiped: false });
    let second = world.node(C).unwrap().boot;
    assert!(second.now.since(first.now) != ms(60), "another life has another origin");
    assert_eq!(second.wall, Time::from_millis(67));
}

#[test]
fn effects_behind_a_sync_wait_for_it_and_die_with_the_node() {
    let mut world = world(Scenario { sync: ms(10)..=ms(10), ..Scenario::calm(2) });
    let acts = [
        Act::Put("k"),
        Act::Send(B, "before"),
        Act::Sync,
        Act::Input("synced"),
        Act::Send(B, "after"),
    ];
    world.command(A, acts.to_vec());
    world.run_for(ms(5));
    assert_eq!(texts(&world, B), ["n0: before"]);
    assert_eq!((world.disk(A).unsynced(), world.disk(A).get(b"k")), (1, None));
    world.run_for(ms(10));
    assert_eq!(texts(&world, A), ["synced"]);
    assert_eq!(texts(&world, B), ["n0: before", "n0: after"]);
    assert!(world.disk(A).get(b"k").is_some());

    world.command(A, acts.to_vec());
    world.run_for(ms(5));
    world.fault(Fault::Crash(A));
    world.fault(Fault::Start { node: A, wiped: false });
    world.run_for(ms(50));
    assert_eq!(texts(&world, B), ["n0: before", "n0: after", "n0: before"]);
    assert_eq!(texts(&world, A), Vec::<String>::new());
    world.command(A, vec![Act::Sync, Act::Show("at once")]);
    assert_eq!(world.observed(), [(A, "at once")], "nothing to sync takes no time");
}

#[test]
fn a_sync_of_a_former_life_completes_nothing() {
    let mut world = world(Scenario { sync: ms(10)..=ms(10), ..Scenario::calm(1) });
    world.command(A, vec![Act::Put("old"), Act::Sync]);
    world.run_until(Time::from_millis(5));
    world.fault(Fault::Crash(A));
    world.fault(Fault::Start { node: A, wiped: true });
    world.command(A, vec![Act::Put("new"), Act::Sync]);
    world.run_until(Time::from_millis(14));
    assert_eq!(world.disk(A).iter().count(), 0);
    world.run_until(Time::from_millis(15));
    assert!(world.disk(A).get(b"new").is_some());
}

#[test]
fn a_timeout_of_a_former_life_is_not_told_and_hides_none() {
    let mut world = world(Scenario::calm(1));
    world.command(A, vec![Act::WakeAt(Time::from_millis(20))]);
    world.fault(Fault::Crash(A));
    world.fault(Fault::Start { node: A, wiped: false });
    world.command(A, vec![Act::WakeAt(Time::from_millis(30))]);
    world.run_until(Time::from_millis(100));
    assert_eq!(world.node(A).unwrap().log, [(Time::from_millis(30), "timeout".into())]);
}

#[test]
fn a_crash_loses_unsynced_writes_and_only_those() {
    let mut survived = [0; 3];
    for seed in 0..60 {
        let mut world = World::new(Run::new(seed), Scenario::calm(1), Probes);
        world.command(A, vec![Act::Put("a"), Act::Sync]);
        world.run_for(ms(5));
        world.command(A, vec![Act::Batch("b1", "b2"), Act::Put("c")]);
        world.fault(Fault::Crash(A));
        assert!(world.node(A).is_none());
        assert!(!world.command(A, vec![]), "nobody is there");
        world.fault(Fault::Start { node: A, wiped: false });
        let found = world.node(A).unwrap().found.join(" ");
        let kept = ["a", "a b1 b2", "a b1 b2 c"].iter().position(|whole| *whole == found);
        survived[kept.unwrap_or_else(|| panic!("'{found}' in seed {seed}"))] += 1;
        let lost = world.finish().sometimes.count("sim: unsynced write lost");
        assert_eq!(Some(lost), kept.map(|kept| 2 - kept as u64), "seed {seed}");
    }
    assert!(survived.iter().all(|count| *count > 5), "{survived:?}");
}

#[test]
fn a_life_starts_anew_with_or_without_its_disk() {
    let mut world = world(Scenario::calm(2));
    world.command(A, vec![Act::Put("a"), Act::Sync, Act::WakeAfter(ms(50))]);
    world.command_at(Time::from_millis(100), A, vec![Act::Show("lost while down")]);
    world.run_for(ms(5));
    let seed = world.node(A).unwrap().seed;
    world.fault(Fault::Crash(A));
    world.command(B, vec![Act::Send(A, "lost too")]);
    world.run_until(Time::from_millis(200));
    world.fault(Fault::Start { node: A, wiped: false });
    assert_eq!((world.node(A).unwrap().found.join(""), world.life(A)), ("a".into(), 2));
    assert_ne!(world.node(A).unwrap().seed, seed);
    assert_eq!(texts(&world, A), Vec::<String>::new(), "no timeout of the former life");
    world.fault(Fault::Start { node: A, wiped: true });
    assert_eq!(world.life(A), 2, "it is up already");
    world.fault(Fault::Crash(A));
    world.fault(Fault::Start { node: A, wiped: true });
    assert_eq!((world.node(A).unwrap().found.len(), world.life(A)), (0, 3));
    let sometimes = world.finish().sometimes;
    assert_eq!(sometimes.count("sim: crash"), 2);
    assert_eq!(sometimes.count("sim: restart"), 1);
    assert_eq!(sometimes.count("sim: restart with a wiped disk"), 1);
    assert_eq!(sometimes.count("sim: message lost at a dead node"), 1);
}

#[test]
fn a_node_that_is_down_can_start_from_an_old_copy_of_its_disk() {
    let mut world = world(Scenario::calm(2));
    let put = |world: &mut World<Probes>, key| {
        world.command(A, vec![Act::Put(key), Act::Sync]);
        world.run_for(ms(10));
    };
    put(&mut world, "old");
    world.fault(Fault::Copy(A));
    put(&mut world, "new");
    put(&mut world, "log");
    let restore = Fault::Restore { node: A, but: b"log".to_vec() };
    world.fault(restore.clone());
    assert!(world.disk(A).get(b"new").is_some(), "it is up");
    world.fault(Fault::Crash(B));
    world.fault(Fault::Restore { node: B, but: Vec::new() });
    world.fault(Fault::Crash(A));
    world.fault(restore);
    world.fault(Fault::Start { node: A, wiped: false });
    let keys: Vec<&[u8]> = world.disk(A).iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [&b"log"[..], b"old"]);
    let restored = world.finish().sometimes.count("sim: disk restored from a copy");
    assert_eq!(restored, 1, "of the other there was no copy");
}

#[test]
fn late_nodes_wait_for_their_start() {
    let heals = Time::from_millis(500);
    let mut world = world(Scenario { late: [B, C].into(), heals, ..Scenario::calm(3) });
    world.fault_at(Time::from_millis(10), Fault::Start { node: B, wiped: false });
    world.run_until(Time::from_millis(20));
    assert_eq!([A, B, C].map(|node| world.life(node)), [1, 1, 0]);
    world.run_until(heals);
    assert_eq!([A, B, C].map(|node| world.life(node)), [1, 1, 1]);
}

#[test]
fn one_way_cuts_and_partitions_separate_whom_they_name() {
    let mut world = world(Scenario::calm(3));
    let talk = |world: &mut World<Probes>, text| {
        for from in [A, B, C] {
            let others = [A, B, C].into_iter().filter(|to| *to != from);
            world.command(from, others.map(|to| Act::Send(to, text)).collect());
        }
        world.run_for(ms(5));
        let heard = |node| {
            let all = texts(world, node);
            let new = all.iter().filter(|told| told.ends_with(text));
            new.map(|told| &told[..2]).collect::<Vec<_>>().join("")
        };
        [A, B, C].map(heard)
    };
    world.fault(Fault::Cut { from: A, to: B });
    assert_eq!(talk(&mut world, "cut"), ["n1n2", "n2", "n0n1"]);
    world.fault(Fault::Partition(vec![vec![A, B], vec![C]]));
    assert_eq!(talk(&mut world, "parted"), ["n1", "n0", ""]);
    world.fault(Fault::Partition(vec![vec![A]]));
    assert_eq!(talk(&mut world, "alone"), ["", "", ""]);
    world.fault(Fault::Mend { from: C, to: A });
    assert_eq!(talk(&mut world, "mended"), ["n2", "", ""]);
    world.fault(Fault::Clog(A));
    assert_eq!(talk(&mut world, "clogged"), ["", "", ""]);
    world.fault(Fault::Heal);
    assert_eq!(talk(&mut world, "healed"), ["n1n2", "n0n2", "n0n1"]);
    assert!(texts(&world, A).contains(&"n2: clogged".into()));
}

#[test]
fn degrading_a_link_changes_it_and_healing_calms_it() {
    let mut world = world(Scenario { heals: Time::MAX, ..Scenario::calm(2) });
    let link = Link { latency: ms(40), loss: 1.0, ..Link::GOOD };
    world.fault(Fault::Degrade { from: A, to: B, link });
    world.command(A, vec![Act::Send(B, "lost")]);
    world.run_for(ms(100));
    world.fault(Fault::Heal);
    world.command(A, vec![Act::Send(B, "slow")]);
    world.run_for(ms(39));
    assert_eq!(texts(&world, B), Vec::<String>::new());
    world.run_for(ms(1));
    assert_eq!(texts(&world, B), ["n0: slow"]);
}

#[test]
fn swizzled_clogs_lose_nothing_and_heal_fully() {
    for seed in 0..20 {
        let mut run = Run::new(seed);
        let heals = Time::from_millis(10_000);
        let faults = Schedule::Swizzle.draw(&mut run.draw, 4, Time::ZERO, heals);
        let mut world = World::new(run, Scenario { faults, heals, ..Scenario::calm(4) }, Probes);
        for (at, n) in (0..9_900).step_by(100).zip(0..) {
            let (from, to) = (NodeId(n % 4), NodeId((n + 1) % 4));
            world.command_at(Time::from_millis(at), from, vec![Act::Send(to, "x")]);
        }
        world.run_until(heals);
        let heard: usize = world.nodes().map(|(_, node)| node.log.len()).sum();
        assert_eq!(heard, 99, "seed {seed}");
        let before = world.now();
        world.command(A, vec![Act::Send(B, "at once")]);
        world.eventually("an open link", ms(1), |world| {
            world.node(B).unwrap().texts().last() == Some(&"n0: at once")
        });
        assert_eq!(world.now().since(before), ms(1), "seed {seed}");
        assert!(world.finish().sometimes.count("sim: message clogged") > 0, "seed {seed}");
    }
}

fn connected(nodes: usize) -> World<Probes> {
    world(Scenario { connections: Some(ms(100)), ..Scenario::calm(nodes) })
}

#[test]
fn a_broken_connection_is_noticed_and_comes_back() {
    let mut world = connected(2);
    world.run_for(ms(1));
    assert_eq!((texts(&world, A), texts(&world, B)), (vec!["up n1".into()], vec!["up n0".into()]));
    world.fault(Fault::Cut { from: A, to: B });
    world.command(A, vec![Act::Send(B, "lost")]);
    world.fault(Fault::Mend { from: A, to: B });
    world.command(A, vec![Act::Send(B, "lost, or there would be a gap")]);
    world.command(B, vec![Act::Send(A, "still open this way")]);
    world.run_for(ms(50));
    assert_eq!(texts(&world, A), ["up n1", "n1: still open this way"]);
    world.run_for(ms(50));
    world.command(B, vec![Act::Send(A, "no connection")]);
    world.run_for(ms(50));
    assert_eq!(texts(&world, A)[2..], ["down n1"]);
    world.run_for(ms(50));
    world.command(A, vec![Act::Send(B, "again")]);
    world.run_for(ms(50));
    assert_eq!(texts(&world, A)[3..], ["up n1"]);
    assert_eq!(texts(&world, B), ["up n0", "down n0", "up n0", "n0: again"]);
    let sometimes = world.finish().sometimes;
    assert_eq!(sometimes.count("sim: connection broken"), 1);
    assert_eq!(sometimes.count("sim: message sent without a connection"), 3);
}

#[test]
fn a_cut_keeps_nodes_disconnected_until_it_is_mended() {
    let mut world = connected(2);
    world.run_for(ms(1));
    world.fault(Fault::Cut { from: B, to: A });
    world.run_for(ms(1_000));
    assert_eq!(texts(&world, A), ["up n1", "down n1"]);
    world.fault(Fault::Heal);
    world.run_for(ms(100));
    assert_eq!(texts(&world, A), ["up n1", "down n1", "up n1"]);
}

#[test]
fn a_new_life_is_told_of_its_own_connections_only() {
    let mut world = connected(2);
    world.run_for(ms(1));
    world.fault(Fault::Crash(B));
    world.fault(Fault::Start { node: B, wiped: false });
    world.command(A, vec![Act::Send(B, "to the former life")]);
    world.run_for(ms(150));
    assert_eq!(texts(&world, A), ["up n1", "down n1"]);
    assert_eq!(texts(&world, B), Vec::<String>::new());
    world.run_for(ms(50));
    assert_eq!(texts(&world, A), ["up n1", "down n1", "up n1"]);
    assert_eq!(texts(&world, B), ["up n0"]);
}

#[test]
fn connected_nodes_see_an_unbroken_stream_or_a_break() {
    // Each node counts to every other; a gap or a repetition within one connection is a bug.
    const COUNTS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    for seed in 0..20 {
        let mut run = Run::new(seed);
        let limits = Limits { nodes: 2..=2, queue: 20, min_bandwidth: 20, ..Limits::streams() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let mut world = World::new(run, scenario, Probes);
        for n in 0..300u16 {
            let at = Time::from_millis(u64::from(n) * 100);
            world.command_at(at, A, vec![Act::Send(B, COUNTS[usize::from(n % 10)])]);
        }
        let logs = Rc::new(RefCell::new(Vec::<String>::new()));
        let seen = Rc::clone(&logs);
        let life = Rc::new(RefCell::new((0, 0)));
        world.invariant("collects the log", move |world| {
            if let Some(node) = world.node(B) {
                let mut life = life.borrow_mut();
                if life.0 != world.life(B) {
                    *life = (world.life(B), 0);
                }
                seen.borrow_mut().extend(node.texts()[life.1..].iter().map(|t| (*t).into()));
                life.1 = node.log.len();
            }
            Ok(())
        });
        world.run_until(world.heals() + ms(5_000));
        let mut last = None;
        for text in &*logs.borrow() {
            let Some(count) = text.strip_prefix("n0: ") else {
                last = None;
                continue;
            };
            let count: u32 = count.parse().unwrap();
            assert!(last.is_none_or(|last| (last + 1) % 10 == count), "seed {seed}: {logs:?}");
            last = Some(count);
        }
    }
}

#[test]
fn invariants_see_every_event_once_and_can_count() {
    let mut world = world(Scenario::calm(2));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    world.invariant("sees", move |world| {
        log.borrow_mut().extend_from_slice(world.observed());
        if world.touched() == Some(B) {
            world.sometimes("touched B");
        }
        Ok(())
    });
    world.command(A, vec![Act::Show("one"), Act::Count("counted"), Act::Show("two")]);
    world.command_at(Time::from_millis(3), B, vec![Act::Show("three")]);
    world.run_for(ms(10));
    assert_eq!(
        *seen.borrow(),
        [(A, "booted"), (B, "booted"), (A, "one"), (A, "two"), (B, "three")]
    );
    let sometimes = world.finish().sometimes;
    assert_eq!((sometimes.count("counted"), sometimes.count("touched B")), (1, 1));
}

#[test]
fn failures_name_the_property_and_the_seed() {
    let mut failing = world(Scenario::calm(1));
    failing.invariant("nobody says no", |world| {
        let no = world.observed().iter().find(|(_, text)| *text == "no");
        no.map_or(Ok(()), |(node, _)| Err(format!("{node} does")))
    });
    failing.command(A, vec![Act::Show("yes")]);
    let text = panic_of(|| assert!(failing.command(A, vec![Act::Show("no")])));
    assert_eq!(text, "at 0.000000s: 'nobody says no' does not hold: n0 does\nreplay: seed 1");

    let mut idle = world(Scenario::calm(1));
    let text = panic_of(|| idle.eventually("a sign of life", ms(30), |_| false));
    assert!(text.contains("'a sign of life' didn't come about within 30ms"), "{text}");
}

#[test]
fn a_protocol_that_never_rests_is_found_out() {
    for act in [Act::Spin, Act::Babble] {
        let mut world = world(Scenario::calm(1));
        let text = panic_of(|| {
            world.command(A, vec![act]);
            world.run_for(ms(1));
        });
        assert!(text.contains("time stands still"), "{text}");
    }
}

#[test]
fn what_waits_is_bounded() {
    let flood = |acts: Vec<Act>| {
        let mut world = world(Scenario { sync: ms(9)..=ms(9), ..Scenario::calm(2) });
        panic_of(|| assert!(world.command(A, acts)))
    };
    let text = flood(vec![Act::Send(B, ""); (1 << 20) + 1]);
    assert!(text.contains("the protocol multiplies its messages"), "{text}");
    let mut acts = vec![Act::Put("k"), Act::Sync];
    acts.resize((1 << 20) + 3, Act::Show("after"));
    let text = flood(acts);
    assert!(text.contains("the protocol outruns its syncs"), "{text}");
}

#[test]
fn the_trace_tells_the_last_events_in_words() {
    let mut world = world(Scenario { connections: Some(ms(5)), ..Scenario::calm(2) });
    world.command_at(
        Time::from_millis(2),
        A,
        vec![Act::Put("k"), Act::Sync, Act::Send(B, "hi"), Act::Show("done")],
    );
    world.run_for(ms(10));
    world.fault(Fault::Crash(B));
    let trace = world.trace();
    for line in [
        "0.000000s    n0 starts its life 1\n",
        "0.000000s    n1 connected to n0\n",
        "0.002000s    n0 command [Put(\"k\"), Sync, Send(n1, \"hi\"), Show(\"done\")]\n",
        "0.003000s    n0 synced 1 writes\n",
        "0.003000s    n0 observed \"done\"\n",
        "0.004000s    n1 <- n0 'hi'\n",
        "0.010000s     * Crash(n1)\n",
    ] {
        assert!(trace.contains(line), "no {line:?} in\n{trace}");
    }
    world.fault(Fault::Heal);
    for _ in 0..500 {
        world.command(A, vec![]);
    }
    assert_eq!(world.trace().lines().count(), 201, "bounded");
}

#[test]
fn schedules_can_be_combined_by_hand() {
    let mut draw = Draw::new(3);
    let heals = Time::from_millis(20_000);
    let mut faults = Schedule::OneWayCuts.draw(&mut draw, 5, Time::ZERO, heals);
    faults.extend(Schedule::Churn { max_down: 2, wiped: 0.5 }.draw(
        &mut draw,
        5,
        Time::ZERO,
        heals,
    ));
    let mut world = world(Scenario { faults, heals, ..Scenario::calm(5) });
    world.run_until(heals);
    assert_eq!(world.nodes().count(), 5);
    let sometimes = world.finish().sometimes;
    assert!(sometimes.count("sim: crash") > 0);
    assert!(sometimes.count("sim: restart with a wiped disk") > 0);
}
