//! The items of a streamed reply at their receiver (rule 6).

use bytes::{Bytes, BytesMut};

use super::super::{Fault, ITEM_OVERHEAD, MAX_ITEM};

/// What the reader consumed is granted again in steps of so many bytes. With it a largest item
/// still fits the smallest window, so a stream can't stand still.
const GRANT_STEP: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Items {
    /// What the server may still send.
    credit: usize,
    /// What the reader was given and hasn't taken.
    unread: usize,
    /// What the reader has taken and the server wasn't granted again.
    taken: usize,
    /// The beginning of an item.
    partial: Vec<Bytes>,
    /// Bytes of the beginning.
    len: usize,
    /// What the beginning has cost.
    cost: usize,
}

impl Items {
    pub(super) fn new(window: usize) -> Self {
        Self { credit: window, unread: 0, taken: 0, partial: Vec::new(), len: 0, cost: 0 }
    }

    pub(super) const fn unread(&self) -> usize {
        self.unread
    }

    /// Whether an item has begun and not ended.
    pub(super) const fn is_amid(&self) -> bool {
        self.cost > 0
    }

    fn charge(&mut self, piece: usize) -> Result<(), Fault> {
        let cost = piece + ITEM_OVERHEAD;
        self.credit = self.credit.checked_sub(cost).ok_or(Fault::Credit)?;
        self.cost += cost;
        self.len += piece;
        if self.len > MAX_ITEM { Err(Fault::Length) } else { Ok(()) }
    }

    /// The next bytes of an item that goes on.
    pub(super) fn part(&mut self, piece: Bytes) -> Result<(), Fault> {
        self.charge(piece.len())?;
        self.partial.push(piece);
        Ok(())
    }

    /// The last bytes of an item: the item, and what it counts for.
    pub(super) fn item(&mut self, piece: Bytes) -> Result<(Bytes, usize), Fault> {
        self.charge(piece.len())?;
        let len = std::mem::take(&mut self.len);
        let item = if self.partial.is_empty() {
            piece
        } else {
            let mut item = BytesMut::with_capacity(len);
            for part in self.partial.drain(..).chain([piece]) {
                item.extend_from_slice(&part);
            }
            item.freeze()
        };
        let cost = std::mem::take(&mut self.cost);
        self.unread += cost;
        Ok((item, cost))
    }

    /// The reader has taken so much: how much to grant now.
    pub(super) fn consume(&mut self, credit: usize) -> usize {
        let credit = credit.min(self.unread);
        self.unread -= credit;
        self.taken += credit;
        if self.taken < GRANT_STEP {
            return 0;
        }
        self.credit += self.taken;
        std::mem::take(&mut self.taken)
    }
}
