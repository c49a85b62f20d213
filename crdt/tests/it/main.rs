//! The crate as others use it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[cfg(feature = "net")]
mod archives;
mod chunks;
#[cfg(feature = "net")]
mod compacting;
mod document;
#[cfg(feature = "net")]
mod documents;
mod hostile;
#[cfg(feature = "net")]
mod leaving;
mod mutants;
mod oracle;
#[cfg(feature = "net")]
mod partitions;
mod past;
#[cfg(feature = "net")]
mod presence;
mod script;
#[cfg(feature = "net")]
mod spaces;
mod trace;
