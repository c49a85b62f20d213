//! Rules 10, 12 and 14: what is kept of feeds whose authority changes, or is two.

use super::{
    members::{
        OWNER, after, change, first, give, grants, has, member, op, removed, space, talk, write,
    },
    *,
};
use crate::proto::{
    access::MAX_INCARNATIONS, entry::AccessOp, map, replica::Change as Access, space::Role,
};

const MODE: Mode = Mode::Readable;

/// The owner's next entry behind a grant of its own.
fn behind(node: &Node, grant: Authority, change: AccessOp) -> Entry {
    let Authority::Grant(grant) = grant else { panic!("it is a grant") };
    let Ok(parent) = node.replica.book().header(&grant);
    after(&parent.unwrap(), OWNER, Authority::Genesis, op(change))
}

#[test]
fn who_is_made_an_admin_changes_access_in_a_feed_of_that_rank() {
    let (mut founder, mut writer) = (member(MODE, 1, true), member(MODE, 2, false));
    change(&mut founder, 2, Access::Grant(Role::Writer));
    talk([(1, &mut founder), (2, &mut writer)]);
    let first = write(&mut writer).unwrap();
    change(&mut founder, 2, Access::Grant(Role::Admin));
    talk([(1, &mut founder), (2, &mut writer)]);
    assert_eq!(write(&mut writer).unwrap().feed, first.feed, "what it writes goes on");
    change(&mut writer, 4, Access::Grant(Role::Writer));
    assert_ne!(writer.replica.own(), Some(first.feed));
    talk([(1, &mut founder), (2, &mut writer)]);
    assert_eq!(founder.replica.access().role_of(&peer(4)), Some(Role::Writer));
}

#[test]
fn who_may_write_is_known_after_a_restart() {
    let mut founder = member(MODE, 1, true);
    change(&mut founder, 2, Access::Grant(Role::Writer));
    change(&mut founder, 3, Access::Grant(Role::Writer));
    change(&mut founder, 3, Access::Remove);
    let keys = Keys { own: key(1), owner: Some(key(OWNER)) };
    let disk = founder.replica.base_mut().clone();
    let opened = Replica::open(Config::default(), space(MODE), keys, [1; 32], disk, None).unwrap();
    let roles = [2, 3].map(|seed| opened.access().role_of(&peer(seed)));
    assert_eq!(roles, [Some(Role::Writer), Some(Role::Reader)]);
}

#[test]
fn a_change_of_access_that_a_smaller_hash_evicts_has_no_effect_any_more() {
    let owners = FeedId { author: peer(OWNER), incarnation: 1 };
    let grant = |seed| AccessOp::Grant { member: peer(seed), role: Role::Writer, over: Vec::new() };
    let signed = |seed| (first(MODE, owners, OWNER, Authority::Genesis, op(grant(seed))), seed);
    let mut all = [4, 5, 6].map(signed);
    all.sort_by_key(|(entry, _)| entry.header().hash());
    let mut node = member(MODE, 2, false);
    let [smallest, second, largest] = all;
    give(&mut node, 9, &[&largest.0, &second.0]);
    let role = |node: &Node, seed| node.replica.access().role_of(&peer(seed));
    assert_eq!(role(&node, largest.1), Some(Role::Writer));
    give(&mut node, 9, &[&smallest.0]);
    let roles = [smallest.1, second.1, largest.1].map(|seed| role(&node, seed));
    assert_eq!(roles, [Some(Role::Writer), Some(Role::Writer), Some(Role::Reader)]);
}

#[test]
fn of_an_author_are_kept_as_many_feeds_as_there_may_be() {
    let mut node = Node::new();
    let signed = |incarnation| {
        let feed = FeedId { author: peer(1), incarnation };
        let place = Place::first(genesis().space_id(), feed, Authority::Genesis);
        draft(1).sign(&key(1), place, WALL).unwrap()
    };
    let most = MAX_INCARNATIONS as u64;
    let feeds: Vec<Entry> = (1..=most + 2).map(signed).collect();
    let (smallest, rest) = feeds.split_first().unwrap();
    let (surplus, rest) = rest.split_last().unwrap();
    give(&mut node, 1, &rest.iter().collect::<Vec<_>>());
    assert!(rest.iter().all(|entry| node.holds(entry)));
    give(&mut node, 1, &[surplus]);
    assert!(!node.holds(surplus));
    give(&mut node, 1, &[smallest]);
    let (last, rest) = rest.split_last().unwrap();
    assert!(node.holds(smallest) && rest.iter().all(|entry| node.holds(entry)));
    assert!(!node.holds(last) && !node.holds(surplus));
}

