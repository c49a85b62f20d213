//! The list of spaces, as it is stored: a row for each, by its id.

use aether_core::wire::{Reader, Writer};

use crate::proto::space::Genesis;

/// What a node does with a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// It takes part in it.
    Open,
    /// It doesn't, and keeps what it has.
    Closed,
    /// It takes part in it as the control space of a partitioned map, in which it takes part, too.
    Map,
    /// That was closed, and so are the map's partitions.
    ClosedMap,
    /// It has it as a partition of a map, of which users don't hear. It is open as long as the map.
    Part,
}

impl Listing {
    /// What it is when it is closed.
    pub(super) const fn closed(self) -> Self {
        match self {
            Self::Open | Self::Closed => Self::Closed,
            Self::Map | Self::ClosedMap => Self::ClosedMap,
            Self::Part => Self::Part,
        }
    }

    /// What it is when it is opened again.
    pub(super) const fn opened(self) -> Self {
        match self {
            Self::Open | Self::Closed => Self::Open,
            Self::Map | Self::ClosedMap => Self::Map,
            Self::Part => Self::Part,
        }
    }
}

/// A space of the list.
///
/// | bytes | field |
/// |---|---|
/// | 1 | 3 open, 4 closed, 5 a map's partition, 6 a map's control space, 7 one that was closed |
/// | 4 | the number with which its rows begin, big endian |
/// | n | genesis |
///
/// 1 and 2 were of rows that are no longer read.
///
/// A space that is deleted isn't in the list: its number is in another, until no row is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) listing: Listing,
    pub(super) number: u32,
    pub(super) genesis: Genesis,
}

impl Listed {
    pub(super) fn encode(&self) -> Vec<u8> {
        let listing = match self.listing {
            Listing::Open => 3,
            Listing::Closed => 4,
            Listing::Part => 5,
            Listing::Map => 6,
            Listing::ClosedMap => 7,
        };
        let mut writer = Writer::default();
        writer.u8(listing).u32(self.number).slice(&self.genesis.encode());
        writer.finish()
    }

    /// `None` if it is of another release.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let listing = match reader.u8().ok()? {
            3 => Listing::Open,
            4 => Listing::Closed,
            5 => Listing::Part,
            6 => Listing::Map,
            7 => Listing::ClosedMap,
            _ => return None,
        };
        let number = reader.u32().ok()?;
        Some(Self { listing, number, genesis: Genesis::decode(reader.rest()).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use aether_core::SecretKey;

    use super::*;
    use crate::proto::space::Mode;

    #[test]
    fn rows_are_as_the_table_says() {
        let owner = SecretKey::from_bytes([1; 32]).public();
        let genesis = Genesis::new(Mode::Open, [7; 16], "ages", [owner]).unwrap();
        let all = [Listing::Open, Listing::Closed, Listing::Part, Listing::Map, Listing::ClosedMap];
        for (listing, byte) in all.into_iter().zip(3..) {
            let listed = Listed { listing, number: 258, genesis: genesis.clone() };
            let row = [&[byte, 0, 0, 1, 2], &genesis.encode()[..]].concat();
            assert_eq!(listed.encode(), row);
            assert_eq!(Listed::decode(&row), Some(listed));
        }
        for other in [0, 1, 2, 8] {
            assert_eq!(
                Listed::decode(&[&[other, 0, 0, 0, 0], &genesis.encode()[..]].concat()),
                None
            );
        }
    }
}
