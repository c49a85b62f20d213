//! Rules B: whether a change goes with its causal past.
//!
//! A change that obeys rules A can still name what isn't there, or what it may not touch. Applied,
//! it would take Automerge down, or make a document that can be saved and not loaded. One that
//! breaks a rule B is **void**, and so is every change that builds on it: it is stored and handed
//! on, as its entry is in order, and never shown. The invariant is
//!
//! > `judge` is a function of the change and its closure: whatever else is in the index, in
//! > whatever order it came, the verdict is the same; and a change that it accepts can be applied,
//! > saved, loaded, and read back byte for byte.
//!
//! | rule | what must hold |
//! |---|---|
//! | B1 | each dependency is an effective change of the document, in the past of the entry |
//! | B2 | `seq` is one more than the changes of its lane; if there is one, its last is a dependency |
//! | B3 | `start_op` is one more than the largest number of an operation in the past |
//! | B4 | an object is the root, or made in the past or earlier in the change; its kind goes with what is done to it (below); at most 64 lie within each other |
//! | B5 | an element was inserted in the past or earlier in the change, in the same object, and isn't a mark's end if something else is done than inserting behind it |
//! | B6 | a predecessor is what a set or make left, in the past or earlier in the change, in the same object and at the same key or element |
//! | B7 | what is incremented is a counter |
//! | B8 | a mark ends behind its own begin, or behind an element that stands behind that where it begins |
//! | B9 | the limits of [`weight`](super::weight): W ≤ the space's limit; at most 4,096 lanes in the closure; at most 16 + seq / 32 changes of a lane whose hash begins with a zero byte |
//!
//! What is done to objects (B4):
//!
//! | object | keys | operations |
//! |---|---|---|
//! | map | strings | set, make, delete, increment |
//! | list | elements | insert and set, insert and make, set, make, delete, increment |
//! | text | elements | insert a string that isn't empty, insert a map (a block), delete, mark |
//!
//! B6 doesn't ask for *all* rows that can be seen at a key, since Automerge itself names only some:
//! where values conflict, a delete may take the losers away alone. Nor does it ask whether a row
//! can still be seen: those who wrote at once couldn't know.
//!
//! *Cost* of a judgement: that of a past and O(log) for each id in each operation (see
//! [`Index`]), O(log²) for each mark. Memory: 32 bytes for each row that joins no
//! span, 16 more in texts, and the keys that are new.

use super::{
    Action, Change, ChangeHash, Key, Kind, ObjectId, OpId, Row, Rule, Value,
    index::{
        Accepted, Index, Past, View,
        rows::{Id, Object, Place, Span, Staged, What},
    },
    order,
    weight::{MAX_LANES, fragment_quota, is_fragment, weight},
};

/// Objects lie at most so deep within each other (B4): who reads a document recurses, and the
/// stack of a thread has an end.
pub const MAX_DEPTH: u32 = 64;

/// Why a change is void. [`Why::rule`] says which rule it breaks; operations are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// No effective change of this document, or none that the entry's past covers.
    #[error("the dependency {0:?} is not in its past")]
    Dep(ChangeHash),
    /// Not the next of its lane.
    #[error("it is not the next change of its lane")]
    Seq,
    /// The lane's last change isn't a dependency.
    #[error("it does not depend on the change before it")]
    Previous,
    /// Numbers of operations don't go on where those of the past end.
    #[error("its operations are numbered from {0}, not from {1}")]
    Start(u32, u32),
    /// An object that isn't there.
    #[error("operation {0} is in no object")]
    Object(usize),
    /// Something that isn't done to objects of that kind.
    #[error("operation {0} does not go with its object's kind")]
    Kind(usize),
    /// An object too deep in others.
    #[error("operation {0} makes an object too deep")]
    Depth(usize),
    /// An element that isn't there, is in another object, or is a mark's.
    #[error("operation {0} names no element of its object")]
    Element(usize),
    /// A predecessor that isn't there, or is elsewhere.
    #[error("operation {0} has a predecessor that is not at its place")]
    Pred(usize),
    /// An increment of something else than a counter.
    #[error("operation {0} adds to what is no counter")]
    NoCounter(usize),
    /// A mark that ends before it begins.
    #[error("operation {0} ends a mark before its begin")]
    Mark(usize),
    /// The document would weigh this.
    #[error("the document would weigh {0}")]
    Weight(u64),
    /// So many lanes are in its closure.
    #[error("it builds on {0} lanes")]
    Lanes(usize),
    /// Too many changes of its lane have a hash that begins with zero.
    #[error("its hash begins with zero, as too many of its lane do")]
    Fragments,
}

