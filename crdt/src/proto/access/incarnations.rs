//! How many feeds one author may have.

use std::collections::{BTreeMap, BTreeSet};

use aether_core::PublicKey;

use crate::proto::{entry::Authority, id::FeedId};

/// Most feeds that are kept of one author under one authority.
pub const MAX_INCARNATIONS: usize = 1_024;

/// The feeds that are kept, by author and authority: of each the 1,024 with the smallest
/// incarnations. That is a minimum, so order doesn't show.
///
/// An honest author begins one at its first write, and one after each restored backup. In a space
/// that is open to everyone this bounds a key, and no person.
///
/// In memory: 80 bytes for each author and authority, and 8 for each feed, and the trees' overhead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incarnations(BTreeMap<(PublicKey, Authority), BTreeSet<u64>>);

/// What becomes of a feed that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It is kept.
    Kept,
    /// It is kept instead of this one, which is dropped.
    Instead(FeedId),
    /// It isn't kept: the author has 1,024 with smaller incarnations.
    Surplus,
}

impl Incarnations {
    /// What would become of a feed that is written by `authority`.
    pub fn judge(&self, feed: FeedId, authority: Authority) -> Began {
        let Some(known) = self.0.get(&(feed.author, authority)) else { return Began::Kept };
        if known.len() < MAX_INCARNATIONS || known.contains(&feed.incarnation) {
            return Began::Kept;
        }
        match known.last() {
            Some(last) if *last > feed.incarnation => {
                Began::Instead(FeedId { author: feed.author, incarnation: *last })
            }
            _ => Began::Surplus,
        }
    }

    /// A feed that isn't void begins; its first header is authentic.
    pub fn insert(&mut self, feed: FeedId, authority: Authority) -> Began {
        let began = self.judge(feed, authority);
        if began == Began::Surplus {
            return began;
        }
        let known = self.0.entry((feed.author, authority)).or_default();
        known.insert(feed.incarnation);
        if let Began::Instead(other) = began {
            known.remove(&other.incarnation);
        }
        began
    }

    /// A feed was dropped, since it became void. What was surplus may be offered again.
    pub fn remove(&mut self, feed: FeedId, authority: Authority) {
        let key = (feed.author, authority);
        let Some(known) = self.0.get_mut(&key) else { return };
        known.remove(&feed.incarnation);
        if known.is_empty() {
            self.0.remove(&key);
        }
    }
}
