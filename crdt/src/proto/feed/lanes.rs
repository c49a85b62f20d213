//! Lanes: which entries of a forked feed are kept, found entry by entry. See rules 1 to 4 of the
//! [module](super).

use aether_core::Hash;

use super::{Kept, Node, Tip};

/// The trunk of a feed and the two lanes above its first fork, as names of their ends.
///
/// In memory are the base, the end of the trunk and, of each lane, its head (its lowest entry) and
/// its tip: some 230 bytes, whatever the feed's length and however many branches its author signs.
/// All else is looked up in [`Kept`], and what that tells must be what was placed so far:
/// store each entry that was placed, and drop what it evicted, before the next.
///
/// | an entry arrives | look-ups |
/// |---|---|
/// | above a tip, or above the end of the trunk | none |
/// | anywhere else | one |
/// | and replaces the inside of a lane | one more for each entry that it evicts, at most |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// What the lowest kept entry links to.
    base: Tip,
    /// The last entry below the fork; without a fork the feed's tip. The base, if nothing is there.
    trunk: Tip,
    /// Ascending by head. Both heads link to the end of the trunk.
    fork: Option<[Lane; 2]>,
}

/// One kept branch above a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The hash of its lowest entry, whose number is that of the fork.
    pub head: Hash,
    /// Its highest entry.
    pub tip: Tip,
}

/// What became of an entry.
///
/// `Lost`, `Below` and `Pinned` are final as long as base and pins stay: whatever arrives later,
/// the entry isn't kept, nor is anything that links to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Kept: it continues the feed or one of its lanes.
    Appended,
    /// Kept: it is a branch beside `beside`, and the feed a chain no longer.
    Forked {
        /// The entry with the same parent that is kept too.
        beside: Hash,
    },
    /// Kept: it forks the trunk, lower than the fork before. Drop `evicted` and all above it.
    Lowered {
        /// The entry with the same parent that is kept too.
        beside: Hash,
        /// The head of the larger lane of the fork before.
        evicted: Tip,
    },
    /// Kept: its hash is smaller. Drop `evicted` and all above it.
    Replaced {
        /// The sibling, or of two siblings the larger.
        evicted: Tip,
    },
    /// It was kept already.
    Held,
    /// Not kept, since its parent isn't. The parent may be on its way, or may have been evicted:
    /// that can't be told from here. Ask whoever offered it for the parent; if that comes back as
    /// `Lost` or `Below`, this entry is lost with it.
    Gap,
    /// Not kept, since its hash is larger. What links to it is lost too.
    Lost {
        /// The sibling it lost to, or of two siblings the larger.
        to: Hash,
    },
    /// Not kept: at or below the base, and not the base itself; or right above it, and linked to
    /// something else. What links to it isn't kept either, unless that is the base.
    Below,
    /// Not kept: a removal pinned other entries of the feed.
    Pinned,
}

impl Placed {
    /// Whether the entry is kept, newly or since before.
    pub const fn is_kept(&self) -> bool {
        self.is_new() || matches!(self, Self::Held)
    }

    /// Whether the entry is kept and wasn't before.
    pub const fn is_new(&self) -> bool {
        matches!(
            self,
            Self::Appended | Self::Forked { .. } | Self::Lowered { .. } | Self::Replaced { .. }
        )
    }

    /// The lowest entry that has to go; all above it goes too ([`Kept::above`]).
    pub const fn evicted(&self) -> Option<Tip> {
        match self {
            Self::Lowered { evicted, .. } | Self::Replaced { evicted } => Some(*evicted),
            _ => None,
        }
    }
}

/// What became of the lanes when their base rose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebased {
    /// The base was kept: drop `evicted`, if any, and all above it.
    Kept {
        /// The head of the lane that the base isn't on.
        evicted: Option<Tip>,
    },
    /// The base wasn't kept, so nothing kept descends from it: drop everything, and offer anew what
    /// does descend from it.
    Unknown,
    /// The base that stands is as high or higher. Nothing changed.
    Behind,
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new(Tip::ROOT)
    }
}

impl Lanes {
    /// Nothing above `base` yet; [`Tip::ROOT`], if nothing is pinned.
    pub const fn new(base: Tip) -> Self {
        Self { base, trunk: base, fork: None }
    }

    /// Lanes as they were stored, in the words of [`base`](Self::base), [`trunk`](Self::trunk) and
    /// [`fork`](Self::fork). `None` if no lanes look like that: what was stored is damaged.
    pub fn restore(base: Tip, trunk: Tip, fork: Option<[Lane; 2]>) -> Option<Self> {
        let trunk_stands = trunk == base || trunk.number > base.number;
        let lane_stands = |lane: &Lane| {
            lane.tip.number > trunk.number
                && (lane.tip.number - trunk.number > 1 || lane.tip.hash == lane.head)
        };
        let fork_stands = fork
            .as_ref()
            .is_none_or(|lanes| lanes[0].head < lanes[1].head && lanes.iter().all(lane_stands));
        (trunk_stands && fork_stands).then_some(Self { base, trunk, fork })
    }