impl Why {
    /// The rule that is broken.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Dep(_) => Rule::B1,
            Self::Seq | Self::Previous => Rule::B2,
            Self::Start(..) => Rule::B3,
            Self::Object(_) | Self::Kind(_) | Self::Depth(_) => Rule::B4,
            Self::Element(_) => Rule::B5,
            Self::Pred(_) => Rule::B6,
            Self::NoCounter(_) => Rule::B7,
            Self::Mark(_) => Rule::B8,
            Self::Weight(_) | Self::Lanes(_) | Self::Fragments => Rule::B9,
        }
    }
}

impl Index {
    /// Says whether a change obeys rules B of the [module](self), in a space whose documents weigh
    /// at most `limit`.
    ///
    /// The index holds the effective changes that have arrived: all on which this one builds, but
    /// for void ones. `covers` says whether a change lies in the causal past of the entry that
    /// carries this one; it is asked for each dependency that is in the index. Without it a change
    /// could build on one that its entry doesn't name, and be void only where that arrives later.
    pub fn judge(
        &self,
        change: &Change<'_>,
        limit: u64,
        covers: impl Fn(&ChangeHash) -> bool,
    ) -> Result<Accepted, Why> {
        let past = self.past(&change.deps).map_err(Why::Dep)?;
        if let Some(dep) = change.deps.iter().find(|dep| !covers(dep)) {
            return Err(Why::Dep(*dep));
        }
        let lane = self.lane(&change.actor()).unwrap_or(self.next_lane());
        let seq = self.follows(change, &past, lane)?;
        let start_op = self.last_op(&past) + 1;
        if change.start_op != start_op {
            return Err(Why::Start(change.start_op, start_op));
        }
        let (total, weight) = self.weigh(change, &past, lane, seq, limit)?;
        let actor = change.actor();
        let staged = Staged::default();
        let view = View { index: self, past: &past, lane, actor, start_op, staged };
        let lanes = change.actors.iter().map(|actor| self.lane(actor));
        // The author may have no lane yet, and is the first.
        let lanes = std::iter::once(Some(lane)).chain(lanes.skip(1)).collect();
        let mut judge = Judge { change, lanes, view, begin: None };
        for (place, row) in change.rows.iter().enumerate() {
            judge.row(place, row)?;
        }
        let staged = judge.view.staged;
        let last_op = start_op + (change.rows.len() as u32 - 1);
        let (hash, deps, judged_at) = (change.hash, change.deps.clone(), self.len());
        Ok(Accepted { judged_at, hash, actor, lane, deps, past, last_op, total, weight, staged })
    }

    /// B2. Returns the change's place in its lane.
    fn follows(&self, change: &Change<'_>, past: &Past, lane: u32) -> Result<u32, Why> {
        let (before, _) = self.counts(lane);
        if change.seq != u64::from(before) + 1 {
            return Err(Why::Seq);
        }
        let last = self.last(lane);
        if last.is_some_and(|last| change.deps.binary_search(&last).is_err()) {
            return Err(Why::Previous);
        }
        debug_assert_eq!(past.of(lane), before, "a lane is in the past of its last change");
        Ok(before + 1)
    }

    /// B9. Returns W and w.
    fn weigh(
        &self,
        change: &Change<'_>,
        past: &Past,
        lane: u32,
        seq: u32,
        limit: u64,
    ) -> Result<(u64, u64), Why> {
        let lanes = past.lanes() + usize::from(seq == 1);
        if lanes > MAX_LANES {
            return Err(Why::Lanes(lanes));
        }
        let (_, fragments) = self.counts(lane);
        if is_fragment(&change.hash) && fragments >= fragment_quota(seq) {
            return Err(Why::Fragments);
        }
        let own = weight(change, lanes);
        let total = self.weight_of(past) + own;
        if total > limit { Err(Why::Weight(total)) } else { Ok((total, own)) }
    }
}

/// A change whose operations are looked at one by one.
struct Judge<'a> {
    change: &'a Change<'a>,
    /// The lane of each actor that the change names.
    lanes: Vec<Option<u32>>,
    view: View<'a>,
    /// A mark's begin that its end must follow: its own id, and what it stands behind.
    begin: Option<(Id, Id)>,
}

