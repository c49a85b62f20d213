//! A replica of one space: what it takes in, writes, and says to others.
//!
//! # Rules
//!
//! 1. **Intake.** An entry is taken in if it is valid, its author may write, its parent is kept,
//!    all it cites is [settled](super::frontier) and its time has [come](super::time). Else it
//!    isn't taken *now*, which is nobody's fault, and nothing of it is remembered: whoever has it
//!    offers it again. What breaks a rule of validity is its giver's fault, and ends the session.
//! 2. **Writing.** An own entry continues the own feed, which began with this life of the data
//!    folder. Nothing that is signed leaves before it is synced: so a crash can't make an author
//!    fork itself. If a peer shows more of the own feed than is here, the disk is an old copy, and
//!    the next entry begins a new feed. A row suffices for that until something was written since
//!    the replica was opened; later it proves nothing (an old copy would have forked by then), and
//!    only an entry does. So a liar costs an author one feed for each time it starts.
//! 3. **Synced before said.** Entries that are sent, rows, digests and acknowledgements speak of
//!    what is synced, and of nothing else.
//! 4. **Push the own, compare the rest.** An own entry goes to every peer at once that has the ones
//!    before. Of what others wrote a peer is told by a hello, a second or two later: then it mostly
//!    has it from its author, and two digests of 32 bytes show that. So an entry crosses a link
//!    about once, and who isn't connected to its author waits a second or two a hop.
//! 5. **Comparing.** A [hello](super::sync) asks for the other's digest; if digests differ, rows
//!    go both ways, and each sends what the other lacks, in the order in which it took it in.
//!    Without news that happens every 30 to 45 seconds, so what was lost on the way costs time and
//!    nothing else; and at once, if it is [asked for](Input::Compare).
//! 6. **Refused.** Who is told that an entry wasn't taken sends no more of its feed, which would
//!    hang in the air, and compares anew a second or two later. Other feeds go on: what a liar
//!    signed may be refused for long, and holds up nothing else.
//! 7. **A peer's lanes.** Of one feed a peer may replace a branch 16 times a minute, in however
//!    many sessions. An honest peer keeps two branches of any feed, and needs two.
//! 8. **Rebuilding.** Collections that an evicted entry had changed are made anew of those that
//!    are kept: at most every ten seconds, and up to ten minutes apart while that goes on. Till
//!    then they show what they showed, but for what the evicted entry put. Two-way forks, which
//!    accidents make, evict nothing.
//! 9. **A disk that fails** ends all of it: nothing is taken in, written or acknowledged until the
//!    replica is opened anew.
//! 10. **Access.** What is kept of a feed is what the [judge](super::access) says, done in the same
//!     input as what made it say so. Own entries are written by the own grant of the highest rank;
//!     access is changed with an owner's key, if it is here. A feed that stands no more isn't
//!     written any more, and who is granted anew begins another.
//! 11. **Who is told.** In a space that isn't everyone's to read, a peer without a role is sent no
//!     entries and no evidence, and rows only of feeds that it named first. What it sends is taken
//!     like anybody's: entries speak for themselves.
//! 12. **Two authorities.** If first headers of one feed state different authorities, which only a
//!     liar signs, the feed is that of the one that goes [before].
//! 13. **Pinned chains** that aren't kept, as smaller hashes had evicted them or another removal
//!     cut them, are asked for from the pin down. Each entry is named by the one above it, so
//!     nobody has anything staged but what the removal pins; once the chain reaches what is kept,
//!     it is kept too and the removal counts.
//! 14. **Set aside.** Own entries that a judgement drops are set aside, and come back if it is
//!     undone: whoever removed their author may be removed, and then nobody else may have them.
//! 15. **Discarded payloads** are dropped some at a time, and [judged](super::compact) before. What
//!     is alive here stays for ten minutes, as what it is dead by may be on its way. Peers are sent
//!     such entries without payloads, behind all that they lack of owners' own feeds, which says
//!     what is discarded; from who doesn't know that it is, they are taken as they come, and not
//!     with their payloads.
//!
//! The invariants: two replicas whose digests are equal keep the same entries. What was said to be
//! written or acknowledged is kept after every crash, unless a rule on [forks](super::feed) evicts
//! it. All that is kept descends from what is kept. Rows and acknowledgements of a peer change what
//! it is sent, and nothing else.
//!
//! [before]: super::access::Access::authority_of
//!
//! # Who runs it
//!
//! It owns its rows as an [`Overlay`] over a base: it reads the base itself, and puts out changes.
//! The runner writes those, in order, and says when they are synced. A read error of the base is
//! taken like a failed write. One stream a peer carries messages in order.

