//! Maps, sets, counters and registers: state that is a function of which operations count.
//!
//! An operation puts a value at a key or removes, and names the [dots](crate::proto::id::Dot) that
//! it has seen there and that it removes. So concurrent values stand side by side until somebody
//! who saw them writes, and a removal removes nothing that its author hadn't seen: the
//! observed-remove set and the multi-value register (Shapiro and others, INRIA RR-7506, 2011,
//! sections 3.2.2 and 3.3.5), with dots and without tombstones (Bieniusa and others, *An optimized
//! conflict-free replicated set*, arXiv 1210.3368), and with a row for each element (Brown and
//! others, *Big(ger) sets*, arXiv 1605.06424).
//!
//! # The definition
//!
//! Given is a set of entries that count, closed in each feed under ancestors. An operation
//! *follows* another if it is of the same feed, collection and key, if the other's entry is its own
//! entry or an ancestor, and if it comes later by number and index.
//!
//! 1. The value that an operation puts or counts is **alive** iff no operation of an entry that
//!    counts, on the same collection and key, names its dot or follows it.
//! 2. The state is the alive values, with their entries, indices and times.
//! 3. What is **read** of a key is what a [`Rule`] makes of its alive values.
//!
//! That is a function of a set. Which entries count is one as well, by headers alone, so equal
//! headers have equal states; the merge of two replicas is the union of their entries.
//!
//! Both lanes of a forked feed count, and the tag in a dot keeps them apart. At most one value is
//! alive for each key, collection and lane, whatever a liar writes.
//!
//! # Why the order of applying can't show
//!
//! [`apply`] takes entries in any order that puts ancestors first within each feed, and keeps rows
//! for two things: each alive value, and each *absent* dot, which was named and may still come.
//!
//! - What follows a value is of its own feed and branch, so it is applied after it, and deletes it.
//! - An operation that names a dot comes after it and deletes it, or before, and leaves a row by
//!   which the dot's value is dead when it comes. The dot's entry then takes those rows away.
//!
//! So after each entry the values in rows are those of the definition. When an entry *stops*
//! counting, the collections that it changed are made anew ([`clear`]) from those that count: a
//! value that it removed may be alive again, and which it was isn't kept. Until then what such an
//! entry put isn't shown. A row of an absent dot is
//! all there is beside alive values, and only citations that are excused, or lies, leave one for
//! long.
//!
//! An operation that can't be decoded or isn't of its collection's kind has no effect, anywhere; it
//! makes no entry invalid.
//!
//! # Writing
//!
//! A user's [`Edit`]s become operations by [`draft`], which looks up what they remove, keeps the
//! limits of an entry, and says which feeds the entry has to cite.
//!
//! # Rows
//!
//! | bytes | key | value of a key that has many | absent dot |
//! |---|---|---|---|
//! | 1 | 1 | 16 | 2 |
//! | 16 + 1 | collection: id, kind | the same | the same |
//! | | key | length of the key (2), key | author (32), incarnation (8) |
//! | | | local feed (4), position (8) | number (8), tag (8) |
//! | | | index (2) | index (4) |
//! | | | | hash of the key (32) |
//! | the row's value | what is alive | where the value is | nothing |
//!
//! A key has one row, so that to look it up is one look-up, which an engine with filters answers
//! mostly without the disk if there is none. In it an entry is named by its position in the order
//! of intake, and a value of more than 16 bytes by where it lies in the entry's stored payload: so
//! it is written once. Positions are a replica's own, and so are numbers of feeds. Rows of absent
//! dots name feeds in full, as they needn't exist: a liar that names what doesn't exist makes 110
//! bytes of rows of each 21 it writes, and no more. Nothing is kept in memory. All lie in
//! [`Rows`](crate::proto::rows).
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeMap;
//! use aether_core::SecretKey;
//! use aether_crdt::proto::book::Book;
//! use aether_crdt::proto::entry::{Authority, Collection, Draft, Kind, Place};
//! use aether_crdt::proto::map::{self, Action, Edit, Keys};
//! use aether_crdt::proto::{id::FeedId, space::{Genesis, Mode}, time::Wall};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let author = SecretKey::from_bytes([2; 32]);
//! let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [author.public()])?;
//! let (guest, now) = (SecretKey::from_bytes([3; 32]), Wall::from_millis(1_800_000_000_000));
//! let feed = FeedId::begin(guest.public(), now, 1);
//!
//! let mut book = Book::open(BTreeMap::new())?;
//! let names = Collection::new(Kind::Map, "names");
//! let mut edits = Vec::new();
//! for (key, value) in [("a", "Ada"), ("b", "Blaise"), ("a", "Alonzo")] {
//!     edits.push(Edit::new(names, key, Action::Put(value.into()))?);
//! }
//! let drafted = map::draft(&edits, &feed, book.rows(), book.catalog())?;
//! assert_eq!((drafted.taken, drafted.ops.len()), (3, 2));
//!
//! let mut draft = Draft::new();
//! for (collection, op) in drafted.ops {
//!     draft.op(collection, op)?;
//! }
//! let place = Place::first(genesis.space_id(), feed, Authority::Genesis);
//! let entry = draft.sign(&guest, place, now)?;
//! book.take(&entry, Authority::Genesis)?;
//! let all = map::scan(&names, Keys::All, book.rows());
//! let all = all.collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(all.len(), 2);
//! assert_eq!(all[0].0, b"a");
//! let last = all[0].1.last(book.rows(), book.catalog())?;
//! assert_eq!(last.unwrap(), b"Alonzo");
//! # Ok(())
//! # }
//! ```

mod apply;
pub mod counter;
mod edit;
mod fate;
mod ops;
mod read;
mod rows;
mod slots;
mod state;

#[cfg(test)]
mod tests;

pub(super) use self::fate::{Others, fate, forget};
pub use self::{
    apply::{Batch, Placed, apply, apply_to, clear, dots},
    edit::{Action, Drafted, Edit, EditError, MAX_NAMED, WriteError, check_totals, draft},
    ops::{Change, MAX_KEY, MAX_OVER, MAX_VALUE, Op, OpError},
    read::{Alive, Keys, Rule, find, get, scan},
    rows::{Applied, Element, Entries, Feeds},
    state::state_hash,
};
