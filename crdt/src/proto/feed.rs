//! A feed: one author's append-only log, and what is kept of it when its author forks it.
//!
//! The entries of a feed are numbered from 1, and each links to the hash of the header before it.
//! An honest author's entries are a chain. A liar's are a tree, whose nodes are its entries and
//! whose root is [`Tip::ROOT`], to which the entries with number 1 link. A *branch* is an entry
//! with all that descends from it. A set of entries is *closed* if it holds the parent of each.
//!
//! # Rules
//!
//! 1. **Trunk and two lanes.** Of a tree is kept: the *trunk*, followed from the root as long as
//!    there is one child; at the first entry with several, the two children with the smallest
//!    header hashes, the *heads*; above each head its *lane*, which goes on with the smallest child
//!    as long as there is one. That is two entries at most for each number, each linked down to
//!    number 1, and a function of the tree alone: not of clocks, arrival or who delivered.
//! 2. **Entry by entry.** [`Lanes`] finds what rule 1 keeps while entries arrive, in any order that
//!    puts a parent before its children. What isn't kept can be forgotten: it never returns as long
//!    as base and pins are the same.
//! 3. **Bases.** An owner may pin a checkpoint of the feed, its *base*. Then rule 1 is applied to
//!    what descends from the base, with the base as root, and whatever else has no higher number is
//!    refused. So no fork below a base changes anything.
//! 4. **Pins.** A removal of the author pins tips. Then no hash decides: kept are the [`Chains`]
//!    down from the pinned tips, and nothing else ever is. A pin that doesn't lie above the base
//!    and descend from it counts as the base.
//! 5. **Evidence** of a fork is apart from what is kept: the lowest number for which two authentic
//!    headers were seen, and the two smallest hashes there. It is taken of every authentic header,
//!    also below bases and of removed authors, and no base or pin ends it. A chain never gives any,
//!    so an honest author is never named. Whoever evicts or refuses an entry for a fork has
//!    evidence at or below its number, so nobody need wait for it ([`Evidence::excuses`]).
//!
//! Two smallest hashes of *each number* wouldn't do: where links are followed, a smaller child that
//! arrives late takes away what a smaller grandchild had displaced, and the end depends on order.
//!
//! # Why order can't show
//!
//! Let `f` be rule 1, `U` and `V` closed sets of entries. *Lemma*: if `f(U) ⊆ V ⊆ U`, then
//! `f(V) = f(U)`; and so `f(S ∪ T) = f(f(S) ∪ f(T))`.
//!
//! *Proof.* If `U` has no branching, `f(U) = U = V`. Else the first entry of `U` that branches has
//! in `V` the same two smallest children, since `f(U)` has them; below it `V` branches nowhere,
//! since `U` doesn't; and along each lane the smallest child in `U` is in `V`, and smallest there.
//! So `f(V) = f(U)`.
//!
//! Now take closed `S` and `T`, `U = S ∪ T`, and an entry of `f(U)` that is in `S`. The way up to
//! it is in `S`. Each step of it is in `U` to an only child, to one of two smallest or to the
//! smallest, and in `S` to the same or better, as children of `S` are children of `U`; a step to a
//! smallest child is one that `f(S)` takes, whether that is in the trunk, to a head or in a lane,
//! and a step to one of the two smallest is in `S` to a head or, if the other is missing, in the
//! trunk. So `f(U) ∩ S ⊆ f(S)`, and the same for `T`: `f(U) ⊆ f(S) ∪ f(T) ⊆ U`, and the first part
//! applies. ∎
//!
//! So what replicas keep is a join semilattice under `S, T ↦ f(S ∪ T)`. Rule 2 is the case of one
//! entry `h` whose parent is in `f(S)`: `f(S ∪ {h}) = f(f(S) ∪ {h})`, which differs from `f(S)` in
//! the way of one row of [`Placed`]. If the parent is in `S` but was evicted, then
//! `f(S ∪ {h}) = f(S)`: the parent isn't in `f(S ∪ {h})`, so `h` isn't either. So an entry whose
//! parent isn't kept may be forgotten too, or wait for it; both end alike once it is offered again
//! after its parent.
//!
//! Of a closed set the lowest number with two entries is that of the heads, so evidence of all of
//! it is the pair of heads; [`Evidence::join`] is a minimum, and so a semilattice too.
//!
//! What a *change* of base or pins keeps is what the new rule keeps of what is still there: a
//! branch that was evicted under the old rule and stands under the new one has to be offered again.
//!
//! # Example
//!
//! ```
//! use aether_core::Hash;
//! use aether_crdt::proto::feed::{Feed, Kept as _, Node, Nodes, Placed, Tip};
//!
//! let hash = |byte| Hash::from_bytes([byte; 32]);
//! let entry = |number, byte, parent| Node { number, hash: hash(byte), parent };
//!
//! let (mut feed, mut kept) = (Feed::default(), Nodes::default());
//! for (node, placed) in [
//!     (entry(1, 9, Tip::ROOT.hash), Placed::Appended),
//!     (entry(2, 7, hash(9)), Placed::Appended),
//!     (entry(2, 8, hash(9)), Placed::Forked { beside: hash(7) }),
//!     // The third entry with number 2 displaces the largest.
//!     (entry(2, 3, hash(9)), Placed::Replaced { evicted: Tip { number: 2, hash: hash(8) } }),
//! ] {
//!     assert_eq!(feed.insert(node, &kept), placed);
//!     placed.evicted().into_iter().for_each(|from| drop(kept.evict(from)));
//!     kept.insert(node);
//! }
//! assert_eq!(kept.at(2).map(|node| node.hash).collect::<Vec<_>>(), [hash(3), hash(7)]);
//! assert_eq!(feed.evidence().unwrap().pair(), [hash(3), hash(7)]);
//! ```

