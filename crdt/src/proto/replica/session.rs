//! Sessions: what is said to one peer, and what it is sent. See rules 3 to 6 of the
//! [module](super).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use aether_core::{Hash, PublicKey, Time};
use minicbor::bytes::{ByteArray, ByteVec};

use super::{
    Replica,
    intake::Broken,
    types::{Fault, Intake, Output},
};
use crate::proto::{
    book::{Book, Walker},
    entry::Header,
    feed::Tip,
    id::{FeedId, Position},
    map::Feeds as _,
    rows::{Base, Rows},
    sync::{
        Gathered, MAX_ROWS, MAX_UNACKED, MAX_UNACKED_BYTES, Message, Receiving, Row, read_rows,
        write_rows,
    },
};

/// How long after news of others a peer is told, and as long again by chance: most have it from the
/// author by then.
const NEWS: Duration = Duration::from_secs(1);
/// How long two replicas that heard nothing new don't compare, and half as long again by chance.
const QUIET: Duration = Duration::from_secs(30);
/// How long a peer may take to answer a hello.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many changes of lanes of one feed a peer may bring about in a minute.
const LANE_CHANGES: u32 = 16;
const MINUTE: Duration = Duration::from_secs(60);

/// What a peer owes an answer to: both ends may ask at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// For its hello, after ours with this digest.
    Hello(Hash),
    /// For all its rows, which follow its hello, as the digests differed.
    Rows,
}

/// A session with one peer.
#[derive(Clone, Debug)]
pub(super) struct Session {
    receiving: Receiving,
    asked: Asked,
    /// All its rows, as far as they came.
    all: Gathered,
    /// Whether it was told all rows, and answers with those that differ.
    told: bool,
    differing: Gathered,
    /// When the session ends, if the peer hasn't answered by then.
    patience: Time,
    /// When to say hello next.
    pub(super) due: Time,
    sending: Sending,
    /// How often the peer changed lanes of a feed, and since when that is counted.
    changes: BTreeMap<FeedId, (Time, u32)>,
}

/// Up to where a peer has the own feed.
#[derive(Clone, Copy, Debug)]
struct Own {
    local: Option<u32>,
    behind: Tip,
}

/// What a peer is sent.
#[derive(Clone, Debug, Default)]
struct Sending {
    /// What was sent last, by number in the session.
    last: u64,
    unacked: VecDeque<(u64, usize)>,
    bytes: usize,
    /// By the position of the entry that each is behind, which is the next to send.
    ways: BTreeMap<Position, Walker>,
    /// The peer has the own feed up to here, so what is written is sent at once: which feed, if it
    /// has begun, and behind which entry.
    own: Option<Own>,
}

impl Sending {
    fn has_room(&self, bytes: usize) -> bool {
        let all = self.bytes.saturating_add(bytes);
        self.unacked.is_empty() || (self.unacked.len() < MAX_UNACKED && all <= MAX_UNACKED_BYTES)
    }

    fn stop(&mut self) {
        self.ways.clear();
        self.own = None;
    }

