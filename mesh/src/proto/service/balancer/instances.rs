//! The instances of a service as one client sees them, and the choice between them.

use std::{collections::BTreeMap, time::Duration};

use aether_core::Time;
use rand_chacha::{ChaCha12Rng, rand_core::Rng as _};

use super::{
    breaker::{Breaker, BreakerState, Change, Verdict},
    latency::{Latency, Recent},
    types::{AttemptId, Config, InstanceId, Listed, Outcome, OwnerKey, Why},
};

/// What a client knows of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub instance: InstanceId,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// Attempts of this client under way.
    pub in_flight: usize,
    /// Its peak-EWMA latency, if it was measured.
    pub latency: Option<Duration>,
    /// Its breaker.
    pub breaker: BreakerState,
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) attempt: AttemptId,
    pub(super) instance: InstanceId,
    pub(super) at: Time,
}

/// What the end of an attempt tells of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    Answered,
    Overloaded(Duration),
    Failed,
    /// Another instance answered first.
    Beaten,
    /// The deadline cut it.
    Cut,
    /// The caller went.
    Abandoned,
}

#[derive(Debug)]
struct Instance {
    load: u32,
    draining: bool,
    in_flight: usize,
    latency: Latency,
    breaker: Breaker,
    overloaded_until: Time,
}

impl Instance {
    fn is_eligible(&self, now: Time) -> bool {
        !self.draining && !self.is_overloaded(now) && self.breaker.admits(now)
    }

    fn is_overloaded(&self, now: Time) -> bool {
        now < self.overloaded_until
    }

    fn cost(&self) -> f64 {
        self.latency.cost(self.in_flight)
    }

    fn costs_about(&self, other: &Self) -> bool {
        let (cost, others) = (self.cost(), other.cost());
        cost <= 1.1 * others && others <= 1.1 * cost
    }

    /// Whether it is the better of two: cheaper, or about as cheap and less loaded by its own word.
    fn is_better_than(&self, other: &Self) -> bool {
        if self.costs_about(other) && self.load != other.load {
            self.load < other.load
        } else {
            self.cost() < other.cost()
        }
    }
}

/// The table of instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    table: BTreeMap<InstanceId, Instance>,
    recent: Recent,
}

impl Instances {
    /// Takes over a list; answers how many of it were too many. Those known stay, of the others the
    /// smallest by id come in. `in_flight` counts the attempts under way to an instance.
    pub(super) fn update(
        &mut self,
        now: Time,
        list: &[Listed],
        max: usize,
        in_flight: impl Fn(&InstanceId) -> usize,
    ) -> usize {
        let list: BTreeMap<InstanceId, &Listed> =
            list.iter().map(|listed| (listed.instance, listed)).collect();
        self.table.retain(|id, _| list.contains_key(id));
        let mut left_out = 0;
        for (id, listed) in list {
            if !self.table.contains_key(&id) && self.table.len() >= max {
                left_out += 1;
                continue;
            }
            let instance = self.table.entry(id).or_insert_with(|| Instance {
                load: 0,
                draining: false,
                in_flight: in_flight(&id),
                latency: Latency::default(),
                breaker: Breaker::new(now),
                overloaded_until: Time::ZERO,
            });
            (instance.load, instance.draining) = (listed.load, listed.draining);
        }
        left_out
    }

    pub(super) fn views(&self) -> impl Iterator<Item = View> {
        self.table.iter().map(|(id, instance)| View {
            instance: *id,
            draining: instance.draining,
            in_flight: instance.in_flight,
            latency: instance.latency.estimate(),
            breaker: instance.breaker.state(),
        })
    }

    pub(super) fn p95(&self, config: &Config) -> Option<Duration> {
        self.recent.p95(config.min_samples)
    }

    /// All that take calls.
    pub(super) fn all(&self) -> Vec<InstanceId> {
        self.table.iter().filter(|(_, one)| !one.draining).map(|(id, _)| *id).collect()
    }

