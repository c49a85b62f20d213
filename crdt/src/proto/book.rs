//! The book: all that a replica keeps of a space.
//!
//! In memory is a record of some 400 bytes for each feed ([`Known`]); everything else is in
//! [`Rows`]. Who changes the book changes both, so what is in memory is a function of the rows:
//! [`Book::open`] reads it back.
//!
//! The book knows neither peers nor clocks, and doesn't decide what may be written: it is given
//! entries that are valid, whose author may write and whose citations are settled. It decides what
//! is kept of a feed (by [`Feed`]), drops what that evicts, keeps the headers of evidence, and
//! numbers what it takes in.
//!
//! Cost of an entry that continues its feed: the rows of header, payload, order and feed, and one
//! look-up, beside what [`map::apply`] costs; others cost what [`Lanes`](super::feed::Lanes) says,
//! with 72 bytes of memory for each entry of the feed above the one that comes.

mod catalog;
mod discarded;
mod documents;
mod layout;
mod pages;
pub mod salvage;
mod standing;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use aether_core::PublicKey;

use self::discarded::{Discarded, Dropping};
pub use self::{
    catalog::{Catalog, Known},
    discarded::Dropped,
    documents::{Counting, changes, file, file_row},
    standing::Staged,
    walk::{Stored, Walker},
};
use super::{
    entry::{Authority, Checked, Collection, Entry, Header, Kind, Payload},
    feed::{Evidence, Feed, Kept as _, Node, Nodes, Placed, Tip},
    id::{EntryId, FeedId, Position, Tag},
    map::{self, Feeds},
    rows::{Base, Rows, starting},
    time::Hybrid,
};

/// How many entries are named at a time while a collection is rebuilt.
const CHUNK: usize = 256;

/// What taking an entry in did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What became of the entry.
    pub placed: Placed,
    /// Where it stands in the order of intake, if it is kept: new, or since before.
    pub position: Option<Position>,
    /// Whether the evidence against the author is other than before.
    pub is_forked_anew: bool,
    /// The entries with operations on access that it evicted.
    pub gone: Vec<EntryId>,
}

/// All that a replica keeps of one space. See the [module](self).
#[derive(Clone, Debug)]
pub struct Book<R> {
    rows: R,
    catalog: Catalog,
    /// The last position that was given.
    last: Position,
    /// Collections that no longer are what their entries make of them, as some were evicted.
    stale: BTreeSet<Collection>,
    /// Whether there are credentials.
    has_credentials: bool,
    /// Who writes here: what is dropped of theirs is set aside.
    own: BTreeSet<PublicKey>,
    /// What owners discarded, and where dropping it has come to.
    discarded: BTreeMap<FeedId, Discarded>,
    dropping: Option<Dropping>,
}

impl<R: Rows> Book<R> {
    /// Reads the book that rows hold; an empty one, if they hold none. Costs a scan of feeds.
    ///
    /// # Errors
    /// Of the rows, as all that reads or writes them.
    ///
    /// # Panics
    /// The rows hold what no book wrote. So do all that read them.
    pub fn open(rows: R) -> Result<Self, R::Error> {
        let mut catalog = Catalog::default();
        let (first, end) = layout::feeds();
        for row in rows.scan(&first, Some(&end)) {
            let (row, value) = row?;
            let (local, id, authority, feed) = layout::read_feed(&row, &value);
            let place = catalog.push(Known { id, authority, feed });
            assert_eq!(place, local, "feeds are numbered without gaps");
        }
        let last = last(&rows)?;
        let (first, end) = layout::all_stale();
        let stale = rows.scan(&first, Some(&end)).map(|row| Ok(layout::read_stale(&row?.0)));
        let stale = stale.collect::<Result<_, R::Error>>()?;
        let has_credentials = starting(&rows, &layout::credentials()).next().is_some();
        Ok(Self {
            discarded: discarded::read(&rows)?,
            rows,
            catalog,
            last,
            stale,
            has_credentials,
            own: BTreeSet::new(),
            dropping: None,
        })
    }

    /// Sets aside, from now on, what is dropped of these authors' feeds by a judgement.
    pub fn own(&mut self, authors: impl IntoIterator<Item = PublicKey>) {
        self.own = authors.into_iter().collect();
    }

    /// The rows.
    pub const fn rows(&self) -> &R {
        &self.rows
    }