    /// Goes on along a way, as far as there is one.
    fn go<R: Rows>(
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

    fn acked(&mut self, upto: u64) -> bool {
        while let Some((n, bytes)) = self.unacked.front().copied()
            && n <= upto
        {
            self.unacked.pop_front();
            self.bytes -= bytes;
        }
        upto <= self.last
    }
}

impl Session {
    pub(super) fn new(now: Time) -> Self {
        Self {
            receiving: Receiving::default(),
            asked: Asked::Nothing,
            all: Gathered::default(),
            told: false,
            differing: Gathered::default(),
            patience: Time::MAX,
            due: now + QUIET,
            sending: Sending::default(),
            changes: BTreeMap::new(),
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Time {
        if self.is_owed() { self.patience } else { self.due }
    }

    /// Whether the peer has still to answer.
    fn is_owed(&self) -> bool {
        self.told || self.asked != Asked::Nothing
    }

    /// Whether entries are on their way, either way.
    fn is_busy(&self) -> bool {
        let idle = self.sending.ways.is_empty() && self.sending.unacked.is_empty();
        !idle || self.receiving.open() > 0
    }

    /// How often the peer changed lanes of a feed in this minute.
    fn changes(&mut self, now: Time, feed: FeedId) -> &mut u32 {
        let (since, count) = self.changes.entry(feed).or_insert((now, 0));
        if now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        count
    }
}

impl<B: Base> Replica<B> {
    pub(super) fn connected(&mut self, now: Time, peer: PublicKey, opens: bool) {
        let is_room = self.sessions.len() < self.config.max_sessions;
        if !is_room && !self.sessions.contains_key(&peer) {
            self.outputs.push_back(Output::Close { peer, fault: None });
            return;
        }
        self.sessions.insert(peer, Session::new(now));
        if opens {
            self.hello(now, peer);
        }
    }

    /// Says hello, and asks for one.
    fn hello(&mut self, now: Time, peer: PublicKey) {
        let message = self.greeting(true);
        let (due, digest) = (self.quiet(now), self.digest());
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.asked = Asked::Hello(digest);
        (session.due, session.patience) = (due, now + PATIENCE);
        self.outputs.push_back(Output::Send { to: peer, message });
    }

    fn quiet(&mut self, now: Time) -> Time {
        now + QUIET + self.chance(QUIET / 2)
    }

    fn greeting(&mut self, asks: bool) -> Message {
        let digest = ByteArray::from(*self.digest().as_bytes());
        let feeds = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        Message::Hello { version: 1, asks, digest, feeds }
    }

    /// News of others, which peers may not have yet.
    pub(super) fn news(&mut self, now: Time) {
        let due = now + NEWS + self.chance(NEWS);
        for session in self.sessions.values_mut() {
            session.due = session.due.min(due);
        }
    }

    /// What is due with a peer.
    pub(super) fn tick(&mut self, now: Time, peer: PublicKey) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        if session.deadline() > now {
            return;
        }
        if session.is_owed() {
            self.sessions.remove(&peer);
            self.outputs.push_back(Output::Close { peer, fault: None });
        } else if session.is_busy() {
            session.due = now + NEWS;
        } else {
            self.hello(now, peer);
        }
    }

    pub(super) fn message(
        &mut self,
        now: Time,
        from: PublicKey,
        bytes: &[u8],
    ) -> Result<(), Broken<B::Error>> {
        if !self.sessions.contains_key(&from) {
            return Ok(());
        }
        // What a later release says and this one doesn't know is passed over.
        let Some(message) = Message::decode(bytes).map_err(|_| Fault::Malformed)? else {
            return Ok(());
        };
        match message {
            Message::Hello { asks, digest, .. } => {
                self.on_hello(now, from, asks, Hash::from_bytes(digest.into()))
            }
            Message::Rows { differing, last, rows } => {
                self.on_rows(now, from, differing, last, &rows)
            }
            Message::Entry { n, header, payload } => {
                self.on_entry(now, from, n, &header, payload.into())
            }
            Message::Ack { upto, not } => self.on_ack(now, from, upto, &not),
            Message::Evidence { first, second } => self.on_evidence(&first, &second),
        }
    }

    fn on_hello(
        &mut self,
        now: Time,
        from: PublicKey,
        asks: bool,
        theirs: Hash,
    ) -> Result<(), Broken<B::Error>> {
        let is_equal = self.digest() == theirs;
        let (due, own) = (self.quiet(now), self.own_tip());
        let greeting = asks.then(|| self.greeting(false));
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        if is_equal {
            session.due = due;
            if session.sending.ways.is_empty() {
                session.sending.own = Some(own);
            }
        }
        if let Some(message) = greeting {
            if session.told {
                // One comparison at a time.
                return Err(Fault::Unasked.into());
            }
            session.told = !is_equal;
            session.patience = now + PATIENCE;
            self.outputs.push_back(Output::Send { to: from, message });
            if !is_equal {
                let rows: Vec<Row> = self.rows.values().cloned().collect();
                self.say_rows(from, false, &rows);
            }
            return Ok(());
        }
        let Asked::Hello(said) = session.asked else { return Err(Fault::Unasked.into()) };
        // What was said is what the peer compared: its digest now may be another.
        session.asked = if said == theirs { Asked::Nothing } else { Asked::Rows };
        Ok(())
    }

    fn say_rows(&mut self, to: PublicKey, differing: bool, rows: &[Row]) {
        let mut chunks = rows.chunks(MAX_ROWS).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let last = chunks.peek().is_none();
            let rows = ByteVec::from(write_rows(chunk));
            let message = Message::Rows { differing, last, rows };
            self.outputs.push_back(Output::Send { to, message });
            if last {
                return;
            }
        }
    }

