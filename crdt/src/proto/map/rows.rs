//! How the rows of collections are laid out, and what is known beside them.

use std::ops::Range;

use aether_core::{
    Domain,
    wire::{Reader, WireError, Writer},
};

use crate::proto::{
    entry::{Collection, Kind},
    id::{Dot, EntryId, FeedId, Position, Tag},
    rows::Base,
    time::Hybrid,
};

const ABSENT: Domain = Domain::new("aether 2026-11 absent key v1");

/// The numbers that stand for feeds in rows.
pub trait Feeds {
    /// A number for a feed of which something is applied: always the same, and no other feed's.
    fn local(&self, feed: &FeedId) -> Option<u32>;

    /// The feed of such a number.
    ///
    /// # Panics
    /// The number was never given.
    fn feed(&self, local: u32) -> FeedId;
}

/// What is known of the entries that rows name by their positions.
pub trait Entries<R: Base>: Feeds {
    /// The name of the entry at a position, and when it was written; `None` if it isn't kept.
    ///
    /// # Errors
    /// Of the rows.
    fn name(&self, rows: &R, at: Position) -> Result<Option<(EntryId, Hybrid)>, R::Error>;

    /// A part of the stored payload of the entry at a position; `None` if it isn't kept.
    ///
    /// # Errors
    /// Of the rows.
    fn part(&self, rows: &R, at: Position, part: Range<usize>)
    -> Result<Option<Vec<u8>>, R::Error>;
}

/// What is known of the entries that are applied to rows, beside the rows of collections.
///
/// An entry's *name* is its feed, number and tag, as dots have it. Only a liar has two entries of
/// one name.
pub trait Applied<R: Base>: Entries<R> {
    /// Whether an entry of the name that `dot` has may be applied after `at`. It may not if
    ///
    /// - one was applied before `at`, or is `at`, and none that is known has its turn later; or
    /// - it isn't there and lies below the base of its feed, or its feed is void for good.
    ///
    /// "Before" and "later" are by the order in which entries are applied, also while a collection
    /// is rebuilt. To say `true` of one that will never come costs a row and nothing else.
    ///
    /// # Errors
    /// Of the rows.
    fn awaits(&self, rows: &R, dot: &Dot, at: &EntryId) -> Result<bool, R::Error>;

    /// Whether the entry at a position, which was applied to the same feed as `later` or is
    /// `later`, is it or an ancestor of it. Unless the feed is forked, that is so.
    ///
    /// # Errors
    /// Of the rows.
    fn precedes(&self, rows: &R, earlier: Position, later: &EntryId) -> Result<bool, R::Error>;
}

/// The first byte of a key's row.
const KEY: u8 = 1;
/// The first byte of a row of an absent dot.
const MISSING: u8 = 2;

/// An alive dot: who wrote a value, when, and the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The entry that holds the operation.
    pub entry: EntryId,
    /// Which of its operations.
    pub index: u32,
    /// When it was written, as its author says.
    pub time: Hybrid,
    /// A map's or register's value; nothing of a set's; 8 bytes of a counter's total.
    pub value: Vec<u8>,
}

impl Element {
    /// What an operation names to remove it.
    pub fn dot(&self) -> Dot {
        self.entry.dot(self.index)
    }
}

/// Where the rows of a collection begin: keys', or absent dots'.
fn collection(first: u8, of: &Collection) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.push(first);
    bytes.extend_from_slice(of.id());
    bytes.push(of.kind().to_byte());
    bytes
}

/// Where all rows of keys begin.
pub(super) const fn keys() -> [u8; 1] {
    [KEY]
}

/// Where the rows of all keys of a collection begin.
pub(super) fn keys_of(of: &Collection) -> Vec<u8> {
    collection(KEY, of)
}

/// The row of a key, and where the rows begin of all keys that begin with it.
pub(super) fn key(of: &Collection, key: &[u8]) -> Vec<u8> {
    let mut bytes = keys_of(of);
    bytes.extend_from_slice(key);
    bytes
}

/// The collection and the key of a key's row.
pub(super) fn read_key(row: &[u8]) -> (([u8; 16], u8), &[u8]) {
    let mut reader = Reader::new(row);
    let mut read = || {
        reader.u8()?;
        Ok::<_, WireError>(((reader.array()?, reader.u8()?), reader.rest()))
    };
    read().expect("what was put is read back")
}

/// Where the rows of all absent dots of a collection begin.
pub(super) fn absent_of(of: &Collection) -> Vec<u8> {
    collection(MISSING, of)
}

/// Where the rows of absent dots of a name begin, and no others.
pub(super) fn absent_in(of: &Collection, feed: &FeedId, number: u64, tag: Tag) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.slice(&absent_of(of));
    feed.write(&mut writer);
    writer.u64(number).array(tag.as_bytes());
    writer.finish()
}

/// The row of an absent dot that was named under a key.
pub(super) fn absent(of: &Collection, key: &[u8], dot: &Dot) -> Vec<u8> {
    let mut bytes = absent_in(of, &dot.feed, dot.number, dot.tag);
    bytes.extend_from_slice(&dot.index.to_be_bytes());
    bytes.extend_from_slice(ABSENT.hash(key).as_ref());
    bytes
}

/// Whether these rows hold elements of such a collection.
pub(super) const fn is_kept(kind: Kind) -> bool {
    matches!(kind, Kind::Map | Kind::Set | Kind::Counter | Kind::Register)
}