    /// The rows, for what isn't the book's.
    pub const fn rows_mut(&mut self) -> &mut R {
        &mut self.rows
    }

    /// All feeds of which something is known.
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What is known of a feed.
    pub fn known(&self, feed: &FeedId) -> Option<&Known> {
        self.catalog.known(feed)
    }

    /// A feed's local number.
    fn local(&self, feed: &FeedId) -> Option<u32> {
        self.catalog.local(feed)
    }

    /// The feed with this local number.
    fn at(&self, local: u32) -> &Known {
        self.catalog.at(local)
    }

    /// The last position that was given.
    pub const fn last(&self) -> Position {
        self.last
    }

    /// The evidence against a feed's author, if there is any.
    pub fn evidence(&self, feed: &FeedId) -> Option<Evidence> {
        self.known(feed)?.feed.evidence()
    }

    /// Collections that have to be rebuilt, as entries that changed them were evicted.
    pub const fn stale(&self) -> &BTreeSet<Collection> {
        &self.stale
    }

    /// Makes a collection anew of all entries that are kept. Costs a read of them all; nothing for
    /// a document, which whoever has it open makes anew.
    pub fn rebuild(&mut self, collection: &Collection) -> Result<(), R::Error> {
        if collection.kind() == Kind::Document {
            self.stale.remove(collection);
            return self.rows.delete(&layout::stale(collection));
        }
        map::clear(collection, &mut self.rows)?;
        let mut after = Position::ZERO;
        loop {
            let some = self.order(after).take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            for (at, local, tip) in &some {
                if !self.counts(*local, *tip)? {
                    continue;
                }
                let entry = self.entry(*local, *tip)?.expect("what has a place is kept");
                let batch = map::Batch::of(&entry, *at);
                map::apply_to(collection, &batch, &mut self.rows, &self.catalog)?;
            }
            match some.last() {
                Some((last, ..)) if some.len() == CHUNK => after = *last,
                _ => break,
            }
        }
        self.stale.remove(collection);
        self.rows.delete(&layout::stale(collection))
    }

    /// Where an entry that is kept stands in the order of intake; `None` if it isn't kept.
    pub fn position(&self, id: &EntryId) -> Result<Option<Position>, R::Error> {
        let Some(local) = self.local(&id.feed) else { return Ok(None) };
        let value = self.rows.get(&layout::header(local, tip(id)))?;
        Ok(value.map(|value| layout::read_header(&value).0))
    }

    /// The header of an entry that is kept.
    pub fn header(&self, id: &EntryId) -> Result<Option<Checked<Header>>, R::Error> {
        let Some(local) = self.local(&id.feed) else { return Ok(None) };
        let value = self.rows.get(&layout::header(local, tip(id)))?;
        Ok(value.map(|value| restore(layout::read_header(&value).1)))
    }

    /// An entry that is kept; bare, if its payload was discarded and is dropped.
    pub fn entry(&self, local: u32, tip: Tip) -> Result<Option<Entry>, R::Error> {
        match entry(&self.rows, local, tip)? {
            None => self.bare(local, tip),
            entry => Ok(entry),
        }
    }

    /// The entries taken in after a position, in the order of intake.
    pub fn order(
        &self,
        after: Position,
    ) -> impl Iterator<Item = Result<(Position, u32, Tip), R::Error>> {
        order(&self.rows, after)
    }

    /// The two headers of the evidence against a feed's author, in the order of their hashes.
    pub fn witnesses(&self, feed: &FeedId) -> Result<Option<[Vec<u8>; 2]>, R::Error> {
        let (Some(local), Some(evidence)) = (self.local(feed), self.evidence(feed)) else {
            return Ok(None);
        };
        let [first, second] = evidence.pair();
        let first = self.rows.get(&layout::witness(local, &first))?;
        Ok(first.zip(self.rows.get(&layout::witness(local, &second))?).map(<[_; 2]>::from))
    }

    /// What would become of an entry; nothing changes. `None` for a feed of which nothing is known
    /// yet. One look-up at most; the header needs no checked signature yet.
    pub fn judge(&self, header: &Header) -> Result<Option<Placed>, R::Error> {
        let Some(local) = self.local(&header.feed()) else { return Ok(None) };
        let node = node(header);
        let kept = self.nodes(local, node.number, node.number)?;
        Ok(Some(self.at(local).feed.judge(&node, &kept)))
    }

