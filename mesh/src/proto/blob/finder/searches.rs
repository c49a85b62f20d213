//! Our own searches.
//!
//! Rules 1, 2, 4 and 7 of the [finder](super).

use std::collections::BTreeSet;

use aether_core::{BlobId, PublicKey, Time};
use rand_chacha::rand_core::Rng as _;

use super::{Finder, Here, MAX_ENOUGH, MAX_IDS, Output, Shout, slots};

/// Answers that are read in one round, at most.
const MAX_ANSWERS: usize = 256;

/// A blob that is looked for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) until: Time,
    enough: u8,
    /// Who was told from memory: at most as many as are remembered.
    told: BTreeSet<PublicKey>,
    next_find: Time,
}

/// A look that was published.
#[derive(Debug)]
pub(super) struct Round {
    ids: Vec<BlobId>,
    enough: u8,
    /// Holders heard of each, in the order of `ids`.
    heard: Vec<u32>,
    answered: BTreeSet<PublicKey>,
    is_enough: bool,
    /// When the last slot ends: who holds back until then needs to be told.
    slots_end: Time,
    pub(super) end: Time,
}

impl Finder {
    pub(super) fn look(&mut self, id: BlobId, enough: u8) {
        let until = self.now + self.config.patience;
        let enough = enough.clamp(1, MAX_ENOUGH);
        if !self.searches.contains_key(&id) && self.searches.len() >= self.config.max_searches {
            self.stats.ignored += 1;
            return;
        }
        let now = self.now;
        let fresh = || Search { until, enough, told: BTreeSet::new(), next_find: now };
        let search = self.searches.entry(id).or_insert_with(fresh);
        (search.until, search.enough) = (until, enough);
        let mut told = 0;
        for (peer, preferred) in self.holders.of(&id, now) {
            if search.told.insert(peer) {
                told += 1;
                self.outputs.push_back(Output::Found { id, peer, preferred });
            }
        }
        if told >= usize::from(enough) {
            return;
        }
        if search.next_find <= now {
            search.next_find = now + self.config.find_interval;
            self.outputs.push_back(Output::Find { id });
        }
        if self.wanted.is_empty() {
            self.next_look = self.next_look.max(now + self.config.batch);
        }
        self.wanted.insert(id);
    }

    pub(super) fn on_hint(&mut self, id: BlobId, peer: PublicKey) {
        if peer != self.me {
            self.holders.insert(id, peer, true, self.now, &self.config);
            self.tell(id, peer, true);
        }
    }

    fn tell(&mut self, id: BlobId, peer: PublicKey, preferred: bool) {
        if let Some(search) = self.searches.get_mut(&id) {
            if search.told.len() < self.config.max_holders * 4 {
                search.told.insert(peer);
            }
            self.outputs.push_back(Output::Found { id, peer, preferred });
        }
    }

    pub(super) fn publish_if_due(&mut self) {
        if self.wanted.is_empty() || self.now < self.next_look {
            return;
        }
        let ids: Vec<BlobId> = self.wanted.iter().copied().take(MAX_IDS).collect();
        ids.iter().for_each(|id| {
            self.wanted.remove(id);
        });
        let of = |id: &BlobId| self.searches.get(id).map_or(1, |search| search.enough);
        let enough = ids.iter().map(of).max().unwrap_or(1);
        let nonce = self.rng.next_u64();
        self.next_look = self.now + self.config.look_interval;
        let slots_end = self.now + self.config.slot * slots(self.nodes, enough);
        let round = Round {
            heard: vec![0; ids.len()],
            ids: ids.clone(),
            enough,
            answered: BTreeSet::new(),
            is_enough: false,
            slots_end,
            end: slots_end + self.config.slot * 4,
        };
        self.rounds.insert(nonce, round);
        self.stats.looks += 1;
        let shout = Shout::Look { nonce, ids, enough };
        self.outputs.push_back(Output::Publish(shout.encode().into()));
    }

    pub(super) fn on_here(&mut self, from: PublicKey, here: Here) {
        let Some(round) = self.rounds.get_mut(&here.nonce) else {
            self.stats.ignored += 1;
            return;
        };
        let beyond = u32::from(here.held) >> round.ids.len();
        if here.held == 0 || beyond != 0 || here.whole & !here.held != 0 {
            self.blame(from);
            return;
        }
        let is_over = round.answered.len() >= MAX_ANSWERS || !round.answered.insert(from);
        if is_over || from == self.me {
            self.stats.ignored += 1;
            return;
        }
        let is_held = |at: &usize| here.held & (1 << at) != 0;
        let held: Vec<usize> = (0..round.ids.len()).filter(is_held).collect();
        held.iter().for_each(|at| round.heard[*at] += 1);
        let ids: Vec<BlobId> = held.into_iter().map(|at| round.ids[at]).collect();
        let is_enough = round.heard.iter().all(|heard| *heard >= u32::from(round.enough));
        if is_enough && !round.is_enough {
            round.is_enough = true;
            // In the last slot nobody would hear of it in time.
            if self.now + self.config.slot < round.slots_end {
                let shout = Shout::Enough { nonce: here.nonce };
                self.outputs.push_back(Output::Publish(shout.encode().into()));
            }
        }
        for id in ids {
            self.holders.insert(id, from, false, self.now, &self.config);
            self.tell(id, from, false);
        }
    }

    pub(super) fn on_found(&mut self, id: BlobId, mut peers: Vec<PublicKey>) {
        if !self.searches.contains_key(&id) {
            return;
        }
        peers.retain(|peer| *peer != self.me);
        // Records can name anybody. Which of them are tried is for nobody else to say.
        for _ in 0..self.config.max_found.min(peers.len()) {
            let chosen = self.below(peers.len() as u64) as usize;
            let peer = peers.swap_remove(chosen);
            self.holders.insert(id, peer, false, self.now, &self.config);
            self.tell(id, peer, false);
        }
    }

    pub(super) fn end_rounds(&mut self) {
        let now = self.now;
        self.rounds.retain(|_, round| round.end > now);
        self.searches.retain(|_, search| search.until > now);
        self.wanted.retain(|id| self.searches.contains_key(id));
    }
}
