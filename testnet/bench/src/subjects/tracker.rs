//! Which node got which message, and when.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;

/// Without any delivery for so long, what is still missing is lost.
const GRACE: Duration = Duration::from_secs(10);

/// Random bytes that payloads are cut from.
const POOL: usize = 1 << 20;

/// Payloads of one size. The first 8 bytes are the message's number, so that no two are the same;
/// the others are cut from a megabyte of random bytes, each time at another place.
#[derive(Debug)]
pub struct Payloads {
    pool: Vec<u8>,
    size: usize,
    draw: ChaCha8Rng,
}

impl Payloads {
    /// Payloads of `size` bytes: at least 8, at most a megabyte.
    pub fn new(size: usize, seed: u64) -> Self {
        let size = size.clamp(8, POOL);
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let mut pool = vec![0; POOL + size];
        draw.fill_bytes(&mut pool);
        Self { pool, size, draw }
    }

    /// The payload of the message with this number.
    pub fn cut(&mut self, number: u64) -> Vec<u8> {
        let at = self.draw.next_u32() as usize % POOL;
        let mut payload = self.pool[at..at + self.size].to_vec();
        payload[..8].copy_from_slice(&number.to_be_bytes());
        payload
    }
}

/// Which receiver got which message, and when the last of them did. All times are of one clock.
#[derive(Debug)]
pub struct Tracker {
    origin: Instant,
    /// A bit for each receiver.
    all: u32,
    size: usize,
    messages: Vec<Message>,
    complete: AtomicU64,
    deliveries: AtomicU64,
    duplicates: AtomicU64,
    window: Option<Semaphore>,
}

#[derive(Debug, Default)]
struct Message {
    sent: AtomicU64,
    complete: AtomicU64,
    seen: AtomicU32,
}

/// What became of all messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Messages times receivers.
    pub(crate) deliveries: u64,
    /// Deliveries that never came.
    pub(crate) lost: u64,
    /// Deliveries that came once more.
    pub(crate) duplicates: u64,
    /// From the first publish to the last delivery.
    pub(crate) took: Duration,
    /// From publish to the last receiver, of each message that reached all.
    pub(crate) latencies: Vec<Duration>,
}

impl Tracker {
    /// For at most 32 receivers of at most `capacity` messages of `size` bytes. With a window, no
    /// more than so many messages may be on their way at a time.
    pub fn new(receivers: usize, capacity: usize, size: usize, window: Option<usize>) -> Self {
        assert!((1..=32).contains(&receivers), "a receiver is a bit");
        #[expect(clippy::disallowed_methods, reason = "the bench measures time")]
        let origin = Instant::now();
        Self {
            origin,
            all: u32::MAX >> (32 - receivers),
            size,
            messages: (0..capacity).map(|_| Message::default()).collect(),
            complete: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            window: window.map(Semaphore::new),
        }
    }

