//! Operations on maps, sets, counters and registers: what an entry's payload says of one key.

use aether_core::wire::{Reader, WireError, Writer};

use crate::proto::{
    entry::{Kind, MAX_PAYLOAD},
    id::{Dot, FeedId, Tag},
};

/// Longest key, in bytes.
pub const MAX_KEY: usize = 1024;

/// Longest value, in bytes. What else an operation holds has room beside it in one payload.
pub const MAX_VALUE: usize = MAX_PAYLOAD - 8192;

/// Most dots that one operation names.
pub const MAX_OVER: usize = 64;

/// What an operation does with its key, beside removing the dots that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives it a value: a map's key, or a register. A set's element has an empty one.
    Put(Vec<u8>),
    /// Gives it nothing.
    Remove,
    /// States what the feed has added to a counter altogether, from the feed's beginning or from
    /// the last removal of its total.
    Count(i64),
}

/// An operation on one key of a collection: a change, and the dots that it removes.
///
/// | bytes | field | rule |
/// |---|---|---|
/// | 1 | change: 1 put, 2 remove, 3 count | |
/// | 2 + n | length of the key, and the key | at most 1,024 bytes |
/// | 1 | number of feeds | at most 64 |
/// | 40 each | feeds | strictly ascending, each named by a dot |
/// | 1 | number of dots | at most 64 |
/// | 21 each | dots: which of the feeds (1), number (8), tag (8), index (4) | strictly ascending |
/// | rest | put: value; remove: nothing; count: total, signed (8) | at most 1,040,384 bytes |
///
/// Integers are big endian. One operation has one encoding. The author's own earlier dots of the
/// key needn't be named: what follows on its branch removes them.
///
/// Whether the author had seen what it names nobody can check, and nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    key: Vec<u8>,
    over: Vec<Dot>,
    change: Change,
}

impl Op {
    /// An operation on `key` that removes the dots of `over`, given in any order, and then makes a
    /// change.
    ///
    /// # Errors
    /// One of the limits. Of more dots than one operation names, [`all`](Self::all) makes several.
    pub fn new(
        key: impl Into<Vec<u8>>,
        over: impl IntoIterator<Item = Dot>,
        change: Change,
    ) -> Result<Self, OpError> {
        let (key, mut over) = (key.into(), Vec::from_iter(over));
        over.sort_unstable();
        over.dedup();
        if key.len() > MAX_KEY {
            return Err(OpError::Key { len: key.len() });
        }
        if over.len() > MAX_OVER {
            return Err(OpError::Over { count: over.len() });
        }
        match &change {
            Change::Put(value) if value.len() > MAX_VALUE => {
                Err(OpError::Value { len: value.len() })
            }
            _ => Ok(Self { key, over, change }),
        }
    }

    /// The operations that remove any number of dots of a key and then make a change: removals of
    /// 64 dots each, and last the change with the rest. In one entry they have the effect of one.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for the number of dots.
    pub fn all(key: &[u8], over: &[Dot], change: Change) -> Result<Vec<Self>, OpError> {
        let mut chunks: Vec<&[Dot]> = over.chunks(MAX_OVER).collect();
        let last = chunks.pop().unwrap_or_default().to_vec();
        let mut ops = Vec::with_capacity(chunks.len() + 1);
        for chunk in chunks {
            ops.push(Self::new(key, chunk.to_vec(), Change::Remove)?);
        }
        ops.push(Self::new(key, last, change)?);
        Ok(ops)
    }

    /// Which key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Which dots it removes, ascending.
    pub fn over(&self) -> &[Dot] {
        &self.over
    }

    /// What it does beside.
    pub const fn change(&self) -> &Change {
        &self.change
    }

