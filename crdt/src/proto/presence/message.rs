//! Messages of presence, byte by byte as the module above says.

use std::collections::BTreeMap;

use aether_core::wire::{Reader, Writer};

use super::{MAX_BYTES, MAX_VALUE, MAX_VALUES};

const VERSION: u8 = 1;

/// All that an author says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Whether others are asked what they have.
    pub asks: bool,
    /// Values by their names.
    pub values: BTreeMap<String, Vec<u8>>,
}

impl Message {
    /// How many bytes a message of these values has.
    pub(super) fn size<'a>(values: impl Iterator<Item = (&'a str, &'a [u8])>) -> usize {
        3 + values.map(|(name, value)| 3 + name.len() + value.len()).sum::<usize>()
    }

    /// Its bytes.
    ///
    /// # Panics
    /// If names or values break the bounds.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(MAX_BYTES.min(1 << 10));
        let short = |len: usize| u8::try_from(len).expect("the bounds are those of a byte");
        writer.u8(VERSION).u8(self.asks.into()).u8(short(self.values.len()));
        for (name, value) in &self.values {
            writer.u8(short(name.len())).slice(name.as_bytes()).bytes16(value);
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let (version, flags) = (reader.u8().ok()?, reader.u8().ok()?);
        let count = usize::from(reader.u8().ok()?);
        if version != VERSION || flags > 1 || count > MAX_VALUES {
            return None;
        }
        let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for _ in 0..count {
            let len = usize::from(reader.u8().ok()?);
            let name = str::from_utf8(reader.slice(len).ok()?).ok()?;
            let value = reader.bytes16(MAX_VALUE).ok()?;
            let ascends = values.last_key_value().is_none_or(|(last, _)| &last[..] < name);
            // A byte says no more than a name may have.
            if len == 0 || !ascends {
                return None;
            }
            values.insert(name.to_owned(), value.to_vec());
        }
        reader.end().ok()?;
        Some(Self { asks: flags == 1, values })
    }
}
