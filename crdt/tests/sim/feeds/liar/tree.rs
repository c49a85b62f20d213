//! What a liar signs.

use aether_crdt::proto::{
    entry::{Collection, Kind},
    id::{Dot, Tag},
    map::{Change, Op},
};

use super::*;

impl Liar {
    /// Signs one more entry, mostly on a branch that is there, sometimes as a new one; and now and
    /// then a long branch.
    pub(super) fn grow(&mut self, now: Time) {
        if self.authority.is_none() {
            return;
        }
        let count = if self.draw.chance(0.05) { 20 } else { 1 };
        let near_tip = self.tree.len().saturating_sub(3);
        let mut parent = match self.tree.len() {
            0 => None,
            _ if self.draw.chance(0.1) => None,
            len if self.draw.chance(0.7) => Some(near_tip + self.draw.below(len - near_tip)),
            len => Some(self.draw.below(len)),
        };
        for _ in 0..count {
            if self.tree.len() == MOST {
                return;
            }
            let entry = self.sign(now, parent);
            self.tree.push((entry, parent));
            parent = Some(self.tree.len() - 1);
        }
    }

    fn sign(&mut self, now: Time, parent: Option<usize>) -> Entry {
        let mut first = self.authority.unwrap_or(Authority::Genesis);
        if self.draw.chance(0.1) {
            // Two first entries that don't agree on who let it in.
            first = self.draw.pick(&self.grants).copied().unwrap_or(first);
        }
        let place = match parent {
            Some(at) => {
                let mut root = at;
                while let Some(parent) = self.tree[root].1 {
                    root = parent;
                }
                let authority = self.tree[root].0.header().authority().unwrap_or(first);
                Place::after(self.tree[at].0.header(), authority)
            }
            None => Some(Place::first(self.space, self.feed, first)),
        };
        let mut draft = Draft::new();
        if first != Authority::Genesis && self.draw.chance(0.15) {
            let change = self.change();
            draft.access(change);
        }
        for _ in 0..=self.draw.below(3) {
            let (into, op) = self.op();
            draft.op(into, op).expect("there is room");
        }
        self.cite(&mut draft);
        let (then, wall) = self.wall;
        let since = u64::try_from(now.since(then).as_millis()).unwrap_or(0);
        let ahead = if self.draw.chance(0.1) { 700_000 } else { 0 };
        let wall = Wall::from_millis(wall.as_millis() + since + ahead);
        draft.sign(&self.key, place.expect("few numbers"), wall).expect("within the rules")
    }

    /// A change of access, which it may make if it is an admin: of one of those it heard of, with
    /// pins of what it heard of, or of nothing.
    fn change(&mut self) -> AccessOp {
        let authors: Vec<PublicKey> = self.others.iter().map(|(id, _)| id.feed.author).collect();
        let member = self.draw.pick(&authors).copied().unwrap_or(self.key.public());
        if self.draw.chance(0.4) {
            let role = if self.draw.chance(0.5) { Role::Writer } else { Role::Reader };
            return AccessOp::Grant { member, role, over: Vec::new() };
        }
        let of_member = self.others.iter().filter(|(id, _)| id.feed.author == member);
        let pin = |id: &EntryId| {
            let (number, hash) = (id.number, id.hash);
            FeedPin { incarnation: id.feed.incarnation, number, hash }
        };
        let mut pins: Vec<FeedPin> = of_member.map(|(id, _)| pin(id)).collect();
        pins.retain(|_| self.draw.chance(0.3));
        if self.draw.chance(0.2) {
            let hash = Hash::from_bytes(self.draw.seed());
            pins.push(FeedPin { incarnation: 1, number: 4, hash });
        }
        pins.sort();
        pins.dedup();
        pins.truncate(8);
        AccessOp::Remove { member, pins, more: self.draw.chance(0.1) }
    }