    /// The lanes of all that is stored, from the definition, and what of it isn't kept, lowest
    /// first. As many look-ups as the longest branch has entries.
    ///
    /// For what changes at once: a feed that was pinned and is open again. `all` is closed under
    /// parents down to the base.
    pub fn gather(base: Tip, all: &impl Kept) -> (Self, Vec<Node>) {
        let mut lanes = Self::new(base);
        let mut evicted = Vec::new();
        let mut next = base.number.checked_add(1);
        while let Some(number) = next {
            let mut level: Vec<Node> = all.at(number).collect();
            if level.is_empty() {
                break;
            }
            level.sort_unstable_by_key(|node| node.hash);
            lanes.climb(&level, &mut evicted);
            next = number.checked_add(1);
        }
        (lanes, evicted)
    }

    /// Takes the entries of the next number, ascending by hash.
    fn climb(&mut self, level: &[Node], evicted: &mut Vec<Node>) {
        let mut kept = Vec::with_capacity(2);
        if let Some(lanes) = &mut self.fork {
            for lane in lanes {
                let below = |node: &&Node| links(node, lane.tip);
                // Ascending, so the first child is the smallest.
                kept.extend(level.iter().find(below).map(|child| {
                    lane.tip = child.tip();
                    lane.tip
                }));
            }
        } else {
            let children = level.iter().filter(|node| links(node, self.trunk));
            kept.extend(children.take(2).map(Node::tip));
            match kept[..] {
                [only] => self.trunk = only,
                [a, b] => self.fork = Some([a, b].map(|tip| Lane { head: tip.hash, tip })),
                _ => {}
            }
        }
        evicted.extend(level.iter().filter(|node| !kept.contains(&node.tip())));
    }

    /// What the lowest kept entry links to.
    pub const fn base(&self) -> Tip {
        self.base
    }

    /// The last entry below the fork; without a fork the tip of the feed. The base, if there is
    /// nothing above it.
    pub const fn trunk(&self) -> Tip {
        self.trunk
    }

    /// The two lanes of a forked feed, ascending by their heads.
    pub const fn fork(&self) -> Option<&[Lane; 2]> {
        self.fork.as_ref()
    }

    /// The tips: none of an empty feed, one of a chain, two of a forked feed, in the order of the
    /// lanes. A base with nothing above it is the tip.
    pub fn tips(&self) -> impl Iterator<Item = Tip> {
        let lanes = self.fork.iter().flatten().map(|lane| lane.tip);
        let alone = self.fork.is_none() && self.trunk != Tip::ROOT;
        lanes.chain(alone.then_some(self.trunk))
    }

    /// The number that [`judge`](Self::judge) looks up for this entry, if any. Who reads from a
    /// disk reads this first.
    pub fn look_up(&self, node: &Node) -> Option<u64> {
        let known = self.without_look_up(node).is_some();
        (!known).then_some(node.number)
    }

    /// What would become of an entry; nothing changes. One look-up at most, so an entry that would
    /// lose costs no signature.
    ///
    /// The number of an entry is one more than its parent's, else the parent isn't found.
    pub fn judge(&self, node: &Node, kept: &impl Kept) -> Placed {
        if let Some(placed) = self.without_look_up(node) {
            return placed;
        }
        // A kept parent that is neither a tip nor the end of the trunk has one kept child, so the
        // sibling tells whether the parent is kept.
        let Some(sibling) = kept.child(node.number, node.parent) else {
            return Placed::Gap;
        };
        if sibling.hash == node.hash {
            return Placed::Held;
        }
        if node.number > self.trunk.number {
            let evicted = sibling.tip();
            let wins = node.hash < sibling.hash;
            return if wins {
                Placed::Replaced { evicted }
            } else {
                Placed::Lost { to: evicted.hash }
            };
        }
        let beside = sibling.hash;
        match &self.fork {
            None => Placed::Forked { beside },
            Some([_, larger]) => Placed::Lowered { beside, evicted: self.head(larger) },
        }
    }

