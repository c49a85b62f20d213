//! One service's client: owns the balancer, the calls under way and the sessions they take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aether_core::{Protocol as _, PublicKey, Time};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

use super::{
    CallFailed, ServiceInstance,
    calling::{self, Asked, Item, Sessions, Told},
    metrics::Metrics,
    route::Route,
};
use crate::{
    clock::{Alarm, Clock},
    proto::service::{
        balancer::{
            self, AttemptId, Balancer, CallId, Decision, Ended, Hedge, Input, InstanceId, Listed,
            Output, Target,
        },
        frame::{CallError, Code, Trace},
        session::caller::{self, Outcome},
    },
};

/// What a client's handles ask for.
#[derive(Debug)]
pub(super) enum Request {
    Call(Box<NewCall>),
    /// Nobody waits for the answer any more.
    Cancel {
        id: u64,
    },
    /// An item of a streamed reply was taken.
    Consumed {
        session: u64,
        attempt: AttemptId,
        credit: usize,
    },
    Instances {
        reply: oneshot::Sender<Vec<ServiceInstance>>,
    },
}

/// A call to make.
#[derive(Debug)]
pub(super) struct NewCall {
    /// Chosen by the handle, never used twice with this client.
    pub(super) id: u64,
    pub(super) endpoint: Arc<str>,
    pub(super) body: Bytes,
    pub(super) deadline: Time,
    pub(super) idempotent: bool,
    pub(super) target: Target,
    pub(super) hedge: Hedge,
    pub(super) trace: Option<Trace>,
    pub(super) span: Span,
    pub(super) answer: Answer,
}

/// What the instance on a node answered to a call of every one.
pub(super) type OneOfMany = (PublicKey, Result<Bytes, CallFailed>);

/// Where a call's answer goes.
#[derive(Debug)]
pub(super) enum Answer {
    One(oneshot::Sender<Result<Bytes, CallFailed>>),
    /// Every instance's, with its node.
    Every(oneshot::Sender<Result<Vec<OneOfMany>, CallFailed>>),
    /// The items as they come, and how they end.
    Items(mpsc::Sender<Item>, oneshot::Sender<Result<(), CallFailed>>),
}

/// What a client shares with the services driver.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Calls that wait until an instance is known.
    pub(super) waiting: AtomicUsize,
}

/// What a client's task is made of.
pub(super) struct Parts {
    pub(super) service: Arc<str>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) balancer: balancer::Config,
    pub(super) caller: caller::Config,
    pub(super) route: Route,
    pub(super) instances: watch::Receiver<Vec<Listed>>,
    pub(super) shared: Arc<Shared>,
    pub(super) seed: u64,
}

pub(super) struct Balancing {
    parts: Parts,
    balancer: Balancer,
    calls: BTreeMap<u64, Open>,
    /// Calls for which no instance is known yet, by their deadlines.
    waiting: BTreeSet<(Time, u64)>,
    attempts: BTreeMap<AttemptId, Attempt>,
    sessions: Sessions,
    /// When the last thing happened. Reading the clock for each call would cost as much as some of
    /// what is done for it.
    now: Time,
}

/// A call under way.
#[derive(Debug)]
struct Open {
    /// Apart, so that the map of calls has little to move.
    call: Box<NewCall>,
    began: Time,
    /// How the last attempt ended.
    result: Option<(AttemptId, Result<Bytes, CallFailed>)>,
    answers: Vec<OneOfMany>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    call: u64,
    session: u64,
}

impl Open {
    /// How this attempt ended, if it was the last.
    fn take(&mut self, attempt: AttemptId) -> Option<Result<Bytes, CallFailed>> {
        self.result.take_if(|(ended, _)| *ended == attempt).map(|(_, result)| result)
    }
}

impl Balancing {
    pub(super) fn new(parts: Parts) -> Self {
        let sessions = Sessions::new(calling::Parts {
            clock: parts.clock,
            config: parts.caller.clone(),
            route: parts.route.clone(),
        });
        Self {
            balancer: Balancer::new(parts.balancer.clone(), parts.seed),
            parts,
            calls: BTreeMap::new(),
            waiting: BTreeSet::new(),
            attempts: BTreeMap::new(),
            sessions,
            now: Time::ZERO,
        }
    }

