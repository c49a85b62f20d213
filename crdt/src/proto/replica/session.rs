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
    feed::{Evidence, Tip},
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

/// How often a hello is put off, a second each, while entries are on their way.
const PUT_OFF: u8 = 8;

/// A peer in one session with it: what came in another isn't acknowledged in this one.
pub(super) type Sender = (PublicKey, u64);

/// How often each peer changed lanes of a feed, and since when that is counted. Some 120 bytes for
/// each pair of which that was so in the last minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(BTreeMap<(PublicKey, FeedId), (Time, u32)>);

impl Changes {
    fn count(&mut self, now: Time, peer: PublicKey, feed: FeedId) {
        self.0.retain(|_, (since, _)| now.since(*since) < MINUTE);
        let (_, count) = self.0.entry((peer, feed)).or_insert((now, 0));
        *count += 1;
    }

    /// Whether a peer did it so often that it may not do it again.
    fn is_spent(&self, now: Time, peer: PublicKey, feed: FeedId) -> bool {
        let found = self.0.get(&(peer, feed));
        found.is_some_and(|(since, count)| now.since(*since) < MINUTE && *count >= LANE_CHANGES)
    }
}

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
    /// Which of all the replica ever had.
    number: u64,
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
    /// How often that was put off.
    put_off: u8,
    sending: Sending,
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
    /// Number, bytes and feed.
    unacked: VecDeque<(u64, usize, u32)>,
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

    /// Sends no more of a feed.
    fn stop(&mut self, local: u32) {
        self.ways.retain(|_, way| way.local() != local);
        self.own = self.own.filter(|own| own.local != Some(local));
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

    /// Takes an acknowledgement. `false` if it is of what wasn't sent.
    fn acked(&mut self, upto: u64, not: &[u64]) -> bool {
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

impl Session {
    fn new(now: Time, number: u64) -> Self {
        Self {
            number,
            receiving: Receiving::default(),
            asked: Asked::Nothing,
            all: Gathered::default(),
            told: false,
            differing: Gathered::default(),
            patience: Time::MAX,
            due: now + QUIET,
            put_off: 0,
            sending: Sending::default(),
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
}

impl<B: Base> Replica<B> {
    pub(super) fn connected(&mut self, now: Time, peer: PublicKey, opens: bool) {
        let is_room = self.sessions.len() < self.config.max_sessions;
        if !is_room && !self.sessions.contains_key(&peer) {
            self.outputs.push_back(Output::Close { peer, fault: None });
            return;
        }
        self.begun += 1;
        self.sessions.insert(peer, Session::new(now, self.begun));
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
        session.put_off = 0;
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
        } else if session.is_busy() && session.put_off < PUT_OFF {
            // What is on its way would be compared as lacking, and sent twice.
            session.put_off += 1;
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
            if self.has_written {
                return false;
            }
            let (theirs, ours) = (theirs.get(own), self.rows.get(own));
            theirs.is_some_and(|theirs| theirs.top() > ours.map_or(0, Row::top))
        });
        if let Some(feed) = outrun {
            self.outrun(feed);
            sending.own = Some(self.own_tip());
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
            sending.unacked.push_back((sending.last, bytes, way.local()));
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
        if !session.receiving.begin(n, header.len().saturating_add(payload.len())) {
            return Err(Fault::Unasked.into());
        }
        let sender = (from, session.number);
        if self.is_restless(now, from, header)? {
            self.end(sender, n, false);
            return Ok(());
        }
        match self.offer(now, header, payload)? {
            Intake::Taken(id, placed) if placed.is_kept() => {
                self.batch.acks.push((sender, n));
                self.batch.foreign = true;
                // This node's own hand, and not from its disk.
                self.outrun(id.feed);
                if placed.evicted().is_some() {
                    self.changes.count(now, from, id.feed);
                }
            }
            Intake::Known(position) if position > self.synced => {
                self.batch.acks.push((sender, n));
            }
            Intake::Known(_) => self.end(sender, n, true),
            Intake::Taken(..) | Intake::Not => self.end(sender, n, false),
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
        if self.changes.0.is_empty() {
            return Ok(false);
        }
        let Ok(header) = Header::decode(header) else { return Ok(false) };
        if !self.changes.is_spent(now, from, header.feed()) {
            return Ok(false);
        }
        let judged = self.book.judge(&header).map_err(Broken::Rows)?;
        Ok(judged.is_some_and(|placed| placed.evicted().is_some()))
    }

    /// Says what became of an entry that a peer sent.
    pub(super) fn end(&mut self, (from, number): Sender, n: u64, synced: bool) {
        self.ended((from, number), n, synced);
        self.acknowledge(from);
    }

    /// Notes what became of an entry that a peer sent.
    pub(super) fn ended(&mut self, (from, number): Sender, n: u64, synced: bool) {
        let session = self.sessions.get_mut(&from).filter(|session| session.number == number);
        if let Some(session) = session {
            session.receiving.end(n, synced);
        }
    }

    /// Says what became of entries, as far as that is known.
    pub(super) fn acknowledge(&mut self, from: PublicKey) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
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
        if !session.sending.acked(upto, not) {
            return Err(Fault::Unasked.into());
        }
        if !not.is_empty() {
            // The next rows tell what the peer lacks then.
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
        let tip = |header: &Header| Tip { number: header.number(), hash: header.hash() };
        let Some(shown) = Evidence::of(tip(&first), tip(&second)) else { return Ok(()) };
        let is_news = self.book.known(&first.feed()).is_some_and(|known| {
            let evidence = known.feed().evidence();
            evidence.is_none_or(|evidence| evidence.join(shown) != evidence)
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
            // Of the feed that comes next there is nothing before, so everybody is sent it.
            let own = self.own_tip();
            self.sessions.values_mut().for_each(|session| session.sending.own = Some(own));
            self.outputs.push_back(Output::Outrun { feed });
        }
    }
}
