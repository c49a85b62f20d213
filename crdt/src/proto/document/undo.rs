//! Undo and redo of one author's own edits, while others go on.
//!
//! An edit notes how each of its steps is taken back, in names that others' edits don't change: ids
//! of elements and operations, never positions. What undo does is an ordinary edit, rebased onto
//! the document as it is now:
//!
//! | step | taken back |
//! |---|---|
//! | inserted characters or elements | those still there are deleted, and nothing between them; not elements that somebody else wrote into since |
//! | deleted some | inserted anew where they were, with their marks; an object with what is in it now, so that what others did inside comes back too |
//! | put something at a key or index | what was there before is put back, or the key deleted, if nobody has overwritten it |
//! | added to a counter | subtracted, if it is that counter still |
//! | set or took away a mark | what was there before is set, where the text still shows ours |
//!
//! Undo's own steps are noted the same way: they are what redo takes back, and so on. What is made
//! anew has a new id, so the old one becomes an alias of the new, and older steps find it.
//!
//! The invariants: undo never deletes what another wrote, and never overwrites it; without others,
//! undoing all edits leaves the document as it was, and redoing them as it became.
//!
//! *Limits*: two authors who delete the same text and both undo get it twice. Undoing the creation
//! of an object hides what others wrote inside; redo brings it back. Of several values at one
//! place, the winner alone is put back. What is made anew is the undoing author's, and others'
//! anchors on the old stay where it was. A history lives as long as its handle.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::Time;

use super::{
    body::Body,
    content::{Expand, Node, ObjId, OpRef, Scalar},
    edit::{EditError, Edited},
};

/// Most units that a history holds: the oldest goes first.
pub const MAX_UNITS: usize = 1_000;
/// Most steps and deleted elements that a history holds, some 150 bytes each: the oldest units go
/// first, but for the last one, which is never larger than one edit or than [`MAX_UNIT`].
pub const MAX_STEPS: usize = 1 << 14;
/// Most of them in a unit of several edits: who goes on after them begins another.
pub const MAX_UNIT: usize = 1 << 10;
/// Most aliases. A history that needs more is forgotten.
pub const MAX_ALIASES: usize = 1 << 16;

/// A place in an object that others' edits don't move.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Key(String),
    Element(OpRef),
}

/// An element that was deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gone {
    pub(super) element: OpRef,
    /// The operation that put what was in it.
    pub(super) winner: OpRef,
    pub(super) node: Node,
}

/// A mark on what was deleted, by units from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GoneMark {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) name: String,
    pub(super) value: Scalar,
}

/// The elements that stood before and behind what was deleted. What was deleted after it and made
/// anew before it is found beside these: it may be on the wrong side of what is left of the old.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Between {
    pub(super) before: Option<OpRef>,
    pub(super) behind: Option<OpRef>,
}

/// A part of a range that was marked, by its first and last element, and the value that was there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) first: OpRef,
    pub(super) last: OpRef,
    pub(super) value: Option<Scalar>,
}

/// What an edit did, by names that others' edits don't change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inverse {
    /// Elements were inserted, by so many operations in a row.
    Inserted { object: ObjId, first: OpRef, count: u32 },
    /// Elements that stood beside each other were deleted.
    Deleted { object: ObjId, gone: Vec<Gone>, marks: Vec<GoneMark>, between: Between },
    /// Something was put at a place, or deleted there.
    Set { object: ObjId, place: Place, new: Option<OpRef>, old: Option<(OpRef, Node)> },
    /// Something was added to the counter that an operation put.
    Added { object: ObjId, place: Place, counter: OpRef, by: i64 },
    /// A mark was set, or taken away if the value is null.
    Marked { object: ObjId, name: String, value: Scalar, expand: Expand, parts: Vec<Part> },
}

impl Inverse {
    const fn object(&self) -> ObjId {
        match self {
            Self::Inserted { object, .. }
            | Self::Deleted { object, .. }
            | Self::Set { object, .. }
            | Self::Added { object, .. }
            | Self::Marked { object, .. } => *object,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Deleted { gone, marks, .. } => 1 + gone.len() + marks.len(),
            Self::Marked { parts, .. } => 1 + parts.len(),
            Self::Inserted { .. } | Self::Set { .. } | Self::Added { .. } => 1,
        }
    }
}

/// Which operation made anew what another one had made.
///
/// An element is a place, and what is in it may be overwritten: so the same operation can stand for
/// a place that went one way, and for a value that went another.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases {
    elements: BTreeMap<OpRef, OpRef>,
    values: BTreeMap<OpRef, OpRef>,
}

/// What an operation is now. Each alias leads to a later operation, so there is an end.
fn follow(map: &BTreeMap<OpRef, OpRef>, mut op: OpRef) -> OpRef {
    while let Some(next) = map.get(&op) {
        op = *next;
    }
    op
}

impl Aliases {
    const fn new() -> Self {
        Self { elements: BTreeMap::new(), values: BTreeMap::new() }
    }

    fn len(&self) -> usize {
        self.elements.len() + self.values.len()
    }

    /// From now on, the element `old` is `new`.
    pub(super) fn add_element(&mut self, old: OpRef, new: OpRef) {
        if old != new {
            self.elements.insert(old, new);
        }
    }

    /// From now on, what `old` put, a value or an object, is what `new` put.
    pub(super) fn add_value(&mut self, old: OpRef, new: OpRef) {
        if old != new {
            self.values.insert(old, new);
        }
    }

    pub(super) fn element(&self, op: OpRef) -> OpRef {
        follow(&self.elements, op)
    }

    pub(super) fn value(&self, op: OpRef) -> OpRef {
        follow(&self.values, op)
    }

