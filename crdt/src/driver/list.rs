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
    /// It takes part in it as a partition of a map, of which users don't hear.
    Part,
}

/// A space of the list.
///
/// | bytes | field |
/// |---|---|
/// | 1 | 3 open, 4 closed, 5 a map's partition; 1 and 2 were of rows that are no longer read |
/// | 4 | the number with which its rows begin, big endian |
/// | n | genesis |
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
            _ => return None,
        };
        let number = reader.u32().ok()?;
        Some(Self { listing, number, genesis: Genesis::decode(reader.rest()).ok()? })
    }
}
