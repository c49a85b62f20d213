//! What is shown before a closed mesh lets anybody in.

#![no_main]

use aether_mesh::proto::access::Capability;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(capability) = Capability::decode(data) else { return };
    assert_eq!(Capability::parse(&capability.to_text()).as_ref(), Ok(&capability));
});
