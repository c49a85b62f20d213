//! What is alive at a key: its slots, and the rows in which they lie.

use std::ops::Range;

use aether_core::wire::{Reader, WireError, Writer};

use super::{ops::Change, rows};
use crate::proto::{
    entry::Collection,
    id::Position,
    rows::{Base, Rows, starting},
};

/// The first byte of a row of a slot that has a row of its own.
const SLOT: u8 = 16;

/// Most slots that lie in the row of their key. More of them have a row each, so that a key to
/// which many write at once costs each of them no more. Tests come to it with fewer writers.
const FEW: usize = if cfg!(test) { 2 } else { 8 };

/// Longest value that lies in its slot, in bytes. A longer one is read from its entry's payload.
const SHORT: usize = 16;

/// What says in a slot that the value lies in the payload.
const FAR: u8 = u8::MAX;
/// What says in a key's row that its slots have rows of their own.
const MANY: u8 = 1;

/// Where the value of an element is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Here.
    Near(Vec<u8>),
    /// In this part of its entry's stored payload.
    Far(Range<usize>),
}

/// Local feed, position, index.
type Name = (u32, Position, u32);

/// An alive dot, as it is kept: its entry by where that stands in the order of intake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The number that stands for the entry's feed.
    pub(super) local: u32,
    pub(super) position: Position,
    /// Which operation of the entry.
    pub(super) index: u32,
    pub(super) source: Source,
}

impl Slot {
    /// What an operation puts whose bytes end there in the stored payload; `None` if it puts
    /// nothing.
    pub(super) fn of(
        local: u32,
        position: Position,
        index: u32,
        change: &Change,
        end: usize,
    ) -> Option<Self> {
        let source = match change {
            // A put's value is the end of its operation.
            Change::Put(value) if value.len() > SHORT => Source::Far(end - value.len()..end),
            Change::Put(value) => Source::Near(value.clone()),
            Change::Count(total) => Source::Near(total.to_be_bytes().to_vec()),
            Change::Remove => return None,
        };
        Some(Self { local, position, index, source })
    }

    const fn name(&self) -> Name {
        (self.local, self.position, self.index)
    }

    /// Its name, in the key of a row of its own.
    fn write_name(&self, writer: &mut Writer) {
        let index = u16::try_from(self.index).expect("an entry has at most 65,536 operations");
        writer.u32(self.local).u64(self.position.as_number()).u16(index);
    }

    fn read_name(reader: &mut Reader<'_>) -> Result<Name, WireError> {
        Ok((reader.u32()?, Position::from_number(reader.u64()?), reader.u16()?.into()))
    }

    /// All of it, in its key's row.
    fn write(&self, writer: &mut Writer) {
        writer.varint(self.local.into());
        writer.varint(self.position.as_number()).varint(self.index.into());
        self.source.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let small = |number: u64| u32::try_from(number).map_err(|_| WireError::Varint);
        let (local, position) = (small(reader.varint()?)?, reader.varint()?);
        let (position, index) = (Position::from_number(position), small(reader.varint()?)?);
        Ok(Self::new((local, position, index), Source::read(reader)?))
    }

    const fn new((local, position, index): Name, source: Source) -> Self {
        Self { local, position, index, source }
    }
}

impl Source {
    fn write(&self, writer: &mut Writer) {
        let number = |number: usize| u64::try_from(number).expect("a payload has at most 1 MiB");
        match self {
            Self::Near(value) => {
                writer.u8(u8::try_from(value.len()).expect("it is short")).slice(value);
            }
            Self::Far(part) => {
                writer.u8(FAR).varint(number(part.start)).varint(number(part.len()));
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let number = |number: u64| usize::try_from(number).map_err(|_| WireError::Varint);
        Ok(match reader.u8()? {
            FAR => {
                let start = number(reader.varint()?)?;
                Self::Far(start..start.saturating_add(number(reader.varint()?)?))
            }
            len => Self::Near(reader.slice(len.into())?.to_vec()),
        })
    }
}

/// Where the rows begin of the slots of a key that have rows of their own, and no others.
fn many_of(collection: &Collection, key: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    writer.slice(&many(collection)).bytes16(key);
    writer.finish()
}

fn many_of_feed(collection: &Collection, key: &[u8], local: u32) -> Vec<u8> {
    [&many_of(collection, key)[..], &local.to_be_bytes()].concat()
}

fn row(collection: &Collection, key: &[u8], slot: &Slot) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    writer.slice(&many_of(collection, key));
    slot.write_name(&mut writer);
    writer.finish()
}

/// Where the rows of all slots of a collection begin that have rows of their own.
pub(super) fn many(collection: &Collection) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    writer.u8(SLOT).array(collection.id()).u8(collection.kind().to_byte());
    writer.finish()
}

/// The slots of rows that begin so; `prefix` is how long a row is before the slot's name.
fn read_rows<R: Base>(rows: &R, from: &[u8], prefix: usize) -> Result<Vec<Slot>, R::Error> {
    let slots = starting(rows, from).map(|row| {
        let (row, value) = row?;
        let name = Slot::read_name(&mut Reader::new(row.get(prefix..).unwrap_or_default()));
        let source = Source::read(&mut Reader::new(&value));
        let read = name.and_then(|name| Ok(Slot::new(name, source?)));
        Ok(read.expect("what was put is read back"))
    });
    slots.collect()
}

