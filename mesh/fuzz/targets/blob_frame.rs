//! What streams of blobs carry.

#![no_main]

use aether_mesh::proto::blob::frame::Frame;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = Frame::decode(&mut buffer) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let mut again = BytesMut::from(&bytes[..]);
        assert_eq!(Frame::decode(&mut again), Ok(Some(frame)));
    }
});
