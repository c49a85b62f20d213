//! The simulator as its users see it.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as the tests do")]

mod probe;
mod tickets;
mod world;
