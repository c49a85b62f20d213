//! The geometry of a blob's hash tree, in chunk groups, and its hashes.
//!
//! BLAKE3 hashes a binary tree over chunks of 1 KiB (BLAKE3 paper, section 2.1). The store keeps
//! the tree down to groups of 16 chunks: a pair of 32-byte hashes for each inner node, in
//! post-order, which makes 64 bytes for each 16 KiB. This is the *outboard*.

use std::{
    io::{self, Write as _},
    ops::Range,
    path::Path,
};

use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges, TreeNode,
    iter::{BaoChunk, ResponseIter},
};
use blake3::{
    Hash,
    hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use tempfile::SpooledTempFile;

/// Bytes in a chunk group, the unit that is verified, held and fetched: 16 KiB.
pub const GROUP: u64 = 16 * 1024;

/// Largest blob, in bytes: 1 EiB.
pub const MAX_SIZE: u64 = 1 << 60;

/// Bytes of a pair of hashes.
pub(super) const PAIR: u64 = 64;

/// Bytes of an outboard in the making that are kept in memory; what is more is spilled to a file.
const OUTBOARD_IN_MEMORY: usize = 1 << 20;

const CHUNKS: u64 = 16;
const BLOCK: BlockSize = BlockSize::from_chunk_log(4);

/// The number of chunk groups in a blob. An empty blob has one, which is empty.
pub const fn groups(size: u64) -> u64 {
    let groups = size.div_ceil(GROUP);
    if groups == 0 { 1 } else { groups }
}

/// Bytes in a run of groups.
pub(super) fn run_len(size: u64, run: &Range<u64>) -> u64 {
    (run.end.saturating_mul(GROUP)).min(size).saturating_sub(run.start.saturating_mul(GROUP))
}

/// Bytes of the outboard.
pub(super) const fn outboard_len(size: u64) -> u64 {
    (groups(size) - 1) * PAIR
}

/// Whether a range of groups is one that a blob has.
pub(super) fn is_range(size: u64, range: &Range<u64>) -> bool {
    range.start < range.end && range.end <= groups(size)
}

/// Bytes of the encoding of a range of groups; 0 if a blob of this size has no such range.
pub fn encoded_len(size: u64, range: Range<u64>) -> u64 {
    if !is_range(size, &range) {
        return 0;
    }
    // A node's pair is sent if a group under it is asked for: those under the range, and those on
    // the way to it. `nodes` walks down both edges at once.
    fn pairs(low: u64, high: u64, range: &Range<u64>) -> u64 {
        if high - low <= 1 || range.end <= low || range.start >= high {
            return 0;
        }
        if range.start <= low && high <= range.end {
            return high - low - 1;
        }
        let mid = low + (high - low).next_power_of_two() / 2;
        1 + pairs(low, mid, range) + pairs(mid, high, range)
    }
    run_len(size, &range) + PAIR * pairs(0, groups(size), &range)
}

/// A step of the walk in pre-order through the part of a tree that a range of groups needs: what
/// bao's encoding holds, in its order.
#[derive(Debug)]
pub(super) enum Step {
    Parent { node: TreeNode, is_root: bool, left: bool, right: bool },
    Leaf { group: u64, len: usize, is_root: bool },
}

/// The hash tree of a blob of this size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    tree: BaoTree,
}

impl Tree {
    pub(super) fn new(size: u64) -> Self {
        Self { tree: BaoTree::new(size, BLOCK) }
    }

    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The steps for a range of groups that the blob has.
    pub(super) fn steps(&self, range: &Range<u64>) -> Steps {
        let start = ChunkNum(range.start * CHUNKS);
        // Up to the end is an open range: bao's encoding tells it from one that stops short.
        let ranges = if range.end >= groups(self.size()) {
            ChunkRanges::from(start..)
        } else {
            ChunkRanges::from(start..ChunkNum(range.end * CHUNKS))
        };
        Steps(ResponseIter::new(self.tree, ranges))
    }

