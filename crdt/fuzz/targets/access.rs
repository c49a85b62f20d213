//! An operation on access is its own bytes.

#![no_main]

use aether_crdt::proto::entry::AccessOp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(op) = AccessOp::decode(data) else { return };
    assert_eq!(op.encode().expect("what was read can be written"), data);
});
