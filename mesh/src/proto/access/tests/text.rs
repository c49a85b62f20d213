//! Tokens, and joining by an invite.

use super::*;

#[test]
fn tokens_survive_text_and_white_space() {
    let invite = invite(Role::Writer);
    let text = invite.to_text();
    assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{text}");
    let wrapped: String = text.chars().flat_map(|c| [c, '\n']).take(2 * 60).collect();
    let wrapped = format!("  {wrapped}{}\t", &text[60..]);
    let read = Invite::parse(&wrapped).unwrap();
    assert_eq!((read.id(), read.addresses()), (invite.id(), invite.addresses()));
    assert_eq!((read.genesis(), read.grant()), (invite.genesis(), invite.grant()));
    assert_eq!(read.to_text(), text);

    let membership = invite.join(public(5), NOW).unwrap();
    assert_eq!(Membership::parse(&membership.to_text()), Ok(membership.clone()));
    let capability = membership.capability;
    assert_eq!(Capability::parse(&capability.to_text()), Ok(capability));
    let revocation = Revocation::sign(&root(), public(5), NOW).unwrap();
    assert_eq!(Revocation::parse(&revocation.to_text()), Ok(revocation));
}

#[test]
fn a_torn_or_changed_paste_is_found() {
    let text = invite(Role::Writer).to_text();
    let torn = TokenError::Torn { expected: "an invite" };
    for cut in "aether_invite1_".len()..text.len() {
        assert_eq!(Invite::parse(&text[..cut]).err(), Some(torn.clone()), "cut at {cut}");
    }
    for at in "aether_invite1_".len()..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(Invite::parse(&changed).err(), Some(torn.clone()), "changed at {at}");
    }
    assert_eq!(Invite::parse(&text.repeat(20)).err(), Some(torn));
}

#[test]
fn what_was_pasted_instead_is_named() {
    let membership = invite(Role::Writer).join(public(5), NOW).unwrap().to_text();
    let error = Invite::parse(&membership).unwrap_err().to_string();
    assert_eq!(error, "this is a membership, not an invite");
    assert!(matches!(Ticket::parse(&membership), Ok(Ticket::Membership(_))));
    assert!(matches!(Ticket::parse(&invite(Role::Reader).to_text()), Ok(Ticket::Invite(_))));
    let genesis = genesis_text(&genesis());
    assert!(parse_genesis(&genesis).is_ok_and(|read| read == super::genesis()));
    let error = Ticket::parse(&genesis).unwrap_err().to_string();
    assert_eq!(error, "this is a genesis, not an invite");
    let error = Invite::parse("hello").unwrap_err().to_string();
    assert_eq!(error, "this is no token; an invite begins with aether_invite1_");
}

#[test]
fn a_joiner_is_in_until_the_invite_expires() {
    let invite = invite(Role::Writer);
    let joined = |now| {
        let membership = invite.join(public(5), now)?;
        membership.capability.verify(&genesis(), now, &Revocations::default())
    };
    let pass = joined(NOW + DAY).unwrap();
    assert_eq!((pass.role, pass.expires, pass.term), (Role::Writer, NOW + 7 * DAY, TERM));
    assert_eq!(pass.origin, Some(invite.id()));
    assert!(pass.provisional, "an admin's node is to replace it");
    assert_eq!(joined(NOW + 7 * DAY), Err(Refusal::Expired { at: NOW + 7 * DAY }));
    // Whoever has the invite can date the link back, and gains nothing by it.
    let back = invite.join(public(5), NOW).unwrap().capability;
    let late = NOW + 7 * DAY + CLOCK_SKEW + Duration::from_secs(1);
    let held = back.verify(&genesis(), late, &Revocations::default());
    assert_eq!(held, Err(Refusal::Expired { at: NOW + 7 * DAY }));
}

#[test]
fn an_invite_can_be_passed_on_narrower_only() {
    let invite = invite(Role::Writer);
    let narrow =
        |role, days: u32, term| invite.attenuate(key(101), role, NOW, NOW + days * DAY, term);
    assert_eq!(narrow(Role::Admin, 1, DAY).err(), Some(Broken::Role));
    assert_eq!(narrow(Role::Reader, 8, DAY).err(), Some(Broken::Outlives));
    assert_eq!(narrow(Role::Reader, 1, 2 * TERM).err(), Some(Broken::Outlives));
    let passed = narrow(Role::Reader, 1, DAY).unwrap();
    let passed = Invite::parse(&passed.to_text()).unwrap();
    let capability = passed.join(public(5), NOW).unwrap().capability;
    let pass = capability.verify(&genesis(), NOW, &Revocations::default()).unwrap();
    assert_eq!((pass.role, pass.expires, pass.term), (Role::Reader, NOW + DAY, DAY));
    assert_eq!(pass.origin, Some(invite.id()), "the one that an admin knows");
    for seed in [100, 101] {
        let held = capability.verify(&genesis(), NOW, &revoked(&[seed]));
        assert_eq!(held, Err(Refusal::Revoked { key: public(seed) }));
    }
}

#[test]
fn an_invite_shows_no_secret_in_logs() {
    let secret = data_encoding::HEXLOWER.encode(&key(100).to_bytes());
    assert!(!format!("{:?}", invite(Role::Writer)).contains(&secret[..8]));
}

#[test]
fn addresses_over_the_limits_are_left_out() {
    let addresses = std::iter::repeat_n("x".repeat(129), 3).chain(vec!["y".to_owned(); 20]);
    let invite =
        Invite::new(&root(), key(100), Role::Reader, NOW, NOW + DAY, TERM, addresses.collect());
    let read = Invite::parse(&invite.unwrap().to_text()).unwrap();
    assert_eq!(read.addresses(), ["y"; 8]);
}