    /// Whether a header would change the evidence against its author. One look-up at most; the
    /// header needs no checked signature yet.
    pub fn is_news(&self, header: &Header) -> Result<bool, R::Error> {
        let Some(local) = self.local(&header.feed()) else { return Ok(false) };
        let kept = self.nodes(local, header.number(), header.number())?;
        Ok(self.at(local).feed.clone().witness(&node(header), &kept))
    }

    /// Takes an entry in that is valid and whose citations are settled, and drops what it evicts.
    /// Of a payload that was discarded nothing is taken. `authority` is that of its feed.
    pub fn take(&mut self, entry: &Entry, authority: Authority) -> Result<Taken, R::Error> {
        let stripped = self.stripped(entry);
        let entry = stripped.as_ref().unwrap_or(entry);
        let (header, node) = (entry.header(), node(entry.header()));
        if node.number > 1 && self.local(&header.feed()).is_none() {
            // A feed has a local number from its first entry on, and no sooner.
            let (placed, gone) = (Placed::Gap, Vec::new());
            return Ok(Taken { placed, position: None, is_forked_anew: false, gone });
        }
        let local = self.begin(header.feed(), authority);
        let level = self.nodes(local, node.number, node.number)?;
        let reach = match self.at(local).feed.judge(&node, &level) {
            // Only an entry that takes another's place makes others go, all of them above it.
            Placed::Lowered { .. } | Placed::Replaced { .. } => u64::MAX,
            _ => node.number,
        };
        let kept = self.nodes(local, node.number, reach)?;
        let known = self.catalog.at_mut(local);
        let (before, fork) = (known.feed.evidence(), documents::fork(&known.feed));
        let placed = known.feed.insert(node, &kept);
        let evidence = known.feed.evidence();
        let is_forked_anew = evidence != before;
        // If the branch that counts for documents is the same, they stay as they are.
        let is_recounted = documents::fork(&known.feed) != fork;
        if is_forked_anew {
            self.witness(local, before, &[header])?;
        }
        let mut gone = Vec::new();
        if let Some(evicted) = placed.evicted() {
            for node in kept.above(evicted) {
                gone.extend(self.drop_entry(local, node.tip(), is_recounted)?);
            }
        }
        if placed.is_new() {
            self.put(local, entry)?;
            self.apply(local, entry)?;
            if is_recounted {
                self.recount(local)?;
            }
        }
        if placed.is_new() || is_forked_anew {
            self.write_feed(local)?;
        }
        let position = if placed.is_kept() { self.position(&header.id())? } else { None };
        Ok(Taken { placed, position, is_forked_anew, gone })
    }

    /// Takes evidence against the author of a feed that is known: two headers of one number. Tells
    /// whether it changes what was known.
    pub fn note(
        &mut self,
        first: &Checked<Header>,
        second: &Checked<Header>,
    ) -> Result<bool, R::Error> {
        let evidence = Evidence::of(node(first).tip(), node(second).tip());
        let local = self.local(&first.feed()).filter(|_| first.feed() == second.feed());
        let (Some(local), Some(evidence)) = (local, evidence) else { return Ok(false) };
        let known = self.catalog.at_mut(local);
        let before = known.feed.evidence();
        if !known.feed.note(evidence) {
            return Ok(false);
        }
        self.witness(local, before, &[first, second])?;
        self.write_feed(local)?;
        Ok(true)
    }

    /// Takes an authentic header for what it shows of forks, together with what is kept. Tells
    /// whether that changes what was known.
    pub fn show(&mut self, header: &Checked<Header>) -> Result<bool, R::Error> {
        let Some(local) = self.local(&header.feed()) else { return Ok(false) };
        let node = node(header);
        let kept = self.nodes(local, node.number, node.number)?;
        let known = self.catalog.at_mut(local);
        let before = known.feed.evidence();
        if !known.feed.witness(&node, &kept) {
            return Ok(false);
        }
        self.witness(local, before, &[header])?;
        self.write_feed(local)?;
        Ok(true)
    }

    /// The feed's local number; a new one, if nothing is known of it. One of which nothing is kept
    /// may begin anew by another authority.
    fn begin(&mut self, id: FeedId, authority: Authority) -> u32 {
        if let Some(local) = self.local(&id) {
            let known = self.catalog.at_mut(local);
            if known.feed.tips().is_empty() {
                known.authority = authority;
            }
            return local;
        }
        self.catalog.push(Known { id, authority, feed: Feed::default() })
    }

