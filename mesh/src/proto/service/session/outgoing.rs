//! What is to be sent: the calls take turns, a piece each, within their credit (rules 4 to 6).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{FREE_CREDIT, Fault, ITEM_OVERHEAD, STREAM_CREDIT};
use crate::proto::service::frame::{CallError, Frame, MAX_CHUNK, Payload};

#[derive(Debug)]
pub(super) struct Outgoing {
    max_unsent: usize,
    unsent: usize,
    transfers: BTreeMap<u64, Transfer>,
    /// Calls that may have a piece to send, each once.
    turns: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Body,
    Reply,
    Items,
}

#[derive(Debug)]
struct Transfer {
    kind: Kind,
    credit: u64,
    queue: VecDeque<Bytes>,
    /// What `queue` counts for.
    queued: usize,
    end: Option<Option<CallError>>,
    has_turn: bool,
}

/// A piece whose turn has come.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) frame: Frame,
    /// Whether it was the call's last.
    pub(super) is_last: bool,
}

impl Transfer {
    fn cost(&self, piece: usize) -> usize {
        if self.kind == Kind::Items { piece + ITEM_OVERHEAD } else { piece }
    }

    /// The next piece, if there is one and credit for all of it: a transfer never sends crumbs.
    fn next(&mut self) -> Option<Payload> {
        let Some(front) = self.queue.front() else {
            return self.end.take().map(Payload::End);
        };
        let piece = front.len().min(MAX_CHUNK);
        let cost = self.cost(piece);
        self.credit = self.credit.checked_sub(cost as u64)?;
        let front = self.queue.front_mut().expect("it was there just now");
        let piece = front.split_to(piece);
        let is_whole = front.is_empty();
        self.queued -= piece.len();
        if is_whole {
            self.queued -= self.cost(0);
            self.queue.pop_front();
        }
        Some(match self.kind {
            Kind::Body => Payload::Chunk(piece),
            Kind::Items if is_whole => Payload::Item(piece),
            Kind::Reply | Kind::Items => Payload::Part(piece),
        })
    }
}

impl Outgoing {
    pub(super) fn new(max_unsent: usize) -> Self {
        assert!(max_unsent >= 2 * MAX_CHUNK, "pieces alone never clog a session");
        let (transfers, turns) = (BTreeMap::new(), VecDeque::new());
        Self { max_unsent, unsent: 0, transfers, turns }
    }

    /// Begins to send a whole body or reply, which isn't empty. If it is one piece, and nobody has
    /// a turn before it, that is what is to be sent at once.
    pub(super) fn send_whole(&mut self, call: u64, kind: Kind, bytes: Bytes) -> Option<Turn> {
        const { assert!(MAX_CHUNK <= FREE_CREDIT, "a piece needs no permission") };
        assert!(!bytes.is_empty(), "an empty body has no pieces");
        if self.turns.is_empty() && self.unsent < self.max_unsent && bytes.len() <= MAX_CHUNK {
            let payload = match kind {
                Kind::Body => Payload::Chunk(bytes),
                Kind::Reply => Payload::Part(bytes),
                Kind::Items => unreachable!("items are not sent whole"),
            };
            let frame = Frame::new(call, payload);
            self.note(&frame);
            return Some(Turn { frame, is_last: true });
        }
        self.begin(call, kind, FREE_CREDIT);
        self.push(call, bytes);
        None
    }

    /// Begins to send items.
    pub(super) fn begin_items(&mut self, call: u64) {
        self.begin(call, Kind::Items, STREAM_CREDIT);
    }

    fn begin(&mut self, call: u64, kind: Kind, credit: usize) {
        let transfer = Transfer {
            kind,
            credit: credit as u64,
            queue: VecDeque::new(),
            queued: 0,
            end: None,
            has_turn: false,
        };
        self.transfers.insert(call, transfer);
    }

    /// Queues an item. Nothing happens if the call sends none.
    pub(super) fn push(&mut self, call: u64, bytes: Bytes) {
        if let Some(transfer) = self.transfers.get_mut(&call) {
            transfer.queued += transfer.cost(bytes.len());
            transfer.queue.push_back(bytes);
            self.take_turn(call);
        }
    }

    /// Sends the end of the items behind all that is queued.
    pub(super) fn end(&mut self, call: u64, error: Option<CallError>) {
        if let Some(transfer) = self.transfers.get_mut(&call) {
            transfer.end = Some(error);
            self.take_turn(call);
        }
    }

    /// More credit for a call. One that has nothing to send any more needs none.
    pub(super) fn grant(&mut self, call: u64, bytes: u32) -> Result<(), Fault> {
        /// No receiver has room for so much.
        const MOST: u64 = 1 << 40;
        if let Some(transfer) = self.transfers.get_mut(&call) {
            transfer.credit += u64::from(bytes);
            if transfer.credit > MOST {
                return Err(Fault::Credit);
            }
            self.take_turn(call);
        }
        Ok(())
    }

    fn take_turn(&mut self, call: u64) {
        if let Some(transfer) = self.transfers.get_mut(&call)
            && !transfer.has_turn
        {
            transfer.has_turn = true;
            self.turns.push_back(call);
        }
    }

    /// The next piece to send.
    pub(super) fn next(&mut self) -> Option<Turn> {
        while self.unsent < self.max_unsent {
            let call = self.turns.pop_front()?;
            let transfer = self.transfers.get_mut(&call).expect("a removed call has no turn");
            transfer.has_turn = false;
            let Some(payload) = transfer.next() else {
                continue;
            };
            let is_last = match transfer.kind {
                Kind::Items => matches!(payload, Payload::End(_)),
                Kind::Body | Kind::Reply => transfer.queue.is_empty(),
            };
            if is_last {
                self.transfers.remove(&call);
            } else {
                self.take_turn(call);
            }
            let frame = Frame::new(call, payload);
            self.note(&frame);
            return Some(Turn { frame, is_last });
        }
        None
    }

    /// Drops what a call has to send.
    pub(super) fn remove(&mut self, call: u64) {
        if self.transfers.remove(&call).is_some_and(|transfer| transfer.has_turn) {
            self.turns.retain(|turn| *turn != call);
        }
    }

    pub(super) fn clear(&mut self) {
        self.transfers.clear();
        self.turns.clear();
    }

    /// What the call's queue counts for.
    pub(super) fn queued(&self, call: u64) -> usize {
        self.transfers.get(&call).map_or(0, |transfer| transfer.queued)
    }

    /// A frame goes to the driver.
    pub(super) fn note(&mut self, frame: &Frame) {
        self.unsent += frame.weight();
    }

    /// The driver has written so much.
    pub(super) const fn sent(&mut self, weight: usize) {
        self.unsent = self.unsent.saturating_sub(weight);
    }

    /// Whether so much is unsent that nothing should be taken on that adds to it. Twice what stops
    /// the pieces, so that pieces alone never get there.
    pub(super) const fn is_clogged(&self) -> bool {
        self.unsent >= 2 * self.max_unsent
    }
}
