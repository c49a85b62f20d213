//! Merkle trees as in Certificate Transparency: RFC 9162, section 2.1, over BLAKE3.
//!
//! The tree over `n` leaves splits at the largest power of two below `n`, so no leaf is ever
//! doubled, and leaves and inner nodes are hashed in domains of their own, so neither can be taken
//! for the other. A root without the number of leaves proves nothing about positions: keep both.

use crate::{Domain, Hash};

const LEAF: Domain = Domain::new("aether 2026-11 merkle leaf v1");
const NODE: Domain = Domain::new("aether 2026-11 merkle node v1");
const EMPTY: Domain = Domain::new("aether 2026-11 merkle empty v1");

/// The hash of a leaf's data.
pub fn leaf_hash(data: &[u8]) -> Hash {
    LEAF.hash(data)
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    NODE.hasher().update(left.as_ref()).update(right.as_ref()).finish()
}

/// The root over leaf hashes, in order. No leaves have a root of their own.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY.hash(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `n`, for `n` of two or more.
fn split(n: usize) -> usize {
    1 << (usize::BITS - 1 - (n - 1).leading_zeros())
}

/// Shows that a leaf stands at an index of a tree: the siblings on its way up, lowest first
/// (RFC 9162, section 2.1.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Sibling hashes from the leaf's to the root's child.
    pub siblings: Vec<Hash>,
}

impl Proof {
    /// The proof for leaf `index`, or `None` if there is no such leaf.
    pub fn new(leaves: &[Hash], index: usize) -> Option<Self> {
        if index >= leaves.len() {
            return None;
        }
        let mut siblings = Vec::new();
        collect(leaves, index, &mut siblings);
        Some(Self { siblings })
    }

    /// Whether `leaf` stands at `index` of the tree with `count` leaves and this `root`
    /// (RFC 9162, section 2.1.3.2). Work and memory are bounded by the bits of `count`.
    #[must_use]
    pub fn verify(&self, root: &Hash, count: u64, index: u64, leaf: &Hash) -> bool {
        if index >= count {
            return false;
        }
        let (mut node, mut last, mut hash) = (index, count - 1, *leaf);
        for sibling in &self.siblings {
            if last == 0 {
                return false;
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        last == 0 && hash == *root
    }
}

fn collect(leaves: &[Hash], index: usize, siblings: &mut Vec<Hash>) {
    if leaves.len() < 2 {
        return;
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    if index < at {
        collect(left, index, siblings);
        siblings.push(root(right));
    } else {
        collect(right, index - at, siblings);
        siblings.push(root(left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn splits_at_the_largest_power_of_two_below() {
        let splits = [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8)];
        for (n, at) in splits {
            assert_eq!(split(n), at, "{n}");
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved() {
        for n in 1..=33 {
            let leaves = leaves(n);
            let root = root(&leaves);
            for (index, leaf) in leaves.iter().enumerate() {
                let proof = Proof::new(&leaves, index).unwrap();
                assert!(proof.verify(&root, n as u64, index as u64, leaf), "{index} of {n}");
            }
            assert_eq!(Proof::new(&leaves, n), None);
        }
    }

    #[test]
    fn a_proof_shows_nothing_else() {
        for n in 2..=17 {
            let leaves = leaves(n);
            let root = root(&leaves);
            for index in 0..n {
                let proof = Proof::new(&leaves, index).unwrap();
                let (leaf, wrong) = (&leaves[index], &leaves[(index + 1) % n]);
                let (count, index) = (n as u64, index as u64);
                assert!(!proof.verify(&root, count, index, wrong));
                assert!(!proof.verify(&root, count, (index + 1) % count, leaf));
                assert!(!proof.verify(&root, count, count + index, leaf));
                let mut long = proof.clone();
                long.siblings.push(root);
                assert!(!long.verify(&root, count, index, leaf));
                let mut short = proof.clone();
                short.siblings.pop();
                assert!(!short.verify(&root, count, index, leaf));
            }
        }
    }

    #[test]
    fn a_node_is_never_taken_for_a_leaf() {
        let leaves = leaves(2);
        let inner = [leaves[0].as_ref(), leaves[1].as_ref()].concat();
        assert_ne!(leaf_hash(&inner), root(&leaves));
        assert_ne!(root(&[]), leaf_hash(&[]));
    }

    #[test]
    fn a_hostile_length_of_proof_is_harmless() {
        let proof = Proof { siblings: vec![leaf_hash(b"x"); 10_000] };
        assert!(!proof.verify(&leaf_hash(b"r"), u64::MAX, u64::MAX - 1, &leaf_hash(b"l")));
    }
}