    fn put(&mut self, local: u32, entry: &Entry) -> Result<(), R::Error> {
        self.last = self.last.next();
        let header = entry.header();
        let tip = tip(&header.id());
        let bytes = layout::header_value(self.last, &header.encode());
        self.rows.put(layout::header(local, tip), bytes)?;
        if !entry.payload().as_bytes().is_empty() {
            pages::put(&mut self.rows, self.last, entry.payload().as_bytes())?;
        }
        self.rows.put(layout::order(self.last), layout::order_value(local, tip))?;
        if header.access().is_some() {
            self.rows.put(layout::operation(local, tip), Vec::new())?;
        }
        self.put_changes(local, entry, self.last)?;
        self.rows.put(layout::next().to_vec(), layout::header_value(self.last, &[]))
    }

    /// Changes collections as the entry says that was put last.
    fn apply(&mut self, local: u32, entry: &Entry) -> Result<(), R::Error> {
        let (id, batch) = (entry.header().id(), map::Batch::of(entry, self.last));
        if !is_twin(&id, &self.nodes(local, id.number, id.number)?) {
            return map::apply(&batch, &mut self.rows, &self.catalog);
        }
        batch.collections().iter().try_for_each(|collection| self.make_stale(collection))
    }

    fn make_stale(&mut self, collection: &Collection) -> Result<(), R::Error> {
        if collection.kind() == Kind::Document {
            self.rows.delete(&layout::file(collection))?;
        }
        if self.stale.insert(*collection) {
            self.rows.put(layout::stale(collection), Vec::new())?;
        }
        Ok(())
    }

    /// Drops an entry, and names it if it had an operation on access.
    fn drop_entry(
        &mut self,
        local: u32,
        tip: Tip,
        is_recounted: bool,
    ) -> Result<Option<EntryId>, R::Error> {
        let row = layout::header(local, tip);
        let Some(value) = self.rows.get(&row)? else { return Ok(None) };
        let (position, _) = layout::read_header(&value);
        let entry = self.entry(local, tip)?.expect("what has a header is kept");
        let mut gone = None;
        if entry.header().access().is_some() {
            gone = Some(entry.header().id());
            self.rows.delete(&layout::operation(local, tip))?;
        }
        self.drop_changes(&entry, position)?;
        if is_recounted {
            documents::of(&entry).try_for_each(|document| self.make_stale(document))?;
        }
        for collection in map::Batch::of(&entry, position).collections() {
            self.make_stale(&collection)?;
        }
        self.rows.delete(&layout::order(position))?;
        self.rows.delete(&row)?;
        pages::delete(&mut self.rows, position, entry.payload().as_bytes().len())?;
        Ok(gone)
    }

    /// Keeps the headers of the evidence that is known now, and drops those of the one before. Each
    /// is among `headers`, or kept as an entry, or as a witness.
    fn witness(
        &mut self,
        local: u32,
        before: Option<Evidence>,
        headers: &[&Checked<Header>],
    ) -> Result<(), R::Error> {
        let Some(evidence) = self.at(local).feed.evidence() else { return Ok(()) };
        for hash in evidence.pair() {
            let row = layout::witness(local, &hash);
            let kept = Tip { number: evidence.number(), hash };
            let given = headers.iter().find(|header| header.hash() == hash);
            let bytes = match given {
                Some(header) => Some(header.encode()),
                None => self
                    .rows
                    .get(&layout::header(local, kept))?
                    .map(|value| layout::read_header(&value).1.to_vec()),
            };
            if let Some(bytes) = bytes {
                self.rows.put(row, bytes)?;
            }
        }
        let stays = evidence.pair();
        for hash in before.map(|before| before.pair()).into_iter().flatten() {
            if !stays.contains(&hash) {
                self.rows.delete(&layout::witness(local, &hash))?;
            }
        }
        Ok(())
    }

    fn write_feed(&mut self, local: u32) -> Result<(), R::Error> {
        let Known { id, authority, feed } = self.catalog.at(local);
        let value = layout::write_feed(id, *authority, feed);
        self.rows.put(layout::feed(local), value)
    }

    /// What is kept of a feed, from one number to another.
    fn nodes(&self, local: u32, from: u64, to: u64) -> Result<Nodes, R::Error> {
        let rows = self
            .rows
            .scan(&layout::headers_from(local, from), Some(&layout::headers_end(local, to)));
        rows.map(|row| {
            let header = restore(layout::read_header(&row?.1).1);
            Ok(node(&header))
        })
        .collect()
    }
}

