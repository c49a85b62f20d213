//! One document in memory: Automerge's, and the [index] that says what may enter it.
//!
//! Automerge is the state; the index is the judge. The invariants are
//!
//! > whatever is in the document obeys rules A and B, changes of others and our own alike;
//! >
//! > a document that was saved can be loaded, and has the same heads and values;
//! >
//! > a panic inside Automerge ends this body ([`Broken`]) and nothing else: what is known of the
//! > document's changes makes a new one.
//!
//! The index may be ahead: a change of another is judged when it comes ([`Body::take`]) and applied
//! with others of its time ([`Body::apply`]), since Automerge walks each object that a batch
//! touches from end to end. A verdict looks at a change's closure only, so it doesn't matter to our
//! own change, which is made meanwhile on what is applied.
//!
//! Own edits are pending operations of an open transaction: shown at once, and one change when they
//! are [committed](Body::commit). Calls are remembered until then: Automerge takes back a whole
//! transaction or nothing, so an edit that fails halfway is taken back with what was pending, and
//! that is done again. On the same document the same calls make the same operations.
//!
//! [index]: super::Index

mod fork;
mod known;
mod open;
mod pending;
mod told;
mod types;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use aether_core::{Domain, wire::Writer};
use automerge::{
    Automerge, LoadOptions, ReadDoc,
    transaction::{CommitOptions, OwnedTransaction},
};

use known::Known;
use pending::Pending;
pub use types::{Broken, CommitError, Committed, LoadError, Refused, Settings};

pub(super) use pending::{Call, Mark as Savepoint, Room};
use told::{Before, Touched};

use super::{
    ActorId, Change, ChangeHash, MAX_TIME,
    patch::Patch,
    view::{Source, View},
};
use crate::proto::{
    entry::Collection,
    id::{FeedId, SpaceId},
};

const ACTOR: Domain = Domain::new("aether 2026-11 document actor v1");

impl ActorId {
    /// The actor of a lane (A5): the first 16 bytes of BLAKE3, context `aether 2026-11 document
    /// actor v1`, of space, document, feed and lane. So nobody writes under another's actor, and a
    /// restored backup, which is another incarnation, never repeats its own number.
    pub fn of(space: &SpaceId, document: &Collection, feed: &FeedId, lane: u8) -> Self {
        let mut writer = Writer::with_capacity(SpaceId::LEN + 16 + FeedId::LEN + 1);
        writer.array(space.as_hash().as_bytes()).array(document.id());
        feed.write(&mut writer);
        writer.u8(lane);
        let hash = ACTOR.hash(&writer.finish());
        Self(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

enum Core {
    Idle(Box<Automerge>),
    Open(Box<OwnedTransaction>),
    Broken,
}

/// A document in memory. See the [module](self) for what it promises.
pub struct Body {
    settings: Settings,
    core: Core,
    known: OnceLock<Result<Known, Broken>>,
    /// What is in the index and not in the document yet.
    taken: Vec<automerge::Change>,
    /// Where what is taken writes.
    touched: Touched,
    /// Number of the last operation of what is taken.
    taken_op: u32,
    pending: Pending,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("actor", &self.settings.actor).finish_non_exhaustive()
    }
}

/// Calls Automerge.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Broken> {
    // What the call may leave half done is dropped by who gets the error.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Broken)
}

fn theirs(hash: &ChangeHash) -> automerge::ChangeHash {
    automerge::ChangeHash(hash.0)
}

impl Body {
    /// An empty document.
    pub fn new(settings: Settings) -> Self {
        let document = Automerge::new_with_encoding(settings.unit.to_automerge());
        let document = document.with_actor(settings.actor.0.into());
        Self {
            settings,
            core: Core::Idle(Box::new(document)),
            known: Ok(Known::default()).into(),
            taken: Vec::new(),
            touched: Touched::default(),
            taken_op: 0,
            pending: Pending::default(),
        }
    }

    /// Opens what [`save`](Self::save) wrote, which must be a file of our own: a stranger's may
    /// need any amount of time and memory.
    ///
    /// Takes a load of Automerge's. The [index](Self::index) is made of what was loaded when it is
    /// first asked for, or [before](Self::make_ready).
    pub fn load(bytes: &[u8], settings: Settings) -> Result<Self, LoadError> {
        let options = LoadOptions::new().text_encoding(settings.unit.to_automerge());
        let loaded = guarded(|| {
            let mut document = Automerge::load_with_options(bytes, options).ok()?;
            // Loading draws an actor.
            document.set_actor(settings.actor.0.into());
            Some(document)
        });
        let document = loaded.ok().flatten().ok_or(LoadError)?;
        Ok(Self::of(document, settings))
    }

    /// A document of which nothing is known yet.
    fn of(document: Automerge, settings: Settings) -> Self {
        let core = Core::Idle(Box::new(document));
        Self { core, known: OnceLock::new(), ..Self::new(settings) }
    }

