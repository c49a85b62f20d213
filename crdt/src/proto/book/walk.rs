//! Walking up a feed, entry by entry, to give it to somebody.

use std::collections::BTreeSet;

use super::{Book, layout, restore};
use crate::proto::{
    feed::{Chains, Shape, Tip},
    id::{EntryId, FeedId, Position},
    rows::Rows,
};

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was taken in.
    pub position: Position,
    /// Its name.
    pub id: EntryId,
    /// Its header's bytes.
    pub header: Vec<u8>,
    /// Its payload's bytes.
    pub payload: Vec<u8>,
}

/// A way up a feed: behind an entry that is kept, towards the end of one of its lanes, or to one of
/// the tips that removals pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walker {
    local: u32,
    behind: Tip,
    lane: usize,
}

impl Walker {
    /// From behind this entry, or from the feed's begin, if it is [`Tip::ROOT`]. `lane` says which
    /// way to go at a fork.
    pub const fn new(local: u32, behind: Tip, lane: usize) -> Self {
        Self { local, behind, lane }
    }

    /// The feed's local number.
    pub const fn local(&self) -> u32 {
        self.local
    }

    /// The entry that it is behind.
    pub const fn behind(&self) -> Tip {
        self.behind
    }
}

impl<R: Rows> Book<R> {
    /// The next entry on the way, and the way on from there. `None` if there is none; or if what
    /// the walker is behind isn't kept any more.
    pub fn step(&self, walker: &Walker) -> Result<Option<(Position, Walker)>, R::Error> {
        let Walker { local, behind, lane } = *walker;
        let Some(number) = behind.number.checked_add(1) else { return Ok(None) };
        let level = self.nodes(local, number, number)?;
        let head = match self.at(local).feed().shape() {
            Shape::Open(lanes) if behind == lanes.trunk() => {
                lanes.fork().and_then(|fork| fork.get(lane)).map(|lane| lane.head)
            }
            Shape::Pinned(chains) if level.iter().nth(1).is_some() => {
                let Some(tip) = chains.pinned().nth(lane) else { return Ok(None) };
                self.ancestor(local, tip, number)?.map(|tip| tip.hash)
            }
            _ => None,
        };
        let child = level
            .iter()
            .find(|node| node.parent == behind.hash && head.is_none_or(|head| node.hash == head));
        let Some(child) = child else { return Ok(None) };
        let value = self.rows.get(&layout::header(local, child.tip()))?;
        let position = value.map(|value| layout::read_header(&value).0);
        Ok(position.map(|position| (position, Walker { local, behind: child.tip(), lane })))
    }

    /// The way from what a walker's entry follows; `None` if it is the first of its feed.
    pub fn below(&self, walker: &Walker) -> Result<Option<Walker>, R::Error> {
        let Walker { local, behind, lane } = *walker;
        let parent = self.parent(local, behind)?;
        Ok(parent.map(|behind| Walker { local, behind, lane }))
    }

    /// The entry that a walker is behind.
    pub fn stored(&self, walker: &Walker) -> Result<Option<Stored>, R::Error> {
        let Walker { local, behind, .. } = *walker;
        let Some(value) = self.rows.get(&layout::header(local, behind))? else { return Ok(None) };
        let (position, header) = layout::read_header(&value);
        let payload = super::payload(&self.rows, position, &restore(header))?;
        let payload = payload.unwrap_or_default();
        let id = EntryId { feed: self.at(local).id, number: behind.number, hash: behind.hash };
        Ok(Some(Stored { position, id, header: header.to_vec(), payload }))
    }

