//! Documents as values of the program's own types, by
//! [autosurgeon](https://docs.rs/autosurgeon/0.14): a type that is [`Hydrate`] is read from a
//! document, one that is [`Reconcile`] is written to it, and both can be derived.
//!
//! ```
//! use aether_crdt::proto::document::{
//!     body::Body,
//!     edit::EditError,
//!     typed::{Counter, Text},
//! };
//! use autosurgeon::{Hydrate, Reconcile};
//!
//! #[derive(Default, Hydrate, Reconcile)]
//! struct Board {
//!     title: String,
//!     cards: Vec<Card>,
//! }
//!
//! #[derive(Hydrate, Reconcile)]
//! struct Card {
//!     #[key]
//!     id: u64,
//!     text: Text,
//!     votes: Counter,
//! }
//!
//! # use aether_crdt::proto::document::{ActorId, body::Settings, weight::DEFAULT_LIMIT};
//! # let unit = Default::default();
//! # let settings = Settings { actor: ActorId([1; 16]), unit, limit: DEFAULT_LIMIT };
//! # let mut body = Body::new(settings);
//! body.edit::<_, EditError>(|edit| {
//!     let card = Card { id: 7, text: "groceries".into(), votes: Counter::default() };
//!     edit.reconcile(&Board { title: "to do".into(), cards: vec![card] })
//! })?;
//! body.edit::<_, EditError>(|edit| {
//!     let mut board: Board = edit.hydrate()?;
//!     board.cards[0].text.insert_str(0, "more ");
//!     board.cards[0].votes.add(1);
//!     edit.reconcile(&board)
//! })?;
//! let board: Board = body.view()?.hydrate()?;
//! assert_eq!(*board.cards[0].text, "more groceries");
//! assert_eq!(board.cards[0].votes.value(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is written
//!
//! What differs, and nothing else, through an [`Edit`] that refuses what it refuses of everyone:
//!
//! | in the type | in the document | what two who write at once get |
//! |---|---|---|
//! | a struct, a map by strings | a map | both, field by field; a field that the type doesn't have stays as it is |
//! | a `Vec` of a type with a `#[key]` | a list | both: items are the same if their keys are, and merge field by field |
//! | a `Vec` of a type without | a list | items are compared by their places: one inserted in front overwrites all behind it. Give them keys |
//! | [`Text`] | a text | both, character by character |
//! | [`Counter`] | a counter | the sum |
//! | any other value, a `String` too | a value | one of the two; the other is kept as a [conflict](View::conflicts) until that field is written again |
//!
//! An item with a key that moves in its list is deleted and made anew, so what others write to it
//! at that time is lost; a field to sort by keeps it. Of a list all items between the first and the
//! last difference are compared with each other.
//!
//! What is derived names the crates `autosurgeon` and `automerge`: a program has both among its
//! dependencies, of the releases that this crate has.
//!
//! `autosurgeon::Text` works too, with one trap: what was read can't be put elsewhere in the
//! document (autosurgeon panics). `autosurgeon::Counter` put elsewhere forgets what it had.

mod doc;
mod types;

use std::cell::RefCell;

use autosurgeon::{Hydrate, HydrateError, Reconcile, ReconcileError};

use self::doc::Doc;
pub use self::types::{Counter, Text};
use super::{
    content::{ObjId, Prop},
    edit::{Edit, EditError},
    template::Template,
    view::{View, ViewError},
};

/// Why a value isn't read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// What is in the document isn't of that type.
    #[error(transparent)]
    Shape(#[from] Misshapen),
    /// The document can't be read, or there is no such object.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// What is in a document isn't of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document has another shape than the program's type, at {place}: {reason}")]
pub struct Misshapen {
    /// Keys and indices that lead there from the root, with slashes.
    pub place: String,
    /// What is there.
    pub reason: String,
}

impl From<TypedError> for EditError {
    fn from(error: TypedError) -> Self {
        match error {
            TypedError::Shape(misshapen) => Self::Shape(misshapen),
            TypedError::View(error) => error.into(),
        }
    }
}

impl View<'_> {
    /// The document as a value: see the [module](self).
    ///
    /// # Errors
    /// It has another shape, or can't be read.
    pub fn hydrate<T: Hydrate>(&self) -> Result<T, TypedError> {
        Doc::new(self).read(|doc| autosurgeon::hydrate(doc))
    }

    /// What is at a key or index as a value. If nothing is there, the type says what that means:
    /// `autosurgeon::MaybeMissing` takes it.
    ///
    /// # Errors
    /// There is no such object, or what is there has another shape.
    pub fn hydrate_at<T: Hydrate>(
        &self,
        object: ObjId,
        prop: impl Into<Prop>,
    ) -> Result<T, TypedError> {
        self.kind(object)?;
        let (object, prop) = (object.to_automerge(), prop.into().to_automerge());
        Doc::new(self).read(|doc| autosurgeon::hydrate_prop(doc, &object, &prop))
    }
}

impl Edit<'_> {
    /// The document as a value, with what this edit did.
    ///
    /// # Errors
    /// It has another shape, or can't be read.
    pub fn hydrate<T: Hydrate>(&self) -> Result<T, EditError> {
        Ok(self.view()?.hydrate()?)
    }

    /// Makes the document what a value is: see the [module](self).
    ///
    /// # Errors
    /// The value is no struct or map; or what a write of [`Edit`]'s says.
    pub fn reconcile(&mut self, value: &impl Reconcile) -> Result<(), EditError> {
        Doc::new(self).write(|doc| autosurgeon::reconcile(doc, value))
    }

    /// Makes what is at a key or index what a value is.
    ///
    /// # Errors
    /// What a write of [`Edit`]'s says.
    pub fn reconcile_at(
        &mut self,
        object: ObjId,
        prop: impl Into<Prop>,
        value: &impl Reconcile,
    ) -> Result<(), EditError> {
        self.view()?.kind(object)?;
        let (object, prop) = (object.to_automerge(), prop.into().to_automerge());
        Doc::new(self).write(|doc| autosurgeon::reconcile_prop(doc, &object, &prop, value))
    }
}

impl Template {
    /// A document that begins as a value, which must be the same on every node.
    ///
    /// # Errors
    /// As [`Edit::reconcile`]; [`EditError::TooLarge`], if no change holds it.
    pub fn of(value: &impl Reconcile) -> Result<Self, EditError> {
        Self::new(|edit| edit.reconcile(value))
    }
}

impl<D> Doc<D> {
    const fn new(on: D) -> Self {
        Self { on, at: RefCell::new(None), wrong: RefCell::new(None) }
    }
}

impl<'a> Doc<&'a View<'a>> {
    fn read<T>(self, read: impl FnOnce(&Self) -> Result<T, HydrateError>) -> Result<T, TypedError> {
        let result = read(&self);
        // A type's own code may have passed over what went wrong.
        match (self.wrong.take(), result) {
            (Some(EditError::Broken(broken)), _) => Err(ViewError::Broken(broken).into()),
            (_, Ok(value)) => Ok(value),
            (_, Err(error)) => Err(self.misshapen(self.on, &error).into()),
        }
    }
}

impl<'a, 'b> Doc<&'a mut Edit<'b>> {
    fn write(
        mut self,
        write: impl FnOnce(&mut Self) -> Result<(), ReconcileError>,
    ) -> Result<(), EditError> {
        let result = write(&mut self);
        match (self.wrong.take(), result) {
            (Some(wrong), _) => Err(wrong),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => Err(self.misshapen(&self.on.view()?, &error).into()),
        }
    }
}
