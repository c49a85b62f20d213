//! Rows of which the newest aren't durable yet.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    iter, mem,
    sync::Arc,
};

use super::{Base, Rows, Scanned, range};

/// What becomes of rows: a value, or nothing where the row is deleted.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Most runs of sealed generations: what a look-up may have to search.
const MAX_RUNS: usize = 4;

/// Rows over a [`Base`]: what was put and deleted stays in memory until the base has it.
///
/// So whoever decides need not wait for the disk, and many steps become durable by one sync:
///
/// 1. Steps are written to the overlay.
/// 2. [`seal`](Self::seal) hands out all changes since the last time, a *generation*. They are
///    written to the base, at once or not at all, and generations in their order.
/// 3. [`settled`](Self::settled) drops what the base now has.
///
/// **Invariant**: what is read is the open changes, over the sealed ones, over the base. It is
/// right if the base has all that is settled; of what is sealed it may have any part, which is read
/// from here.
///
/// Sealed generations are kept as they were handed out, shared and not copied. So that a look-up
/// searches few of them, neighbours that are small become one: a *run*, of which there are four.
///
/// In memory is each row that was changed and isn't settled, once for each run it was changed in. A
/// look-up costs a search in each run beside the base's; a scan, as many comparisons a row. What
/// was read by [`Noted`], and is read again before the next seal, costs one search and the base
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Overlay<B> {
    base: B,
    open: Changes,
    /// What is sealed and not settled, the oldest first.
    sealed: VecDeque<Run>,
    generation: u64,
    /// What was just read, and wasn't changed before it was.
    noted: Changes,
}

/// Generations that follow each other, of each row the last change.
#[derive(Clone, Debug)]
struct Run {
    /// The last of them.
    upto: u64,
    changes: Arc<Changes>,
}

impl<B> Overlay<B> {
    /// The rows of a base.
    pub fn new(base: B) -> Self {
        let (open, sealed, noted) = (Changes::new(), VecDeque::new(), Changes::new());
        Self { base, open, sealed, generation: 0, noted }
    }

    /// The base.
    pub const fn base(&self) -> &B {
        &self.base
    }

    /// The base, to be written or to be put in the place of an older one. It must have all that is
    /// settled.
    pub const fn base_mut(&mut self) -> &mut B {
        &mut self.base
    }

    /// Ends a generation: its number, which counts from 1, and all that was changed since the last
    /// one. It may be empty. Copies nothing, unless five runs are to become four while somebody
    /// else still has the older of two.
    pub fn seal(&mut self) -> (u64, Arc<Changes>) {
        self.generation += 1;
        self.noted.clear();
        let changes = Arc::new(mem::take(&mut self.open));
        if !changes.is_empty() {
            self.sealed.push_back(Run { upto: self.generation, changes: Arc::clone(&changes) });
        }
        if self.sealed.len() > MAX_RUNS {
            self.join_two();
        }
        (self.generation, changes)
    }

    /// Makes one run of the two neighbours that are the least together.
    fn join_two(&mut self) {
        let pairs = self.sealed.iter().zip(self.sealed.iter().skip(1));
        let sizes = pairs.map(|(older, newer)| older.changes.len() + newer.changes.len());
        let least = sizes.enumerate().min_by_key(|(_, size)| *size).map(|(at, _)| at);
        let newer = least.and_then(|at| self.sealed.remove(at + 1));
        let (Some(at), Some(newer)) = (least, newer) else { return };
        let older = &mut self.sealed[at];
        older.upto = newer.upto;
        Arc::make_mut(&mut older.changes).extend(Arc::unwrap_or_clone(newer.changes));
    }

    /// Takes what was just read of these rows, which is read again before the next
    /// [`seal`](Self::seal): the base isn't written before that.
    pub fn note(&mut self, noted: Changes) {
        self.noted = noted;
    }

    /// Says that the base has the generations as far as `upto`. Drops the runs that end there or
    /// before; of a run that goes on, all stays until the rest is settled.
    pub fn settled(&mut self, upto: u64) {
        while self.sealed.front().is_some_and(|run| run.upto <= upto) {
            self.sealed.pop_front();
        }
    }
}

impl<B: Base> Base for Overlay<B> {
    type Error = B::Error;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, B::Error> {
        if let Some(value) = self.open.get(key).or_else(|| self.noted.get(key)) {
            return Ok(value.clone());
        }
        match self.sealed.iter().rev().find_map(|run| run.changes.get(key)) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_, B> {
        let base = self.base.scan(from, below);
        let base = base.map(|row| row.map(|(key, value)| (key, Some(value))));
        let changes = self.sealed.iter().map(|run| &*run.changes).chain([&self.open]);
        let mut rows: Box<dyn Iterator<Item = Change<B::Error>> + '_> = Box::new(base);
        for changes in changes {
            let changes = range(changes, from, below);
            let changes = changes.map(|(key, value)| Ok((key.clone(), value.clone())));
            rows = Box::new(over(changes, rows));
        }
        rows.filter_map(|row| row.map(|(key, value)| Some((key, value?))).transpose())
    }
}

impl<B: Base> Rows for Overlay<B> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), B::Error> {
        self.open.insert(key, Some(value));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), B::Error> {
        self.open.insert(key.to_vec(), None);
        Ok(())
    }
}

/// A base that notes what look-ups in it find, for [`Overlay::note`]. Scans aren't noted.
#[derive(Debug)]
pub struct Noted<'a, B> {
    base: &'a B,
    found: RefCell<Changes>,
}

impl<'a, B> Noted<'a, B> {
    /// Reads this base.
    pub fn of(base: &'a B) -> Self {
        Self { base, found: RefCell::default() }
    }

    /// What was found.
    pub fn into_found(self) -> Changes {
        self.found.into_inner()
    }
}

impl<'a, B: Base> Base for Noted<'a, B> {
    type Error = B::Error;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, B::Error> {
        let value = self.base.get(key)?;
        self.found.borrow_mut().insert(key.to_vec(), value.clone());
        Ok(value)
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_, 'a, B> {
        self.base.scan(from, below)
    }
}

/// What a row becomes, or why that can't be read.
type Change<E> = Result<(Vec<u8>, Option<Vec<u8>>), E>;

/// The changes of both, ascending as both are; of a row that both change, the upper one's.
fn over<E>(
    upper: impl Iterator<Item = Change<E>>,
    lower: impl Iterator<Item = Change<E>>,
) -> impl Iterator<Item = Change<E>> {
    let (mut upper, mut lower) = (upper.peekable(), lower.peekable());
    iter::from_fn(move || {
        if let (Some(Ok((above, _))), Some(Ok((below, _)))) = (upper.peek(), lower.peek()) {
            if below < above {
                return lower.next();
            }
            if below == above {
                lower.next();
            }
            return upper.next();
        }
        // One of them has ended, or can't be read.
        match lower.next_if(|row| row.is_err() || upper.peek().is_none()) {
            Some(row) => Some(row),
            None => upper.next(),
        }
    })
}
