//! Messages: what nodes of a partitioned map ask of each other, as calls of a service.

use aether_core::{
    Hash, PublicKey,
    wire::{Reader, WireError, Writer, from_cbor, to_cbor},
};
use minicbor::{
    Decode, Encode,
    bytes::{ByteArray, ByteVec},
};

use super::{Answer, Context, Level, Page};
use crate::proto::{
    id::{EntryId, FeedId},
    map::{Element, MAX_KEY, MAX_VALUE},
    sync::{MAX_ROWS, Row, read_rows, write_rows},
    time::Hybrid,
};

/// Longest question or answer, in bytes.
pub const MAX_MESSAGE: usize = 3 << 20;
/// Bytes of elements, about, behind which a page ends.
pub const MAX_PAGE: usize = 1 << 20;
/// Most keys of a page.
pub const MAX_PAGE_KEYS: usize = 1024;

/// What one node asks of another. On the wire a CBOR array that begins with its number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Ask {
    /// Write to your copy, and answer when enough owners hold it.
    #[n(0)]
    Write {
        /// Which partition.
        #[n(0)]
        partition: u16,
        /// Which key.
        #[n(1)]
        key: ByteVec,
        /// The value; none removes what is seen at the key.
        #[n(2)]
        value: Option<ByteVec>,
        /// 1 one, 2 quorum, 3 all.
        #[n(3)]
        level: u8,
    },
    /// Read a key of your copy.
    #[n(1)]
    Get {
        /// Which partition.
        #[n(0)]
        partition: u16,
        /// Which key.
        #[n(1)]
        key: ByteVec,
    },
    /// Read keys of your copy.
    #[n(2)]
    Scan {
        /// Which partition.
        #[n(0)]
        partition: u16,
        /// Those from this one on.
        #[n(1)]
        from: ByteVec,
        /// At most so many, and at most [`MAX_PAGE_KEYS`].
        #[n(2)]
        limit: u32,
    },
    /// Compare your copy with mine.
    #[n(3)]
    Compare {
        /// Which partition.
        #[n(0)]
        partition: u16,
        /// The asker's [view](super::Placement::view).
        #[n(1)]
        view: ByteArray<32>,
        /// What it holds: [`write_rows`] of at most 256 each, ascending.
        #[n(2)]
        rows: Vec<ByteVec>,
    },
    /// Begin anti-entropy with somebody now: one of you lacks what the other has.
    #[n(4)]
    Hasten {
        /// In which partition.
        #[n(0)]
        partition: u16,
        /// With whom.
        #[n(1)]
        peer: ByteArray<32>,
    },
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Said {
    /// I can't: the next may.
    #[n(0)]
    Declined {
        /// 1: I don't own the partition, as far as I know. 2: my copy isn't whole yet. 3: my disk
        /// failed, or I stop. 4: too few owners hold it by the call's deadline; the write may be
        /// done all the same. 5: it is too large to be answered.
        #[n(0)]
        why: u8,
    },
    /// So many owners hold the write, synced.
    #[n(1)]
    Written {
        /// How many.
        #[n(0)]
        held: u16,
    },
    /// What I hold of the key.
    #[n(2)]
    Answer {
        /// My [view](super::Placement::view).
        #[n(0)]
        view: ByteArray<32>,
        /// Whether I own the partition, and not only used to.
        #[n(1)]
        owns: bool,
        /// [`write_context`].
        #[n(2)]
        context: ByteVec,
        /// [`write_elements`].
        #[n(3)]
        elements: ByteVec,
    },
    /// What I hold of some keys.
    #[n(3)]
    Page {
        /// My [view](super::Placement::view).
        #[n(0)]
        view: ByteArray<32>,
        /// Whether I own the partition, and not only used to.
        #[n(1)]
        owns: bool,
        /// [`write_context`].
        #[n(2)]
        context: ByteVec,
        /// Keys, ascending, each with [`write_elements`].
        #[n(3)]
        keys: Vec<(ByteVec, ByteVec)>,
        /// Whether more follow.
        #[n(4)]
        more: bool,
    },
    /// What came of a comparison: [`Comparison`](super::Comparison), but for the digest.
    #[n(4)]
    Compared {
        /// Whether our views are the same.
        #[n(0)]
        same_view: bool,
        /// Whether I own the partition.
        #[n(1)]
        owns: bool,
        /// Whether I have a copy.
        #[n(2)]
        has_copy: bool,
        /// Whether I hold all that you do.
        #[n(3)]
        covers_yours: bool,
        /// Whether you hold all that I do.
        #[n(4)]
        covers_mine: bool,
    },
    /// It begins.
    #[n(5)]
    Hastened {},
}

/// Why a node declines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// It doesn't own the partition.
    NotOwner,
    /// Its copy isn't whole.
    NotWhole,
    /// Its disk failed, or it stops.
    Failed,
    /// Too few owners hold the write.
    Short,
    /// The answer is too large.
    TooLarge,
}

impl Declined {
    /// The byte on the wire.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::NotOwner => 1,
            Self::NotWhole => 2,
            Self::Failed => 3,
            Self::Short => 4,
            Self::TooLarge => 5,
        }
    }

    /// Of the byte; what a later release says is taken for a failure.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::NotOwner,
            2 => Self::NotWhole,
            4 => Self::Short,
            5 => Self::TooLarge,
            _ => Self::Failed,
        }
    }
}

impl From<Declined> for Said {
    fn from(why: Declined) -> Self {
        Self::Declined { why: why.to_byte() }
    }
}

impl Level {
    /// The byte on the wire.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Quorum => 2,
            Self::All => 3,
        }
    }

    /// Of the byte, if there is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::One),
            2 => Some(Self::Quorum),
            3 => Some(Self::All),
            _ => None,
        }
    }
}