mod discarding;
mod holding;
mod intake;
mod members;
mod offering;
mod session;
mod staging;
mod types;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    time::Duration,
};

use aether_core::{Hash, Protocol, PublicKey, SecretKey, Time};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub use self::types::{Change, Config, Fault, Input, Offered, Output, WriteError};
use self::{
    discarding::Dropping,
    intake::Broken,
    members::Pen,
    session::{Changes, Sender, Session},
    staging::Stage,
};
use super::{
    access::{Access, Incarnations, Pinned},
    book::Book,
    entry::Header,
    feed::{Feed, Shape},
    frontier::Citing,
    id::{EntryId, FeedId, Position, SpaceId},
    rows::{Base, Overlay},
    space::{Genesis, Mode},
    sync::{Row, digest},
    time::Wall,
};

/// The shortest time from one rebuilding of collections to the next, and the longest.
const CALM: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// What is told once a generation of changes is synced.
#[derive(Clone, Debug, Default)]
struct Batch {
    generation: u64,
    position: Position,
    held: Vec<(EntryId, Position)>,
    written: Vec<(u64, Option<EntryId>)>,
    offered: Vec<(u64, Offered)>,
    /// Entries of peers that are to be acknowledged, and in which session they came.
    acks: Vec<(Sender, u64)>,
    /// Whether others wrote something of it.
    foreign: bool,
    /// Feeds that changed, and those whose evidence did.
    feeds: BTreeSet<FeedId>,
    forked: BTreeSet<FeedId>,
    /// Whether collections show other things than was told of each entry, and whether discarded
    /// payloads are dropped.
    is_rebuilt: bool,
    is_dropped: bool,
    /// Their rows then.
    rows: Vec<Row>,
    /// The last entries that were signed here, by the feeds that they are of.
    own: BTreeMap<FeedId, EntryId>,
}

/// What signs in a space for this node.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The node's own.
    pub own: SecretKey,
    /// That of an owner of the space, if it is here: it signs changes of access, and nothing else.
    /// A key that isn't an owner's is left unused.
    pub owner: Option<SecretKey>,
}

impl From<SecretKey> for Keys {
    fn from(own: SecretKey) -> Self {
        Self { own, owner: None }
    }
}

/// Why a replica can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E> {
    /// The space is of a kind that isn't offered.
    #[error("spaces of mode {0:?} are not offered by this release")]
    Mode(Mode),
    /// The base can't be read.
    #[error("what is stored of the space can't be read")]
    Rows(#[source] E),
}

/// A replica of one space. See the [module](self).
#[derive(Clone, Debug)]
pub struct Replica<B: Base> {
    config: Config,
    genesis: Genesis,
    space: SpaceId,
    rng: ChaCha12Rng,
    book: Book<Overlay<B>>,
    access: Access,
    incarnations: Incarnations,
    /// What was last kept of feeds whose authors were removed.
    pinned: BTreeMap<FeedId, Pinned>,
    /// Entries that removals pin and whose chains aren't kept.
    awaited: BTreeSet<EntryId>,
    /// Entries of such chains that come next.
    staging: BTreeMap<EntryId, Stage>,
    /// What peers showed of feeds that nobody keeps: not checked yet.
    credentials: BTreeMap<FeedId, Header>,
    /// What writes for users of this node.
    own: Pen,
    /// What changes access, if an owner's key is here.
    owner: Option<Pen>,
    citing: Citing,
    sessions: BTreeMap<PublicKey, Session>,
    /// How many sessions there were.
    begun: u64,
    changes: Changes,
    /// What the wall clock showed, and when.
    clock: (Time, Wall),
    /// All that is synced: rows, and up to where.
    rows: BTreeMap<FeedId, Row>,
    synced: Position,
    digest: Option<Hash>,
    /// What this input changed, and what isn't synced yet.
    batch: Batch,
    unsynced: VecDeque<Batch>,
    /// When collections were made anew, and how long at least until they are again.
    rebuilt: (Time, Duration),
    /// When payloads that were discarded are dropped, if any are left.
    dropping: Option<Dropping>,
    failed: bool,
    outputs: VecDeque<Output>,
}

