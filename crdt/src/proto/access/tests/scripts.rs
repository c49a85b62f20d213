//! Scripts: one story each, told in several orders, with one end.

use super::*;
use crate::proto::feed::Node;

/// All orders of a few things.
fn orders<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
    let Some((last, rest)) = things.split_last() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(rest) {
        for at in 0..=order.len() {
            let mut order = order.clone();
            order.insert(at, last.clone());
            all.push(order);
        }
    }
    all
}

/// Replicas that saw `before`, and then groups of entries in every order; each is what the
/// specification says after every entry.
fn ends(scene: &Scene, before: &[Signed], groups: &[&[Signed]]) -> Vec<Replica> {
    let end = |order: Vec<&[Signed]>| {
        let mut replica = Replica::of(&scene.genesis, before);
        for signed in order.into_iter().flatten() {
            replica.see(signed);
            replica.check();
        }
        replica
    };
    orders(groups).into_iter().map(end).collect()
}

fn tips(entries: &[&Signed]) -> BTreeSet<Tip> {
    entries.iter().map(|signed| signed.tip()).collect()
}

fn all(entries: &[Signed]) -> BTreeSet<Tip> {
    tips(&entries.iter().collect::<Vec<_>>())
}

fn voided(replica: &Replica, signed: &Signed) -> Option<Void> {
    match replica.access.standing(signed.feed(), signed.authority) {
        Standing::Void(void) => Some(void),
        _ => None,
    }
}

/// What a removal leaves of a feed while it is pending: all.
fn is_pending(replica: &Replica, pin: &Signed, removal: &Signed) -> bool {
    let pending = Pending { pin: pin.id(), removal: removal.id() };
    replica.access.pending(&pin.feed().author).contains(&pending)
}

#[test]
fn late_forks_below_a_removals_pin_change_nothing_whenever_the_removal_arrives() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(6, Role::Writer)]);
    let chain = scene.plain(6, 1, &grants[0], 6);
    let forks = [1, 3].map(|at: usize| {
        let fork = scene.after(&chain[at], None);
        let above = scene.after(&fork, None);
        [fork, above]
    });
    let removal = [scene.after(&grants[0], from(6, &[&chain[4]]))];
    let before = [&grants[..], &chain].concat();
    for replica in ends(&scene, &before, &[&removal, &forks[0], &forks[1]]) {
        assert_eq!(replica.kept(chain[0].feed()), all(&chain[..5]));
        assert_eq!(replica.counted(&chain[0]), all(&chain[..5]));
    }
    // The same if the pinned branch is the one that hashes would have evicted.
    for fork in &forks {
        let removal = [scene.after(&grants[0], from(6, &[&fork[1]]))];
        for replica in ends(&scene, &before, &[&removal, &forks[0], &forks[1]]) {
            let chain: BTreeSet<Tip> =
                chain.iter().map(Signed::tip).filter(|tip| *tip < fork[0].parent()).collect();
            let mut expected = &chain | &tips(&[&fork[0], &fork[1]]);
            expected.insert(fork[0].parent());
            assert_eq!(replica.kept(fork[0].feed()), expected);
        }
    }
}

#[test]
fn whom_an_admin_admitted_while_it_was_removed_is_void() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(3, Role::Admin)]);
    let admitted = scene.begin(3, 1, granted(&grants[0]), to(6, Role::Writer, &[]));
    let known = scene.after(&admitted, None);
    let late = scene.after(&known, to(7, Role::Writer, &[]));
    let of_known = scene.plain(6, 1, &admitted, 2);
    let of_late = scene.plain(7, 1, &late, 2);
    // The owner knows nothing of the second grant.
    let removal = [scene.after(&grants[0], from(3, &[&known]))];
    let admin = [admitted.clone(), known, late.clone()];
    for replica in ends(&scene, &grants, &[&removal, &admin, &of_known, &of_late]) {
        assert_eq!(voided(&replica, &of_late[0]), Some(Void::Grant));
        assert_eq!(replica.kept(of_late[0].feed()), BTreeSet::new());
        assert_eq!(replica.kept(of_known[0].feed()), all(&of_known));
        assert_eq!(replica.kept(admitted.feed()), all(&admin[..2]));
        let roles = [3, 6, 7].map(|seed| replica.access.role_of(&public(seed)));
        assert_eq!(roles, [None, Some(Role::Writer), None]);
    }
}

