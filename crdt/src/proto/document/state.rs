//! One document's life: edits become few changes, changes of others are applied in few batches, and
//! what was applied is taken out again if its entry stops counting.
//!
//! ```text
//!            wake                    set_aside
//! asleep ------------> awake ----------------------> awake, rebuilt
//!    ^                   | |
//!    +------ sleep ------+ +--- Automerge panics --> asleep
//! ```
//!
//! - **Edits** are shown at once and pending until the *flush*: [`Config::coalesce`] after the
//!   first of them, or when they are many, or before changes of others are applied. The flush makes
//!   one change of them, for the feed.
//! - **Changes of others** are judged when they come. What builds on something that isn't there
//!   waits. What obeys the rules is applied with others of its time, [`Config::gather`] after the
//!   first, since Automerge walks each object that a batch touches from end to end.
//! - **Void** changes are reported once, with the reason, and never applied; nor is what builds on
//!   them.
//! - **Set aside**: Automerge can't forget. If a change was applied whose entry counts no more, the
//!   document is built anew of the others.
//!
//! The invariant: what is applied is a function of the set of changes that were received and not
//! set aside, and of what their entries cover; not of the order or the batches in which they came.
//!
//! Nothing here has a clock or a disk: times come in, and what is to be done goes out by
//! [`poll_output`](Document::poll_output).

mod merge;
mod rebuild;
mod types;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aether_core::Time;
pub use types::{Config, Origin, Output, Received, Slept};
use waiting::Held;

use super::{
    ActorId, Change, ChangeHash, DecodeError, MAX_OPERATIONS, Why,
    body::{Body, Broken, CommitError, LoadError, Refused},
    edit::{Edit, EditError, Edited},
    undo::History,
    view::View,
};
use crate::proto::time::Wall;

/// So many pending operations are flushed at once.
pub const FLUSH_OPERATIONS: usize = 4_096;
/// So many bytes of pending values and keys are flushed at once.
pub const FLUSH_BYTES: usize = 1 << 16;
/// So many changes of others are applied at once.
pub const APPLY_CHANGES: usize = 4_096;

const _: () = assert!(FLUSH_OPERATIONS < MAX_OPERATIONS);

/// A document, awake or asleep. See the [module](self).
#[derive(Debug)]
pub struct Document {
    config: Config,
    body: Option<Body>,
    history: History,
    wall: Wall,
    flush_at: Option<Time>,
    apply_at: Option<Time>,
    /// Whether changes of our own, of an earlier life, are taken and not applied.
    own_taken: bool,
    held: BTreeMap<ChangeHash, Held>,
    held_bytes: usize,
    /// Which changes wait for one that isn't there.
    waiters: BTreeMap<ChangeHash, BTreeSet<ChangeHash>>,
    void: BTreeMap<ChangeHash, Why>,
    outputs: VecDeque<Output>,
}

impl Document {
    /// A new, empty document, awake.
    pub fn new(config: Config) -> Self {
        let mut document = Self::asleep(config);
        document.body = Some(Body::new(config.settings));
        document
    }

    /// A document that has to be woken.
    pub fn asleep(config: Config) -> Self {
        Self {
            config,
            body: None,
            history: History::new(config.undo_pause),
            wall: Wall::default(),
            flush_at: None,
            apply_at: None,
            own_taken: false,
            held: BTreeMap::new(),
            held_bytes: 0,
            waiters: BTreeMap::new(),
            void: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Begins it, if it sleeps, as a new and empty one.
    pub fn begin(&mut self) {
        if self.body.is_none() {
            self.body = Some(Body::new(self.config.settings));
        }
    }

    /// Opens the file that [`sleep`](Self::sleep) returned. Changes that aren't in it have to be
    /// [received](Self::receive) again, and those of our own before the first edit: else that would
    /// take the place of one of them, and be lost. Costs as [`Body::load`].
    pub fn wake(&mut self, file: &[u8]) -> Result<(), LoadError> {
        if self.body.is_none() {
            self.body = Some(Body::load(file, self.config.settings)?);
        }
        Ok(())
    }

    /// Whether it is awake.
    pub const fn is_awake(&self) -> bool {
        self.body.is_some()
    }

    /// The body, while it is awake.
    pub const fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// The document as it is shown; `None` while it sleeps.
    pub fn view(&self) -> Option<View<'_>> {
        self.body.as_ref()?.view().ok()
    }

    /// The document as it was at these heads, after a flush; `None` while it sleeps, or if one
    /// isn't a change that is applied.
    pub fn view_at(&mut self, heads: &[ChangeHash]) -> Option<View<'_>> {
        self.flush();
        self.body.as_ref()?.view_at(heads).ok()?
    }

