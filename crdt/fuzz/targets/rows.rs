//! What peers say that they hold is its own bytes.

#![no_main]

use aether_crdt::proto::sync::{read_rows, write_rows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(rows)) = read_rows(data) else { return };
    assert_eq!(write_rows(&rows), data);
});
