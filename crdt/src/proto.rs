//! What decides: pure, without clock, entropy, task, socket or file.
//!
//! In reading order:
//!
//! - [`id`]: the names of spaces, feeds, entries and operations.
//! - [`time`]: hybrid logical time, the author's rule and the door's.
//! - [`space`]: the facts that a space is founded on.
//! - [`entry`]: what an author signs: headers, payloads, operations on access.
//! - [`feed`]: what is kept of an author's entries, forked or not, and the evidence of forks.
//! - [`document`]: Automerge documents: which changes are taken, reading, writing, undo, and a
//!   document's life.

pub mod document;
pub mod entry;
pub mod feed;
pub mod id;
pub mod space;
pub mod time;
