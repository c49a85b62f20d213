//! A genesis is its own bytes.

#![no_main]

use aether_crdt::proto::space::Genesis;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(genesis) = Genesis::decode(data) else { return };
    assert_eq!(genesis.encode(), data);
});
