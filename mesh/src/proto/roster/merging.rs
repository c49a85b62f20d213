//! Merging: what the news of others changes.
//!
//! Rule 1 of the [roster](super).

use std::time::Duration;

use aether_core::PublicKey;

use super::{Card, CardError, Member, Output, Roster, Update};

impl Roster {
    pub(super) fn on_update(&mut self, from: PublicKey, update: Update) {
        match update {
            Update::Card(card) => self.on_card(from, card),
            Update::Suspect { peer, life, revision } => {
                self.on_suspect(PublicKey::from_bytes(peer.into()), life, revision);
            }
        }
    }

    fn on_card(&mut self, from: PublicKey, card: Card) {
        let peer = card.peer();
        if peer == self.me() || !self.is_news(&card) {
            return;
        }
        // Verified only if it is news, so that a repeated card costs no signature check.
        match card.verify(&self.mesh) {
            Ok(()) => {}
            // A later release may allow more; nobody is to blame.
            Err(CardError::TooLarge) => return,
            Err(CardError::Forged(_)) => {
                self.outputs.push_back(Output::Forged { from });
                return;
            }
        }
        if card.is_leaving() {
            self.bury(peer, (card.life, card.revision));
            if self.members.remove(&peer).is_some() {
                self.outputs.push_back(Output::Left { peer, farewell: true });
                self.updates.tell(Update::Card(card), self.config.max_members);
            }
            return;
        }
        if !self.members.contains_key(&peer) && self.members.len() >= self.config.max_members {
            return;
        }
        self.dead.remove(&peer);
        let latency = self.members.get(&peer).and_then(|known| known.latency);
        let known = self.members.contains_key(&peer);
        let member = Member {
            card: card.clone(),
            latency,
            last_seen: self.now,
            suspect_since: None,
            patience: Duration::ZERO,
        };
        if self.members.is_empty() {
            // There was nobody to probe until now: that isn't late.
            self.next_probe = self.next_probe.max(self.now);
        }
        self.members.insert(peer, member);
        self.updates.tell(Update::Card(card.clone()), self.config.max_members);
        let output = if known { Output::Updated(card) } else { Output::Joined(card) };
        self.outputs.push_back(output);
    }

    fn is_news(&self, card: &Card) -> bool {
        let peer = card.peer();
        let version = (card.life, card.revision);
        let newer = |known: (u64, u64)| version > known;
        self.members.get(&peer).is_none_or(|known| newer((known.card.life, known.card.revision)))
            && self.dead.get(&peer).is_none_or(|(life, revision, _)| newer((*life, *revision)))
    }
}
