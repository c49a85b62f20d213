//! Cursors that move with what is around them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::proto::document::{
    anchor::{Anchor, Bias},
    content::ObjId,
    view::{View, ViewError},
};

const VERSION: u8 = 1;

/// A place in a list or text of a document, or a stretch that is selected: whatever others write
/// around it, it stays with what it was set to. For [`Presence`](super::Presence), and for links.
///
/// With serde it is a byte string, or a string of base64url where people read:
///
/// | bytes | field |
/// |---|---|
/// | 1 | 1 |
/// | 1, n | length of the [anchor](crate::proto::document::anchor) where the selection began, and it |
/// | n | the anchor where the cursor is |
///
/// Cursors come from others, so any bytes may: what is none isn't decoded, and one that names
/// nothing is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    begin: Anchor,
    head: Anchor,
}

/// Where a cursor is in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorPosition {
    /// The list or text.
    pub object: ObjId,
    /// Where the selection began; the same place if nothing is selected.
    pub begin: usize,
    /// Where the cursor is: before or behind that.
    pub head: usize,
}

impl Cursor {
    /// A cursor at an index of a list or text; what others insert just there comes behind it.
    /// `None` if that is beyond the end, or the document is looked at as it was.
    ///
    /// # Errors
    /// There is no such object, or it is of another kind.
    pub fn at(view: &View<'_>, object: ObjId, index: usize) -> Result<Option<Self>, ViewError> {
        let head = view.anchor(object, index, Bias::Before)?;
        Ok(head.map(|head| Self { begin: head, head }))
    }

    /// A selection, from where it began to where the cursor is, which may be before that. What
    /// others insert at its ends isn't selected.
    ///
    /// # Errors
    /// There is no such object, or it is of another kind.
    pub fn select(
        view: &View<'_>,
        object: ObjId,
        begin: usize,
        head: usize,
    ) -> Result<Option<Self>, ViewError> {
        let (first, last) = match begin.cmp(&head) {
            std::cmp::Ordering::Less => (Bias::After, Bias::Before),
            std::cmp::Ordering::Equal => return Self::at(view, object, head),
            std::cmp::Ordering::Greater => (Bias::Before, Bias::After),
        };
        let begin = view.anchor(object, begin, first)?;
        let head = view.anchor(object, head, last)?;
        Ok(begin.zip(head).map(|(begin, head)| Self { begin, head }))
    }

    /// Where it is now; `None` if it names nothing in this document, or the document is looked at
    /// as it was.
    ///
    /// # Errors
    /// The document can't be read.
    pub fn position(&self, view: &View<'_>) -> Result<Option<CursorPosition>, ViewError> {
        let (begin, head) = (view.position(&self.begin)?, view.position(&self.head)?);
        let object = self.head.object();
        Ok(begin.zip(head).map(|(begin, head)| CursorPosition { object, begin, head }))
    }

    fn to_bytes(self) -> Vec<u8> {
        let begin = self.begin.to_bytes();
        let length = u8::try_from(begin.len()).expect("an anchor has 42 bytes at most");
        [&[VERSION, length][..], &begin, &self.head.to_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[version, length], rest) = bytes.split_first_chunk()?;
        let (begin, head) = rest.split_at_checked(usize::from(length))?;
        let (begin, head) = (Anchor::from_bytes(begin)?, Anchor::from_bytes(head)?);
        let is_one = version == VERSION && begin.object() == head.object();
        is_one.then_some(Self { begin, head })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.to_bytes();
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&BASE64URL_NOPAD.encode(&bytes)),
            false => serializer.serialize_bytes(&bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Cursor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cursor of a document")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cursor, E> {
                let cursor = Cursor::from_bytes(bytes);
                cursor.ok_or_else(|| E::invalid_value(de::Unexpected::Bytes(bytes), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cursor, E> {
                let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
                let cursor = bytes.as_deref().and_then(Cursor::from_bytes);
                cursor.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Visitor),
            false => deserializer.deserialize_bytes(Visitor),
        }
    }
}
