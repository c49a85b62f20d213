//! What would become of a key without one of the operations on it.

use std::{cell::RefCell, collections::BTreeMap};

use super::{
    ops::Op,
    rows::Entries,
    slots::{Place, Slot},
};
use crate::proto::{
    entry::Collection,
    id::{FeedId, Position},
    rows::{Base, Rows},
};

/// What hangs on an operation that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Fate {
    /// Whether its value is alive.
    pub(in crate::proto) is_alive: bool,
    /// Whether its feed has a later value alive at the key, which follows all that it follows.
    pub(in crate::proto) is_followed: bool,
    /// Whether the dots of other feeds that it names are dead without it.
    pub(in crate::proto) are_named_dead: bool,
}

/// What is known of other operations beside rows.
pub(in crate::proto) struct Others<'a> {
    /// Of which entries nothing counts.
    pub(in crate::proto) is_gone: &'a dyn Fn(&FeedId, u64) -> bool,
    /// Which dots of the key are dead by what else is kept.
    pub(in crate::proto) is_dead: &'a dyn Fn(&FeedId, u64) -> bool,
    /// Which feeds aren't forked.
    pub(in crate::proto) is_plain: &'a dyn Fn(&FeedId) -> bool,
    /// Feeds and numbers of entries by their positions, so that they are read once.
    pub(in crate::proto) names: &'a RefCell<BTreeMap<Position, (FeedId, u64)>>,
}

/// Most names that are remembered.
const NAMES: usize = 4096;

/// What hangs on an operation on a collection, which is that of the local feed's entry at the
/// position with the index. Its feed isn't forked.
///
/// # Errors
/// Of the rows.
pub(in crate::proto) fn fate<B, F>(
    collection: &Collection,
    op: &Op,
    (local, at, index): (u32, Position, u32),
    rows: &B,
    feeds: &F,
    others: &Others<'_>,
) -> Result<Fate, B::Error>
where
    B: Base,
    F: Entries<B>,
{
    let place = Place::read(collection, op.key(), rows)?;
    let name = |at: Position| {
        if let Some(name) = others.names.borrow().get(&at) {
            return Ok(Some(*name));
        }
        let found = feeds.name(rows, at)?.map(|(entry, _)| (entry.feed, entry.number));
        let mut names = others.names.borrow_mut();
        if names.len() >= NAMES {
            names.clear();
        }
        names.extend(found.map(|found| (at, found)));
        Ok(found)
    };
    // Whether a feed has a value alive that counts and comes later than a number.
    let has_later = |local: u32, number: u64| {
        for slot in place.of(local, rows)? {
            let later = name(slot.position)?.filter(|(_, other)| *other > number);
            if later.is_some_and(|(feed, number)| !(others.is_gone)(&feed, number)) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let author = feeds.feed(local);
    let own = place.of(local, rows)?;
    let is_it = |slot: &Slot| slot.position == at && slot.index == index;
    let is_alive = own.iter().any(is_it);
    let number = name(at)?.map_or(u64::MAX, |(_, number)| number);
    // What follows it in its own entry stays and goes with it.
    let is_followed = !is_alive && !own.is_empty() && has_later(local, number)?;
    let mut are_named_dead = true;
    // Earlier dots of its own feed are dead by what follows them.
    for dot in op.over().iter().filter(|dot| dot.feed != author) {
        if (others.is_gone)(&dot.feed, dot.number) || (others.is_dead)(&dot.feed, dot.number) {
            continue;
        }
        let other = feeds.local(&dot.feed).filter(|_| (others.is_plain)(&dot.feed));
        are_named_dead &= match other {
            Some(other) => has_later(other, dot.number)?,
            None => false,
        };
    }
    Ok(Fate { is_alive, is_followed, are_named_dead })
}

/// Takes a value out that is alive at a key: that which the local feed's entry at the position put
/// with the operation of this index.
///
/// # Errors
/// Of the rows.
pub(in crate::proto) fn forget<R: Rows>(
    collection: &Collection,
    key: &[u8],
    (local, at, index): (u32, Position, u32),
    rows: &mut R,
) -> Result<(), R::Error> {
    let mut place = Place::read(collection, key, rows)?;
    for slot in place.of(local, rows)? {
        if (slot.position, slot.index) == (at, index) {
            place.remove(&slot, rows)?;
        }
    }
    place.write(rows)
}
