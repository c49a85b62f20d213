//! State on which all replicas converge, though they work offline and some of their writers lie.
//!
//! The keystone is the **feed**: one author's append-only log, whose entries are numbered, linked
//! by BLAKE3 and signed with Ed25519. State is a pure function of a set of feed entries.
//!
//! What there is, all of it in [`proto`], which decides and does no I/O: the formats of what
//! authors sign; what is kept of a feed whose author forks it, and the evidence; and which changes
//! of Automerge documents are sound. There is no storage and no replication yet, and no collection
//! to hold in hand.

pub mod proto;