    /// Time since the tracker was made, in nanoseconds, and never 0, which stands for "not yet".
    fn nanos(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// How many messages it has room for.
    pub(crate) fn capacity(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Waits for a place in the window; `false` if none became free in 10 seconds, which is how a
    /// loss shows here.
    pub(crate) async fn place(&self) -> bool {
        let Some(window) = &self.window else { return true };
        match tokio::time::timeout(GRACE, window.acquire()).await {
            Ok(Ok(place)) => {
                place.forget();
                true
            }
            _ => false,
        }
    }

    /// A message is about to be published.
    pub(crate) fn sent(&self, number: u64) {
        if let Some(message) = self.message(number) {
            message.sent.store(self.nanos(), Ordering::Relaxed);
        }
    }

    fn message(&self, number: u64) -> Option<&Message> {
        self.messages.get(usize::try_from(number).ok()?)
    }

    /// A receiver got a payload. One that isn't ours counts as nothing.
    pub fn delivered(&self, receiver: usize, payload: &[u8]) {
        let Some(number) = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else {
            return;
        };
        let Some(message) = self.message(number).filter(|_| payload.len() == self.size) else {
            return;
        };
        let bit = 1 << receiver;
        let before = message.seen.fetch_or(bit, Ordering::AcqRel);
        if before & bit != 0 {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        if before | bit == self.all {
            message.complete.store(self.nanos(), Ordering::Relaxed);
            self.complete.fetch_add(1, Ordering::Release);
            if let Some(window) = &self.window {
                window.add_permits(1);
            }
        }
    }

    /// Waits until the first `published` messages have reached all receivers, or nothing came for
    /// 10 seconds.
    pub(crate) async fn settle(&self, published: u64) {
        let mut last = (self.deliveries.load(Ordering::Relaxed), self.nanos());
        while self.complete.load(Ordering::Acquire) < published {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (deliveries, now) = (self.deliveries.load(Ordering::Relaxed), self.nanos());
            if deliveries != last.0 {
                last = (deliveries, now);
            } else if Duration::from_nanos(now - last.1) > GRACE {
                return;
            }
        }
    }

    /// What became of the first `published` messages.
    pub(crate) fn outcome(&self, published: u64) -> Outcome {
        let published = usize::try_from(published).unwrap_or(usize::MAX).min(self.messages.len());
        let messages = &self.messages[..published];
        let times = messages.iter().filter_map(|message| {
            let complete = message.complete.load(Ordering::Relaxed);
            (complete > 0).then(|| (message.sent.load(Ordering::Relaxed), complete))
        });
        let (mut first, mut last, mut latencies) = (u64::MAX, 0, Vec::new());
        for (sent, complete) in times {
            first = first.min(sent);
            last = last.max(complete);
            latencies.push(Duration::from_nanos(complete.saturating_sub(sent)));
        }
        let expected = published as u64 * u64::from(self.all.count_ones());
        let deliveries = self.deliveries.load(Ordering::Relaxed);
        Outcome {
            deliveries,
            lost: expected.saturating_sub(deliveries),
            duplicates: self.duplicates.load(Ordering::Relaxed),
            took: Duration::from_nanos(last.saturating_sub(first)),
            latencies,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn payloads_are_numbered_and_differ() {
        let mut payloads = Payloads::new(64, 1);
        let (one, two) = (payloads.cut(1), payloads.cut(2));
        assert_eq!((one.len(), &one[..8]), (64, &[0, 0, 0, 0, 0, 0, 0, 1][..]));
        assert_ne!(one[8..], two[8..]);
        assert_eq!(Payloads::new(64, 1).cut(1), one, "the same seed draws the same bytes");
    }

    #[test]
    fn a_message_is_complete_when_the_last_receiver_has_it() {
        let tracker = Tracker::new(2, 3, 64, None);
        let mut payloads = Payloads::new(64, 1);
        for number in 0..3 {
            tracker.sent(number);
            tracker.delivered(0, &payloads.cut(number));
        }
        tracker.delivered(1, &payloads.cut(1));
        let outcome = tracker.outcome(3);
        assert_eq!((outcome.deliveries, outcome.lost, outcome.latencies.len()), (4, 2, 1));
        assert_eq!(outcome.duplicates, 0);
    }

    #[test]
    fn what_comes_twice_or_is_not_ours_is_no_delivery() {
        let tracker = Tracker::new(1, 2, 64, None);
        let payload = Payloads::new(64, 1).cut(0);
        tracker.delivered(0, &payload);
        tracker.delivered(0, &payload);
        tracker.delivered(0, &payload[..63]);
        tracker.delivered(0, &[1; 64]);
        tracker.delivered(0, &[]);
        let outcome = tracker.outcome(2);
        assert_eq!((outcome.deliveries, outcome.lost, outcome.duplicates), (1, 1, 1));
    }

    #[test]
    fn a_window_lets_so_many_out_and_a_delivery_makes_room() {
        let tracker = Tracker::new(1, 3, 64, Some(2));
        let place = || tracker.place().now_or_never();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _context = runtime.enter();
        assert_eq!((place(), place()), (Some(true), Some(true)));
        assert_eq!(place(), None, "both places are taken");
        tracker.delivered(0, &Payloads::new(64, 1).cut(0));
        assert_eq!((place(), place()), (Some(true), None));
    }
}
