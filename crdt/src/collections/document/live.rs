//! A document that is open: in memory, and abreast of what is stored.

use std::collections::{BTreeSet, VecDeque};

use aether_core::{
    Time,
    wire::{Reader, Writer as Bytes},
};
use aether_store::ReadError;

use super::{DocumentError, MergeError, draft::Branch, lanes::Lanes};
use crate::{
    Space,
    driver::Writer,
    proto::{
        book::{self, Counting},
        document::{
            ActorId, Change, ChangeHash,
            body::{Broken, Settings},
            content::TextUnit,
            draft,
            edit::{Edit, EditError},
            op::{read_op, write_op},
            state::{Config, Document, Output, Received},
            template::{self, Template},
            view::View,
            weight::DEFAULT_LIMIT,
        },
        entry::Collection,
        feed::Tip,
        id::{FeedId, Position},
        map::Feeds as _,
        time::Wall,
    },
};

/// Entries that are looked at in a row.
const CHUNK: usize = 256;
/// A file is written when so many bytes of entries came since the last, and as many as it has.
const MIN_NEWS: usize = 64 << 10;
/// Most entries of which a file says that they are to be read again.
const MAX_MISSING: usize = 4096;

/// What a document is, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) collection: Collection,
    pub(super) template: Template,
    pub(super) writer: Writer,
    pub(super) lanes: Lanes,
}

pub(super) struct Live {
    place: Place,
    state: Document,
    /// The lane of our actor.
    lane: u8,
    counting: Counting,
    /// All entries up to here were received.
    at: Position,
    /// Entries with a change that waits, or for which there was no room.
    missing: BTreeSet<Position>,
    is_full: bool,
    /// Whether what the own feed has beyond `at` was written at this desk.
    is_abreast: bool,
    /// What it has there, until it is abreast; and the lane of what it has before.
    own: Vec<(u8, ChangeHash)>,
    own_lane: u8,
    /// Bytes of the last file, and of entries since.
    file: usize,
    news: usize,
    now: Time,
    wall: Wall,
}

impl Live {
    /// Opens what is stored: a file, and the entries since; all of them without one.
    pub(super) fn open(
        place: &Place,
        stored: Option<&[u8]>,
        now: Time,
        wall: Wall,
    ) -> Result<Self, DocumentError> {
        let mut lane = 0;
        loop {
            let mut live = Self::open_in(place.clone(), stored, lane, now, wall)?;
            match live.next_lane()? {
                next if next == lane => {
                    live.is_abreast = true;
                    return Ok(live);
                }
                next => lane = next,
            }
        }
    }

    fn open_in(
        place: Place,
        stored: Option<&[u8]>,
        lane: u8,
        now: Time,
        wall: Wall,
    ) -> Result<Self, DocumentError> {
        let mut live = Self {
            state: Document::asleep(Config::new(Settings {
                actor: actor(&place, lane),
                unit: TextUnit::default(),
                limit: DEFAULT_LIMIT,
            })),
            place,
            lane,
            counting: Counting::default(),
            at: Position::ZERO,
            missing: BTreeSet::new(),
            is_full: false,
            is_abreast: false,
            own: Vec::new(),
            own_lane: 0,
            file: stored.map_or(0, <[u8]>::len),
            news: 0,
            now,
            wall,
        };
        let file = stored.and_then(File::decode);
        if let Some(file) = &file
            && file.feed == live.place.writer.feed
        {
            live.own_lane = file.lane;
        }
        match file.map(|file| live.state.wake(file.document).map(|()| file)) {
            Some(Ok(file)) => {
                live.at = file.at;
                live.missing.extend(file.missing);
                live.receive_missing()?;
            }
            other => {
                if let Some(Err(error)) = other {
                    tracing::warn!(%error, "a document's file is no good: all entries are read");
                }
                live.begin();
            }
        }
        live.catch_up(now)?;
        live.state.settle();
        if live.state.is_awake() { Ok(live) } else { Err(DocumentError::Broken) }
    }