mod chains;
mod evidence;
mod kept;
mod lanes;

#[cfg(test)]
mod tests;

pub use self::{
    chains::Chains,
    evidence::Evidence,
    kept::{Kept, Node, Nodes, Tip},
    lanes::{Lane, Lanes, Placed, Rebased},
};

/// What is kept of a feed, and the evidence of its forks, in memory: some 300 bytes, and 40 for
/// each pinned tip. The entries are stored elsewhere ([`Kept`]).
///
/// It decides; whoever stores does the following in one batch with what was decided: puts the entry
/// that [`insert`](Self::insert) placed, drops what it evicted, and keeps the two headers that new
/// [`evidence`](Self::evidence) names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    shape: Shape,
    evidence: Option<Evidence>,
}

/// Which rule says what of a feed is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Its author stands: trunk and two lanes.
    Open(Lanes),
    /// Its author was removed: what the removals pinned.
    Pinned(Chains),
}

impl Default for Shape {
    fn default() -> Self {
        Self::Open(Lanes::default())
    }
}

impl Feed {
    /// A feed as it was stored.
    pub const fn restore(shape: Shape, evidence: Option<Evidence>) -> Self {
        Self { shape, evidence }
    }

    /// What is kept.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The tips of what is kept: at most two, unless the feed is pinned.
    pub fn tips(&self) -> Vec<Tip> {
        match &self.shape {
            Shape::Open(lanes) => lanes.tips().collect(),
            Shape::Pinned(chains) => chains.tips().collect(),
        }
    }

    /// What the lowest kept entry links to: [`Tip::ROOT`], or a checkpoint that was pinned.
    pub const fn base(&self) -> Tip {
        match &self.shape {
            Shape::Open(lanes) => lanes.base(),
            Shape::Pinned(chains) => chains.base(),
        }
    }

    /// What shows that the author forked, if anything does.
    pub const fn evidence(&self) -> Option<Evidence> {
        self.evidence
    }

    /// Takes evidence from elsewhere, whose two signatures were checked, and tells whether it is
    /// news.
    pub fn note(&mut self, evidence: Evidence) -> bool {
        let joined = self.evidence.map_or(evidence, |known| known.join(evidence));
        let is_news = self.evidence != Some(joined);
        self.evidence = Some(joined);
        is_news
    }

