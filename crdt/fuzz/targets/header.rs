//! A header is its own bytes.

#![no_main]

use aether_crdt::proto::entry::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(header) = Header::decode(data) else { return };
    assert_eq!(header.encode(), data);
});
