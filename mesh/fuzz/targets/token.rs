//! What people paste.

#![no_main]

use aether_mesh::proto::access::{Invite, Membership, Ticket, parse_genesis};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = (Invite::parse(text), Membership::parse(text), Ticket::parse(text));
    let _ = parse_genesis(text);
});