    /// What it was opened with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many operations are pending.
    pub fn pending(&self) -> usize {
        self.pending.operations()
    }

    /// How many bytes of values and keys are pending.
    pub const fn pending_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// How many changes are taken and not applied.
    pub const fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Whether Automerge panicked, or a file held what no body has written.
    pub fn is_broken(&self) -> bool {
        matches!(self.core, Core::Broken) || matches!(self.known.get(), Some(Err(Broken)))
    }

    /// Judges a change by rules A and B, and takes it if it obeys them. It is shown after the next
    /// [`apply`](Self::apply). One that is there already is taken as well, without effect.
    ///
    /// `covers` says of a dependency whether it lies in the past of the entry that carries the
    /// change: see [`Index::judge`](super::Index::judge).
    pub fn take(
        &mut self,
        bytes: &[u8],
        actor: &ActorId,
        covers: impl Fn(&ChangeHash) -> bool,
    ) -> Result<ChangeHash, Refused> {
        let (change, last_op) = self.judge(bytes, actor, self.settings.limit, covers)?;
        if let Some(last_op) = last_op {
            self.taken_op = self.taken_op.max(last_op);
            self.touched.add(&change);
            // It is canonical, so Automerge reads it; if not, the document lacks what the index
            // has, and is no good.
            match guarded(|| automerge::Change::try_from(bytes)) {
                Ok(Ok(change)) => self.taken.push(change),
                _ => self.core = Core::Broken,
            }
        }
        Ok(change.hash)
    }

    /// Returns the change, and the number of its last operation if it is new.
    fn judge<'b>(
        &mut self,
        bytes: &'b [u8],
        actor: &ActorId,
        limit: u64,
        covers: impl Fn(&ChangeHash) -> bool,
    ) -> Result<(Change<'b>, Option<u32>), Refused> {
        let change = Change::decode(bytes, actor).map_err(Refused::Malformed)?;
        let index = &mut self.known_mut().map_err(Refused::Broken)?.index;
        let last_op = index.take(&change, limit, covers).map_err(Refused::Void)?;
        Ok((change, last_op))
    }

    /// Applies what was taken, and says what became different in what is shown.
    ///
    /// # Panics
    /// If own edits are pending: commit them first.
    pub fn apply(&mut self) -> Result<Vec<Patch>, Broken> {
        if self.taken.is_empty() {
            return if self.is_broken() { Err(Broken) } else { Ok(Vec::new()) };
        }
        let changes = std::mem::take(&mut self.taken);
        let touched = std::mem::take(&mut self.touched);
        let before = Before::of(self, touched)?;
        let mut document = self.idle()?;
        guarded(|| document.apply_changes(changes))?.map_err(|_| Broken)?;
        self.core = Core::Idle(document);
        let taken = std::mem::take(&mut self.taken_op);
        self.known_mut()?.reach(taken);
        before.tell(self)
    }

    /// What became different since another body was this document.
    ///
    /// # Panics
    /// If something is taken and not applied.
    pub fn differences(&self, earlier: &Self) -> Result<Vec<Patch>, Broken> {
        assert!(self.taken.is_empty(), "something is taken and not applied");
        let before = earlier.view()?;
        let touched = told::everywhere(&before, &self.view()?)?;
        Before::in_view(&before, touched)?.tell(self)
    }

    /// Takes the document out: it is broken unless it is put back.
    fn idle(&mut self) -> Result<Box<Automerge>, Broken> {
        match std::mem::replace(&mut self.core, Core::Broken) {
            Core::Idle(document) => Ok(document),
            Core::Broken => Err(Broken),
            Core::Open(_) => panic!("own edits are pending"),
        }
    }

    /// Makes one change of what is pending; `None` if nothing is. `time` is in seconds since the
    /// Unix epoch.
    ///
    /// The change is held against rules A and B as others' are. If it breaks one, which edits see
    /// to that it doesn't, it is taken back and with it all that was pending; that costs as much as
    /// applying all changes of the document anew.
    pub fn commit(&mut self, time: u64) -> Result<Option<Committed>, CommitError> {
        match &self.core {
            Core::Broken => return Err(Broken.into()),
            Core::Idle(_) => return Ok(None),
            Core::Open(_) => self.pending = Pending::default(),
        }
        let last = MAX_TIME.unsigned_abs() - 1;
        let options = CommitOptions::default().with_time(time.min(last).cast_signed());
        let tx = self.close()?;
        let (document, change) = guarded(|| {
            let (document, hash, _) = tx.commit_with(options);
            let change = hash.and_then(|hash| document.get_change_by_hash(&hash));
            (Box::new(document), change)
        })?;
        let Some(change) = change else {
            self.core = Core::Idle(document);
            return Ok(None);
        };
        let Settings { actor, limit, .. } = self.settings;
        match self.judge(change.raw_bytes(), &actor, limit, |_| true) {
            Ok((own, last_op)) => {
                let hash = own.hash;
                self.core = Core::Idle(document);
                self.known_mut()?.reach(last_op.unwrap_or(0));
                Ok(Some(Committed { hash, bytes: change.raw_bytes().to_vec() }))
            }
            Err(refused) => {
                self.core = Core::Idle(self.without(&document, &change)?);
                Err(CommitError::Refused(refused))
            }
        }
    }

