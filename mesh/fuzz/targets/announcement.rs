//! What instances say of themselves.

#![no_main]

use aether_mesh::proto::service::directory::Announcement;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(announcement) = Announcement::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(&announcement.bytes()[..], data);
});
