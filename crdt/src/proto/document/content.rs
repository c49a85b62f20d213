//! What is in a document: values, objects and their names, as readers and writers see them.
//!
//! An object is named by the operation that made it, an [`OpRef`], which is the same on every
//! replica and for ever. Such names may come from anywhere: one that names nothing is answered by
//! an error and not by a panic.

mod text;

use std::{collections::BTreeMap, fmt};

use automerge::ObjType;

pub use text::{Expand, Mark, Span, TextUnit};

use super::{ActorId, Kind};

/// What stands for a block in a text that is read as a string.
pub const PLACEHOLDER: char = '\u{fffc}';

/// An operation: of which actor, and its number. Ascending as documents order them: by number, then
/// by actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpRef {
    /// Its number.
    pub counter: u32,
    /// Who wrote it.
    pub actor: ActorId,
}

impl fmt::Debug for OpRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.actor.0;
        write!(f, "{}@{first:02x}{second:02x}", self.counter)
    }
}

impl OpRef {
    /// The operation in Automerge's terms. Its index of the actor is a guess that never holds, so
    /// that Automerge looks the actor up.
    pub(super) fn to_automerge(self) -> automerge::ObjId {
        let actor = automerge::ActorId::from(self.actor.0);
        automerge::ObjId::Id(self.counter.into(), actor, usize::MAX)
    }

    /// A cursor on what it wrote; `None` if no operation has that number.
    pub(super) fn to_cursor(self) -> Option<automerge::Cursor> {
        let actor = automerge::ActorId::from(self.actor.0).to_hex_string();
        automerge::Cursor::try_from(format!("{}@{actor}", self.counter)).ok()
    }

    /// `None` for the root, and for what no change that was taken can have made.
    pub(super) fn of(id: &automerge::ObjId) -> Option<Self> {
        let automerge::ObjId::Id(counter, actor, _) = id else { return None };
        let actor = ActorId(actor.to_bytes().try_into().ok()?);
        Some(Self { counter: u32::try_from(*counter).ok()?, actor })
    }
}

/// A map, list or text of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjId {
    /// The map that every document begins with.
    Root,
    /// Made by this operation.
    Made(OpRef),
}

impl ObjId {
    pub(super) fn to_automerge(self) -> automerge::ObjId {
        match self {
            Self::Root => automerge::ROOT,
            Self::Made(made) => made.to_automerge(),
        }
    }

    pub(super) fn of(id: &automerge::ObjId) -> Option<Self> {
        match id {
            automerge::ObjId::Root => Some(Self::Root),
            id @ automerge::ObjId::Id(..) => OpRef::of(id).map(Self::Made),
        }
    }
}

/// A place in an object: a key of a map, or an index into a list or text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prop {
    /// A key of a map.
    Key(String),
    /// An index: elements of a list, [units](TextUnit) of a text.
    Index(usize),
}

impl From<&str> for Prop {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl From<String> for Prop {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Prop {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Prop {
    pub(super) fn to_automerge(&self) -> automerge::Prop {
        match self {
            Self::Key(key) => automerge::Prop::Map(key.clone()),
            Self::Index(index) => automerge::Prop::Seq(*index),
        }
    }

    pub(super) fn of(prop: automerge::Prop) -> Self {
        match prop {
            automerge::Prop::Map(key) => Self::Key(key),
            automerge::Prop::Seq(index) => Self::Index(index),
        }
    }
}

/// A value that is no object.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Null,
    Boolean(bool),
    Uint(u64),
    Int(i64),
    F64(f64),
    Str(String),
    Bytes(Vec<u8>),
    /// Its start with all that was added to it. Concurrent increments add up. Reading it costs as
    /// many steps as there are increments: what is counted often belongs in a counter of the space.
    Counter(i64),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
}

impl Scalar {
    pub(super) fn to_automerge(&self) -> automerge::ScalarValue {
        use automerge::ScalarValue as Other;
        match self {
            Self::Null => Other::Null,
            Self::Boolean(value) => Other::Boolean(*value),
            Self::Uint(value) => Other::Uint(*value),
            Self::Int(value) => Other::Int(*value),
            Self::F64(value) => Other::F64(*value),
            Self::Str(value) => Other::Str(value.as_str().into()),
            Self::Bytes(value) => Other::Bytes(value.clone()),
            Self::Counter(value) => Other::counter(*value),
            Self::Timestamp(value) => Other::Timestamp(*value),
        }
    }