/// What is alive at a key.
///
/// A key's row holds a byte, and then:
///
/// | byte | rest |
/// |---|---|
/// | 0 | up to 8 slots, ascending: local feed, position, index, source |
/// | 1 | how many slots there are (4), each in a row of its own |
///
/// A source is a length of at most 16 (1) and so many bytes of the value; or 255 (1), and from
/// where the value lies in the entry's stored payload, and its length. Numbers without a size here
/// are [varints](Reader::varint).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// All of it, ascending by name; in the key's row.
    Few(Vec<Slot>),
    /// So many that each has a row.
    Many(u32),
}

impl Held {
    /// Reads a key's row.
    pub(super) fn read(value: &[u8]) -> Self {
        Self::try_read(value).expect("what was put is read back")
    }

    fn try_read(value: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(value);
        if reader.u8()? == MANY {
            return Ok(Self::Many(reader.u32()?));
        }
        let (mut rest, mut few) = (reader.rest(), Vec::new());
        while !rest.is_empty() {
            let mut reader = Reader::new(rest);
            few.push(Slot::read(&mut reader)?);
            rest = reader.rest();
        }
        Ok(Self::Few(few))
    }

    fn write(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(32);
        match self {
            Self::Few(few) => {
                writer.u8(0);
                few.iter().for_each(|slot| slot.write(&mut writer));
            }
            Self::Many(count) => drop(writer.u8(MANY).u32(*count)),
        }
        writer.finish()
    }

    /// All slots, ascending. A scan, if there are many.
    pub(super) fn all<R: Base>(
        self,
        collection: &Collection,
        key: &[u8],
        rows: &R,
    ) -> Result<Vec<Slot>, R::Error> {
        match self {
            Self::Few(few) => Ok(few),
            Self::Many(_) => {
                let from = many_of(collection, key);
                read_rows(rows, &from, from.len())
            }
        }
    }
}

/// A key whose slots change: read once, and written once if they did.
#[derive(Debug)]
pub(super) struct Place<'a> {
    collection: &'a Collection,
    key: &'a [u8],
    held: Held,
    is_changed: bool,
}

impl<'a> Place<'a> {
    /// Reads what is alive at a key. One look-up.
    pub(super) fn read<R: Base>(
        collection: &'a Collection,
        key: &'a [u8],
        rows: &R,
    ) -> Result<Self, R::Error> {
        let value = rows.get(&rows::key(collection, key))?;
        let held = value.map_or_else(|| Held::Few(Vec::new()), |value| Held::read(&value));
        Ok(Self { collection, key, held, is_changed: false })
    }

    /// The slots of one feed: one, or two if it is forked. A scan of them, if the key has many.
    pub(super) fn of<R: Base>(&self, local: u32, rows: &R) -> Result<Vec<Slot>, R::Error> {
        match &self.held {
            Held::Few(few) => Ok(few.iter().filter(|slot| slot.local == local).cloned().collect()),
            Held::Many(_) => {
                let prefix = many_of(self.collection, self.key).len();
                read_rows(rows, &many_of_feed(self.collection, self.key, local), prefix)
            }
        }
    }

    /// Takes a slot out that is there.
    pub(super) fn remove<R: Rows>(&mut self, slot: &Slot, rows: &mut R) -> Result<(), R::Error> {
        self.is_changed = true;
        match &mut self.held {
            Held::Few(few) => {
                few.retain(|other| other.name() != slot.name());
                Ok(())
            }
            Held::Many(count) => {
                *count -= 1;
                rows.delete(&row(self.collection, self.key, slot))
            }
        }
    }

    /// Adds a slot that isn't there.
    pub(super) fn insert<R: Rows>(&mut self, slot: Slot, rows: &mut R) -> Result<(), R::Error> {
        self.is_changed = true;
        match &mut self.held {
            Held::Few(few) => {
                let at = few.partition_point(|other| other.name() < slot.name());
                few.insert(at, slot);
                Ok(())
            }
            Held::Many(count) => {
                *count += 1;
                self.put(&slot, rows)
            }
        }
    }

    fn put<R: Rows>(&self, slot: &Slot, rows: &mut R) -> Result<(), R::Error> {
        let mut writer = Writer::default();
        slot.source.write(&mut writer);
        rows.put(row(self.collection, self.key, slot), writer.finish())
    }

    /// Writes what was changed. How it lies depends on how many there are, and on nothing else.
    pub(super) fn write<R: Rows>(mut self, rows: &mut R) -> Result<(), R::Error> {
        if !self.is_changed {
            return Ok(());
        }
        self.held = match self.held {
            Held::Few(few) if few.len() > FEW => {
                self.held = Held::Few(Vec::new());
                few.iter().try_for_each(|slot| self.put(slot, rows))?;
                Held::Many(u32::try_from(few.len()).expect("a few"))
            }
            Held::Many(count) if usize::try_from(count).is_ok_and(|count| count <= FEW) => {
                let all = Held::Many(count).all(self.collection, self.key, rows)?;
                for slot in &all {
                    rows.delete(&row(self.collection, self.key, slot))?;
                }
                Held::Few(all)
            }
            held => held,
        };
        let key = rows::key(self.collection, self.key);
        match &self.held {
            Held::Few(few) if few.is_empty() => rows.delete(&key),
            held => rows.put(key, held.write()),
        }
    }
}
