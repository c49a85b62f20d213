//! Who is remembered as a holder.
//!
//! Rules 1 and 8 of the [finder](super).

use std::collections::BTreeMap;

use aether_core::{BlobId, PublicKey, Time};

use super::Config;

#[derive(Debug, Default)]
pub(super) struct Holders {
    blobs: BTreeMap<BlobId, Vec<Holder>>,
}

#[derive(Debug)]
struct Holder {
    peer: PublicKey,
    /// Whether the user named it.
    preferred: bool,
    until: Time,
}

impl Holders {
    pub(super) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Those of a blob and whether the user named them, who come first.
    pub(super) fn of(
        &self,
        id: &BlobId,
        now: Time,
    ) -> impl Iterator<Item = (PublicKey, bool)> + use<'_> {
        let holders = self.blobs.get(id).into_iter().flatten();
        holders.filter(move |each| each.until > now).map(|each| (each.peer, each.preferred))
    }

    pub(super) fn insert(
        &mut self,
        id: BlobId,
        peer: PublicKey,
        preferred: bool,
        now: Time,
        config: &Config,
    ) {
        if !self.blobs.contains_key(&id) && self.blobs.len() >= config.max_blobs {
            self.forget_one(now);
        }
        let holders = self.blobs.entry(id).or_default();
        let known = holders.iter().position(|each| each.peer == peer);
        let preferred = preferred || known.is_some_and(|at| holders[at].preferred);
        known.map(|at| holders.remove(at));
        holders.retain(|each| each.until > now);
        holders.push(Holder { peer, preferred, until: now + config.ttl });
        // Those that the user named, then those heard of last.
        holders.sort_by_key(|each| std::cmp::Reverse((each.preferred, each.until)));
        holders.truncate(config.max_holders);
    }

    pub(super) fn remove(&mut self, id: &BlobId, peer: &PublicKey) {
        if let Some(holders) = self.blobs.get_mut(id) {
            holders.retain(|each| each.peer != *peer);
            if holders.is_empty() {
                self.blobs.remove(id);
            }
        }
    }

    /// Makes room: forgets what has expired, or else the blob that was heard of longest ago.
    fn forget_one(&mut self, now: Time) {
        let before = self.blobs.len();
        self.blobs.retain(|_, holders| holders.iter().any(|each| each.until > now));
        if self.blobs.len() < before {
            return;
        }
        let heard = |holders: &Vec<Holder>| holders.iter().map(|each| each.until).max();
        let oldest = self.blobs.iter().min_by_key(|(_, holders)| heard(holders));
        if let Some(oldest) = oldest.map(|(id, _)| *id) {
            self.blobs.remove(&oldest);
        }
    }
}
