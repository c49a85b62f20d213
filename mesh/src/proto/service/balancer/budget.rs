//! The retry budget: how many attempts a client may add to its calls.

use std::time::Duration;

use aether_core::Time;

/// How many retries and hedges a client may add, after Finagle's `RetryBudget`.
///
/// Over any time a client makes at most `fraction · calls + min_per_second · (seconds + memory)`
/// of them.
#[derive(Clone, Debug)]
pub struct BudgetConfig {
    /// Retries and hedges earned by one call. 0.2 adds at most a fifth to the load of a service
    /// that fails everything.
    pub fraction: f64,
    /// Retries and hedges a second that a client has without earning them, so that one that calls
    /// seldom can retry at all.
    pub min_per_second: f64,
    /// What is earned fades with this time constant, so a quiet night doesn't pay for a storm in
    /// the morning. As many seconds of `min_per_second` can be saved up.
    pub memory: Duration,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { fraction: 0.2, min_per_second: 10.0, memory: Duration::from_secs(10) }
    }
}

/// Tokens of which each pays for one retry or hedge.
#[derive(Debug)]
pub(super) struct Budget {
    earned: f64,
    reserve: f64,
    at: Time,
}

impl Budget {
    pub(super) fn new(config: &BudgetConfig) -> Self {
        let reserve = config.min_per_second * config.memory.as_secs_f64();
        Self { earned: 0.0, reserve, at: Time::ZERO }
    }

    /// A call came.
    pub(super) fn earn(&mut self, now: Time, config: &BudgetConfig) {
        self.pass(now, config);
        self.earned += config.fraction;
    }

    /// Pays for one attempt, if there is enough.
    pub(super) fn spend(&mut self, now: Time, config: &BudgetConfig) -> bool {
        self.pass(now, config);
        if self.earned + self.reserve < 1.0 {
            return false;
        }
        let from_earned = self.earned.min(1.0);
        self.earned -= from_earned;
        self.reserve -= 1.0 - from_earned;
        true
    }

    fn pass(&mut self, now: Time, config: &BudgetConfig) {
        let (passed, memory) = (now.since(self.at).as_secs_f64(), config.memory.as_secs_f64());
        self.earned *= (-passed / memory).exp();
        let full = config.min_per_second * memory;
        self.reserve = (self.reserve + passed * config.min_per_second).min(full);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(min_per_second: f64) -> BudgetConfig {
        BudgetConfig { min_per_second, ..BudgetConfig::default() }
    }

    fn spend_all(budget: &mut Budget, now: Time, config: &BudgetConfig) -> usize {
        (0..10_000).take_while(|_| budget.spend(now, config)).count()
    }

    #[test]
    fn calls_earn_a_fraction() {
        let config = config(0.0);
        let mut budget = Budget::new(&config);
        for _ in 0..1000 {
            budget.earn(Time::ZERO, &config);
        }
        // A thousand sums of 0.2 miss 200 by a rounding error.
        assert!((199..=200).contains(&spend_all(&mut budget, Time::ZERO, &config)));
    }

    #[test]
    fn what_is_earned_fades() {
        let config = config(0.0);
        let mut budget = Budget::new(&config);
        for _ in 0..1000 {
            budget.earn(Time::ZERO, &config);
        }
        assert_eq!(spend_all(&mut budget, Time::from_millis(10_000), &config), 73, "200 / e");
    }

    #[test]
    fn the_minimum_comes_with_time_and_is_saved_up_so_far() {
        let config = config(2.0);
        let mut budget = Budget::new(&config);
        assert_eq!(spend_all(&mut budget, Time::ZERO, &config), 20);
        assert_eq!(spend_all(&mut budget, Time::from_millis(1500), &config), 3);
        assert_eq!(spend_all(&mut budget, Time::from_millis(1_000_000), &config), 20);
    }
}
