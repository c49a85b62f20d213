//! Peers that this node has nothing to do with: for a while, as they misbehaved, or for as long as
//! the user says so.

use super::*;

/// Most peers that the user may block.
const MAX_BLOCKED: usize = 4096;

impl Network {
    pub(super) fn penalize(&mut self, peer: PublicKey, fault: Fault) {
        self.metrics.fault(fault);
        self.budget.handle(self.clock.now(), budget::Input::Fault { peer, fault });
        self.act_on_budget();
    }

    pub(super) fn act_on_budget(&mut self) {
        while let Some(output) = self.budget.poll_output() {
            match output {
                budget::Output::Ban { peer, fault } => {
                    tracing::warn!(peer = %peer_id(&peer), %fault, "dropped a misbehaving peer");
                    self.metrics.bans.inc();
                    self.shut_out(peer_id(&peer));
                }
                budget::Output::Pardon { peer } => {
                    if !self.blocked.contains(&peer_id(&peer)) {
                        self.let_in(peer_id(&peer));
                    }
                }
            }
        }
    }

    /// Closes its connections and makes none, until it is unblocked. False if no more are blocked.
    pub(super) fn block(&mut self, peer: PeerId) -> bool {
        let has_room = self.blocked.len() < MAX_BLOCKED || self.blocked.contains(&peer);
        if has_room && self.blocked.insert(peer) {
            tracing::info!(%peer, "blocked");
            self.shut_out(peer);
        }
        has_room
    }

    pub(super) fn unblock(&mut self, peer: PeerId) {
        if self.blocked.remove(&peer) {
            tracing::info!(%peer, "unblocked");
            let is_banned = public_key(&peer).is_some_and(|key| self.budget.is_banned(&key));
            if !is_banned {
                self.let_in(peer);
                self.dial();
            }
        }
    }

    fn shut_out(&mut self, peer: PeerId) {
        self.dialer.ban(peer);
        self.swarm.behaviour_mut().blocked.block_peer(peer);
    }

    fn let_in(&mut self, peer: PeerId) {
        self.dialer.pardon(&peer);
        self.swarm.behaviour_mut().blocked.unblock_peer(peer);
    }
}
