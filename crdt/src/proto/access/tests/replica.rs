//! A replica that does what the judge says, with real feeds, and remembers all it saw.

use super::*;
use crate::proto::feed::{Feed, Nodes};

/// Stores nothing for good: what is kept is found anew from what was seen, feed by feed, until
/// nothing changes. What it tells the judge is only what changed.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) access: Access,
    seen: Vec<Signed>,
    kept: BTreeMap<FeedId, BTreeMap<Tip, Signed>>,
    held: BTreeSet<EntryId>,
    /// What it did most, in rounds over all feeds.
    pub(super) rounds: usize,
}

impl Replica {
    pub(super) fn new(genesis: &Genesis) -> Self {
        Self {
            access: Access::new(genesis.clone()).unwrap(),
            seen: Vec::new(),
            kept: BTreeMap::new(),
            held: BTreeSet::new(),
            rounds: 0,
        }
    }

    /// A replica that saw these, in this order.
    pub(super) fn of(genesis: &Genesis, seen: &[Signed]) -> Self {
        let mut replica = Self::new(genesis);
        seen.iter().for_each(|signed| replica.see(signed));
        replica
    }

    pub(super) fn see(&mut self, signed: &Signed) {
        self.see_all(std::slice::from_ref(signed));
    }

    pub(super) fn see_all(&mut self, signed: &[Signed]) {
        for signed in signed {
            signed.header.fits(&self.access.genesis, signed.authority).unwrap();
            self.seen.push(signed.clone());
        }
        self.settle();
    }

    pub(super) fn seen(&self) -> &[Signed] {
        &self.seen
    }

    fn settle(&mut self) {
        let feeds: BTreeMap<FeedId, Authority> =
            self.seen.iter().map(|signed| (signed.feed(), signed.authority)).collect();
        let mut rounds = 0;
        let mut changed = true;
        while changed {
            changed = false;
            // Backwards in half of the rounds.
            let mut feeds: Vec<_> = feeds.iter().collect();
            if rounds % 2 == 1 {
                feeds.reverse();
            }
            for (feed, authority) in feeds {
                changed |= self.settle_feed(*feed, *authority);
            }
            rounds += 1;
        }
        self.rounds = self.rounds.max(rounds);
    }

    fn settle_feed(&mut self, feed: FeedId, authority: Authority) -> bool {
        let tree = self.tree(feed, authority);
        let mut changed = self.hold(feed, &tree);
        let nodes: Nodes = tree.values().map(Signed::node).collect();
        let mut of_feed = Feed::default();
        let evicted = of_feed.open(Tip::ROOT, &nodes);
        let kept: BTreeSet<Tip> = match self.access.standing(feed, authority) {
            Standing::Void(_) => BTreeSet::new(),
            Standing::Open => {
                let stay = nodes.iter().filter(|node| !evicted.contains(node));
                stay.map(|node| node.tip()).collect()
            }
            Standing::Pinned(pinned) => {
                of_feed.pin(Tip::ROOT, &pinned.tips(), &nodes).unwrap();
                let tips = of_feed.tips().into_iter();
                tips.flat_map(|tip| spec::way(&tree, tip).unwrap()).collect()
            }
        };
        let kept: BTreeMap<Tip, Signed> =
            kept.into_iter().map(|tip| (tip, tree[&tip].clone())).collect();
        let before = self.kept.insert(feed, kept.clone()).unwrap_or_default();
        for (tip, signed) in before.iter().rev().filter(|(tip, _)| !kept.contains_key(tip)) {
            self.access.remove(&EntryId { feed, number: tip.number, hash: signed.header.hash() });
            changed = true;
        }
        for (_, signed) in kept.iter().filter(|(tip, _)| !before.contains_key(tip)) {
            self.access.insert(&signed.header, authority).unwrap();
            changed = true;
        }
        changed
    }

    /// What was seen of a feed and is let in at the door.
    fn tree(&self, feed: FeedId, authority: Authority) -> BTreeMap<Tip, Signed> {
        let mut seen: Vec<&Signed> = self.seen.iter().filter(|of| of.feed() == feed).collect();
        seen.sort_by_key(|signed| signed.tip());
        let mut tree = BTreeMap::new();
        for signed in seen {
            let reached = signed.parent() == Tip::ROOT || tree.contains_key(&signed.parent());
            if reached && self.access.admit(&signed.header, authority).is_ok() {
                tree.insert(signed.tip(), signed.clone());
            }
        }
        tree
    }

    /// Tells the judge which pinned chains there are, and which there are no more.
    fn hold(&mut self, feed: FeedId, tree: &BTreeMap<Tip, Signed>) -> bool {
        let mut changed = false;
        for pending in self.access.pending(&feed.author) {
            let pin = pending.pin;
            let tip = Tip { number: pin.number, hash: pin.hash };
            let Some(way) = spec::way(tree, tip).filter(|_| pin.feed == feed) else { continue };
            let ops = way.into_iter().filter(|tip| tree[tip].header.access().is_some());
            self.access.hold(&pin, ops);
            self.held.insert(pin);
            changed = true;
        }
        for pin in self.held.clone().into_iter().filter(|pin| pin.feed == feed) {
            if spec::way(tree, Tip { number: pin.number, hash: pin.hash }).is_none() {
                self.access.release(&pin);
                self.held.remove(&pin);
                changed = true;
            }
        }
        changed
    }

    pub(super) fn kept(&self, feed: FeedId) -> BTreeSet<Tip> {
        self.kept.get(&feed).into_iter().flat_map(|kept| kept.keys().copied()).collect()
    }

    /// What counts of a feed.
    pub(super) fn counted(&self, of: &Signed) -> BTreeSet<Tip> {
        let Standing::Pinned(pinned) = self.access.standing(of.feed(), of.authority) else {
            return self.kept(of.feed());
        };
        let kept = &self.kept[&of.feed()];
        let nodes: Nodes = kept.values().map(Signed::node).collect();
        let tips = pinned.counted(&nodes).unwrap();
        tips.into_iter().flat_map(|tip| spec::way(kept, tip).unwrap()).collect()
    }

    /// Asserts that it is what the specification makes of what was seen.
    pub(super) fn check(&self) {
        let spec = Spec::new(&self.access.genesis, &self.seen);
        for signed in &self.seen {
            let feed = signed.feed();
            let standing = self.access.standing(feed, signed.authority);
            assert_eq!(self.kept(feed), spec.keep(feed), "kept of {feed:?}: {standing:?}");
            assert_eq!(self.counted(signed), spec.effective(feed), "counted of {feed:?}");
        }
        for key in OWNERS.into_iter().chain(MEMBERS).map(public) {
            assert_eq!(self.access.role_of(&key), spec.role(key), "role of {key:?}");
        }
    }
}