    /// What it cites: mostly nothing, or what it heard; or what there never was, so that nobody may
    /// take it.
    fn cite(&mut self, draft: &mut Draft) {
        if self.draw.chance(0.3)
            && let Some((id, time)) = self.draw.pick(&self.others)
        {
            draft.cite(*id, *time).expect("there is room");
        }
        if self.draw.chance(0.04) {
            let feed = FeedId { author: self.key.public(), incarnation: 1 };
            let hash = Hash::from_bytes(self.draw.seed());
            let time = Hybrid::from_bits(0);
            draft.cite(EntryId { feed, number: 3, hash }, time).expect("there is room");
        }
    }

    /// A dot that it heard of, or of any of its branches, or of nothing.
    fn dot(&mut self) -> Dot {
        let index = u32::try_from(self.draw.below(4)).expect("few");
        match self.draw.below(4) {
            0 | 1 if !self.others.is_empty() => {
                self.others[self.draw.below(self.others.len())].0.dot(index)
            }
            2 if !self.tree.is_empty() => {
                let at = self.draw.below(self.tree.len());
                self.tree[at].0.header().id().dot(index)
            }
            3 => {
                let tag = Tag::from_bytes([3; Tag::LEN]);
                Dot { feed: self.feed, number: self.draw.number(1..=9), tag, index }
            }
            _ => {
                let hash = Hash::from_bytes(self.draw.seed());
                let feed = FeedId { author: self.key.public(), incarnation: 1 };
                EntryId { feed, number: 1, hash }.dot(index)
            }
        }
    }

    /// An operation on the collections of all, or one that is none.
    fn op(&mut self) -> (Collection, Vec<u8>) {
        let over: Vec<Dot> = (0..self.draw.below(4)).map(|_| self.dot()).collect();
        let key = vec![b'a' + u8::try_from(self.draw.below(6)).expect("a letter")];
        let value = self.draw.number(0..=u64::MAX).to_be_bytes().to_vec();
        let (kind, key, change) = match self.draw.below(7) {
            0 | 1 => (Kind::Map, key, Change::Put(value)),
            2 => (Kind::Map, key, Change::Remove),
            3 => (Kind::Set, key, Change::Put(Vec::new())),
            4 => (Kind::Counter, key, Change::Count(i64::from(value[0]))),
            5 => (Kind::Register, Vec::new(), Change::Put(value)),
            _ => return (Collection::new(Kind::Map, "all"), value),
        };
        let op = Op::new(key, over, change).expect("within the limits");
        (Collection::new(kind, "all"), op.encode())
    }

    /// Signs so many first entries, to be offered with descending hashes.
    pub(crate) fn flood(&mut self, branches: usize) {
        let (_, wall) = self.wall;
        let sign = |salt: usize| {
            let op = Op::new(salt.to_be_bytes(), [], Change::Put(Vec::new()));
            let mut draft = Draft::new();
            let op = op.expect("a short key").encode();
            draft.op(Collection::new(Kind::Map, "flood"), op).expect("there is room");
            let place = Place::first(self.space, self.feed, Authority::Genesis);
            draft.sign(&self.key, place, wall).expect("within the rules")
        };
        self.flood = (0..branches).map(sign).collect();
        self.flood.sort_by_key(|entry| std::cmp::Reverse(entry.header().hash()));
    }

    /// Offers as much of the flood as each peer may be sent.
    pub(super) fn pour(&mut self) {
        for to in self.peers.keys().copied().collect::<Vec<_>>() {
            while let Some(peer) = self.peers.get_mut(&to)
                && peer.sent - peer.acked.min(peer.sent) < WINDOW
            {
                // Begins anew when it is through.
                let entry = &self.flood[peer.flooded % self.flood.len()];
                peer.flooded += 1;
                self.offered += 1;
                let (header, payload) =
                    (entry.header().encode(), entry.payload().as_bytes().to_vec());
                self.offer(to, header, payload);
            }
        }
    }
}
