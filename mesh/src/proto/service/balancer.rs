//! The balancer: which instance gets a call, and when it is retried, hedged or given up.
//!
//! One balancer is one client's view of one service. Rules:
//!
//! 1. **Two choices.** A call goes to the cheaper of two instances drawn at random (Mitzenmacher,
//!    "The Power of Two Choices in Randomized Load Balancing", 2001). An instance costs its
//!    peak-EWMA latency (Finagle, linkerd) times what this client has in flight there, plus one.
//!    Of two that cost about the same (within a tenth) the one with the lower announced load gets
//!    the call.
//! 2. **Nobody starves.** An instance without a measurement is free while it is idle and dear
//!    while its first call runs. An idle one that loses a choice by its cost gets cheaper by the
//!    share `forgiveness`, so that in the end it is tried again, and one slow answer puts it back.
//! 3. **Retries** are for idempotent calls, and for attempts that certainly weren't started. They
//!    wait a random part of `backoff · 2^n` ("full jitter", AWS Architecture Blog, "Exponential
//!    Backoff and Jitter", 2015), go to another instance than those that failed where there is one,
//!    and don't wait past the deadline.
//! 4. **Budget.** Retries and hedges of a client stay within a share of its calls plus a small
//!    minimum a second (Finagle's `RetryBudget`), so that a failing service isn't stormed.
//! 5. **Overload.** An instance that says `Overloaded` gets nothing until its `retry_after` is
//!    over. If no instance is left the call ends with the shortest of those times.
//! 6. **Breaker.** An instance opens its breaker by failures in a row, or by their share of the
//!    attempts in a window (Nygard, "Release It!", 2007, section 5.2). It stays open for a time
//!    that doubles with each failed probe, with jitter; then one call goes through, and its success
//!    closes the breaker. An error of the application is a success here, overload is neither.
//!    A deadline that cuts an attempt is a failure if the attempt had as much time as the instance
//!    usually takes.
//! 7. **All open.** When no instance can be asked by rule 6, one call at a time goes to the one
//!    whose probe is due next. The others fail at once.
//! 8. **Hedging** (Dean and Barroso, "The Tail at Scale", 2013, section "Hedged requests"): an
//!    idempotent call that asks for it gets a second attempt on another instance after a delay or
//!    the 95th percentile of recent latencies. The first answer wins, the other is cancelled. An
//!    idempotent call that is a probe gets one though it doesn't ask, after `probe_patience` or
//!    twice that percentile, whichever is longer: nobody should wait for what is probably dead. A
//!    probe whose hedge answers first has failed.
//! 9. **Owner.** A call with a key goes to the instance of the highest weight by rendezvous hashing
//!    (Thaler and Ravishankar 1998) of those that can be asked now.
//! 10. **Every.** A call to every instance makes one attempt on each that isn't draining, whatever
//!     its breaker says, and retries none.
//! 11. **Peer.** A call to one node's instance makes one attempt on it, unless it is draining,
//!     whatever its breaker says, and isn't retried: its caller knows where else to go.
//! 12. **Ends.** Each call ends exactly once, at its deadline at the latest; then no attempt of it
//!     is under way.
//! 13. **Bounds.** Calls under way, instances and samples are bounded.
//!
//! An instance that is slower by ten gets less than a tenth of the calls: it wins a choice only
//! while the other has ten times as much in flight, or once it has lost `ln 10 / forgiveness`
//! choices since its last call, whatever the time between calls.
//!
//! The invariant: an instance's `in_flight` is the number of attempts to it that were put out and
//! neither ended nor were cancelled.

mod breaker;
mod budget;
mod instances;
mod latency;
mod open;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aether_core::{Protocol, Time};
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng as _};

pub use self::{
    breaker::{BreakerConfig, BreakerState},
    budget::BudgetConfig,
    instances::View,
    types::{
        AttemptId, Call, CallId, Config, Decision, Ended, Hedge, Input, InstanceId, Listed,
        Outcome, Output, OwnerKey, Target, Why,
    },
};
use self::{
    breaker::{Change, doubled, fraction},
    budget::Budget,
    instances::{Instances, Lesson, Sent},
    open::Open,
};