    /// Picks for a call's first attempt.
    pub(super) fn first(
        &mut self,
        now: Time,
        key: Option<&OwnerKey>,
        config: &Config,
        rng: &mut ChaCha12Rng,
    ) -> Result<(InstanceId, Why), Outcome> {
        let eligible = self.eligible(now);
        if eligible.is_empty() {
            return self.last_resort(now, &[]);
        }
        if let Some(key) = key {
            return Ok(owner(&eligible, key));
        }
        let due = eligible.iter().copied().find(|id| !self.table[id].breaker.is_closed());
        if let Some(due) = due {
            return Ok((due, Why::Probe));
        }
        Ok((self.cheaper(&eligible, config, rng), Why::Cheaper))
    }

    /// Picks for a retry: one that wasn't tried, or at least didn't fail just now, if there is one;
    /// and none that is only to be probed, if there is another.
    pub(super) fn again(
        &mut self,
        now: Time,
        key: Option<&OwnerKey>,
        tried: &[InstanceId],
        config: &Config,
        rng: &mut ChaCha12Rng,
    ) -> Result<(InstanceId, Why), Outcome> {
        let eligible = self.eligible(now);
        let last = &tried[tried.len().saturating_sub(1)..];
        for (avoid, closed) in
            [(tried, true), (last, true), (tried, false), (last, false), (&[], false)]
        {
            let fit = |id: &InstanceId| {
                !avoid.contains(id) && (!closed || self.table[id].breaker.is_closed())
            };
            let fit: Vec<InstanceId> = eligible.iter().copied().filter(fit).collect();
            match key {
                _ if fit.is_empty() => {}
                Some(key) => return Ok(owner(&fit, key)),
                None if closed => return Ok((self.cheaper(&fit, config, rng), Why::Cheaper)),
                None => {
                    let id = self.cheaper(&fit, config, rng);
                    let closed = self.table[&id].breaker.is_closed();
                    return Ok((id, if closed { Why::Cheaper } else { Why::Probe }));
                }
            }
        }
        self.last_resort(now, tried)
    }

    /// Picks for a hedge: none that was tried, and none in doubt.
    pub(super) fn beside(
        &mut self,
        now: Time,
        key: Option<&OwnerKey>,
        tried: &[InstanceId],
        config: &Config,
        rng: &mut ChaCha12Rng,
    ) -> Option<(InstanceId, Why)> {
        let mut fit = self.eligible(now);
        fit.retain(|id| !tried.contains(id) && self.table[id].breaker.is_closed());
        match key {
            _ if fit.is_empty() => None,
            Some(key) => Some(owner(&fit, key)),
            None => Some((self.cheaper(&fit, config, rng), Why::Cheaper)),
        }
    }

    /// What a call gets if none can be asked; or the instance that is asked all the same, where all
    /// breakers are open and no call is at it.
    pub(super) fn last_resort(
        &self,
        now: Time,
        tried: &[InstanceId],
    ) -> Result<(InstanceId, Why), Outcome> {
        let takers = || self.table.iter().filter(|(_, instance)| !instance.draining);
        let overloaded = takers().filter(|(_, instance)| instance.is_overloaded(now));
        if let Some(until) = overloaded.map(|(_, instance)| instance.overloaded_until).min() {
            return Err(Outcome::Overloaded { retry_after: until.since(now) });
        }
        let open = takers().filter(|(_, instance)| !instance.breaker.is_probing());
        let nearest = open.min_by_key(|(id, one)| (tried.contains(id), one.breaker.next_probe()));
        let until = nearest.map_or(now, |(_, instance)| instance.breaker.next_probe());
        if takers().any(|(_, instance)| instance.breaker.is_probing()) {
            return Err(Outcome::Unavailable { retry_after: until.since(now) });
        }
        nearest.map(|(id, _)| (*id, Why::Probe)).ok_or(Outcome::NoInstance)
    }