    fn on_rows(
        &mut self,
        now: Time,
        from: PublicKey,
        differing: bool,
        last: bool,
        rows: &[u8],
    ) -> Result<(), Broken<B::Error>> {
        let rows = read_rows(rows).ok().flatten().ok_or(Fault::Malformed)?;
        let max = self.config.max_feeds.saturating_mul(2);
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        let (is_owed, gathered) = match differing {
            true => (session.told, &mut session.differing),
            false => (session.asked == Asked::Rows, &mut session.all),
        };
        if !is_owed || !gathered.extend(rows, max) {
            return Err(Fault::Unasked.into());
        }
        session.patience = now + PATIENCE;
        if !last {
            return Ok(());
        }
        let theirs = gathered.take().into_iter().map(|row| (row.feed(), row));
        let theirs: BTreeMap<FeedId, Row> = theirs.collect();
        match differing {
            true => session.told = false,
            false => session.asked = Asked::Nothing,
        }
        if !differing {
            let ours = self.differing(&theirs);
            self.say_rows(from, true, &ours);
        }
        self.compare(now, from, &theirs, differing).map_err(Broken::Rows)
    }

    /// The rows that differ from all those of a peer; those of feeds that only the peer has are
    /// empty.
    fn differing(&self, theirs: &BTreeMap<FeedId, Row>) -> Vec<Row> {
        let feeds: BTreeSet<&FeedId> = self.rows.keys().chain(theirs.keys()).collect();
        let row = |feed: &&FeedId| self.rows.get(feed).cloned().unwrap_or(Row::empty(**feed));
        let all = feeds.iter().filter(|feed| self.rows.get(feed) != theirs.get(feed));
        all.map(row).collect()
    }

    /// Begins to send what a peer lacks. If `differing`, rows that it didn't name are equal.
    fn compare(
        &mut self,
        now: Time,
        peer: PublicKey,
        theirs: &BTreeMap<FeedId, Row>,
        differing: bool,
    ) -> Result<(), B::Error> {
        let due = self.quiet(now);
        let own = self.own.and_then(|own| self.book.catalog().local(&own));
        let mut sending = Sending::default();
        let mut evidence = Vec::new();
        // If it differs, what follows says so.
        sending.own = Some(self.own_tip());
        for (feed, row) in &self.rows {
            let (theirs, empty) = (theirs.get(feed), Row::empty(*feed));
            if (differing && theirs.is_none()) || theirs == Some(row) {
                continue;
            }
            let theirs = theirs.unwrap_or(&empty);
            if row.evidence().is_some() && row.evidence() != theirs.evidence() {
                evidence.push(*feed);
            }
            if self.own == Some(*feed) {
                sending.own = None;
            }
            let is_forked = row.evidence().is_some() || theirs.evidence().is_some();
            for way in self.book.ways(feed, theirs.tips(), is_forked)? {
                sending.go(&self.book, way, own)?;
            }
        }
        let outrun = self.own.filter(|own| {
            let (theirs, ours) = (theirs.get(own), self.rows.get(own));
            theirs.is_some_and(|theirs| theirs.top() > ours.map_or(0, Row::top))
        });
        if let Some(feed) = outrun {
            self.outrun(feed);
        }
        for feed in evidence {
            self.send_evidence(peer, &feed)?;
        }
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let Sending { ways, own, .. } = sending;
        (session.sending.ways, session.sending.own) = (ways, own);
        session.due = due;
        self.pump(peer)
    }

    pub(super) fn send_evidence(&mut self, to: PublicKey, feed: &FeedId) -> Result<(), B::Error> {
        if let Some([first, second]) = self.book.witnesses(feed)? {
            let (first, second) = (ByteVec::from(first), ByteVec::from(second));
            let message = Message::Evidence { first, second };
            self.outputs.push_back(Output::Send { to, message });
        }
        Ok(())
    }

    /// Sends what is on the ways to be sent, and is synced, as far as there is room.
    pub(super) fn pump(&mut self, peer: PublicKey) -> Result<(), B::Error> {
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
            sending.unacked.push_back((sending.last, bytes));
            sending.bytes += bytes;
            let (header, payload) = (stored.header.into(), stored.payload.into());
            let message = Message::Entry { n: sending.last, header, payload };
            self.outputs.push_back(Output::Send { to: peer, message });
        }
        Ok(())
    }

