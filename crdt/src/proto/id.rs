//! The names of spaces, feeds, entries and operations.
//!
//! | name | bytes | fields |
//! |---|---|---|
//! | [`SpaceId`] | 32 | hash of the genesis |
//! | [`FeedId`] | 40 | author, incarnation |
//! | [`EntryId`] | 80 | author, incarnation, number, hash of the header |
//! | [`Tag`] | 8 | the first bytes of the hash of the header |
//! | [`Dot`] | 60 | author, incarnation, number, tag, index of the operation in the entry |
//!
//! A [`Position`] is a replica's own, and never sent.
//!
//! Integers are big endian and stand in the order of the fields, so names sort like their bytes.

use std::fmt;

use aether_core::{
    Domain, Hash, PublicKey,
    wire::{Reader, WireError, Writer},
};

use super::time::Wall;

const FEED: Domain = Domain::new("aether 2026-11 feed id v1");

/// The hash of a space's genesis. It is part of all that is signed in the space, so nothing of one
/// space is worth anything in another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(Hash);

impl SpaceId {
    /// Length in bytes.
    pub const LEN: usize = Hash::LEN;

    /// Takes a hash for a space's id.
    pub const fn from_hash(hash: Hash) -> Self {
        Self(hash)
    }

    /// The hash itself.
    pub const fn as_hash(&self) -> &Hash {
        &self.0
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpaceId({:?})", self.0)
    }
}

/// A feed of a space: one author's log, in one life of one data folder.
///
/// A restored backup begins a new incarnation, so an honest author never gives one number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId {
    /// Who signs it.
    pub author: PublicKey,
    /// Which life: 48 bits of the wall clock's milliseconds when it began, then 16 random bits.
    /// Nobody checks that; it is a number that an author doesn't draw twice.
    pub incarnation: u64,
}

impl FeedId {
    /// Length in bytes.
    pub const LEN: usize = PublicKey::LEN + 8;

    /// The feed of an incarnation that begins now. `random` comes from the driver's entropy. Of the
    /// time the lower 48 bits are taken, which last until the year 10889.
    pub const fn begin(author: PublicKey, now: Wall, random: u16) -> Self {
        Self { author, incarnation: now.as_millis() << 16 | random as u64 }
    }

    /// The hash that spreads feeds evenly: BLAKE3, context `aether 2026-11 feed id v1`, of the 40
    /// bytes.
    pub fn digest(&self) -> Hash {
        let mut writer = Writer::with_capacity(Self::LEN);
        self.write(&mut writer);
        FEED.hash(&writer.finish())
    }

    /// Writes the 40 bytes.
    pub fn write(&self, writer: &mut Writer) {
        writer.array(self.author.as_bytes()).u64(self.incarnation);
    }

    /// Reads what [`write`](Self::write) wrote. Any 40 bytes are a feed's name.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { author: PublicKey::from_bytes(reader.array()?), incarnation: reader.u64()? })
    }
}

/// An entry, for good: the hash covers the header, and the header all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Of which feed.
    pub feed: FeedId,
    /// Which in its feed, from 1. Two entries of a forked feed may have the same number.
    pub number: u64,
    /// The hash of its header.
    pub hash: Hash,
}

impl EntryId {
    /// Length in bytes.
    pub const LEN: usize = FeedId::LEN + 8 + Hash::LEN;

    /// What tells it from the entries of the same number.
    pub fn tag(&self) -> Tag {
        Tag::of(&self.hash)
    }

    /// The name of one of its operations; `index` counts through the whole entry, from 0.
    pub fn dot(&self, index: u32) -> Dot {
        Dot { feed: self.feed, number: self.number, tag: self.tag(), index }
    }

    /// Writes the 80 bytes.
    pub fn write(&self, writer: &mut Writer) {
        self.feed.write(writer);
        writer.u64(self.number).array(self.hash.as_bytes());
    }

    /// Reads what [`write`](Self::write) wrote. Any 80 bytes are read; a number of 0 names nothing,
    /// and who decodes refuses it.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let feed = FeedId::read(reader)?;
        Ok(Self { feed, number: reader.u64()?, hash: Hash::from_bytes(reader.array()?) })
    }
}

