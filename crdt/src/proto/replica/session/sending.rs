//! What a peer is sent. See rules 4 to 6 of the [replica](super::super).

use std::collections::{BTreeMap, VecDeque};

use aether_core::{PublicKey, Time};
use minicbor::bytes::ByteVec;

use super::NEWS;
use crate::proto::{
    book::{Book, Stored, Walker},
    entry::{Authority, Header},
    feed::Tip,
    id::{EntryId, FeedId, Position},
    map::Feeds as _,
    replica::{
        Replica,
        intake::Broken,
        types::{Fault, Output},
    },
    rows::{Base, Rows},
    space::Genesis,
    sync::{MAX_UNACKED, MAX_UNACKED_BYTES, Message},
};

/// Most chains that a peer may ask for at a time.
const MAX_CHAINS: usize = 64;

/// Up to where a peer has the own feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    local: Option<u32>,
    pub(super) behind: Tip,
}

/// What a peer is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    /// What was sent last, by number in the session.
    pub(super) last: u64,
    pub(super) unacked: VecDeque<Sent>,
    pub(super) bytes: usize,
    /// By the position of the entry that each is behind, which is the next to send.
    pub(super) ways: BTreeMap<Position, Walker>,
    /// The peer has the own feed up to here, so what is written is sent at once: which feed, if it
    /// has begun, and behind which entry.
    pub(super) own: Option<Own>,
    /// Up to which number the peer said that it holds the own feed, synced.
    pub(super) has: u64,
    /// Chains that the peer asked for: the entry that comes next, and what isn't wanted any more.
    pub(super) chains: VecDeque<(Walker, u64)>,
}

/// An entry that isn't acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    n: u64,
    bytes: usize,
    local: u32,
    number: u64,
    /// Whether the peer asked for it.
    is_asked: bool,
}

