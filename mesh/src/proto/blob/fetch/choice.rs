//! The choice: which groups a provider is asked for next.
//!
//! Rules 1 and 3 to 5 of the [fetch](super).

use std::{collections::BTreeMap, ops::Range, time::Duration};

use aether_core::{PublicKey, Time};

use super::{
    super::{
        Ranges,
        frame::{MAX_ASK_RUNS, MAX_ASKS},
        groups_of, last_group,
    },
    Ask, Fetch, Output, Provider,
};

/// How long the last group may take before a further provider is asked for it.
const PROOF_PATIENCE: Duration = Duration::from_secs(1);

impl Fetch {
    /// Asks for the last group of each size that is claimed, if none is proved.
    pub(super) fn ask_for_proof(&mut self) {
        if self.size.is_some() {
            return;
        }
        let mut sizes: BTreeMap<u64, Option<Time>> = BTreeMap::new();
        for provider in self.peers.values() {
            let Some(size) = provider.size else { continue };
            let asked = provider.asks.values().filter(|ask| ask.is_proof).map(|ask| ask.asked);
            let latest = sizes.entry(size).or_default();
            *latest = asked.max().max(*latest);
        }
        for (size, latest) in sizes {
            if latest.is_some_and(|latest| self.now < latest + PROOF_PATIENCE) {
                continue;
            }
            let can_prove = |provider: &Provider| {
                provider.size == Some(size)
                    && provider.can_be_asked(self.now)
                    && provider.asks.is_empty()
                    && provider.held.contains(last_group(size))
            };
            let able = self.peers.iter().filter(|(_, provider)| can_prove(provider));
            let best = able.min_by_key(|(_, provider)| (!provider.preferred, provider.found));
            if let Some(peer) = best.map(|(peer, _)| *peer) {
                self.stats.doubled += u64::from(latest.is_some());
                let last = last_group(size);
                self.ask(peer, Ranges::from(last..last + 1), true);
            }
        }
    }

    /// Asks a provider for as much as its window has room for.
    pub(super) fn fill(&mut self, peer: PublicKey) {
        loop {
            let Some(provider) = self.peers.get(&peer) else { return };
            let Some(size) = provider.size.filter(|_| provider.can_be_asked(self.now)) else {
                return;
            };
            let is_proving = provider.asks.values().any(|ask| ask.is_proof);
            if self.size != Some(size) && !is_proving {
                return;
            }
            let len = provider.pace.ask_len(&self.config);
            let in_flight = provider.in_flight();
            let is_full = in_flight > 0 && in_flight + len > provider.pace.window();
            // One ask is kept free, for what is cancelled and not yet known to be.
            if is_full || provider.asks.len() >= MAX_ASKS / 2 {
                return;
            }
            let groups = self.pick(&peer, size, len);
            if groups.is_empty() {
                return;
            }
            self.ask(peer, groups, false);
        }
    }

    pub(super) fn ask(&mut self, to: PublicKey, groups: Ranges, is_proof: bool) {
        let now = self.now;
        let Some(provider) = self.peers.get_mut(&to) else { return };
        let Some(size) = provider.size else { return };
        if provider.asks.is_empty() {
            provider.heard = now;
            provider.pace.start(now);
        }
        provider.last_ask += 1;
        let ask = provider.last_ask;
        let (left, owed) = (groups.clone(), groups.clone());
        provider.asks.insert(ask, Ask { left, owed, asked: now, is_proof, answered: false });
        self.stats.asks += 1;
        self.outputs.push_back(Output::Ask { peer: to, ask, size, groups });
    }