impl Ask {
    /// A question for a comparison.
    pub fn compare(partition: u16, view: &Hash, rows: &[Row]) -> Self {
        let rows = rows.chunks(MAX_ROWS).map(|some| ByteVec::from(write_rows(some))).collect();
        Self::Compare { partition, view: ByteArray::from(*view.as_bytes()), rows }
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        to_cbor(self)
    }

    /// Reads a question that keeps its bounds.
    ///
    /// # Errors
    /// It isn't one.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        within(bytes.len(), MAX_MESSAGE)?;
        let ask: Self = from_cbor(bytes)?;
        match &ask {
            Self::Write { key, value, .. } => {
                within(key.len(), MAX_KEY)?;
                within(value.as_ref().map_or(0, |value| value.len()), MAX_VALUE)?;
            }
            Self::Get { key, .. } => within(key.len(), MAX_KEY)?,
            Self::Scan { from, .. } => within(from.len(), MAX_KEY + 1)?,
            Self::Compare { .. } | Self::Hasten { .. } => {}
        }
        Ok(ask)
    }
}

/// The rows of a comparison; `None` if they break a rule.
pub fn read_all_rows(chunks: &[ByteVec]) -> Option<Vec<Row>> {
    let mut all: Vec<Row> = Vec::new();
    for chunk in chunks {
        let rows = read_rows(chunk).ok()??;
        let follows = match (all.last(), rows.first()) {
            (Some(last), Some(first)) => last.feed() < first.feed(),
            _ => true,
        };
        if !follows {
            return None;
        }
        all.extend(rows);
    }
    Some(all)
}

impl Said {
    /// The bytes on the wire; [`Declined::TooLarge`] in their place if they are too many.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = to_cbor(self);
        if bytes.len() > MAX_MESSAGE { to_cbor(&Self::from(Declined::TooLarge)) } else { bytes }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// It isn't one.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        within(bytes.len(), MAX_MESSAGE)?;
        from_cbor(bytes)
    }

    /// What it says of one key, with the view and whether the giver is an owner.
    pub fn answer(&self) -> Option<(Hash, bool, Answer)> {
        let Self::Answer { view, owns, context, elements } = self else { return None };
        let (context, elements) = (read_context(context).ok()?, read_elements(elements).ok()?);
        Some((Hash::from_bytes((*view).into()), *owns, Answer { context, elements }))
    }

    /// What it says of some keys, with the view and whether the giver is an owner.
    pub fn page(&self) -> Option<(Hash, bool, Page)> {
        let Self::Page { view, owns, context, keys, more } = self else { return None };
        let mut read = Vec::with_capacity(keys.len());
        for (key, elements) in keys {
            read.push((key.to_vec(), read_elements(elements).ok()?));
        }
        // Whoever goes on from the last key comes to an end only if there is one.
        let is_sound =
            read.is_sorted_by(|(one, _), (next, _)| one < next) && (!*more || !read.is_empty());
        let page = Page { context: read_context(context).ok()?, keys: read, more: *more };
        is_sound.then(|| (Hash::from_bytes((*view).into()), *owns, page))
    }
}

/// Of each feed: its name (40), and up to which number it is held (8, big endian).
pub fn write_context(context: &Context) -> Vec<u8> {
    let mut writer = Writer::with_capacity(context.len() * (FeedId::LEN + 8));
    for (feed, upto) in context {
        feed.write(&mut writer);
        writer.u64(*upto);
    }
    writer.finish()
}

/// Reads what [`write_context`] wrote.
///
/// # Errors
/// It is torn.
pub fn read_context(bytes: &[u8]) -> Result<Context, WireError> {
    let mut rest = bytes;
    let mut context = Context::new();
    while !rest.is_empty() {
        let mut reader = Reader::new(rest);
        context.insert(FeedId::read(&mut reader)?, reader.u64()?);
        rest = reader.rest();
    }
    Ok(context)
}

/// Elements, one behind the other.
///
/// | bytes | field |
/// |---|---|
/// | 80 | entry: author, incarnation, number, hash |
/// | 4 | index of the operation in it |
/// | 8 | hybrid time |
/// | 4 + n | length of the value, and the value |
pub fn write_elements(elements: &[Element]) -> Vec<u8> {
    let mut writer = Writer::default();
    for element in elements {
        element.entry.write(&mut writer);
        writer.u32(element.index).u64(element.time.to_bits());
        let len = u32::try_from(element.value.len()).expect("values have a million bytes at most");
        writer.u32(len).slice(&element.value);
    }
    writer.finish()
}

/// Reads what [`write_elements`] wrote.
///
/// # Errors
/// It is torn.
pub fn read_elements(bytes: &[u8]) -> Result<Vec<Element>, WireError> {
    let mut rest = bytes;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let mut reader = Reader::new(rest);
        let entry = EntryId::read(&mut reader)?;
        let (index, time) = (reader.u32()?, Hybrid::from_bits(reader.u64()?));
        let len = usize::try_from(reader.u32()?).map_err(|_| WireError::TooShort)?;
        let value = reader.slice(len)?.to_vec();
        elements.push(Element { entry, index, time, value });
        rest = reader.rest();
    }
    Ok(elements)
}

/// The peer of an [`Ask::Hasten`].
pub fn named(peer: &ByteArray<32>) -> PublicKey {
    PublicKey::from_bytes((*peer).into())
}

fn within(len: usize, max: usize) -> Result<(), WireError> {
    if len > max { Err(WireError::TooLong { len, max }) } else { Ok(()) }
}
