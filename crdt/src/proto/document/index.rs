//! What a document's effective changes established, for rules B to look up.
//!
//! A verdict on a change must be the same on every replica, whatever else has arrived there. So the
//! index holds facts that never change while the changes that brought them are effective, and says
//! of each whether the *past* of a change covers it: a past is, for every lane, how many of its
//! changes are in the closure of the dependencies. What isn't covered isn't there.
//!
//! - **Lanes**: one for each actor, with its changes in order: hash, last operation's number, and
//!   weight added up. 48 bytes for each change, and as much again to find it by its hash.
//! - **Clocks**: not one for each change, but for two lanes the places where the one came to know
//!   more of the other: 8 bytes each. Two people who type at once make one for each change.
//! - **Rows** and **objects**: see [`rows`]. Keys of maps are numbered, and each is kept once.
//!
//! *Invariant*: [`Index::apply`] is the only writer, and takes only what [`Index::judge`] has found
//! right, so whatever is in the index obeys rules A and B. A refused change leaves no trace.
//!
//! *Cost*: a past takes O(lanes) if the dependencies are all the heads, as is usual, and else
//! O(dependencies × lanes × log changes). A row costs one binary search for each id in it.

pub(super) mod rows;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use rows::{Id, Object, Place, Rows, Span, Staged, What};

use super::{
    ActorId, Change, ChangeHash, Why,
    content::{ObjId, OpRef},
    order::{Link, Tree},
    weight::is_fragment,
};

/// A change, as its lane remembers it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: ChangeHash,
    /// Number of its last operation.
    last_op: u32,
    /// Weight of the lane up to here.
    weight: u64,
}

/// The changes of one actor.
#[derive(Clone, Debug)]
struct Lane {
    actor: ActorId,
    changes: Vec<Entry>,
    /// Those that count against the quota.
    fragments: u32,
    /// For each other lane: from the `.0`-th change of this one on, `.1` of its are known.
    clock: BTreeMap<u32, Vec<(u32, u32)>>,
    rows: Rows,
}

impl Lane {
    const fn new(actor: ActorId) -> Self {
        let rows = Rows { spans: Vec::new(), links: Vec::new() };
        Self { actor, changes: Vec::new(), fragments: 0, clock: BTreeMap::new(), rows }
    }
}

/// The effective changes of one document, as far as rules B ask for them.
///
/// See the [rules](super::rules) for what it promises. Memory: at most some 32 bytes for each unit
/// of weight, and each key of a map once.
#[derive(Clone, Debug, Default)]
pub struct Index {
    lanes: Vec<Lane>,
    actors: BTreeMap<ActorId, u32>,
    changes: BTreeMap<ChangeHash, (u32, u32)>,
    heads: BTreeSet<ChangeHash>,
    objects: BTreeMap<Id, Object>,
    keys: BTreeMap<Box<str>, u32>,
}

/// How many changes of each lane are in a closure.
#[derive(Clone, Debug, Default)]
pub(super) struct Past(Vec<u32>);

impl Past {
    pub(super) fn of(&self, lane: u32) -> u32 {
        self.0.get(lane as usize).copied().unwrap_or(0)
    }

    fn join(&mut self, lane: u32, seq: u32) {
        if let Some(there) = self.0.get_mut(lane as usize) {
            *there = seq.max(*there);
        }
    }

    /// How many lanes have a change in it.
    pub(super) fn lanes(&self) -> usize {
        self.0.iter().filter(|seq| **seq > 0).count()
    }
}

/// A change that obeys all rules, and what it will add: for [`Index::apply`].
#[derive(Clone, Debug)]
pub struct Accepted {
    /// How many changes the index had when it judged.
    pub(super) judged_at: usize,
    pub(super) hash: ChangeHash,
    pub(super) actor: ActorId,
    pub(super) lane: u32,
    pub(super) deps: Vec<ChangeHash>,
    pub(super) past: Past,
    pub(super) last_op: u32,
    /// W: of the change and its past.
    pub(super) total: u64,
    /// w: of the change alone.
    pub(super) weight: u64,
    pub(super) staged: Staged,
}

impl Accepted {
    /// What the document weighs at this change: that of its past, and its own.
    pub const fn total_weight(&self) -> u64 {
        self.total
    }
}

