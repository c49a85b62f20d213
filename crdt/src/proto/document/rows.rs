//! Operations: the two passes over the columns, and the shapes (A2, A3, A6 to A10).

mod scan;
mod shape;

use std::ops::Range;

use super::{
    ActorId, Column, DecodeError, MAX_COUNTER, MAX_INCREMENT,
    chunk::Columns,
    column::{Booleans, ColumnError, Delta, Reader, Rle},
};

pub(super) use scan::{Totals, scan};
use shape::Shapes;

/// The name of an operation, and of what it made: an object, or an element of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// The operation's number: at least 1.
    pub counter: u32,
    /// Index in the change's [`actors`](super::Change::actors).
    pub actor: u32,
}

/// The object that an operation is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// The map that every document is.
    Root,
    /// What this operation made.
    Made(OpId),
}

/// The place in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    /// A map's key.
    Map(&'a str),
    /// Before a sequence's first element.
    Head,
    /// This element of a sequence; behind it, if the operation inserts.
    Element(OpId),
}

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Strings to values.
    Map,
    /// A sequence of values.
    List,
    /// A sequence of characters, with marks.
    Text,
}

/// A scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are Automerge's")]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    Uint(u64),
    Int(i64),
    F64(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    /// Its start: increments are operations of their own.
    Counter(i64),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// Makes an object, which has the operation's id.
    Make(Kind),
    /// Puts a value.
    Set(Value<'a>),
    /// Takes its predecessors away. It leaves no row in the document.
    Delete,
    /// Adds to the counters that are its predecessors.
    Increment(i64),
    /// Begins a mark; the next operation ends it.
    MarkBegin {
        /// The mark's name.
        name: &'a str,
        /// Its value; null takes the mark of that name away.
        value: Value<'a>,
        /// Whether text inserted at the beginning gets the mark.
        expand: bool,
    },
    /// Ends the mark that the operation before began.
    MarkEnd {
        /// Whether text inserted at the end gets the mark.
        expand: bool,
    },
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// The object it is in.
    pub object: ObjectId,
    /// Where in the object.
    pub key: Key<'a>,
    /// Whether it makes a new element behind the key.
    pub insert: bool,
    /// What it does.
    pub action: Action<'a>,
    /// Where its predecessors are in the change's.
    pub(super) preds: Range<usize>,
}

/// The second pass: reads operations one by one. [`scan()`] has found the columns to be canonical
/// and as long as they must be.
pub(super) fn expand<'a>(
    columns: &Columns<'a>,
    actors: &[ActorId],
    totals: &Totals,
) -> Result<(Vec<Row<'a>>, Vec<OpId>), DecodeError> {
    let mut rows = Vec::with_capacity(totals.operations);
    let mut preds = Vec::with_capacity(totals.preds);
    let mut expander = Expander::new(columns);
    let mut shapes = Shapes::default();
    for place in 0..totals.operations {
        let raw = expander.next(actors, &mut preds)?;
        let row = shapes.check(place, raw)?;
        rows.push(row);
    }
    shapes.end(totals.operations)?;
    named_once(&rows, &preds)?;
    Ok((rows, preds))
}

/// A10: sorts what operations but increments name, and looks for neighbours that are equal.
fn named_once(rows: &[Row<'_>], preds: &[OpId]) -> Result<(), DecodeError> {
    let replacing = rows.iter().filter(|row| !matches!(row.action, Action::Increment(_)));
    let mut named: Vec<OpId> =
        replacing.flat_map(|row| &preds[row.preds.clone()]).copied().collect();
    named.sort_unstable();
    if named.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(DecodeError::PredTwice);
    }
    Ok(())
}

/// An operation as its columns say it, before its shape has been looked at.
struct Raw<'a> {
    object: ObjectId,
    key: Key<'a>,
    insert: bool,
    action: u64,
    value: Value<'a>,
    /// Bytes of the value.
    value_len: usize,
    expand: bool,
    mark_name: Option<&'a str>,
    preds: Range<usize>,
}

/// A reader for each column.
struct Expander<'a> {
    object_actor: Rle<'a, u64>,
    object_counter: Rle<'a, u64>,
    key_actor: Rle<'a, u64>,
    key_counter: Delta<'a>,
    key_string: Rle<'a, &'a str>,
    insert: Booleans<'a>,
    action: Rle<'a, u64>,
    value_meta: Rle<'a, u64>,
    value: Reader<'a>,
    pred_count: Rle<'a, u64>,
    pred_actor: Rle<'a, u64>,
    pred_counter: Delta<'a>,
    expand: Booleans<'a>,
    mark_name: Rle<'a, &'a str>,
}

/// Says in which column something is wrong.
fn at(column: Column) -> impl Fn(ColumnError) -> DecodeError {
    move |error| DecodeError::Column(column, error)
}

/// An id out of its two columns. The first pass has checked the actor.
fn op_id(actor: u64, counter: u64) -> Option<OpId> {
    let id = OpId { counter: u32::try_from(counter).ok()?, actor: u32::try_from(actor).ok()? };
    (id.counter > 0).then_some(id)
}