    /// Runs until no handle is left, or the node's driver is gone.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut asked = Vec::new();
        let mut alarm = Alarm::new(self.parts.clock);
        self.tick();
        self.on_instances();
        loop {
            self.settle();
            let wake = self.poll_timeout();
            tokio::select! {
                received = requests.recv_many(&mut asked, 64) => {
                    if received == 0 {
                        return;
                    }
                    self.tick();
                    for request in asked.drain(..) {
                        self.on_request(request);
                    }
                }
                () = self.sessions.run() => self.now = self.sessions.now(),
                changed = self.parts.instances.changed() => match changed {
                    Ok(()) => {
                        self.tick();
                        self.on_instances();
                    }
                    Err(_) => return,
                },
                () = alarm.wait(wake) => {
                    self.tick();
                    self.on_timeout();
                }
            }
        }
    }

    fn tick(&mut self) {
        self.now = self.sessions.tick();
    }

    fn poll_timeout(&self) -> Option<Time> {
        let waiting = self.waiting.first().map(|(deadline, _)| *deadline);
        let others = [self.balancer.poll_timeout(), self.sessions.poll_timeout()];
        waiting.into_iter().chain(others.into_iter().flatten()).min()
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Call(call) => self.on_call(call),
            Request::Cancel { id } => {
                if let Some(open) = self.calls.get(&id)
                    && self.waiting.remove(&(open.call.deadline, id))
                {
                    self.calls.remove(&id);
                    self.count_waiting();
                }
                self.handle(Input::Cancel(CallId(id)));
            }
            Request::Consumed { session, attempt, credit } => {
                self.sessions.consumed(session, attempt, credit);
            }
            Request::Instances { reply } => {
                let _ = reply.send(self.balancer.instances().map(ServiceInstance::from).collect());
            }
        }
    }

    fn on_call(&mut self, call: Box<NewCall>) {
        let id = call.id;
        let began = self.now;
        let deadline = call.deadline;
        let open = Open { call, began, result: None, answers: Vec::new() };
        self.calls.insert(id, open);
        if self.has_instance() {
            self.submit(id);
        } else if self.waiting.len() >= self.parts.balancer.max_calls {
            self.finish(id, Err(CallFailed::Busy));
        } else {
            // One that serves may be found in time.
            self.waiting.insert((deadline, id));
            self.count_waiting();
        }
    }

    fn has_instance(&self) -> bool {
        self.parts.instances.borrow().iter().any(|listed| !listed.draining)
    }

    fn count_waiting(&self) {
        self.parts.shared.waiting.store(self.waiting.len(), Ordering::Relaxed);
    }

    fn submit(&mut self, id: u64) {
        let Some(Open { call, .. }) = self.calls.get(&id) else { return };
        // What a reader has of a stream can't be taken back, so it is tried once.
        let is_stream = matches!(call.answer, Answer::Items(..));
        let call = balancer::Call {
            id: CallId(id),
            deadline: call.deadline,
            idempotent: call.idempotent && !is_stream,
            target: call.target,
            hedge: call.hedge,
        };
        self.handle(Input::Call(call));
    }

    fn on_instances(&mut self) {
        let listed = self.parts.instances.borrow_and_update().clone();
        let peers: BTreeSet<PublicKey> = listed.iter().map(|each| each.instance.peer).collect();
        self.handle(Input::Instances(listed));
        // What those were asked that are gone is asked elsewhere, where it may be.
        self.sessions.retain(&peers);
        if self.has_instance() {
            for (_, id) in std::mem::take(&mut self.waiting) {
                self.submit(id);
            }
            self.count_waiting();
        }
    }

    fn on_timeout(&mut self) {
        let now = self.now;
        while let Some((deadline, id)) = self.waiting.first().copied()
            && deadline <= now
        {
            self.waiting.remove(&(deadline, id));
            self.finish(id, Err(self.no_instance()));
        }
        self.count_waiting();
        self.sessions.on_timeout();
        self.handle(Input::Timeout);
    }

    fn no_instance(&self) -> CallFailed {
        CallFailed::NoInstance { service: self.parts.service.to_string() }
    }

    /// Hears how attempts have ended, and what follows from that.
    fn settle(&mut self) {
        while let Some(told) = self.sessions.told() {
            match told {
                Told::Ended { attempt, outcome } => {
                    let (ended, result) = judge(outcome);
                    self.end(attempt, ended, result);
                }
                Told::Unreached { attempt, reason } => {
                    let reason = reason.as_ref().to_owned();
                    let result = Err(CallFailed::Unreachable { reason });
                    self.end(attempt, Ended::NotStarted, result);
                }
            }
        }
    }

    /// An attempt has ended by itself.
    fn end(&mut self, attempt: AttemptId, ended: Ended, result: Result<Bytes, CallFailed>) {
        let Some(Attempt { call, .. }) = self.attempts.remove(&attempt) else { return };
        if let Some(open) = self.calls.get_mut(&call) {
            open.result = Some((attempt, result));
        }
        self.handle(Input::Ended { attempt, ended });
    }

    fn handle(&mut self, input: Input) {
        self.balancer.handle(self.now, input);
        while let Some(output) = self.balancer.poll_output() {
            self.act(output);
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Attempt { call, attempt, instance, .. } => {
                self.send(call.0, attempt, instance);
            }
            Output::Cancel { attempt } => {
                if let Some(Attempt { session, .. }) = self.attempts.remove(&attempt) {
                    self.sessions.cancel(session, attempt);
                }
            }
            Output::Answer { call, attempt, instance, .. } => {
                if let Some(open) = self.calls.get_mut(&call.0)
                    && let Some(result) = open.take(attempt)
                {
                    open.answers.push((instance.peer, result));
                }
            }
            Output::Done { call, outcome } => self.on_done(call.0, outcome),
            Output::Decision(decision) => self.note(decision),
        }
    }

    fn note(&self, decision: Decision) {
        self.parts.metrics.decided(decision);
        let call = match decision {
            Decision::Picked { call, .. }
            | Decision::Retried { call, .. }
            | Decision::Hedged { call }
            | Decision::BudgetEmpty { call } => Some(call),
            _ => None,
        };
        match call.and_then(|call| self.calls.get(&call.0)) {
            Some(open) => open.call.span.in_scope(|| tracing::debug!(?decision)),
            None => tracing::debug!(service = &*self.parts.service, ?decision),
        }
    }

    fn send(&mut self, id: u64, attempt: AttemptId, instance: InstanceId) {
        let Some(Open { call, .. }) = self.calls.get(&id) else { return };
        let items = match &call.answer {
            Answer::Items(items, _) => Some(items.clone()),
            Answer::One(_) | Answer::Every(_) => None,
        };
        let call = caller::Call {
            service: self.parts.service.clone(),
            endpoint: call.endpoint.clone(),
            deadline: call.deadline,
            idempotent: call.idempotent,
            streaming: items.is_some(),
            trace: call.trace,
            body: call.body.clone(),
        };
        let session = self.sessions.call(instance.peer, Asked { attempt, call, items });
        self.attempts.insert(attempt, Attempt { call: id, session });
    }

    fn on_done(&mut self, id: u64, outcome: balancer::Outcome) {
        let Some(open) = self.calls.get_mut(&id) else { return };
        let result = match outcome {
            balancer::Outcome::Attempted { attempt, .. } => {
                open.take(attempt).unwrap_or_else(|| Err(CallFailed::Lost))
            }
            balancer::Outcome::Completed => Ok(Bytes::new()),
            balancer::Outcome::DeadlineExceeded => Err(CallFailed::DeadlineExceeded),
            balancer::Outcome::Cancelled => Err(CallFailed::Cancelled),
            balancer::Outcome::NoInstance => Err(self.no_instance()),
            balancer::Outcome::Overloaded { retry_after } => {
                Err(CallFailed::Overloaded { retry_after })
            }
            balancer::Outcome::Unavailable { retry_after } => {
                Err(CallFailed::Unavailable { retry_after })
            }
            balancer::Outcome::Busy => Err(CallFailed::Busy),
        };
        self.finish(id, result);
    }

    fn finish(&mut self, id: u64, result: Result<Bytes, CallFailed>) {
        let Some(Open { call, began, answers, .. }) = self.calls.remove(&id) else { return };
        let took = self.now.since(began);
        self.parts.metrics.call_seconds.observe(took.as_secs_f64());
        self.parts.metrics.called(result.as_ref().err().map_or("ok", CallFailed::kind));
        if let Err(error) = &result {
            call.span.in_scope(|| tracing::debug!(%error, "call failed"));
        }
        // Who doesn't wait any more has cancelled.
        match call.answer {
            Answer::One(reply) => drop(reply.send(result)),
            Answer::Every(reply) if answers.is_empty() => {
                drop(reply.send(result.map(|_| Vec::new())));
            }
            Answer::Every(reply) => drop(reply.send(Ok(answers))),
            Answer::Items(_, end) => drop(end.send(result.map(|_| ()))),
        }
    }
}

