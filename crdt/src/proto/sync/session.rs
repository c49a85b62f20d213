//! The receiving half of a session: which entries came, and what became of them.

use std::collections::BTreeMap;

use super::{MAX_NOT, MAX_UNACKED, MAX_UNACKED_BYTES, Message, Row};

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Synced,
    Refused,
}

/// What a peer sends in one session, counted: some 40 bytes for each entry that isn't acknowledged,
/// of which there are [`MAX_UNACKED`] at most.
#[derive(Clone, Debug, Default)]
pub struct Receiving {
    /// The last entry's number in the session.
    last: u64,
    open: BTreeMap<u64, (Fate, usize)>,
    bytes: usize,
}

impl Receiving {
    /// Counts an entry of so many bytes. `false` if its number isn't the next, or it is more than a
    /// peer may send without an acknowledgement: then the peer breaks the protocol.
    #[must_use]
    pub fn begin(&mut self, n: u64, bytes: usize) -> bool {
        let all = self.bytes.saturating_add(bytes);
        let is_room =
            self.open.is_empty() || (self.open.len() < MAX_UNACKED && all <= MAX_UNACKED_BYTES);
        if Some(n) != self.last.checked_add(1) || !is_room {
            return false;
        }
        (self.last, self.bytes) = (n, all);
        self.open.insert(n, (Fate::Open, bytes));
        true
    }

    /// Says what became of an entry: whether it is synced. What isn't open is left as it is.
    pub fn end(&mut self, n: u64, synced: bool) {
        if let Some((fate @ Fate::Open, _)) = self.open.get_mut(&n) {
            *fate = if synced { Fate::Synced } else { Fate::Refused };
        }
    }

    /// An acknowledgement of all that ended and that nothing open precedes, if there is anything to
    /// say. Ask until there is nothing.
    pub fn ack(&mut self) -> Option<Message> {
        let (mut upto, mut not) = (None, Vec::new());
        while let Some(first) = self.open.first_entry() {
            let (n, (fate, bytes)) = (*first.key(), *first.get());
            if fate == Fate::Open || (fate == Fate::Refused && not.len() == MAX_NOT) {
                break;
            }
            if fate == Fate::Refused {
                not.push(n);
            }
            first.remove();
            self.bytes -= bytes;
            upto = Some(n);
        }
        upto.map(|upto| Message::Ack { upto, not })
    }

    /// How many entries aren't acknowledged.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

/// The rows of a peer, as far as they came.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    rows: Vec<Row>,
}

impl Gathered {
    /// Takes the rows of one message. `false` if they don't follow those before, or there are more
    /// than `max`: then the peer breaks the protocol.
    #[must_use]
    pub fn extend(&mut self, rows: Vec<Row>, max: usize) -> bool {
        let follows = match (self.rows.last(), rows.first()) {
            (Some(last), Some(first)) => last.feed() < first.feed(),
            _ => true,
        };
        let fits = follows && self.rows.len().saturating_add(rows.len()) <= max;
        if fits {
            self.rows.extend(rows);
        }
        fits
    }

    /// All that came, ascending. It begins anew.
    pub fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }
}
