//! Seeds: which to run, and what a test says about them.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant, SystemTime},
};

use aether_core::Hash;

use crate::{Draw, Sometimes};

/// One run of a test: its seed and all that is drawn from it.
///
/// Displayed as the line that replays it.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The run's chance, from which a scenario is drawn before a world takes it.
    pub draw: Draw,
    replay: String,
}

impl Run {
    /// A run outside of a [`Runner`].
    pub fn new(seed: u64) -> Self {
        Self { seed, draw: Draw::new(seed), replay: format!("seed {seed}") }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replay: {}", self.replay)
    }
}

/// What a run amounts to. Two runs of one seed must have equal outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many events took place.
    pub events: u64,
    /// The hash of all of them.
    pub trace: Hash,
    /// Counters.
    pub sometimes: Sometimes,
}

/// Runs a test over seeds.
///
/// By default it takes the regression seeds and then the seeds 0, 1, 2 and so on, the first of
/// them twice, to see that both runs have the same trace. Three variables of the environment
/// change that:
///
/// | variable | effect |
/// |---|---|
/// | `AETHER_SEEDS` | takes so many seeds instead of the test's own number |
/// | `AETHER_SECONDS` | goes on after them for so many seconds, with seeds nobody has seen |
/// | `AETHER_SEED` | takes this one seed only, twice, and no counter is demanded |
#[derive(Clone, Debug)]
pub struct Runner {
    package: String,
    target: String,
    test: String,
    seeds: u64,
    regressions: Vec<u64>,
    demanded: Vec<&'static str>,
}

impl Runner {
    /// A runner for the test function `test` of the test target `sim` of a package, usually
    /// `env!("CARGO_PKG_NAME")`. Five seeds.
    pub fn new(package: &str, test: &str) -> Self {
        Self {
            package: package.into(),
            target: "--test sim".into(),
            test: test.into(),
            seeds: 5,
            regressions: Vec::new(),
            demanded: Vec::new(),
        }
    }

    /// Names another target as it stands on cargo's command line, such as `--lib`.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// How many seeds without `AETHER_SEEDS`.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Seeds that failed once and are tried first for ever.
    #[must_use]
    pub fn regressions(mut self, seeds: &[u64]) -> Self {
        self.regressions = seeds.into();
        self
    }

