//! One client's balancer and the servers that it talks to, in virtual time.
//!
//! The farm checks on every event what must hold of any run: each call ends exactly once and never
//! after its deadline, nothing of it is under way then, and what may have been started is repeated
//! only if the call is idempotent.

use std::{collections::BTreeMap, time::Duration};

use aether_core::{Domain, Hasher, Protocol as _, PublicKey, Time};
use aether_mesh::proto::service::balancer::{
    AttemptId, Balancer, Call, CallId, Config, Decision, Ended, Hedge, Input, InstanceId, Listed,
    Outcome, Output, Target, Why,
};
use aether_sim::{Draw, Run, Sometimes};

const TRACE: Domain = Domain::new("aether 2026-11 services simulation trace v1");

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Serves,
    /// Can't be reached.
    Refuses,
    /// Breaks off half way.
    Breaks,
    /// Breaks off two of five.
    Flaky,
    /// Never answers.
    Silent,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Typical time of an answer; each takes between a half and one and a half of it.
    pub(super) pace: Duration,
    pub(super) mood: Mood,
    /// Above so many at once it is overloaded.
    pub(super) capacity: usize,
    pub(super) listed: bool,
    pub(super) draining: bool,
    running: usize,
    /// Attempts that it got.
    pub(super) attempts: usize,
}

impl Server {
    pub(super) fn new(pace: Duration) -> Self {
        let (mood, capacity) = (Mood::Serves, usize::MAX);
        Self { pace, mood, capacity, listed: true, draining: false, running: 0, attempts: 0 }
    }
}

/// What calls are like.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Between two calls, on average.
    pub(super) gap: Duration,
    pub(super) time: Duration,
    pub(super) idempotent: f64,
    pub(super) hedged: f64,
    pub(super) cancelled: f64,
    pub(super) targets: Vec<Target>,
}

#[derive(Debug)]
enum Event {
    Call,
    Reply(AttemptId, Ended),
    Cancel(CallId),
}

/// A call under way, as the caller knows it.
#[derive(Debug)]
struct Open {
    call: Call,
    /// Whether an attempt that has ended may have been started.
    maybe_started: bool,
    running: usize,
    asked: Vec<InstanceId>,
}

#[derive(Debug)]
struct Running {
    call: CallId,
    server: usize,
    /// Whether it takes one of the server's places.
    placed: bool,
}

pub(super) struct Farm {
    pub(super) draw: Draw,
    pub(super) now: Time,
    pub(super) balancer: Balancer,
    pub(super) servers: Vec<Server>,
    pub(super) load: Load,
    pub(super) calls: usize,
    /// Calls that ended without an answer.
    pub(super) failed: usize,
    pub(super) attempts: usize,
    pub(super) sometimes: Sometimes,
    agenda: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    open: BTreeMap<CallId, Open>,
    running: BTreeMap<AttemptId, Running>,
    events: u64,
    trace: Hasher,
}

pub(super) fn id(server: usize) -> InstanceId {
    let number = server as u64;
    InstanceId { peer: PublicKey::from_bytes([server as u8 + 1; 32]), number }
}

impl Farm {
    pub(super) fn new(run: &Run, config: Config, servers: Vec<Server>, load: Load) -> Self {
        let mut draw = run.draw.clone();
        let seed = draw.number(0..=u64::MAX);
        let mut farm = Self {
            draw,
            now: Time::ZERO,
            balancer: Balancer::new(config, seed),
            servers,
            load,
            calls: 0,
            failed: 0,
            attempts: 0,
            sometimes: Sometimes::default(),
            agenda: BTreeMap::new(),
            sequence: 0,
            open: BTreeMap::new(),
            running: BTreeMap::new(),
            events: 0,
            trace: TRACE.hasher(),
        };
        farm.list();
        farm.at(Duration::ZERO, Event::Call);
        farm
    }

