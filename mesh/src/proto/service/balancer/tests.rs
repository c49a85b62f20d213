mod attempts;
mod choice;

use std::time::Duration;

use aether_core::PublicKey;

use super::*;

fn instance(n: u8) -> InstanceId {
    InstanceId { peer: PublicKey::from_bytes([n; 32]), number: n.into() }
}

fn listed(n: u8) -> Listed {
    Listed { instance: instance(n), load: 0, draining: false }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An attempt that was put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Out {
    call: CallId,
    attempt: AttemptId,
    instance: InstanceId,
    time_left: Duration,
}

struct Fixture {
    balancer: Balancer,
    now: Time,
    next_call: u64,
    sent: Vec<Out>,
    cancelled: Vec<AttemptId>,
    answers: Vec<(InstanceId, Ended)>,
    done: Vec<(CallId, Outcome)>,
    decisions: Vec<Decision>,
}

impl Fixture {
    /// With instances 1 to `n`.
    fn new(config: Config, n: u8) -> Self {
        let mut fixture = Self {
            balancer: Balancer::new(config, 7),
            now: Time::from_millis(1000),
            next_call: 0,
            sent: Vec::new(),
            cancelled: Vec::new(),
            answers: Vec::new(),
            done: Vec::new(),
            decisions: Vec::new(),
        };
        fixture.list((1..=n).map(listed));
        fixture
    }

    fn list(&mut self, list: impl IntoIterator<Item = Listed>) {
        self.handle(Input::Instances(list.into_iter().collect()));
    }

    fn handle(&mut self, input: Input) {
        self.balancer.handle(self.now, input);
        while let Some(output) = self.balancer.poll_output() {
            match output {
                Output::Attempt { call, attempt, instance, time_left } => {
                    self.sent.push(Out { call, attempt, instance, time_left });
                }
                Output::Cancel { attempt } => self.cancelled.push(attempt),
                Output::Answer { instance, ended, .. } => self.answers.push((instance, ended)),
                Output::Done { call, outcome } => self.done.push((call, outcome)),
                Output::Decision(decision) => self.decisions.push(decision),
            }
        }
        self.check();
    }

    /// The invariant of the module.
    fn check(&self) {
        for view in self.balancer.instances() {
            let running = self.balancer.calls.values().flat_map(|open| &open.running);
            let count = running.filter(|sent| sent.instance == view.instance).count();
            assert_eq!(view.in_flight, count, "{view:?}");
        }
        assert_eq!(self.balancer.timers.len(), self.balancer.calls.len());
    }

    /// An idempotent call to any instance with ten seconds.
    fn plain(&mut self) -> Call {
        self.next_call += 1;
        Call {
            id: CallId(self.next_call),
            deadline: self.now + ms(10_000),
            idempotent: true,
            target: Target::Any,
            hedge: Hedge::Never,
        }
    }

    /// Makes a call and answers the attempt that it put out.
    fn call(&mut self, call: Call) -> Out {
        self.handle(Input::Call(call));
        self.sent.pop().expect("an attempt")
    }

    fn any(&mut self) -> Out {
        let call = self.plain();
        self.call(call)
    }

    fn end(&mut self, out: Out, ended: Ended) {
        self.handle(Input::Ended { attempt: out.attempt, ended });
    }

    fn after(&mut self, wait: Duration) {
        self.now = self.now + wait;
        self.handle(Input::Timeout);
    }

    /// Waits until the balancer wants something.
    fn wait(&mut self) {
        self.now = self.balancer.poll_timeout().expect("a timeout");
        self.handle(Input::Timeout);
    }

    /// One call after another; an instance's attempt takes so long. Answers how many each got.
    fn traffic(&mut self, calls: usize, took: impl Fn(InstanceId) -> Duration) -> Vec<usize> {
        let mut counts = vec![0; 256];
        for _ in 0..calls {
            let out = self.any();
            counts[out.instance.number as usize] += 1;
            self.now = self.now + took(out.instance);
            self.end(out, Ended::Ok);
        }
        counts
    }

    /// Fails calls that aren't retried until the breaker of every instance in `bad` is open.
    fn break_all(&mut self, bad: &[u8]) {
        for _ in 0..1000 {
            if bad.iter().all(|n| self.is_open(*n)) {
                break;
            }
            let out = self.once();
            let fails = bad.contains(&(out.instance.number as u8));
            self.end(out, if fails { Ended::Failed } else { Ended::Ok });
        }
        assert!(bad.iter().all(|n| self.is_open(*n)), "open by now");
        self.done.clear();
        self.decisions.clear();
    }

    /// A call that isn't retried once it may have been started.
    fn once(&mut self) -> Out {
        let call = Call { idempotent: false, ..self.plain() };
        self.call(call)
    }

    fn view(&self, n: u8) -> View {
        self.balancer.instances().find(|view| view.instance == instance(n)).expect("listed")
    }

    fn is_open(&self, n: u8) -> bool {
        matches!(self.view(n).breaker, BreakerState::Open { .. })
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.done.drain(..).map(|(_, outcome)| outcome).collect()
    }
}