/// An entry that a book keeps in these rows; `None` if its payload isn't kept, having been
/// discarded.
///
/// # Errors
/// Of the rows.
///
/// # Panics
/// As [`Book::open`].
pub fn entry<B: Base>(rows: &B, local: u32, tip: Tip) -> Result<Option<Entry>, B::Error> {
    let Some(value) = rows.get(&layout::header(local, tip))? else { return Ok(None) };
    let (position, header) = layout::read_header(&value);
    let header = restore(header);
    // Who reads while others write may find the half of what was evicted.
    let Some(payload) = payload(rows, position, &header)? else { return Ok(None) };
    let payload = Payload::decode(payload).expect("what was put is read back");
    Ok(Some(Entry::new(header, payload).expect("what was put is read back")))
}

/// Whether an entry is kept, with its payload or without.
///
/// # Errors
/// Of the rows.
pub fn is_kept<B: Base>(rows: &B, local: u32, tip: Tip) -> Result<bool, B::Error> {
    Ok(rows.get(&layout::header(local, tip))?.is_some())
}

/// The payload of the entry at a position; `None` if it isn't kept.
fn payload<B: Base>(rows: &B, at: Position, header: &Header) -> Result<Option<Vec<u8>>, B::Error> {
    let len = usize::try_from(header.content().bytes).unwrap_or(usize::MAX);
    pages::part(rows, at, 0..len)
}

/// Whether a row is one of those that are put once, each behind all others of its kind. Who stores
/// rows in an engine that merges what it wrote keeps these apart, so that they needn't be merged.
pub fn is_appended(row: &[u8]) -> bool {
    row.first() == Some(&layout::PAYLOADS)
}

/// The name of the entry at a position in these rows, and when it was written; `None` if it isn't
/// kept. `feeds` knows the numbers that stand for feeds in them.
///
/// # Errors
/// Of the rows.
pub fn name<B: Base, F: Feeds>(
    rows: &B,
    feeds: &F,
    at: Position,
) -> Result<Option<(EntryId, Hybrid)>, B::Error> {
    let row = layout::order(at);
    let Some(value) = rows.get(&row)? else { return Ok(None) };
    let (_, local, Tip { number, hash }) = layout::read_order(&row, &value);
    let Some(value) = rows.get(&layout::header(local, Tip { number, hash }))? else {
        return Ok(None);
    };
    let time = restore(layout::read_header(&value).1).time();
    Ok(Some((EntryId { feed: feeds.feed(local), number, hash }, time)))
}

/// A part of the payload of the entry at a position in these rows; `None` if it isn't kept.
///
/// # Errors
/// Of the rows.
pub fn part<B: Base>(
    rows: &B,
    at: Position,
    part: Range<usize>,
) -> Result<Option<Vec<u8>>, B::Error> {
    pages::part(rows, at, part)
}

/// The entries that a book in these rows took in after a position, in the order of intake.
///
/// # Errors
/// Of the rows, as an item.
pub fn order<B: Base>(
    rows: &B,
    after: Position,
) -> impl Iterator<Item = Result<(Position, u32, Tip), B::Error>> {
    let rows = rows.scan(&layout::order(after.next()), Some(&layout::order_end()));
    rows.map(|row| row.map(|(row, value)| layout::read_order(&row, &value)))
}

/// The last position that a book in these rows gave.
///
/// # Errors
/// Of the rows.
pub fn last<B: Base>(rows: &B) -> Result<Position, B::Error> {
    let value = rows.get(&layout::next())?;
    Ok(value.map_or(Position::ZERO, |value| layout::read_header(&value).0))
}

fn restore(bytes: &[u8]) -> Checked<Header> {
    Header::restore(bytes).expect("what was put is read back")
}

/// Whether another entry of the same number has the same tag, so that a dot means both.
fn is_twin(id: &EntryId, level: &Nodes) -> bool {
    level.iter().any(|node| node.hash != id.hash && Tag::of(&node.hash) == id.tag())
}

fn tip(id: &EntryId) -> Tip {
    Tip { number: id.number, hash: id.hash }
}

fn node(header: &Header) -> Node {
    let parent = header.parent().map_or(Tip::ROOT.hash, |parent| parent.hash);
    Node { number: header.number(), hash: header.hash(), parent }
}

#[cfg(test)]
mod tests;
