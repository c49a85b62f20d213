//! The trait of pure protocols, and the time that they are told.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A protocol that decides and never acts.
///
/// An implementation is a plain struct: no clock, entropy, task, socket or file. Randomness comes
/// in as a seeded generator when it is made. Whoever runs it (a driver, the simulator, a fuzzer)
/// follows one contract:
///
/// 1. call [`handle`](Self::handle) with exactly one input;
/// 2. drain [`poll_output`](Self::poll_output) until it answers `None`, and act on each output in
///    that order;
/// 3. ask [`poll_timeout`](Self::poll_timeout) and call `handle` with the protocol's own timeout
///    input no earlier than that time, unless another input comes first.
///
/// `now` never decreases between calls. A timeout that comes early is harmless: the protocol
/// compares `now` with its own deadlines. What a remote can send is an input like any other, so
/// `handle` doesn't panic on it; a misbehaving peer is reported by an output.
pub trait Protocol {
    /// What can happen to the protocol: a message, a command, a timeout.
    type Input;
    /// What it wants done: a message to send, a value to deliver, a peer to penalize.
    type Output;

    /// Takes one event.
    fn handle(&mut self, now: Time, input: Self::Input);

    /// The next thing to do, in order; `None` when nothing is left.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// When the protocol wants to be called again if nothing else happens.
    fn poll_timeout(&self) -> Option<Time>;
}

/// A point on a driver's monotonic clock, in microseconds since an origin that the driver chose.
///
/// Times of two drivers can't be compared, and nothing that is signed or stored holds one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than every time that a clock reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// The time so many microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The time so many milliseconds after the origin; the latest time if that overflows.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it isn't after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
        assert_eq!(Time::from_millis(u64::MAX), Time::MAX);
    }

    #[test]
    fn difference_undoes_addition() {
        let start = Time::from_millis(5);
        assert_eq!((start + Duration::from_millis(7)).since(start), Duration::from_millis(7));
    }
}
