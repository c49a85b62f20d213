//! The table of shapes (A7), and the bounds of increments (A8).

use super::{Action, Key, Kind, ObjectId, Raw, Row, Value};
use crate::proto::document::{DecodeError, MAX_KEY, MAX_MARK_NAME, MAX_MARK_VALUE};

/// Checks operations in order: an end of a mark stands right behind its begin.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// The object of the mark that the operation before began.
    open: Option<ObjectId>,
}

impl Shapes {
    /// The row that the operation is, at `place` in its change.
    pub(super) fn check<'a>(&mut self, place: usize, raw: Raw<'a>) -> Result<Row<'a>, DecodeError> {
        let shape = DecodeError::Shape(place);
        if matches!(raw.key, Key::Map(key) if key.len() > MAX_KEY) {
            return Err(DecodeError::KeyLength);
        }
        let action = action(&raw, shape)?;
        let ends = matches!(action, Action::MarkEnd { .. });
        // Either both hold or neither: an end without a begin, a begin without an end.
        if self.open.take() != ends.then_some(raw.object) {
            return Err(shape);
        }
        if matches!(action, Action::MarkBegin { .. }) {
            self.open = Some(raw.object);
        }
        placed(&raw, &action).then_some(()).ok_or(shape)?;
        let Raw { object, key, insert, preds, .. } = raw;
        Ok(Row { object, key, insert, action, preds })
    }

    /// There is no more: `operations` is how many there were.
    pub(super) fn end(&self, operations: usize) -> Result<(), DecodeError> {
        self.open.is_none().then_some(()).ok_or(DecodeError::Shape(operations.saturating_sub(1)))
    }
}

/// What the operation does, if its value, its name and its flag are of that action.
fn action<'a>(raw: &Raw<'a>, shape: DecodeError) -> Result<Action<'a>, DecodeError> {
    let plain = !raw.expand && raw.mark_name.is_none();
    let null = raw.value == Value::Null;
    match raw.action {
        0 if plain && null => Ok(Action::Make(Kind::Map)),
        2 if plain && null => Ok(Action::Make(Kind::List)),
        4 if plain && null => Ok(Action::Make(Kind::Text)),
        1 if plain => Ok(Action::Set(raw.value)),
        3 if plain && null => Ok(Action::Delete),
        5 if plain && matches!(raw.value, Value::Int(_)) => {
            raw.value.as_increment().map(Action::Increment).ok_or(DecodeError::Increment)
        }
        7 => mark(raw, shape),
        _ => Err(shape),
    }
}

fn mark<'a>(raw: &Raw<'a>, shape: DecodeError) -> Result<Action<'a>, DecodeError> {
    let (value, expand) = (raw.value, raw.expand);
    match raw.mark_name {
        Some(name) if name.is_empty() || name.len() > MAX_MARK_NAME => Err(DecodeError::MarkName),
        Some(_) if raw.value_len > MAX_MARK_VALUE => Err(DecodeError::MarkValue),
        Some(name) => Ok(Action::MarkBegin { name, value, expand }),
        None if value == Value::Null => Ok(Action::MarkEnd { expand }),
        None => Err(shape),
    }
}

/// Whether the action can be at that key, insert or not, and have these predecessors.
fn placed(raw: &Raw<'_>, action: &Action<'_>) -> bool {
    let inserts = raw.insert && !matches!(raw.key, Key::Map(_)) && raw.preds.is_empty();
    let replaces = !raw.insert && raw.key != Key::Head;
    match action {
        Action::Set(_) | Action::Make(_) => inserts || replaces,
        Action::Delete | Action::Increment(_) => replaces && !raw.preds.is_empty(),
        Action::MarkBegin { .. } | Action::MarkEnd { .. } => inserts,
    }
}
