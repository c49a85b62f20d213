//! The fetch: one blob's way here, from several providers at once.
//!
//! A fetch knows a blob's name and what of it is held. It is told who may hold the blob, has
//! streams opened to some of them, asks each for groups, and says who lied. Rules:
//!
//! 1. **Size first.** A size is what a provider claims until the last group under it is verified.
//!    That group is asked first, of one provider for each size claimed, and of a further one if it
//!    takes more than a second; its provider may be asked for more behind it, on the same stream.
//!    Nothing else counts before. The first size proved is the blob's, and whoever claimed another
//!    lied. Memory goes by runs and providers, never by a claimed size.
//! 2. **Ahead.** Each provider has a window: what it sends in `ahead` and a round trip, by its
//!    measured speed, at least 2 groups and at most `max_ahead`. It begins at 4, and grows at most
//!    twofold for each ask that is answered. An ask is half a window at most, so that while one is
//!    answered another waits at the provider.
//! 3. **Order.** First what readers want, in order, then `read_ahead` behind it; then what only
//!    this provider holds; then what follows `begin`, and round.
//! 4. **Once.** No group is asked of two providers at a time, but of a second one when it is
//!    wanted by a reader, or nothing else is left to ask, and the first would take twice as long
//!    and half a second more. That is done for `max_excess` groups in one download. What came from
//!    one is cancelled at the other.
//! 5. **Partial holders** are asked for what they said to hold, and gain as they say so.
//! 6. **Stalls.** A provider that was asked and sent nothing that verifies for `stall_timeout` is
//!    closed; what it was asked is free for others. It rests, for longer each time, and so does
//!    one whose stream is lost. After `max_losses` in a row it is gone until it is found again.
//! 7. **Blame.** A provider that sent a wrong byte, claimed a false size, broke the protocol, or
//!    more than `max_false_claims` times didn't have what it said to hold, is named and never used
//!    again in this download. The driver names the provider on whose stream the bytes came, so
//!    nobody is blamed for another.
//! 8. **Who.** At most `max_parallel` streams at a time. Those named by the user are tried first,
//!    then those never tried, then the fastest. In each `review`, a provider that has less than
//!    half of the average speed, or nothing to give, makes room for one that waits, unless that
//!    one is known to be no better. Of `max_peers` remembered, the useless are forgotten first.
//! 9. **More.** While fewer than `enough_peers` can be used, or nothing can be asked, more are
//!    looked for, with doubled waits.
//! 10. **End.** The fetch ends once: when all is held, when the user or the store ends it, or when
//!     nothing was verified for `patience`; a failure says what went wrong with whom.
//!
//! The invariant: what is held was verified under a proved size. While one honest provider that
//! holds all can be reached, the download ends with all.
//!
//! Cost: a fetch takes memory for its runs (one for each gap), its providers, each with at most
//! [`MAX_HELD_RUNS`](super::frame::MAX_HELD_RUNS) runs, and their asks. An input takes time in
//! proportion to the runs in flight, and an ask to those of its provider.
//!
//! # The driver
//!
//! It follows the contract of [`Protocol`], one fetch for each blob that is downloaded, and
//!
//! - gives [`new`](Fetch::new) what the store holds, synced or not: what it has verified itself;
//! - opens one stream named [`STREAM`](super::frame::STREAM) for each [`Output::Open`], writes
//!   [`Frame::Get`](super::frame::Frame::Get), and reads for as long as the stream is open; says
//!   [`Input::Lost`] once if it can't be opened or ends by itself;
//! - translates frames one to one, in the order in which they came. A frame of a requester, or
//!   bytes that are none, are [`Input::Wrong`] with [`Blame::Protocol`];
//! - keeps, for each stream, the asks that aren't finished, in order, each with what is left of it.
//!   A piece whose ask isn't the first of these is [`Blame::Protocol`]; else the next piece
//!   ([`first_piece`](super::first_piece)) is verified under the size of [`Output::Ask`] and
//!   written, and only then is [`Input::Verified`] said. What doesn't verify is
//!   [`Blame::WrongBytes`], and nothing of the stream is read from then on;
//! - after [`Output::Cancel`] goes on to keep the ask, and drops its pieces, until the last piece
//!   or [`Frame::End`](super::frame::Frame::End) has come, and says nothing of them. Asks that
//!   were ended or refused are finished;
//! - writes asks and cancellations at once; they are small and bounded by [`MAX_ASKS`];
//! - says [`Input::StoreFailed`] once if a write fails, and takes [`Output::Blame`] to the peer's
//!   score, with its name to the log;
//! - closes all streams when the fetch has ended, before it drops it.
//!
//! [`MAX_ASKS`]: super::frame::MAX_ASKS