impl Index {
    /// Of no changes.
    pub(super) const fn new() -> Self {
        Self {
            lanes: Vec::new(),
            actors: BTreeMap::new(),
            changes: BTreeMap::new(),
            heads: BTreeSet::new(),
            objects: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// Judges a change and adds it, if it isn't there: then says which is its last operation.
    pub(super) fn take(
        &mut self,
        change: &Change<'_>,
        limit: u64,
        covers: impl Fn(&ChangeHash) -> bool,
    ) -> Result<Option<u32>, Why> {
        if self.contains(&change.hash) {
            return Ok(None);
        }
        let accepted = self.judge(change, limit, covers)?;
        let last_op = accepted.last_op;
        self.apply(accepted);
        Ok(Some(last_op))
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change yet.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether this change is there.
    pub fn contains(&self, hash: &ChangeHash) -> bool {
        self.changes.contains_key(hash)
    }

    /// How many changes of an actor there are.
    pub fn written_by(&self, actor: &ActorId) -> u32 {
        self.lane(actor).map_or(0, |lane| self.counts(lane).0)
    }

    /// The changes on which no other builds, ascending.
    pub fn heads(&self) -> impl Iterator<Item = ChangeHash> + '_ {
        self.heads.iter().copied()
    }

    /// What all changes weigh together.
    pub fn weight(&self) -> u64 {
        self.lanes.iter().filter_map(|lane| lane.changes.last()).map(|last| last.weight).sum()
    }

    /// Adds a change that was judged. O(lanes), and O(log) for each row that it adds.
    ///
    /// # Panics
    /// If another change was added since: what was judged may not hold any more.
    pub fn apply(&mut self, accepted: Accepted) {
        let Accepted { hash, actor, lane, deps, past, last_op, weight, staged, .. } = accepted;
        assert_eq!(accepted.judged_at, self.len(), "the index is not the one that judged");
        if lane as usize == self.lanes.len() {
            self.actors.insert(actor, lane);
            self.lanes.push(Lane::new(actor));
        }
        let own = &mut self.lanes[lane as usize];
        let seq = past.of(lane) + 1;
        for (other, known) in (0..).zip(past.0).filter(|(other, _)| *other != lane) {
            let before = own.clock.get(&other).and_then(|steps| steps.last()).map_or(0, |s| s.1);
            if known > before {
                own.clock.entry(other).or_default().push((seq, known));
            }
        }
        let before = own.changes.last().map_or(0, |last| last.weight);
        own.changes.push(Entry { hash, last_op, weight: before + weight });
        own.fragments += u32::from(is_fragment(&hash));
        if let Some(span) = own.rows.spans.last_mut() {
            span.len += staged.longer;
        }
        own.rows.spans.extend(staged.rows.spans);
        own.rows.links.extend(staged.rows.links);
        self.objects.extend(staged.objects);
        self.keys.extend(staged.keys);
        self.changes.insert(hash, (lane, seq));
        self.heads.retain(|head| deps.binary_search(head).is_err());
        self.heads.insert(hash);
    }

    /// The closure of changes that are there. `Err` names one that isn't.
    pub(super) fn past(&self, deps: &[ChangeHash]) -> Result<Past, ChangeHash> {
        let mut past = Past(vec![0; self.lanes.len()]);
        let mut heads = 0;
        for dep in deps {
            let (lane, seq) = *self.changes.get(dep).ok_or(*dep)?;
            past.join(lane, seq);
            heads += usize::from(self.heads.contains(dep));
        }
        if heads == self.heads.len() {
            past.0 = self.lanes.iter().map(|lane| lane.changes.len() as u32).collect();
            return Ok(past);
        }
        for dep in deps {
            let (lane, seq) = self.changes[dep];
            for (other, steps) in &self.lanes[lane as usize].clock {
                let known = steps.partition_point(|(at, _)| *at <= seq);
                steps[..known].last().into_iter().for_each(|(_, known)| past.join(*other, *known));
            }
        }
        Ok(past)
    }

    /// Number of the last operation that `past` covers, of all lanes.
    pub(super) fn last_op(&self, past: &Past) -> u32 {
        (0..).zip(&past.0).map(|(lane, _)| self.last_of(past, lane)).max().unwrap_or(0)
    }

    /// Number of the last operation of a lane that `past` covers; 0 if none is.
    pub(super) fn last_of(&self, past: &Past, lane: u32) -> u32 {
        self.covered(past, lane).map_or(0, |entry| entry.last_op)
    }

    fn covered(&self, past: &Past, lane: u32) -> Option<&Entry> {
        let at = past.of(lane).checked_sub(1)?;
        self.lanes.get(lane as usize)?.changes.get(at as usize)
    }

    /// What all that `past` covers weighs.
    pub(super) fn weight_of(&self, past: &Past) -> u64 {
        (0..).zip(&past.0).filter_map(|(lane, _)| self.covered(past, lane)).map(|e| e.weight).sum()
    }

    fn id(&self, op: OpRef) -> Option<Id> {
        Some(Id { lane: self.lane(&op.actor)?, counter: op.counter })
    }

    /// How many objects lie around one that was made.
    pub(super) fn depth(&self, made: OpRef) -> Option<u32> {
        Some(self.objects.get(&self.id(made)?)?.depth)
    }

    /// The element of `object` that an operation made, or wrote into; `None` for marks.
    pub(super) fn element(&self, object: ObjId, op: OpRef) -> Option<OpRef> {
        let object = match object {
            ObjId::Root => Id::NONE,
            ObjId::Made(made) => self.id(made)?,
        };
        let span = self.lanes.get(self.id(op)?.lane as usize)?.rows.find(op.counter)?;
        if span.object != object || span.what == What::Mark {
            return None;
        }
        match span.place {
            Place::Key(_) => None,
            Place::Behind(_) => Some(op),
            Place::In(Id { lane, counter }) => {
                Some(OpRef { counter, actor: self.lanes.get(lane as usize)?.actor })
            }
        }
    }

    /// The lane of an actor, if it has any change.
    pub(super) fn lane(&self, actor: &ActorId) -> Option<u32> {
        self.actors.get(actor).copied()
    }

    /// The place that the next new lane will have.
    pub(super) const fn next_lane(&self) -> u32 {
        // A lane has a change, and a change more bytes than fit into memory so often.
        self.lanes.len() as u32
    }

    /// The last change of a lane.
    pub(super) fn last(&self, lane: u32) -> Option<ChangeHash> {
        Some(self.lanes.get(lane as usize)?.changes.last()?.hash)
    }

    /// How many changes a lane has, and how many of them count against its quota.
    pub(super) fn counts(&self, lane: u32) -> (u32, u32) {
        let lane = self.lanes.get(lane as usize);
        lane.map_or((0, 0), |lane| (lane.changes.len() as u32, lane.fragments))
    }
}

/// What the operations of a change see: its past, and its own operations before them.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) index: &'a Index,
    pub(super) past: &'a Past,
    pub(super) lane: u32,
    pub(super) actor: ActorId,
    pub(super) start_op: u32,
    pub(super) staged: Staged,
}

impl View<'_> {
    fn is_own(&self, id: Id) -> bool {
        id.lane == self.lane && id.counter >= self.start_op
    }

