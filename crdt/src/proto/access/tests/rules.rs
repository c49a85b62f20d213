//! Ranks, modes and the door.

use super::*;
use crate::proto::entry::Misfit;

#[test]
fn a_space_of_a_group_is_refused_by_name() {
    let genesis = Genesis::new(Mode::Group(Hash::from_bytes([9; 32])), [7; 16], "ours", []);
    let error = Access::new(genesis.unwrap()).unwrap_err();
    assert_eq!(error, ModeError::Group);
    assert!(error.to_string().contains("group"));
}

#[test]
fn who_may_do_what_without_a_grant_is_the_modes() {
    for (mode, role) in [
        (Mode::Granted, None),
        (Mode::Readable, Some(Role::Reader)),
        (Mode::Open, Some(Role::Writer)),
    ] {
        let access = Scene::new(mode).access();
        assert_eq!(access.role_of(&public(1)), Some(Role::Owner));
        assert_eq!(access.role_of(&public(6)), role);
        assert_eq!(access.standing(feed(1, 1), Authority::Genesis), Standing::Open);
        let expected = match mode {
            Mode::Open => Standing::Open,
            _ => Standing::Void(Void::Stranger),
        };
        assert_eq!(access.standing(feed(6, 1), Authority::Genesis), expected);
    }
}

#[test]
fn a_removal_bans_a_key_in_an_open_space_until_a_grant_overrides_it() {
    let mut scene = Scene::new(Mode::Open);
    let mut access = scene.access();
    let grants = scene.grants(&[(3, Role::Admin)]);
    let ban = scene.begin(3, 1, granted(&grants[0]), from(6, &[]));
    access.insert(&grants[0].header, grants[0].authority).unwrap();
    assert_eq!(access.insert(&ban.header, ban.authority), Ok([public(6)].into()));
    let void = Void::Removed { by: ban.id() };
    assert_eq!(access.standing(feed(6, 1), Authority::Genesis), Standing::Void(void));
    assert_eq!(access.role_of(&public(6)), Some(Role::Reader));
    assert_eq!(access.role_of(&public(7)), Some(Role::Writer));

    let again = scene.after(&ban, to(6, Role::Writer, &[&ban]));
    access.insert(&again.header, again.authority).unwrap();
    assert_eq!(access.role_of(&public(6)), Some(Role::Writer));
    assert_eq!(access.standing(feed(6, 1), Authority::Genesis), Standing::Void(void));
    assert_eq!(access.standing(feed(6, 2), granted(&again)), Standing::Open);
}