    /// What to ask of a provider next, at most so many groups.
    fn pick(&mut self, peer: &PublicKey, size: u64, len: u64) -> Ranges {
        let whole = 0..groups_of(size);
        let asked = self.asked();
        let wants: Vec<Range<u64>> = self.wanted(whole.end).collect();
        for want in &wants {
            let free = self.free(peer, want.clone(), &[&asked], len);
            let found = if free.is_empty() { self.double(peer, want, len) } else { free };
            if !found.is_empty() {
                return found;
            }
        }
        for want in wants {
            let ahead = want.end..want.end.saturating_add(self.config.read_ahead).min(whole.end);
            let free = self.free(peer, ahead, &[&asked], len);
            if !free.is_empty() {
                return free;
            }
        }
        let others = self.held_by_others(peer);
        let begin = self.config.begin % whole.end;
        for not in [&[&asked, &others][..], &[&asked][..]] {
            for part in [begin..whole.end, 0..begin] {
                let free = self.free(peer, part, not, len);
                if !free.is_empty() {
                    return free;
                }
            }
        }
        self.double(peer, &whole, len)
    }

    /// What readers want below a group, oldest reader first.
    fn wanted(&self, end: u64) -> impl Iterator<Item = Range<u64>> + use<'_> {
        self.wants.values().map(move |want| want.start.min(end)..want.end.min(end))
    }

    /// What is on its way from anybody.
    pub(super) fn asked(&self) -> Ranges {
        let mut asked = Ranges::new();
        for ask in self.peers.values().flat_map(|provider| provider.asks.values()) {
            asked.extend(&ask.left);
        }
        asked
    }

    /// What providers other than this one say to hold; empty if there is none.
    fn held_by_others(&self, peer: &PublicKey) -> Ranges {
        let mut held = Ranges::new();
        let is_other = |other: &PublicKey| other != peer;
        for (_, other) in self.peers.iter().filter(|(other, _)| is_other(other)) {
            if other.can_be_asked(self.now) && other.size == self.size {
                held.extend(&other.held);
            }
        }
        held
    }

    /// The lowest groups in a range that this provider holds and we lack, and that aren't in
    /// any of these sets.
    fn free(&self, peer: &PublicKey, range: Range<u64>, not: &[&Ranges], len: u64) -> Ranges {
        let Some(provider) = self.peers.get(peer) else { return Ranges::new() };
        let (mut free, mut count) = (Ranges::new(), 0);
        for gap in self.held.gaps(range) {
            let mut here = provider.held.within(&gap);
            not.iter().for_each(|set| here.subtract(set));
            let here = here.first(len - count, MAX_ASK_RUNS - free.runs().len());
            count += here.count();
            free.extend(&here);
            if count >= len || free.runs().len() >= MAX_ASK_RUNS {
                break;
            }
        }
        free
    }

    /// Groups in a range that a much slower provider was asked for, to be asked of this one too.
    fn double(&mut self, peer: &PublicKey, range: &Range<u64>, len: u64) -> Ranges {
        let room = self.config.max_excess.saturating_sub(self.stats.doubled).min(len);
        let Some(fast) = self.peers.get(peer).filter(|fast| fast.pace.rate > 0.0) else {
            return Ranges::new();
        };
        if room == 0 || self.size != fast.size {
            return Ranges::new();
        }
        let ours = fast.seconds_to(self.now, u32::MAX) + len as f64 / fast.pace.rate;
        let mut found = Ranges::new();
        for slow in self.peers.iter().filter(|(other, _)| *other != peer).map(|(_, slow)| slow) {
            let is_late = |ask: u32| slow.seconds_to(self.now, ask) > 2.0 * ours + 0.5;
            for (_, ask) in slow.asks.iter().filter(|(number, _)| is_late(**number)) {
                found.extend(&ask.left.within(range).intersection(&fast.held));
            }
        }
        found.subtract(&self.asked_twice());
        fast.asks.values().for_each(|ask| found.subtract(&ask.left));
        let found = found.first(room, MAX_ASK_RUNS);
        self.stats.doubled += found.count();
        found
    }

    /// What is on its way from two.
    fn asked_twice(&self) -> Ranges {
        let (mut once, mut twice) = (Ranges::new(), Ranges::new());
        for ask in self.peers.values().flat_map(|provider| provider.asks.values()) {
            twice.extend(&ask.left.intersection(&once));
            once.extend(&ask.left);
        }
        twice
    }
}
