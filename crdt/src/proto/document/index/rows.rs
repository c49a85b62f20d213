//! What past operations made: the rows that others may name.
//!
//! A **row** is what a set, a make or a begin or end of a mark leaves in the document; deletes and
//! increments leave none, so that their numbers are holes. Rows of one lane are sorted by number.
//! Inserts of which each stands behind the one before, in one object and of one kind, are one
//! [`Span`] however many they are, over the bounds of changes too: a text typed from front to back
//! takes 32 bytes.
//!
//! None of this changes once it is written: which object a row is in, at which key, and what kind
//! of row. Whether it is visible does change, and isn't here.

use std::collections::BTreeMap;

use super::super::{Kind, order::Link};

/// The name of an operation in the index: a lane's place in it, and the operation's number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Id {
    pub(in super::super) lane: u32,
    pub(in super::super) counter: u32,
}

impl Id {
    /// The root as an object, the head as an element: no operation has number 0.
    pub(in super::super) const NONE: Self = Self { lane: 0, counter: 0 };
}

/// Where a row is in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Place {
    /// At this key of a map, by its number.
    Key(u32),
    /// It replaces what was in this element.
    In(Id),
    /// It is an element of its own behind this one.
    Behind(Id),
}

/// As much of a row's content as others ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum What {
    Value,
    Counter,
    Object,
    /// A mark's begin or end: it can be inserted behind, and that is all.
    Mark,
}

/// A row; or several, if they are inserted one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Span {
    pub(in super::super) start: u32,
    pub(in super::super) len: u32,
    pub(in super::super) object: Id,
    /// Where the first is: each other is behind the one before it.
    pub(in super::super) place: Place,
    pub(in super::super) what: What,
}

impl Span {
    /// Whether an insert with this number is the next of the span.
    pub(in super::super) fn continues(&self, lane: u32, next: &Self) -> bool {
        let last = Id { lane, counter: next.start - 1 };
        matches!(self.place, Place::Behind(_))
            && self.start + self.len == next.start
            && next.place == Place::Behind(last)
            && (self.object, self.what) == (next.object, next.what)
    }
}

/// The rows of one lane.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Rows {
    pub(in super::super) spans: Vec<Span>,
    /// One for each span of inserts into a text, by its first number.
    pub(in super::super) links: Vec<(u32, Link)>,
}

impl Rows {
    /// The span that holds this number. One binary search.
    pub(in super::super) fn find(&self, counter: u32) -> Option<Span> {
        let after = self.spans.partition_point(|span| span.start <= counter);
        let span = self.spans[..after].last()?;
        (counter - span.start < span.len).then_some(*span)
    }

    /// Where the span that begins with this number hangs in its text. One binary search.
    pub(in super::super) fn link(&self, start: u32) -> Option<Link> {
        let at = self.links.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        Some(self.links[at].1)
    }
}

/// An object other than the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Object {
    pub(in super::super) kind: Kind,
    /// One for what stands in the root.
    pub(in super::super) depth: u32,
}

/// What a change adds: rows that its later operations see, and the index only if all are right.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Staged {
    /// By how much it prolongs the last span of its lane.
    pub(in super::super) longer: u32,
    pub(in super::super) rows: Rows,
    pub(in super::super) objects: BTreeMap<Id, Object>,
    /// Keys that no map had before, with their numbers.
    pub(in super::super) keys: BTreeMap<Box<str>, u32>,
}
