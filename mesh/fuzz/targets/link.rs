//! What neighbours say beside gossip, the roster's, directory's and finder's messages among it.

#![no_main]

use aether_mesh::proto::link::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = Frame::decode(data) else { return };
    assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
});
