//! Room for what is received: who may send how much, and what has come of it.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{FREE_CREDIT, Fault};

/// A bounded number of bytes, lent to calls.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    used: usize,
    held: BTreeMap<u64, usize>,
    waiting: VecDeque<(u64, usize)>,
}

impl Room {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, used: 0, held: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Puts a call in the queue for so many bytes, at most `max`.
    pub(super) fn ask(&mut self, call: u64, bytes: usize) {
        assert!(bytes <= self.max, "what can never be lent is refused before");
        self.waiting.push_back((call, bytes));
    }

    /// Lends to the first call in the queue, all that it asked for, if there is as much.
    pub(super) fn lend(&mut self) -> Option<(u64, usize)> {
        let (call, bytes) = *self.waiting.front()?;
        if !self.take(call, bytes) {
            return None;
        }
        self.waiting.pop_front();
        Some((call, bytes))
    }

    /// Lends so many bytes to a call now, or nothing.
    pub(super) fn take(&mut self, call: u64, bytes: usize) -> bool {
        let fits = bytes <= self.max - self.used;
        if fits {
            self.used += bytes;
            *self.held.entry(call).or_default() += bytes;
        }
        fits
    }

    /// Takes back all that a call holds or waits for.
    pub(super) fn free(&mut self, call: u64) {
        match self.held.remove(&call) {
            Some(bytes) => self.used -= bytes,
            None => self.waiting.retain(|(waiting, _)| *waiting != call),
        }
    }

    pub(super) const fn used(&self) -> usize {
        self.used
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max);
    }
}

/// A body or reply of known length that arrives in pieces.
#[derive(Debug)]
pub(super) struct Assembly {
    length: usize,
    allowed: usize,
    pieces: Pieces,
}

#[derive(Debug)]
enum Pieces {
    /// The usual case: one piece is everything, and nothing is copied.
    One(Bytes),
    Many(BytesMut),
}

impl Assembly {
    pub(super) const fn new(length: usize) -> Self {
        Self { length, allowed: FREE_CREDIT, pieces: Pieces::One(Bytes::new()) }
    }

    /// What has to be granted before all can come.
    pub(super) const fn ungranted(&self) -> usize {
        self.length.saturating_sub(self.allowed)
    }

    pub(super) const fn grant(&mut self, bytes: usize) {
        self.allowed += bytes;
    }

    pub(super) fn received(&self) -> usize {
        match &self.pieces {
            Pieces::One(piece) => piece.len(),
            Pieces::Many(pieces) => pieces.len(),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.received() == self.length
    }

    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Fault> {
        let received = self.received() + piece.len();
        if received > self.length {
            return Err(Fault::Length);
        }
        if received > self.allowed {
            return Err(Fault::Credit);
        }
        match &mut self.pieces {
            Pieces::One(first) if first.is_empty() => *first = piece,
            Pieces::One(first) => {
                let mut pieces = BytesMut::with_capacity(self.length.min(self.allowed));
                pieces.extend_from_slice(first);
                pieces.extend_from_slice(&piece);
                self.pieces = Pieces::Many(pieces);
            }
            Pieces::Many(pieces) => {
                // Once the rest is granted this is all that will ever be needed.
                pieces.reserve(self.length.min(self.allowed) - pieces.len());
                pieces.extend_from_slice(&piece);
            }
        }
        Ok(())
    }

    pub(super) fn take(&mut self) -> Bytes {
        match std::mem::replace(&mut self.pieces, Pieces::One(Bytes::new())) {
            Pieces::One(piece) => piece,
            Pieces::Many(pieces) => pieces.freeze(),
        }
    }
}
