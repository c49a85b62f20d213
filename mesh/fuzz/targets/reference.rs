//! References: decode and encode again.

#![no_main]

use aether_mesh::proto::reference::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reference) = Reference::decode(bytes) {
        assert!(Reference::is_tagged(bytes));
        assert_eq!(reference.encode(), bytes, "there is one way to write it");
    }
});
