//! What removals leave of a feed: rule 6 of the [module](super).

use std::collections::{BTreeMap, BTreeSet};

use aether_core::Hash;

use crate::proto::{
    feed::{Kept, Tip},
    id::EntryId,
};

/// What the removals that stand against a feed leave of it.
///
/// Kept is every entry on the way to a tip that *any* of them leaves; an entry counts if it is on
/// the way to a tip of *each*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    removals: Vec<Left>,
}

/// What one removal leaves of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The removal: its last entry, if it has several.
    pub removal: EntryId,
    /// The tips that it leaves standing, ascending; none, and it leaves nothing.
    pub tips: Vec<Tip>,
}

impl Pinned {
    pub(super) const fn new(removals: Vec<Left>) -> Self {
        Self { removals }
    }

    /// What each removal leaves, by the removals' names ascending.
    pub fn removals(&self) -> &[Left] {
        &self.removals
    }

    /// The tips of all that is kept, for [`Feed::pin`](crate::proto::feed::Feed::pin); ascending.
    pub fn tips(&self) -> Vec<Tip> {
        let tips: BTreeSet<Tip> =
            self.removals.iter().flat_map(|left| &left.tips).copied().collect();
        tips.into_iter().collect()
    }

    /// The tips of all that counts, ascending, none of them below another: an entry counts if it is
    /// on the way to one of them. None, and nothing counts. `kept` holds what is kept.
    ///
    /// One look-up for each number and chain, from the highest tip down to where all that is left
    /// counts; down to number 1, if some chain never does.
    ///
    /// # Errors
    /// The highest entry of a pinned chain that `kept` lacks.
    pub fn counted(&self, kept: &impl Kept) -> Result<Vec<Tip>, Tip> {
        // Which removals leave a tip at a number, by number.
        let mut starts: BTreeMap<u64, Vec<(Hash, usize)>> = BTreeMap::new();
        for (index, left) in self.removals.iter().enumerate() {
            for tip in &left.tips {
                starts.entry(tip.number).or_default().push((tip.hash, index));
            }
        }
        let mut counted = Vec::new();
        // The entries of the number looked at that lead to a tip, and for which removals they do.
        let mut level: BTreeMap<Hash, Leads> = BTreeMap::new();
        let mut number = starts.keys().next_back().copied().unwrap_or(0);
        while number > 0 {
            for (hash, index) in starts.remove(&number).unwrap_or_default() {
                level.entry(hash).or_default().to.insert(index);
            }
            let mut lower: BTreeMap<Hash, Leads> = BTreeMap::new();
            for (hash, mut leads) in level {
                let tip = Tip { number, hash };
                let node = kept.get(tip).ok_or(tip)?;
                if !leads.passed && leads.to.len() == self.removals.len() {
                    counted.push(tip);
                    leads.passed = true;
                }
                lower.entry(node.parent).or_default().join(leads);
            }
            if starts.is_empty() && lower.values().all(|leads| leads.passed) {
                break;
            }
            level = lower;
            number -= 1;
        }
        counted.sort_unstable();
        Ok(counted)
    }
}

/// To what an entry leads.
#[derive(Default)]
struct Leads {
    /// To tips of which removals.
    to: BTreeSet<usize>,
    /// Whether it, or something above it, was found to count.
    passed: bool,
}

impl Leads {
    fn join(&mut self, other: Self) {
        // The larger set takes the smaller in: along a chain nothing is copied.
        let (mut larger, smaller) = match self.to.len() < other.to.len() {
            true => (other.to, std::mem::take(&mut self.to)),
            false => (std::mem::take(&mut self.to), other.to),
        };
        larger.extend(smaller);
        self.to = larger;
        self.passed |= other.passed;
    }
}