    /// The ways to all that is kept of a feed and that a replica lacks which keeps these tips of it
    /// (and what they descend from). A tip that isn't kept here is of somebody who is ahead, or on
    /// another branch. Unless a fork is known, here or there, who has the higher number is taken
    /// for ahead: it gives, and if it is on another branch, that shows the fork.
    pub fn ways(
        &self,
        feed: &FeedId,
        theirs: &[Tip],
        is_forked: bool,
    ) -> Result<Vec<Walker>, R::Error> {
        let Some(local) = self.local(feed) else { return Ok(Vec::new()) };
        let lanes = match self.at(local).feed().shape() {
            Shape::Open(lanes) => lanes,
            Shape::Pinned(chains) => return self.ways_to(local, chains, theirs, is_forked),
        };
        let shared = self.shared(local, theirs)?;
        let top = lanes.tips().map(|tip| tip.number).max().unwrap_or(0);
        if shared.is_empty() && !is_forked && theirs.iter().any(|tip| tip.number > top) {
            return Ok(Vec::new());
        }
        let trunk = shared.iter().map(|tip| tip.number).max().unwrap_or(0) >= lanes.trunk().number;
        let Some(fork) = lanes.fork() else {
            let from = shared.into_iter().max().unwrap_or(lanes.base());
            return Ok(vec![Walker::new(local, from, 0)]);
        };
        let mut ways = Vec::new();
        if !trunk {
            // The trunk first; the other lane from where it leaves.
            let from = shared.into_iter().max().unwrap_or(lanes.base());
            ways.push(Walker::new(local, from, 0));
            ways.push(Walker::new(local, lanes.trunk(), 1));
            return Ok(ways);
        }
        let above = self.nodes(local, lanes.trunk().number.saturating_add(1), u64::MAX)?;
        for (place, lane) in fork.iter().enumerate() {
            let head = Tip { number: lanes.trunk().number.saturating_add(1), hash: lane.head };
            let on = crate::proto::feed::Kept::above(&above, head);
            let last = on.filter(|node| shared.contains(&node.tip())).last();
            let from = last.map_or(lanes.trunk(), |node| node.tip());
            ways.push(Walker::new(local, from, place));
        }
        Ok(ways)
    }

    /// The ways to what removals pinned.
    fn ways_to(
        &self,
        local: u32,
        chains: &Chains,
        theirs: &[Tip],
        is_forked: bool,
    ) -> Result<Vec<Walker>, R::Error> {
        let shared = self.shared(local, theirs)?;
        let tips: Vec<Tip> = chains.pinned().collect();
        if let [tip] = tips[..] {
            // Whoever is ahead has it, and isn't told of the removal yet.
            let is_ahead = theirs.iter().any(|theirs| theirs.number > tip.number);
            if shared.is_empty() && !is_forked && is_ahead {
                return Ok(Vec::new());
            }
            let from = shared.into_iter().max().unwrap_or(chains.base());
            return Ok(vec![Walker::new(local, from, 0)]);
        }
        let (mut ways, mut on) = (Vec::new(), BTreeSet::new());
        for (place, tip) in tips.into_iter().enumerate() {
            // Each chain from where it leaves those before, or what the other has.
            let mut at = Some(tip);
            while let Some(tip) = at.filter(|tip| !shared.contains(tip) && on.insert(*tip)) {
                at = self.parent(local, tip)?;
            }
            ways.push(Walker::new(local, at.unwrap_or(Tip::ROOT), place));
        }
        Ok(ways)
    }

    /// Which of these entries are kept.
    fn shared(&self, local: u32, theirs: &[Tip]) -> Result<Vec<Tip>, R::Error> {
        let mut shared = Vec::new();
        for tip in theirs {
            if self.rows.get(&layout::header(local, *tip))?.is_some() {
                shared.push(*tip);
            }
        }
        Ok(shared)
    }

    /// What an entry follows that is kept; `None` if it is the first.
    fn parent(&self, local: u32, tip: Tip) -> Result<Option<Tip>, R::Error> {
        let value = self.rows.get(&layout::header(local, tip))?;
        let parent = value.and_then(|value| restore(layout::read_header(&value).1).parent());
        Ok(parent.map(|id| super::tip(&id)))
    }

    /// The entry of this number on the way to a tip.
    fn ancestor(&self, local: u32, tip: Tip, number: u64) -> Result<Option<Tip>, R::Error> {
        let mut at = Some(tip);
        while let Some(tip) = at.filter(|tip| tip.number > number) {
            at = self.parent(local, tip)?;
        }
        Ok(at.filter(|tip| tip.number == number))
    }
}
