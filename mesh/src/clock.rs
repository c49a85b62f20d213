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

    /// Sleeps until a time; for ever if there is none.
    pub(crate) async fn sleep_until(&self, time: Option<Time>) {
        match time {
            None => std::future::pending().await,
            Some(time) => {
                let at = self.origin + Duration::from_micros(time.as_micros());
                tokio::time::sleep_until(at.into()).await;
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
