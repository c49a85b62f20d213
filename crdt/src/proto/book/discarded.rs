//! What owners of the space discarded, and the dropping of it.
//!
//! That an entry is discarded is known from the first moment; a payload that is held is dropped
//! later, some at a time, once nothing of it is alive here. Entries with a payload have an effect
//! and those without have none, so at any time the collections are what is held makes of them.

use std::collections::BTreeMap;

use super::{Book, documents, layout, pages, restore, tip};
use crate::proto::{
    compact::{Keys, is_plain},
    entry::{Entry, Group, Run},
    feed::Tip,
    id::{FeedId, Position},
    map,
    rows::Rows,
};

/// Names of entries that are read at a time.
const CHUNK: usize = 256;

/// What was discarded of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Discarded {
    /// Ascending, apart.
    pub(super) runs: Vec<Run>,
    /// Whether payloads of it may still be held.
    pub(super) is_due: bool,
}

impl Discarded {
    fn contains(&self, number: u64) -> bool {
        let next = self.runs.partition_point(|run| run.last < number);
        self.runs.get(next).is_some_and(|run| run.contains(number))
    }

    /// Adds runs, and tells whether they say anything new.
    fn add(&mut self, runs: &[Run]) -> bool {
        let mut all = [&self.runs[..], runs].concat();
        all.sort_unstable();
        let mut joined: Vec<Run> = Vec::with_capacity(all.len());
        for run in all {
            match joined.last_mut() {
                Some(last) if run.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(run.last);
                }
                _ => joined.push(run),
            }
        }
        let is_news = joined != self.runs;
        self.runs = joined;
        is_news
    }
}

/// A way through all entries, twice: to learn what is kept, and to drop what isn't.
#[derive(Clone, Debug, Default)]
pub(super) struct Dropping {
    keys: Keys,
    /// Whether it is the second time.
    is_second: bool,
    after: Position,
    /// Whether something was left.
    is_left: bool,
    /// Whether a value went that was alive.
    is_seen: bool,
}

/// How far what was discarded is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// There is nothing more to drop.
    Done {
        /// Whether a value went that was alive.
        is_seen: bool,
    },
    /// There is more.
    More,
    /// What is left isn't dead here: what it is dead by may still come.
    Later,
}

impl<R: Rows> Book<R> {
    /// Whether the payload of an entry was discarded, on whatever branch of its feed.
    pub fn is_discarded(&self, feed: &FeedId, number: u64) -> bool {
        self.discarded.get(feed).is_some_and(|discarded| discarded.contains(number))
    }

    /// Whether payloads that were discarded may still be held.
    pub fn is_dropping(&self) -> bool {
        self.discarded.values().any(|discarded| discarded.is_due)
    }

    /// Notes that payloads of a feed are discarded. Tells whether that is news.
    pub fn discard(&mut self, feed: FeedId, runs: &[Run]) -> Result<bool, R::Error> {
        let discarded = self.discarded.entry(feed).or_default();
        if !discarded.add(runs) {
            return Ok(false);
        }
        discarded.is_due = true;
        let value = layout::discarded_value(discarded);
        self.rows.put(layout::discarded(&feed), value)?;
        // What is kept is less than was learned.
        self.dropping = None;
        Ok(true)
    }

    /// The entry as it is kept: bare, if its payload was discarded.
    pub(super) fn stripped(&self, entry: &Entry) -> Option<Entry> {
        let header = entry.header();
        let is_gone = !entry.payload().as_bytes().is_empty()
            && self.is_discarded(&header.feed(), header.number());
        is_gone.then(|| Entry::bare(header.clone()))
    }

