//! The rules over whole sets of headers, computed from nothing each time. Of the judge's code it
//! uses none.

use super::*;

type Tree = BTreeMap<Tip, Signed>;

/// What a set of headers makes of a space.
pub(super) struct Spec {
    genesis: Genesis,
    /// All headers of each feed whose chains are there.
    trees: BTreeMap<FeedId, Tree>,
    ops: BTreeMap<EntryId, Signed>,
    a0: BTreeSet<EntryId>,
    a1: BTreeSet<EntryId>,
}

impl Spec {
    pub(super) fn new(genesis: &Genesis, seen: &[Signed]) -> Self {
        let mut seen = seen.to_vec();
        seen.sort_by_key(Signed::tip);
        let mut trees: BTreeMap<FeedId, Tree> = BTreeMap::new();
        for signed in &seen {
            let tree = trees.entry(signed.feed()).or_default();
            if signed.parent() == Tip::ROOT || tree.contains_key(&signed.parent()) {
                tree.insert(signed.tip(), signed.clone());
            }
        }
        let ops = seen.iter().filter(|signed| signed.header.access().is_some());
        let ops = ops.map(|signed| (signed.id(), signed.clone())).collect();
        let (a0, a1) = (BTreeSet::new(), BTreeSet::new());
        let mut spec = Self { genesis: genesis.clone(), trees, ops, a0, a1 };

        let feeds: Vec<FeedId> = spec.trees.keys().copied().collect();
        let ranked = |spec: &Self, rank: u8| -> Vec<FeedId> {
            feeds.iter().filter(|feed| spec.rank(**feed) == rank).copied().collect()
        };
        for feed in ranked(&spec, 3) {
            let lanes = two_lanes(&spec.trees[&feed]);
            spec.a0.extend(spec.ops_among(feed, &lanes));
        }
        spec.a1 = spec.a0.clone();
        for feed in ranked(&spec, 2) {
            let effective = spec.effective(feed);
            spec.a1.extend(spec.ops_among(feed, &effective));
        }
        spec
    }

    fn ops_among(&self, feed: FeedId, tips: &BTreeSet<Tip>) -> Vec<EntryId> {
        let of = |tip: &Tip| EntryId { feed, number: tip.number, hash: tip.hash };
        tips.iter().map(of).filter(|id| self.ops.contains_key(id)).collect()
    }

    fn authority(&self, feed: FeedId) -> Authority {
        self.trees[&feed].values().next().map_or(Authority::Genesis, |first| first.authority)
    }

    /// The grant of a feed, as far as it is one: to whom, of what, over what.
    fn grant(&self, grant: &EntryId) -> Option<(PublicKey, Role, Vec<Hash>)> {
        match self.ops.get(grant)?.header.access()? {
            AccessOp::Grant { member, role, over } => Some((*member, *role, over.clone())),
            _ => None,
        }
    }

    fn rank(&self, feed: FeedId) -> u8 {
        match self.authority(feed) {
            Authority::Genesis if self.genesis.is_owner(&feed.author) => 3,
            Authority::Grant(grant) => match self.grant(&grant) {
                Some((_, Role::Admin, _)) => 2,
                _ => 1,
            },
            Authority::Genesis => 1,
        }
    }

    /// By which operations the feed is judged.
    fn judged_by(&self, feed: FeedId) -> &BTreeSet<EntryId> {
        if self.rank(feed) == 1 { &self.a1 } else { &self.a0 }
    }

    fn is_void(&self, feed: FeedId) -> bool {
        match self.authority(feed) {
            Authority::Genesis => self.rank(feed) != 3 && self.genesis.mode() != Mode::Open,
            Authority::Grant(id) => {
                let Some((member, role, _)) = self.grant(&id) else { return true };
                let counts = self.judged_by(feed).contains(&id);
                !counts || member != feed.author || role == Role::Reader
            }
        }
    }

    /// The feed's tree, cut before what its rank doesn't allow.
    fn cut(&self, feed: FeedId) -> Tree {
        let rank = self.rank(feed);
        let mut cut = Tree::new();
        for (tip, signed) in &self.trees[&feed] {
            let allowed = match (signed.header.access(), rank) {
                (None, _) | (_, 3) => true,
                (Some(AccessOp::Grant { role, .. }), 2) => *role != Role::Admin,
                (Some(AccessOp::Remove { .. }), 2) => true,
                _ => false,
            };
            let reached = signed.parent() == Tip::ROOT || cut.contains_key(&signed.parent());
            if allowed && reached {
                cut.insert(*tip, signed.clone());
            }
        }
        cut
    }

    /// Whole removals that count in `a`, each with all its pins.
    fn removals(&self, a: &BTreeSet<EntryId>, of: PublicKey) -> Vec<(EntryId, Vec<FeedPin>)> {
        let mut removals = Vec::new();
        for id in a {
            let mut at = Some(*id);
            let mut all = Vec::new();
            let mut is_last = true;
            while let Some(signed) = at.and_then(|at| self.ops.get(&at)) {
                let Some(AccessOp::Remove { member, pins, more }) = signed.header.access() else {
                    break;
                };
                if *member != of || *more == is_last {
                    break;
                }
                all.extend(pins.iter().copied());
                (at, is_last) = (signed.header.parent(), false);
            }
            if !is_last {
                removals.push((*id, all));
            }
        }
        removals
    }