/// The first 8 bytes of a header's hash: what tells the entries of one number of a forked feed
/// apart, where 32 bytes would be too many.
///
/// Nobody but the author can make two headers of one number, so nobody else gains by the 2³²
/// hashes that two equal tags cost; a reference then means both, everywhere alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 8]);

impl Tag {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// The tag of a header with this hash.
    pub fn of(hash: &Hash) -> Self {
        Self(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    /// Takes 8 bytes for a tag.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:016x})", u64::from_be_bytes(self.0))
    }
}

/// One operation, for good: a dot of the literature (dotted version vectors, arXiv 1011.5808), with
/// the [`Tag`] that a dot needs where authors may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Of which feed.
    pub feed: FeedId,
    /// Of which of its entries.
    pub number: u64,
    /// Of which of the entries of that number.
    pub tag: Tag,
    /// Which operation, counted through the whole entry, from 0.
    pub index: u32,
}

impl Dot {
    /// Length in bytes.
    pub const LEN: usize = FeedId::LEN + 8 + Tag::LEN + 4;

    /// Writes the 60 bytes.
    pub fn write(&self, writer: &mut Writer) {
        self.feed.write(writer);
        writer.u64(self.number).array(self.tag.as_bytes()).u32(self.index);
    }

    /// Reads what [`write`](Self::write) wrote. Any 60 bytes are read.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let feed = FeedId::read(reader)?;
        let (number, tag) = (reader.u64()?, Tag::from_bytes(reader.array()?));
        Ok(Self { feed, number, tag, index: reader.u32()? })
    }
}

/// The place of an entry in the order in which one replica took in, from 1. It means nothing to
/// another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// Before all that was taken in.
    pub const ZERO: Self = Self(0);

    /// The position with this number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_number(self) -> u64 {
        self.0
    }

    /// The position behind. There are more than any replica takes in.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before; there is none before [`ZERO`](Self::ZERO).
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_entry()(author: [u8; 32], incarnation: u64, number: u64, hash: [u8; 32]) -> EntryId {
            let feed = FeedId { author: PublicKey::from_bytes(author), incarnation };
            EntryId { feed, number, hash: Hash::from_bytes(hash) }
        }
    }

    fn entry_bytes(id: &EntryId) -> Vec<u8> {
        let mut writer = Writer::default();
        id.write(&mut writer);
        writer.finish()
    }

    fn dot_bytes(dot: &Dot) -> Vec<u8> {
        let mut writer = Writer::default();
        dot.write(&mut writer);
        writer.finish()
    }

    #[test]
    fn an_incarnation_is_the_time_and_then_what_was_drawn() {
        let author = PublicKey::from_bytes([1; 32]);
        let feed = FeedId::begin(author, Wall::from_millis(0x0102_0304_0506), 0x0708);
        assert_eq!(feed.incarnation, 0x0102_0304_0506_0708);
    }

    proptest! {
        #[test]
        fn names_round_trip_in_the_length_that_is_promised(id in any_entry(), index: u32) {
            let bytes = entry_bytes(&id);
            prop_assert_eq!(bytes.len(), EntryId::LEN);
            prop_assert_eq!(EntryId::read(&mut Reader::new(&bytes)), Ok(id));
            let dot = id.dot(index);
            let bytes = dot_bytes(&dot);
            prop_assert_eq!(bytes.len(), Dot::LEN);
            prop_assert_eq!(Dot::read(&mut Reader::new(&bytes)), Ok(dot));
            prop_assert_eq!(&id.hash.as_bytes()[..8], dot.tag.as_bytes());
        }

        #[test]
        fn names_sort_like_their_bytes(one in any_entry(), mut other in any_entry(), same: bool) {
            if same {
                other.feed = one.feed;
            }
            prop_assert_eq!(one.cmp(&other), entry_bytes(&one).cmp(&entry_bytes(&other)));
            let (one, other) = (one.dot(1), other.dot(2));
            prop_assert_eq!(one.cmp(&other), dot_bytes(&one).cmp(&dot_bytes(&other)));
        }
    }
}
