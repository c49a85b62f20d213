//! State on which all replicas converge, though they work offline and some of their writers lie.
//!
//! The keystone is the **feed**: one author's append-only log, whose entries are numbered, linked
//! by BLAKE3 and signed with Ed25519. State is a pure function of a set of feed entries.
//!
//! The crate does no I/O yet: what there is decides, and whoever embeds it acts.

pub mod proto;
