//! What gossip brings: an envelope is its own bytes.

#![no_main]

use aether_mesh::proto::envelope::Envelope;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(&envelope.bytes()[..], data);
});
