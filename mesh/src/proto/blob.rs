//! Blobs: content named by its BLAKE3 hash, fetched from several nodes at once, each byte verified.
//!
//! | module | decides |
//! |---|---|
//! | [`ranges`] | nothing: sets of groups, as runs |
//! | [`frame`] | what the two ends of a blob's stream say to each other, byte by byte |
//! | [`fetch`] | who is asked for which part of one blob, and who is believed no longer |
//! | [`serve`] | whose request is answered next |
//! | [`finder`] | who holds what, and how others learn what we hold |
//!
//! A blob is a sequence of *groups* of 16 KiB, numbered from 0, of which the last may be shorter;
//! the empty blob is one empty group. Groups are the leaves of the Bao tree (Bao specification,
//! O'Connor; BLAKE3 paper, section 6.4) that are transferred, verified and remembered: 16 of
//! BLAKE3's own chunks each, so that the hashes beside them are less than a hundredth of the
//! content.
//!
//! **The last group comes first.** How large a blob is, is a claim until its last group is
//! verified under that size: the hashes on the way to it fix the shape of the whole tree (Bao
//! specification, "Security": the length is proved by the final chunk). So a download begins with
//! that group, and nothing is written before. Hence whoever holds a part holds the last group,
//! and can prove the size in turn.

pub mod fetch;
pub mod finder;
pub mod frame;
pub mod ranges;
pub mod serve;

use std::ops::Range;

pub use aether_core::BlobId;

pub use self::ranges::Ranges;

/// Bytes of a group: 16 of BLAKE3's chunks.
pub const GROUP: u64 = 16 * 1024;

/// Most groups in a piece, which is what one frame of data carries.
pub const PIECE: u64 = 16;

/// How many groups a blob of this size has: at least one.
pub const fn groups_of(size: u64) -> u64 {
    let groups = size.div_ceil(GROUP);
    if groups == 0 { 1 } else { groups }
}

/// The number of the last group of a blob of this size.
pub const fn last_group(size: u64) -> u64 {
    groups_of(size) - 1
}

/// The bytes of a group in a blob of this size, by offset; empty beyond the end.
pub fn bytes_of(group: u64, size: u64) -> Range<u64> {
    let start = group.saturating_mul(GROUP).min(size);
    start..start.saturating_add(GROUP).min(size)
}

/// The first piece of what is left of a request: consecutive groups within one aligned window of
/// [`PIECE`] groups, which is one subtree, so that its encoding is as short as can be. `None` if
/// nothing is left.
///
/// Both ends cut a request by this rule, so that neither has to say where a piece begins.
pub fn first_piece(left: &Ranges) -> Option<Range<u64>> {
    let run = left.runs().first()?;
    let window = (run.start / PIECE).saturating_add(1).saturating_mul(PIECE);
    Some(run.start..run.end.min(window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_content_exactly() {
        assert_eq!([0, 1, GROUP, GROUP + 1].map(groups_of), [1, 1, 1, 2]);
        assert_eq!(groups_of(u64::MAX), 1 << 50);
        assert_eq!(bytes_of(0, 0), 0..0);
        assert_eq!(bytes_of(1, GROUP + 5), GROUP..GROUP + 5);
        assert_eq!(bytes_of(2, GROUP + 5), GROUP + 5..GROUP + 5);
        assert_eq!(bytes_of(last_group(u64::MAX), u64::MAX).end, u64::MAX);
    }

    #[test]
    fn pieces_are_aligned_and_cover_a_request_in_order() {
        let mut left: Ranges = [3..41, 50..51].into_iter().collect();
        let mut pieces = Vec::new();
        while let Some(piece) = first_piece(&left) {
            left.remove(piece.clone());
            pieces.push(piece);
        }
        assert_eq!(pieces, [3..16, 16..32, 32..41, 50..51]);
    }
}
