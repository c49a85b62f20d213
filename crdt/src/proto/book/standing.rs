//! What a book keeps of feeds that don't simply stand: those that are void, whose author was
//! removed, or of which a pinned chain is on its way.
//!
//! Who judges is [`access`](crate::proto::access); here is done what it says. Each of these returns
//! the entries with operations on access that are kept no more.
//!
//! A *credential* is the first header of a feed of which nothing is kept any more. It says by what
//! the feed was written, so that whoever meets a citation of it can tell that nobody has it.
//!
//! *Staged* are entries of a chain that a removal pins and that isn't kept, from the pin down. Each
//! is named by the hash in the one above it, and the first by the removal: so nobody can have
//! anything staged but what is on the chain. Own entries that are dropped are staged too, for good:
//! whoever removed their author may be removed, and then nobody else may have them.

use std::collections::BTreeSet;

use aether_core::{
    Hash,
    wire::{Reader, Writer},
};

use super::{Book, Node, layout, restore, tip};
use crate::proto::{
    access::Pinned,
    entry::{Authority, Checked, Entry, Header, Payload},
    feed::{Feed, Kept as _, Nodes, Shape, Tip},
    id::{EntryId, FeedId, Position},
    map,
    rows::{Rows, starting},
};

/// How far a chain is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// This entry comes next.
    Awaits {
        /// Which.
        next: EntryId,
        /// The staged entry that names it; none if it is the pin itself.
        above: Option<EntryId>,
    },
    /// Down to an entry that is kept, or to the feed's first.
    Whole,
}

impl<R: Rows> Book<R> {
    /// The headers with operations on access, of each feed parents before children.
    pub fn operations(&self) -> impl Iterator<Item = Result<Checked<Header>, R::Error>> {
        let (first, end) = layout::operations();
        let rows = self.rows.scan(&first, Some(&end));
        rows.map(|row| {
            let (local, tip) = layout::read_entry(&row?.0);
            let value = self.rows.get(&layout::header(local, tip))?;
            let value = value.expect("what has an operation is kept");
            Ok(restore(layout::read_header(&value).1))
        })
    }

    /// The entries with operations on access on the way to one that is kept, ascending; `None` if
    /// it isn't kept. Reads the chain, if the feed has operations.
    pub fn operations_to(&self, id: &EntryId) -> Result<Option<Vec<Tip>>, R::Error> {
        let Some(local) = self.local(&id.feed) else { return Ok(None) };
        if self.rows.get(&layout::header(local, tip(id)))?.is_none() {
            return Ok(None);
        }
        let mut all = BTreeSet::new();
        for row in starting(&self.rows, &layout::operations_of(local)) {
            all.insert(layout::read_entry(&row?.0).1);
        }
        let (mut on, mut at) = (Vec::new(), tip(id));
        while all.first().is_some_and(|first| first.number <= at.number) {
            if all.contains(&at) {
                on.push(at);
            }
            let Some(value) = self.rows.get(&layout::header(local, at))? else { break };
            let Some(parent) = restore(layout::read_header(&value).1).parent() else { break };
            at = tip(&parent);
        }
        on.reverse();
        Ok(Some(on))
    }

    /// Whether an entry that is kept counts.
    pub(super) fn counts(&self, local: u32, tip: Tip) -> Result<bool, R::Error> {
        match self.at(local).feed().shape() {
            Shape::Open(_) => Ok(true),
            Shape::Pinned(_) => Ok(self.rows.get(&layout::uncounted(local, tip))?.is_none()),
        }
    }

    /// Drops all of a feed but the evidence against its author, and keeps its credential. Costs a
    /// read of it all.
    pub fn void(&mut self, feed: &FeedId) -> Result<Vec<EntryId>, R::Error> {
        let Some(local) = self.local(feed) else { return Ok(Vec::new()) };
        let kept = self.nodes(local, 0, u64::MAX)?;
        self.keep_first(local, &kept)?;
        let gone = self.drop_all(local, kept.iter().map(|node| node.tip()))?;
        let known = self.catalog.at_mut(local);
        known.feed = Feed::restore(Shape::default(), known.feed.evidence());
        self.write_feed(local)?;
        Ok(gone)
    }

    /// Notes that a feed of which nothing is kept is written by another authority.
    pub fn write_by(&mut self, feed: &FeedId, authority: Authority) -> Result<(), R::Error> {
        let Some(local) = self.local(feed) else { return Ok(()) };
        self.catalog.at_mut(local).authority = authority;
        self.write_feed(local)
    }

