//! An operation on a map is its own bytes.

#![no_main]

use aether_crdt::proto::map::Op;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(op) = Op::decode(data) else { return };
    assert_eq!(op.encode(), data);
});