#[test]
fn of_lanes_that_two_admins_pin_the_common_prefix_counts_and_both_chains_are_kept() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(3, Role::Admin), (4, Role::Admin), (6, Role::Writer)]);
    let trunk = scene.plain(6, 1, &grants[2], 2);
    let lanes = [0, 1].map(|_| {
        let head = scene.after(&trunk[1], None);
        let tip = scene.after(&head, None);
        [head, tip]
    });
    let member = [&trunk[..], &lanes[0], &lanes[1]].concat();
    let starts = [(3, 0), (4, 1)]
        .map(|(seed, grant): (u8, usize)| scene.begin(seed, 1, granted(&grants[grant]), None));
    let removals = [0, 1].map(|at: usize| [scene.after(&starts[at], from(6, &[&lanes[at][1]]))]);
    let before = [&grants[..], &starts].concat();
    for replica in ends(&scene, &before, &[&member, &removals[0], &removals[1]]) {
        assert_eq!(replica.kept(trunk[0].feed()), all(&member));
        assert_eq!(replica.counted(&trunk[0]), all(&trunk));
    }
    // The first admin was removed before it removed.
    let owners = [scene.after(&grants[2], from(3, &[&starts[0]]))];
    for replica in ends(&scene, &before, &[&member, &removals[0], &removals[1], &owners]) {
        let chain = [&trunk[..], &lanes[1]].concat();
        assert_eq!(replica.kept(trunk[0].feed()), all(&chain));
        assert_eq!(replica.counted(&trunk[0]), all(&chain));
    }
}

#[test]
fn of_an_admins_lanes_that_two_owners_pin_only_the_grants_below_both_count() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(3, Role::Admin)]);
    let below = scene.begin(3, 1, granted(&grants[0]), to(6, Role::Writer, &[]));
    let lanes = [7, 8].map(|seed| {
        let head = scene.after(&below, None);
        let grant = scene.after(&head, to(seed, Role::Writer, &[]));
        [head, grant]
    });
    let admin = [&[below.clone()][..], &lanes[0], &lanes[1]].concat();
    let members: Vec<Signed> = [(6, &below), (7, &lanes[0][1]), (8, &lanes[1][1])]
        .map(|(seed, grant)| scene.plain(seed, 1, grant, 1).remove(0))
        .into();
    let one = [scene.after(&grants[0], from(3, &[&lanes[0][1]]))];
    let other = [scene.begin(2, 1, Authority::Genesis, from(3, &[&lanes[1][1]]))];
    let roles = |replica: &Replica| {
        [6, 7, 8].map(|seed| replica.access.role_of(&public(seed)) == Some(Role::Writer))
    };
    for replica in ends(&scene, &grants, &[&admin, &members, &one]) {
        assert_eq!(roles(&replica), [true, true, false]);
    }
    for replica in ends(&scene, &grants, &[&admin, &members, &one, &other]) {
        assert_eq!(replica.kept(below.feed()), all(&admin));
        assert_eq!(replica.counted(&below), tips(&[&below]));
        assert_eq!(roles(&replica), [true, false, false]);
        assert_eq!(replica.kept(members[0].feed()), tips(&[&members[0]]));
        assert_eq!(replica.kept(members[1].feed()), BTreeSet::new());
    }
}

#[test]
fn a_pin_that_names_nothing_is_pending_everywhere_and_changes_nothing_of_its_feed() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(3, Role::Admin), (6, Role::Writer), (7, Role::Writer)]);
    let members = [6, 7].map(|seed: u8| scene.plain(seed, 1, &grants[usize::from(seed) - 5], 2));
    let other = scene.plain(6, 2, &grants[1], 2);
    let nothing = scene.after(&members[0][1], None);
    let invented = from(6, &[&nothing]);
    let removal = [scene.begin(3, 1, granted(&grants[0]), invented)];
    let members = members.concat();
    for replica in ends(&scene, &grants, &[&members, &other, &removal]) {
        assert!(is_pending(&replica, &nothing, &removal[0]));
        for signed in &members {
            assert_eq!(replica.access.standing(signed.feed(), signed.authority), Standing::Open);
        }
        // In this feed it pins nothing, and so needs nothing.
        let by = removal[0].id();
        assert_eq!(voided(&replica, &other[0]), Some(Void::Removed { by }));
        assert_eq!(replica.access.role_of(&public(6)), None);
    }
}