    /// Keeps what removals leave of a feed, and tells whether the evidence against its author
    /// changed. The chains are kept, or [adopted](Self::adopt). Costs a read of the feed's headers.
    pub fn pin(
        &mut self,
        feed: &FeedId,
        pinned: &Pinned,
    ) -> Result<(Vec<EntryId>, bool), R::Error> {
        let Some(local) = self.local(feed) else { return Ok((Vec::new(), false)) };
        let mut kept = self.nodes(local, 0, u64::MAX)?;
        let known = self.catalog.at_mut(local);
        let before = known.feed.evidence();
        let evicted = known.feed.pin(Tip::ROOT, &pinned.tips(), &kept);
        let evicted = evicted.expect("a removal counts once its chains are kept");
        let is_forked_anew = known.feed.evidence() != before;
        if is_forked_anew {
            self.witness(local, before, &[])?;
        }
        if evicted.len() == kept.len() {
            self.keep_first(local, &kept)?;
        }
        for node in &evicted {
            kept.remove(node.tip());
        }
        let gone = self.drop_all(local, evicted.iter().map(|node| node.tip()))?;
        let counted = match pinned.removals() {
            [_] => Ok(pinned.tips()),
            _ => pinned.counted(&kept),
        };
        let counted = counted.expect("a removal counts once its chains are kept");
        let uncounted = beside(&counted, &kept);
        self.count_all(local, &uncounted)?;
        self.recount(local)?;
        self.write_feed(local)?;
        Ok((gone, is_forked_anew))
    }

    /// Keeps the credential of a feed that is about to lose all that is kept of it.
    fn keep_first(&mut self, local: u32, kept: &Nodes) -> Result<(), R::Error> {
        let Some(first) = kept.iter().next() else { return Ok(()) };
        let Some(value) = self.rows.get(&layout::header(local, first.tip()))? else {
            return Ok(());
        };
        let row = layout::credential(&self.at(local).id);
        self.has_credentials = true;
        self.rows.put(row, layout::read_header(&value).1.to_vec())
    }

    /// Keeps what the rules keep of a feed of which no removal stands any more. Costs as
    /// [`pin`](Self::pin) does.
    pub fn open_again(&mut self, feed: &FeedId) -> Result<Vec<EntryId>, R::Error> {
        let Some(local) = self.local(feed) else { return Ok(Vec::new()) };
        let kept = self.nodes(local, 0, u64::MAX)?;
        self.count_all(local, &Nodes::default())?;
        let known = self.catalog.at_mut(local);
        let before = known.feed.evidence();
        let evicted = known.feed.open(Tip::ROOT, &kept);
        if known.feed.evidence() != before {
            self.witness(local, before, &[])?;
        }
        let gone = self.drop_all(local, evicted.iter().map(|node| node.tip()))?;
        self.recount(local)?;
        self.write_feed(local)?;
        Ok(gone)
    }

    fn drop_all(
        &mut self,
        local: u32,
        tips: impl Iterator<Item = Tip>,
    ) -> Result<Vec<EntryId>, R::Error> {
        let mut gone = Vec::new();
        let is_own = self.own.contains(&self.at(local).id.author);
        for tip in tips {
            if let (true, Some(entry)) = (is_own, self.entry(local, tip)?) {
                self.stage(&entry)?;
            }
            gone.extend(self.drop_entry(local, tip, true)?);
            self.rows.delete(&layout::uncounted(local, tip))?;
        }
        Ok(gone)
    }

    /// Makes these entries of a feed not count, and all others count.
    fn count_all(&mut self, local: u32, uncounted: &Nodes) -> Result<(), R::Error> {
        let mut before = Nodes::default();
        for row in starting(&self.rows, &layout::uncounted_of(local)) {
            let tip = layout::read_entry(&row?.0).1;
            before.insert(Node { number: tip.number, hash: tip.hash, parent: tip.hash });
        }
        for node in uncounted.iter().filter(|node| before.get(node.tip()).is_none()) {
            self.rows.put(layout::uncounted(local, node.tip()), Vec::new())?;
            self.count(local, node.tip(), false)?;
        }
        for node in before.iter().filter(|node| uncounted.get(node.tip()).is_none()) {
            self.rows.delete(&layout::uncounted(local, node.tip()))?;
            self.count(local, node.tip(), true)?;
        }
        Ok(())
    }

    /// An entry counts from now on, or no more: what it changed is to be made anew.
    fn count(&mut self, local: u32, tip: Tip, counts: bool) -> Result<(), R::Error> {
        let Some(entry) = self.entry(local, tip)? else { return Ok(()) };
        let Some(at) = self.position(&entry.header().id())? else { return Ok(()) };
        match counts {
            true => self.put_changes(local, &entry, at)?,
            false => self.drop_changes(&entry, at)?,
        }
        self.make_all_stale(&entry, at)
    }

    fn make_all_stale(&mut self, entry: &Entry, at: Position) -> Result<(), R::Error> {
        super::documents::of(entry).try_for_each(|document| self.make_stale(document))?;
        let collections = map::Batch::of(entry, at).collections();
        collections.iter().try_for_each(|collection| self.make_stale(collection))
    }

    /// Whether there is a credential of any feed.
    pub const fn has_credentials(&self) -> bool {
        self.has_credentials
    }