    /// Drops payloads that were discarded; of entries that aren't
    /// [dead](crate::proto::compact) here only if it `must`. Goes through entries of some `budget`
    /// operations in all, each of which costs a look-up; all entries twice.
    pub fn drop_some(&mut self, mut budget: usize, must: bool) -> Result<Dropped, R::Error> {
        if !self.is_dropping() {
            return Ok(Dropped::Done { is_seen: false });
        }
        let mut dropping = self.dropping.take().unwrap_or_default();
        while budget > 0 {
            let some = self.order(dropping.after).take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            let is_end = some.len() < CHUNK;
            let (mut looked, mut is_cut) = (0, false);
            for (at, local, tip) in some {
                if looked >= budget {
                    is_cut = true;
                    break;
                }
                looked += 1 + self.drop_one(&mut dropping, at, local, tip, must)?;
                dropping.after = at;
            }
            budget = budget.saturating_sub(looked);
            if is_cut || !is_end {
                continue;
            }
            if dropping.is_second {
                return self.dropped(&dropping);
            }
            (dropping.is_second, dropping.after) = (true, Position::ZERO);
        }
        self.dropping = Some(dropping);
        Ok(Dropped::More)
    }

    /// Looks at an entry on the way. Tells of how many operations.
    fn drop_one(
        &mut self,
        dropping: &mut Dropping,
        at: Position,
        local: u32,
        tip: Tip,
        must: bool,
    ) -> Result<usize, R::Error> {
        let is_discarded = self.is_discarded(&self.at(local).id, tip.number);
        if is_discarded != dropping.is_second {
            return Ok(0);
        }
        let entry = self.entry(local, tip)?;
        let Some(entry) = entry.filter(|entry| !entry.payload().as_bytes().is_empty()) else {
            return Ok(0);
        };
        let looked = entry.payload().groups().iter().map(Group::len).sum();
        let is_gone = |feed: &FeedId, number| self.is_discarded(feed, number);
        let judged = dropping.keys.judge(self, &entry, at, is_gone)?;
        if !dropping.is_second {
            if is_plain(self.at(local).feed()) {
                dropping.keys.keep(tip.number, judged.dead);
            }
        } else if judged.is_dead() {
            self.drop_payload(local, &entry)?;
        } else if must && judged.is_free() {
            dropping.is_seen |= !judged.alive.is_empty();
            for (collection, key, index) in judged.alive {
                map::forget(&collection, &key, (local, at, index), &mut self.rows)?;
            }
            self.drop_payload(local, &entry)?;
        } else if must {
            for collection in map::Batch::of(&entry, at).collections() {
                self.make_stale(&collection)?;
            }
            self.drop_payload(local, &entry)?;
        } else {
            dropping.is_left = true;
        }
        Ok(looked)
    }

    /// All was gone through.
    fn dropped(&mut self, dropping: &Dropping) -> Result<Dropped, R::Error> {
        if dropping.is_left {
            return Ok(Dropped::Later);
        }
        for (feed, discarded) in &mut self.discarded {
            if discarded.is_due {
                discarded.is_due = false;
                let value = layout::discarded_value(discarded);
                self.rows.put(layout::discarded(feed), value)?;
            }
        }
        Ok(Dropped::Done { is_seen: dropping.is_seen })
    }

    fn drop_payload(&mut self, local: u32, entry: &Entry) -> Result<(), R::Error> {
        let row = layout::header(local, tip(&entry.header().id()));
        let Some(value) = self.rows.get(&row)? else { return Ok(()) };
        let (position, _) = layout::read_header(&value);
        self.drop_changes(entry, position)?;
        documents::of(entry).try_for_each(|document| self.make_stale(document))?;
        pages::delete(&mut self.rows, position, entry.payload().as_bytes().len())
    }

    /// An entry that is kept, whose payload isn't: it was discarded.
    pub(super) fn bare(&self, local: u32, tip: Tip) -> Result<Option<Entry>, R::Error> {
        let feed = self.at(local).id;
        if !self.is_discarded(&feed, tip.number) {
            return Ok(None);
        }
        let value = self.rows.get(&layout::header(local, tip))?;
        Ok(value.map(|value| Entry::bare(restore(layout::read_header(&value).1))))
    }
}

/// What was discarded, as rows hold it.
pub(super) fn read<R: Rows>(rows: &R) -> Result<BTreeMap<FeedId, Discarded>, R::Error> {
    let (first, end) = layout::all_discarded();
    rows.scan(&first, Some(&end))
        .map(|row| row.map(|(row, value)| layout::read_discarded(&row, &value)))
        .collect()
}
