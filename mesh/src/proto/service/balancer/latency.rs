//! How fast instances answer.

use std::{collections::VecDeque, time::Duration};

use aether_core::Time;

/// What an instance without a measurement costs while it is being asked for the first time: more
/// than any that has one, so that it gets no second call before its first answer.
const UNKNOWN: f64 = 1e9;

/// Peak-EWMA latency of one instance (Finagle's `peakEwma`, linkerd's default): it jumps up to a
/// slower answer at once and comes down with an average whose weights fade with time.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Seconds.
    estimate: Option<f64>,
    at: Time,
}

impl Latency {
    /// An answer took so long.
    pub(super) fn observe(&mut self, now: Time, took: Duration, decay: Duration) {
        // Below a microsecond the clock says nothing, and a cost of zero would hide what is in
        // flight.
        let sample = took.as_secs_f64().max(1e-6);
        let estimate = match self.estimate {
            Some(estimate) if sample < estimate => {
                let passed = now.since(self.at).as_secs_f64();
                let old = (-passed / decay.as_secs_f64()).exp();
                estimate * old + sample * (1.0 - old)
            }
            _ => sample,
        };
        self.estimate = Some(estimate);
        self.at = now;
    }

    /// No answer came for so long: a lower bound of what it would have taken.
    pub(super) fn at_least(&mut self, now: Time, ran: Duration) {
        if self.is_within(ran) {
            self.estimate = Some(ran.as_secs_f64().max(1e-6));
            self.at = now;
        }
    }

    /// Whether so long is no less than what is expected. True if nothing is expected yet.
    pub(super) fn is_within(&self, ran: Duration) -> bool {
        self.estimate.is_none_or(|estimate| ran.as_secs_f64() >= estimate)
    }

    /// Another was preferred: expects this share less.
    pub(super) fn forgive(&mut self, share: f64) {
        self.estimate = self.estimate.map(|estimate| (estimate * (1.0 - share)).max(1e-6));
    }

    /// What is expected.
    pub(super) fn estimate(&self) -> Option<Duration> {
        self.estimate.map(Duration::from_secs_f64)
    }

    /// What one more call would cost where so many are in flight.
    pub(super) fn cost(&self, in_flight: usize) -> f64 {
        let queue = in_flight as f64 + 1.0;
        match self.estimate {
            Some(estimate) => estimate * queue,
            None if in_flight == 0 => 0.0,
            None => UNKNOWN * queue,
        }
    }
}

/// The latest latencies of a service, whoever answered.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Duration>);

impl Recent {
    /// Takes one and forgets the oldest above `max`.
    pub(super) fn add(&mut self, latency: Duration, max: usize) {
        self.0.push_back(latency);
        while self.0.len() > max {
            self.0.pop_front();
        }
    }

    /// The 95th percentile, of at least `min` samples.
    pub(super) fn p95(&self, min: usize) -> Option<Duration> {
        if self.0.is_empty() || self.0.len() < min {
            return None;
        }
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        let rank = (sorted.len() * 95).div_ceil(100) - 1;
        Some(*sorted.select_nth_unstable(rank).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_jumps_up_and_comes_down_with_time() {
        let mut latency = Latency::default();
        latency.observe(Time::ZERO, ms(10), DECAY);
        latency.observe(Time::ZERO, ms(100), DECAY);
        assert_eq!(latency.estimate(), Some(ms(100)));
        latency.observe(Time::ZERO, ms(10), DECAY);
        assert_eq!(latency.estimate(), Some(ms(100)), "many answers at once weigh nothing");
        latency.observe(Time::from_millis(10_000), ms(10), DECAY);
        let third = latency.estimate().unwrap();
        assert!((ms(43)..ms(44)).contains(&third), "10 + 90 / e, not {third:?}");
    }

    #[test]
    fn silence_only_raises() {
        let mut latency = Latency::default();
        latency.observe(Time::ZERO, ms(10), DECAY);
        latency.at_least(Time::from_millis(60_000), ms(5));
        assert_eq!(latency.estimate(), Some(ms(10)));
        latency.at_least(Time::from_millis(60_000), ms(50));
        assert_eq!(latency.estimate(), Some(ms(50)));
    }

    #[test]
    fn the_unknown_is_free_once_and_then_dear() {
        let (unknown, mut slow) = (Latency::default(), Latency::default());
        slow.observe(Time::ZERO, Duration::from_secs(60), DECAY);
        assert!(unknown.cost(0) < slow.cost(0));
        assert!(unknown.cost(1) > slow.cost(1000));
        assert!(unknown.cost(2) > unknown.cost(1));
    }

    #[test]
    fn percentiles_are_of_the_latest() {
        let mut recent = Recent::default();
        assert_eq!(recent.p95(0), None);
        for n in (1..=1000).rev() {
            recent.add(ms(n), 100);
        }
        assert_eq!(recent.p95(101), None);
        assert_eq!(recent.p95(100), Some(ms(95)));
    }
}
