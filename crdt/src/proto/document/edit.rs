//! Writing a document.
//!
//! An [`Edit`] is all or nothing: if the closure that gets it fails, nothing of it happened. What
//! it writes is shown at once, is part of the next change of our own, and says by patches what it
//! did. It refuses what rules A and B refuse, before Automerge is asked:
//!
//! | refused | why |
//! |---|---|
//! | values put or inserted into texts | a text holds characters, marks and blocks (B4) |
//! | adding to what is no counter, or conflicts with what is none | B7 |
//! | counters beyond ±2^53, increments beyond ±2^32 | A8: no sum overflows |
//! | keys of more than 1 KiB; names of marks of 0 or more than 128 bytes, values of more than 4 KiB | A7 |
//! | objects more than 64 deep | B4 |
//! | positions within a character | the operation would be elsewhere |
//! | more than a change holds | A2, A3; what is pending can be committed first |
//! | more than a document holds | B9 |
//!
//! A write to a place where values conflict overwrites them all.

mod replay;
mod text;
mod write;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{
    Kind, MAX_COUNTER, MAX_INCREMENT, MAX_KEY,
    body::{Body, Broken, Call, Room},
    content::{Content, Node, ObjId, OpRef, Prop, Scalar},
    patch::{Patch, PatchAction},
    rules::MAX_DEPTH,
    typed::Misshapen,
    undo::{Between, Gone, Inverse, Place},
    view::{View, ViewError},
};

/// Why an edit is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The object is of another kind, or the place of a kind that it doesn't have.
    #[error("the object is of another kind")]
    WrongType,
    /// What is there is no counter, or conflicts with what is none.
    #[error("what is there is no counter")]
    NotACounter,
    /// An index beyond the end, or within a character; an empty range for a mark.
    #[error("the position is out of range")]
    OutOfRange,
    /// More than a key, a value, a change or a document may have.
    #[error("it is too large")]
    TooLarge,
    /// Other replicas would refuse it.
    #[error("documents don't hold that")]
    Unsupported,
    /// The document isn't of the program's type.
    #[error(transparent)]
    Shape(#[from] Misshapen),
    /// The closure's own reason.
    #[error("{0}")]
    Custom(String),
    /// See [`Broken`].
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl From<ViewError> for EditError {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::NotFound => Self::NotFound,
            ViewError::WrongType => Self::WrongType,
            ViewError::Broken(broken) => Self::Broken(broken),
        }
    }
}

/// What an edit did.
#[derive(Clone, Debug, Default)]
pub struct Edited {
    /// What became different in what is shown.
    pub patches: Vec<Patch>,
    /// How to take it back: for [`History`](super::undo::History).
    pub(super) inverse: Vec<Inverse>,
}

/// A document to write. See the [module](self).
#[derive(Debug)]
pub struct Edit<'a> {
    body: &'a mut Body,
    done: Edited,
}

impl Body {
    /// Edits the document, all or nothing. What `edit` did is pending until the next
    /// [`commit`](Self::commit).
    ///
    /// If it fails or panics, it is taken back and what was pending before is done again, which
    /// takes as long as it took. A panic goes on to the caller.
    pub fn edit<T, E: From<EditError>>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, E>,
    ) -> Result<(T, Edited), E> {
        if self.is_broken() {
            return Err(EditError::Broken(Broken).into());
        }
        let before = self.savepoint();
        let mut writer = Edit { body: self, done: Edited::default() };
        let result = catch_unwind(AssertUnwindSafe(|| edit(&mut writer)));
        let done = writer.done;
        // A closure may have passed over an error that broke the document.
        if self.is_broken() {
            return match result {
                Err(panic) => resume_unwind(panic),
                Ok(_) => Err(EditError::Broken(Broken).into()),
            };
        }
        match result {
            Ok(Ok(value)) => Ok((value, done)),
            Ok(Err(error)) => {
                self.roll_back(&before).map_err(EditError::Broken)?;
                Err(error)
            }
            Err(panic) => {
                // Whether it can be taken back or not, the panic is what the caller has to know.
                let _ = self.roll_back(&before);
                resume_unwind(panic)
            }
        }
    }
}

