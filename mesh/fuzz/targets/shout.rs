//! What those say who look for blobs.

#![no_main]

use aether_mesh::proto::blob::finder::Shout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(shout) = Shout::decode(data) else { return };
    assert_eq!(Shout::decode(&shout.encode()), Ok(shout));
});
