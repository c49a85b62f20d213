//! Workers serve beside the nodes, one of them ten times slower, and all nodes call. In the middle
//! of it one is killed with -9, and another comes. Every call is idempotent, so none may fail.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures::future::try_join_all;

use crate::{
    api::{Api, CallError},
    lab::{Lab, now},
    report::{float, percentile},
    workers::Workers,
};

const STAGE: &str = "serve";

/// What the workers serve.
pub(super) const SERVICE: &str = "primes";

/// How long a worker takes over an answer, and how long the slow one.
const TAKES: (u64, u64) = (50, 500);

/// Calls that each node has under way.
const DEPTH: usize = 4;

/// Calls in each of the three parts: all well, one killed, another there.
const CALLS: usize = 1000;

/// What a call has time for. The death of a worker is known to all long before.
const DEADLINE: Duration = Duration::from_secs(30);

/// The largest share of the calls that may go to the slow worker.
const SLOW_SHARE: f64 = 0.1;

/// What became of calls.
#[derive(Debug, Default)]
struct Outcome {
    times: Vec<Duration>,
    by: BTreeMap<String, usize>,
    failed: Vec<String>,
    wrong: usize,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let mut workers = Workers::new(&lab.cluster)?;
    for (name, slow) in [("w0", TAKES.0), ("w1", TAKES.0), ("w2", TAKES.0), ("slow", TAKES.1)] {
        workers.start(&lab.cluster, name, slow)?;
    }
    let started = now();
    wait_for_instances(lab, 4).await?;
    lab.report.time(STAGE, "four workers known to all", started.elapsed());

    let well = call_all(lab, 0, async { Ok(()) }).await?;
    report(lab, "all well", &well);
    let share = |outcome: &Outcome| {
        float(outcome.by.get("slow").copied().unwrap_or(0)) / float(outcome.times.len().max(1))
    };
    let slow = share(&well);
    lab.report.check(STAGE, "calls to the slow worker", slow * 100.0, "%", slow < SLOW_SHARE);

    let killed = call_all(lab, CALLS, async { Ok(workers.kill("w0")?) }).await?;
    report(lab, "a worker killed", &killed);

    workers.start(&lab.cluster, "w3", TAKES.0)?;
    wait_for_instances(lab, 4).await?;
    let again = call_all(lab, 2 * CALLS, async { Ok(()) }).await?;
    report(lab, "another worker there", &again);
    let new = again.by.get("w3").copied().unwrap_or(0);
    lab.report.check(STAGE, "calls to the new worker", float(new), "", new > 0);
    let dead = again.by.get("w0").copied().unwrap_or(0);
    lab.report.none(STAGE, "answers of the dead worker", dead);
    workers.stop()?;
    Ok(())
}

/// Waits until every node knows so many instances that serve, and no others.
pub(super) async fn wait_for_instances(lab: &mut Lab, count: usize) -> Result<()> {
    let (started, timeout) = (now(), lab.timeout());
    loop {
        let mut known = Vec::new();
        for node in lab.cluster.nodes() {
            known.push(node.api()?.serving(SERVICE).await?);
        }
        if known.iter().all(|known| *known == count) {
            return Ok(());
        }
        if started.elapsed() > timeout {
            bail!("not all nodes know {count} workers after {timeout:?}, but {known:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes calls through all nodes, and has something happen when a third of them is made.
async fn call_all(
    lab: &Lab,
    first: usize,
    event: impl Future<Output = Result<()>>,
) -> Result<Outcome> {
    let callers = lab.nodes() * DEPTH;
    let (third, reached) = tokio::sync::oneshot::channel();
    let state = std::cell::RefCell::new((first, Some(third), Outcome::default()));
    let apis: Vec<&Api> =
        lab.cluster.nodes().iter().map(|node| node.api()).collect::<Result<_>>()?;
    let call = async |api: &Api| -> Result<()> {
        loop {
            let number = {
                let mut state = state.borrow_mut();
                if state.0 >= first + CALLS {
                    return Ok(());
                }
                state.0 += 1;
                if state.0 == first + CALLS / 3
                    && let Some(third) = state.1.take()
                {
                    let _ = third.send(());
                }
                state.0
            };
            let asked: Instant = now();
            let answer = api.call(SERVICE, "count", number, DEADLINE).await;
            let outcome = &mut state.borrow_mut().2;
            outcome.times.push(asked.elapsed());
            match answer {
                Ok(answer) => {
                    outcome.wrong += usize::from(answer.primes != primes_below(number));
                    *outcome.by.entry(answer.by).or_default() += 1;
                }
                Err(CallError(error)) => outcome.failed.push(error),
            }
        }
    };
    let calls = try_join_all((0..callers).map(|caller| call(apis[caller % apis.len()])));
    let event = async {
        let _ = reached.await;
        event.await
    };
    tokio::try_join!(calls, event)?;
    Ok(state.into_inner().2)
}

fn report(lab: &mut Lab, part: &str, outcome: &Outcome) {
    let report = &mut lab.report;
    let answered: usize = outcome.by.values().sum();
    report.check(STAGE, &format!("answers, {part}"), float(answered), "", answered == CALLS);
    report.none(STAGE, &format!("failed calls, {part}"), outcome.failed.len());
    report.none(STAGE, &format!("wrong answers, {part}"), outcome.wrong);
    for percent in [50, 99] {
        let millis = percentile(&outcome.times, percent).as_secs_f64() * 1000.0;
        report.measure(STAGE, &format!("call p{percent}, {part}"), millis, "ms");
    }
    let longest = outcome.times.iter().max().copied().unwrap_or_default();
    let in_time = longest < DEADLINE;
    let metric = format!("longest call, {part}");
    report.check(STAGE, &metric, longest.as_secs_f64(), "s", in_time);
    for error in outcome.failed.iter().take(3) {
        println!("  {error}");
    }
}

/// What a worker must answer.
fn primes_below(number: usize) -> u64 {
    let is_prime = |n: &usize| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..number).filter(is_prime).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_counted() {
        assert_eq!([0, 2, 3, 10, 100, 1000].map(primes_below), [0, 0, 1, 4, 25, 168]);
    }
}