#[test]
fn an_admin_removes_writers_and_nobody_above() {
    let mut scene = Scene::new(Mode::Granted);
    let mut access = scene.access();
    let grants =
        scene.grants(&[(3, Role::Admin), (4, Role::Admin), (4, Role::Writer), (6, Role::Reader)]);
    let mut entries = grants.clone();
    entries.push(scene.begin(3, 1, granted(&grants[0]), None));
    for seed in [1, 3, 4, 6] {
        let change = from(seed, &[]);
        entries.push(scene.after(&entries[entries.len() - 1].clone(), change));
    }
    for signed in &entries {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    let by = entries[7].id();
    for (feed, authority, standing) in [
        (feed(1, 1), Authority::Genesis, Standing::Open),
        (feed(3, 1), granted(&grants[0]), Standing::Open),
        (feed(4, 1), granted(&grants[1]), Standing::Open),
        (feed(4, 2), granted(&grants[2]), Standing::Void(Void::Removed { by })),
    ] {
        assert_eq!(access.standing(feed, authority), standing);
    }
    let roles = [1, 3, 4, 6].map(|seed| access.role_of(&public(seed)));
    assert_eq!(roles, [Some(Role::Owner), Some(Role::Admin), Some(Role::Admin), None]);

    // An owner removes whom it likes, but no owner.
    let removals = [3, 2].map(|seed| scene.after(&grants[3], from(seed, &[])));
    let affected = access.insert(&removals[0].header, Authority::Genesis).unwrap();
    assert_eq!(affected, [1, 3, 4, 6].map(public).into(), "what the admin did is gone");
    let void = Standing::Void(Void::Removed { by: removals[0].id() });
    assert_eq!(access.standing(feed(3, 1), granted(&grants[0])), void);
    assert_eq!(access.standing(feed(4, 2), granted(&grants[2])), Standing::Open);
    access.insert(&removals[1].header, Authority::Genesis).unwrap();
    assert_eq!(access.standing(feed(2, 1), Authority::Genesis), Standing::Open);
    assert_eq!(access.role_of(&public(2)), Some(Role::Owner));

    // The owner's entry goes: all is as before.
    assert_eq!(access.remove(&removals[0].id()), [1, 3, 4, 6].map(public).into());
    assert_eq!(access.standing(feed(3, 1), granted(&grants[0])), Standing::Open);
    assert_eq!(access.role_of(&public(6)), None);
}

#[test]
fn a_grant_counts_for_its_member_and_no_other_entry_is_one() {
    let mut scene = Scene::new(Mode::Granted);
    let mut access = scene.access();
    let grants = scene.grants(&[(6, Role::Writer), (7, Role::Reader)]);
    let removal = scene.after(&grants[1], from(9, &[]));
    for signed in grants.iter().chain([&removal]) {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    // A writer's grant of a writer, kept by mistake, counts nothing.
    let forged = scene.begin(6, 1, granted(&grants[0]), to(8, Role::Writer, &[]));
    assert_eq!(access.insert(&forged.header, forged.authority), Ok(BTreeSet::new()));
    let unknown = EntryId { number: 99, ..grants[0].id() };
    for (feed, authority, void) in [
        (feed(7, 1), granted(&grants[0]), Void::Grant),
        (feed(7, 1), granted(&grants[1]), Void::Reader),
        (feed(8, 1), granted(&forged), Void::Grant),
        (feed(9, 1), granted(&removal), Void::Grant),
        (feed(6, 1), Authority::Grant(unknown), Void::Grant),
        (feed(6, 1), Authority::Genesis, Void::Stranger),
    ] {
        assert_eq!(access.standing(feed, authority), Standing::Void(void));
        assert_eq!(access.rank(feed, authority), Err(void));
    }
    assert_eq!(access.rank(feed(6, 1), granted(&grants[0])), Ok(Role::Writer));
    assert_eq!(access.role_of(&public(8)), None);
}

#[test]
fn the_door_knows_strangers_and_what_a_rank_may_not_do() {
    let mut scene = Scene::new(Mode::Granted);
    let mut access = scene.access();
    let grants = scene.grants(&[(3, Role::Admin), (6, Role::Writer)]);
    for signed in &grants {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    let discard = discard(grants[0].id());
    let mut admit = |seed: u8, authority: Authority, change: Option<&AccessOp>| {
        let signed = scene.begin(seed, 1, authority, change.cloned());
        let misfit = signed.header.fits(&scene.genesis, authority).err();
        (access.admit(&signed.header, authority), misfit)
    };
    let changes = [
        to(7, Role::Reader, &[]),
        to(7, Role::Writer, &[]),
        from(7, &[]),
        to(7, Role::Admin, &[]),
        discard,
    ];
    for (seed, authority, rank, allowed) in [
        (1, Authority::Genesis, Role::Owner, 5),
        (3, granted(&grants[0]), Role::Admin, 3),
        (6, granted(&grants[1]), Role::Writer, 0),
    ] {
        assert_eq!(admit(seed, authority, None), (Ok(()), None));
        for (at, change) in changes.iter().enumerate() {
            let expected = if at < allowed { Ok(()) } else { Err(Refusal::Beyond { rank }) };
            let (admitted, misfit) = admit(seed, authority, Some(change));
            assert_eq!(admitted, expected, "a {rank}'s {change:?}");
            // What never fits is always refused at the door too.
            let is_beyond = matches!(change, AccessOp::Discard { .. }) && rank != Role::Owner;
            assert_eq!(misfit, is_beyond.then_some(Misfit::Discard));
        }
        let stranger = admit(9, Authority::Genesis, changes.first()).0;
        assert_eq!(stranger, Err(Refusal::Void(Void::Stranger)));
    }
    let removal = scene.after(&grants[1], from(6, &[]));
    access.insert(&removal.header, removal.authority).unwrap();
    let late = scene.begin(6, 1, granted(&grants[1]), None);
    let void = Void::Removed { by: removal.id() };
    assert_eq!(access.admit(&late.header, late.authority), Err(Refusal::Void(void)));
}

#[test]
fn the_door_is_open_to_the_chains_of_a_pending_removal() {
    let mut scene = Scene::new(Mode::Granted);
    let mut access = scene.access();
    let grants = scene.grants(&[(3, Role::Admin), (6, Role::Writer)]);
    let chain = scene.plain(6, 1, &grants[1], 3);
    let strict = scene.after(&grants[1], from(6, &[&chain[0]]));
    let lenient = scene.begin(3, 1, granted(&grants[0]), from(6, &[&chain[1]]));
    for signed in grants.iter().chain([&strict, &lenient]) {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    access.hold(&chain[0].id(), []);
    let short = Left { removal: strict.id(), tips: vec![chain[0].tip()] };
    let standing = access.standing(feed(6, 1), granted(&grants[1]));
    assert_eq!(standing, Standing::Pinned(Pinned::new(vec![short.clone()])));
    assert_eq!(access.admit(&chain[1].header, chain[1].authority), Ok(()));
    access.hold(&chain[1].id(), []);
    let left = Left { removal: lenient.id(), tips: vec![chain[1].tip()] };
    let Standing::Pinned(pinned) = access.standing(feed(6, 1), granted(&grants[1])) else {
        panic!("it is pinned")
    };
    assert_eq!(pinned.tips(), [chain[0].tip(), chain[1].tip()]);
    assert_eq!(pinned.removals().len(), 2);
    assert!([short, left].iter().all(|left| pinned.removals().contains(left)));
}

#[test]
fn a_removal_that_pins_nothing_of_a_feed_voids_it_whatever_others_pin() {
    let mut scene = Scene::new(Mode::Granted);
    let mut access = scene.access();
    let grants = scene.grants(&[(3, Role::Admin), (6, Role::Writer)]);
    let chain = scene.plain(6, 1, &grants[1], 2);
    let nothing = scene.after(&grants[1], from(6, &[]));
    let again = scene.after(&nothing, to(6, Role::Writer, &[&nothing]));
    let lenient = scene.begin(3, 1, granted(&grants[0]), from(6, &[&chain[1]]));
    for signed in grants.iter().chain([&nothing, &again, &lenient]) {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    let void = Void::Removed { by: nothing.id() };
    for _ in 0..2 {
        let standing = access.standing(feed(6, 1), granted(&grants[1]));
        assert_eq!(standing, Standing::Void(void));
        assert_eq!(access.admit(&chain[1].header, chain[1].authority), Err(Refusal::Void(void)));
        // A branch that states the grant which overrides that removal isn't displaced by one that
        // states the other, whichever of them is held.
        let stated = [granted(&grants[1]), granted(&again)];
        assert_eq!(access.authority_of(feed(6, 1), stated), Some(granted(&again)));
        access.hold(&chain[1].id(), []);
    }
}

#[test]
fn a_feed_whose_first_headers_disagree_is_written_under_the_highest_rank() {
    let mut scene = Scene::new(Mode::Open);
    let mut access = scene.access();
    let grants = scene.grants(&[(3, Role::Writer), (3, Role::Admin), (3, Role::Writer)]);
    for signed in &grants {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    let [low, admin, other] = [0, 1, 2].map(|at: usize| granted(&grants[at]));
    let access_of = |stated: &[Authority]| {
        let one = access.authority_of(feed(3, 1), stated.iter().copied());
        let reversed = access.authority_of(feed(3, 1), stated.iter().rev().copied());
        assert_eq!(one, reversed);
        one
    };
    assert_eq!(access_of(&[low, admin, other, Authority::Genesis]), Some(admin));
    assert_eq!(access_of(&[other, low]), Some(low.min(other)));
    assert_eq!(access_of(&[low, Authority::Genesis]), Some(Authority::Genesis));
    let unknown = Authority::Grant(EntryId { number: 99, ..grants[0].id() });
    assert_eq!(access_of(&[unknown]), None);
    assert_eq!(access_of(&[unknown, low]), Some(low));
    // Nothing of it stands under the higher one.
    let removal = scene.after(&grants[2], from(3, &[]));
    let again = scene.after(&removal, to(3, Role::Writer, &[&removal]));
    for signed in [&removal, &again] {
        access.insert(&signed.header, signed.authority).unwrap();
    }
    let stated = [admin, granted(&again)];
    assert_eq!(access.authority_of(feed(3, 1), stated), Some(granted(&again)));
}
