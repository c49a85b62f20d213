//! A payload is its own bytes.

#![no_main]

use aether_crdt::proto::entry::Payload;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(payload) = Payload::decode(data.to_vec()) else { return };
    assert_eq!(payload.as_bytes(), data);
    assert_eq!(
        payload.ops().count(),
        payload.groups().iter().map(|group| group.len()).sum::<usize>()
    );
    payload.content();
});
