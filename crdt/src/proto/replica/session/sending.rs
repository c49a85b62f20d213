//! What a peer is sent. See rules 4 to 6 of the [replica](super::super).

use std::collections::{BTreeMap, VecDeque};

use aether_core::{PublicKey, Time};
use minicbor::bytes::ByteVec;

use super::NEWS;
use crate::proto::{
    book::{Book, Walker},
    feed::Tip,
    id::{FeedId, Position},
    map::Feeds as _,
    replica::{
        Replica,
        intake::Broken,
        types::{Fault, Output},
    },
    rows::{Base, Rows},
    sync::{MAX_UNACKED, MAX_UNACKED_BYTES, Message},
};

/// Up to where a peer has the own feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    local: Option<u32>,
    behind: Tip,
}

/// What a peer is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    /// What was sent last, by number in the session.
    pub(super) last: u64,
    /// Number, bytes and feed.
    pub(super) unacked: VecDeque<(u64, usize, u32)>,
    pub(super) bytes: usize,
    /// By the position of the entry that each is behind, which is the next to send.
    pub(super) ways: BTreeMap<Position, Walker>,
    /// The peer has the own feed up to here, so what is written is sent at once: which feed, if it
    /// has begun, and behind which entry.
    pub(super) own: Option<Own>,
}

impl Sending {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let all = self.bytes.saturating_add(bytes);
        self.unacked.is_empty() || (self.unacked.len() < MAX_UNACKED && all <= MAX_UNACKED_BYTES)
    }

    /// Sends no more of a feed.
    fn stop(&mut self, local: u32) {
        self.ways.retain(|_, way| way.local() != local);
        self.own = self.own.filter(|own| own.local != Some(local));
    }

    /// Goes on along a way, as far as there is one.
    pub(super) fn go<R: Rows>(
        &mut self,
        book: &Book<R>,
        way: Walker,
        own: Option<u32>,
    ) -> Result<(), R::Error> {
        match book.step(&way)? {
            Some((position, next)) => {
                self.ways.insert(position, next);
            }
            None if Some(way.local()) == own => {
                self.own = Some(Own { local: own, behind: way.behind() });
            }
            None => {}
        }
        Ok(())
    }

    /// Takes an acknowledgement. `false` if it is of what wasn't sent.
    pub(super) fn acked(&mut self, upto: u64, not: &[u64]) -> bool {
        while let Some((n, bytes, local)) = self.unacked.front().copied()
            && n <= upto
        {
            self.unacked.pop_front();
            self.bytes -= bytes;
            if not.contains(&n) {
                self.stop(local);
            }
        }
        upto <= self.last
    }
}

impl<B: Base> Replica<B> {
    pub(in crate::proto::replica) fn send_evidence(
        &mut self,
        to: PublicKey,
        feed: &FeedId,
    ) -> Result<(), B::Error> {
        if let Some([first, second]) = self.book.witnesses(feed)? {
            let (first, second) = (ByteVec::from(first), ByteVec::from(second));
            let message = Message::Evidence { first, second };
            self.outputs.push_back(Output::Send { to, message });
        }
        Ok(())
    }

    /// Sends what is on the ways to be sent, and is synced, as far as there is room.
    pub(in crate::proto::replica) fn pump(&mut self, peer: PublicKey) -> Result<(), B::Error> {
        let own = self.own.and_then(|own| self.book.catalog().local(&own));
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let sending = &mut session.sending;
        if let (Some(Own { local, behind }), Some(own)) = (sending.own, own) {
            // A new incarnation begins where there is nothing.
            let behind = if local == Some(own) { behind } else { Tip::ROOT };
            sending.own = None;
            sending.go(&self.book, Walker::new(own, behind, 0), Some(own))?;
        }
        while let Some((position, way)) = sending.ways.first_key_value() {
            let (position, way) = (*position, *way);
            if position > self.synced || !sending.has_room(0) {
                break;
            }
            let Some(stored) = self.book.stored(&way)? else {
                // It was evicted meanwhile. What came in its place is told of by the next rows.
                sending.ways.pop_first();
                continue;
            };
            let bytes = stored.header.len() + stored.payload.len();
            if !sending.has_room(bytes) {
                break;
            }
            sending.ways.pop_first();
            sending.go(&self.book, way, own)?;
            sending.last += 1;
            sending.unacked.push_back((sending.last, bytes, way.local()));
            sending.bytes += bytes;
            let (header, payload) = (stored.header.into(), stored.payload.into());
            let message = Message::Entry { n: sending.last, header, payload };
            self.outputs.push_back(Output::Send { to: peer, message });
        }
        Ok(())
    }

    pub(super) fn on_ack(
        &mut self,
        now: Time,
        from: PublicKey,
        upto: u64,
        not: &[u64],
    ) -> Result<(), Broken<B::Error>> {
        let soon = now + NEWS + self.chance(NEWS);
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        if !session.sending.acked(upto, not) {
            return Err(Fault::Unasked.into());
        }
        if !not.is_empty() {
            // The next rows tell what the peer lacks then.
            session.due = session.due.min(soon);
        }
        self.pump(from).map_err(Broken::Rows)
    }

    /// The own feed's last entry that is synced, or where it will begin.
    pub(super) fn own_tip(&self) -> Own {
        let local = self.own.and_then(|own| self.book.catalog().local(&own));
        let row = self.own.and_then(|own| self.rows.get(&own));
        let behind = row.and_then(|row| row.tips().last().copied()).unwrap_or(Tip::ROOT);
        Own { local, behind }
    }

    /// Ends this node's own feed, as somebody has more of it or it is forked.
    pub(in crate::proto::replica) fn outrun(&mut self, feed: FeedId) {
        if self.own == Some(feed) {
            self.own = None;
            // Of the feed that comes next there is nothing before, so everybody is sent it.
            let own = self.own_tip();
            self.sessions.values_mut().for_each(|session| session.sending.own = Some(own));
            self.outputs.push_back(Output::Outrun { feed });
        }
    }
}