    /// Whether it is an operation of such a collection: a map takes puts and removals; a set puts
    /// without a value and removals; a register the same as a map, of the empty key alone; a
    /// counter counts and removals. Any other operation has no effect, anywhere.
    #[must_use]
    pub const fn fits(&self, kind: Kind) -> bool {
        match (kind, &self.change) {
            (Kind::Map, Change::Put(_) | Change::Remove)
            | (Kind::Set, Change::Remove)
            | (Kind::Counter, Change::Count(_) | Change::Remove) => true,
            (Kind::Set, Change::Put(value)) => value.is_empty(),
            (Kind::Register, Change::Put(_) | Change::Remove) => self.key.is_empty(),
            _ => false,
        }
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        let mut feeds: Vec<FeedId> = self.over.iter().map(|dot| dot.feed).collect();
        feeds.dedup();
        let mut writer = Writer::default();
        let byte = |count: usize| u8::try_from(count).expect("at most 64");
        writer.u8(match &self.change {
            Change::Put(_) => 1,
            Change::Remove => 2,
            Change::Count(_) => 3,
        });
        writer.bytes16(&self.key).u8(byte(feeds.len()));
        for feed in &feeds {
            feed.write(&mut writer);
        }
        writer.u8(byte(self.over.len()));
        for dot in &self.over {
            let at = feeds.partition_point(|feed| *feed < dot.feed);
            writer.u8(byte(at)).u64(dot.number).array(dot.tag.as_bytes()).u32(dot.index);
        }
        match &self.change {
            Change::Put(value) => writer.slice(value),
            Change::Remove => &mut writer,
            Change::Count(total) => writer.array(&total.to_be_bytes()),
        };
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, OpError> {
        let mut reader = Reader::new(bytes);
        let change = reader.u8()?;
        let key = reader.bytes16(MAX_KEY)?.to_vec();
        let over = read_over(&mut reader)?;
        let change = match change {
            1 => Change::Put(reader.rest().to_vec()),
            2 => Change::Remove,
            3 => Change::Count(i64::from_be_bytes(reader.array()?)),
            change => return Err(OpError::Change { change }),
        };
        reader.end()?;
        Self::new(key, over, change)
    }
}

fn read_over(reader: &mut Reader<'_>) -> Result<Vec<Dot>, OpError> {
    let count = usize::from(reader.u8()?);
    if count > MAX_OVER {
        return Err(OpError::Over { count });
    }
    let feeds = (0..count).map(|_| FeedId::read(reader)).collect::<Result<Vec<_>, _>>()?;
    let count = usize::from(reader.u8()?);
    if count > MAX_OVER {
        return Err(OpError::Over { count });
    }
    let mut over = Vec::with_capacity(count);
    for _ in 0..count {
        let feed = feeds.get(usize::from(reader.u8()?)).ok_or(OpError::Order)?;
        let (number, tag) = (reader.u64()?, Tag::from_bytes(reader.array()?));
        over.push(Dot { feed: *feed, number, tag, index: reader.u32()? });
    }
    // Dots that ascend name each feed of a list without gaps only if it ascends and has no more.
    let mut named: Vec<FeedId> = over.iter().map(|dot| dot.feed).collect();
    named.dedup();
    if !over.is_sorted_by(|one, next| one < next) || named != feeds {
        return Err(OpError::Order);
    }
    Ok(over)
}

/// Why there is no such operation. In an entry it then has no effect, on any replica; the entry
/// stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// A key that is too long.
    #[error("a key has at most 1,024 bytes, not {len}")]
    Key {
        /// Length in bytes.
        len: usize,
    },
    /// A value that is too long.
    #[error("a value has at most 1,040,384 bytes, not {len}")]
    Value {
        /// Length in bytes.
        len: usize,
    },
    /// More dots, or feeds, than there may be.
    #[error("an operation names at most 64 dots, not {count}")]
    Over {
        /// How many.
        count: usize,
    },
    /// Dots or feeds out of order, twice or without use.
    #[error("the dots are not strictly ascending, or not of the feeds that are listed")]
    Order,
    /// No such change.
    #[error("a change of kind {change} is not known here")]
    Change {
        /// The byte found.
        change: u8,
    },
    /// Too short or too long.
    #[error("the operation is torn")]
    Torn(#[from] WireError),
}