impl<B: Base> Replica<B> {
    /// Opens what a base holds, which is all synced.
    ///
    /// `keys` sign own entries. `own` are the last own entries, as they were written down at an
    /// orderly end of the life before, and none if that life had none: if one is also the last of
    /// its feed that the base holds, and the feed isn't forked, this life goes on with that feed;
    /// else nobody knows what was signed, and the next write begins a new one.
    pub fn open(
        config: Config,
        genesis: Genesis,
        keys: Keys,
        seed: [u8; 32],
        base: B,
        own: impl IntoIterator<Item = EntryId>,
    ) -> Result<Self, OpenError<B::Error>> {
        let access = Access::new(genesis.clone());
        let access = access.map_err(|_| OpenError::Mode(genesis.mode()))?;
        let book = Book::open(Overlay::new(base)).map_err(OpenError::Rows)?;
        let goes_on = |id: &EntryId| {
            let ends = |feed: &Feed| {
                let tips = feed.tips();
                let is_open = matches!(feed.shape(), Shape::Open(_));
                let is_last = matches!(tips[..], [tip] if tip.hash == id.hash);
                is_open && is_last && feed.evidence().is_none()
            };
            book.known(&id.feed).is_some_and(|known| ends(known.feed()))
        };
        let own: BTreeMap<PublicKey, FeedId> =
            own.into_iter().filter(goes_on).map(|id| (id.feed.author, id.feed)).collect();
        let pen = |key: SecretKey| {
            let feed = own.get(&key.public()).copied();
            Pen::new(key, feed)
        };
        let owner = keys.owner.filter(|key| genesis.is_owner(&key.public()));
        let rows = book
            .catalog()
            .feeds()
            .iter()
            .map(|known| (known.id(), Row::of(known.id(), known.feed())));
        let rows: BTreeMap<FeedId, Row> = rows.filter(|(_, row)| !row.is_empty()).collect();
        let mut replica = Self {
            space: genesis.space_id(),
            rng: ChaCha12Rng::from_seed(seed),
            synced: book.last(),
            citing: Citing::default(),
            access,
            incarnations: Incarnations::default(),
            pinned: BTreeMap::new(),
            awaited: BTreeSet::new(),
            staging: BTreeMap::new(),
            credentials: BTreeMap::new(),
            own: pen(keys.own),
            owner: owner.map(pen),
            sessions: BTreeMap::new(),
            begun: 0,
            changes: Changes::default(),
            clock: (Time::ZERO, Wall::default()),
            digest: None,
            batch: Batch::default(),
            unsynced: VecDeque::new(),
            rebuilt: (Time::ZERO, Duration::ZERO),
            dropping: None,
            failed: false,
            outputs: VecDeque::new(),
            config,
            genesis,
            book,
            rows,
        };
        let keys = replica.owner.iter().chain([&replica.own]).map(|pen| pen.key.public());
        replica.book.own(keys.collect::<Vec<_>>());
        if replica.book.is_dropping() {
            replica.dropping = Some(Dropping::begin(Time::ZERO));
        }
        replica.judge_all().map_err(OpenError::Rows)?;
        Ok(replica)
    }

    /// What is kept, synced or not.
    pub const fn book(&self) -> &Book<Overlay<B>> {
        &self.book
    }

    /// The base, to be written by whoever runs the replica: before it is told that a generation is
    /// persisted.
    pub const fn base_mut(&mut self) -> &mut B {
        self.book.rows_mut().base_mut()
    }

    /// The genesis of the space.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The feed that own entries continue, if one was written in this life of the folder.
    pub const fn own(&self) -> Option<FeedId> {
        self.own.feed
    }

    /// Whether the next entry of a feed would be signed here: an own one, or an owner's.
    pub fn continues(&self, feed: &FeedId) -> bool {
        let pens = self.owner.iter().chain([&self.own]);
        pens.into_iter().any(|pen| pen.feed == Some(*feed))
    }