    pub(super) fn object(&self, object: ObjId) -> ObjId {
        match object {
            ObjId::Root => ObjId::Root,
            ObjId::Made(made) => ObjId::Made(self.value(made)),
        }
    }

    /// What an object became next; `None` if it is still itself.
    pub(super) fn next_object(&self, object: ObjId) -> Option<ObjId> {
        match object {
            ObjId::Root => None,
            ObjId::Made(made) => self.values.get(&made).copied().map(ObjId::Made),
        }
    }
}

/// What is undone at once.
#[derive(Clone, Debug)]
struct Unit {
    steps: Vec<Inverse>,
    /// When its last edit was.
    at: Time,
}

impl Unit {
    fn cost(&self) -> usize {
        cost(&self.steps)
    }

    /// Notes the steps of one more edit. What was inserted one after the other is one step.
    fn extend(&mut self, steps: Vec<Inverse>) {
        for step in steps {
            match (self.steps.last_mut(), &step) {
                (
                    Some(Inverse::Inserted { object, first, count }),
                    Inverse::Inserted { object: into, first: next, count: more },
                ) if object == into
                    && first.actor == next.actor
                    && first.counter.checked_add(*count) == Some(next.counter) =>
                {
                    *count += more;
                }
                _ => self.steps.push(step),
            }
        }
    }
}

fn cost(steps: &[Inverse]) -> usize {
    steps.iter().map(Inverse::cost).sum()
}

/// The edits that an author can undo, and those undone that it can redo. See the [module](self).
#[derive(Clone, Debug)]
pub struct History {
    pause: Duration,
    undo: VecDeque<Unit>,
    redo: Vec<Unit>,
    aliases: Aliases,
    cost: usize,
    barrier: bool,
}

impl History {
    /// An empty history. Edits of one object are undone together if each comes no later than
    /// `pause` after the one before; half a second feels right to who types.
    pub const fn new(pause: Duration) -> Self {
        Self {
            pause,
            undo: VecDeque::new(),
            redo: Vec::new(),
            aliases: Aliases::new(),
            cost: 0,
            barrier: true,
        }
    }

    /// How many units can be undone.
    pub fn len(&self) -> usize {
        self.undo.len()
    }

    /// Whether nothing can be undone.
    pub fn is_empty(&self) -> bool {
        self.undo.is_empty()
    }

    /// How many units can be redone.
    pub const fn redoable(&self) -> usize {
        self.redo.len()
    }

    /// Notes an edit. What was undone before can't be redone any more.
    pub fn record(&mut self, now: Time, edited: &Edited) {
        let Some(first) = edited.inverse.first() else { return };
        self.redo.clear();
        let steps = edited.inverse.clone();
        let joins = |unit: &Unit| {
            let last = unit.steps.last().map(Inverse::object);
            last == Some(first.object())
                && now.since(unit.at) <= self.pause
                && unit.cost() + cost(&steps) <= MAX_UNIT
        };
        match self.undo.back_mut() {
            Some(unit) if !self.barrier && joins(unit) => {
                self.cost -= unit.cost();
                unit.extend(steps);
                unit.at = now;
                self.cost += unit.cost();
            }
            _ => self.push(Unit { steps, at: now }),
        }
        self.barrier = false;
        self.trim();
    }

    /// The next edit begins a unit of its own.
    pub const fn barrier(&mut self) {
        self.barrier = true;
    }

    /// Forgets everything: the operations that it names are no more.
    pub fn forget(&mut self) {
        *self = Self::new(self.pause);
    }

    fn push(&mut self, unit: Unit) {
        self.cost += unit.cost();
        self.undo.push_back(unit);
    }

    fn trim(&mut self) {
        while self.undo.len() > MAX_UNITS || (self.cost > MAX_STEPS && self.undo.len() > 1) {
            let oldest = self.undo.pop_front().map_or(0, |unit| unit.cost());
            self.cost -= oldest;
        }
        if self.aliases.len() > MAX_ALIASES {
            self.forget();
        }
    }

    /// Takes back the last unit that still has an effect, by an edit of the body. `None` if there
    /// is none. If it fails nothing has happened, and the unit stays.
    pub fn undo(&mut self, now: Time, body: &mut Body) -> Result<Option<Edited>, EditError> {
        while let Some(unit) = self.undo.back() {
            let edited = replay(&unit.steps, &mut self.aliases, body)?;
            if let Some(unit) = self.undo.pop_back() {
                self.cost -= unit.cost();
            }
            self.barrier = true;
            if !edited.inverse.is_empty() {
                self.redo.push(Unit { steps: edited.inverse.clone(), at: now });
                return Ok(Some(edited));
            }
        }
        Ok(None)
    }

    /// Takes back the last undo that still has an effect, if no other edit was noted since.
    pub fn redo(&mut self, now: Time, body: &mut Body) -> Result<Option<Edited>, EditError> {
        while let Some(unit) = self.redo.last() {
            let edited = replay(&unit.steps, &mut self.aliases, body)?;
            self.redo.pop();
            if !edited.inverse.is_empty() {
                self.push(Unit { steps: edited.inverse.clone(), at: now });
                self.barrier = true;
                self.trim();
                return Ok(Some(edited));
            }
        }
        Ok(None)
    }
}

/// Takes back steps, the last first. Aliases are kept only if it succeeds.
fn replay(steps: &[Inverse], aliases: &mut Aliases, body: &mut Body) -> Result<Edited, EditError> {
    let mut new = aliases.clone();
    let ((), edited) = body.edit(|edit| -> Result<(), EditError> {
        steps.iter().rev().try_for_each(|step| edit.take_back(step, &mut new))
    })?;
    *aliases = new;
    Ok(edited)
}
