//! The store as its users see it, on a real disk, with faults on order.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod commit;
mod crash;
mod faults;
mod folder;
mod logs;
mod wreck;

use std::{error::Error, path::Path};

use aether_store::{Faults, Options, Store};

/// Opens a store with faults on order.
fn open(folder: &Path) -> (Store, Faults) {
    let faults = Faults::new();
    let options = Options { faults: Some(faults.clone()), ..Options::default() };
    (Store::open(folder, options).unwrap(), faults)
}

/// An error and all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
