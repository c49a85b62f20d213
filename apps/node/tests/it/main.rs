//! The program itself: what it does, and what it says when it can't.

mod api;
mod closed;
mod failures;
mod run;
mod settings;
mod support;
