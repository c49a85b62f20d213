//! What happens to providers.
//!
//! Rules 1 and 6 to 8 of the [fetch](super).

use std::{ops::Range, time::Duration};

use aether_core::PublicKey;

use super::{
    super::{Ranges, frame::Why, groups_of, last_group},
    Blame, Fetch, MAX_REST, Output, Provider, Reason, State, Trouble,
};

/// What a provider may ask us to wait at least and at most.
const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(30);

impl Fetch {
    pub(super) fn on_found(&mut self, peer: PublicKey, preferred: bool) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.preferred |= preferred;
            if known.state == State::Gone {
                (known.state, known.losses) = (State::Waiting, 0);
            }
            return;
        }
        if self.peers.len() >= self.config.max_peers && !self.forget_one() {
            return;
        }
        self.found += 1;
        self.peers.insert(peer, Provider::new(preferred, self.found));
    }

    /// Forgets the least useful node without a stream. False if all have one.
    fn forget_one(&mut self) -> bool {
        let rank = |provider: &Provider| match provider.state {
            State::Gone => Some(0),
            State::Resting { .. } => Some(1),
            // A liar that is forgotten could come back, at the cost of being found again.
            State::Banned => Some(2),
            State::Waiting => Some(3),
            State::Opening { .. } | State::Open => None,
        };
        let ranked = self.peers.iter().filter_map(|(peer, provider)| {
            rank(provider).map(|rank| (rank, provider.preferred, provider.found, *peer))
        });
        let Some((.., peer)) = ranked.min() else { return false };
        self.peers.remove(&peer).is_some()
    }

    pub(super) fn on_held(&mut self, peer: PublicKey, size: u64, groups: Ranges) {
        let proved = self.size;
        let Some(provider) = self.peers.get_mut(&peer).filter(|each| each.is_active()) else {
            return;
        };
        if size > self.config.max_size {
            self.close(peer, State::Gone, Trouble::TooLarge);
            return;
        }
        let known = provider.size.or(proved);
        if known.is_some_and(|known| known != size) || proved.is_some_and(|proved| proved != size) {
            self.blame(peer, Blame::FalseSize);
            return;
        }
        if provider.state != State::Open {
            (provider.state, provider.opened) = (State::Open, self.now);
        }
        provider.size = Some(size);
        provider.held = groups.within(&(0..groups_of(size)));
        if !self.held.includes(&provider.held) {
            self.want_wait = self.config.want_interval;
            self.next_want = self.next_want.min(self.now + self.want_wait);
        }
    }

    pub(super) fn on_verified(&mut self, peer: PublicKey, number: u32, groups: Range<u64>) {
        let (now, proved) = (self.now, self.size);
        let count = groups.end.saturating_sub(groups.start);
        let provider = self.peers.get_mut(&peer);
        let ask = provider.and_then(|provider| {
            let (size, ask) = (provider.size?, provider.asks.get_mut(&number)?);
            // Before the size is proved, only the proof counts.
            let counts = proved == Some(size) || ask.is_proof;
            counts.then_some((size, provider.asks.get_mut(&number)?, &mut provider.pace))
        });
        let Some((size, ask, pace)) = ask else {
            self.stats.late += count;
            return;
        };
        if !ask.answered {
            ask.answered = true;
            pace.on_first(now.since(ask.asked));
        }
        pace.on_groups(now, count);
        let is_proof = ask.is_proof && groups.contains(&last_group(size));
        ask.owed.remove(groups.clone());
        self.take(peer, groups);
        self.gained = Some(now);
        if is_proof && self.size.is_none() {
            self.on_proved(size);
        }
        let Some(provider) = self.peers.get_mut(&peer) else { return };
        (provider.heard, provider.losses, provider.trouble) = (now, 0, None);
    }

    /// Holds these groups, which `from` sent, and wants them from nobody any more.
    fn take(&mut self, from: PublicKey, groups: Range<u64>) {
        let new: u64 = self.held.gaps(groups.clone()).map(|gap| gap.end - gap.start).sum();
        self.stats.verified += new;
        self.stats.excess += groups.end.saturating_sub(groups.start) - new;
        self.held.insert(groups.clone());
        for (peer, provider) in &mut self.peers {
            let asks = provider.asks.len();
            provider.asks.retain(|number, ask| {
                ask.left.remove(groups.clone());
                // The rest of it came from others, and needn't come again.
                if ask.left.is_empty() && !ask.owed.is_empty() {
                    self.outputs.push_back(Output::Cancel { peer: *peer, ask: *number });
                }
                !ask.left.is_empty()
            });
            if provider.asks.len() < asks && *peer == from {
                provider.pace.fit(&self.config);
            }
            if provider.asks.is_empty() {
                provider.pace.stop();
            }
        }
    }

    fn on_proved(&mut self, size: u64) {
        self.size = Some(size);
        self.held = self.held.within(&(0..groups_of(size)));
        self.outputs.push_back(Output::Proved { size });
        let other = |provider: &Provider| provider.size.is_some_and(|claimed| claimed != size);
        let liars = self.peers.iter().filter(|(_, provider)| other(provider));
        for peer in liars.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.blame(peer, Blame::FalseSize);
        }
    }

    pub(super) fn on_ended(&mut self, peer: PublicKey, number: u32, why: Why) {
        let most = self.config.max_false_claims;
        let Some(provider) = self.peers.get_mut(&peer) else { return };
        let Some(ask) = provider.asks.remove(&number) else { return };
        match why {
            Why::NotHeld => {
                provider.held.subtract(&ask.left);
                provider.false_claims += 1;
                let is_liar = provider.false_claims > most;
                self.after_refusal(peer, ask.is_proof);
                if is_liar {
                    self.blame(peer, Blame::FalseClaim);
                }
            }
            // What we cancelled is forgotten already.
            Why::Cancelled => self.blame(peer, Blame::Protocol),
            Why::Failed => {
                self.outputs.push_back(Output::Close { peer });
                self.on_lost(peer, Trouble::Failed);
            }
        }
    }

    /// An ask was refused. What was asked behind a proof is worth nothing without it.
    fn after_refusal(&mut self, peer: PublicKey, was_proof: bool) {
        let Some(provider) = self.peers.get_mut(&peer) else { return };
        if was_proof && self.size.is_none() {
            for ask in std::mem::take(&mut provider.asks).into_keys() {
                self.outputs.push_back(Output::Cancel { peer, ask });
            }
        }
        if provider.asks.is_empty() {
            provider.pace.stop();
        }
    }

    pub(super) fn on_busy(&mut self, peer: PublicKey, number: u32, retry_after: Duration) {
        let until = self.now + retry_after.clamp(MIN_RETRY, MAX_RETRY);
        if number == 0 {
            self.close(peer, State::Resting { until }, Trouble::Busy);
            return;
        }
        let Some(provider) = self.peers.get_mut(&peer) else { return };
        let Some(ask) = provider.asks.remove(&number) else { return };
        (provider.busy_until, provider.trouble) = (until, Some(Trouble::Busy));
        self.after_refusal(peer, ask.is_proof);
    }

    /// The stream is gone, by itself or because we closed it.
    pub(super) fn on_lost(&mut self, peer: PublicKey, trouble: Trouble) {
        let Some(provider) = self.peers.get_mut(&peer).filter(|each| each.is_active()) else {
            return;
        };
        provider.losses += 1;
        let doubled = 1u32.checked_shl(provider.losses - 1).unwrap_or(u32::MAX);
        let rest = self.config.rest.saturating_mul(doubled).min(MAX_REST);
        let is_gone = provider.losses > self.config.max_losses;
        let state = State::Resting { until: self.now + rest };
        provider.reset(if is_gone { State::Gone } else { state });
        provider.trouble = Some(trouble);
    }

    pub(super) fn blame(&mut self, peer: PublicKey, blame: Blame) {
        if self.close(peer, State::Banned, Trouble::Lied(blame)) {
            self.outputs.push_back(Output::Blame { peer, blame });
        }
    }

    /// Closes a node's stream. False if it has none.
    pub(super) fn close(&mut self, peer: PublicKey, state: State, trouble: Trouble) -> bool {
        let Some(provider) = self.peers.get_mut(&peer).filter(|each| each.is_active()) else {
            return false;
        };
        provider.reset(state);
        provider.trouble = Some(trouble);
        self.outputs.push_back(Output::Close { peer });
        true
    }

    pub(super) fn on_timeout(&mut self) {
        let (now, stall) = (self.now, self.config.stall_timeout);
        let mut silent = Vec::new();
        for (peer, provider) in &mut self.peers {
            match provider.state {
                State::Resting { until } if until <= now => provider.state = State::Waiting,
                State::Opening { deadline } if deadline <= now => silent.push(*peer),
                State::Open if !provider.asks.is_empty() && provider.heard + stall <= now => {
                    silent.push(*peer);
                }
                _ => {}
            }
        }
        for peer in silent {
            self.stats.stalls += 1;
            self.outputs.push_back(Output::Close { peer });
            self.on_lost(peer, Trouble::Silent);
        }
        if self.is_crowded() && self.next_review <= now {
            self.next_review = now + self.config.review;
            self.make_room();
        }
        if self.gives_up() <= now {
            self.fail(Reason::NoProviders);
        }
    }

    pub(super) fn open_more(&mut self) {
        while self.active() < self.config.max_parallel {
            let Some(peer) = self.best_waiting() else { return };
            let deadline = self.now + self.config.open_timeout;
            if let Some(provider) = self.peers.get_mut(&peer) {
                provider.state = State::Opening { deadline };
            }
            self.outputs.push_back(Output::Open { peer });
        }
    }

    pub(super) fn active(&self) -> usize {
        self.peers.values().filter(|provider| provider.is_active()).count()
    }

    /// Who is opened next: named by the user, never tried, or fastest.
    fn best_waiting(&self) -> Option<PublicKey> {
        let waiting = self.peers.iter().filter(|(_, provider)| provider.state == State::Waiting);
        let rank = |provider: &Provider| {
            let rate = (provider.pace.rate * 1000.0) as u64;
            (!provider.preferred, rate > 0, u64::MAX - rate, provider.found)
        };
        waiting.min_by_key(|(_, provider)| rank(provider)).map(|(peer, _)| *peer)
    }

    /// Whether somebody waits for another to make room.
    pub(super) fn is_crowded(&self) -> bool {
        let waits = self.peers.values().any(|provider| provider.state == State::Waiting);
        waits && self.active() >= self.config.max_parallel
    }

    fn make_room(&mut self) {
        // Whoever is new had no time to show its speed.
        let is_known = |provider: &Provider| {
            provider.state == State::Open && provider.opened + self.config.review / 2 <= self.now
        };
        let open = self.peers.iter().filter(|(_, provider)| is_known(provider));
        let open: Vec<_> = open.collect();
        let useful = |provider: &Provider| {
            let rate = if provider.asks.is_empty() { 0.0 } else { provider.pace.rate };
            (rate, provider.found)
        };
        let slowest = open.iter().map(|(peer, provider)| (useful(provider), **peer));
        let Some(((rate, _), peer)) =
            slowest.min_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        else {
            return;
        };
        let average = open.iter().map(|(_, each)| each.pace.rate).sum::<f64>() / open.len() as f64;
        let next = self.best_waiting().and_then(|next| self.peers.get(&next));
        let is_better = next.is_some_and(|next| {
            let known = next.pace.rate;
            known == 0.0 || known > 2.0 * rate
        });
        if is_better && rate * 2.0 <= average {
            self.outputs.push_back(Output::Close { peer });
            self.found += 1;
            if let Some(provider) = self.peers.get_mut(&peer) {
                provider.reset(State::Waiting);
                (provider.found, provider.preferred) = (self.found, false);
            }
        }
    }
}