#[test]
fn a_feed_of_two_authorities_is_that_of_the_higher_rank_whichever_came_first() {
    let mut founder = member(MODE, 1, true);
    change(&mut founder, 3, Access::Grant(Role::Writer));
    change(&mut founder, 3, Access::Grant(Role::Admin));
    let [writer, admin] = grants(&founder)[..] else { panic!("there are two") };
    // Hashes don't decide: of four pairs the smaller is now this one, now that one.
    for salt in 0..4 {
        let branch = |by: Authority, salt| {
            let head = first(MODE, feed(3), 3, by, draft(salt));
            let next = after(head.header(), 3, by, draft(salt));
            [head, next]
        };
        let (low, high) = (branch(writer, salt), branch(admin, 9));
        let [mut one, mut other] = [[&low, &high], [&high, &low]].map(|order| {
            let mut node = member(MODE, 2, false);
            talk([(1, &mut founder), (2, &mut node)]);
            order.into_iter().for_each(|branch| give(&mut node, 3, &branch.each_ref()));
            assert!(high.iter().all(|entry| node.holds(entry)));
            assert!(!low.iter().any(|entry| node.holds(entry)));
            node
        });
        talk([(4, &mut one), (5, &mut other)]);
        assert_eq!(one.replica.digest(), other.replica.digest());
        let evidence = one.replica.book().evidence(&feed(3));
        assert_eq!(evidence.map(|evidence| evidence.number()), Some(1));
    }
}

#[test]
fn what_a_removal_cuts_still_shows_that_its_author_forked() {
    let mut founder = member(MODE, 1, true);
    change(&mut founder, 3, Access::Grant(Role::Writer));
    let by = grants(&founder)[0];
    let head = first(MODE, feed(3), 3, by, draft(0));
    let [stays, cut] = [1, 2].map(|salt| after(head.header(), 3, by, draft(salt)));
    give(&mut founder, 3, &[&head, &stays]);
    change(&mut founder, 3, Access::Remove);
    give(&mut founder, 4, &[&cut]);
    assert!(founder.holds(&stays) && !founder.holds(&cut));
    let evidence = founder.replica.book().evidence(&feed(3));
    assert_eq!(evidence.map(|evidence| evidence.number()), Some(2));
}

#[test]
fn of_a_void_feed_the_evidence_stays() {
    let mut node = member(MODE, 1, true);
    change(&mut node, 3, Access::Grant(Role::Writer));
    let by = grants(&node)[0];
    let heads = [1, 2].map(|salt| first(MODE, feed(3), 3, by, draft(salt)));
    give(&mut node, 3, &heads.each_ref());
    let evidence = node.replica.book().evidence(&feed(3));
    assert!(evidence.is_some());
    let removal = behind(&node, by, removed(3, &[]));
    give(&mut node, 2, &[&removal]);
    assert!(!heads.iter().any(|head| node.holds(head)));
    assert_eq!(node.replica.book().evidence(&feed(3)), evidence);
}

#[test]
fn what_one_of_two_removals_leaves_standing_is_kept_and_does_not_count() {
    let mut node = member(MODE, 1, true);
    change(&mut node, 3, Access::Grant(Role::Writer));
    let by = grants(&node)[0];
    let head = first(MODE, feed(3), 3, by, draft(1));
    let next = after(head.header(), 3, by, draft(2));
    give(&mut node, 3, &[&head, &next]);
    let shown = |node: &mut Node| {
        while let Some(due) = node.replica.poll_timeout() {
            node.handle(due, Input::Timeout);
            node.sync(due);
        }
        let book = node.replica.book();
        let Ok(alive) = map::find(&Collection::new(Kind::Map, "all"), b"k", book.rows());
        let Ok(last) = alive.last(book.rows(), book.catalog());
        last.map(|value| u64::from_be_bytes(value.try_into().unwrap()))
    };
    assert_eq!(shown(&mut node), Some(2));
    let lenient = behind(&node, by, removed(3, &[&next]));
    let strict = after(lenient.header(), OWNER, Authority::Genesis, op(removed(3, &[&head])));
    give(&mut node, 2, &[&lenient]);
    assert_eq!(shown(&mut node), Some(2));
    give(&mut node, 2, &[&strict]);
    assert!(node.holds(&head) && node.holds(&next));
    assert_eq!(shown(&mut node), Some(1));
}

#[test]
fn own_entries_that_come_back_are_told_of_and_set_aside_no_more() {
    let (mut founder, mut node) = (member(MODE, 1, true), member(MODE, 3, false));
    change(&mut founder, 2, Access::Grant(Role::Admin));
    change(&mut founder, 3, Access::Grant(Role::Writer));
    let [admin, last] = grants(&founder)[..] else { panic!("there are two") };
    talk([(1, &mut founder), (3, &mut node)]);
    let own = write(&mut node).unwrap();
    give(&mut node, 2, &[&first(MODE, feed(2), 2, admin, op(removed(3, &[])))]);
    let is_set_aside = |node: &Node| {
        let Ok(staged) = node.replica.book().staged(&own);
        staged.is_some()
    };
    assert!(!has(&node, &own) && is_set_aside(&node));

    let removal = behind(&founder, last, removed(2, &[]));
    node.meet(NOW, 1);
    node.say(NOW, 1, &offer(1, &removal));
    let outputs = node.sync(NOW);
    assert!(has(&node, &own) && !is_set_aside(&node));
    let is_told = |output: &Output| matches!(output, Output::Held { id, .. } if *id == own);
    assert_eq!(outputs.iter().filter(|output| is_told(output)).count(), 1);
}