/// See the [module](self).
#[derive(Debug)]
pub struct Balancer {
    config: Config,
    rng: ChaCha12Rng,
    instances: Instances,
    budget: Budget,
    calls: BTreeMap<CallId, Open>,
    /// Which call each attempt under way is of.
    attempts: BTreeMap<AttemptId, CallId>,
    /// When each call wants something next.
    timers: BTreeSet<(Time, CallId)>,
    /// What the calls count together against `max_calls`.
    weight: usize,
    next_attempt: u64,
    now: Time,
    outputs: VecDeque<Output>,
}

impl Balancer {
    /// A balancer that knows no instance.
    ///
    /// # Panics
    /// If a bound is zero, or fewer calls are allowed than instances.
    pub fn new(config: Config, seed: u64) -> Self {
        assert!(config.max_instances > 0, "bounds are positive");
        assert!(config.max_calls >= config.max_instances, "a call to every instance must fit");
        Self {
            rng: ChaCha12Rng::seed_from_u64(seed),
            instances: Instances::default(),
            budget: Budget::new(&config.budget),
            calls: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timers: BTreeSet::new(),
            weight: 0,
            next_attempt: 1,
            now: Time::ZERO,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// What is known of each instance, by id.
    pub fn instances(&self) -> impl Iterator<Item = View> {
        self.instances.views()
    }

    /// How many calls are under way.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    fn on_instances(&mut self, list: &[Listed]) {
        let calls = &self.calls;
        let in_flight = |id: &InstanceId| {
            let running = calls.values().flat_map(|open| &open.running);
            running.filter(|sent| sent.instance == *id).count()
        };
        let count = self.instances.update(self.now, list, self.config.max_instances, in_flight);
        if count > 0 {
            self.decide(Decision::InstancesLeftOut { count });
        }
    }

    fn on_call(&mut self, call: Call) {
        assert!(!self.calls.contains_key(&call.id), "a call's number is never used twice");
        let mut named = match call.target {
            Target::Every | Target::Peer(_) => self.instances.all(),
            Target::Any | Target::Owner(_) => Vec::new(),
        };
        let why = if let Target::Peer(peer) = call.target {
            named.retain(|instance| instance.peer == peer);
            named.truncate(1);
            Why::Named
        } else {
            Why::Every
        };
        let weight = named.len().max(1);
        let refused = if call.deadline <= self.now {
            Some(Outcome::DeadlineExceeded)
        } else if call.target.is_named() && named.is_empty() {
            Some(Outcome::NoInstance)
        } else if self.weight + weight > self.config.max_calls {
            Some(Outcome::Busy)
        } else {
            None
        };
        if let Some(outcome) = refused {
            self.outputs.push_back(Output::Done { call: call.id, outcome });
            return;
        }
        self.budget.earn(self.now, &self.config.budget);
        self.weight += weight;
        self.timers.insert((call.deadline, call.id));
        self.calls.insert(call.id, Open::new(call, weight));
        if call.target.is_named() {
            for instance in named {
                self.send(call.id, instance, why);
            }
        } else {
            self.first(call.id);
        }
    }

    fn first(&mut self, id: CallId) {
        let Some(open) = self.calls.get(&id) else { return };
        let (call, key) = (open.call, open.key());
        let found = self.instances.first(self.now, key.as_ref(), &self.config, &mut self.rng);
        let why = match found {
            Ok((instance, why)) => {
                self.send(id, instance, why);
                why
            }
            Err(outcome) => return self.finish(id, outcome, Lesson::Abandoned),
        };
        let p95 = self.instances.p95(&self.config);
        let delay = match call.hedge {
            Hedge::After(delay) => Some(delay),
            Hedge::P95 => p95,
            Hedge::Never => None,
        };
        // It may have to connect first, which no latency of the others tells of.
        let patience = self.config.probe_patience.max(p95.unwrap_or_default() * 2);
        let delay = if why == Why::Probe { delay.max(Some(patience)) } else { delay };
        if call.idempotent
            && let Some(open) = self.calls.get_mut(&id)
        {
            open.hedge_at = delay.map(|delay| self.now + delay);
        }
        self.rearm(id);
    }

    fn send(&mut self, id: CallId, instance: InstanceId, why: Why) {
        let Some(open) = self.calls.get_mut(&id) else { return };
        let attempt = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        let sent = Sent { attempt, instance, at: self.now };
        open.running.push(sent);
        open.tried.push(instance);
        let time_left = open.call.deadline.since(self.now);
        self.attempts.insert(attempt, id);
        let change = self.instances.begin(sent, why);
        self.decide(Decision::Picked { call: id, attempt, instance, why });
        self.note(instance, change);
        self.outputs.push_back(Output::Attempt { call: id, attempt, instance, time_left });
    }

    fn on_ended(&mut self, attempt: AttemptId, ended: Ended) {
        let Some(id) = self.attempts.get(&attempt).copied() else { return };
        let Some(open) = self.calls.get_mut(&id) else { return };
        let Some(index) = open.running.iter().position(|sent| sent.attempt == attempt) else {
            return;
        };
        let sent = open.running.remove(index);
        let (target, last) = (open.call.target, open.running.is_empty());
        let late = open.call.deadline <= self.now;
        self.attempts.remove(&attempt);
        let lesson = match ended {
            Ended::Ok | Ended::ApplicationError => Lesson::Answered,
            Ended::Overloaded { retry_after } => Lesson::Overloaded(retry_after),
            Ended::NotStarted | Ended::Failed => Lesson::Failed,
        };
        self.learn(sent, lesson);
        let outcome = Outcome::Attempted { attempt, ended };
        if late {
            self.expire(id);
        } else if target == Target::Every {
            let instance = sent.instance;
            self.outputs.push_back(Output::Answer { call: id, attempt, instance, ended });
            if last {
                self.finish(id, Outcome::Completed, Lesson::Beaten);
            }
        } else if lesson == Lesson::Answered {
            self.finish(id, outcome, Lesson::Beaten);
        } else if last {
            self.retry(id, attempt, ended);
        }
    }

    fn on_cancel(&mut self, id: CallId) {
        match self.calls.get(&id) {
            Some(open) if open.call.deadline <= self.now => self.expire(id),
            _ => self.finish(id, Outcome::Cancelled, Lesson::Abandoned),
        }
    }

    /// An attempt failed and no other of its call is under way.
    fn retry(&mut self, id: CallId, attempt: AttemptId, ended: Ended) {
        let Some(open) = self.calls.get_mut(&id) else { return };
        let mut outcome = Outcome::Attempted { attempt, ended };
        open.last = Some(outcome);
        // The retry takes the hedge's place.
        open.hedge_at = None;
        let (retries, deadline) = (open.retries, open.call.deadline);
        let is_named = open.call.target.is_named();
        let may = !is_named && (open.call.idempotent || !ended.is_maybe_started());
        let most = doubled(self.config.backoff, retries).min(self.config.max_backoff);
        let wait = most.mul_f64(fraction(&mut self.rng));
        let mut go = may && retries < self.config.max_retries && self.now + wait < deadline;
        if !self.instances.is_any_eligible(self.now)
            && let Err(nobody @ Outcome::Overloaded { .. }) =
                self.instances.last_resort(self.now, &[])
        {
            (go, outcome) = (false, if may { nobody } else { outcome });
        }
        if go && !self.budget.spend(self.now, &self.config.budget) {
            self.decide(Decision::BudgetEmpty { call: id });
            go = false;
        }
        if !go {
            return self.finish(id, outcome, Lesson::Abandoned);
        }
        self.decide(Decision::Retried { call: id, attempt, wait });
        if let Some(open) = self.calls.get_mut(&id) {
            open.retries += 1;
            open.retry_at = Some(self.now + wait);
        }
        self.rearm(id);
    }

    /// Does what a call waited for.
    fn wake(&mut self, id: CallId) {
        let Some(open) = self.calls.get_mut(&id) else { return };
        if open.call.deadline <= self.now {
            return self.expire(id);
        }
        let key = open.key();
        if open.retry_at.take_if(|at| *at <= self.now).is_some() {
            let last = open.last;
            match self.instances.again(
                self.now,
                key.as_ref(),
                &open.tried,
                &self.config,
                &mut self.rng,
            ) {
                Ok((instance, why)) => self.send(id, instance, why),
                Err(overloaded @ Outcome::Overloaded { .. }) => {
                    return self.finish(id, overloaded, Lesson::Abandoned);
                }
                Err(nobody) => return self.finish(id, last.unwrap_or(nobody), Lesson::Abandoned),
            }
        } else if open.hedge_at.take_if(|at| *at <= self.now).is_some() {
            self.hedge(id);
        }
        self.rearm(id);
    }

    fn hedge(&mut self, id: CallId) {
        let Some(open) = self.calls.get(&id) else { return };
        let key = open.key();
        let beside =
            self.instances.beside(self.now, key.as_ref(), &open.tried, &self.config, &mut self.rng);
        let Some((instance, why)) = beside else { return };
        if self.budget.spend(self.now, &self.config.budget) {
            self.decide(Decision::Hedged { call: id });
            self.send(id, instance, why);
        } else {
            self.decide(Decision::BudgetEmpty { call: id });
        }
    }

    fn expire(&mut self, id: CallId) {
        self.finish(id, Outcome::DeadlineExceeded, Lesson::Cut);
    }

    /// Ends a call. What is still under way is cancelled and teaches the `lesson`.
    fn finish(&mut self, id: CallId, outcome: Outcome, lesson: Lesson) {
        let Some(open) = self.calls.remove(&id) else { return };
        self.timers.remove(&(open.timer, id));
        self.weight -= open.weight;
        for sent in open.running {
            self.attempts.remove(&sent.attempt);
            self.learn(sent, lesson);
            self.outputs.push_back(Output::Cancel { attempt: sent.attempt });
        }
        self.outputs.push_back(Output::Done { call: id, outcome });
    }

    fn learn(&mut self, sent: Sent, lesson: Lesson) {
        let change = self.instances.end(self.now, sent, lesson, &self.config, &mut self.rng);
        self.note(sent.instance, change);
    }

    fn note(&mut self, instance: InstanceId, change: Option<Change>) {
        self.outputs.extend(change.map(|change| {
            Output::Decision(match change {
                Change::Opened(length) => Decision::BreakerOpened { instance, length },
                Change::HalfOpened => Decision::BreakerHalfOpened { instance },
                Change::Closed => Decision::BreakerClosed { instance },
            })
        }));
    }

    fn decide(&mut self, decision: Decision) {
        self.outputs.push_back(Output::Decision(decision));
    }

    /// Sets a call's timer to what it wants next.
    fn rearm(&mut self, id: CallId) {
        let Some(open) = self.calls.get_mut(&id) else { return };
        let timer = open.timer();
        if timer != open.timer {
            self.timers.remove(&(open.timer, id));
            self.timers.insert((timer, id));
            open.timer = timer;
        }
    }
}

impl Protocol for Balancer {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Instances(list) => self.on_instances(&list),
            Input::Call(call) => self.on_call(call),
            Input::Ended { attempt, ended } => self.on_ended(attempt, ended),
            Input::Cancel(call) => self.on_cancel(call),
            Input::Timeout => {}
        }
        // After the input, so that an answer that is there is taken before another is asked for.
        while let Some((at, call)) = self.timers.first().copied()
            && at <= self.now
        {
            self.wake(call);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests;
