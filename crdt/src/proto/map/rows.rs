//! How the rows of collections are laid out, and what is known beside them.

use aether_core::{
    Domain, Hash,
    wire::{Reader, WireError, Writer},
};

use crate::proto::{
    entry::{Collection, Kind},
    id::{Dot, EntryId, FeedId, Tag},
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

/// What is known of the entries that are applied to rows, beside the rows of collections.
///
/// An entry's *name* is its feed, number and tag, as dots have it. Only a liar has two entries of
/// one name.
pub trait Applied<R: Base>: Feeds {
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

    /// Whether an entry that is applied is another of the same feed, or an ancestor of it. Unless
    /// the feed is forked, that is so if its number is not larger.
    ///
    /// # Errors
    /// Of the rows.
    fn precedes(&self, rows: &R, earlier: &EntryId, later: &EntryId) -> Result<bool, R::Error>;
}

/// The first byte of a row of an element.
const ELEMENT: u8 = 1;
/// The first byte of a row of an absent dot.
const MISSING: u8 = 2;

/// What ends a key in a row; within a key each 0 is followed by 255, so rows sort like keys.
const END: [u8; 2] = [0, 0];

/// Bytes of an element's row behind its key: local feed, number, hash, index.
const DOT: usize = 4 + 8 + Hash::LEN + 4;

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

/// Where the rows of a collection begin: elements', or absent dots'.
fn collection(first: u8, of: &Collection) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend_from_slice(of.id());
    bytes.push(of.kind().to_byte());
    bytes
}

/// Where all rows of elements begin.
pub(super) const fn elements() -> [u8; 1] {
    [ELEMENT]
}

/// Where the rows of all elements of a collection begin.
pub(super) fn elements_of(of: &Collection) -> Vec<u8> {
    collection(ELEMENT, of)
}

/// Where the rows of all keys that begin with `prefix` begin, and no others.
pub(super) fn prefix_of(of: &Collection, prefix: &[u8]) -> Vec<u8> {
    let mut bytes = elements_of(of);
    for byte in prefix {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(u8::MAX);
        }
    }
    bytes
}

/// Where the rows of a key begin, and no others.
pub(super) fn key_of(of: &Collection, key: &[u8]) -> Vec<u8> {
    let mut bytes = prefix_of(of, key);
    bytes.extend_from_slice(&END);
    bytes
}

/// Where the rows of a key that one feed wrote begin, and no others.
pub(super) fn feed_of(of: &Collection, key: &[u8], local: u32) -> Vec<u8> {
    let mut bytes = key_of(of, key);
    bytes.extend_from_slice(&local.to_be_bytes());
    bytes
}

/// The row of an element.
pub(super) fn element(
    of: &Collection,
    key: &[u8],
    local: u32,
    entry: &EntryId,
    index: u32,
) -> Vec<u8> {
    let mut bytes = feed_of(of, key, local);
    bytes.extend_from_slice(&entry.number.to_be_bytes());
    bytes.extend_from_slice(entry.hash.as_ref());
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes
}

/// What the row of an element holds.
pub(super) fn value(time: Hybrid, value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(8 + value.len());
    writer.u64(time.to_bits()).slice(value);
    writer.finish()
}

/// An element's row, read back: its collection, key and what it says.
pub(super) struct Read {
    pub(super) collection: ([u8; 16], u8),
    pub(super) key: Vec<u8>,
    pub(super) element: Element,
}

/// Reads a row back that [`element`] and [`value`] laid out.
///
/// # Panics
/// It isn't one: the store gave back what was never put.
pub(super) fn read<F: Feeds>(key: &[u8], value: &[u8], feeds: &F) -> Read {
    try_read(key, value, feeds).expect("what was put is read back")
}

fn try_read<F: Feeds>(key: &[u8], value: &[u8], feeds: &F) -> Result<Read, WireError> {
    let at = key.len().checked_sub(DOT).ok_or(WireError::TooShort)?;
    let mut front = Reader::new(&key[..at]);
    front.u8()?;
    let collection = (front.array()?, front.u8()?);
    let mut dot = Reader::new(&key[at..]);
    let feed = feeds.feed(dot.u32()?);
    let (number, hash) = (dot.u64()?, Hash::from_bytes(dot.array()?));
    let mut rest = Reader::new(value);
    Ok(Read {
        collection,
        key: unescape(front.rest()),
        element: Element {
            entry: EntryId { feed, number, hash },
            index: dot.u32()?,
            time: Hybrid::from_bits(rest.u64()?),
            value: rest.rest().to_vec(),
        },
    })
}

/// A key without what [`prefix_of`] and [`key_of`] added.
fn unescape(mut bytes: &[u8]) -> Vec<u8> {
    bytes = bytes.strip_suffix(&END).unwrap_or(bytes);
    let mut key = Vec::with_capacity(bytes.len());
    while let Some((first, rest)) = bytes.split_first() {
        key.push(*first);
        bytes = if *first == 0 { rest.get(1..).unwrap_or_default() } else { rest };
    }
    key
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
