//! A call under way.

use aether_core::Time;

use super::{
    instances::Sent,
    types::{Call, InstanceId, Outcome, OwnerKey, Target},
};

/// A call under way.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) call: Call,
    /// What it counts against `max_calls`.
    pub(super) weight: usize,
    pub(super) running: Vec<Sent>,
    /// Instances that it was sent to, in order.
    pub(super) tried: Vec<InstanceId>,
    pub(super) retries: u32,
    pub(super) retry_at: Option<Time>,
    pub(super) hedge_at: Option<Time>,
    /// How the last attempt failed.
    pub(super) last: Option<Outcome>,
    /// Where it stands among the timers.
    pub(super) timer: Time,
}

impl Open {
    pub(super) fn new(call: Call, weight: usize) -> Self {
        Self {
            call,
            weight,
            running: Vec::new(),
            tried: Vec::new(),
            retries: 0,
            retry_at: None,
            hedge_at: None,
            last: None,
            timer: call.deadline,
        }
    }

    /// The key whose owner is to answer.
    pub(super) fn key(&self) -> Option<OwnerKey> {
        match self.call.target {
            Target::Owner(key) => Some(key),
            Target::Any | Target::Every | Target::Peer(_) => None,
        }
    }

    /// When it wants something next.
    pub(super) fn timer(&self) -> Time {
        let others = self.retry_at.into_iter().chain(self.hedge_at);
        others.chain([self.call.deadline]).min().unwrap_or(self.call.deadline)
    }
}
