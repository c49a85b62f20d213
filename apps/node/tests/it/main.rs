//! The program itself: what it does, and what it says when it can't.

mod api;
mod failures;
mod run;
mod settings;
mod support;
