//! A change of a document: one that is taken can be applied, and what it makes can be saved and
//! loaded. The fuzzer makes the part behind the header; a right one is put before it.

#![no_main]

use aether_crdt::proto::document::{
    ActorId,
    body::{Body, Settings},
    content::TextUnit,
    weight::DEFAULT_LIMIT,
};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

const CHANGE: u8 = 1;
const ACTOR: ActorId = ActorId([7; 16]);

fn length(mut length: usize, into: &mut Vec<u8>) {
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        let more = if length > 0 { 0x80 } else { 0 };
        into.push(low & 0x7f | more);
        if length == 0 {
            return;
        }
    }
}

/// A chunk with this body, which begins with no dependencies and the author.
fn chunk(data: &[u8]) -> Vec<u8> {
    let body = [&[0, 16][..], &ACTOR.0, data].concat();
    let mut hashed = vec![CHANGE];
    length(body.len(), &mut hashed);
    hashed.extend(body);
    let hash = Sha256::digest(&hashed);
    [&[0x85, 0x6f, 0x4a, 0x83][..], &hash[..4], &hashed].concat()
}

fuzz_target!(|data: &[u8]| {
    let settings =
        Settings { actor: ActorId([9; 16]), unit: TextUnit::CodePoint, limit: DEFAULT_LIMIT };
    let mut body = Body::new(settings);
    if body.take(&chunk(data), &ACTOR, |_| true).is_err() {
        return;
    }
    body.apply().expect("what is taken can be applied");
    let (heads, file) = (body.heads().expect("whole"), body.save().expect("whole"));
    let again = Body::load(&file, settings).expect("what is saved can be loaded");
    assert_eq!(again.heads().expect("whole"), heads);
});
