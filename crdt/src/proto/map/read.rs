//! Reading: all alive elements of a key, of many keys, and what a rule makes of them.

use crate::proto::{
    entry::Collection,
    rows::{Base, behind},
};

use super::{
    rows::{self, Element, Entries},
    slots::{Held, Slot, Source},
};

impl Element {
    /// By what elements are ordered, the same everywhere: time, then whatever else tells them
    /// apart. The last is "the last writer's".
    fn order(&self) -> impl Ord + use<> {
        (self.time, self.entry, self.index)
    }
}

/// Which keys of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// All.
    All,
    /// Those that begin with these bytes.
    Prefix(&'a [u8]),
    /// Those from these bytes on.
    From(&'a [u8]),
    /// Those from `from` on and below `below`, by their bytes. A page goes on at the last key with
    /// a byte 0 after it.
    Range {
        /// The first that there may be.
        from: &'a [u8],
        /// The first that there may not be.
        below: &'a [u8],
    },
}

/// What a collection shows of values that were written concurrently. It changes what is read and
/// nothing of what is kept, so two readers may use two rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All of them; a writer that names them all resolves them.
    All,
    /// The one with the largest hybrid time; of equal times the one with the largest author,
    /// incarnation, number, hash and index. Times prove nothing: a liar's are up to ten minutes
    /// ahead.
    Last,
    /// The one whose bytes are the largest; of equal ones the last.
    Largest,
}

impl Rule {
    /// What is shown of a key's elements: all, by time, or the one that the rule picks. Whoever has
    /// a rule of his own merges all.
    pub fn resolve(self, mut elements: Vec<Element>) -> Vec<Element> {
        elements.sort_unstable_by_key(Element::order);
        match self {
            Self::All => elements,
            Self::Last => elements.pop().into_iter().collect(),
            Self::Largest => {
                // Of equal values the last one is taken.
                elements
                    .into_iter()
                    .max_by(|one, other| one.value.cmp(&other.value))
                    .into_iter()
                    .collect()
            }
        }
    }
}

/// What is alive at a key, not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    slots: Vec<Slot>,
}

impl Alive {
    /// What a key's row says, which holds `value`.
    pub(super) fn of<R: Base>(
        collection: &Collection,
        key: &[u8],
        value: &[u8],
        rows: &R,
    ) -> Result<Self, R::Error> {
        Ok(Self { slots: Held::read(value).all(collection, key, rows)? })
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All elements, by time. Costs two look-ups for each, and another, or two, for a value of more
    /// than 16 bytes. What was evicted since, and isn't made anew yet, isn't among them.
    ///
    /// # Errors
    /// Of the store.
    pub fn elements<R, F>(&self, rows: &R, feeds: &F) -> Result<Vec<Element>, R::Error>
    where
        R: Base,
        F: Entries<R>,
    {
        let mut elements = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let Some((entry, time)) = feeds.name(rows, slot.position)? else { continue };
            let Some(value) = value(slot, rows, feeds)? else { continue };
            elements.push(Element { entry, index: slot.index, time, value });
        }
        Ok(Rule::All.resolve(elements))
    }

    /// The value that [`Rule::Last`] picks. If there is one alone, that needs no look-up, unless
    /// the value has more than 16 bytes.
    ///
    /// # Errors
    /// Of the store.
    pub fn last<R, F>(&self, rows: &R, feeds: &F) -> Result<Option<Vec<u8>>, R::Error>
    where
        R: Base,
        F: Entries<R>,
    {
        match &self.slots[..] {
            [slot] => value(slot, rows, feeds),
            _ => Ok(self.elements(rows, feeds)?.pop().map(|last| last.value)),
        }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

fn value<R, F>(slot: &Slot, rows: &R, feeds: &F) -> Result<Option<Vec<u8>>, R::Error>
where
    R: Base,
    F: Entries<R>,
{
    match &slot.source {
        Source::Near(value) => Ok(Some(value.clone())),
        Source::Far(part) => feeds.part(rows, slot.position, part.clone()),
    }
}

/// What is alive at a key. One look-up; a scan, if there are more than eight values.
///
/// # Errors
/// Of the store.
pub fn find<R: Base>(collection: &Collection, key: &[u8], rows: &R) -> Result<Alive, R::Error> {
    match rows.get(&rows::key(collection, key))? {
        Some(value) => Alive::of(collection, key, &value, rows),
        None => Ok(Alive { slots: Vec::new() }),
    }
}

/// All alive elements of a key, by time: one for each writer at most whose value stands, or two if
/// its feed is forked.
///
/// # Errors
/// Of the store.
pub fn get<R, F>(
    collection: &Collection,
    key: &[u8],
    rows: &R,
    feeds: &F,
) -> Result<Vec<Element>, R::Error>
where
    R: Base,
    F: Entries<R>,
{
    find(collection, key, rows)?.elements(rows, feeds)
}

/// The keys at which something is alive, ascending by their bytes, with what is. One scan, read as
/// far as it is asked for; in memory is one key.
pub fn scan<'a, R: Base>(
    collection: &Collection,
    keys: Keys<'_>,
    rows: &'a R,
) -> impl Iterator<Item = Result<(Vec<u8>, Alive), R::Error>> + use<'a, R> {
    let all = rows::keys_of(collection);
    let (from, below) = match keys {
        Keys::All => (all.clone(), behind(&all)),
        Keys::Prefix(prefix) => {
            let all = rows::key(collection, prefix);
            (all.clone(), behind(&all))
        }
        Keys::From(from) => (rows::key(collection, from), behind(&all)),
        Keys::Range { from, below } => {
            (rows::key(collection, from), Some(rows::key(collection, below)))
        }
    };
    let collection = *collection;
    rows.scan(&from, below.as_deref()).map(move |row| {
        let (row, value) = row?;
        let (_, key) = rows::read_key(&row);
        Ok((key.to_vec(), Alive::of(&collection, key, &value, rows)?))
    })
}
