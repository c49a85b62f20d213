//! What is left of a payload, read without a panic.

#![no_main]

use aether_crdt::proto::entry::Pruned;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Pruned::decode(data.to_vec());
});