    /// What would become of an entry, where tips and heads suffice to tell.
    fn without_look_up(&self, node: &Node) -> Option<Placed> {
        if node.number <= self.base.number {
            return Some(if node.tip() == self.base { Placed::Held } else { Placed::Below });
        }
        if node.number - 1 == self.base.number && node.parent != self.base.hash {
            return Some(Placed::Below);
        }
        let Some(lanes) = &self.fork else {
            return links(node, self.trunk).then_some(Placed::Appended);
        };
        if !links(node, self.trunk) {
            return lanes.iter().any(|lane| links(node, lane.tip)).then_some(Placed::Appended);
        }
        let larger = &lanes[1];
        Some(if lanes.iter().any(|lane| lane.head == node.hash) {
            Placed::Held
        } else if node.hash < larger.head {
            Placed::Replaced { evicted: self.head(larger) }
        } else {
            Placed::Lost { to: larger.head }
        })
    }

    /// Takes an entry in, and tells what became of it as [`judge`](Self::judge) does. Before the
    /// next entry, `kept` has to hold what this one changed.
    ///
    /// # Panics
    /// `kept` lacks an entry that was placed and not evicted.
    pub fn insert(&mut self, node: Node, kept: &impl Kept) -> Placed {
        let placed = self.judge(&node, kept);
        match placed {
            Placed::Appended => self.append(&node),
            Placed::Forked { beside } => {
                let old = Lane { head: beside, tip: self.trunk };
                self.begin_fork(old, &node);
            }
            Placed::Lowered { beside, .. } => {
                let [smaller, _] = self.fork.expect("a fork that is lowered is there");
                let old = Lane { head: beside, tip: smaller.tip };
                self.begin_fork(old, &node);
            }
            Placed::Replaced { .. } if links(&node, self.trunk) => {
                let [smaller, _] = self.fork.expect("a head that is replaced is there");
                self.begin_fork(smaller, &node);
            }
            Placed::Replaced { evicted } => {
                let lane = self.lane_of(evicted, kept);
                let lanes = self.fork.as_mut().expect("a lane that is replaced is there");
                lanes[lane].tip = node.tip();
            }
            Placed::Held | Placed::Gap | Placed::Lost { .. } => {}
            Placed::Below | Placed::Pinned => {}
        }
        placed
    }

    fn append(&mut self, node: &Node) {
        let lanes = self.fork.iter_mut().flatten().map(|lane| &mut lane.tip);
        // With a fork, what links to the trunk's end isn't appended.
        let tip = lanes.chain([&mut self.trunk]).find(|tip| links(node, **tip));
        *tip.expect("what is appended links to a tip") = node.tip();
    }

    /// A fork between a lane and an entry, right above what the entry links to.
    fn begin_fork(&mut self, old: Lane, node: &Node) {
        let mut lanes = [old, Lane { head: node.hash, tip: node.tip() }];
        lanes.sort_unstable_by_key(|lane| lane.head);
        self.trunk = Tip { number: node.number - 1, hash: node.parent };
        self.fork = Some(lanes);
    }

    fn head(&self, lane: &Lane) -> Tip {
        // A tip above the trunk has a number above the trunk's.
        Tip { number: self.trunk.number + 1, hash: lane.head }
    }

    /// Which lane a kept entry above the fork is on: found on the way up from it, which ends at the
    /// shorter lane's tip or above it.
    fn lane_of(&self, tip: Tip, kept: &impl Kept) -> usize {
        let lanes = self.fork.as_ref().expect("an entry above the fork");
        let shorter = usize::from(lanes[1].tip.number < lanes[0].tip.number);
        let end = lanes[shorter].tip;
        let mut at = tip;
        while at.number < end.number {
            // Without a child, it is the tip of neither lane.
            let child = kept.child(at.number + 1, at.hash).expect("below a tip there is a child");
            at = child.tip();
        }
        if at == end { shorter } else { 1 - shorter }
    }

    /// Raises the base to an entry above it, a checkpoint that was pinned: only what descends from
    /// it is kept from now on. What lies below it is no longer the lanes' concern.
    ///
    /// One look-up if the base is in the trunk, else one for each entry from it to the shorter
    /// lane's tip.
    ///
    /// # Panics
    /// As [`insert`](Self::insert).
    pub fn rebase(&mut self, base: Tip, kept: &impl Kept) -> Rebased {
        if base.number <= self.base.number {
            return Rebased::Behind;
        }
        if kept.get(base).is_none() {
            *self = Self::new(base);
            return Rebased::Unknown;
        }
        if base.number <= self.trunk.number {
            self.base = base;
            return Rebased::Kept { evicted: None };
        }
        let stands = self.lane_of(base, kept);
        let lanes = self.fork.expect("an entry above the trunk is on a lane");
        let evicted = Some(self.head(&lanes[1 - stands]));
        *self = Self { base, trunk: lanes[stands].tip, fork: None };
        Rebased::Kept { evicted }
    }
}

fn links(node: &Node, parent: Tip) -> bool {
    node.parent == parent.hash && node.number.checked_sub(1) == Some(parent.number)
}