impl Judge<'_> {
    fn id(&self, id: OpId) -> Option<Id> {
        let lane = self.lanes.get(id.actor as usize).copied().flatten()?;
        Some(Id { lane, counter: id.counter })
    }

    /// B4 to B8 for one operation, whose row is in sight of the next.
    fn row(&mut self, at: usize, row: &Row<'_>) -> Result<(), Why> {
        let (object, Object { kind, depth }) = self.object(at, row)?;
        if !fits(row, kind) {
            return Err(Why::Kind(at));
        }
        let place = self.place(at, row, object)?;
        self.preds(at, row, object, place)?;
        let own = Id { lane: self.view.lane, counter: self.view.start_op + at as u32 };
        self.mark(at, row, own, place)?;
        let what = match row.action {
            Action::Delete | Action::Increment(_) => return Ok(()),
            Action::Set(Value::Counter(_)) => What::Counter,
            Action::Set(_) => What::Value,
            Action::Make(_) => What::Object,
            Action::MarkBegin { .. } | Action::MarkEnd { .. } => What::Mark,
        };
        if let Action::Make(kind) = row.action {
            if depth >= MAX_DEPTH {
                return Err(Why::Depth(at));
            }
            self.view.staged.objects.insert(own, Object { kind, depth: depth + 1 });
        }
        let link = match place {
            Place::Behind(element) if kind == Kind::Text => {
                Some(order::attach(&self.view, element).ok_or(Why::Element(at))?)
            }
            _ => None,
        };
        self.view.stage(Span { start: own.counter, len: 1, object, place, what }, link);
        Ok(())
    }

    /// B4, but for what may be done to the object.
    fn object(&self, at: usize, row: &Row<'_>) -> Result<(Id, Object), Why> {
        let ObjectId::Made(made) = row.object else {
            return Ok((Id::NONE, Object { kind: Kind::Map, depth: 0 }));
        };
        let id = self.id(made).ok_or(Why::Object(at))?;
        let object = self.view.object(id).ok_or(Why::Object(at))?;
        Ok((id, object))
    }

    /// B5: where the row is.
    fn place(&mut self, at: usize, row: &Row<'_>, object: Id) -> Result<Place, Why> {
        let element = match row.key {
            Key::Map(key) => return Ok(Place::Key(self.view.key(key))),
            Key::Head => return Ok(Place::Behind(Id::NONE)),
            Key::Element(element) => self.id(element).ok_or(Why::Element(at))?,
        };
        let span = self.view.find(element).ok_or(Why::Element(at))?;
        let inserted = matches!(span.place, Place::Behind(_)) && span.object == object;
        if !inserted || (span.what == What::Mark && !row.insert) {
            return Err(Why::Element(at));
        }
        Ok(if row.insert { Place::Behind(element) } else { Place::In(element) })
    }

    /// B6 and B7. An element's own row is the first of what is in it.
    fn preds(&self, at: usize, row: &Row<'_>, object: Id, place: Place) -> Result<(), Why> {
        for pred in self.change.preds(row) {
            let id = self.id(*pred).ok_or(Why::Pred(at))?;
            let span = self.view.find(id).ok_or(Why::Pred(at))?;
            let there = match span.place {
                Place::Behind(_) => Place::In(id),
                other => other,
            };
            if span.object != object || there != place {
                return Err(Why::Pred(at));
            }
            if matches!(row.action, Action::Increment(_)) && span.what != What::Counter {
                return Err(Why::NoCounter(at));
            }
        }
        Ok(())
    }

    /// B8.
    fn mark(&mut self, at: usize, row: &Row<'_>, own: Id, place: Place) -> Result<(), Why> {
        let Place::Behind(behind) = place else { return Ok(()) };
        match row.action {
            Action::MarkBegin { .. } => self.begin = Some((own, behind)),
            Action::MarkEnd { .. } => {
                let (begin, from) = self.begin.take().ok_or(Why::Mark(at))?;
                let later = || order::is_before(&self.view, from, behind).unwrap_or(false);
                if behind != begin && !later() {
                    return Err(Why::Mark(at));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is done to objects of each kind (B4). Rules A have seen to it that inserts and marks have
/// an element for a key, and that the head isn't replaced.
fn fits(row: &Row<'_>, kind: Kind) -> bool {
    let in_map = matches!(row.key, Key::Map(_));
    match (kind, row.action) {
        (Kind::Map, Action::MarkBegin { .. } | Action::MarkEnd { .. }) => false,
        (Kind::Map, _) => in_map,
        (Kind::List, Action::MarkBegin { .. } | Action::MarkEnd { .. }) => false,
        (Kind::List, _) => !in_map,
        (Kind::Text, Action::Set(Value::Str(text))) => row.insert && !text.is_empty(),
        (Kind::Text, Action::Make(Kind::Map)) => row.insert,
        (Kind::Text, Action::Delete) => !in_map,
        (Kind::Text, Action::MarkBegin { .. } | Action::MarkEnd { .. }) => true,
        (Kind::Text, _) => false,
    }
}
