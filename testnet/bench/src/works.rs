//! What can be measured, one module each.

pub mod blob;
pub mod crdt;
pub mod documents;
pub mod gossip;
mod runs;
pub mod service;
pub mod transfer;

/// How much is done for each figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs, of which the median is quoted.
    pub runs: u32,
    /// Short runs, for trying.
    pub quick: bool,
}

impl Effort {
    /// What a row's conditions say about it.
    pub fn describe(self) -> String {
        let quick = if self.quick { ", quick" } else { "" };
        let build = if cfg!(debug_assertions) { ", debug build" } else { "" };
        format!("median of {} runs{quick}{build}", self.runs)
    }
}
