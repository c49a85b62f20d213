//! Tests of the rules of the [module](super): against the definition, as laws, and scripted.

mod bounds;
mod evidence;
mod laws;
mod oracle;
mod orders;
mod pins;
mod scripts;

use std::cell::Cell;

use aether_core::{Domain, Hash};
use rand::{Rng as _, RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;

use super::*;

const HASH: Domain = Domain::new("aether tests feed node");

/// An entry whose hash begins with `rank`, so that scripts choose who is smaller.
fn entry(rank: u8, parent: Tip) -> Node {
    let mut bytes = *HASH.hash(parent.hash.as_ref()).as_bytes();
    bytes[0] = rank;
    Node { number: parent.number + 1, hash: Hash::from_bytes(bytes), parent: parent.hash }
}

/// Entries in a row, with these ranks.
fn chain(parent: Tip, ranks: &[u8]) -> Vec<Node> {
    let mut tip = parent;
    let grow = |rank: &u8| {
        let node = entry(*rank, tip);
        tip = node.tip();
        node
    };
    ranks.iter().map(grow).collect()
}

/// A tree of up to `size` entries, parents before children, of a shape that the seed draws.
fn tree(rng: &mut ChaCha12Rng, size: usize) -> Vec<Node> {
    let size = rng.random_range(1..=size);
    let straight = [0.3, 0.7, 0.9, 1.0][rng.random_range(0..4)];
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..size {
        let parent = match nodes.last() {
            Some(last) if rng.random_bool(straight) => last.tip(),
            Some(_) if rng.random_bool(0.9) => nodes[rng.random_range(0..nodes.len())].tip(),
            _ => Tip::ROOT,
        };
        let hash = HASH.hash(&rng.next_u64().to_be_bytes());
        nodes.push(Node { number: parent.number + 1, hash, parent: parent.hash });
    }
    nodes
}

/// What stores a feed as its driver would: what is placed is put, what is evicted goes, and what
/// has a gap waits.
#[derive(Clone, Debug, Default)]
struct Replica {
    feed: Feed,
    kept: Nodes,
    waiting: Nodes,
    /// All that was evicted or lost.
    gone: Vec<Node>,
    changes: usize,
}

impl Replica {
    fn insert(&mut self, node: Node) -> Placed {
        let judged = self.feed.judge(&node, &self.kept);
        let placed = self.feed.insert(node, &self.kept);
        assert_eq!(judged, placed);
        if let Some(from) = placed.evicted() {
            let evicted = self.kept.evict(from);
            assert!(!evicted.is_empty(), "{placed:?} evicts something");
            self.gone.extend(evicted);
            self.changes += 1;
        }
        if placed.is_new() {
            self.kept.insert(node);
        } else if matches!(placed, Placed::Lost { .. }) {
            self.gone.push(node);
        }
        self.check();
        placed
    }

    /// Takes an entry in, or lets it wait for its parent, and then what waited for it.
    fn offer(&mut self, node: Node) {
        self.waiting.insert(node);
        let mut moved = true;
        while moved {
            moved = false;
            for node in self.waiting.clone().iter() {
                let placed = self.insert(node);
                if placed != Placed::Gap {
                    self.waiting.remove(node.tip());
                    moved = true;
                }
            }
        }
    }

    /// What the other keeps, and its evidence.
    fn merge(&mut self, other: &Self) {
        other.feed.evidence().map(|evidence| self.feed.note(evidence));
        for node in other.kept.iter() {
            self.insert(node);
        }
    }

    fn rebase(&mut self, base: Tip) -> Rebased {
        let rebased = self.feed.rebase(base, &self.kept);
        match rebased {
            Rebased::Kept { evicted } => {
                self.gone.extend(evicted.map(|from| self.kept.evict(from)).into_iter().flatten());
            }
            Rebased::Unknown => {
                let kept = std::mem::take(&mut self.kept);
                self.gone.extend(kept.iter().filter(|node| node.number > base.number));
            }
            Rebased::Behind => return rebased,
        }
        self.kept = self.kept.iter().filter(|node| node.number > base.number).collect();
        self.check();
        rebased
    }

    /// What holds at all times of a feed that is open.
    fn check(&self) {
        let Shape::Open(lanes) = self.feed.shape() else { return };
        let again = Lanes::restore(lanes.base(), lanes.trunk(), lanes.fork().copied());
        assert_eq!(again.as_ref(), Some(lanes), "lanes can be stored and restored");
        if let Some(lanes) = lanes.fork() {
            let evidence = self.feed.evidence().expect("a fork that is kept is in evidence");
            let pair = [lanes[0].head, lanes[1].head];
            let fork = self.feed.fork_number().unwrap();
            assert!(evidence.number() < fork || evidence.pair() <= pair);
        }
        for node in &self.gone {
            let evidence = self.feed.evidence().expect("nothing goes without evidence");
            assert!(evidence.excuses(node.number), "who cited it need not wait for it");
        }
    }
}

impl Feed {
    fn fork_number(&self) -> Option<u64> {
        let Shape::Open(lanes) = &self.shape else { return None };
        lanes.fork().map(|_| lanes.trunk().number + 1)
    }
}

/// Counts look-ups.
struct Counted<'a>(&'a Nodes, Cell<usize>);

impl Kept for Counted<'_> {
    fn at(&self, number: u64) -> impl Iterator<Item = Node> {
        self.1.set(self.1.get() + 1);
        self.0.at(number)
    }
}

fn shuffled(rng: &mut ChaCha12Rng, nodes: &[Node]) -> Vec<Node> {
    let mut nodes = nodes.to_vec();
    nodes.shuffle(rng);
    nodes
}

/// Runs a property with many seeds, and names the one it fails with.
fn for_seeds(count: u64, property: impl Fn(&mut ChaCha12Rng)) {
    for seed in 0..count {
        let named = Seed(seed);
        property(&mut ChaCha12Rng::seed_from_u64(seed));
        drop(named);
    }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}
