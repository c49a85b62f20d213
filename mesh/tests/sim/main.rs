//! The mesh's protocols in the simulator: faulty networks, crashes, wrong clocks and liars.
//!
//! `cargo test --release -p aether-mesh --no-default-features --test sim`; `AETHER_SEEDS`,
//! `AETHER_SECONDS` and `AETHER_SEED` say for how long, or which run to replay.

mod access;
mod blobs;
mod directory;
mod finder;
mod roster;
mod services;
mod sessions;
mod topics;
