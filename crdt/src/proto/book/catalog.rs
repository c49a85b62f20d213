//! The catalog: what is known of each feed, in memory.

use std::{collections::BTreeMap, ops::Range};

use aether_core::PublicKey;

use super::{layout, restore};
use crate::proto::{
    entry::Authority,
    feed::{Feed, Shape, Tip},
    id::{Dot, EntryId, FeedId, Position},
    map::{Applied, Entries, Feeds},
    rows::{Base, starting},
    time::Hybrid,
};

/// What is known of a feed.
#[derive(Clone, Debug)]
pub struct Known {
    pub(super) id: FeedId,
    pub(super) authority: Authority,
    pub(super) feed: Feed,
}

impl Known {
    /// Its name.
    pub const fn id(&self) -> FeedId {
        self.id
    }

    /// By what its author writes it.
    pub const fn authority(&self) -> Authority {
        self.authority
    }

    /// What is kept of it, by names.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }
}

/// All feeds of a space of which something is known, with the numbers that stand for them in rows.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    feeds: Vec<Known>,
    index: BTreeMap<FeedId, u32>,
}

impl Catalog {
    /// All of them, by their local numbers.
    pub fn feeds(&self) -> &[Known] {
        &self.feeds
    }

    /// What is known of a feed.
    pub fn known(&self, feed: &FeedId) -> Option<&Known> {
        Some(self.at(self.local(feed)?))
    }

    /// The feeds of an author of which something is known.
    pub fn of(&self, author: &PublicKey) -> impl Iterator<Item = FeedId> + use<'_> {
        let (author, first) = (*author, FeedId { author: *author, incarnation: 0 });
        let feeds = self.index.range(first..).map(|(feed, _)| *feed);
        feeds.take_while(move |feed| feed.author == author)
    }

    /// The feed with this local number.
    ///
    /// # Panics
    /// There is none.
    pub fn at(&self, local: u32) -> &Known {
        &self.feeds[place(local)]
    }

    pub(super) fn at_mut(&mut self, local: u32) -> &mut Known {
        &mut self.feeds[place(local)]
    }

    pub(super) fn push(&mut self, known: Known) -> u32 {
        let local = u32::try_from(self.feeds.len()).expect("feeds are few");
        self.index.insert(known.id, local);
        self.feeds.push(known);
        local
    }
}

fn place(local: u32) -> usize {
    usize::try_from(local).expect("usize has 32 bits or more")
}

impl Feeds for Catalog {
    fn local(&self, feed: &FeedId) -> Option<u32> {
        self.index.get(feed).copied()
    }

    fn feed(&self, local: u32) -> FeedId {
        self.at(local).id
    }
}

impl<R: Base> Entries<R> for Catalog {
    fn name(&self, rows: &R, at: Position) -> Result<Option<(EntryId, Hybrid)>, R::Error> {
        super::name(rows, self, at)
    }

    fn part(
        &self,
        rows: &R,
        at: Position,
        part: Range<usize>,
    ) -> Result<Option<Vec<u8>>, R::Error> {
        super::part(rows, at, part)
    }
}

/// Entries are applied in the order of their positions, so what is kept and has an earlier one was
/// applied.
impl<R: Base> Applied<R> for Catalog {
    fn awaits(&self, rows: &R, dot: &Dot, at: &EntryId) -> Result<bool, R::Error> {
        let Some(local) = self.local(&dot.feed) else { return Ok(true) };
        let base = self.at(local).feed.base();
        let mut latest = None;
        for row in starting(rows, &layout::headers_of(local, dot.number, dot.tag)) {
            latest = latest.max(Some(layout::read_header(&row?.1).0));
        }
        match latest {
            None => Ok(dot.number > base.number),
            Some(latest) => Ok(Some(latest) > position(rows, self, at)?),
        }
    }

    fn precedes(&self, rows: &R, earlier: Position, later: &EntryId) -> Result<bool, R::Error> {
        let Some(local) = self.local(&later.feed) else { return Ok(false) };
        let trunk = match self.at(local).feed.shape() {
            Shape::Open(lanes) if lanes.fork().is_none() => return Ok(true),
            Shape::Open(lanes) => lanes.trunk().number,
            Shape::Pinned(chains) => chains.base().number,
        };
        let Some((earlier, _)) = self.name(rows, earlier)? else { return Ok(false) };
        if earlier.number >= later.number {
            return Ok(earlier == *later);
        }
        if earlier.number <= trunk {
            return Ok(true);
        }
        // Above a fork, down the lane.
        let mut at = Tip { number: later.number, hash: later.hash };
        while at.number > earlier.number {
            let Some(value) = rows.get(&layout::header(local, at))? else { return Ok(false) };
            let parent = restore(layout::read_header(&value).1).parent();
            let Some(parent) = parent else { return Ok(false) };
            at = Tip { number: parent.number, hash: parent.hash };
        }
        Ok(at.hash == earlier.hash)
    }
}

fn position<R: Base>(
    rows: &R,
    catalog: &Catalog,
    id: &EntryId,
) -> Result<Option<Position>, R::Error> {
    let Some(local) = catalog.local(&id.feed) else { return Ok(None) };
    let value = rows.get(&layout::header(local, Tip { number: id.number, hash: id.hash }))?;
    Ok(value.map(|value| layout::read_header(&value).0))
}
