//! Payloads as they are stored: in pages, so that a part is read without the rest.

use std::ops::Range;

use super::layout;
use crate::proto::{
    id::Position,
    rows::{Base, Rows},
};

/// Bytes of a page: as many as the engine reads at a time.
const PAGE: usize = 4096;

/// Stores the payload of the entry at a position.
pub(super) fn put<R: Rows>(rows: &mut R, at: Position, payload: &[u8]) -> Result<(), R::Error> {
    let mut pages = payload.chunks(PAGE).enumerate();
    pages.try_for_each(|(page, bytes)| rows.put(layout::page(at, page), bytes.to_vec()))
}

/// Deletes it; `len` is its length in bytes.
pub(super) fn delete<R: Rows>(rows: &mut R, at: Position, len: usize) -> Result<(), R::Error> {
    let mut pages = 0..len.div_ceil(PAGE);
    pages.try_for_each(|page| rows.delete(&layout::page(at, page)))
}

/// The part of a payload that is asked for, which isn't beyond its end; `None` if the payload isn't
/// stored. Costs a look-up for each page of it, or a scan of them, if they are more than two.
pub(super) fn part<B: Base>(
    rows: &B,
    at: Position,
    part: Range<usize>,
) -> Result<Option<Vec<u8>>, B::Error> {
    let (first, behind) = (part.start / PAGE, part.end.div_ceil(PAGE));
    let mut bytes = Vec::with_capacity((behind - first) * PAGE);
    if behind - first > 2 {
        for row in rows.scan(&layout::page(at, first), Some(&layout::page(at, behind))) {
            bytes.extend_from_slice(&row?.1);
        }
    } else {
        for page in first..behind {
            bytes.extend(rows.get(&layout::page(at, page))?.unwrap_or_default());
        }
    }
    let within = part.start - first * PAGE..part.end - first * PAGE;
    Ok(match bytes.len() < within.end {
        // Who reads while others write may find the half of what was evicted.
        true => None,
        false => {
            bytes.truncate(within.end);
            Some(bytes.split_off(within.start))
        }
    })
}
