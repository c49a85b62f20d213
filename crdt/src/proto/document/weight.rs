//! How much a document may cost (B9), counted so that every replica gets the same sum.
//!
//! A change weighs
//!
//! > w = 2 + operations + 64 × marks + 4 × objects + ⌊lanes of its closure / 256⌋
//!
//! where its *closure* is itself and all it builds on. One unit stands for about 300 bytes at the
//! peak of a load; the last term is there because Automerge keeps a clock of all actors every
//! sixteen changes. W, what a document weighs at a change, is the sum of w over the closure: a pure
//! function of the change and its past, as all of B9 must be. Authors that write at once may
//! together exceed a limit that each obeys, at most by a factor of their number.
//!
//! Automerge groups changes into fragments by their hash, and one whose hash begins with a zero
//! byte lists all of its like before it: quadratic memory for who grinds hashes. One hash of 256
//! begins so by chance, and a lane has 16 such changes and one of 32 for free.

use super::{Action, Change, ChangeHash};

/// Weight of a document unless its space says otherwise: 2^21, some 630 MB at the peak of a load.
pub const DEFAULT_LIMIT: u64 = 1 << 21;
/// Most that a space may say: 2^24.
pub const MAX_LIMIT: u64 = 1 << 24;
/// Most lanes in the closure of a change.
pub const MAX_LANES: usize = 4_096;

/// w of a change whose closure has so many lanes. O(operations).
pub(super) fn weight(change: &Change<'_>, lanes: usize) -> u64 {
    let count = |is: fn(&Action<'_>) -> bool| {
        change.rows.iter().filter(|row| is(&row.action)).count() as u64
    };
    let marks = count(|action| matches!(action, Action::MarkBegin { .. }));
    let objects = count(|action| matches!(action, Action::Make(_)));
    // At most 100,000 of each, so no sum comes near the end of numbers.
    2 + change.rows.len() as u64 + 64 * marks + 4 * objects + lanes as u64 / 256
}

/// Whether a change counts against its lane's quota.
pub(super) const fn is_fragment(hash: &ChangeHash) -> bool {
    hash.0[0] == 0
}

/// How many such changes a lane may have up to its `seq`-th.
pub(super) const fn fragment_quota(seq: u32) -> u32 {
    16 + seq / 32
}