    /// Tells the balancer who serves now.
    pub(super) fn list(&mut self) {
        let listed = self.servers.iter().enumerate().filter(|(_, server)| server.listed);
        let list = listed.map(|(n, server)| Listed {
            instance: id(n),
            load: u32::try_from(server.running).unwrap_or(u32::MAX),
            draining: server.draining,
        });
        let list = list.collect();
        self.handle(Input::Instances(list));
    }

    /// Lets time pass. Calls keep coming.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets every call end, and says what the run amounts to.
    pub(super) fn finish(mut self) -> aether_sim::Outcome {
        self.agenda.retain(|_, event| !matches!(event, Event::Call));
        while self.step(Time::MAX) {}
        assert!(self.open.is_empty(), "never ended: {:?}", self.open);
        assert_eq!(self.balancer.calls(), 0);
        assert!(self.balancer.instances().all(|view| view.in_flight == 0));
        let trace = self.trace.finish();
        aether_sim::Outcome { events: self.events, trace, sometimes: self.sometimes }
    }

    fn at(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.agenda.insert((self.now + wait, self.sequence), event);
    }

    /// One event, if there is one before `end`.
    fn step(&mut self, end: Time) -> bool {
        let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let timeout = self.balancer.poll_timeout();
        let Some(at) = next.into_iter().chain(timeout).min().filter(|at| *at < end) else {
            return false;
        };
        self.now = self.now.max(at);
        // Of two things at one moment the timeout is last, as with a driver that is busy.
        if next == Some(at)
            && let Some((_, event)) = self.agenda.pop_first()
        {
            match event {
                Event::Call => self.call(),
                Event::Reply(attempt, ended) => self.reply(attempt, ended),
                Event::Cancel(call) => self.handle(Input::Cancel(call)),
            }
        } else {
            self.handle(Input::Timeout);
        }
        true
    }

    fn call(&mut self) {
        let gap = self.load.gap.mul_f64(2.0 * self.draw.fraction());
        self.at(gap, Event::Call);
        self.calls += 1;
        let target = *self.draw.pick(&self.load.targets).expect("a target");
        let hedge = match self.draw.chance(self.load.hedged) {
            true if self.draw.chance(0.5) => Hedge::P95,
            true => Hedge::After(Duration::from_millis(20)),
            false => Hedge::Never,
        };
        let call = Call {
            id: CallId(self.calls as u64),
            deadline: self.now + self.load.time,
            idempotent: self.draw.chance(self.load.idempotent),
            target,
            hedge,
        };
        let open = Open { call, maybe_started: false, running: 0, asked: Vec::new() };
        self.open.insert(call.id, open);
        if self.draw.chance(self.load.cancelled) {
            let wait = self.draw.duration(Duration::ZERO..=self.load.time);
            self.at(wait, Event::Cancel(call.id));
        }
        self.handle(Input::Call(call));
    }

    fn reply(&mut self, attempt: AttemptId, ended: Ended) {
        if let Some(running) = self.running.remove(&attempt) {
            self.servers[running.server].running -= usize::from(running.placed);
            let open = self.open.get_mut(&running.call).expect("its call is open");
            open.running -= 1;
            open.maybe_started |= ended == Ended::Failed;
        }
        // What was cancelled may be answered all the same; the balancer is told and must not mind.
        self.handle(Input::Ended { attempt, ended });
    }

    fn handle(&mut self, input: Input) {
        self.events += 1;
        self.trace.update(&self.now.as_micros().to_be_bytes());
        self.trace.update(format!("{input:?}").as_bytes());
        self.balancer.handle(self.now, input);
        while let Some(output) = self.balancer.poll_output() {
            match output {
                Output::Attempt { call, attempt, instance, time_left } => {
                    self.attempt(call, attempt, instance, time_left);
                }
                Output::Cancel { attempt } => {
                    let running = self.running.remove(&attempt).expect("it is under way");
                    self.servers[running.server].running -= usize::from(running.placed);
                    self.open.get_mut(&running.call).expect("an open call").running -= 1;
                }
                Output::Answer { call, .. } => {
                    assert_eq!(self.open[&call].call.target, Target::Every);
                    self.sometimes.hit("one of every instance answered");
                }
                Output::Done { call, outcome } => self.done(call, outcome),
                Output::Decision(decision) => self.count(decision),
            }
        }
    }