    pub(super) fn of(value: &automerge::ScalarValue) -> Self {
        use automerge::ScalarValue as Other;
        match value {
            // No change that is taken has a value of an unknown type (A7).
            Other::Null | Other::Unknown { .. } => Self::Null,
            Other::Boolean(value) => Self::Boolean(*value),
            Other::Uint(value) => Self::Uint(*value),
            Other::Int(value) => Self::Int(*value),
            Other::F64(value) => Self::F64(*value),
            Other::Str(value) => Self::Str(value.to_string()),
            Other::Bytes(value) => Self::Bytes(value.clone()),
            Other::Counter(value) => Self::Counter(value.into()),
            Other::Timestamp(value) => Self::Timestamp(*value),
        }
    }

    /// How many bytes it takes in a change, at least: what A3 grants rows for.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) => 0,
            Self::Uint(_) | Self::Int(_) | Self::Counter(_) | Self::Timestamp(_) => 1,
            Self::F64(_) => 8,
            Self::Str(value) => value.len(),
            Self::Bytes(value) => value.len(),
        }
    }
}

macro_rules! scalar_from {
    ($($from:ty => $into:expr),* $(,)?) => {
        $(impl From<$from> for Scalar {
            fn from(value: $from) -> Self {
                $into(value)
            }
        })*
    };
}

scalar_from! {
    bool => Self::Boolean,
    u64 => Self::Uint,
    u32 => |value| Self::Uint(u64::from(value)),
    i64 => Self::Int,
    i32 => |value| Self::Int(i64::from(value)),
    f64 => Self::F64,
    String => Self::Str,
    &str => |value: &str| Self::Str(value.into()),
    Vec<u8> => Self::Bytes,
}

/// What stands at one place: a value, or an object that can be looked into.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A value.
    Scalar(Scalar),
    /// An object of that kind.
    Object(Kind, ObjId),
}

impl Node {
    /// `None` for a table, which no change that is taken can make (A7).
    pub(super) fn of(value: &automerge::Value<'_>, id: &automerge::ObjId) -> Option<Self> {
        match value {
            automerge::Value::Scalar(value) => Some(Self::Scalar(Scalar::of(value))),
            automerge::Value::Object(kind) => Some(Self::Object(Kind::of(*kind)?, ObjId::of(id)?)),
        }
    }

    /// The object, if it is one.
    pub const fn object(&self) -> Option<ObjId> {
        match self {
            Self::Scalar(_) => None,
            Self::Object(_, object) => Some(*object),
        }
    }

    /// It alone, with nothing in it.
    pub(super) fn bare(&self) -> Content {
        match self {
            Self::Scalar(value) => Content::Scalar(value.clone()),
            Self::Object(Kind::Map, _) => Content::Map(BTreeMap::new()),
            Self::Object(Kind::List, _) => Content::List(Vec::new()),
            Self::Object(Kind::Text, _) => Content::Text(String::new()),
        }
    }
}

impl Kind {
    pub(super) const fn to_automerge(self) -> ObjType {
        match self {
            Self::Map => ObjType::Map,
            Self::List => ObjType::List,
            Self::Text => ObjType::Text,
        }
    }

    pub(super) const fn of(kind: ObjType) -> Option<Self> {
        match kind {
            ObjType::Map => Some(Self::Map),
            ObjType::List => Some(Self::List),
            ObjType::Text => Some(Self::Text),
            ObjType::Table => None,
        }
    }
}

/// A value, or an object with all that is in it. Of conflicting values it holds the winners, of
/// texts the characters without marks, with a [`PLACEHOLDER`] for each block.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A value.
    Scalar(Scalar),
    /// A map.
    Map(BTreeMap<String, Self>),
    /// A list.
    List(Vec<Self>),
    /// A text.
    Text(String),
}

impl<S: Into<Scalar>> From<S> for Content {
    fn from(value: S) -> Self {
        Self::Scalar(value.into())
    }
}

impl Content {
    /// An empty map.
    pub const fn map() -> Self {
        Self::Map(BTreeMap::new())
    }

    pub(super) fn of(value: &automerge::hydrate::Value) -> Self {
        use automerge::hydrate::Value;
        match value {
            Value::Scalar(value) => Self::Scalar(Scalar::of(value)),
            Value::Map(map) => {
                let entries = map.iter().map(|(key, value)| (key.clone(), Self::of(&value.value)));
                Self::Map(entries.collect())
            }
            Value::List(list) => {
                Self::List(list.iter().map(|item| Self::of(&item.value)).collect())
            }
            Value::Text(text) => Self::Text(text.to_string()),
        }
    }
}

/// A value of Automerge's with its operation.
pub(super) fn tagged(
    (value, id): (automerge::Value<'_>, automerge::ObjId),
) -> Option<(Node, OpRef)> {
    Some((Node::of(&value, &id)?, OpRef::of(&id)?))
}