    /// Names of which each must have been counted by the end, over all seeds together.
    #[must_use]
    pub fn sometimes(mut self, names: &[&'static str]) -> Self {
        self.demanded = names.into();
        self
    }

    /// Runs the test over its seeds and prints a summary to standard output, which the test
    /// harness shows if a test fails or with `-- --nocapture`.
    ///
    /// # Panics
    /// If a run does, with its message and the line that replays it; if a seed gives two traces;
    /// if a demanded counter stays at zero; if a variable isn't a number.
    pub fn run(&self, body: impl Fn(Run) -> Outcome) -> Summary {
        let plan = Plan::read(self.seeds, |name| std::env::var(name).ok());
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        let started = monotonic();
        let mut summary = Summary::new(&self.test);
        let result = self.follow(&plan, &mut summary, started, &body);
        summary.elapsed = monotonic().duration_since(started);
        println!("{summary}");
        if let Err(failure) = result {
            // The payload goes on as it is, so this line has to be printed here.
            eprintln!("{}", failure.replay);
            resume_unwind(failure.payload);
        }
        if plan.replay.is_none() {
            self.demand(&summary);
        }
        summary
    }

    fn demand(&self, summary: &Summary) {
        let missing = summary.sometimes.missing(&self.demanded);
        let seeds = summary.seeds;
        assert!(
            missing.is_empty(),
            "never happened in {seeds} seeds: {missing:?}; take more seeds, or see why it can't"
        );
    }

    fn follow(
        &self,
        plan: &Plan,
        summary: &mut Summary,
        started: Instant,
        body: &impl Fn(Run) -> Outcome,
    ) -> Result<(), Failure> {
        if let Some(seed) = plan.replay {
            return self.twice(seed, body).map(|outcome| summary.add(&outcome));
        }
        for (index, seed) in self.regressions.iter().copied().chain(0..plan.seeds).enumerate() {
            let outcome = if index == 0 { self.twice(seed, body) } else { self.once(seed, body) };
            summary.add(&outcome?);
        }
        let mut fresh = unseen_seed();
        while monotonic().duration_since(started) < plan.time {
            summary.add(&self.once(fresh, body)?);
            fresh = fresh.wrapping_add(1);
        }
        Ok(())
    }

    fn twice(&self, seed: u64, body: &impl Fn(Run) -> Outcome) -> Result<Outcome, Failure> {
        let (first, second) = (self.once(seed, body)?, self.once(seed, body)?);
        if first == second {
            return Ok(first);
        }
        let replay = self.replay(seed).to_string();
        let text = format!(
            "seed {seed} gave two traces, {} and {}: something draws on a clock, entropy, a \
             hash map's order or a global\n{replay}",
            first.trace, second.trace
        );
        Err(Failure { replay, payload: Box::new(text) })
    }

    fn once(&self, seed: u64, body: &impl Fn(Run) -> Outcome) -> Result<Outcome, Failure> {
        let run = self.replay(seed);
        let replay = run.to_string();
        // Nothing of a run that panicked is used again but the payload.
        catch_unwind(AssertUnwindSafe(|| body(run))).map_err(|payload| Failure { replay, payload })
    }

    fn replay(&self, seed: u64) -> Run {
        let Self { package, target, test, .. } = self;
        let replay =
            format!("AETHER_SEED={seed} cargo test --release -p {package} {target} {test}");
        Run { replay, ..Run::new(seed) }
    }
}

struct Failure {
    replay: String,
    payload: Box<dyn Any + Send>,
}

/// What a runner did.
#[derive(Clone, Debug)]
pub struct Summary {
    test: String,
    /// How many seeds ran to their end.
    pub seeds: u64,
    /// How many events they had.
    pub events: u64,
    /// How long they took.
    pub elapsed: Duration,
    /// Their counters together.
    pub sometimes: Sometimes,
}

impl Summary {
    fn new(test: &str) -> Self {
        let sometimes = Sometimes::default();
        Self { test: test.into(), seeds: 0, events: 0, elapsed: Duration::ZERO, sometimes }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.sometimes.merge(&outcome.sometimes);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.elapsed.as_millis().max(1);
        let rate = u128::from(self.events) * 1000 / millis;
        let Self { test, seeds, events, sometimes, .. } = self;
        writeln!(f, "{test}: {seeds} seeds, {events} events in {millis} ms, {rate} events/s")?;
        write!(f, "{sometimes}")
    }
}

/// What the environment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    seeds: u64,
    time: Duration,
    replay: Option<u64>,
}

