//! Documents that are edited by several at once: what each is shown, and what all agree on.

mod authors;
mod copy;
mod draft;
mod edits;
mod layers;
mod refused;
mod state;
mod typed;
mod undo;
