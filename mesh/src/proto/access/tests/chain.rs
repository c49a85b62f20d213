//! Rules 1 to 6, and what is on the wire.

use proptest::prelude::*;

use super::*;

fn verify(capability: &Capability, now: Wall) -> Result<Pass, Refusal> {
    capability.verify(&genesis(), now, &Revocations::default())
}

fn grant(to: Holder, role: Role, days: u32) -> Grant {
    Grant { to, role, issued: NOW, expires: NOW + days * DAY, term: TERM, origin: None }
}

fn peer(seed: u8) -> Holder {
    Holder::Peer(public(seed))
}

/// Admin, admin's node 3, invite 4, peer 5: as long as a chain can be, but for one.
fn long() -> Capability {
    let admin = root().grant(grant(peer(3), Role::Admin, 300)).unwrap();
    let delegate = Issuer::delegate(&genesis(), key(3), admin).unwrap();
    let invite = delegate.grant(grant(Holder::Invite(public(4)), Role::Writer, 7)).unwrap();
    invite.extend(&key(4), grant(peer(5), Role::Writer, 7)).unwrap()
}

#[test]
fn golden_vectors() {
    let golden = include_str!("../../../../tests/golden/access-v1.txt");
    let expected: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let revocation = Revocation::sign(&root(), public(5), NOW).unwrap();
    let chain = long();
    let found = [
        format!("genesis {}", hex(&genesis().encode())),
        format!("capability {}", hex(&chain.encode())),
        format!("capability-id {}", hex(&chain.id())),
        format!("revocation {}", hex(&revocation.encode())),
        format!("revocation-id {}", hex(&revocation.id())),
        format!("invite {}", invite(Role::Writer).to_text()),
    ];
    assert_eq!(found, *expected, "\n{}", found.join("\n"));
}

#[test]
fn a_chain_says_what_its_last_link_says() {
    let pass = verify(&long(), NOW).unwrap();
    let expected = Pass {
        peer: public(5),
        role: Role::Writer,
        issued: NOW,
        expires: NOW + 7 * DAY,
        term: TERM,
        origin: Some(public(4)),
        provisional: true,
    };
    assert_eq!(pass, expected);
    let pass = verify(&member(6, Role::Validator), NOW).unwrap();
    assert_eq!((pass.role, pass.expires, pass.provisional), (Role::Validator, NOW + TERM, false));
}

