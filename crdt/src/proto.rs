//! What decides: pure, without clock, entropy, task, socket or file.

pub mod document;
