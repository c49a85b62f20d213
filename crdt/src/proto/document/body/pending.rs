//! What edits have done since the last change of our own.

use automerge::{
    AutomergeError,
    transaction::{OwnedTransaction, Transactable},
};

use crate::proto::document::{
    Kind, SLACK,
    content::{Expand, Mark as TextMark, ObjId, OpRef, Prop, Scalar},
};

/// A call that changes the document. On the same document the same calls make the same operations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Put(ObjId, Prop, Scalar),
    PutObject(ObjId, Prop, Kind),
    Insert(ObjId, usize, Scalar),
    InsertObject(ObjId, usize, Kind),
    Delete(ObjId, Prop),
    Increment(ObjId, Prop, i64),
    /// Inserts text, and deletes so many units behind it.
    Splice(ObjId, usize, usize, String),
    Mark(ObjId, TextMark, Expand),
    Block(ObjId, usize),
}

impl Call {
    /// Does it.
    pub(crate) fn perform(&self, tx: &mut OwnedTransaction) -> Result<(), AutomergeError> {
        match self {
            Self::Put(object, prop, value) => {
                tx.put(object.to_automerge(), prop.to_automerge(), value.to_automerge())
            }
            Self::PutObject(object, prop, kind) => tx
                .put_object(object.to_automerge(), prop.to_automerge(), kind.to_automerge())
                .map(drop),
            Self::Insert(object, index, value) => {
                tx.insert(object.to_automerge(), *index, value.to_automerge())
            }
            Self::InsertObject(object, index, kind) => {
                tx.insert_object(object.to_automerge(), *index, kind.to_automerge()).map(drop)
            }
            Self::Delete(object, prop) => tx.delete(object.to_automerge(), prop.to_automerge()),
            Self::Increment(object, prop, by) => {
                tx.increment(object.to_automerge(), prop.to_automerge(), *by)
            }
            Self::Splice(object, index, delete, text) => {
                let delete = delete.cast_signed();
                tx.splice_text(object.to_automerge(), *index, delete, text)
            }
            Self::Mark(object, mark, expand) => {
                let TextMark { start, end, name, value } = mark;
                let value = value.to_automerge();
                let mark = automerge::marks::Mark::new(name.clone(), value, *start, *end);
                tx.mark(object.to_automerge(), mark, expand.to_automerge())
            }
            Self::Block(object, index) => tx.split_block(object.to_automerge(), *index).map(drop),
        }
    }
}

/// How much the pending change has taken of what rules A and B allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) operations: usize,
    /// Operations but deletes (A3).
    pub(crate) rows: usize,
    /// Predecessors (A3).
    pub(crate) preds: usize,
    /// Bytes of values, which A3 grants rows for.
    pub(crate) values: usize,
    /// Bytes of keys and names of marks.
    pub(crate) names: usize,
    pub(crate) marks: usize,
    pub(crate) objects: usize,
}

impl Room {
    /// With what comes on top. Never overflows: all are lengths of what is in memory.
    pub(crate) const fn with(self, more: &Self) -> Self {
        Self {
            operations: self.operations + more.operations,
            rows: self.rows + more.rows,
            preds: self.preds + more.preds,
            values: self.values + more.values,
            names: self.names + more.names,
            marks: self.marks + more.marks,
            objects: self.objects + more.objects,
        }
    }

    /// Bytes of values and names.
    pub(crate) const fn bytes(&self) -> usize {
        self.values + self.names
    }

    /// What the change weighs (B9) but for its lanes.
    pub(crate) const fn weight(&self) -> u64 {
        2 + self.operations as u64 + 64 * self.marks as u64 + 4 * self.objects as u64
    }

    /// Whether rules A2, A3 and A7 hold, and A1's length by far.
    pub(crate) const fn fits(&self) -> bool {
        use crate::proto::document::{MAX_CHUNK, MAX_MARKS, MAX_OPERATIONS};
        self.operations <= MAX_OPERATIONS
            && self.rows <= self.values + SLACK
            && self.preds <= 2 * self.operations + SLACK
            && self.marks <= MAX_MARKS
            && self.bytes() <= MAX_CHUNK / 2
    }
}

/// Operations in a row that made or wrote into elements of one object.
#[derive(Clone, Copy, Debug)]
struct Placed {
    start: u32,
    len: u32,
    object: ObjId,
    /// What they wrote into; each is an element of its own if none.
    into: Option<OpRef>,
}

/// Where edits stood.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    calls: usize,
    next: u32,
    operations: usize,
    room: Room,
    placed: usize,
    objects: usize,
}

/// The edits since the last commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// The first operation's number.
    first: u32,
    operations: usize,
    calls: Vec<Call>,
    room: Room,
    /// Ascending.
    placed: Vec<Placed>,
    /// Number and depth of each object made, ascending.
    objects: Vec<(u32, u32)>,
}

impl Pending {
    pub(crate) fn after(last_op: u32) -> Self {
        Self { first: last_op + 1, ..Self::default() }
    }

    pub(crate) const fn operations(&self) -> usize {
        self.operations
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.room.bytes()
    }

    pub(crate) const fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Number of the next operation. A change has at most 100,000, and numbers end at 2^31 (A9).
    pub(crate) const fn next(&self) -> u32 {
        self.first + self.operations as u32
    }

    /// Whether one of these operations has that number.
    pub(crate) const fn holds(&self, counter: u32) -> bool {
        self.operations > 0 && counter >= self.first
    }

    /// A call was made, after which there are so many operations.
    pub(crate) fn remember(&mut self, call: Call, operations: usize) {
        self.calls.push(call);
        self.operations = operations;
    }

    pub(crate) fn take_room(&mut self, more: &Room) {
        self.room = self.room.with(more);
    }

    /// These operations made elements of the object, or wrote into one.
    pub(crate) fn place(&mut self, start: u32, len: u32, object: ObjId, into: Option<OpRef>) {
        if let Some(last) = self.placed.last_mut()
            && (last.start + last.len, last.object, last.into, None) == (start, object, into, into)
        {
            last.len += len;
            return;
        }
        self.placed.push(Placed { start, len, object, into });
    }

    pub(crate) fn made(&mut self, counter: u32, depth: u32) {
        self.objects.push((counter, depth));
    }

    /// The element of `object` that one of these operations made or wrote into.
    pub(crate) fn element(&self, object: ObjId, op: OpRef) -> Option<OpRef> {
        let after = self.placed.partition_point(|placed| placed.start <= op.counter);
        let placed = self.placed[..after].last()?;
        let holds = op.counter - placed.start < placed.len && placed.object == object;
        holds.then(|| placed.into.unwrap_or(op))
    }

    pub(crate) fn depth(&self, counter: u32) -> Option<u32> {
        let at = self.objects.binary_search_by_key(&counter, |(made, _)| *made).ok()?;
        Some(self.objects[at].1)
    }

    pub(crate) const fn mark(&self) -> Mark {
        Mark {
            calls: self.calls.len(),
            next: self.first + self.operations as u32,
            operations: self.operations,
            room: self.room,
            placed: self.placed.len(),
            objects: self.objects.len(),
        }
    }

    /// Forgets what came since.
    pub(crate) fn truncate(&mut self, to: &Mark) {
        self.calls.truncate(to.calls);
        self.operations = to.operations;
        self.room = to.room;
        self.placed.truncate(to.placed);
        if let Some(last) = self.placed.last_mut() {
            // The last may have grown.
            last.len = last.len.min(to.next - last.start);
        }
        self.objects.truncate(to.objects);
    }
}