#[test]
fn a_removal_counts_in_a_feed_when_the_chains_it_pins_there_are_held() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(6, Role::Writer)]);
    let chain = scene.plain(6, 1, &grants[0], 3);
    let above = scene.after(&chain[2], None);
    let removal = scene.after(&grants[0], from(6, &[&chain[2]]));
    let mut replica = Replica::of(&scene.genesis, &[&grants[..], &chain[..2]].concat());
    replica.see(&removal);
    assert!(is_pending(&replica, &chain[2], &removal));
    assert_eq!(replica.kept(above.feed()), all(&chain[..2]));
    // Above the pin, yet on the way while the removal is pending.
    replica.see(&above);
    assert_eq!(replica.kept(above.feed()), all(&chain[..2]));
    replica.see(&chain[2]);
    assert!(!is_pending(&replica, &chain[2], &removal));
    assert_eq!(replica.kept(above.feed()), all(&chain));

    let mut access = replica.access.clone();
    assert_eq!(access.release(&chain[2].id()), [public(6)].into());
    assert_eq!(access.standing(above.feed(), above.authority), Standing::Open);
    assert_eq!(access.release(&chain[2].id()), BTreeSet::new());
}

#[test]
fn a_concurrent_grant_revives_nothing_and_a_later_one_opens_new_feeds() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(3, Role::Admin), (6, Role::Writer)]);
    let old = scene.plain(6, 1, &grants[1], 2);
    let removal = scene.after(&grants[1], from(6, &[]));
    let concurrent = scene.begin(3, 1, granted(&grants[0]), to(6, Role::Writer, &[]));
    let concurrent_feed = scene.plain(6, 2, &concurrent, 2);
    let later = [scene.after(&concurrent, to(6, Role::Writer, &[&removal]))];
    let new = scene.plain(6, 3, &later[0], 2);
    let (removal, concurrent) = ([removal], [concurrent]);
    let before = [&grants[..], &old, &concurrent_feed].concat();
    for replica in ends(&scene, &before, &[&removal, &concurrent]) {
        let by = removal[0].id();
        for signed in [&old[0], &concurrent_feed[0]] {
            assert_eq!(voided(&replica, signed), Some(Void::Removed { by }));
        }
        assert_eq!(replica.access.role_of(&public(6)), None);
    }
    for replica in ends(&scene, &before, &[&removal, &concurrent, &later, &new]) {
        for signed in old.iter().chain(&concurrent_feed) {
            assert_eq!(replica.kept(signed.feed()), BTreeSet::new());
        }
        assert_eq!(replica.kept(new[0].feed()), all(&new));
        assert_eq!(replica.access.role_of(&public(6)), Some(Role::Writer));
    }
}

#[test]
fn of_a_forked_owner_both_lanes_count_and_of_three_the_same_two_everywhere() {
    let mut scene = Scene::new(Mode::Granted);
    let first = scene.grants(&[(3, Role::Admin)]);
    let mut lanes = [6, 7, 8].map(|seed| [scene.after(&first[0], to(seed, Role::Writer, &[]))]);
    let feeds: Vec<Vec<Signed>> =
        (0..3).map(|lane: usize| scene.plain([6, 7, 8][lane], 1, &lanes[lane][0], 1)).collect();
    let before = [first, feeds.concat()].concat();
    for replica in ends(&scene, &before, &[&lanes[0], &lanes[1]]) {
        let roles = [6, 7, 8].map(|seed| replica.access.role_of(&public(seed)));
        assert_eq!(roles, [Some(Role::Writer), Some(Role::Writer), None]);
        assert_eq!(replica.kept(feeds[0][0].feed()), all(&feeds[0]));
        assert_eq!(replica.kept(feeds[1][0].feed()), all(&feeds[1]));
    }
    let ends = ends(&scene, &before, &[&lanes[0], &lanes[1], &lanes[2]]);
    lanes.sort_by_key(|lane| lane[0].tip());
    for replica in ends {
        for (at, lane) in lanes.iter().enumerate() {
            let feed = feeds.iter().find(|feed| feed[0].authority == granted(&lane[0])).unwrap();
            let kept = if at < 2 { all(feed) } else { BTreeSet::new() };
            assert_eq!(replica.kept(feed[0].feed()), kept, "lane {at}");
        }
    }
}

