//! What peers say of a space: read again, it is the same.

#![no_main]

use aether_crdt::proto::sync::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(message)) = Message::decode(data) else { return };
    assert_eq!(Message::decode(&message.encode()), Ok(Some(message)));
});
