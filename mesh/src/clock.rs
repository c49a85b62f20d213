//! The drivers' clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aether_core::Time;

/// A monotonic clock that protocols are told, from one origin per node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the drivers own the clock")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        let micros = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        Time::from_micros(micros)
    }

    /// The moment that a protocol's time stands for.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.as_micros())
    }

    /// A moment as protocols are told it.
    pub(crate) fn time(&self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.origin);
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Sleeps until a time; for ever if there is none.
    pub(crate) async fn sleep_until(&self, time: Option<Time>) {
        match time {
            None => std::future::pending().await,
            Some(time) => {
                tokio::time::sleep_until(self.instant(time).into()).await;
            }
        }
    }
}

/// Milliseconds since the Unix epoch; 0 on a machine whose clock is before it.
#[expect(clippy::disallowed_methods, reason = "the drivers own the clock")]
pub(crate) fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