#[test]
fn a_removal_that_is_cut_off_never_counts_and_one_of_parts_counts_with_all_its_pins() {
    let mut scene = Scene::new(Mode::Granted);
    let grants = scene.grants(&[(6, Role::Writer), (7, Role::Writer)]);
    let feeds = [1, 2, 3].map(|incarnation| scene.plain(6, incarnation, &grants[0], 1));
    let before = [&grants[..], &feeds.concat()].concat();
    let pin = |at: usize| from(6, &[&feeds[at][0]]);
    let parts = [scene.after(&grants[1], goes_on(pin(0)))];
    let is_open = |replica: &Replica, at: usize| {
        let signed: &Signed = &feeds[at][0];
        replica.access.standing(signed.feed(), signed.authority) == Standing::Open
    };

    // Nothing follows; or something else; or somebody else's removal.
    let other = [scene.after(&parts[0], None)];
    let others = [scene.after(&parts[0], from(7, &[]))];
    for group in [&parts[..], &[&parts[..], &other].concat(), &[&parts[..], &others].concat()] {
        for replica in ends(&scene, &before, &[group]) {
            assert!((0..3).all(|at| is_open(&replica, at)));
            assert_eq!(replica.access.role_of(&public(6)), Some(Role::Writer));
            assert_eq!(replica.access.pending(&public(6)), []);
            // What is somebody else's has none of its pins.
            let by = others[0].id();
            let void = Standing::Void(Void::Removed { by });
            let is_others = group.len() > 1 && group[1].id() == by;
            let expected = if is_others { void } else { Standing::Open };
            assert_eq!(replica.access.standing(feed(7, 1), granted(&grants[1])), expected);
        }
    }

    let whole = [scene.after(&parts[0], goes_on(pin(1)))];
    let whole = [whole[0].clone(), scene.after(&whole[0], from(6, &[]))];
    for replica in ends(&scene, &before, &[&parts, &whole]) {
        let by = whole[1].id();
        for at in [0, 1] {
            let signed = &feeds[at][0];
            let left = vec![Left { removal: by, tips: vec![signed.tip()] }];
            let pinned = Standing::Pinned(Pinned::new(left));
            assert_eq!(replica.access.standing(signed.feed(), signed.authority), pinned);
        }
        assert_eq!(voided(&replica, &feeds[2][0]), Some(Void::Removed { by }));
        // It goes by the name of its last entry.
        let again = scene.clone().after(&whole[1], to(6, Role::Writer, &[&whole[1]]));
        let mut replica = replica.clone();
        replica.see(&again);
        assert_eq!(replica.access.role_of(&public(6)), Some(Role::Writer));
    }
}

#[test]
fn only_an_entry_on_the_way_to_a_tip_of_each_removal_counts() {
    // Pinned of a tree by hand: a comb whose teeth hang on 1 to 3.
    let hash = |byte: u8| Hash::from_bytes([byte; 32]);
    let node =
        |number: u64, byte: u8, parent: u8| Node { number, hash: hash(byte), parent: hash(parent) };
    let nodes: crate::proto::feed::Nodes = [
        node(1, 1, 0),
        node(2, 2, 1),
        node(3, 3, 2),
        node(4, 4, 3),
        node(2, 12, 1),
        node(3, 13, 2),
        node(4, 14, 3),
        node(2, 22, 1),
        node(3, 23, 22),
        node(4, 24, 23),
        node(5, 25, 24),
    ]
    .into_iter()
    .collect();
    let tip = |byte: u8| Tip { number: u64::from(byte % 10), hash: hash(byte) };
    let counted = |removals: &[&[u8]]| {
        let left = |tips: &&[u8]| {
            let removal = EntryId { feed: feed(1, 1), number: 1, hash: hash(9) };
            Left { removal, tips: tips.iter().copied().map(tip).collect() }
        };
        Pinned::new(removals.iter().map(left).collect()).counted(&nodes)
    };
    assert_eq!(counted(&[&[4]]), Ok(vec![tip(4)]));
    assert_eq!(counted(&[&[4], &[14]]), Ok(vec![tip(3)]));
    assert_eq!(counted(&[&[4], &[13]]), Ok(vec![tip(2)]));
    assert_eq!(counted(&[&[12, 4], &[4, 12]]), Ok(vec![tip(12), tip(4)]));
    assert_eq!(counted(&[&[12, 13], &[13, 14], &[4, 13]]), Ok(vec![tip(13)]));
    assert_eq!(counted(&[&[12, 4], &[2, 12]]), Ok(vec![tip(2), tip(12)]));
    assert_eq!(counted(&[&[25, 4], &[25, 14]]), Ok(vec![tip(3), tip(25)]));
    assert_eq!(counted(&[&[4], &[]]), Ok(vec![]));
    assert_eq!(counted(&[&[2], &[4]]), Ok(vec![tip(2)]));
    assert_eq!(counted(&[&[3], &[4, 15]]), Err(tip(15)));
}
