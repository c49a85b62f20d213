//! Rule 7: accepted envelopes that are forwarded a moment later.

use std::collections::BTreeSet;

use aether_core::{PublicKey, Time};

/// Accepted envelopes by the time at which gossip may have them: message id and who brought it.
/// No more of them than gossip delivers within two holds.
#[derive(Debug, Default)]
pub(super) struct HeldBack(BTreeSet<(Time, [u8; 20], PublicKey)>);

impl HeldBack {
    pub(super) fn add(&mut self, due: Time, id: [u8; 20], from: PublicKey) {
        self.0.insert((due, id, from));
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.0.first().map(|(due, ..)| *due)
    }

    /// The next one whose time has come.
    pub(super) fn take(&mut self, now: Time) -> Option<([u8; 20], PublicKey)> {
        if self.due()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, id, from)| (id, from))
    }
}