    /// What would become of an entry; nothing changes. One look-up at most. The header needs no
    /// checked signature yet, only a number that is one more than its parent's.
    pub fn judge(&self, node: &Node, kept: &impl Kept) -> Placed {
        match &self.shape {
            Shape::Open(lanes) => lanes.judge(node, kept),
            Shape::Pinned(chains) => chains.judge(node, kept),
        }
    }

    /// Takes the entry of an authentic header in, and tells what became of it. The evidence falls,
    /// if another header with the number is kept. See [`Lanes`] for the look-ups.
    ///
    /// # Panics
    /// `kept` lacks an entry that was placed and not evicted.
    pub fn insert(&mut self, node: Node, kept: &impl Kept) -> Placed {
        let placed = match &mut self.shape {
            Shape::Open(lanes) => lanes.insert(node, kept),
            Shape::Pinned(chains) => chains.judge(&node, kept),
        };
        // What continues the feed stands alone at its number, or above a fork that is known.
        if !matches!(placed, Placed::Appended | Placed::Held) {
            self.witness(&node, kept);
        }
        placed
    }

    /// Takes an authentic header for what it shows of forks, and for nothing else: that of an entry
    /// whose payload is withheld, say. Tells whether it is news.
    pub fn witness(&mut self, node: &Node, kept: &impl Kept) -> bool {
        if self.evidence.is_some_and(|known| known.number() < node.number) {
            return false;
        }
        let mut level: Vec<Node> = kept.at(node.number).collect();
        level.push(*node);
        Evidence::among(&level).is_some_and(|evidence| self.note(evidence))
    }

    /// Raises the base of an open feed: see [`Lanes::rebase`]. A pinned feed is
    /// [pinned](Self::pin) anew with the higher base instead, and here is left as it is.
    ///
    /// # Panics
    /// As [`insert`](Self::insert).
    pub fn rebase(&mut self, base: Tip, kept: &impl Kept) -> Rebased {
        let Shape::Open(lanes) = &mut self.shape else { return Rebased::Behind };
        let rebased = lanes.rebase(base, kept);
        if rebased == Rebased::Unknown {
            // What goes was on another branch; this is what excuses who cited it.
            for node in kept.at(base.number) {
                if let Some(evidence) = Evidence::of(base, node.tip()) {
                    self.note(evidence);
                }
            }
        }
        rebased
    }

    /// Keeps the chains from the base to the tips that removals pinned, and tells which entries
    /// above the base go, lowest first. `all` holds what is kept and, beside it, the pinned chains.
    ///
    /// As many look-ups as the longest branch has entries above the base, and as many again for
    /// each pin.
    ///
    /// # Errors
    /// The highest entry of a pinned chain that `all` lacks: ask for it. Nothing changed, and the
    /// removal doesn't count yet.
    pub fn pin(&mut self, base: Tip, pins: &[Tip], all: &impl Kept) -> Result<Vec<Node>, Tip> {
        let top = self.tips().into_iter().map(|tip| tip.number).max().unwrap_or(0);
        let followed = Chains::follow(base, pins, top, all)?;
        self.shape = Shape::Pinned(followed.chains);
        if let Some(evidence) = followed.evidence {
            self.note(evidence);
        }
        Ok(followed.evicted)
    }

    /// Opens a feed again, since no removal of its author stands any more, and tells which entries
    /// go, lowest first. `all` holds what is kept, and may hold what was evicted once, closed under
    /// parents down to the base. See [`Lanes::gather`] for the cost.
    pub fn open(&mut self, base: Tip, all: &impl Kept) -> Vec<Node> {
        let (lanes, evicted) = Lanes::gather(base, all);
        if let Some([a, b]) = lanes.fork() {
            let number = lanes.trunk().number + 1;
            let head = |hash| Tip { number, hash };
            if let Some(evidence) = Evidence::of(head(a.head), head(b.head)) {
                self.note(evidence);
            }
        }
        self.shape = Shape::Open(lanes);
        evicted
    }
}