    /// Whether any can be asked by right.
    pub(super) fn is_any_eligible(&self, now: Time) -> bool {
        self.table.values().any(|instance| instance.is_eligible(now))
    }

    /// An attempt goes to an instance.
    pub(super) fn begin(&mut self, sent: Sent, why: Why) -> Option<Change> {
        let instance = self.table.get_mut(&sent.instance)?;
        instance.in_flight += 1;
        instance.breaker.begin(sent.at, sent.attempt, why == Why::Probe)
    }

    /// An attempt has ended.
    pub(super) fn end(
        &mut self,
        now: Time,
        sent: Sent,
        lesson: Lesson,
        config: &Config,
        rng: &mut ChaCha12Rng,
    ) -> Option<Change> {
        let ran = now.since(sent.at);
        // The latency of losers counts as well: without it hedging would hide what is slow, and the
        // percentile it goes by would sink.
        if matches!(lesson, Lesson::Answered | Lesson::Beaten) {
            self.recent.add(ran, config.max_samples);
        }
        let instance = self.table.get_mut(&sent.instance)?;
        assert!(instance.in_flight > 0, "what ends was in flight");
        instance.in_flight -= 1;
        let verdict = match lesson {
            Lesson::Answered => Verdict::Success,
            Lesson::Failed => Verdict::Failure,
            // Its hedge gave it time enough.
            Lesson::Beaten if instance.breaker.is_probed_by(sent.attempt) => Verdict::Failure,
            // A call that came with too little time, or was retried too late, proves nothing.
            Lesson::Cut if instance.latency.is_within(ran) => Verdict::Failure,
            _ => Verdict::Neither,
        };
        match lesson {
            Lesson::Answered => instance.latency.observe(now, ran, config.decay),
            Lesson::Overloaded(after) => {
                let until = now + after.min(config.max_retry_after);
                instance.overloaded_until = instance.overloaded_until.max(until);
            }
            Lesson::Beaten => instance.latency.at_least(now, ran),
            Lesson::Failed | Lesson::Cut | Lesson::Abandoned => {
                if instance.latency.estimate().is_some() {
                    instance.latency.at_least(now, ran);
                }
            }
        }
        let (attempt, at) = (sent.attempt, sent.at);
        let change = instance.breaker.end(now, (attempt, at), verdict, &config.breaker, rng);
        if change == Some(Change::Closed) {
            // How slow it was while it failed says nothing any more.
            instance.latency = Latency::default();
            instance.latency.observe(now, ran, config.decay);
        }
        change
    }

    fn eligible(&self, now: Time) -> Vec<InstanceId> {
        self.table.iter().filter(|(_, one)| one.is_eligible(now)).map(|(id, _)| *id).collect()
    }

    /// The better of two drawn at random. The other gets a little cheaper if it is idle: no
    /// instance is left alone for ever because it once was slow.
    fn cheaper(
        &mut self,
        among: &[InstanceId],
        config: &Config,
        rng: &mut ChaCha12Rng,
    ) -> InstanceId {
        let first = below(rng, among.len());
        if among.len() == 1 {
            return among[first];
        }
        let second = (first + 1 + below(rng, among.len() - 1)) % among.len();
        let (first, second) = (among[first], among[second]);
        let (one, other) = (&self.table[&first], &self.table[&second]);
        let (better, worse) =
            if other.is_better_than(one) { (second, first) } else { (first, second) };
        let by_load = one.costs_about(other) && one.load != other.load;
        if let Some(worse) = self.table.get_mut(&worse)
            && worse.in_flight == 0
            && !by_load
        {
            worse.latency.forgive(config.forgiveness);
        }
        better
    }
}

/// The highest in rank for a key.
fn owner(among: &[InstanceId], key: &OwnerKey) -> (InstanceId, Why) {
    let highest = among.iter().max_by_key(|id| (id.weight(key), **id));
    (*highest.expect("one at least can be asked"), Why::Owner)
}

/// A number below `n`, which isn't zero.
fn below(rng: &mut ChaCha12Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}