#[test]
fn no_bit_of_a_chain_can_be_changed() {
    let bytes = long().encode();
    assert!(bytes.len() <= MAX_CAPABILITY);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let Ok(changed) = Capability::decode(&changed) else { continue };
            let held = changed.verify_for(&public(5), &genesis(), NOW, &Revocations::default());
            assert!(held.is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn links_can_not_be_moved_to_another_chain() {
    // Two grants for one key, of which one is wider: what was signed under one is void under the
    // other, though every link in it is genuine.
    let narrow = root().grant(grant(Holder::Invite(public(4)), Role::Writer, 7)).unwrap();
    let wide = root().grant(grant(Holder::Invite(public(4)), Role::Admin, 9)).unwrap();
    let joined = narrow.extend(&key(4), grant(peer(5), Role::Writer, 7)).unwrap();
    let mut moved = wide.encode();
    moved[65] = 2;
    moved.extend(&joined.encode()[216..]);
    let moved = Capability::decode(&moved).unwrap();
    assert_eq!(verify(&moved, NOW), Err(Refusal::Forged));
}

#[test]
fn a_capability_is_for_one_mesh_and_one_peer() {
    let capability = member(5, Role::Writer);
    let none = Revocations::default();
    assert!(capability.verify_for(&public(5), &genesis(), NOW, &none).is_ok());
    let other = capability.verify_for(&public(6), &genesis(), NOW, &none);
    assert_eq!(other, Err(Refusal::OtherPeer));
    let elsewhere = Genesis::closed("other", [public(1), public(2)]).unwrap();
    let other = capability.verify_for(&public(5), &elsewhere, NOW, &none);
    assert_eq!(other, Err(Refusal::OtherMesh));
}

#[test]
fn the_first_link_is_an_admins() {
    assert_eq!(Issuer::root(&genesis(), key(9)).err(), Some(Broken::Admin));
    let other = Genesis::closed("tests", [public(9)]).unwrap();
    let stranger = Issuer::root(&other, key(9)).unwrap();
    let capability = stranger.admit(public(5), Role::Writer, NOW, TERM, None).unwrap();
    // The stranger's mesh id, or ours with its signature: neither gets in.
    assert_eq!(verify(&capability, NOW), Err(Refusal::OtherMesh));
    let mut bytes = capability.encode();
    bytes[1..33].copy_from_slice(genesis().mesh_id().as_hash().as_bytes());
    let forged = Capability::decode(&bytes).unwrap();
    assert_eq!(verify(&forged, NOW), Err(Refusal::Broken(Broken::Admin)));
    bytes[33..65].copy_from_slice(public(1).as_bytes());
    let forged = Capability::decode(&bytes).unwrap();
    assert_eq!(verify(&forged, NOW), Err(Refusal::Forged));
}

#[test]
fn a_link_narrows() {
    let invite = root().grant(grant(Holder::Invite(public(4)), Role::Writer, 7)).unwrap();
    let extend = |grant| invite.extend(&key(4), grant);
    assert!(extend(grant(peer(5), Role::Reader, 3)).is_ok());
    assert_eq!(extend(grant(peer(5), Role::Validator, 7)), Err(Broken::Role));
    assert_eq!(extend(grant(peer(5), Role::Writer, 8)), Err(Broken::Outlives));
    let longer = Grant { term: TERM + DAY, ..grant(peer(5), Role::Writer, 7) };
    assert_eq!(extend(longer), Err(Broken::Outlives));
    assert_eq!(invite.extend(&key(6), grant(peer(5), Role::Writer, 7)), Err(Broken::Key));
}

#[test]
fn a_wider_link_is_void_whoever_signs_it() {
    // Signed by a library without these rules: every signature is genuine.
    let invite = root().grant(grant(Holder::Invite(public(4)), Role::Writer, 7)).unwrap();
    let writer = member(4, Role::Writer);
    let cases = [
        (&invite, grant(peer(5), Role::Admin, 7), Broken::Role),
        (&invite, grant(peer(5), Role::Writer, 8), Broken::Outlives),
        (&writer, grant(peer(5), Role::Writer, 7), Broken::NotAdmin),
        (&invite, grant(Holder::Invite(public(5)), Role::Writer, 7), Broken::NoPeer),
        (&invite, grant(peer(5), Role::Writer, 0), Broken::Lasting),
    ];
    for (chain, grant, broken) in cases {
        let signed = chain.extend_unchecked(&key(4), grant);
        assert_eq!(verify(&signed, NOW), Err(Refusal::Broken(broken)), "{grant:?}");
    }
}

#[test]
fn only_an_admin_may_sign_on() {
    for role in [Role::Reader, Role::Writer, Role::Validator] {
        let delegate = Issuer::delegate(&genesis(), key(5), member(5, role));
        assert_eq!(delegate.err(), Some(Broken::NotAdmin));
        let next = member(5, role).extend(&key(5), grant(peer(6), Role::Reader, 1));
        assert_eq!(next, Err(Broken::NotAdmin));
    }
    let admin = Issuer::delegate(&genesis(), key(5), member(5, Role::Admin)).unwrap();
    let admitted = admin.admit(public(6), Role::Admin, NOW, 90 * DAY, None).unwrap();
    let pass = verify(&admitted, NOW).unwrap();
    assert_eq!(pass.expires, NOW + TERM, "what it grants ends with its own");
}

#[test]
fn chains_and_terms_are_bounded() {
    let longest = long();
    assert_eq!(longest.grants().len(), 3);
    let admin = root().grant(grant(Holder::Invite(public(3)), Role::Admin, 7)).unwrap();
    let admin = admin.extend(&key(3), grant(peer(4), Role::Admin, 7)).unwrap();
    let invite = admin.extend(&key(4), grant(Holder::Invite(public(5)), Role::Admin, 7)).unwrap();
    let fourth = invite.extend(&key(5), grant(peer(6), Role::Admin, 7)).unwrap();
    assert_eq!(fourth.encode().len(), MAX_CAPABILITY);
    assert!(verify(&fourth, NOW).is_ok());
    assert_eq!(fourth.extend(&key(6), grant(peer(7), Role::Reader, 1)), Err(Broken::Links));
    let fifth = fourth.extend_unchecked(&key(6), grant(peer(7), Role::Reader, 1));
    assert_eq!(Capability::decode(&fifth.encode()), Err(CapabilityError::Malformed));

    let admit = |term| root().admit(public(5), Role::Reader, NOW, term, None);
    assert!(admit(MAX_TERM).is_ok());
    assert_eq!(admit(MAX_TERM + DAY), Err(Broken::Lasting));
    assert_eq!(admit(Duration::ZERO), Err(Broken::Lasting));
}

#[test]
fn clocks_may_be_apart_by_the_tolerance() {
    let capability = member(5, Role::Writer);
    let (from, until) = (NOW - CLOCK_SKEW, NOW + TERM + CLOCK_SKEW);
    let second = Duration::from_secs(1);
    assert!(verify(&capability, from).is_ok());
    assert_eq!(verify(&capability, from - second), Err(Refusal::NotYet { issued: NOW }));
    assert!(verify(&capability, until).is_ok());
    assert_eq!(verify(&capability, until + second), Err(Refusal::Expired { at: NOW + TERM }));
}

#[test]
fn a_revoked_key_anywhere_in_the_chain_voids_it() {
    let chain = long();
    for seed in [1, 3, 4, 5] {
        let held = chain.verify(&genesis(), NOW, &revoked(&[9, seed]));
        assert_eq!(held, Err(Refusal::Revoked { key: public(seed) }));
    }
    assert!(chain.verify(&genesis(), NOW, &revoked(&[2, 6, 9])).is_ok());
    let renewed = root().admit(public(5), Role::Writer, NOW, TERM, Some(public(4))).unwrap();
    let held = renewed.verify(&genesis(), NOW, &revoked(&[4]));
    assert_eq!(held, Err(Refusal::Revoked { key: public(4) }), "it came by that invite");
}

#[test]
fn a_forger_learns_only_that_it_is_one() {
    let mut bytes = member(5, Role::Writer).encode();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    let forged = Capability::decode(&bytes).unwrap();
    let late = NOW + MAX_TERM;
    assert_eq!(forged.verify(&genesis(), late, &revoked(&[5])), Err(Refusal::Forged));
}

proptest! {
    #[test]
    fn hostile_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        if let Ok(capability) = Capability::decode(&bytes) {
            prop_assert_eq!(capability.encode(), bytes.clone());
            prop_assert!(verify(&capability, NOW).is_err());
        }
        let _ = Revocation::decode(&bytes);
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        body in proptest::collection::vec(any::<u8>(), 150),
        holder in 0..2u8,
        role in 0..4u8,
    ) {
        let mut bytes = vec![1; 66];
        bytes.extend(body);
        (bytes[66], bytes[67]) = (holder, role);
        let capability = Capability::decode(&bytes).unwrap();
        prop_assert_eq!(capability.encode(), bytes);
    }
}
