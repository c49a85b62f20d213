//! One provider: where we stand with it, what it was asked, and how fast it is.

use std::{collections::BTreeMap, time::Duration};

use aether_core::Time;

use super::{super::Ranges, Config, Trouble};

/// Groups asked of a provider whose speed isn't known.
const FIRST_WINDOW: u64 = 4;

/// Shortest time over which speed is measured.
const SAMPLE: Duration = Duration::from_millis(100);

/// Where we stand with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may be opened.
    Waiting,
    /// A stream is being opened, and hasn't said yet what it holds.
    Opening { deadline: Time },
    /// It said what it holds, and may be asked.
    Open,
    /// Not before this time.
    Resting { until: Time },
    /// Not again, unless it is found again.
    Gone,
    /// It lied.
    Banned,
}

/// An ask that isn't answered in full.
#[derive(Debug)]
pub(super) struct Ask {
    /// What was asked and isn't held.
    pub(super) left: Ranges,
    /// What was asked and wasn't sent.
    pub(super) owed: Ranges,
    pub(super) asked: Time,
    /// Whether it is to prove the size.
    pub(super) is_proof: bool,
    pub(super) answered: bool,
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) state: State,
    pub(super) preferred: bool,
    /// The how-many-eth node found it was.
    pub(super) found: u64,
    pub(super) size: Option<u64>,
    pub(super) held: Ranges,
    pub(super) asks: BTreeMap<u32, Ask>,
    pub(super) last_ask: u32,
    pub(super) pace: Pace,
    pub(super) busy_until: Time,
    /// When it said what it holds, on this stream.
    pub(super) opened: Time,
    /// When it last sent something verified, or began to be asked.
    pub(super) heard: Time,
    pub(super) losses: u32,
    pub(super) false_claims: u32,
    pub(super) trouble: Option<Trouble>,
}

impl Provider {
    pub(super) fn new(preferred: bool, found: u64) -> Self {
        Self {
            state: State::Waiting,
            preferred,
            found,
            size: None,
            held: Ranges::new(),
            asks: BTreeMap::new(),
            last_ask: 0,
            pace: Pace::default(),
            busy_until: Time::ZERO,
            opened: Time::ZERO,
            heard: Time::ZERO,
            losses: 0,
            false_claims: 0,
            trouble: None,
        }
    }

    /// Whether it has a stream.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, State::Open | State::Opening { .. })
    }

    pub(super) fn can_be_asked(&self, now: Time) -> bool {
        self.state == State::Open && self.busy_until <= now
    }

    /// Groups asked for that haven't come.
    pub(super) fn in_flight(&self) -> u64 {
        self.asks.values().map(|ask| ask.left.count()).sum()
    }

    /// The asks up to a number, in seconds to come.
    pub(super) fn seconds_to(&self, now: Time, number: u32) -> f64 {
        let before = self.asks.range(..=number).map(|(_, ask)| ask.left.count());
        before.sum::<u64>() as f64 / self.pace.rate_now(now).max(0.01)
    }

    /// Forgets the stream: what it said and what it was asked.
    pub(super) fn reset(&mut self, state: State) {
        self.state = state;
        self.asks.clear();
        self.held = Ranges::new();
        self.size = None;
        self.pace.stop();
    }
}

/// How fast a provider sends, in groups.
#[derive(Debug)]
pub(super) struct Pace {
    /// Groups a second; 0 while unknown.
    pub(super) rate: f64,
    /// The shortest time from an ask to its first group.
    latency: Option<Duration>,
    window: u64,
    /// Since when groups are counted, while there is something to come.
    since: Option<Time>,
    count: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate: 0.0, latency: None, window: FIRST_WINDOW, since: None, count: 0 }
    }
}

impl Pace {
    /// Something is to come from now on.
    pub(super) fn start(&mut self, now: Time) {
        if self.since.is_none() {
            (self.since, self.count) = (Some(now), 0);
        }
    }

    /// Nothing is to come.
    pub(super) fn stop(&mut self) {
        self.since = None;
    }

    pub(super) fn on_first(&mut self, latency: Duration) {
        self.latency = Some(self.latency.map_or(latency, |known| known.min(latency)));
    }

    pub(super) fn on_groups(&mut self, now: Time, count: u64) {
        self.count += count;
        let Some(since) = self.since.filter(|since| now.since(*since) >= SAMPLE) else { return };
        let sample = self.count as f64 / now.since(since).as_secs_f64();
        self.rate = if self.rate > 0.0 { 0.7 * self.rate + 0.3 * sample } else { sample };
        (self.since, self.count) = (Some(now), 0);
    }

    /// Groups a second, no more than what came since the last measurement allows.
    fn rate_now(&self, now: Time) -> f64 {
        let Some(since) = self.since else { return self.rate };
        // The next group may come this moment.
        let allowed = (self.count + 1) as f64 / now.since(since).max(SAMPLE).as_secs_f64();
        if self.rate > 0.0 { self.rate.min(allowed) } else { allowed }
    }

    /// Fits the window to the speed: at most doubled, so that a lucky sample doesn't fill the pipe
    /// of a slow provider. The latency is added as the window has to outlast a round trip too.
    pub(super) fn fit(&mut self, config: &Config) {
        let time = config.ahead + self.latency.unwrap_or_default();
        let goal = (self.rate * time.as_secs_f64()) as u64;
        let goal = if self.rate > 0.0 { goal.min(self.window * 2) } else { self.window * 2 };
        self.window = goal.clamp(2, config.max_ahead.max(2));
    }

    /// How many groups may be asked for ahead.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// How many groups one ask has: at most half of the window, so that two are on their way.
    pub(super) fn ask_len(&self, config: &Config) -> u64 {
        (self.window / 2).clamp(1, config.max_ask)
    }
}
