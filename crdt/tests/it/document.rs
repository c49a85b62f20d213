//! Documents that are edited by several at once: what each is shown, and what all agree on.

mod authors;
mod edits;
mod layers;
mod refused;
mod state;
mod undo;