    fn attempt(&mut self, call: CallId, attempt: AttemptId, to: InstanceId, left: Duration) {
        let open = self.open.get_mut(&call).expect("an attempt of an open call");
        let again = open.running > 0 || open.maybe_started;
        let every = open.call.target == Target::Every;
        let is_other = matches!(open.call.target, Target::Peer(peer) if peer != to.peer);
        assert!(!is_other, "{:?} is asked of {to:?}", open.call);
        assert!(open.call.idempotent || every || !again, "{:?} is repeated", open.call);
        assert!(!every || !open.asked.contains(&to), "{to:?} is asked twice");
        assert_eq!(left, open.call.deadline.since(self.now));
        assert!(!left.is_zero(), "sent at the deadline");
        open.running += 1;
        open.asked.push(to);
        self.attempts += 1;
        let number = to.number as usize;
        let server = &mut self.servers[number];
        assert!(server.listed && !server.draining, "{to:?} takes no calls");
        server.attempts += 1;
        let half = server.pace / 2;
        let took = half + server.pace.mul_f64(self.draw.fraction());
        let soon = Duration::from_millis(1);
        let overloaded = server.running >= server.capacity;
        let (wait, ended) = match server.mood {
            Mood::Serves if overloaded => {
                let retry_after = self.draw.duration(soon..=server.pace * 4);
                (soon, Some(Ended::Overloaded { retry_after }))
            }
            Mood::Serves if self.draw.chance(0.05) => (took, Some(Ended::ApplicationError)),
            Mood::Serves => (took, Some(Ended::Ok)),
            Mood::Flaky if self.draw.chance(0.4) => (half, Some(Ended::Failed)),
            Mood::Flaky => (took, Some(Ended::Ok)),
            Mood::Refuses => (soon, Some(Ended::NotStarted)),
            Mood::Breaks => (half, Some(Ended::Failed)),
            Mood::Silent => (took, None),
        };
        let placed = !overloaded && server.mood != Mood::Refuses;
        server.running += usize::from(placed);
        self.running.insert(attempt, Running { call, server: number, placed });
        if let Some(ended) = ended {
            self.at(wait, Event::Reply(attempt, ended));
        }
    }

    fn done(&mut self, call: CallId, outcome: Outcome) {
        let open = self.open.remove(&call).expect("a call ends once");
        assert!(self.now <= open.call.deadline, "{open:?} ended at {:?}", self.now);
        assert_eq!(open.running, 0, "{open:?} has attempts under way");
        let answered = matches!(
            outcome,
            Outcome::Attempted { ended: Ended::Ok | Ended::ApplicationError, .. }
                | Outcome::Completed
        );
        assert!(!answered || self.now < open.call.deadline, "answered too late");
        self.failed += usize::from(!answered);
        self.sometimes.hit(match outcome {
            Outcome::Attempted { .. } if answered => "answered",
            Outcome::Attempted { .. } => "failed",
            Outcome::Completed => "completed",
            Outcome::DeadlineExceeded => "deadline exceeded",
            Outcome::Cancelled => "cancelled",
            Outcome::NoInstance => "no instance",
            Outcome::Overloaded { .. } => "all overloaded",
            Outcome::Unavailable { .. } => "unavailable",
            Outcome::Busy => "busy",
        });
    }

    fn count(&mut self, decision: Decision) {
        self.sometimes.hit(match decision {
            Decision::Picked { why: Why::Probe, .. } => "picked to probe",
            Decision::Picked { .. } => "picked",
            Decision::Retried { .. } => "retried",
            Decision::Hedged { .. } => "hedged",
            Decision::BudgetEmpty { .. } => "budget empty",
            Decision::BreakerOpened { .. } => "breaker opened",
            Decision::BreakerHalfOpened { .. } => "breaker half-opened",
            Decision::BreakerClosed { .. } => "breaker closed",
            Decision::InstancesLeftOut { .. } => "instances left out",
        });
    }
}
