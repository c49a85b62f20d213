//! Suspicion and death: who is suspected, who may refute it, and who is removed.
//!
//! Rules 3 and 4 of the [roster](super).

use std::time::Duration;

use aether_core::PublicKey;

use super::{Output, Roster, Update};

impl Roster {
    pub(super) fn suspect(&mut self, peer: PublicKey) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&peer) else { return };
        if member.suspect_since.is_none() {
            member.suspect_since = Some(now);
            member.patience = Duration::ZERO;
            let (life, revision) = (member.card.life, member.card.revision);
            let suspicion = Update::Suspect { peer: (*peer.as_bytes()).into(), life, revision };
            self.updates.tell(suspicion, self.config.max_members);
        }
    }

    fn suspicion(&self) -> Duration {
        let scale = (self.members.len() + 1).ilog2().max(1);
        self.stretched(self.config.probe_interval * self.config.suspicion * scale.div_ceil(2))
    }

    pub(super) fn remove_dead(&mut self) {
        let (now, patience) = (self.now, self.suspicion());
        let mut gone = Vec::new();
        for (peer, member) in &mut self.members {
            let Some(since) = member.suspect_since else { continue };
            // A node that was cut off and now hears the first others again loses its doubt. It
            // must not lose its patience with those that it hasn't reached yet.
            member.patience = member.patience.max(patience);
            if now >= since + member.patience {
                gone.push(*peer);
            }
        }
        for peer in gone {
            if let Some(member) = self.members.remove(&peer) {
                self.bury(peer, (member.card.life, member.card.revision));
                self.outputs.push_back(Output::Left { peer, farewell: false });
            }
        }
    }

    pub(super) fn bury(&mut self, peer: PublicKey, (life, revision): (u64, u64)) {
        if self.dead.len() >= self.config.max_dead {
            let oldest = self.dead.iter().min_by_key(|(_, (_, _, since))| *since);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.dead.remove(&oldest);
            }
        }
        self.dead.insert(peer, (life, revision, self.now));
        self.probes.retain(|_, probe| probe.target != peer);
    }

    pub(super) fn on_suspect(&mut self, peer: PublicKey, life: u64, revision: u64) {
        if peer == self.me() {
            self.on_suspected(life, revision);
            return;
        }
        let Some(member) = self.members.get(&peer) else { return };
        let current = (member.card.life, member.card.revision) == (life, revision);
        if current && !self.urgent.contains(&peer) && self.urgent.len() < self.config.max_members {
            self.urgent.push_back(peer);
        }
    }

    /// Answers a suspicion of ourselves. Nobody holds a later card of ours than our last, so who
    /// names a later one is lying; were it answered, a lie could use all revisions up.
    fn on_suspected(&mut self, life: u64, revision: u64) {
        let ours = (self.card.life, self.card.revision);
        if (life, revision) == ours && !self.card.is_leaving() {
            self.sign_again(false, self.card.profile.clone());
        } else if (life, revision) < ours {
            self.updates.tell(Update::Card(self.card.clone()), self.config.max_members);
        }
    }

    /// Whoever speaks is alive. Whoever we hold for dead, or don't know, is told so.
    pub(super) fn heard_from(&mut self, from: PublicKey) {
        self.heard = self.now;
        if let Some(member) = self.members.get_mut(&from) {
            member.last_seen = self.now;
            member.suspect_since = None;
        } else if self.members.len() < self.config.max_members {
            // Whose card we never saw is suspected in life 0, which any card refutes.
            let (life, revision, _) = self.dead.get(&from).copied().unwrap_or_default();
            let peer = (*from.as_bytes()).into();
            self.send_hello(from, vec![Update::Suspect { peer, life, revision }]);
        }
    }
}
