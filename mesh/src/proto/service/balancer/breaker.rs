//! The circuit breaker of one instance.
//!
//! After Nygard, "Release It!" (2007), section 5.2: closed lets everything through and counts, open
//! lets nothing through, half-open lets one call through to see.

use std::time::Duration;

use aether_core::Time;
use rand_chacha::{ChaCha12Rng, rand_core::Rng as _};

use super::types::AttemptId;

/// When a breaker opens, and for how long.
#[derive(Clone, Debug)]
pub struct BreakerConfig {
    /// Failures one after another that open it.
    pub failures_in_a_row: u32,
    /// Share of failures in `window` that opens it.
    pub failure_rate: f64,
    /// Attempts that `window` must hold before their share of failures means anything.
    pub min_calls: u32,
    /// How far back the share of failures is counted.
    pub window: Duration,
    /// How long it stays open at first. Each probe that fails doubles it; a random part of up to
    /// half is taken off, so that clients don't probe at once.
    pub open: Duration,
    /// The longest it stays open.
    pub max_open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            failure_rate: 0.5,
            min_calls: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            max_open: Duration::from_secs(30),
        }
    }
}

/// What an attempt says about its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// Nothing: it was refused politely, or nobody waited for its end.
    Neither,
}

/// How a breaker changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened(Duration),
    HalfOpened,
    Closed,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// No call goes through before this time, but where all breakers are open.
    Open {
        /// When a probe may go.
        until: Time,
    },
    /// One call goes through to see whether the instance has recovered.
    HalfOpen {
        /// The attempt that is to show it, if one is under way.
        probe: Option<AttemptId>,
    },
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: BreakerState,
    /// When the state last became open or closed. Attempts sent before say nothing any more.
    since: Time,
    failures_in_a_row: u32,
    window: Window,
    /// How often it opened since it was last closed.
    openings: u32,
    /// Whether the probe went before its time.
    early: bool,
}

impl Breaker {
    pub(super) fn new(now: Time) -> Self {
        Self {
            state: BreakerState::Closed,
            since: now,
            failures_in_a_row: 0,
            window: Window::default(),
            openings: 0,
            early: false,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.state
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == BreakerState::Closed
    }

    pub(super) fn is_probing(&self) -> bool {
        matches!(self.state, BreakerState::HalfOpen { probe: Some(_) })
    }

    pub(super) fn is_probed_by(&self, attempt: AttemptId) -> bool {
        self.state == BreakerState::HalfOpen { probe: Some(attempt) }
    }

    /// Whether it lets a call through now.
    pub(super) fn admits(&self, now: Time) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open { until } => now >= until,
            BreakerState::HalfOpen { probe } => probe.is_none(),
        }
    }

    /// When a probe may go; now or earlier if it isn't open.
    pub(super) fn next_probe(&self) -> Time {
        match self.state {
            BreakerState::Open { until } => until,
            BreakerState::Closed | BreakerState::HalfOpen { .. } => self.since,
        }
    }

    /// An attempt goes to the instance. If the breaker isn't closed and a probe is due, or `force`
    /// is set, the attempt is the probe.
    pub(super) fn begin(&mut self, now: Time, attempt: AttemptId, force: bool) -> Option<Change> {
        match self.state {
            BreakerState::Open { until } if force || now >= until => {
                self.early = now < until;
                self.state = BreakerState::HalfOpen { probe: Some(attempt) };
                Some(Change::HalfOpened)
            }
            BreakerState::HalfOpen { probe: None } => {
                self.state = BreakerState::HalfOpen { probe: Some(attempt) };
                None
            }
            _ => None,
        }
    }

    /// An attempt that was sent at `sent` has ended.
    pub(super) fn end(
        &mut self,
        now: Time,
        (attempt, sent): (AttemptId, Time),
        verdict: Verdict,
        config: &BreakerConfig,
        rng: &mut ChaCha12Rng,
    ) -> Option<Change> {
        match self.state {
            BreakerState::HalfOpen { probe } if probe == Some(attempt) => match verdict {
                Verdict::Success => {
                    *self = Self::new(now);
                    Some(Change::Closed)
                }
                Verdict::Failure => Some(self.open(now, config, rng)),
                Verdict::Neither => {
                    self.state = BreakerState::HalfOpen { probe: None };
                    None
                }
            },
            BreakerState::Closed if sent >= self.since => {
                self.count(now, verdict, config);
                self.is_too_bad(now, config).then(|| self.open(now, config, rng))
            }
            _ => None,
        }
    }

    fn count(&mut self, now: Time, verdict: Verdict, config: &BreakerConfig) {
        match verdict {
            Verdict::Success => self.failures_in_a_row = 0,
            Verdict::Failure => self.failures_in_a_row += 1,
            Verdict::Neither => return,
        }
        self.window.add(now, verdict == Verdict::Failure, config.window);
    }

    fn is_too_bad(&self, now: Time, config: &BreakerConfig) -> bool {
        let (calls, failures) = self.window.totals(now, config.window);
        let rate = f64::from(failures) / f64::from(calls.max(1));
        self.failures_in_a_row >= config.failures_in_a_row
            || calls >= config.min_calls && rate >= config.failure_rate
    }

    fn open(&mut self, now: Time, config: &BreakerConfig, rng: &mut ChaCha12Rng) -> Change {
        // Probes before their time would make it stay open for ever longer.
        let again = !self.is_closed() && !self.early;
        self.openings = if again { self.openings.saturating_add(1) } else { self.openings };
        let whole = doubled(config.open, self.openings).min(config.max_open);
        let length = whole / 2 + (whole / 2).mul_f64(fraction(rng));
        self.state = BreakerState::Open { until: now + length };
        self.since = now;
        Change::Opened(length)
    }
}

/// So long, doubled so many times.
pub(super) fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX))
}

/// A number at or above 0 and below 1.
pub(super) fn fraction(rng: &mut ChaCha12Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

const SLICES: usize = 10;

/// Attempts and failures of the last while, in slices of a tenth of it.
#[derive(Debug, Default)]
struct Window([Slice; SLICES]);

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// The slice's number since the clock's origin.
    number: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    fn number(now: Time, window: Duration) -> u64 {
        let slice = (window / SLICES as u32).as_micros().max(1);
        now.as_micros() / u64::try_from(slice).unwrap_or(u64::MAX)
    }

    fn add(&mut self, now: Time, failed: bool, window: Duration) {
        let number = Self::number(now, window);
        let slice = &mut self.0[(number % SLICES as u64) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice.calls = slice.calls.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
    }

    /// Attempts, and how many of them failed.
    fn totals(&self, now: Time, window: Duration) -> (u32, u32) {
        let number = Self::number(now, window);
        let slices = self.0.iter().filter(|slice| number - slice.number < SLICES as u64);
        slices.fold((0, 0), |(calls, failures), slice| {
            (calls.saturating_add(slice.calls), failures.saturating_add(slice.failures))
        })
    }
}

#[cfg(test)]
mod tests;