impl Plan {
    fn read(seeds: u64, get: impl Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let number = |name: &'static str| {
            let parse = |text: String| text.trim().parse().map_err(|_| EnvError { name, text });
            get(name).map(parse).transpose()
        };
        Ok(Self {
            seeds: number("AETHER_SEEDS")?.unwrap_or(seeds),
            time: Duration::from_secs(number("AETHER_SECONDS")?.unwrap_or(0)),
            replay: number("AETHER_SEED")?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is '{text}'; give it a whole number")]
struct EnvError {
    name: &'static str,
    text: String,
}

#[expect(clippy::disallowed_methods, reason = "the runner is the driver: it measures real time")]
fn monotonic() -> Instant {
    Instant::now()
}

/// Where seeds begin that no earlier run has taken.
#[expect(clippy::disallowed_methods, reason = "a soak explores; the seed that fails is printed")]
fn unseen_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn outcome(run: &Run) -> Outcome {
        let mut sometimes = Sometimes::default();
        if run.seed == 3 {
            sometimes.hit("third");
        }
        let trace = Hash::from_bytes(run.draw.clone().seed());
        Outcome { events: 10, trace, sometimes }
    }

    fn follow(
        runner: &Runner,
        plan: &Plan,
        body: impl Fn(Run) -> Outcome,
    ) -> (Result<(), Failure>, Summary) {
        let mut summary = Summary::new("t");
        (runner.follow(plan, &mut summary, monotonic(), &body), summary)
    }

    const FIVE: Plan = Plan { seeds: 5, time: Duration::ZERO, replay: None };

    #[test]
    fn the_environment_overrides_the_test() {
        let read = |pairs: &'static [(&str, &str)]| {
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name);
            Plan::read(5, |name| get(name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(read(&[]), Ok(FIVE));
        assert_eq!(read(&[("AETHER_SEEDS", "70")]), Ok(Plan { seeds: 70, ..FIVE }));
        let minute = Plan { time: Duration::from_secs(60), ..FIVE };
        assert_eq!(read(&[("AETHER_SECONDS", "60")]), Ok(minute));
        assert_eq!(read(&[("AETHER_SEED", " 17\n")]), Ok(Plan { replay: Some(17), ..FIVE }));
        let error = read(&[("AETHER_SEEDS", "many")]).unwrap_err();
        assert_eq!(error.to_string(), "AETHER_SEEDS is 'many'; give it a whole number");
    }

    #[test]
    fn regressions_come_first_and_the_first_seed_runs_twice() {
        let runner = Runner::new("p", "t").regressions(&[99]);
        let taken = RefCell::new(Vec::new());
        let (result, summary) = follow(&runner, &Plan { seeds: 2, ..FIVE }, |run| {
            taken.borrow_mut().push(run.seed);
            outcome(&run)
        });
        assert!(result.is_ok());
        assert_eq!(*taken.borrow(), [99, 99, 0, 1]);
        assert_eq!((summary.seeds, summary.events), (3, 30));
    }

    #[test]
    fn a_replay_takes_one_seed() {
        let runner = Runner::new("p", "t").regressions(&[99]);
        let taken = RefCell::new(Vec::new());
        let (result, summary) = follow(&runner, &Plan { replay: Some(3), ..FIVE }, |run| {
            taken.borrow_mut().push(run.seed);
            outcome(&run)
        });
        assert!(result.is_ok());
        assert_eq!((taken.into_inner(), summary.seeds), (vec![3, 3], 1));
    }

    #[test]
    fn time_left_goes_to_seeds_beyond_the_first() {
        let plan = Plan { seeds: 1, time: Duration::from_secs(86_400), replay: None };
        let taken = RefCell::new(Vec::new());
        let (result, summary) = follow(&Runner::new("p", "t"), &plan, |run| {
            taken.borrow_mut().push(run.seed);
            assert!(taken.borrow().len() < 5, "enough");
            outcome(&run)
        });
        assert!(result.is_err(), "only a failure ends a day this early");
        let taken = taken.into_inner();
        assert_eq!((&taken[..2], summary.seeds), (&[0, 0][..], 3));
        assert!(taken[2] > 1_000_000_000, "{taken:?}");
        assert_eq!(taken[3], taken[2] + 1);
    }

    #[test]
    fn any_panic_leaves_with_the_line_that_replays_it() {
        let runner = Runner::new("some-crate", "some_test");
        let (result, _) = follow(&runner, &FIVE, |run| {
            assert!(run.seed < 4, "broken");
            outcome(&run)
        });
        let failure = result.unwrap_err();
        let line = "AETHER_SEED=4 cargo test --release -p some-crate --test sim some_test";
        assert_eq!(failure.replay, format!("replay: {line}"));
        assert_eq!(failure.payload.downcast_ref(), Some(&"broken"));
    }

    #[test]
    fn what_never_happened_is_a_failure() {
        let (_, four) = follow(&Runner::new("p", "t"), &Plan { seeds: 4, ..FIVE }, |r| outcome(&r));
        Runner::new("p", "t").sometimes(&["third"]).demand(&four);
        let runner = Runner::new("p", "t").sometimes(&["third", "fourth"]);
        let payload = catch_unwind(|| runner.demand(&four)).unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("never happened in 4 seeds: [\"fourth\"]"), "{text}");
        assert_eq!(four.to_string().lines().last(), Some("           1  third"));
    }

    #[test]
    fn two_traces_of_one_seed_are_a_failure() {
        let global = Cell::new(0);
        let (result, _) = follow(&Runner::new("p", "t"), &FIVE, |run| {
            global.set(global.get() + 1);
            Outcome { events: global.get(), ..outcome(&run) }
        });
        let failure = result.unwrap_err();
        let text = failure.payload.downcast_ref::<String>().unwrap();
        assert!(text.contains("seed 0 gave two traces"), "{text}");
        assert!(text.contains("AETHER_SEED=0 "), "{text}");
    }

    impl fmt::Debug for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.replay)
        }
    }
}