    /// Begins it without a file.
    fn begin(&mut self) {
        self.state.begin();
        self.receive_template();
        self.state.settle();
    }

    fn receive_template(&mut self) {
        let change = self.place.template.change().map(|(_, chunk)| chunk.to_vec());
        if let Some(chunk) = change {
            let received = self.state.receive(self.now, &chunk, &template::ACTOR, |_| true);
            debug_assert_eq!(received, Ok(Received::Taken));
        }
    }

    /// The lane that our edits go on in: the last that we have used, or the one after it, if a
    /// change of ours in that isn't shown and so can't be built on.
    fn next_lane(&mut self) -> Result<u8, DocumentError> {
        let Some(body) = self.state.body() else { return Err(DocumentError::Broken) };
        let lane = |(lane, change): (u8, ChangeHash)| {
            if body.index().contains(&change) { lane } else { lane.saturating_add(1) }
        };
        let own = std::mem::take(&mut self.own);
        let last = own.into_iter().map(lane).fold(self.lane.max(self.own_lane), u8::max);
        Ok(self.place.lanes.go_on(last))
    }

    /// Sets the clock for what is done next.
    pub(super) const fn tick(&mut self, now: Time, wall: Wall) {
        (self.now, self.wall) = (now, wall);
    }

    /// Makes what edits need and readers don't.
    pub(super) fn make_ready(&mut self) {
        self.state.make_ready();
    }

    /// Whether Automerge has panicked.
    pub(super) const fn is_broken(&self) -> bool {
        !self.state.is_awake()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.state.poll_timeout()
    }

    pub(super) fn on_timeout(&mut self) {
        self.state.on_timeout(self.now);
    }

    pub(super) fn flush(&mut self) {
        self.state.flush();
    }

