//! Rows of which the newest aren't durable yet.

use std::{cell::RefCell, collections::BTreeMap, iter, mem};

use super::{Base, Rows, Scanned, range};

/// What becomes of rows: a value, or nothing where the row is deleted.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

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
/// In memory is each row that was changed and isn't settled, twice if it was changed again after it
/// was sealed. A look-up in it costs two searches beside the base's; a scan, two comparisons a row.
/// What was read by [`Noted`], and is read again before the next seal, costs the base nothing.
#[derive(Clone, Debug, Default)]
pub struct Overlay<B> {
    base: B,
    open: Changes,
    /// The last sealed change of each row that isn't settled, and its generation.
    sealed: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    generation: u64,
    /// What the base was just read to hold.
    noted: Changes,
}

impl<B> Overlay<B> {
    /// The rows of a base.
    pub const fn new(base: B) -> Self {
        let sealed = BTreeMap::new();
        Self { base, open: Changes::new(), sealed, generation: 0, noted: Changes::new() }
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
    /// one. It may be empty. Copies the changes.
    pub fn seal(&mut self) -> (u64, Changes) {
        self.generation += 1;
        self.noted.clear();
        let changes = mem::take(&mut self.open);
        for (key, value) in &changes {
            self.sealed.insert(key.clone(), (self.generation, value.clone()));
        }
        (self.generation, changes)
    }

    /// Takes what was just read of these rows, which is read again before the next
    /// [`seal`](Self::seal): the base isn't written before that.
    pub fn note(&mut self, noted: Changes) {
        self.noted = noted;
    }

    /// Says that the base has the generations as far as `upto`. Drops them; costs a walk over what
    /// is sealed.
    pub fn settled(&mut self, upto: u64) {
        self.sealed.retain(|_, (generation, _)| *generation > upto);
    }
}

impl<B: Base> Base for Overlay<B> {
    type Error = B::Error;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, B::Error> {
        if let Some(value) = self.open.get(key) {
            return Ok(value.clone());
        }
        if let Some((_, value)) = self.sealed.get(key) {
            return Ok(value.clone());
        }
        match self.noted.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_, B> {
        let change = |key: &Vec<u8>, value: &Option<Vec<u8>>| Ok((key.clone(), value.clone()));
        let open = range(&self.open, from, below).map(move |(key, value)| change(key, value));
        let sealed = range(&self.sealed, from, below);
        let sealed = sealed.map(move |(key, (_, value))| change(key, value));
        let base =
            self.base.scan(from, below).map(|row| row.map(|(key, value)| (key, Some(value))));
        let rows = over(open, over(sealed, base));
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