impl<'a> Expander<'a> {
    fn new(columns: &Columns<'a>) -> Self {
        Self {
            object_actor: Rle::new(columns.get(Column::ObjectActor)),
            object_counter: Rle::new(columns.get(Column::ObjectCounter)),
            key_actor: Rle::new(columns.get(Column::KeyActor)),
            key_counter: Delta::new(columns.get(Column::KeyCounter)),
            key_string: Rle::new(columns.get(Column::KeyString)),
            insert: Booleans::new(columns.get(Column::Insert)),
            action: Rle::new(columns.get(Column::Action)),
            value_meta: Rle::new(columns.get(Column::ValueMeta)),
            value: Reader::new(columns.get(Column::Value)),
            pred_count: Rle::new(columns.get(Column::PredCount)),
            pred_actor: Rle::new(columns.get(Column::PredActor)),
            pred_counter: Delta::new(columns.get(Column::PredCounter)),
            expand: Booleans::new(columns.get(Column::Expand)),
            mark_name: Rle::new(columns.get(Column::MarkName)),
        }
    }

    fn next(&mut self, actors: &[ActorId], preds: &mut Vec<OpId>) -> Result<Raw<'a>, DecodeError> {
        let object = self.object()?;
        let key = self.key()?;
        let insert = self.insert.next_value().map_err(at(Column::Insert))?;
        let action = self.action.next_value().map_err(at(Column::Action))?;
        let action = action.ok_or(DecodeError::Column(Column::Action, ColumnError::Null))?;
        let (value, value_len) = self.value()?;
        let preds = self.preds(actors, preds)?;
        let expand = self.expand.next_value().map_err(at(Column::Expand))?;
        let mark_name = self.mark_name.next_value().map_err(at(Column::MarkName))?;
        Ok(Raw { object, key, insert, action, value, value_len, expand, mark_name, preds })
    }

    fn object(&mut self) -> Result<ObjectId, DecodeError> {
        let actor = self.object_actor.next_value().map_err(at(Column::ObjectActor))?;
        let counter = self.object_counter.next_value().map_err(at(Column::ObjectCounter))?;
        match (actor, counter) {
            (None, None) => Ok(ObjectId::Root),
            (Some(actor), Some(counter)) => {
                op_id(actor, counter).map(ObjectId::Made).ok_or(DecodeError::Object)
            }
            (Some(_), None) | (None, Some(_)) => Err(DecodeError::Object),
        }
    }

    fn key(&mut self) -> Result<Key<'a>, DecodeError> {
        let actor = self.key_actor.next_value().map_err(at(Column::KeyActor))?;
        let counter = self.key_counter.next_value().map_err(at(Column::KeyCounter))?;
        let string = self.key_string.next_value().map_err(at(Column::KeyString))?;
        match (actor, counter, string) {
            (None, None, Some(string)) => Ok(Key::Map(string)),
            (None, Some(0), None) => Ok(Key::Head),
            (Some(actor), Some(counter), None) => {
                op_id(actor, counter.into()).map(Key::Element).ok_or(DecodeError::Key)
            }
            _ => Err(DecodeError::Key),
        }
    }

    fn value(&mut self) -> Result<(Value<'a>, usize), DecodeError> {
        let meta = self.value_meta.next_value().map_err(at(Column::ValueMeta))?;
        let meta = meta.ok_or(DecodeError::Column(Column::ValueMeta, ColumnError::Null))?;
        let bytes = self.value.take(meta >> 4).map_err(at(Column::Value))?;
        let value = Value::read(meta, bytes).map_err(at(Column::Value))?;
        match value {
            Value::Counter(start) if start.unsigned_abs() > MAX_COUNTER.unsigned_abs() => {
                Err(DecodeError::Counter)
            }
            _ => Ok((value, bytes.len())),
        }
    }

    /// Appends an operation's predecessors to all of them.
    fn preds(
        &mut self,
        actors: &[ActorId],
        preds: &mut Vec<OpId>,
    ) -> Result<Range<usize>, DecodeError> {
        let start = preds.len();
        let count = self.pred_count.next_value().map_err(at(Column::PredCount))?;
        let mut before = None;
        for _ in 0..count.unwrap_or(0) {
            let actor = self.pred_actor.next_value().map_err(at(Column::PredActor))?;
            let counter = self.pred_counter.next_value().map_err(at(Column::PredCounter))?;
            let id = actor.zip(counter).and_then(|(actor, counter)| op_id(actor, counter.into()));
            let id = id.ok_or(DecodeError::PredOrder)?;
            let actor = actors.get(id.actor as usize).ok_or(DecodeError::ActorIndex)?;
            let rank = Some((id.counter, actor));
            if before >= rank {
                return Err(DecodeError::PredOrder);
            }
            before = rank;
            preds.push(id);
        }
        Ok(start..preds.len())
    }
}

impl<'a> Value<'a> {
    /// Reads a value of which the first pass has checked the type. Refuses what is left over.
    fn read(meta: u64, bytes: &'a [u8]) -> Result<Self, ColumnError> {
        let mut reader = Reader::new(bytes);
        let value = match meta & 0xf {
            0 => Self::Null,
            1 => Self::Boolean(false),
            2 => Self::Boolean(true),
            3 => Self::Uint(reader.unsigned()?),
            4 => Self::Int(reader.signed()?),
            5 => Self::F64(f64::from_le_bytes(reader.array()?)),
            6 => Self::Str(reader.text(meta >> 4)?),
            7 => Self::Bytes(reader.take(meta >> 4)?),
            8 => Self::Counter(reader.signed()?),
            9 => Self::Timestamp(reader.signed()?),
            _ => return Err(ColumnError::Range),
        };
        if reader.is_empty() { Ok(value) } else { Err(ColumnError::Range) }
    }

    /// A number that may be added.
    const fn as_increment(self) -> Option<i64> {
        match self {
            Self::Int(by) if by.unsigned_abs() <= MAX_INCREMENT.unsigned_abs() => Some(by),
            _ => None,
        }
    }
}
