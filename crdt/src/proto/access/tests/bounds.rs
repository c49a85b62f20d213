//! How much a space holds.

use super::{super::room::RESERVE, *};

/// A judge in which `share` of the room of operations, and of names, is left.
fn filled(scene: &Scene, ops: usize, named: usize) -> Access {
    let mut access = scene.access();
    access.names = MAX_NAMED - named;
    let op =
        Op { authority: Authority::Genesis, parent: None, change: from(9, &[]), counts: false };
    let other = feed(200, 1);
    access.ops = (0..MAX_OPERATIONS - ops)
        .map(|number| {
            let number = u64::try_from(number).unwrap();
            (EntryId { feed: other, number, hash: Hash::from_bytes([1; 32]) }, op.clone())
        })
        .collect();
    access
}

#[test]
fn what_is_discarded_leaves_half_of_the_room() {
    let scene = Scene::new(Mode::Granted);
    let (owner, half) = (feed(1, 1), MAX_OPERATIONS / 2);
    let one = [discard(EntryId { feed: owner, number: 1, hash: Hash::from_bytes([1; 32]) })];
    let access = filled(&scene, half + 1, MAX_NAMED);
    assert_eq!(access.may_discard(owner, &one), Ok(()));
    assert_eq!(access.may_discard(owner, &[&one[..], &one].concat()), Err(Full));
    assert_eq!(filled(&scene, half, MAX_NAMED).may_discard(owner, &one), Err(Full));
    let named = |left| filled(&scene, MAX_OPERATIONS, MAX_NAMED / 2 + left);
    assert_eq!(named(1).may_discard(owner, &one), Ok(()));
    assert_eq!(named(0).may_discard(owner, &one), Err(Full));
}

#[test]
fn a_full_space_says_so_and_changes_nothing_and_the_last_room_is_the_owners() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(3, Role::Admin), (4, Role::Admin)]);
    let admins = scene.begin(3, 1, granted(&grants[0]), to(6, Role::Writer, &[]));
    let reserve = MAX_OPERATIONS / RESERVE;
    let mut access = filled(&scene, reserve + 2, MAX_NAMED);
    access.insert(&grants[0].header, Authority::Genesis).unwrap();
    assert_eq!(access.admit(&admins.header, admins.authority), Ok(()));
    access.insert(&admins.header, admins.authority).unwrap();
    // Now an admin has no room, and an owner has.
    let more = scene.after(&admins, from(6, &[]));
    assert_eq!(access.admit(&more.header, more.authority), Err(Refusal::Full(Full)));
    assert_eq!(access.insert(&more.header, more.authority), Err(Full));
    assert_eq!(access.role_of(&public(6)), Some(Role::Writer));
    let refused = access.removal(more.feed(), more.authority, public(6), []);
    assert_eq!(refused, Err(ChangeError::Full(Full)));
    assert_eq!(access.admit(&admins.header, admins.authority), Ok(()), "it is held already");
    assert_eq!(access.insert(&admins.header, admins.authority), Ok(BTreeSet::new()));
    access.insert(&grants[1].header, Authority::Genesis).unwrap();

    let mut access = filled(&scene, 1, MAX_NAMED);
    access.insert(&grants[0].header, Authority::Genesis).unwrap();
    assert_eq!(access.len(), MAX_OPERATIONS);
    assert_eq!(access.insert(&grants[1].header, Authority::Genesis), Err(Full));
    access.remove(&grants[0].id());
    access.insert(&grants[1].header, Authority::Genesis).unwrap();
}

#[test]
fn pins_and_overridden_removals_are_bounded_in_sum() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(6, Role::Writer)]);
    let pinned = scene.plain(6, 1, &grants[0], 3);
    let pins: Vec<&Signed> = pinned.iter().collect();
    let two = scene.after(&grants[0], from(6, &pins[..2]));
    let three = scene.after(&grants[0], from(6, &pins));
    let mut access = filled(&scene, MAX_OPERATIONS, 2);
    assert_eq!(access.insert(&three.header, Authority::Genesis), Err(Full));
    access.insert(&two.header, Authority::Genesis).unwrap();
    let again = scene.after(&two, to(6, Role::Writer, &[&two]));
    assert_eq!(access.insert(&again.header, Authority::Genesis), Err(Full));
    access.remove(&two.id());
    assert_eq!(access.names, MAX_NAMED - 2);
    access.insert(&again.header, Authority::Genesis).unwrap();
}
