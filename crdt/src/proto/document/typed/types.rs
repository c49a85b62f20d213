//! Types of which documents know how to merge what was written at once.

use std::ops::{Deref, DerefMut};

use automerge::ObjId;
use autosurgeon::{
    Hydrate, HydrateError, ReadDoc, Reconcile, Reconciler,
    reconcile::{CounterReconciler as _, NoKey, TextReconciler as _},
};

/// A text of a document: what two write at once is merged character by character.
///
/// It is a string to read and change. What differs from the text in the document is written, as
/// [`Edit::update_text`](super::Edit::update_text) does, so marks stay on what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Deref for Text {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl DerefMut for Text {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.0
    }
}

impl Hydrate for Text {
    fn hydrate_text<D: ReadDoc>(doc: &D, text: &ObjId) -> Result<Self, HydrateError> {
        Ok(Self(doc.text(text)?))
    }
}

impl Reconcile for Text {
    type Key<'a> = NoKey;

    fn reconcile<R: Reconciler>(&self, mut reconciler: R) -> Result<(), R::Error> {
        reconciler.text()?.update(&self.0)
    }
}

/// A counter of a document: what several add at once adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(i64);

impl Counter {
    /// A counter that begins at some value.
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// What all have added.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// Adds to it; a document takes some 4 billion at a time. Far beyond what it takes the value
    /// stays at the largest or smallest of its type.
    pub const fn add(&mut self, by: i64) {
        self.0 = self.0.saturating_add(by);
    }
}

impl Hydrate for Counter {
    fn hydrate_counter(value: i64) -> Result<Self, HydrateError> {
        Ok(Self(value))
    }
}

impl Reconcile for Counter {
    type Key<'a> = NoKey;

    fn reconcile<R: Reconciler>(&self, mut reconciler: R) -> Result<(), R::Error> {
        // To set a counter that is there adds the difference.
        reconciler.counter()?.set(self.0)
    }
}
