//! What guards of a closed mesh say to each other.

#![no_main]

use aether_mesh::proto::access::{Message, Revocation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Revocation::decode(data);
    let _ = Message::decode(data);
});
