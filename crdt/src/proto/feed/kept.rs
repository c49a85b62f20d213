//! What is kept of a feed, as the structure over it sees it.

use std::collections::BTreeMap;

use aether_core::Hash;

/// The name of an entry within its feed: its number and its header's hash.
///
/// Ordered by number, then by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tip {
    /// The entry's number. The first of a feed has 1.
    pub number: u64,
    /// The hash of its header.
    pub hash: Hash,
}

impl Tip {
    /// What the first entries of a feed link to: number 0, and a hash of zeros.
    pub const ROOT: Self = Self { number: 0, hash: Hash::from_bytes([0; Hash::LEN]) };
}

/// What forks need to know of a header: its place in the feed's tree.
///
/// Hashes are those of whole headers, so a hash settles number and parent, and links can't run in
/// a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The entry's number, one more than its parent's.
    pub number: u64,
    /// The hash of its header.
    pub hash: Hash,
    /// The hash of the header before it, of zeros for number 1.
    pub parent: Hash,
}

impl Node {
    /// The entry's name.
    pub const fn tip(&self) -> Tip {
        Tip { number: self.number, hash: self.hash }
    }
}

/// The entries that are kept of one feed, wherever they are stored.
///
/// What implements this tells what is stored *after* everything that was placed so far was stored
/// and evicted: a look-up must not lag behind. Each look-up is one short scan, since numbers are
/// the front of the key; [`Lanes`](super::Lanes) says how many it makes.
pub trait Kept {
    /// The kept entries with this number, in any order: two at most, unless the feed is pinned.
    fn at(&self, number: u64) -> impl Iterator<Item = Node>;

    /// The kept entry with this name.
    fn get(&self, tip: Tip) -> Option<Node> {
        self.at(tip.number).find(|node| node.hash == tip.hash)
    }

    /// A kept entry with this number that links to `parent`. Inside a lane there is one at most.
    fn child(&self, number: u64, parent: Hash) -> Option<Node> {
        self.at(number).find(|node| node.parent == parent)
    }

    /// An entry of a lane and all that is kept above it, lowest first: what goes when `from` is
    /// evicted. One look-up for each.
    ///
    /// Only inside a lane, where each entry has one child at most. Nothing if `from` isn't kept.
    fn above(&self, from: Tip) -> impl Iterator<Item = Node> {
        std::iter::successors(self.get(from), |node| {
            node.number.checked_add(1).and_then(|next| self.child(next, node.hash))
        })
    }
}

/// Entries in memory: 72 bytes and the tree's overhead for each.
///
/// For feeds that are known to be short, and for tests. What may grow is stored elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes(BTreeMap<Tip, Hash>);

impl Nodes {
    /// Puts an entry. One that is there already stays.
    pub fn insert(&mut self, node: Node) {
        self.0.insert(node.tip(), node.parent);
    }

    /// Removes one entry, and tells whether it was there.
    pub fn remove(&mut self, tip: Tip) -> bool {
        self.0.remove(&tip).is_some()
    }

    /// Removes an entry of a lane and all above it, and tells what went, lowest first.
    pub fn evict(&mut self, from: Tip) -> Vec<Node> {
        let gone: Vec<Node> = self.above(from).collect();
        for node in &gone {
            self.0.remove(&node.tip());
        }
        gone
    }

    /// All entries by number, then by hash.
    pub fn iter(&self) -> impl Iterator<Item = Node> {
        self.0.iter().map(|(tip, parent)| node(tip, parent))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Node> for Nodes {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        Self(nodes.into_iter().map(|node| (node.tip(), node.parent)).collect())
    }
}

impl Kept for Nodes {
    fn at(&self, number: u64) -> impl Iterator<Item = Node> {
        let first = Tip { number, hash: Hash::from_bytes([0; Hash::LEN]) };
        let last = Tip { number, hash: Hash::from_bytes([u8::MAX; Hash::LEN]) };
        self.0.range(first..=last).map(|(tip, parent)| node(tip, parent))
    }
}

fn node(tip: &Tip, parent: &Hash) -> Node {
    Node { number: tip.number, hash: tip.hash, parent: *parent }
}
