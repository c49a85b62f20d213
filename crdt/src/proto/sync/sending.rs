//! The sending half of a session: which entries a peer lacks, in the order of intake, and how many
//! are on their way.

use std::collections::{BTreeMap, VecDeque};

use minicbor::bytes::ByteVec;

use super::{MAX_UNACKED, MAX_UNACKED_BYTES, Message};
use crate::proto::id::{EntryId, FeedId, Position};

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was taken in.
    pub position: Position,
    /// Its name.
    pub id: EntryId,
    /// Its header's bytes.
    pub header: Vec<u8>,
    /// Its payload's bytes.
    pub payload: Vec<u8>,
}

/// What a peer is known to keep of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// It keeps the feed's trunk up to this number.
    upto: u64,
    /// It keeps all that was taken in up to this position.
    since: Position,
}

/// What one peer is sent in one session. In memory: 70 bytes for each feed that differs, and what
/// was fetched and not sent.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    /// What was sent last, by number in the session.
    last: u64,
    unacked: VecDeque<(u64, usize)>,
    bytes: usize,
    /// All that was taken in up to here was sent, or needn't be.
    cursor: Position,
    /// The peer keeps all that was taken in up to here of feeds that aren't in `known`.
    since: Position,
    known: BTreeMap<FeedId, Known>,
    /// Up to where was asked for what is stored.
    fetching: Option<Position>,
    /// Fetched, and where the fetch went to.
    ready: VecDeque<Stored>,
    ready_to: Position,
}

impl Sending {
    /// Begins to send what the comparison of rows showed. The peer's rows are equal up to `synced`
    /// but for `lacks`: feeds with the number up to which the peer keeps the trunk, and the
    /// position of the first entry that it lacks, at the earliest.
    ///
    /// Call it only when it [is idle](Self::is_idle): else what is on its way would be sent twice.
    pub fn begin(
        &mut self,
        synced: Position,
        lacks: impl IntoIterator<Item = (FeedId, u64, Position)>,
    ) {
        self.known.clear();
        (self.since, self.cursor) = (synced, self.cursor.max(synced));
        for (feed, upto, first) in lacks {
            self.known.insert(feed, Known { upto, since: Position::ZERO });
            self.cursor = self.cursor.min(first.before());
        }
    }

    /// The peer sent this entry of a feed that isn't forked, so it needs none up to it.
    pub fn knows(&mut self, id: &EntryId) {
        let since = self.since;
        let known = self.known.entry(id.feed).or_insert(Known { upto: 0, since });
        known.upto = known.upto.max(id.number);
    }

    /// From where and to where to fetch next, if there is room and something to fetch.
    pub fn fetch(&mut self, synced: Position) -> Option<Position> {
        let waits = self.fetching.is_some() || !self.ready.is_empty() || !self.has_room(0);
        if waits || self.cursor >= synced {
            return None;
        }
        self.fetching = Some(synced);
        Some(self.cursor)
    }

    /// Takes what was fetched, all that is stored after the cursor and up to `upto`.
    pub fn fetched(&mut self, entries: Vec<Stored>, upto: Position) {
        let Some(asked) = self.fetching.take() else { return };
        self.ready_to = upto.min(asked).max(self.cursor);
        self.ready = entries.into();
        if self.ready.is_empty() {
            self.cursor = self.ready_to;
        }
    }

    /// The next entry to send, if there is room for it. `is_forked` tells which feeds are: of these
    /// the whole lanes are sent, since which of them the peer keeps isn't known.
    pub fn next(&mut self, is_forked: impl Fn(&FeedId) -> bool) -> Option<Message> {
        while let Some(next) = self.ready.front() {
            let bytes = next.header.len() + next.payload.len();
            let lacks = self.lacks(next, &is_forked);
            if lacks && !self.has_room(bytes) {
                return None;
            }
            let next = self.ready.pop_front()?;
            self.cursor = if self.ready.is_empty() { self.ready_to } else { next.position };
            if !lacks {
                continue;
            }
            self.last += 1;
            self.unacked.push_back((self.last, bytes));
            self.bytes += bytes;
            let (header, payload) = (ByteVec::from(next.header), ByteVec::from(next.payload));
            return Some(Message::Entry { n: self.last, header, payload });
        }
        None
    }

    fn lacks(&self, entry: &Stored, is_forked: impl Fn(&FeedId) -> bool) -> bool {
        match self.known.get(&entry.id.feed) {
            Some(known) if entry.position <= known.since => false,
            Some(known) => {
                // A chain up to a number that the peer keeps is in its trunk.
                entry.id.number > known.upto || is_forked(&entry.id.feed)
            }
            None => entry.position > self.since,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let all = self.bytes.saturating_add(bytes);
        self.unacked.is_empty() || (self.unacked.len() < MAX_UNACKED && all <= MAX_UNACKED_BYTES)
    }

    /// Takes an acknowledgement. `false` if it names what wasn't sent: then the peer breaks the
    /// protocol.
    #[must_use]
    pub fn acked(&mut self, upto: u64) -> bool {
        while let Some((n, bytes)) = self.unacked.front().copied()
            && n <= upto
        {
            self.unacked.pop_front();
            self.bytes -= bytes;
        }
        upto <= self.last
    }

    /// Whether all up to `synced` was sent and acknowledged.
    pub fn is_idle(&self, synced: Position) -> bool {
        let is_sent = self.cursor >= synced && self.ready.is_empty();
        is_sent && self.fetching.is_none() && self.unacked.is_empty()
    }

    /// How many entries aren't acknowledged.
    pub fn unacked(&self) -> usize {
        self.unacked.len()
    }
}