    /// Who may do what in the space.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Up to where all is synced.
    pub const fn synced(&self) -> Position {
        self.synced
    }

    /// Whether all is synced, what was dropped since among it.
    pub fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// What is synced of each feed.
    pub const fn rows(&self) -> &BTreeMap<FeedId, Row> {
        &self.rows
    }

    /// The digest of all that is synced: equal ones mean equal entries.
    pub fn digest(&mut self) -> Hash {
        *self.digest.get_or_insert_with(|| digest(self.rows.values()))
    }

    /// Peers with a session.
    pub fn peers(&self) -> impl Iterator<Item = PublicKey> {
        self.sessions.keys().copied()
    }

    /// Whether a write or a read has failed, so that nothing goes on.
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    fn wall(&self, now: Time) -> Wall {
        let (then, wall) = self.clock;
        let since = u64::try_from(now.since(then).as_millis()).unwrap_or(u64::MAX);
        Wall::from_millis(wall.as_millis().saturating_add(since))
    }

    /// A drawn part of a duration.
    fn chance(&mut self, of: Duration) -> Duration {
        let micros = u64::try_from(of.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.rng.next_u64() % micros)
    }

    /// Makes collections anew of which entries were evicted. A liar brings that about, so it is
    /// done at most every ten seconds, and less often if it doesn't end.
    fn rebuild(&mut self, now: Time) -> Result<(), B::Error> {
        if self.rebuild_due().is_none_or(|due| now < due) {
            return Ok(());
        }
        for collection in self.book.stale().clone() {
            self.book.rebuild(&collection)?;
        }
        self.batch.is_rebuilt = true;
        let (last, gap) = self.rebuilt;
        let is_calm = now.since(last) >= gap * 4;
        let gap = if is_calm { CALM } else { (gap * 2).min(LONGEST) };
        self.rebuilt = (now, gap);
        Ok(())
    }

    fn rebuild_due(&self) -> Option<Time> {
        let (last, gap) = self.rebuilt;
        (!self.book.stale().is_empty()).then_some(last + gap)
    }

    fn fail(&mut self) {
        self.failed = true;
        self.batch = Batch::default();
        for batch in mem::take(&mut self.unsynced) {
            batch.written.into_iter().for_each(|(token, _)| self.refuse_failed(token));
            batch.offered.into_iter().for_each(|(token, _)| self.refuse_failed(token));
        }
        for (peer, _) in mem::take(&mut self.sessions) {
            self.outputs.push_back(Output::Close { peer, fault: None });
        }
    }

    /// Ends an input: what it changed is put out to be written.
    fn seal(&mut self) {
        let (generation, changes) = self.book.rows_mut().seal();
        if changes.is_empty() {
            // There is nothing to wait for but what was changed before.
            let Batch { acks, written, offered, .. } = mem::take(&mut self.batch);
            match self.unsynced.back_mut() {
                Some(last) => {
                    last.acks.extend(acks);
                    last.written.extend(written);
                    last.offered.extend(offered);
                }
                None => {
                    self.written(written);
                    self.offered(offered);
                }
            }
            return;
        }
        let mut batch = mem::take(&mut self.batch);
        (batch.generation, batch.position) = (generation, self.book.last());
        let known = batch.feeds.iter().filter_map(|feed| self.book.known(feed));
        batch.rows = known.map(|known| Row::of(known.id(), known.feed())).collect();
        let own = mem::take(&mut batch.own).into_values().collect();
        self.outputs.push_back(Output::Persist { generation, changes, own });
        self.unsynced.push_back(batch);
    }

    fn written(&mut self, written: Vec<(u64, Option<EntryId>)>) {
        let written = written.into_iter();
        self.outputs.extend(written.map(|(token, id)| Output::Written { token, id }));
    }