mod choice;
mod events;
mod provider;
mod types;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use aether_core::{BlobId, Protocol, PublicKey, Time};

use self::provider::{Ask, Provider, State};
pub use self::types::{Blame, Config, Failure, Input, Output, Reason, Stats, Trouble};
use super::{Ranges, groups_of, last_group};

/// Time between two looks at whether a slow provider's groups are asked of an idle one.
const TICK: Duration = Duration::from_millis(250);

/// Longest rest of a provider.
const MAX_REST: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Debug)]
pub struct Fetch {
    config: Config,
    id: BlobId,
    /// Proved.
    size: Option<u64>,
    held: Ranges,
    peers: BTreeMap<PublicKey, Provider>,
    wants: BTreeMap<u64, Range<u64>>,
    found: u64,
    next_want: Time,
    want_wait: Duration,
    next_review: Time,
    tick: Time,
    /// When something was verified last; at first, when it began.
    gained: Option<Time>,
    reported: Time,
    is_over: bool,
    stats: Stats,
    now: Time,
    outputs: VecDeque<Output>,
}

impl Fetch {
    /// The fetch of a blob of which these groups are held, under this size. The size counts as
    /// proved if its last group is among them.
    ///
    /// The patience of a fetch begins with its first input.
    ///
    /// # Panics
    /// If a bound of the configuration is zero that must not be.
    pub fn new(config: Config, id: BlobId, held: Option<(u64, Ranges)>) -> Self {
        assert!(config.max_parallel > 0 && config.max_peers > 0, "bounds are positive");
        assert!(
            (1..=super::frame::MAX_ASK_GROUPS).contains(&config.max_ask),
            "an ask has 1 to 1024 groups"
        );
        let (size, held) = held.map_or((None, Ranges::new()), |(size, held)| {
            (held.contains(last_group(size)).then_some(size), held)
        });
        let want_wait = config.want_interval;
        Self {
            config,
            id,
            size,
            held,
            peers: BTreeMap::new(),
            wants: BTreeMap::new(),
            found: 0,
            next_want: Time::ZERO,
            want_wait,
            next_review: Time::ZERO,
            tick: Time::ZERO,
            gained: None,
            reported: Time::ZERO,
            is_over: false,
            stats: Stats::default(),
            now: Time::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// The blob.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// The blob's size in bytes, once it is proved.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The groups that are held.
    pub fn held(&self) -> &Ranges {
        &self.held
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many nodes are remembered, those that lied included.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Groups a second that a provider sends, as measured; 0 while that isn't known.
    pub fn rate(&self, peer: &PublicKey) -> f64 {
        self.peers.get(peer).map_or(0.0, |provider| provider.pace.rate)
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Found { peer, preferred } => self.on_found(peer, preferred),
            Input::Held { peer, size, groups } => self.on_held(peer, size, groups),
            Input::NotHeld { peer } => {
                if self.close(peer, State::Gone, Trouble::NotHeld) {
                    self.outputs.push_back(Output::Useless { peer });
                }
            }
            Input::Verified { peer, ask, groups } => self.on_verified(peer, ask, groups),
            Input::Wrong { peer, fault } => self.blame(peer, fault),
            Input::Ended { peer, ask, why } => self.on_ended(peer, ask, why),
            Input::Busy { peer, ask, retry_after } => self.on_busy(peer, ask, retry_after),
            Input::Lost { peer } => self.on_lost(peer, Trouble::Lost),
            Input::Want { reader, groups } => {
                let is_known = self.wants.contains_key(&reader);
                if is_known || self.wants.len() < self.config.max_wants {
                    self.wants.insert(reader, groups);
                }
            }
            Input::Unwant { reader } => {
                self.wants.remove(&reader);
            }
            Input::StoreFailed => self.fail(Reason::Store),
            Input::Cancel => self.fail(Reason::Cancelled),
            Input::Timeout => self.on_timeout(),
        }
    }

    /// Does whatever can be done now.
    fn go_on(&mut self) {
        if self.end_if_whole() || self.is_over {
            return;
        }
        self.open_more();
        self.ask_for_proof();
        for peer in self.fastest_first() {
            self.fill(peer);
        }
        self.tick = self.now + TICK;
        self.want_more();
        self.report();
    }

    fn end_if_whole(&mut self) -> bool {
        let Some(size) = self.size else { return false };
        if self.is_over || !self.held.covers(&(0..groups_of(size))) {
            return false;
        }
        self.end(Output::Done);
        true
    }

    fn fail(&mut self, reason: Reason) {
        let trouble = |(peer, provider): (&PublicKey, &Provider)| Some((*peer, provider.trouble?));
        let peers = self.peers.iter().filter_map(trouble).collect();
        self.end(Output::Failed(Failure { reason, peers }));
    }

    fn end(&mut self, last: Output) {
        for (peer, provider) in self.peers.iter_mut().filter(|(_, provider)| provider.is_active()) {
            provider.reset(State::Gone);
            self.outputs.push_back(Output::Close { peer: *peer });
        }
        self.outputs.push_back(last);
        self.is_over = true;
    }

    fn fastest_first(&self) -> Vec<PublicKey> {
        let open = self.peers.iter().filter(|(_, provider)| provider.can_be_asked(self.now));
        let mut open: Vec<_> =
            open.map(|(peer, each)| (each.pace.rate, each.found, *peer)).collect();
        open.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        open.into_iter().map(|(_, _, peer)| peer).collect()
    }

    fn want_more(&mut self) {
        if self.needs_more() && self.now >= self.next_want {
            self.outputs.push_back(Output::WantProviders);
            self.next_want = self.now + self.want_wait;
            self.want_wait = (self.want_wait * 2).min(self.config.max_want_interval);
        }
    }

    fn needs_more(&self) -> bool {
        let can_be_used = |provider: &&Provider| {
            matches!(provider.state, State::Waiting | State::Opening { .. } | State::Open)
        };
        let usable = self.peers.values().filter(can_be_used).count();
        let is_stuck = self.peers.values().all(|provider| provider.asks.is_empty());
        usable < self.config.enough_peers || is_stuck
    }

    fn report(&mut self) {
        let Some(size) = self.size else { return };
        if self.gained.is_some_and(|gained| gained > self.reported)
            && self.now >= self.reported + self.config.progress_interval
        {
            self.reported = self.now;
            let (held, of) = (self.held.count(), groups_of(size));
            self.outputs.push_back(Output::Progress { held, of });
        }
    }

    /// When the patience ends.
    fn gives_up(&self) -> Time {
        self.gained.map_or(Time::MAX, |gained| gained + self.config.patience)
    }
}

impl Protocol for Fetch {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        if self.is_over {
            return;
        }
        if self.gained.is_none() {
            (self.gained, self.reported) = (Some(self.now), self.now);
            self.next_review = self.now + self.config.review;
        }
        self.on_input(input);
        self.go_on();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.is_over || self.gained.is_none() {
            return None;
        }
        let deadline = |provider: &Provider| match provider.state {
            State::Opening { deadline } => Some(deadline),
            State::Resting { until } => Some(until),
            State::Open if !provider.asks.is_empty() => {
                Some(provider.heard + self.config.stall_timeout)
            }
            State::Open if provider.busy_until > self.now => Some(provider.busy_until),
            _ => None,
        };
        let is_asked = |provider: &Provider| !provider.asks.is_empty();
        let is_idle = |provider: &Provider| provider.state == State::Open && !is_asked(provider);
        let ticks = self.peers.values().any(is_asked) && self.peers.values().any(is_idle);
        let reviews = self.is_crowded().then_some(self.next_review);
        let deadlines = self.peers.values().filter_map(deadline).min();
        let wants = self.needs_more().then_some(self.next_want);
        let ticks = ticks.then_some(self.tick);
        [Some(self.gives_up()), deadlines, reviews, wants, ticks].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
