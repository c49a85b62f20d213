//! Replicas of a space, and presence in one, in the simulator: faulty networks, crashes, wrong
//! clocks and lying writers.
//!
//! `cargo test --release -p aether-crdt --test sim`; `AETHER_SEEDS`, `AETHER_SECONDS` and
//! `AETHER_SEED` say for how long, or which run to replay.

mod feeds;
mod presence;
