//! What decides: pure, without clock, entropy, task, socket or file.
//!
//! In reading order:
//!
//! - [`id`]: the names of spaces, feeds, entries and operations.
//! - [`time`]: hybrid logical time, the author's rule and the door's.
//! - [`space`]: the facts that a space is founded on.
//! - [`entry`]: what an author signs: headers, payloads, operations on access.
//! - [`feed`]: what is kept of an author's entries, forked or not, and the evidence of forks.
//! - [`access`]: who may write, and so what of each feed is kept and counts.
//! - [`rows`]: sorted bytes, in which everything is kept.
//! - [`map`]: maps, sets, counters and registers, a function of which entries count.
//! - [`frontier`]: what an entry cites, and when nobody need wait for it.
//! - [`book`]: all that a replica keeps of a space.
//! - [`compact`]: which payloads no longer do anything, and may go.
//! - [`sync`]: how two replicas compare what they hold and send what is lacking.
//! - [`replica`]: a replica of a space, which takes in, writes and talks to others.
//! - [`presence`]: what those who are here now say of themselves.
//! - [`archive`]: all of a space in one file.
//! - [`partitions`]: maps that are split among members: who owns what, and how it is kept.
//! - [`document`]: Automerge documents: which changes are taken, reading, writing, undo, and a
//!   document's life.

pub mod access;
pub mod archive;
pub mod book;
pub mod compact;
pub mod document;
pub mod entry;
pub mod feed;
pub mod frontier;
pub mod id;
pub mod map;
pub mod partitions;
pub mod presence;
pub mod replica;
pub mod rows;
pub mod space;
pub mod sync;
pub mod time;
