//! Reading: all alive elements of a key, of many keys, and what a rule makes of them.

use crate::proto::{
    entry::Collection,
    rows::{Base, behind, starting},
};

use super::rows::{self, Element, Feeds};

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

/// All alive elements of a key, by time. Costs a scan of so many rows: one for each writer at most
/// whose value stands, or two if its feed is forked.
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
    F: Feeds,
{
    let found = starting(rows, &rows::key_of(collection, key));
    let elements = found.map(|row| {
        let (row, value) = row?;
        Ok(rows::read(&row, &value, feeds).element)
    });
    Ok(Rule::All.resolve(elements.collect::<Result<_, R::Error>>()?))
}

/// The keys that have alive elements, ascending by their bytes, with all their elements by time.
/// One scan, read as far as it is asked for; in memory is one key.
pub fn scan<'a, R, F>(
    collection: &Collection,
    keys: Keys<'_>,
    rows: &'a R,
    feeds: &'a F,
) -> impl Iterator<Item = Result<(Vec<u8>, Vec<Element>), R::Error>> + use<'a, R, F>
where
    R: Base,
    F: Feeds,
{
    let (from, below) = match keys {
        Keys::All => {
            let all = rows::elements_of(collection);
            (all.clone(), behind(&all))
        }
        Keys::Prefix(prefix) => {
            let all = rows::prefix_of(collection, prefix);
            (all.clone(), behind(&all))
        }
        Keys::From(from) => {
            (rows::prefix_of(collection, from), behind(&rows::elements_of(collection)))
        }
        Keys::Range { from, below } => {
            let below = rows::prefix_of(collection, below);
            (rows::prefix_of(collection, from), Some(below))
        }
    };
    ByKey { rows: rows.scan(&from, below.as_deref()), feeds, next: None }
}

/// Rows of one collection, put together by key.
struct ByKey<'a, I, F> {
    rows: I,
    feeds: &'a F,
    /// The first row of the next key.
    next: Option<(Vec<u8>, Element)>,
}

impl<R, I, F> Iterator for ByKey<'_, I, F>
where
    I: Iterator<Item = Result<(Vec<u8>, Vec<u8>), R>>,
    F: Feeds,
{
    type Item = Result<(Vec<u8>, Vec<Element>), R>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut all: Option<(Vec<u8>, Vec<Element>)> =
            self.next.take().map(|(key, element)| (key, vec![element]));
        for row in self.rows.by_ref() {
            let read = match row {
                Ok((row, value)) => rows::read(&row, &value, self.feeds),
                Err(error) => return Some(Err(error)),
            };
            match &mut all {
                None => all = Some((read.key, vec![read.element])),
                Some((key, elements)) if *key == read.key => elements.push(read.element),
                Some(_) => {
                    self.next = Some((read.key, read.element));
                    break;
                }
            }
        }
        all.map(|(key, elements)| Ok((key, Rule::All.resolve(elements))))
    }
}