    /// The changes that are void, with the reasons.
    pub fn void(&self) -> impl Iterator<Item = (ChangeHash, Why)> + '_ {
        self.void.iter().map(|(hash, why)| (*hash, *why))
    }

    /// How many changes wait.
    pub fn waiting(&self) -> usize {
        self.held.len()
    }

    /// What is to be done next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`on_timeout`](Self::on_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.flush_at.into_iter().chain(self.apply_at).min()
    }

    /// Flushes and applies what is due.
    pub fn on_timeout(&mut self, now: Time) {
        if self.apply_at.is_some_and(|at| at <= now) {
            self.settle();
        } else if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
    }

    /// Edits the document: see [`Body::edit`]. `None` while it sleeps. The change that it becomes a
    /// part of has the wall clock's time of its last edit.
    pub fn edit<T, E: From<EditError>>(
        &mut self,
        now: Time,
        wall: Wall,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        self.catch_up();
        let done = self.body.as_mut()?.edit(edit);
        Some(match done {
            Ok((value, edited)) => {
                self.history.record(now, &edited);
                self.edited(now, wall, edited, Origin::Local);
                Ok(value)
            }
            Err(error) => {
                self.check();
                Err(error)
            }
        })
    }

    /// Takes back the last edits that can be: see [`History::undo`]. Says whether there were any;
    /// `None` while it sleeps.
    pub fn undo(&mut self, now: Time, wall: Wall) -> Option<Result<bool, EditError>> {
        self.catch_up();
        let done = self.history.undo(now, self.body.as_mut()?);
        Some(self.turned(now, wall, done))
    }

    /// Takes back the last undo.
    pub fn redo(&mut self, now: Time, wall: Wall) -> Option<Result<bool, EditError>> {
        self.catch_up();
        let done = self.history.redo(now, self.body.as_mut()?);
        Some(self.turned(now, wall, done))
    }

    /// What is edited from now on is undone apart from what was edited before.
    pub const fn undo_barrier(&mut self) {
        self.history.barrier();
    }

    /// Edits go on from where our own last change ended.
    fn catch_up(&mut self) {
        if self.own_taken {
            self.settle();
        }
    }

    fn turned(
        &mut self,
        now: Time,
        wall: Wall,
        done: Result<Option<Edited>, EditError>,
    ) -> Result<bool, EditError> {
        let edited = done.inspect_err(|_| self.check())?;
        let some = edited.is_some();
        if let Some(edited) = edited {
            self.edited(now, wall, edited, Origin::Undo);
        }
        Ok(some)
    }

    fn edited(&mut self, now: Time, wall: Wall, edited: Edited, origin: Origin) {
        let Some(body) = &self.body else { return };
        self.wall = wall;
        if !edited.patches.is_empty() {
            self.outputs.push_back(Output::Patches(origin, edited.patches));
        }
        let many = body.pending() >= FLUSH_OPERATIONS || body.pending_bytes() >= FLUSH_BYTES;
        if many || self.config.coalesce.is_zero() {
            self.flush();
        } else if body.pending() > 0 {
            self.flush_at.get_or_insert(now + self.config.coalesce);
        }
    }

    /// Makes a change of what is pending.
    pub fn flush(&mut self) {
        self.flush_at = None;
        let Some(body) = &mut self.body else { return };
        let actor = body.settings().actor;
        match body.commit(self.wall.as_millis() / 1_000) {
            Ok(None) => {}
            Ok(Some(change)) => {
                let hash = change.hash;
                self.outputs.push_back(Output::Append(actor, change));
                self.release(vec![hash]);
            }
            Err(CommitError::Refused(refused)) => {
                // Operations that edits named don't exist, and others will have their numbers.
                self.history.forget();
                self.outputs.push_back(Output::Lost(refused));
            }
            Err(CommitError::Broken(Broken)) => self.broken(),
        }
    }

    /// Flushes, and applies what was taken.
    pub fn settle(&mut self) {
        self.flush();
        self.apply_at = None;
        self.own_taken = false;
        let Some(body) = &mut self.body else { return };
        match body.apply() {
            Ok(patches) if patches.is_empty() => {}
            Ok(patches) => self.outputs.push_back(Output::Patches(Origin::Remote, patches)),
            Err(Broken) => self.broken(),
        }
    }

    /// Judges what was loaded, if that wasn't done: the next edit is fast then.
    pub fn make_ready(&mut self) {
        if let Some(body) = &self.body {
            body.make_ready();
        }
        self.check();
    }

    fn check(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_broken) {
            self.broken();
        }
    }

    fn broken(&mut self) {
        self.drop_body();
        self.outputs.push_back(Output::Broken);
    }

    /// Forgets all that is in memory. Returns the changes that aren't applied.
    fn drop_body(&mut self) -> Vec<ChangeHash> {
        self.body = None;
        self.history.forget();
        (self.flush_at, self.apply_at, self.held_bytes) = (None, None, 0);
        self.waiters.clear();
        let missing = std::mem::take(&mut self.held).into_keys();
        missing.chain(std::mem::take(&mut self.void).into_keys()).collect()
    }

    /// Flushes, applies what was taken, and goes to sleep. `None` if it sleeps already, or breaks.
    pub fn sleep(&mut self) -> Option<Slept> {
        self.settle();
        let body = self.body.as_mut()?;
        let (Ok(heads), Ok(file)) = (body.heads(), body.save()) else {
            self.broken();
            return None;
        };
        Some(Slept { file, heads, missing: self.drop_body() })
    }

    /// Takes a change out of an entry that counts, by the lane of its author. `covers` says of a
    /// change whether it lies in the past of that entry. `Err` if it breaks a rule A: then nobody
    /// may take the entry.
    ///
    /// A change is void if it builds on what is void; what isn't there yet may come.
    pub fn receive(
        &mut self,
        now: Time,
        bytes: &[u8],
        actor: &ActorId,
        covers: impl Fn(&ChangeHash) -> bool,
    ) -> Result<Received, DecodeError> {
        let Some(body) = &mut self.body else { return Ok(Received::Asleep) };
        let taken = body.take(bytes, actor, &covers);
        if body.is_broken() {
            self.broken();
            return Ok(Received::Asleep);
        }
        let why = match taken {
            Ok(hash) => {
                self.forget_held(&hash);
                self.own_taken |= *actor == self.config.settings.actor;
                self.gather(now);
                self.release(vec![hash]);
                return Ok(Received::Taken);
            }
            Err(Refused::Malformed(error)) => return Err(error),
            Err(Refused::Void(why)) => why,
            // That was looked at above.
            Err(Refused::Broken(Broken)) => return Ok(Received::Asleep),
        };
        let change = Change::decode(bytes, actor)?;
        if let Some(why) = self.void.get(&change.hash) {
            return Ok(Received::Void(*why));
        }
        let uncovered: BTreeSet<_> =
            change.deps.iter().filter(|dep| !covers(dep)).copied().collect();
        let void_dep = change.deps.iter().find(|dep| self.void.contains_key(dep));
        Ok(match (void_dep, why) {
            (Some(dep), _) => {
                let why = Why::Dep(*dep);
                self.make_void(change.hash, why);
                Received::Void(why)
            }
            (None, Why::Dep(_)) => {
                let (hash, deps) = (change.hash, change.deps);
                let held = Held { actor: *actor, bytes: bytes.to_vec(), deps, uncovered };
                self.hold(hash, held)
            }
            (None, why) => {
                self.make_void(change.hash, why);
                Received::Void(why)
            }
        })
    }

    fn gather(&mut self, now: Time) {
        let taken = self.body.as_ref().map_or(0, Body::taken);
        if taken >= APPLY_CHANGES || self.config.gather.is_zero() {
            self.settle();
        } else if taken > 0 {
            self.apply_at.get_or_insert(now + self.config.gather);
        }
    }
}