    /// By what a feed is written of which nothing is kept, if its credential is here.
    pub fn credential(&self, feed: &FeedId) -> Result<Option<Vec<u8>>, R::Error> {
        self.rows.get(&layout::credential(feed))
    }

    /// Keeps the credential of a feed of which nothing is kept.
    pub fn keep_credential(&mut self, first: &Checked<Header>) -> Result<(), R::Error> {
        self.has_credentials = true;
        self.rows.put(layout::credential(&first.feed()), first.encode())
    }

    /// Stages an entry of a chain that a removal pins.
    pub fn stage(&mut self, entry: &Entry) -> Result<(), R::Error> {
        let mut writer = Writer::default();
        let header = entry.header().encode();
        writer.u32(u32::try_from(header.len()).expect("headers are short"));
        writer.slice(&header).slice(entry.payload().as_bytes());
        self.rows.put(layout::staged(&entry.header().id()), writer.finish())
    }

    /// A staged entry.
    pub fn staged(&self, id: &EntryId) -> Result<Option<Entry>, R::Error> {
        let Some(value) = self.rows.get(&layout::staged(id))? else { return Ok(None) };
        let mut reader = Reader::new(&value);
        let len = reader.u32().expect("what was put is read back");
        let (header, payload) = reader.rest().split_at(usize::try_from(len).unwrap_or(usize::MAX));
        let header = restore(header);
        if payload.is_empty() && !header.content().is_empty() {
            return Ok(Some(Entry::bare(header)));
        }
        let payload = Payload::decode(payload.to_vec()).expect("what was put is read back");
        Ok(Some(Entry::new(header, payload).expect("what was put is read back")))
    }

    /// How far the chain to a pin is staged. Reads what is.
    pub fn staged_to(&self, pin: EntryId) -> Result<Staged, R::Error> {
        let (mut next, mut above) = (pin, None);
        loop {
            if self.position(&next)?.is_some() {
                return Ok(Staged::Whole);
            }
            let Some(entry) = self.staged(&next)? else {
                return Ok(Staged::Awaits { next, above });
            };
            let Some(parent) = entry.header().parent() else { return Ok(Staged::Whole) };
            (next, above) = (parent, Some(next));
        }
    }

    /// Keeps what is staged of the chain to a pin, which is whole, beside what is kept of the feed:
    /// who calls this [pins](Self::pin), [opens](Self::open_again) or [drops](Self::void) the feed
    /// next. `authority` is that of the feed, if nothing is kept of it. Returns the headers with
    /// operations on access among them, ascending.
    pub fn adopt(
        &mut self,
        pin: &EntryId,
        authority: Authority,
    ) -> Result<Vec<Checked<Header>>, R::Error> {
        let (mut chain, mut at) = (Vec::new(), Some(*pin));
        while let Some(id) = at {
            let Some(entry) = self.staged(&id)? else { break };
            at = entry.header().parent();
            chain.push(id);
        }
        let local = self.begin(pin.feed, authority);
        let mut operations = Vec::new();
        for id in chain.into_iter().rev() {
            let Some(entry) = self.staged(&id)? else { break };
            let entry = self.stripped(&entry).unwrap_or(entry);
            self.put(local, &entry)?;
            self.make_all_stale(&entry, self.last)?;
            self.rows.delete(&layout::staged(&id))?;
            if entry.header().access().is_some() {
                operations.push(entry.header().clone());
            }
        }
        Ok(operations)
    }

    /// Own entries of a feed that were dropped, parents before children.
    pub fn set_aside(&self, feed: &FeedId) -> Result<Vec<EntryId>, R::Error> {
        if !self.own.contains(&feed.author) {
            return Ok(Vec::new());
        }
        let rows = starting(&self.rows, &layout::staged_of(feed));
        rows.map(|row| Ok(layout::read_staged(&row?.0))).collect()
    }

    /// Forgets a staged entry, since it is kept.
    pub fn forget_staged(&mut self, id: &EntryId) -> Result<(), R::Error> {
        self.rows.delete(&layout::staged(id))
    }

    /// Drops all that is staged of a feed, unless it is an own one.
    pub fn unstage(&mut self, feed: &FeedId) -> Result<(), R::Error> {
        if self.own.contains(&feed.author) {
            return Ok(());
        }
        let rows = starting(&self.rows, &layout::staged_of(feed));
        let rows: Vec<Vec<u8>> = rows.map(|row| Ok(row?.0)).collect::<Result<_, R::Error>>()?;
        rows.iter().try_for_each(|row| self.rows.delete(row))
    }
}

/// What is kept and not on the way to one of these tips.
fn beside(tips: &[Tip], kept: &Nodes) -> Nodes {
    let mut on: BTreeSet<Hash> = BTreeSet::new();
    for tip in tips {
        let mut at = *tip;
        while at != Tip::ROOT && on.insert(at.hash) {
            let Some(node) = kept.get(at) else { break };
            at = Tip { number: at.number - 1, hash: node.parent };
        }
    }
    kept.iter().filter(|node| !on.contains(&node.hash)).collect()
}
