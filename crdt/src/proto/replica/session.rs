//! Sessions: what is said to one peer, and what it is sent. See rules 3 to 6 of the
//! [module](super).

mod receiving;
mod sending;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aether_core::{Hash, PublicKey, Time};
use minicbor::bytes::{ByteArray, ByteVec};

pub(super) use self::receiving::Changes;
use self::sending::{Own, Sending};
use super::{
    Replica,
    intake::Broken,
    types::{Fault, Output},
};
use crate::proto::{
    id::FeedId,
    map::Feeds as _,
    rows::Base,
    sync::{Gathered, MAX_ROWS, Message, Receiving, Row, read_rows, write_rows},
};

/// How long after news of others a peer is told, and as long again by chance: most have it from the
/// author by then.
const NEWS: Duration = Duration::from_secs(1);
/// How long two replicas that heard nothing new don't compare, and half as long again by chance.
const QUIET: Duration = Duration::from_secs(30);
/// How long a peer may take to answer a hello.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a hello is put off, a second each, while entries are on their way.
const PUT_OFF: u8 = 8;

/// A peer in one session with it: what came in another isn't acknowledged in this one.
pub(super) type Sender = (PublicKey, u64);

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
    /// Up to where the own feed went when it was told that.
    said: Option<Own>,
    differing: Gathered,
    /// When the session ends, if the peer hasn't answered by then.
    patience: Time,
    /// When to say hello next.
    pub(super) due: Time,
    /// How often that was put off.
    put_off: u8,
    sending: Sending,
    /// Whether the peer is told what is in the space.
    may_read: bool,
}

impl Session {
    fn new(now: Time, number: u64, may_read: bool) -> Self {
        Self {
            number,
            may_read,
            receiving: Receiving::default(),
            asked: Asked::Nothing,
            all: Gathered::default(),
            told: false,
            said: None,
            differing: Gathered::default(),
            patience: Time::MAX,
            due: now + QUIET,
            put_off: 0,
            sending: Sending::default(),
        }
    }

    /// Whether the peer is told what is in the space, from now on.
    pub(super) fn admit(&mut self, may_read: bool) {
        if may_read && !self.may_read {
            // It is told at once.
            self.due = Time::ZERO;
        }
        if !may_read {
            self.sending.end();
        }
        self.may_read = may_read;
    }

    /// The peer has the own feed up to here, and is sent what follows.
    fn goes_on(&mut self, own: Own) {
        if self.may_read {
            self.sending.own = Some(own);
        }
    }

    /// Whether the peer said that it holds the own feed up to this number.
    pub(super) const fn has(&self, number: u64) -> bool {
        number <= self.sending.has
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
        let may_read = self.may_read(&peer);
        self.sessions.insert(peer, Session::new(now, self.begun, may_read));
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
            Message::Ask { entry, floor } => {
                self.on_ask(from, &entry.into(), floor).map_err(Broken::Rows)
            }
            Message::Credential { header } => self.on_credential(&header),
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
            session.sending.has = session.sending.has.max(own.behind.number);
            if session.sending.ways.is_empty() {
                session.goes_on(own);
            }
        }
        if let Some(message) = greeting {
            if session.told {
                // One comparison at a time.
                return Err(Fault::Unasked.into());
            }
            session.told = !is_equal;
            session.said = Some(own);
            session.patience = now + PATIENCE;
            self.outputs.push_back(Output::Send { to: from, message });
            if !is_equal {
                let rows =
                    if session.may_read { self.rows.values().cloned().collect() } else { vec![] };
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
            let ours = self.differing(&theirs, self.may_read(&from));
            self.say_rows(from, true, &ours);
        }
        self.compare(now, from, &theirs, differing).map_err(Broken::Rows)
    }

    /// The rows that differ from all those of a peer; those of feeds that only the peer has are
    /// empty. Who may not read learns of no feed that it didn't name.
    fn differing(&self, theirs: &BTreeMap<FeedId, Row>, may_read: bool) -> Vec<Row> {
        let ours = self.rows.keys().filter(|_| may_read);
        let feeds: BTreeSet<&FeedId> = ours.chain(theirs.keys()).collect();
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
        let own = self.own.feed.and_then(|own| self.book.catalog().local(&own));
        let may_read = self.may_read(&peer);
        let mut sending = Sending::default();
        let mut evidence = Vec::new();
        // What the peer compared is what it was told, and more may have been written since. If it
        // differs, what follows says so.
        let said = self.sessions.get(&peer).and_then(|session| session.said);
        let said = said.filter(|_| differing).unwrap_or(self.own_tip());
        sending.own = Some(said);
        let named = self.own.feed.and_then(|own| theirs.get(&own));
        let has = named.map_or(if differing { said.behind.number } else { 0 }, Row::top);
        for (feed, row) in self.rows.iter().filter(|_| may_read) {
            let (theirs, empty) = (theirs.get(feed), Row::empty(*feed));
            if (differing && theirs.is_none()) || theirs == Some(row) {
                continue;
            }
            let theirs = theirs.unwrap_or(&empty);
            if row.evidence().is_some() && row.evidence() != theirs.evidence() {
                evidence.push(*feed);
            }
            if self.own.feed == Some(*feed) {
                sending.own = None;
            }
            let is_forked = row.evidence().is_some() || theirs.evidence().is_some();
            for way in self.book.ways(feed, theirs.tips(), is_forked)? {
                sending.go(&self.book, way, own)?;
            }
        }
        for feed in self.outrun_by(theirs) {
            self.outrun(feed);
            sending.own = Some(self.own_tip());
        }
        for feed in evidence {
            self.send_evidence(peer, &feed)?;
        }
        self.ask(peer, theirs)?;
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let Sending { ways, own, .. } = sending;
        (session.sending.ways, session.sending.own) = (ways, own.filter(|_| may_read));
        session.sending.has = session.sending.has.max(has);
        session.due = due;
        self.pump(peer)
    }

    /// The feeds signed here of which a peer shows more, though this life has signed nothing yet.
    fn outrun_by(&self, theirs: &BTreeMap<FeedId, Row>) -> Vec<FeedId> {
        let pens = self.owner.iter().chain([&self.own]).filter(|pen| !pen.has_written);
        let is_ahead = |feed: &FeedId| {
            let (theirs, ours) = (theirs.get(feed), self.rows.get(feed));
            theirs.is_some_and(|theirs| theirs.top() > ours.map_or(0, Row::top))
        };
        pens.filter_map(|pen| pen.feed).filter(is_ahead).collect()
    }
}