    /// Takes the open transaction out: the body is broken unless something is put back.
    fn close(&mut self) -> Result<OwnedTransaction, Broken> {
        match std::mem::replace(&mut self.core, Core::Broken) {
            Core::Open(tx) => Ok(*tx),
            Core::Idle(_) | Core::Broken => Err(Broken),
        }
    }

    /// The document without its last change.
    fn without(
        &self,
        document: &Automerge,
        last: &automerge::Change,
    ) -> Result<Box<Automerge>, Broken> {
        let changes = guarded(|| document.get_changes(&[]))?;
        let hash = last.hash();
        let mut fresh = Automerge::new_with_encoding(self.settings.unit.to_automerge())
            .with_actor(self.settings.actor.0.into());
        let kept: Vec<_> = changes.into_iter().filter(|change| change.hash() != hash).collect();
        guarded(|| fresh.apply_changes(kept))?.map_err(|_| Broken)?;
        Ok(Box::new(fresh))
    }

    /// The file of the document, for [`load`](Self::load). Documents with equal heads may have
    /// different files: compare [heads](Self::heads).
    ///
    /// # Panics
    /// If own edits are pending, or something is taken and not applied.
    pub fn save(&mut self) -> Result<Vec<u8>, Broken> {
        assert!(self.taken.is_empty(), "something is taken and not applied");
        let document = self.idle()?;
        let bytes = guarded(|| document.save())?;
        self.core = Core::Idle(document);
        Ok(bytes)
    }

    /// All changes in it with their actors, each behind those it builds on, without those only
    /// taken. Costs as much as encoding all of them.
    ///
    /// # Panics
    /// If own edits are pending.
    pub fn changes(&mut self) -> Result<Vec<(ActorId, Committed)>, Broken> {
        let document = self.idle()?;
        let changes = guarded(|| document.get_changes(&[]))?;
        self.core = Core::Idle(document);
        let own = |change: automerge::Change| {
            let actor = ActorId(change.actor_id().to_bytes().try_into().ok()?);
            let (hash, bytes) = (ChangeHash(change.hash().0), change.raw_bytes().to_vec());
            Some((actor, Committed { hash, bytes }))
        };
        // What was taken has actors of sixteen bytes (A1).
        Ok(changes.into_iter().filter_map(own).collect())
    }

    /// The changes on which no other builds, ascending; what is only taken is not among them.
    pub fn heads(&self) -> Result<Vec<ChangeHash>, Broken> {
        let heads = match &self.core {
            Core::Idle(document) => guarded(|| document.get_heads())?,
            Core::Open(tx) => guarded(|| tx.get_heads())?,
            Core::Broken => return Err(Broken),
        };
        let mut heads: Vec<_> = heads.iter().map(|head| ChangeHash(head.0)).collect();
        heads.sort_unstable();
        Ok(heads)
    }

    /// The document as it is shown, with pending edits.
    pub fn view(&self) -> Result<View<'_>, Broken> {
        Ok(View::new(self.source()?, self, None))
    }

    pub(super) const fn source(&self) -> Result<Source<'_>, Broken> {
        match &self.core {
            Core::Idle(document) => Ok(Source::Document(document)),
            Core::Open(tx) => Ok(Source::Open(tx)),
            Core::Broken => Err(Broken),
        }
    }

    /// A name of what is shown now, which is another one after each edit.
    pub(super) fn version(&self) -> Vec<automerge::ChangeHash> {
        let heads = self.heads().unwrap_or_default().into_iter();
        let mut version: Vec<_> = heads.map(|head| automerge::ChangeHash(head.0)).collect();
        if self.pending() > 0 {
            let mut pending = [0; 32];
            pending[28..].copy_from_slice(&self.next_op().counter.to_be_bytes());
            version.push(automerge::ChangeHash(pending));
        }
        version
    }

    /// The document as it was at these heads; `None` if one isn't a change of it.
    ///
    /// # Panics
    /// If own edits are pending: commit them first.
    pub fn view_at<'a>(&'a self, heads: &[ChangeHash]) -> Result<Option<View<'a>>, Broken> {
        let document = match &self.core {
            Core::Idle(document) => document,
            Core::Broken => return Err(Broken),
            Core::Open(_) => panic!("own edits are pending"),
        };
        let heads: Vec<_> = heads.iter().map(theirs).collect();
        let known = |hash| document.get_change_meta_by_hash(hash).is_some();
        if !guarded(|| heads.iter().all(known))? {
            return Ok(None);
        }
        Ok(Some(View::new(Source::Document(document), self, Some(heads))))
    }
}

#[cfg(test)]
mod tests;
