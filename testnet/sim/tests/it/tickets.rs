//! A planted bug is found, and the printed line finds it again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    process::Command,
    time::Duration,
};

use aether_core::{Protocol, Time};
use aether_sim::{
    At, Boot, Effects, Limits, NodeId, Outcome, Run, Runner, Scenario, Subject, World,
};

/// Node 0 hands out numbers, each at most once; the others ask for one after the other.
struct Node {
    next: u64,
    asks: bool,
    deadline: Time,
    outputs: VecDeque<Output>,
}

enum Input {
    Asked(NodeId),
    Got(u64),
    Timeout,
}

enum Output {
    Ask,
    Keep(u64),
    Give(NodeId, u64),
    Got(u64),
}

impl Protocol for Node {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Asked(from) => {
                let number = self.next;
                self.next += 1;
                self.outputs.extend([Output::Keep(self.next), Output::Give(from, number)]);
            }
            Input::Got(number) => self.outputs.push_back(Output::Got(number)),
            Input::Timeout => {
                self.outputs.push_back(Output::Ask);
                self.deadline = now + Duration::from_millis(200);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.asks.then_some(self.deadline)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// The number leaves before it is on disk.
    NoSync,
    /// Messages that come twice crash the protocol.
    Panics,
}

struct Tickets(Bug);

const OFFICE: NodeId = NodeId(0);

impl Subject for Tickets {
    type Node = Node;
    type Command = ();
    type Event = u64;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let stored = boot.disk.get(b"next").and_then(|bytes| bytes.try_into().ok());
        Node {
            next: stored.map_or(0, u64::from_be_bytes),
            asks: boot.at.node != OFFICE,
            deadline: boot.at.now,
            outputs: VecDeque::new(),
        }
    }

    fn message(&self, at: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        if at.node == OFFICE {
            assert!(self.0 != Bug::Panics || at.life < 3, "the office has had enough");
            return Some(Input::Asked(from));
        }
        Some(Input::Got(u64::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, (): ()) -> Input {
        Input::Timeout
    }

    fn output(&self, at: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Ask => effects.send(OFFICE, []),
            Output::Keep(next) => {
                effects.put("next", next.to_be_bytes());
                if self.0 != Bug::NoSync {
                    effects.sync();
                }
                if at.life > 1 {
                    effects.sometimes("handed out after a crash");
                }
            }
            Output::Give(to, number) => effects.send(to, number.to_be_bytes()),
            Output::Got(number) => effects.observe(number),
        }
    }
}

fn simulate(mut run: Run, bug: Bug) -> Outcome {
    let scenario = Scenario::draw(&mut run.draw, &Limits::default());
    let mut world = World::new(run, scenario, Tickets(bug));
    // A network that duplicates gives one node one number twice; two nodes never share one.
    let mut holders = BTreeMap::new();
    world.invariant("no number has two holders", move |world| {
        for (node, number) in world.observed() {
            let holder = holders.entry(*number).or_insert(*node);
            if holder != node {
                return Err(format!("{holder} and {node} hold {number}"));
            }
        }
        Ok(())
    });
    world.run_until(world.heals());
    let mut waiting: BTreeSet<_> = world.ids().skip(1).collect();
    world.eventually("everyone gets a number", Duration::from_secs(10), |world| {
        for (node, _) in world.observed() {
            waiting.remove(node);
        }
        waiting.is_empty()
    });
    world.finish()
}

fn runner(test: &str) -> Runner {
    Runner::new(env!("CARGO_PKG_NAME"), test).target("--test it")
}

#[test]
fn the_right_protocol_passes() {
    runner("the_right_protocol_passes")
        .seeds(40)
        .sometimes(&["handed out after a crash", "sim: message duplicated", "sim: message clogged"])
        .run(|run| simulate(run, Bug::None));
}

/// Fails if told to, in a process of its own; see the tests below.
#[test]
fn planted() {
    let bug = match env::var("AETHER_SIM_PLANTED").as_deref() {
        Ok("sync") => Bug::NoSync,
        Ok("panic") => Bug::Panics,
        Ok("none") => Bug::None,
        _ => return,
    };
    runner("planted")
        .seeds(36)
        .sometimes(&["a thing that never happens"])
        .run(|run| simulate(run, bug));
}

/// Whether the test above passes with this bug, and what it prints.
fn run_planted(bug: &str, seed: Option<&str>) -> (bool, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "tickets::planted", "--nocapture", "--test-threads=1"]);
    command.env("AETHER_SIM_PLANTED", bug);
    for name in ["AETHER_SEED", "AETHER_SEEDS", "AETHER_SECONDS"] {
        command.env_remove(name);
    }
    if let Some(seed) = seed {
        command.env("AETHER_SEED", seed);
    }
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn failure_of_planted(bug: &str, seed: Option<&str>) -> String {
    let (passes, text) = run_planted(bug, seed);
    assert!(!passes, "the bug wasn't found: {text}");
    text
}

/// The seed of the last line that replays a run, which must be complete.
fn replay_seed(text: &str) -> &str {
    let line = text.lines().rev().find(|line| line.starts_with("replay: ")).unwrap_or("none");
    let (name, rest) = line["replay: ".len()..].split_once(' ').unwrap_or_default();
    assert_eq!(rest, "cargo test --release -p aether-sim --test it planted", "in {text}");
    name.strip_prefix("AETHER_SEED=").unwrap()
}

#[test]
fn a_missing_sync_is_found_and_replayed() {
    let found = failure_of_planted("sync", None);
    assert!(found.contains("'no number has two holders' does not hold"), "{found}");
    assert!(found.contains("the last 200 events:\n"), "{found}");
    let again = failure_of_planted("sync", Some(replay_seed(&found)));
    let trace = |text: &str| text.split_once("the last 200 events:").unwrap().1.to_owned();
    assert_eq!(trace(&found), trace(&again), "the same events, in the same words");
}

#[test]
fn a_panic_inside_a_protocol_prints_trace_and_line() {
    let found = failure_of_planted("panic", None);
    assert!(found.contains("the office has had enough"), "{found}");
    assert!(found.contains("the last 200 events:\n"), "{found}");
    let again = failure_of_planted("panic", Some(replay_seed(&found)));
    assert!(again.contains("the office has had enough"), "{again}");
}

#[test]
fn counters_are_demanded_of_a_search_and_not_of_a_replay() {
    let text = failure_of_planted("none", None);
    assert!(text.contains("never happened in 36 seeds: [\"a thing that never"), "{text}");
    let (passes, text) = run_planted("none", Some("0"));
    assert!(passes, "{text}");
}