    fn rows(&self, lane: u32) -> Option<&Rows> {
        self.index.lanes.get(lane as usize).map(|lane| &lane.rows)
    }

    /// The span that holds a row, if that is in sight.
    pub(super) fn find(&self, id: Id) -> Option<Span> {
        if self.is_own(id) {
            if id.counter - self.start_op < self.staged.longer {
                return self.rows(self.lane)?.spans.last().copied();
            }
            return self.staged.rows.find(id.counter);
        }
        if id.counter > self.index.last_of(self.past, id.lane) {
            return None;
        }
        self.rows(id.lane)?.find(id.counter)
    }

    /// The object of this id, if that is in sight.
    pub(super) fn object(&self, id: Id) -> Option<Object> {
        if self.is_own(id) {
            return self.staged.objects.get(&id).copied();
        }
        let covered = id.counter <= self.index.last_of(self.past, id.lane);
        self.index.objects.get(&id).copied().filter(|_| covered)
    }

    /// The number of a map's key.
    pub(super) fn key(&mut self, key: &str) -> u32 {
        if let Some(known) = self.index.keys.get(key).or_else(|| self.staged.keys.get(key)) {
            return *known;
        }
        // Each key takes a row and its bytes, so memory ends before numbers do.
        let new = (self.index.keys.len() + self.staged.keys.len()) as u32;
        self.staged.keys.insert(key.into(), new);
        new
    }

    /// Adds a row of the change. `link` says where an insert into a text hangs.
    pub(super) fn stage(&mut self, span: Span, link: Option<Link>) {
        if let Some(last) = self.staged.rows.spans.last_mut() {
            if last.continues(self.lane, &span) {
                last.len += 1;
                return;
            }
        } else {
            let last = self.rows(self.lane).and_then(|rows| rows.spans.last());
            let longer = last.map(|last| Span { len: last.len + self.staged.longer, ..*last });
            if longer.is_some_and(|last| last.continues(self.lane, &span)) {
                self.staged.longer += 1;
                return;
            }
        }
        self.staged.rows.links.extend(link.map(|link| (span.start, link)));
        self.staged.rows.spans.push(span);
    }
}

impl Tree for View<'_> {
    fn span(&self, element: Id) -> Option<(Id, Place)> {
        let span = self.find(element)?;
        Some((Id { lane: element.lane, counter: span.start }, span.place))
    }

    fn link(&self, first: Id) -> Option<Link> {
        let own = self.is_own(first).then_some(&self.staged.rows);
        own.or_else(|| self.rows(first.lane))?.link(first.counter)
    }

    fn compare(&self, one: Id, other: Id) -> Ordering {
        let actor = |id: Id| match self.index.lanes.get(id.lane as usize) {
            Some(lane) => lane.actor,
            None => self.actor,
        };
        one.counter.cmp(&other.counter).then_with(|| actor(one).cmp(&actor(other)))
    }
}

#[cfg(test)]
mod tests;