    /// Where a node's pair is in the outboard.
    pub(super) fn pair_at(&self, node: TreeNode) -> u64 {
        let offset = self.tree.post_order_offset(node);
        offset.expect("the walk visits nodes of this tree alone").value() * PAIR
    }

    /// The groups under a node.
    pub(super) fn groups_under(&self, node: TreeNode) -> Range<u64> {
        let chunks = node.chunk_range();
        chunks.start.0 / CHUNKS..chunks.end.0.div_ceil(CHUNKS).min(groups(self.size()))
    }
}

#[derive(Debug)]
pub(super) struct Steps(ResponseIter);

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        Some(match self.0.next()? {
            BaoChunk::Parent { node, is_root, left, right, .. } => {
                Step::Parent { node, is_root, left, right }
            }
            BaoChunk::Leaf { start_chunk, size, is_root, .. } => {
                Step::Leaf { group: start_chunk.0 / CHUNKS, len: size, is_root }
            }
        })
    }
}

pub(super) fn leaf_hash(group: u64, data: &[u8], is_root: bool) -> Hash {
    if is_root {
        return blake3::hash(data);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(group * GROUP);
    Hash::from(hasher.update(data).finalize_non_root())
}

pub(super) fn split_pair(pair: &[u8; PAIR as usize]) -> (Hash, Hash) {
    let (left, right) = pair.split_at(32);
    let hash = |half: &[u8]| Hash::from_slice(half).expect("half a pair has 32 bytes");
    (hash(left), hash(right))
}

pub(super) fn parent_hash(left: &Hash, right: &Hash, is_root: bool) -> Hash {
    if is_root {
        merge_subtrees_root(left.as_bytes(), right.as_bytes(), Mode::Hash)
    } else {
        Hash::from(merge_subtrees_non_root(left.as_bytes(), right.as_bytes(), Mode::Hash))
    }
}

/// Hashes what comes group by group, and makes the outboard, without knowing the size beforehand.
///
/// Two subtrees are merged only when the next group comes, since the last merge is the root's and
/// is hashed differently. Pairs therefore come out in post-order.
#[derive(Debug)]
pub(super) struct Builder {
    stack: Vec<Hash>,
    first: u64,
    groups: u64,
    outboard: SpooledTempFile,
}

impl Builder {
    /// Begins at group `first`, which is 0 but for a subtree. Spills into `folder`.
    pub(super) fn new(first: u64, folder: &Path) -> Self {
        let outboard = tempfile::spooled_tempfile_in(OUTBOARD_IN_MEMORY, folder);
        Self { stack: Vec::new(), first, groups: 0, outboard }
    }

    /// Adds a group; all but the last are full. `is_only` says that no other comes.
    pub(super) fn push(&mut self, data: &[u8], is_only: bool) -> io::Result<()> {
        while self.stack.len() > self.groups.count_ones() as usize {
            self.merge(false)?;
        }
        self.stack.push(leaf_hash(self.first + self.groups, data, is_only));
        self.groups += 1;
        Ok(())
    }

    fn merge(&mut self, is_root: bool) -> io::Result<()> {
        let right = self.stack.pop().expect("two subtrees are there");
        let left = self.stack.pop().expect("two subtrees are there");
        self.outboard.write_all(left.as_bytes())?;
        self.outboard.write_all(right.as_bytes())?;
        self.stack.push(parent_hash(&left, &right, is_root));
        Ok(())
    }

    /// The hash of it all, the root's or a subtree's, and the outboard, to be read from its start.
    pub(super) fn finish(mut self, is_root: bool) -> io::Result<(Hash, SpooledTempFile)> {
        while self.stack.len() > 1 {
            let is_last = self.stack.len() == 2;
            self.merge(is_root && is_last)?;
        }
        let root = self.stack.pop().expect("a blob has a group");
        io::Seek::rewind(&mut self.outboard)?;
        Ok((root, self.outboard))
    }
}
