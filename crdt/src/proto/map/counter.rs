//! Counters: each feed states what it has added altogether, and the counter is the sum.
//!
//! An increment is a [`Change::Count`](super::Change::Count) of the feed's new total, which takes
//! the place of its last one, so a counter has one row for each feed however often it is
//! incremented. After the G-counter and PN-counter of Shapiro and others, *A comprehensive study of
//! Convergent and Commutative Replicated Data Types* (INRIA RR-7506, 2011), section 3.1, with a
//! signed total for each feed.
//!
//! - An author adds to the total of *its own feed*, [`own`]. A new incarnation starts at nothing
//!   and leaves the older one's total as it is: it may not have seen all of it, and what it took
//!   over would count twice when the rest arrives.
//! - A reset is a [`Change::Remove`](super::Change::Remove) that names the totals that it saw. A
//!   feed whose total was removed starts at nothing again. What a feed wrote concurrently stays,
//!   and with it all the feed had added: a reset removes totals, not increments.
//! - The feed of a liar counts what it says, and one that forks counts once on each lane.

use crate::proto::{entry::Collection, id::FeedId, rows::Base};

use super::{
    read::{self, Alive},
    rows::Feeds,
    slots::{Slot, Source},
};

/// What a counter shows: the sum of its totals. It can't overflow: there are fewer than 2³² feeds
/// in rows, two totals of each.
///
/// # Errors
/// Of the store.
pub fn value<R: Base>(collection: &Collection, key: &[u8], rows: &R) -> Result<i128, R::Error> {
    Ok(sum(&read::find(collection, key, rows)?))
}

/// The sum of what is alive at a counter's key.
pub fn sum(alive: &Alive) -> i128 {
    alive.slots().iter().filter_map(total).map(i128::from).sum()
}

/// What stands of what a feed has added: its last total that is alive, or nothing.
///
/// Who increments writes this and the increment together, if they fit 64 bits. Increments that are
/// signed and not applied yet aren't in it: an author that is ahead of its rows adds to the total
/// that it wrote last.
///
/// # Errors
/// Of the store.
pub fn own<R, F>(
    collection: &Collection,
    key: &[u8],
    feed: &FeedId,
    rows: &R,
    feeds: &F,
) -> Result<i64, R::Error>
where
    R: Base,
    F: Feeds,
{
    Ok(total_of(feeds.local(feed), &read::find(collection, key, rows)?))
}

/// What stands of what the feed has added that has this number.
pub(super) fn total_of(local: Option<u32>, alive: &Alive) -> i64 {
    let own = alive.slots().iter().filter(|slot| Some(slot.local) == local);
    own.max_by_key(|slot| slot.position).and_then(total).unwrap_or(0)
}

fn total(slot: &Slot) -> Option<i64> {
    match &slot.source {
        Source::Near(value) => Some(i64::from_be_bytes(value.as_slice().try_into().ok()?)),
        Source::Far(_) => None,
    }
}
