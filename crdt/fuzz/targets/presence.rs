//! A message of presence is its own bytes.

#![no_main]

use aether_crdt::proto::presence::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(message) = Message::decode(data) else { return };
    assert_eq!(message.encode(), data);
});
