//! Changes that can't be applied: they wait for others, or are void.

use std::collections::BTreeSet;

use aether_core::Time;

use super::{Document, Output, Received};
use crate::proto::document::{ActorId, ChangeHash, Why, body::Refused};

/// A change that waits.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) actor: ActorId,
    pub(super) bytes: Vec<u8>,
    pub(super) deps: Vec<ChangeHash>,
    /// Dependencies that no entry which carries it covers.
    pub(super) uncovered: BTreeSet<ChangeHash>,
}

impl Document {
    /// Lets a change wait for what it builds on.
    pub(super) fn hold(&mut self, hash: ChangeHash, mut held: Held) -> Received {
        if let Some(before) = self.forget_held(&hash) {
            // Another entry carries it too.
            held.uncovered.retain(|dep| before.uncovered.contains(dep));
            if self.ready(&held) {
                let mut released = Vec::new();
                let received = self.take_held(hash, &held, &mut released);
                self.release(released);
                return received;
            }
        }
        if self.held_bytes + held.bytes.len() > self.config.max_waiting {
            return Received::Full;
        }
        self.keep(hash, held);
        Received::Waiting
    }

    fn keep(&mut self, hash: ChangeHash, held: Held) {
        self.held_bytes += held.bytes.len();
        for dep in self.missing(&held) {
            self.waiters.entry(dep).or_default().insert(hash);
        }
        self.held.insert(hash, held);
    }

    fn missing(&self, held: &Held) -> Vec<ChangeHash> {
        let Some(body) = &self.body else { return Vec::new() };
        held.deps.iter().filter(|dep| !body.index().contains(dep)).copied().collect()
    }

    fn ready(&self, held: &Held) -> bool {
        held.uncovered.is_empty() && self.missing(held).is_empty()
    }

    pub(super) fn forget_held(&mut self, hash: &ChangeHash) -> Option<Held> {
        let held = self.held.remove(hash)?;
        self.held_bytes -= held.bytes.len();
        for dep in &held.deps {
            if let Some(waiters) = self.waiters.get_mut(dep) {
                waiters.remove(hash);
                if waiters.is_empty() {
                    self.waiters.remove(dep);
                }
            }
        }
        Some(held)
    }

    /// Takes a change for which nothing is missing any more.
    fn take_held(
        &mut self,
        hash: ChangeHash,
        held: &Held,
        released: &mut Vec<ChangeHash>,
    ) -> Received {
        let Some(body) = &mut self.body else { return Received::Asleep };
        match body.take(&held.bytes, &held.actor, |_| true) {
            Ok(hash) => {
                self.own_taken |= held.actor == self.config.settings.actor;
                released.push(hash);
                Received::Taken
            }
            Err(Refused::Void(why)) => {
                self.make_void(hash, why);
                Received::Void(why)
            }
            // It was read before it had to wait; who releases it looks whether the body is broken.
            Err(Refused::Malformed(_) | Refused::Broken(_)) => Received::Waiting,
        }
    }

    /// Takes what waited for these.
    pub(super) fn release(&mut self, mut arrived: Vec<ChangeHash>) {
        let mut any = false;
        while let Some(hash) = arrived.pop() {
            for waiter in self.waiters.remove(&hash).unwrap_or_default() {
                let Some(held) = self.forget_held(&waiter) else { continue };
                if self.ready(&held) {
                    any |= self.take_held(waiter, &held, &mut arrived) == Received::Taken;
                } else {
                    // What it didn't lack when it came may have been set aside since.
                    self.keep(waiter, held);
                }
            }
        }
        self.check();
        if any {
            // It waits no longer than what it waited for, or than the next change.
            self.apply_at = self.apply_at.or(Some(Time::ZERO));
        }
    }

    /// A change is void, and all that waits for it.
    pub(super) fn make_void(&mut self, hash: ChangeHash, why: Why) {
        let mut open = vec![(hash, why)];
        while let Some((hash, why)) = open.pop() {
            self.forget_held(&hash);
            if self.void.insert(hash, why).is_none() {
                self.outputs.push_back(Output::Void(hash, why));
            }
            let waiters = self.waiters.remove(&hash).unwrap_or_default();
            open.extend(waiters.into_iter().map(|waiter| (waiter, Why::Dep(hash))));
        }
    }
}