    fn outranks(&self, removal: &EntryId, rank: u8) -> bool {
        self.rank(removal.feed) > rank
    }

    /// What each removal that stands against the feed leaves of it; pending ones aside. `None` if
    /// one leaves nothing.
    fn left(&self, feed: FeedId, tree: &Tree) -> Option<Vec<BTreeSet<Tip>>> {
        let over = match self.authority(feed) {
            Authority::Grant(id) => self.grant(&id).map(|(_, _, over)| over).unwrap_or_default(),
            Authority::Genesis => Vec::new(),
        };
        let mut left = Vec::new();
        for (id, pins) in self.removals(self.judged_by(feed), feed.author) {
            if over.contains(&id.hash) || !self.outranks(&id, self.rank(feed)) {
                continue;
            }
            let pins = pins.iter().filter(|pin| pin.incarnation == feed.incarnation);
            let tips = pins.map(|pin| Tip { number: pin.number, hash: pin.hash });
            let tips: Vec<Tip> = tips.collect();
            if tips.is_empty() {
                return None;
            }
            let ways: Option<Vec<_>> = tips.into_iter().map(|tip| way(tree, tip)).collect();
            left.extend(ways.map(|ways| ways.into_iter().flatten().collect()));
        }
        Some(left)
    }

    /// What every replica holds of a feed.
    pub(super) fn keep(&self, feed: FeedId) -> BTreeSet<Tip> {
        if self.is_void(feed) {
            return BTreeSet::new();
        }
        let tree = self.cut(feed);
        match self.left(feed, &tree) {
            None => BTreeSet::new(),
            Some(left) if left.is_empty() => two_lanes(&tree),
            Some(left) => left.into_iter().flatten().collect(),
        }
    }

    /// What of it counts.
    pub(super) fn effective(&self, feed: FeedId) -> BTreeSet<Tip> {
        if self.is_void(feed) {
            return BTreeSet::new();
        }
        let tree = self.cut(feed);
        let Some(left) = self.left(feed, &tree) else { return BTreeSet::new() };
        let all = left.into_iter().reduce(|some, other| &some & &other);
        all.unwrap_or_else(|| two_lanes(&tree))
    }

    /// How many removals stand against a feed.
    pub(super) fn standing_removals(&self, feed: FeedId) -> usize {
        if self.is_void(feed) {
            return 0;
        }
        self.left(feed, &self.cut(feed)).map_or(0, |left| left.len())
    }

    pub(super) fn role(&self, key: PublicKey) -> Option<Role> {
        if self.genesis.is_owner(&key) {
            return Some(Role::Owner);
        }
        let removals = self.removals(&self.a1, key);
        let stands = |over: &[Hash], rank| {
            let hits = |id: &EntryId| self.outranks(id, rank) && !over.contains(&id.hash);
            !removals.iter().any(|(id, _)| hits(id))
        };
        let mut roles = Vec::new();
        for id in &self.a1 {
            let Some((member, role, over)) = self.grant(id) else { continue };
            if member == key && stands(&over, if role == Role::Admin { 2 } else { 1 }) {
                roles.push(role);
            }
        }
        match self.genesis.mode() {
            Mode::Open if stands(&[], 1) => roles.push(Role::Writer),
            Mode::Open | Mode::Readable => roles.push(Role::Reader),
            _ => {}
        }
        roles.into_iter().max()
    }
}

/// The way from the root to a tip, if the tree has it.
pub(super) fn way(tree: &Tree, to: Tip) -> Option<BTreeSet<Tip>> {
    let mut way = BTreeSet::new();
    let mut at = to;
    while at != Tip::ROOT {
        let signed = tree.get(&at)?;
        way.insert(at);
        at = signed.parent();
    }
    Some(way)
}

fn children(tree: &Tree, parent: Tip) -> Vec<Tip> {
    // Of one number, so in the order of their hashes.
    tree.values().filter(|signed| signed.parent() == parent).map(Signed::tip).collect()
}

fn two_lanes(tree: &Tree) -> BTreeSet<Tip> {
    let mut kept = BTreeSet::new();
    let mut ends = vec![Tip::ROOT];
    while let Some(end) = ends.pop() {
        let children = children(tree, end);
        // Above the fork only the smallest goes on.
        let forked = kept.iter().any(|tip: &Tip| kept.iter().any(|other| beside(tip, other)));
        for child in children.iter().take(if forked { 1 } else { 2 }) {
            kept.insert(*child);
            ends.push(*child);
        }
    }
    kept
}

fn beside(one: &Tip, other: &Tip) -> bool {
    one.number == other.number && one.hash != other.hash
}
