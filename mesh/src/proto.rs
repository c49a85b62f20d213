//! The decisions of the mesh, without libp2p: pure state machines that the driver, the simulator
//! and the fuzzer run alike (see [`aether_core::Protocol`]).
//!
//! | module | decides |
//! |---|---|
//! | [`envelope`] | what is signed, and what its bytes are |
//! | [`link`] | what two neighbours say to each other beside gossip |
//! | [`outbox`] | when messages are coalesced, sealed and sent, and when a topic waits for its readers |
//! | [`inbox`] | what is new, in which order it is delivered, and how gaps are filled |
//! | [`roster`] | who is alive |
//! | [`access`] | who may connect to a closed mesh, and until when |
//! | [`budget`] | how much a peer may send, and when it has misbehaved enough |
//! | [`blob`] | who sends which part of a blob to whom, and who holds it |
//! | [`service`] | who serves what, and how calls are made, answered and ended |
//!
//! Gossip carries envelopes fast; the link repairs what gossip lost. Both meet in the inbox.

pub mod access;
pub mod blob;
pub mod budget;
pub mod envelope;
pub mod inbox;
pub mod link;
pub mod outbox;
pub mod reference;
pub mod roster;
pub mod service;
