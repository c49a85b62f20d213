//! Real swarms on loopback: adapters, discovery, back-pressure, shutdown.
//!
//! Real time, so every wait is for a condition, with a deadline that only a defect reaches.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the attacker's task ends with the test")]

mod support;

mod blobs;
mod closed;
mod discovery;
mod hostile;
mod large;
mod names;
mod node;
mod services;
mod streams;
mod topics;