impl Sending {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let all = self.bytes.saturating_add(bytes);
        self.unacked.is_empty() || (self.unacked.len() < MAX_UNACKED && all <= MAX_UNACKED_BYTES)
    }

    /// Sends no more of anything.
    pub(super) fn end(&mut self) {
        self.ways.clear();
        self.chains.clear();
        self.own = None;
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

    /// The message that carries an entry.
    fn entry(&mut self, stored: Stored, local: u32, is_asked: bool) -> Message {
        let (bytes, number) = (stored.header.len() + stored.payload.len(), stored.id.number);
        self.last += 1;
        self.unacked.push_back(Sent { n: self.last, bytes, local, number, is_asked });
        self.bytes += bytes;
        let (header, payload) = (stored.header.into(), stored.payload.into());
        Message::Entry { n: self.last, header, payload }
    }

    /// Takes an acknowledgement; `own` is the feed that own entries continue. `false` if it is of
    /// what wasn't sent.
    pub(super) fn acked(&mut self, upto: u64, not: &[u64], own: Option<u32>) -> bool {
        while let Some(sent) = self.unacked.front().copied().filter(|sent| sent.n <= upto) {
            self.unacked.pop_front();
            self.bytes -= sent.bytes;
            match not.contains(&sent.n) {
                true if sent.is_asked => {
                    self.chains.retain(|(next, _)| next.local() != sent.local);
                }
                true => self.stop(sent.local),
                // Of a chain the end comes first.
                false if own == Some(sent.local) && !sent.is_asked => {
                    self.has = self.has.max(sent.number);
                }
                false => {}
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
        if let (true, Some([first, second])) = (self.may_read(&to), self.book.witnesses(feed)?) {
            let (first, second) = (ByteVec::from(first), ByteVec::from(second));
            let message = Message::Evidence { first, second };
            self.outputs.push_back(Output::Send { to, message });
        }
        Ok(())
    }

    /// Sends what is on the ways to be sent, and is synced, as far as there is room.
    pub(in crate::proto::replica) fn pump(&mut self, peer: PublicKey) -> Result<(), B::Error> {
        let own = self.own.feed.and_then(|own| self.book.catalog().local(&own));
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let sending = &mut session.sending;
        if let (Some(Own { local, behind }), Some(own)) = (sending.own, own) {
            // A new incarnation begins where there is nothing.
            let behind = if local == Some(own) { behind } else { Tip::ROOT };
            sending.own = None;
            sending.go(&self.book, Walker::new(own, behind, 0), Some(own))?;
        }
        while let Some((position, way)) = sending.ways.first_key_value() {
            let (mut position, mut way) = (*position, *way);
            if self.book.is_discarded(&self.book.catalog().feed(way.local()), way.behind().number)
                && let Some(first) = owners_way(&sending.ways, &self.book, &self.genesis)
            {
                // Who doesn't know that it is discarded wouldn't take it.
                (position, way) = first;
            }
            if position > self.synced || !sending.has_room(0) {
                break;
            }
            let Some(stored) = self.book.stored(&way)? else {
                // It was evicted meanwhile. What came in its place is told of by the next rows.
                sending.ways.remove(&position);
                continue;
            };
            let bytes = stored.header.len() + stored.payload.len();
            if !sending.has_room(bytes) {
                break;
            }
            sending.ways.remove(&position);
            sending.go(&self.book, way, own)?;
            for header in credentials(&self.book, &stored.header)? {
                let header = header.into();
                let message = Message::Credential { header };
                self.outputs.push_back(Output::Send { to: peer, message });
            }
            let message = sending.entry(stored, way.local(), false);
            self.outputs.push_back(Output::Send { to: peer, message });
        }
        self.pump_chains(peer)
    }

    /// Sends of the chains that a peer asked for, each from its end down.
    fn pump_chains(&mut self, peer: PublicKey) -> Result<(), B::Error> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let sending = &mut session.sending;
        while let Some((next, floor)) = sending.chains.front().copied() {
            let stored = self.book.stored(&next)?.filter(|stored| stored.position <= self.synced);
            let Some(stored) = stored else {
                sending.chains.pop_front();
                continue;
            };
            if !sending.has_room(stored.header.len() + stored.payload.len()) {
                break;
            }
            sending.chains.pop_front();
            let below = self.book.below(&next)?;
            if let Some(below) = below.filter(|below| below.behind().number > floor) {
                sending.chains.push_front((below, floor));
            }
            let message = sending.entry(stored, next.local(), true);
            self.outputs.push_back(Output::Send { to: peer, message });
        }
        Ok(())
    }

    /// A peer asks for what leads to an entry, down to a number.
    pub(super) fn on_ask(
        &mut self,
        from: PublicKey,
        entry: &EntryId,
        floor: u64,
    ) -> Result<(), B::Error> {
        let is_kept = self.book.position(entry)?.is_some();
        let local = self.book.catalog().local(&entry.feed).filter(|_| is_kept);
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        let is_room = session.sending.chains.len() < MAX_CHAINS;
        if let (Some(local), true) = (local, is_room && session.may_read) {
            let tip = Tip { number: entry.number, hash: entry.hash };
            session.sending.chains.push_back((Walker::new(local, tip, 0), floor));
        }
        self.pump(from)
    }

    pub(super) fn on_ack(
        &mut self,
        now: Time,
        from: PublicKey,
        upto: u64,
        not: &[u64],
    ) -> Result<(), Broken<B::Error>> {
        let soon = now + NEWS + self.chance(NEWS);
        let own = self.own.feed.and_then(|own| self.book.catalog().local(&own));
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        if !session.sending.acked(upto, not, own) {
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
        let local = self.own.feed.and_then(|own| self.book.catalog().local(&own));
        let row = self.own.feed.and_then(|own| self.rows.get(&own));
        let behind = row.and_then(|row| row.tips().last().copied()).unwrap_or(Tip::ROOT);
        Own { local, behind }
    }

    /// Ends a feed that was signed here, as somebody has more of it or it is forked.
    pub(in crate::proto::replica) fn outrun(&mut self, feed: FeedId) {
        if !self.continues(&feed) {
            return;
        }
        if self.own.feed == Some(feed) {
            self.end_own();
        }
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.feed == Some(feed)) {
            owner.feed = None;
        }
        self.outputs.push_back(Output::Outrun { feed });
    }

    /// Ends the feed that own entries continue: the next one begins another.
    pub(in crate::proto::replica) fn end_own(&mut self) {
        self.own.feed = None;
        // Of the feed that comes next there is nothing before, so everybody is sent it.
        let own = self.own_tip();
        for session in self.sessions.values_mut() {
            session.goes_on(own);
            session.sending.has = 0;
        }
    }
}

/// The first of what a peer is to be sent of owners' own feeds.
fn owners_way<R: Rows>(
    ways: &BTreeMap<Position, Walker>,
    book: &Book<R>,
    genesis: &Genesis,
) -> Option<(Position, Walker)> {
    let is_owners = |way: &Walker| {
        let known = book.catalog().at(way.local());
        known.authority() == Authority::Genesis && genesis.is_owner(&known.id().author)
    };
    ways.iter().find(|(_, way)| is_owners(way)).map(|(position, way)| (*position, *way))
}

/// The credentials of the feeds that an entry cites and of which nothing is kept any more.
fn credentials<R: Rows>(book: &Book<R>, header: &[u8]) -> Result<Vec<Vec<u8>>, R::Error> {
    if !book.has_credentials() {
        return Ok(Vec::new());
    }
    let header = Header::decode(header).expect("what was put is read back");
    let mut feeds: Vec<FeedId> = header.frontier().iter().map(|cited| cited.feed).collect();
    feeds.dedup();
    // Of what is kept the peer is sent that.
    feeds.retain(|feed| book.known(feed).is_none_or(|known| known.feed().tips().is_empty()));
    let mut all = Vec::new();
    for feed in feeds {
        all.extend(book.credential(&feed)?);
    }
    Ok(all)
}
