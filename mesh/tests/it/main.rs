//! Real swarms on loopback: adapters, discovery, back-pressure, shutdown.
//!
//! Real time, so every wait is for a condition, with a deadline that only a defect reaches.

mod support;

mod discovery;
mod hostile;
mod names;
mod node;
mod topics;
