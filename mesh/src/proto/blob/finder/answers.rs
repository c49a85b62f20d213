//! Our answers to looks of others.
//!
//! Rules 3 to 5 of the [finder](super).

use std::time::Duration;

use aether_core::{BlobId, PublicKey, Time};

use super::{Finder, Here, Output, micros, slots};

/// An answer that waits for its slot.
#[derive(Debug)]
pub(super) struct Answer {
    ids: Vec<BlobId>,
    pub(super) at: Time,
    /// Whether the store was asked.
    pub(super) is_checked: bool,
}

/// How much an asker has asked since a time.
#[derive(Debug)]
pub(super) struct Allowance {
    since: Time,
    looks: u32,
}

/// How long an answer waits for the store, before its place is free for another.
const CHECK: Duration = Duration::from_secs(10);

impl Finder {
    pub(super) fn on_look(&mut self, from: PublicKey, nonce: u64, ids: Vec<BlobId>, enough: u8) {
        self.answers.retain(|_, answer| !answer.is_checked || answer.at + CHECK > self.now);
        let is_known = self.answers.contains_key(&(from, nonce));
        if !self.may_look(from) || is_known || self.answers.len() >= self.config.max_answers {
            self.stats.ignored += 1;
            return;
        }
        let at = self.now + self.drawn_delay(enough);
        self.answers.insert((from, nonce), Answer { ids, at, is_checked: false });
    }

    /// Whether an asker is within its allowance, which this uses.
    fn may_look(&mut self, from: PublicKey) -> bool {
        let (now, config) = (self.now, &self.config);
        if !self.askers.contains_key(&from) && self.askers.len() >= config.max_askers {
            let oldest = self.askers.iter().min_by_key(|(_, asker)| asker.since);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.askers.remove(&oldest);
            }
        }
        let asker = self.askers.entry(from).or_insert(Allowance { since: now, looks: 0 });
        if now >= asker.since + config.allowance {
            *asker = Allowance { since: now, looks: 0 };
        }
        asker.looks = asker.looks.saturating_add(1);
        asker.looks <= config.max_looks
    }

    /// Slot `k` is drawn when a number below the nodes falls below `2 e 4^k` and not below that of
    /// the slot before.
    fn drawn_delay(&mut self, enough: u8) -> Duration {
        let nodes = u64::try_from(self.nodes).unwrap_or(u64::MAX);
        let drawn = self.below(nodes);
        let last = slots(self.nodes, enough) - 1;
        let (mut reached, mut slot) = (2 * u64::from(enough), 0);
        while drawn >= reached && slot < last {
            reached = reached.saturating_mul(4);
            slot += 1;
        }
        let within = self.below(micros(self.config.slot));
        self.config.slot * slot + Duration::from_micros(within)
    }

    /// Has the store asked for those whose slot has come.
    pub(super) fn check_due(&mut self) {
        let now = self.now;
        let due = self.answers.iter_mut().filter(|(_, each)| !each.is_checked && each.at <= now);
        for ((from, nonce), answer) in due {
            answer.is_checked = true;
            let ids = answer.ids.clone();
            self.outputs.push_back(Output::Check { from: *from, nonce: *nonce, ids });
        }
    }

    pub(super) fn on_checked(&mut self, from: PublicKey, nonce: u64, (held, whole): (u16, u16)) {
        let Some(answer) = self.answers.remove(&(from, nonce)) else { return };
        let asked = 1u32
            .checked_shl(answer.ids.len() as u32)
            .map_or(u16::MAX, |bit| u16::try_from(bit - 1).unwrap_or(u16::MAX));
        let held = held & asked;
        if held != 0 {
            self.stats.answers += 1;
            let here = Here { nonce, held, whole: whole & held };
            self.outputs.push_back(Output::Send { to: from, here });
        }
    }
}
