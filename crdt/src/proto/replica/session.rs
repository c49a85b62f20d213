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
    id::{EntryId, FeedId, Position},
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

/// How far rows of the peer are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Nothing,
    /// Its hello.
    Hello,
    /// All its rows.
    All,
    /// Those that differ.
    Differing,
}

/// A session with one peer.
#[derive(Clone, Debug)]
pub(super) struct Session {
    receiving: Receiving,
    gathered: Gathered,
    awaits: Awaits,
    /// When the peer is told off, if it hasn't said by then what is awaited.
    patience: Time,
    /// When to say hello next.
    pub(super) due: Time,
    sending: Sending,
    /// How often the peer changed lanes of a feed, and since when that is counted.
    changes: BTreeMap<FeedId, (Time, u32)>,
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
    /// The peer has the own feed up to here, so what is written is sent at once.
    own: Option<Walker>,
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
    fn go<R: Rows>(&mut self, book: &Book<R>, way: Walker, own: Option<u32>) -> Result<(), R::Error> {
        match book.step(&way)? {
            Some((position, next)) => {
                self.ways.insert(position, next);
            }
            None if Some(way.local()) == own => self.own = Some(way),
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
            gathered: Gathered::default(),
            awaits: Awaits::Nothing,
            patience: Time::MAX,
            due: now + QUIET,
            sending: Sending::default(),
            changes: BTreeMap::new(),
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Time {
        if self.awaits == Awaits::Nothing { self.due } else { self.patience }
    }

    fn awaits(&mut self, now: Time, what: Awaits) {
        self.awaits = what;
        self.patience = now + PATIENCE;
    }

    /// Whether entries are on their way, either way.
    fn is_busy(&self) -> bool {
        let idle = self.sending.ways.is_empty() && self.sending.unacked.is_empty();
        !idle || self.receiving.open() > 0
    }

    /// Whether the peer changed lanes of the feed as often as it may; counts one more.
    fn is_restless(&mut self, now: Time, feed: FeedId) -> bool {
        let (since, count) = self.changes.entry(feed).or_insert((now, 0));
        if now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count > LANE_CHANGES
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
        let due = self.quiet(now);
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.awaits(now, Awaits::Hello);
        session.due = due;
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
        if session.awaits != Awaits::Nothing {
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
                self.on_hello(now, from, asks, Hash::from_bytes(digest.into()));
                Ok(())
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

    fn on_hello(&mut self, now: Time, from: PublicKey, asks: bool, theirs: Hash) {
        let is_equal = self.digest() == theirs;
        let due = self.quiet(now);
        let own = self.own_tip();
        if asks {
            let message = self.greeting(false);
            self.outputs.push_back(Output::Send { to: from, message });
        }
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if is_equal {
            session.due = due;
            session.awaits = Awaits::Nothing;
            if session.sending.ways.is_empty() {
                session.sending.own = own;
            }
        } else if asks {
            session.awaits(now, Awaits::Differing);
            let rows: Vec<Row> = self.rows.values().cloned().collect();
            self.say_rows(from, false, &rows);
        } else if session.awaits == Awaits::Hello {
            session.awaits(now, Awaits::All);
        }
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
        let expected = if differing { Awaits::Differing } else { Awaits::All };
        // Both may have asked at once: whoever was told all of it needs no more.
        let is_crossed = !differing && session.awaits == Awaits::Differing;
        if (session.awaits != expected && !is_crossed) || !session.gathered.extend(rows, max) {
            return Err(Fault::Unasked.into());
        }
        session.patience = now + PATIENCE;
        if !last {
            return Ok(());
        }
        session.awaits = Awaits::Nothing;
        let theirs: BTreeMap<FeedId, Row> =
            session.gathered.take().into_iter().map(|row| (row.feed(), row)).collect();
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
        let own = self.own.and_then(|own| self.book.local(&own));
        let mut sending = Sending::default();
        let mut evidence = Vec::new();
        if differing {
            sending.own = self.own_tip();
        }
        for (feed, row) in &self.rows {
            let (theirs, empty) = (theirs.get(feed), Row::empty(*feed));
            if (differing && theirs.is_none()) || theirs == Some(row) {
                if self.own == Some(*feed) {
                    sending.own = self.own_tip();
                }
                continue;
            }
            let theirs = theirs.unwrap_or(&empty);
            if row.evidence().is_some() && row.evidence() != theirs.evidence() {
                evidence.push(*feed);
            }
            if self.own == Some(*feed) {
                sending.own = None;
            }
            for way in self.book.ways(feed, theirs.tips())? {
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
        let own = self.own.and_then(|own| self.book.local(&own));
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let sending = &mut session.sending;
        if let Some(way) = sending.own.take() {
            // A new incarnation begins where there is nothing.
            let way = match own {
                Some(own) if own != way.local() => Walker::new(own, crate::proto::feed::Tip::ROOT, 0),
                _ => way,
            };
            sending.go(&self.book, way, own)?;
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
            Intake::Taken(taken) if taken.placed.is_kept() => {
                self.batch.acks.push((from, n));
                self.foreign = true;
            }
            Intake::Known(position) if position > self.synced => self.batch.acks.push((from, n)),
            Intake::Known(_) => self.end(from, n, true),
            Intake::Taken(_) | Intake::Not => self.end(from, n, false),
        }
        Ok(())
    }

    /// Whether a peer would change lanes of a feed too often: a liar may sign a branch a moment.
    fn is_restless(
        &mut self,
        now: Time,
        from: PublicKey,
        header: &[u8],
    ) -> Result<bool, Broken<B::Error>> {
        let Ok(header) = Header::decode(header) else { return Ok(false) };
        let judged = self.book.judge(&header).map_err(Broken::Rows)?;
        if judged.is_none_or(|placed| placed.evicted().is_none()) {
            return Ok(false);
        }
        let session = self.sessions.get_mut(&from);
        Ok(session.is_some_and(|session| session.is_restless(now, header.feed())))
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
    fn own_tip(&self) -> Option<Walker> {
        let own = self.own?;
        let local = self.book.local(&own)?;
        let tip = self.rows.get(&own).and_then(|row| row.tips().last().copied());
        Some(Walker::new(local, tip.unwrap_or(crate::proto::feed::Tip::ROOT), 0))
    }

    /// Ends this node's own feed, as somebody has more of it or it is forked.
    pub(super) fn outrun(&mut self, feed: FeedId) {
        if self.own == Some(feed) {
            self.own = None;
            self.outputs.push_back(Output::Outrun { feed });
        }
    }
}