    fn on_entry(
        &mut self,
        now: Time,
        from: PublicKey,
        n: u64,
        header: &[u8],
        payload: Vec<u8>,
    ) -> Result<(), Broken<B::Error>> {
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        if !session.receiving.begin(n, header.len() + payload.len()) {
            return Err(Fault::Unasked.into());
        }
        if self.is_restless(now, from, header)? {
            self.end(from, n, false);
            return Ok(());
        }
        match self.offer(now, header, payload)? {
            Intake::Taken(id, placed) if placed.is_kept() => {
                self.batch.acks.push((from, n));
                self.foreign = true;
                if let (Some(_), Some(session)) = (placed.evicted(), self.sessions.get_mut(&from)) {
                    *session.changes(now, id.feed) += 1;
                }
            }
            Intake::Known(position) if position > self.synced => self.batch.acks.push((from, n)),
            Intake::Known(_) => self.end(from, n, true),
            Intake::Taken(..) | Intake::Not => self.end(from, n, false),
        }
        Ok(())
    }

    /// Whether a peer changed lanes of a feed so often that it may not do it again: a liar may sign
    /// a branch a moment.
    fn is_restless(
        &mut self,
        now: Time,
        from: PublicKey,
        header: &[u8],
    ) -> Result<bool, Broken<B::Error>> {
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(false) };
        if session.changes.is_empty() {
            return Ok(false);
        }
        let Ok(header) = Header::decode(header) else { return Ok(false) };
        if *session.changes(now, header.feed()) < LANE_CHANGES {
            return Ok(false);
        }
        let judged = self.book.judge(&header).map_err(Broken::Rows)?;
        Ok(judged.is_some_and(|placed| placed.evicted().is_some()))
    }

    /// Says what became of an entry that a peer sent.
    pub(super) fn end(&mut self, from: PublicKey, n: u64, synced: bool) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        session.receiving.end(n, synced);
        while let Some(message) = session.receiving.ack() {
            self.outputs.push_back(Output::Send { to: from, message });
        }
    }

    fn on_ack(
        &mut self,
        now: Time,
        from: PublicKey,
        upto: u64,
        not: &[u64],
    ) -> Result<(), Broken<B::Error>> {
        let soon = now + NEWS + self.chance(NEWS);
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        if !session.sending.acked(upto) {
            return Err(Fault::Unasked.into());
        }
        if !not.is_empty() {
            // What follows would hang in the air. The next rows tell what the peer lacks then.
            session.sending.stop();
            session.due = session.due.min(soon);
        }
        self.pump(from).map_err(Broken::Rows)
    }

    fn on_evidence(&mut self, first: &[u8], second: &[u8]) -> Result<(), Broken<B::Error>> {
        let read = |bytes| Header::decode(bytes).map_err(|_| Fault::Malformed);
        let (first, second) = (read(first)?, read(second)?);
        let is_pair = first.feed() == second.feed()
            && first.number() == second.number()
            && first.hash() < second.hash();
        if !is_pair || first.space() != self.space || second.space() != self.space {
            return Err(Fault::Malformed.into());
        }
        let is_news = self.book.known(&first.feed()).is_some_and(|known| {
            let evidence = known.feed().evidence();
            evidence.is_none_or(|evidence| evidence.number() >= first.number())
        });
        if !is_news {
            return Ok(());
        }
        let verify = |header: Header| header.verify().map_err(|_| Fault::Forged);
        let (first, second) = (verify(first)?, verify(second)?);
        if self.book.note(&first, &second).map_err(Broken::Rows)? {
            self.forked(first.feed());
        }
        Ok(())
    }

    /// The own feed's last entry that is synced, or where it will begin.
    fn own_tip(&self) -> Own {
        let local = self.own.and_then(|own| self.book.catalog().local(&own));
        let row = self.own.and_then(|own| self.rows.get(&own));
        let behind = row.and_then(|row| row.tips().last().copied()).unwrap_or(Tip::ROOT);
        Own { local, behind }
    }

    /// Ends this node's own feed, as somebody has more of it or it is forked.
    pub(super) fn outrun(&mut self, feed: FeedId) {
        if self.own == Some(feed) {
            self.own = None;
            self.outputs.push_back(Output::Outrun { feed });
        }
    }
}
