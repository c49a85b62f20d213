//! Clocks that disagree.

use std::time::Duration;

use aether_core::Time;

use crate::{Draw, draw::micros};

/// How wrong a node's clocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Clock {
    /// How much faster than virtual time the monotonic clock runs, in millionths; slower if
    /// negative. Real ones stay within 200. At least -900,000 and at most 9,000,000.
    pub drift: i32,
    /// Each life of the node draws the origin of its monotonic clock up to this, so that a time
    /// that a protocol stored or sent is found out. Zero: the clock starts at virtual time.
    pub origin: Duration,
    /// How far the wall clock is ahead. It doesn't drift: somebody sets it.
    pub ahead: Duration,
}

impl Clock {
    /// Clocks that show virtual time.
    pub const TRUE: Self = Self { drift: 0, origin: Duration::ZERO, ahead: Duration::ZERO };

    pub(crate) fn boot(self, now: Time, draw: &mut Draw) -> RunningClock {
        assert!((-900_000..=9_000_000).contains(&self.drift), "a drift of {}", self.drift);
        let offset = match self.origin {
            Duration::ZERO => now,
            origin => Time::ZERO + draw.duration(Duration::ZERO..=origin),
        };
        RunningClock {
            booted: now,
            offset,
            rate: u64::try_from(1_000_000 + i64::from(self.drift)).expect("drift is bounded"),
            ahead: self.ahead,
        }
    }
}

/// A node's clocks during one life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningClock {
    booted: Time,
    offset: Time,
    rate: u64,
    ahead: Duration,
}

impl RunningClock {
    /// What the monotonic clock shows at a virtual time.
    pub(crate) fn local(&self, now: Time) -> Time {
        let elapsed = u128::from(micros(now.since(self.booted)));
        let shown = elapsed * u128::from(self.rate) / 1_000_000;
        self.offset + Duration::from_micros(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The first virtual time at which the monotonic clock shows `local` or later.
    pub(crate) fn global(&self, local: Time) -> Time {
        let shown = u128::from(micros(local.since(self.offset)));
        let elapsed = (shown * 1_000_000).div_ceil(u128::from(self.rate));
        self.booted + Duration::from_micros(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// What the wall clock shows.
    pub(crate) fn wall(&self, now: Time) -> Time {
        now + self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_true_clock_shows_virtual_time() {
        let now = Time::from_millis(1234);
        let clock = Clock::TRUE.boot(Time::from_millis(1000), &mut Draw::new(0));
        assert_eq!((clock.local(now), clock.global(now), clock.wall(now)), (now, now, now));
    }

    #[test]
    fn a_fast_clock_runs_ahead() {
        let clock = Clock { drift: 100_000, ..Clock::TRUE }.boot(Time::ZERO, &mut Draw::new(0));
        assert_eq!(clock.local(Time::from_millis(1000)), Time::from_millis(1100));
        let slow = Clock { drift: -100_000, ..Clock::TRUE }.boot(Time::ZERO, &mut Draw::new(0));
        assert_eq!(slow.local(Time::from_millis(1000)), Time::from_millis(900));
    }

    #[test]
    fn waking_up_is_never_early() {
        let mut draw = Draw::new(5);
        for _ in 0..10_000 {
            let drift = i32::try_from(draw.number(0..=1_000_000)).unwrap() - 500_000;
            let clock = Clock { drift, origin: Duration::from_secs(9), ahead: Duration::ZERO };
            let clock = clock.boot(Time::from_micros(draw.number(0..=1 << 40)), &mut draw);
            let goal = clock.offset + Duration::from_micros(draw.number(1..=1 << 40));
            let woken = clock.global(goal);
            assert!(clock.local(woken) >= goal, "{clock:?} at {woken:?} for {goal:?}");
            assert!(clock.local(woken - Duration::from_micros(1)) < goal, "{clock:?} {goal:?}");
        }
    }

    #[test]
    fn the_wall_clock_is_its_own() {
        let clock = Clock { ahead: Duration::from_secs(3), ..Clock::TRUE };
        let clock = clock.boot(Time::ZERO, &mut Draw::new(0));
        assert_eq!(clock.wall(Time::from_millis(1)), Time::from_millis(3001));
        assert_eq!(clock.local(Time::from_millis(1)), Time::from_millis(1));
    }
}
