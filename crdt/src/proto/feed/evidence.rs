//! Evidence: what shows that an author forked. See rule 5 of the [module](super).

use aether_core::Hash;

use super::{Node, Tip};

/// Two headers of one feed with one number: the lowest such number that is known, and the two
/// smallest header hashes there.
///
/// Only the hashes: the headers themselves are stored under them, and their two signatures are the
/// whole proof. Whoever holds evidence keeps both headers, also when their entries are evicted.
///
/// Evidences of one feed are a semilattice under [`join`](Self::join) (commutative, associative,
/// idempotent): of two the one with the lower number, or of one number the two smallest hashes of
/// both. So evidence only ever falls, and takes the same room whatever a liar signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    number: u64,
    /// Ascending, and different.
    pair: [Hash; 2],
}

impl Evidence {
    /// What two authentic headers of one feed show, whatever they link to: `None` unless they have
    /// one number and are different.
    ///
    /// The signatures of both were checked: evidence from a header that nobody signed would frame
    /// its author.
    pub fn of(a: Tip, b: Tip) -> Option<Self> {
        let pair = if a.hash < b.hash { [a.hash, b.hash] } else { [b.hash, a.hash] };
        (a.number == b.number && a.hash != b.hash).then_some(Self { number: a.number, pair })
    }

    /// What the authentic headers of one number show together: `None` unless two differ.
    pub(super) fn among(nodes: &[Node]) -> Option<Self> {
        let first = nodes.iter().map(Node::tip).min()?;
        let others = nodes.iter().map(Node::tip).filter(|tip| *tip != first);
        Self::of(first, others.min()?)
    }

    /// The number that two headers share.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The hashes of the two headers, ascending.
    pub const fn pair(&self) -> [Hash; 2] {
        self.pair
    }

    /// Whether an entry of this number may be unobtainable for ever, because it may have been
    /// evicted wherever it was kept: whoever evicts an entry has evidence at or below its number.
    pub const fn excuses(&self, number: u64) -> bool {
        self.number <= number
    }

    /// What both show together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if self.number != other.number {
            return if self.number < other.number { self } else { other };
        }
        let mut hashes = [self.pair[0], self.pair[1], other.pair[0], other.pair[1]];
        hashes.sort_unstable();
        let [first, rest @ ..] = hashes;
        // Each pair differs within itself, so no more than two of the four are the smallest.
        let second = if rest[0] == first { rest[1] } else { rest[0] };
        Self { number: self.number, pair: [first, second] }
    }
}