    /// What follows from what was done.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.state.poll_output()
    }

    /// How a change of our own is written, by the actor whose it is.
    pub(super) fn op(&self, by: &ActorId, chunk: &[u8]) -> Vec<u8> {
        let mut lanes = std::iter::once(self.lane).chain(0..=u8::MAX);
        let lane = lanes.find(|lane| actor(&self.place, *lane) == *by);
        write_op(lane.unwrap_or(self.lane), chunk)
    }

    /// A branch of the document, in a lane of its own.
    pub(super) fn draft(&mut self, at: Option<&[ChangeHash]>) -> Result<Branch, DocumentError> {
        if self.is_broken() {
            return Err(DocumentError::Broken);
        }
        let draft = self.state.draft(at);
        let (Some(mut draft), Some(body)) = (draft, self.state.body()) else {
            let broken = self.is_broken();
            return Err(if broken { DocumentError::Broken } else { DocumentError::UnknownVersion });
        };
        let is_whole = |lane| {
            let actor = actor(&self.place, lane);
            draft.written_by(&actor) == body.index().written_by(&actor)
        };
        let lease = self.place.lanes.lease(self.lane, is_whole);
        let lease = lease.ok_or(DocumentError::TooManyDrafts)?;
        let named = draft.write_as(actor(&self.place, lease.lane));
        named.map_err(|_| DocumentError::Broken)?;
        Ok(Branch { draft, lease })
    }

    pub(super) fn merge(&mut self, branch: &mut Branch) -> Result<bool, MergeError> {
        if branch.draft.actor() != actor(&self.place, branch.lease.lane) {
            // This node's feed is another one since.
            return Err(draft::MergeError::Base.into());
        }
        let merged = self.state.merge(self.now, &mut branch.draft);
        Ok(merged.ok_or(DocumentError::Broken)??)
    }

    /// Receives all that is stored and wasn't received.
    pub(super) fn catch_up(&mut self, now: Time) -> Result<(), DocumentError> {
        self.now = now;
        loop {
            let shelf = self.place.space.shelf();
            let some = book::changes(shelf, &self.place.collection, self.at).take(CHUNK);
            let some = some.collect::<Result<Vec<_>, _>>()?;
            for (at, local, tip) in &some {
                self.receive(*at, *local, *tip)?;
                self.at = *at;
            }
            if some.len() < CHUNK {
                break;
            }
        }
        if self.state.waiting() == 0 && !self.is_full {
            self.missing.clear();
        } else if self.state.waiting() == 0 {
            self.is_full = false;
            self.receive_missing()?;
        }
        Ok(())
    }

    fn receive_missing(&mut self) -> Result<(), DocumentError> {
        let missing = std::mem::take(&mut self.missing);
        let shelf = self.place.space.shelf();
        let mut found = VecDeque::new();
        for at in missing {
            let mut from = book::changes(shelf, &self.place.collection, at.before());
            if let Some((there, local, tip)) = from.next().transpose()?
                && there == at
            {
                found.push_back((at, local, tip));
            }
        }
        for (at, local, tip) in found {
            self.receive(at, local, tip)?;
        }
        Ok(())
    }

    fn receive(&mut self, at: Position, local: u32, tip: Tip) -> Result<(), ReadError> {
        let (shelf, names) = (self.place.space.shelf(), self.place.space.names());
        let feed = names.feed(local);
        if self.is_abreast && feed == self.place.writer.feed {
            return Ok(());
        }
        let Some(entry) = book::entry(shelf, local, tip)? else { return Ok(()) };
        if !self.counting.counts(shelf, local, entry.header())? {
            return Ok(());
        }
        self.news += entry.payload().as_bytes().len();
        for (of, op) in entry.payload().ops() {
            let Some((lane, chunk)) = read_op(op).filter(|_| *of == self.place.collection) else {
                continue;
            };
            let actor = ActorId::of(&self.place.space.id(), of, &feed, lane);
            if feed == self.place.writer.feed
                && let Ok(change) = Change::decode(chunk, &actor)
            {
                self.own.push((lane, change.hash));
            }
            match self.state.receive(self.now, chunk, &actor, |_| true) {
                Ok(Received::Waiting) => drop(self.missing.insert(at)),
                Ok(Received::Full) => {
                    self.is_full = true;
                    self.missing.insert(at);
                }
                // What breaks a rule A isn't stored; what is broken is opened anew.
                Ok(Received::Taken | Received::Void(_) | Received::Asleep) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Other entries count than before: makes the document of those that do.
    pub(super) fn recount(&mut self, writer: Writer) -> Result<(), DocumentError> {
        self.place.writer.rebuilt = writer.rebuilt;
        let (shelf, names) = (self.place.space.shelf(), self.place.space.names());
        let (mut counting, mut counted) = (Counting::default(), BTreeSet::new());
        counted.extend(self.place.template.change().map(|(hash, _)| *hash));
        for found in book::changes(shelf, &self.place.collection, Position::ZERO) {
            let (_, local, tip) = found?;
            let Some(entry) = book::entry(shelf, local, tip)? else { continue };
            if !counting.counts(shelf, local, entry.header())? {
                continue;
            }
            for (of, op) in entry.payload().ops() {
                let Some((lane, chunk)) = read_op(op).filter(|_| *of == self.place.collection)
                else {
                    continue;
                };
                let actor = ActorId::of(&self.place.space.id(), of, &names.feed(local), lane);
                counted.extend(Change::decode(chunk, &actor).ok().map(|change| change.hash));
            }
        }
        self.counting = counting;
        self.file = 0;
        self.state.flush();
        // What is ours and isn't stored yet counts.
        let own = actor(&self.place, self.lane);
        let fresh = self.place.lanes.renew();
        let is_own = |hash: &ChangeHash, of: &ActorId| *of == own && !counted.contains(hash);
        let moved = self.state.recount(
            |hash, of| counted.contains(hash) || is_own(hash, of),
            actor(&self.place, fresh),
        );
        if moved {
            self.lane = fresh;
        }
        (self.at, self.is_full) = (Position::ZERO, false);
        self.missing.clear();
        self.catch_up(self.now)?;
        self.state.settle();
        Ok(())
    }

    pub(super) fn edit<T>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError>,
    ) -> Result<T, EditError> {
        let done = self.state.edit(self.now, self.wall, edit);
        done.unwrap_or(Err(EditError::Broken(Broken)))
    }

    pub(super) fn undo(&mut self) -> Result<bool, EditError> {
        self.state.undo(self.now, self.wall).unwrap_or(Ok(false))
    }

    pub(super) fn undo_barrier(&mut self) {
        self.state.undo_barrier();
    }

    pub(super) fn redo(&mut self) -> Result<bool, EditError> {
        self.state.redo(self.now, self.wall).unwrap_or(Ok(false))
    }

    pub(super) fn view<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> Result<T, DocumentError> {
        self.state.view().map(|view| read(&view)).ok_or(DocumentError::Broken)
    }

    pub(super) fn view_at<T>(
        &mut self,
        version: &[ChangeHash],
        read: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, DocumentError> {
        if self.is_broken() {
            return Err(DocumentError::Broken);
        }
        let view = self.state.view_at(version).ok_or(DocumentError::UnknownVersion)?;
        Ok(read(&view))
    }

    pub(super) fn version(&mut self) -> Result<Vec<ChangeHash>, DocumentError> {
        self.state.settle();
        let heads = self.state.body().map(|body| body.heads());
        heads.and_then(Result::ok).ok_or(DocumentError::Broken)
    }

    /// Lets go of the document, and gives its file if that is worth writing.
    pub(super) fn close(mut self) -> Option<Vec<u8>> {
        let is_worth = self.news >= MIN_NEWS.max(self.file) && self.missing.len() <= MAX_MISSING;
        let slept = self.state.sleep().filter(|_| is_worth)?;
        let missing = self.missing.into_iter().collect();
        let (feed, lane) = (self.place.writer.feed, self.place.lanes.last());
        Some(File { at: self.at, feed, lane, missing, document: &slept.file }.encode())
    }

    /// Bytes of entries of our own count as news too.
    pub(super) const fn note(&mut self, bytes: usize) {
        self.news += bytes;
    }

    pub(super) const fn writer(&self) -> Writer {
        self.place.writer
    }
}

fn actor(place: &Place, lane: u8) -> ActorId {
    ActorId::of(&place.space.id(), &place.collection, &place.writer.feed, lane)
}

/// A document's file: version 1.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version |
/// | 8 | position of the last entry that it holds |
/// | 40, 1 | the feed in which edits were written then, and its last lane |
/// | 4, 8 each | positions of entries before that, of which something waits: to be read again |
/// | rest | as [`Document::sleep`] gives it |
struct File<'a> {
    at: Position,
    feed: FeedId,
    lane: u8,
    missing: Vec<Position>,
    document: &'a [u8],
}

impl<'a> File<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Bytes::with_capacity(54 + 8 * self.missing.len() + self.document.len());
        writer.u8(1).u64(self.at.as_number());
        self.feed.write(&mut writer);
        writer.u8(self.lane);
        writer.u32(u32::try_from(self.missing.len()).expect("few entries are missing"));
        for at in &self.missing {
            writer.u64(at.as_number());
        }
        writer.slice(self.document);
        writer.finish()
    }

    /// `None` if it is of another version, or torn.
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.u8().ok()? == 1).then_some(())?;
        let at = Position::from_number(reader.u64().ok()?);
        let (feed, lane) = (FeedId::read(&mut reader).ok()?, reader.u8().ok()?);
        let count = reader.u32().ok()?;
        let missing = (0..count).map(|_| Some(Position::from_number(reader.u64().ok()?)));
        let missing = missing.collect::<Option<_>>()?;
        Some(Self { at, feed, lane, missing, document: reader.rest() })
    }
}
