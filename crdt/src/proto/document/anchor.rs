//! Positions that keep their place while others edit.
//!
//! An anchor stands before or behind an element of a list or a character of a text, by that
//! element's name. Wherever the element moves, the anchor goes too; when it is deleted, the anchor
//! stays where it was. At the beginning or the end of the object it may be on no element.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | 1 |
//! | 1 | 0 after, 1 before; + 2 if the object was made, + 4 if it is on an element |
//! | 20 | if made, the object: number, actor |
//! | 20 | if on one, the element: number, actor |
//!
//! Integers are big endian. Anchors are sent to others, in presence and in links, so any bytes may
//! come back: what is no anchor isn't decoded, and what names nothing has no
//! [position](super::view::View::position).

use aether_core::wire::{Reader, WireError, Writer};

use super::{
    ActorId,
    content::{ObjId, OpRef},
};

const VERSION: u8 = 1;
const BEFORE: u8 = 1;
const MADE: u8 = 2;
const ELEMENT: u8 = 4;

/// Which element an anchor keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bias {
    /// The one before it: what is inserted at the anchor comes after it.
    Before,
    /// The one after it: what is inserted at the anchor comes before it.
    After,
}

/// A position in a list or text. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anchor {
    object: ObjId,
    element: Option<OpRef>,
    bias: Bias,
}

impl Anchor {
    pub(super) const fn on(object: ObjId, element: OpRef, bias: Bias) -> Self {
        Self { object, element: Some(element), bias }
    }

    pub(super) const fn at_end(object: ObjId, bias: Bias) -> Self {
        Self { object, element: None, bias }
    }

    /// The list or text, as the anchor says.
    pub const fn object(&self) -> ObjId {
        self.object
    }

    pub(super) const fn element(&self) -> Option<OpRef> {
        self.element
    }

    /// Which element it keeps to.
    pub const fn bias(&self) -> Bias {
        self.bias
    }

    /// Its bytes: 42 at most.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(42);
        let made = match self.object {
            ObjId::Root => None,
            ObjId::Made(made) => Some(made),
        };
        let flags = if self.bias == Bias::Before { BEFORE } else { 0 }
            | if made.is_some() { MADE } else { 0 }
            | if self.element.is_some() { ELEMENT } else { 0 };
        writer.u8(VERSION).u8(flags);
        for op in made.iter().chain(&self.element) {
            writer.u32(op.counter).array(&op.actor.0);
        }
        writer.finish()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let anchor = Self::read(&mut reader).ok().flatten()?;
        reader.end().ok()?;
        Some(anchor)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, WireError> {
        let (version, flags) = (reader.u8()?, reader.u8()?);
        if version != VERSION || flags > BEFORE | MADE | ELEMENT {
            return Ok(None);
        }
        let mut op = |flag| {
            (flags & flag != 0)
                .then(|| Ok(OpRef { counter: reader.u32()?, actor: ActorId(reader.array()?) }))
                .transpose()
        };
        let object = op(MADE)?.map_or(ObjId::Root, ObjId::Made);
        let element = op(ELEMENT)?;
        let bias = if flags & BEFORE != 0 { Bias::Before } else { Bias::After };
        Ok(Some(Self { object, element, bias }))
    }
}
