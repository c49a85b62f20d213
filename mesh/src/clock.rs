//! The drivers' clocks.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aether_core::Time;
use tokio::time::Sleep;

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

/// A timer that is told anew before each wait when to end it. While that only moves on, as the
/// deadline of the next call does, waiting costs next to nothing.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    /// What the timer is set to: no later than what is waited for.
    set: Option<(Time, Pin<Box<Sleep>>)>,
}

impl Alarm {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self { clock, set: None }
    }

    /// Waits until a time; for ever if there is none. Cancel safe.
    pub(crate) async fn wait(&mut self, time: Option<Time>) {
        match time {
            None => std::future::pending().await,
            Some(time) => poll_fn(|cx| self.poll(time, cx)).await,
        }
    }

    fn poll(&mut self, time: Time, cx: &mut Context<'_>) -> Poll<()> {
        let instant = self.clock.instant(time).into();
        let (set, sleep) =
            self.set.get_or_insert_with(|| (time, Box::pin(tokio::time::sleep_until(instant))));
        loop {
            if *set > time {
                sleep.as_mut().reset(instant);
                *set = time;
            }
            ready!(sleep.as_mut().poll(cx));
            if *set == time {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(instant);
            *set = time;
        }
    }
}

/// Milliseconds since the Unix epoch; 0 on a machine whose clock is before it.
#[expect(clippy::disallowed_methods, reason = "the drivers own the clock")]
pub(crate) fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use super::*;

    #[tokio::test]
    async fn an_alarm_follows_what_it_is_told() {
        let clock = Clock::start();
        let mut alarm = Alarm::new(clock);
        let at = |millis: u64| Some(Time::from_micros(millis * 1000));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(alarm.wait(None)).poll(&mut cx).is_pending());
        assert!(std::pin::pin!(alarm.wait(at(3_600_000))).poll(&mut cx).is_pending());
        // Earlier than what it is set to.
        let soon = tokio::time::timeout(Duration::from_secs(60), alarm.wait(at(10)));
        soon.await.expect("it rings long before");
        // Later: the timer ends early, and is set again.
        assert!(
            std::pin::pin!(alarm.wait(at(20))).poll(&mut cx).is_pending()
                || at(20) <= Some(clock.now())
        );
        alarm.wait(at(50)).await;
        assert!(Some(clock.now()) >= at(50));
        // What has passed is not waited for.
        assert!(std::pin::pin!(alarm.wait(at(50))).poll(&mut cx).is_ready());
    }
}
