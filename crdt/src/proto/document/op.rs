//! Changes as entries carry them.
//!
//! A change is one operation of its document's collection:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | lane of the author |
//! | rest | the change's chunk |
//!
//! An operation of another version is kept and passed on, and not read.

use super::{ActorId, Change, DecodeError};
use crate::proto::{
    entry::{Entry, Kind},
    id::SpaceId,
};

const VERSION: u8 = 1;

/// The operation that carries a change.
pub fn write_op(lane: u8, chunk: &[u8]) -> Vec<u8> {
    [&[VERSION, lane], chunk].concat()
}

/// The lane and the chunk that an operation carries; `None` if it is of another version.
pub const fn read_op(op: &[u8]) -> Option<(u8, &[u8])> {
    match op {
        [VERSION, lane, chunk @ ..] => Some((*lane, chunk)),
        _ => None,
    }
}

/// Holds the changes that an entry carries against rules A, and their actors against its author.
/// What breaks one is nobody's to keep.
///
/// # Errors
/// The first change's that breaks one.
pub fn check(space: &SpaceId, entry: &Entry) -> Result<(), DecodeError> {
    let feed = entry.header().feed();
    let ops = entry.payload().ops().filter(|(of, _)| of.kind() == Kind::Document);
    for (document, op) in ops {
        let Some((lane, chunk)) = read_op(op) else { continue };
        Change::decode(chunk, &ActorId::of(space, document, &feed, lane))?;
    }
    Ok(())
}
