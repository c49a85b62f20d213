//! The program itself: what it does, and what it says when it can't.

mod api;
mod archives;
mod blobs;
mod closed;
mod documents;
mod failures;
mod pmaps;
mod presence;
mod repair;
mod run;
mod secured;
mod services;
mod settings;
mod spaces;
mod support;