    fn persisted(&mut self, now: Time, generation: u64) -> Result<(), B::Error> {
        self.book.rows_mut().settled(generation);
        let mut acks = Vec::new();
        let mut forked = BTreeSet::new();
        let mut foreign = false;
        while self.unsynced.front().is_some_and(|batch| batch.generation <= generation) {
            let Some(batch) = self.unsynced.pop_front() else { break };
            self.synced = batch.position;
            self.digest = None;
            for row in batch.rows {
                match row.is_empty() {
                    true => drop(self.rows.remove(&row.feed())),
                    false => drop(self.rows.insert(row.feed(), row)),
                }
            }
            let held = batch.held.into_iter();
            self.outputs.extend(held.map(|(id, position)| Output::Held { id, position }));
            if batch.is_rebuilt {
                self.outputs.push_back(Output::Rebuilt);
            }
            if batch.is_dropped {
                self.outputs.push_back(Output::Dropped);
            }
            self.written(batch.written);
            self.offered(batch.offered);
            acks.extend(batch.acks);
            forked.extend(batch.forked);
            foreign |= batch.foreign;
        }
        for (sender, n) in &acks {
            self.ended(*sender, *n, true);
        }
        // One acknowledgement for all that one sync made durable.
        for (peer, _) in acks.into_iter().map(|(sender, _)| sender).collect::<BTreeSet<_>>() {
            self.acknowledge(peer);
        }
        for feed in forked {
            self.tell_fork(feed)?;
        }
        if foreign {
            self.news(now);
        }
        for peer in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.pump(peer)?;
        }
        Ok(())
    }

    fn tell_fork(&mut self, feed: FeedId) -> Result<(), B::Error> {
        let Some(evidence) = self.book.evidence(&feed) else { return Ok(()) };
        self.outrun(feed);
        self.outputs.push_back(Output::Forked { feed, evidence });
        for peer in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.send_evidence(peer, &feed)?;
        }
        Ok(())
    }

    fn input(&mut self, now: Time, input: Input) -> Result<(), B::Error> {
        match input {
            Input::Wall(wall) => self.clock = (now, wall),
            Input::Connected { peer, opens } => self.connected(now, peer, opens),
            Input::Disconnected { peer } => drop(self.sessions.remove(&peer)),
            Input::Message { from, bytes } => match self.message(now, from, &bytes) {
                Ok(()) => {}
                Err(Broken::Rows(error)) => return Err(error),
                Err(Broken::Fault(fault)) => {
                    self.sessions.remove(&from);
                    let fault = Some(fault);
                    self.outputs.push_back(Output::Close { peer: from, fault });
                }
            },
            Input::Write { token, draft, cites } => self.write(now, token, draft, &cites)?,
            Input::Edit { token, edits } => self.edit(now, token, &edits)?,
            Input::Change { token, member, change } => self.change(now, token, member, change)?,
            Input::Discard { token, runs } => self.discard_all(now, token, &runs)?,
            Input::Offer { token, records } => self.offer_all(now, token, records)?,
            Input::Compare { peer } => self.compare_soon(now, peer),
            Input::Persisted { generation } => self.persisted(now, generation)?,
            Input::Failed => self.fail(),
            Input::Timeout => {
                self.drop_some(now)?;
                self.rebuild(now)?;
                for peer in self.sessions.keys().copied().collect::<Vec<_>>() {
                    self.tick(now, peer);
                }
            }
        }
        Ok(())
    }
}

impl<B: Base> Protocol for Replica<B> {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        let token = match &input {
            Input::Write { token, .. }
            | Input::Edit { token, .. }
            | Input::Change { token, .. }
            | Input::Discard { token, .. }
            | Input::Offer { token, .. } => Some(*token),
            _ => None,
        };
        match input {
            Input::Wall(_) | Input::Failed => drop(self.input(now, input)),
            Input::Connected { peer, .. } if self.failed => {
                self.outputs.push_back(Output::Close { peer, fault: None });
            }
            _ if self.failed => token.into_iter().for_each(|token| self.refuse_failed(token)),
            _ => match self.input(now, input) {
                Ok(()) => self.seal(),
                Err(error) => {
                    self.outputs.push_back(Output::Unreadable { error: error.to_string() });
                    self.fail();
                    token.into_iter().for_each(|token| self.refuse_failed(token));
                }
            },
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.failed {
            return None;
        }
        let dropping = self.dropping.map(|dropping| dropping.due);
        let sessions = self.sessions.values().map(Session::deadline);
        sessions.chain(self.rebuild_due()).chain(dropping).min()
    }
}

#[cfg(test)]
mod tests;
