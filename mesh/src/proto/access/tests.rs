//! One test per rule of the [module](super).

mod chain;
mod keeping;
mod spreading;
mod text;

use aether_core::{Genesis, PublicKey, SecretKey};

use super::*;

pub(super) const NOW: Wall = Wall::from_secs(1_800_000_000);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(super) const TERM: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

pub(super) fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// The admin's key has seed 1.
pub(super) fn genesis() -> Genesis {
    Genesis::closed("tests", [public(1), public(2)]).unwrap()
}

pub(super) fn root() -> Issuer {
    Issuer::root(&genesis(), key(1)).unwrap()
}

pub(super) fn member(peer: u8, role: Role) -> Capability {
    root().admit(public(peer), role, NOW, TERM, None).unwrap()
}

/// An invite with the key of seed 100, for a week.
pub(super) fn invite(role: Role) -> Invite {
    let addresses = vec!["/ip4/192.0.2.1/udp/4001/quic-v1".to_owned()];
    Invite::new(&root(), key(100), role, NOW, NOW + 7 * DAY, TERM, addresses).unwrap()
}

pub(super) fn revoked(seeds: &[u8]) -> Revocations {
    let mut revocations = Revocations::default();
    for seed in seeds {
        let revocation = Revocation::sign(&root(), public(*seed), NOW).unwrap();
        assert_eq!(revocations.insert(revocation, NOW), Noted::New);
    }
    revocations
}

#[test]
fn roles_have_names_and_an_order() {
    for role in Role::ALL {
        assert_eq!(role.name().parse(), Ok(role));
        assert_eq!(Role::from_byte(role.byte()), Some(role));
    }
    assert!(Role::ALL.is_sorted());
    assert_eq!(Role::from_byte(4), None);
    let error = "owner".parse::<Role>().unwrap_err().to_string();
    assert!(error.contains("reader, writer, validator and admin"), "{error}");
}