impl Edit<'_> {
    pub(super) const fn body(&self) -> &Body {
        self.body
    }

    /// The document as it is now, with what this edit did.
    pub fn view(&self) -> Result<View<'_>, Broken> {
        self.body.view()
    }

    /// Puts a value at a key of a map, or replaces what is at an index of a list.
    pub fn put(
        &mut self,
        object: ObjId,
        prop: impl Into<Prop>,
        value: impl Into<Scalar>,
    ) -> Result<(), EditError> {
        let (prop, value) = (prop.into(), value.into());
        check(&value)?;
        let before = self.register(object, &prop)?;
        if let [(Node::Scalar(there), _)] = &before[..]
            && *there == value
        {
            return Ok(());
        }
        let room = Room { values: value.bytes(), ..Room::default() };
        self.set(object, prop.clone(), room, before, Call::Put(object, prop, value))
    }

    /// Puts a new, empty object at a key of a map, or in place of what is at an index of a list.
    pub fn put_object(
        &mut self,
        object: ObjId,
        prop: impl Into<Prop>,
        kind: Kind,
    ) -> Result<ObjId, EditError> {
        let prop = prop.into();
        let before = self.register(object, &prop)?;
        let depth = self.deeper(object)?;
        let made = self.body.next_op();
        let room = Room { objects: 1, ..Room::default() };
        self.set(object, prop.clone(), room, before, Call::PutObject(object, prop, kind))?;
        self.body.pending_mut().made(made.counter, depth);
        Ok(ObjId::Made(made))
    }

    /// Inserts a value into a list, before what is at an index or at the end.
    pub fn insert(
        &mut self,
        list: ObjId,
        index: usize,
        value: impl Into<Scalar>,
    ) -> Result<(), EditError> {
        let value = value.into();
        check(&value)?;
        let room = Room { values: value.bytes(), ..Room::default() };
        let node = Node::Scalar(value.clone());
        self.insert_node(list, index, room, node, Call::Insert(list, index, value))
    }

    /// Inserts a new, empty object into a list.
    pub fn insert_object(
        &mut self,
        list: ObjId,
        index: usize,
        kind: Kind,
    ) -> Result<ObjId, EditError> {
        let depth = self.deeper(list)?;
        let made = ObjId::Made(self.body.next_op());
        let counter = self.body.next_op().counter;
        let room = Room { objects: 1, ..Room::default() };
        let node = Node::Object(kind, made);
        self.insert_node(list, index, room, node, Call::InsertObject(list, index, kind))?;
        self.body.pending_mut().made(counter, depth);
        Ok(made)
    }

    /// Puts a value or a whole tree at a key or index; returns the object, if it is one.
    pub fn put_content(
        &mut self,
        object: ObjId,
        prop: impl Into<Prop>,
        content: &Content,
    ) -> Result<Option<ObjId>, EditError> {
        let prop = prop.into();
        let made = match (content, content.kind()) {
            (Content::Scalar(value), _) => {
                self.put(object, prop, value.clone())?;
                None
            }
            (_, None) => None,
            (_, Some(kind)) => Some(self.put_object(object, prop, kind)?),
        };
        if let Some(made) = made {
            self.fill(made, content)?;
        }
        Ok(made)
    }

    /// Inserts a value or a whole tree into a list; returns the object, if it is one.
    pub fn insert_content(
        &mut self,
        list: ObjId,
        index: usize,
        content: &Content,
    ) -> Result<Option<ObjId>, EditError> {
        let made = match (content, content.kind()) {
            (Content::Scalar(value), _) => {
                self.insert(list, index, value.clone())?;
                None
            }
            (_, None) => None,
            (_, Some(kind)) => Some(self.insert_object(list, index, kind)?),
        };
        if let Some(made) = made {
            self.fill(made, content)?;
        }
        Ok(made)
    }

    /// Fills an object that is new. Recursion ends where objects lie too deep.
    pub(super) fn fill(&mut self, object: ObjId, content: &Content) -> Result<(), EditError> {
        match content {
            Content::Scalar(_) => Ok(()),
            Content::Map(map) => map.iter().try_for_each(|(key, value)| {
                self.put_content(object, key.as_str(), value).map(drop)
            }),
            Content::List(list) => list
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| self.insert_content(object, index, value).map(drop)),
            Content::Text(text) => self.splice_text(object, 0, 0, text),
        }
    }

    /// Deletes a key of a map, if it is there; or what is at an index of a list or text.
    pub fn delete(&mut self, object: ObjId, prop: impl Into<Prop>) -> Result<(), EditError> {
        let prop = prop.into();
        match (self.view()?.kind(object)?, &prop) {
            (Kind::Map, Prop::Key(_)) => self.delete_at(object, &prop),
            (Kind::List, Prop::Index(index)) => self.delete_element(object, *index),
            (Kind::Text, Prop::Index(index)) => {
                let width = self.view()?.width(object, *index)?;
                self.splice_text(object, *index, width, "")
            }
            _ => Err(EditError::WrongType),
        }
    }

    /// Adds to a counter. Increments at once add up.
    pub fn increment(
        &mut self,
        object: ObjId,
        prop: impl Into<Prop>,
        by: i64,
    ) -> Result<(), EditError> {
        let prop = prop.into();
        if by.unsigned_abs() > MAX_INCREMENT.unsigned_abs() {
            return Err(EditError::TooLarge);
        }
        let before = self.register(object, &prop)?;
        let counter = |node: &Node| matches!(node, Node::Scalar(Scalar::Counter(_)));
        let Some((_, winner)) = before.last().filter(|_| before.iter().all(|(n, _)| counter(n)))
        else {
            return Err(EditError::NotACounter);
        };
        let place = self.place(object, &prop, *winner)?;
        let inverse = Inverse::Added { object, place, counter: *winner, by };
        let more = Room { values: 1, ..self.at_place(&prop, before.len()) };
        self.write(more, Call::Increment(object, prop.clone(), by))?;
        if before.len() == 1 {
            self.tell(object, PatchAction::Increment { prop, by })?;
        } else {
            self.tell_put(object, prop)?;
        }
        self.done.inverse.push(inverse);
        Ok(())
    }
}

/// A8 of a value.
fn check(value: &Scalar) -> Result<(), EditError> {
    match value {
        Scalar::Counter(start) if start.unsigned_abs() > MAX_COUNTER.unsigned_abs() => {
            Err(EditError::TooLarge)
        }
        _ => Ok(()),
    }
}