/// What a session's outcome is to the balancer, and to the caller.
fn judge(outcome: Outcome) -> (Ended, Result<Bytes, CallFailed>) {
    match outcome {
        Outcome::Reply(bytes) => (Ended::Ok, Ok(bytes)),
        Outcome::Ended => (Ended::Ok, Ok(Bytes::new())),
        Outcome::Failed(error) => judge_error(error),
        Outcome::Lost => (Ended::Failed, Err(CallFailed::Lost)),
        Outcome::Unsent(reason) => {
            let reason = reason.to_string();
            (Ended::NotStarted, Err(CallFailed::Unreachable { reason }))
        }
    }
}

fn judge_error(error: CallError) -> (Ended, Result<Bytes, CallFailed>) {
    let retry_after = error.retry_after.unwrap_or_default();
    match error.code {
        Code::Overloaded => {
            (Ended::Overloaded { retry_after }, Err(CallFailed::Overloaded { retry_after }))
        }
        // Another may have what this one lacks.
        Code::NotFound => (Ended::NotStarted, Err(CallFailed::Refused(error))),
        Code::DeadlineExceeded => (Ended::Failed, Err(CallFailed::DeadlineExceeded)),
        Code::Application(code) => {
            let failure = super::Failure::new(code, error.message);
            (Ended::ApplicationError, Err(CallFailed::Service(failure)))
        }
        // The same call would come to the same anywhere.
        Code::Malformed | Code::Refused | Code::Dropped => {
            (Ended::ApplicationError, Err(CallFailed::Refused(error)))
        }
        _ => (Ended::Failed, Err(CallFailed::Refused(error))),
    }
}
