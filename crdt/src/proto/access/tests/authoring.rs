//! What authors make of what stands.

use super::*;

const OWNERS_FEED: Authority = Authority::Genesis;

/// A space with an admin 3, its feed begun, and a writer 6.
fn start(mode: Mode) -> (Scene, Access, Vec<Signed>) {
    let mut scene = Scene::new(mode);
    let mut access = scene.access();
    let mut entries = scene.grants(&[(3, Role::Admin), (6, Role::Writer)]);
    entries.push(scene.begin(3, 1, granted(&entries[0]), None));
    for signed in &entries {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    (scene, access, entries)
}

/// Signs and takes in, as the next of a feed.
fn write(scene: &mut Scene, access: &mut Access, last: &Signed, change: AccessOp) -> Signed {
    let signed = scene.after(last, change);
    access.admit(&signed.header, signed.authority).unwrap();
    access.insert(&signed.header, signed.authority).unwrap();
    signed
}

#[test]
fn a_removal_and_a_grant_after_it_do_what_they_say() {
    let (mut scene, mut access, entries) = start(Mode::Granted);
    let (owner, admin) = (entries[1].clone(), entries[2].clone());
    let old = scene.plain(6, 1, &entries[1], 3);
    let by_admin = (admin.feed(), admin.authority);

    let changes = access.removal(by_admin.0, by_admin.1, public(6), [old[1].pin()]).unwrap();
    assert_eq!(changes, [from(6, &[&old[1]])]);
    let removal = write(&mut scene, &mut access, &admin, changes[0].clone());
    assert_eq!(access.role_of(&public(6)), None);
    let pending = Pending { pin: old[1].id(), removal: removal.id() };
    assert_eq!(access.pending(&public(6)), [pending]);
    access.hold(&old[1].id(), []);
    assert!(matches!(access.standing(old[0].feed(), old[0].authority), Standing::Pinned(_)));

    let second = scene.after(&owner, from(6, &[]));
    access.insert(&second.header, second.authority).unwrap();
    let change = access.grant(by_admin.0, by_admin.1, public(6), Role::Writer).unwrap();
    assert_eq!(change, to(6, Role::Writer, &[&removal, &second]));
    let grant = write(&mut scene, &mut access, &removal, change);
    assert_eq!(access.role_of(&public(6)), Some(Role::Writer));
    assert_eq!(access.standing(feed(6, 2), granted(&grant)), Standing::Open);
    // To make it an admin only the owner's removal is in the way.
    let change = access.grant(owner.feed(), OWNERS_FEED, public(6), Role::Admin).unwrap();
    assert_eq!(change, to(6, Role::Admin, &[&second]));
    write(&mut scene, &mut access, &second, change);
    assert_eq!(access.role_of(&public(6)), Some(Role::Admin));
}

#[test]
fn a_removal_of_many_tips_takes_several_entries() {
    let (mut scene, mut access, entries) = start(Mode::Granted);
    let hash = Hash::from_bytes([5; 32]);
    let pin = |incarnation| FeedPin { incarnation, number: 1, hash };
    let tips = (0..300).rev().chain(0..300).map(pin);
    let (feed, authority) = (entries[2].feed(), entries[2].authority);
    let changes = access.removal(feed, authority, public(6), tips).unwrap();
    let parts: Vec<(usize, bool)> = changes
        .iter()
        .map(|change| match change {
            AccessOp::Remove { pins, more, .. } => (pins.len(), *more),
            _ => panic!("a removal"),
        })
        .collect();
    assert_eq!(parts, [(128, true), (128, true), (44, false)]);
    let mut last = entries[2].clone();
    for change in changes {
        assert_eq!(access.role_of(&public(6)), Some(Role::Writer));
        last = write(&mut scene, &mut access, &last, change);
    }
    assert_eq!(access.role_of(&public(6)), None);
    let pending = access.pending(&public(6));
    let expected = |pin: FeedPin| Pending { pin: pin.entry(public(6)), removal: last.id() };
    assert_eq!(pending, (0..300).map(|at| expected(pin(at))).collect::<Vec<_>>());

    // As long as that is pending, another removal may pin what exists.
    let again = access.removal(feed, authority, public(6), []).unwrap();
    assert_eq!(again, [from(6, &[])]);
    for pending in pending {
        access.hold(&pending.pin, []);
    }
    let refused = access.removal(feed, authority, public(6), []);
    assert_eq!(refused, Err(ChangeError::AlreadyRemoved));
}

#[test]
fn who_may_not_is_told_why() {
    let (mut scene, mut access, entries) = start(Mode::Granted);
    let writer = (feed(6, 1), granted(&entries[1]));
    let admin = (feed(3, 1), granted(&entries[0]));
    let owner = (feed(1, 1), OWNERS_FEED);
    let rank = Role::Admin;
    let member_is = |role| ChangeError::Has { role };
    for ((feed, authority), seed, role, error) in [
        (writer, 7, Role::Writer, ChangeError::Rank { rank: Role::Writer }),
        ((feed(7, 1), OWNERS_FEED), 8, Role::Writer, ChangeError::Void(Void::Stranger)),
        (admin, 7, Role::Admin, ChangeError::Above { rank, role: Role::Admin }),
        (owner, 7, Role::Owner, ChangeError::Owner),
        (owner, 2, Role::Writer, ChangeError::Owner),
        (admin, 6, Role::Writer, member_is(Role::Writer)),
        (admin, 6, Role::Reader, member_is(Role::Writer)),
        (owner, 3, Role::Admin, member_is(Role::Admin)),
    ] {
        assert_eq!(access.grant(feed, authority, public(seed), role), Err(error));
    }
    for ((feed, authority), seed, error) in [
        (writer, 6, ChangeError::Rank { rank: Role::Writer }),
        (admin, 2, ChangeError::Owner),
        (admin, 3, ChangeError::Above { rank, role: Role::Admin }),
        (owner, 7, ChangeError::Unknown),
    ] {
        assert_eq!(access.removal(feed, authority, public(seed), []), Err(error));
    }
    let zero = FeedPin { incarnation: 1, number: 0, hash: Hash::from_bytes([1; 32]) };
    let refused = access.removal(owner.0, owner.1, public(6), [zero]);
    assert!(matches!(refused, Err(ChangeError::Pins(_))));

    // A reader is removed like a writer, once.
    let reader = write(&mut scene, &mut access, &entries[1], to(7, Role::Reader, &[]));
    let change = access.removal(owner.0, owner.1, public(7), []).unwrap().remove(0);
    let removal = write(&mut scene, &mut access, &reader, change);
    let refused = access.removal(owner.0, owner.1, public(7), []);
    assert_eq!(refused, Err(ChangeError::AlreadyRemoved));
    let again = access.grant(admin.0, admin.1, public(7), Role::Reader).unwrap();
    let again = scene.after(&entries[2], again);
    access.insert(&again.header, again.authority).unwrap();
    assert_eq!(access.role_of(&public(7)), Some(Role::Reader));
    assert!(access.removal(owner.0, owner.1, public(7), []).is_ok(), "{removal:?} is overridden");

    // An admin whose feed is pinned writes on in vain, and says nothing in a new one.
    let removal = scene.after(&removal, from(3, &[&entries[2]]));
    access.insert(&removal.header, removal.authority).unwrap();
    access.hold(&entries[2].id(), []);
    let refused = |at| access.grant(at, admin.1, public(8), Role::Writer).unwrap_err();
    assert_eq!(refused(admin.0), ChangeError::Removed);
    let by = removal.id();
    assert_eq!(refused(feed(3, 2)), ChangeError::Void(Void::Removed { by }));
}

#[test]
fn in_an_open_space_anyone_can_be_banned_and_needs_no_grant() {
    let (mut scene, mut access, entries) = start(Mode::Open);
    let (feed, authority) = (entries[2].feed(), entries[2].authority);
    let refused = access.grant(feed, authority, public(8), Role::Writer);
    assert_eq!(refused, Err(ChangeError::Has { role: Role::Writer }));
    let change = access.removal(feed, authority, public(8), []).unwrap().remove(0);
    let ban = write(&mut scene, &mut access, &entries[2], change);
    assert_eq!(access.role_of(&public(8)), Some(Role::Reader));
    let refused = access.removal(feed, authority, public(8), []);
    assert_eq!(refused, Err(ChangeError::AlreadyRemoved));
    let change = access.grant(feed, authority, public(8), Role::Writer).unwrap();
    assert_eq!(change, to(8, Role::Writer, &[&ban]));
}

#[test]
fn more_removals_than_a_grant_can_override_keep_a_key_out() {
    let (mut scene, mut access, entries) = start(Mode::Granted);
    let mut last = entries[2].clone();
    for count in 0..17 {
        let made = access.grant(last.feed(), last.authority, public(6), Role::Writer);
        match count {
            0 => assert_eq!(made, Err(ChangeError::Has { role: Role::Writer })),
            _ => assert!(made.is_ok(), "{count} removals"),
        }
        last = write(&mut scene, &mut access, &last, from(6, &[]));
    }
    let made = access.grant(last.feed(), last.authority, public(6), Role::Writer);
    assert_eq!(made, Err(ChangeError::TooManyRemovals));
    // None of them is in the way of what only an owner takes away.
    let made = access.grant(feed(1, 1), OWNERS_FEED, public(6), Role::Admin);
    assert_eq!(made, Ok(to(6, Role::Admin, &[])));
}
