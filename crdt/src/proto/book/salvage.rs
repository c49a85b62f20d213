//! What is left of a book some of whose rows are lost: that from which it can be made anew.
//!
//! Entries are that, with the evidence against authors and the credentials of feeds; all other rows
//! are made of them. Whoever reads them here offers them to a book that is empty, in the order in
//! which they were taken in, and it checks them as if a peer had sent them.

use aether_core::wire::{Reader, WireError};

use super::{
    layout::{CREDENTIALS, HEADERS, STAGED, WITNESSES},
    pages,
};
use crate::proto::{
    archive::Record,
    entry::Header,
    id::{FeedId, Position},
    rows::Base,
};

/// By which bytes the rows begin that are read.
pub const KEPT: [u8; 4] = [CREDENTIALS, HEADERS, WITNESSES, STAGED];

/// A row that is good for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The header of an entry, which was taken in as this one.
    Entry {
        /// When.
        position: Position,
        /// The header's bytes.
        header: Vec<u8>,
    },
    /// One of two headers that are evidence against the author of a feed.
    Witness {
        /// The feed's local number.
        local: u32,
        /// The header's bytes.
        header: Vec<u8>,
    },
    /// The first header of a feed of which nothing is kept.
    Credential(Record),
    /// An entry that waits for others of its chain, or that was set aside.
    Staged {
        /// Of which feed.
        feed: FeedId,
        /// The entry.
        record: Record,
    },
}

/// What a row holds; `None` if nothing that is kept.
pub fn read(row: &[u8], value: &[u8]) -> Option<Left> {
    try_read(row, value).ok().flatten()
}

fn try_read(row: &[u8], value: &[u8]) -> Result<Option<Left>, WireError> {
    let (mut row, mut value) = (Reader::new(row), Reader::new(value));
    Ok(Some(match row.u8()? {
        HEADERS => {
            let position = Position::from_number(value.u64()?);
            Left::Entry { position, header: value.rest().to_vec() }
        }
        WITNESSES => Left::Witness { local: row.u32()?, header: value.rest().to_vec() },
        CREDENTIALS => Left::Credential(Record::Credential { header: value.rest().to_vec() }),
        STAGED => {
            let feed = FeedId::read(&mut row)?;
            let len = usize::try_from(value.u32()?).unwrap_or(usize::MAX);
            let (header, payload) = (value.slice(len)?.to_vec(), value.rest().to_vec());
            Left::Staged { feed, record: Record::Entry { header, payload } }
        }
        _ => return Ok(None),
    }))
}

/// An entry with its payload; without, if it was discarded. `None` if it isn't there, or not all of
/// it.
///
/// # Errors
/// Of the rows.
pub fn entry<B: Base>(
    rows: &B,
    position: Position,
    header: Vec<u8>,
    is_discarded: impl Fn(&Header) -> bool,
) -> Result<Option<Record>, B::Error> {
    let Ok(decoded) = Header::decode(&header) else { return Ok(None) };
    if is_discarded(&decoded) {
        return Ok(Some(Record::Entry { header, payload: Vec::new() }));
    }
    let len = usize::try_from(decoded.content().bytes).unwrap_or(usize::MAX);
    let payload = pages::part(rows, position, 0..len)?;
    Ok(payload.map(|payload| Record::Entry { header, payload }))
}
