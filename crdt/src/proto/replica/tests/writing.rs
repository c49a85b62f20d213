//! Rules 2 and 9: the own feed, old disks, and disks that fail.

use super::*;
use crate::proto::map::Feeds as _;

/// A replica that wrote and synced so many entries.
fn written(count: u64) -> Node {
    let mut node = Node::new();
    (0..count).for_each(|token| drop(node.write(NOW, token)));
    node.sync(NOW);
    node
}

fn disk(node: &mut Node) -> Memory {
    node.replica.base_mut().clone()
}

fn reopened(disk: Memory, own: Option<EntryId>) -> Node {
    Node::open(100, Config::default(), disk, own)
}

#[test]
fn an_own_feed_goes_on_if_the_log_of_own_tips_says_the_same() {
    let mut node = written(3);
    let own = node.own.unwrap();
    let mut again = reopened(disk(&mut node), Some(own));
    assert_eq!(again.replica.own(), Some(own.feed));
    again.write(NOW, 1);
    let next = again.own.unwrap();
    assert_eq!((next.feed, next.number), (own.feed, 4));
}

#[test]
fn an_old_disk_begins_a_new_feed_if_the_log_of_own_tips_says_otherwise() {
    let mut node = written(2);
    let (old, then) = (disk(&mut node), node.own.unwrap());
    node.write(NOW, 3);
    node.sync(NOW);
    let own = node.own.unwrap();
    for (what, disk, log) in [
        ("an old disk", old.clone(), Some(own)),
        ("an old log", disk(&mut node), Some(then)),
        ("no log", old, None),
    ] {
        let mut again = reopened(disk, log);
        assert_eq!(again.replica.own(), None, "{what}");
        again.write(NOW, 1);
        let next = again.own.unwrap();
        assert_eq!(next.number, 1, "{what}");
        assert_ne!(next.feed, own.feed, "{what}");
    }
}

#[test]
fn a_feed_that_is_forked_or_another_s_doesn_t_go_on() {
    let mut node = written(0);
    node.meet(NOW, 1);
    let other = entry(1, None, 1);
    node.say(NOW, 1, &offer(1, &other));
    node.sync(NOW);
    let log = Some(other.header().id());
    assert_eq!(reopened(disk(&mut node), log).replica.own(), None, "another's");

    let mine = siblings(100, None, 2);
    node.say(NOW, 1, &offer(2, &mine[0]));
    node.sync(NOW);
    let log = Some(mine[0].header().id());
    assert_eq!(reopened(disk(&mut node), log).replica.own(), Some(feed(100)));
    let [first, second] = [0, 1].map(|at: usize| mine[at].header().encode().into());
    node.say(NOW, 1, &Message::Evidence { first, second });
    node.sync(NOW);
    assert_eq!(reopened(disk(&mut node), log).replica.own(), None, "forked");
}

/// A replica over an old disk with an old log, in a session that compares.
fn restored() -> (Node, EntryId) {
    let mut node = written(2);
    let own = node.own.unwrap();
    let mut again = reopened(disk(&mut node), Some(own));
    again.handle(NOW, Input::Connected { peer: peer(1), opens: false });
    again.say(NOW, 1, &hello(true, Hash::from_bytes([1; 32])));
    (again, own)
}

fn outrun(own: &EntryId) -> Output {
    Output::Outrun { feed: own.feed }
}

#[test]
fn a_peer_who_shows_more_of_the_own_feed_ends_it() {
    let (mut node, own) = restored();
    let more = row(own.feed, &[(3, Hash::from_bytes([7; 32]))]);
    assert_eq!(node.say(NOW, 1, &rows(true, &[more])), [outrun(&own)]);
    node.write(NOW, 1);
    let next = node.own.unwrap();
    assert_eq!(next.number, 1);
    assert_ne!(next.feed, own.feed);
    // And the new one is pushed from its begin.
    assert_eq!(entries(&node.sync(NOW)), [(1, next)]);
}

#[test]
fn rows_end_no_feed_that_was_written_in_this_life() {
    let (mut node, own) = restored();
    node.write(NOW, 1);
    node.sync(NOW);
    let more = row(own.feed, &[(9, Hash::from_bytes([7; 32]))]);
    assert_eq!(node.say(NOW, 1, &rows(true, &[more])), [], "a lie, or a fork is there already");
    node.write(NOW, 2);
    assert_eq!(node.own.map(|id| (id.feed, id.number)), Some((own.feed, 4)));
}

#[test]
fn an_own_entry_that_comes_from_a_peer_ends_the_feed() {
    let mut old = written(2);
    let own = old.own.unwrap();
    let copy = disk(&mut old);
    old.write(NOW, 3);
    old.write(NOW, 4);
    old.sync(NOW);
    let mut node = reopened(copy, Some(own));
    node.meet(NOW, 1);
    let lacked = |n| {
        let local = old.replica.book().catalog().local(&own.feed).unwrap();
        let Ok(mut all) =
            old.replica.book().order(Position::ZERO).skip(n).collect::<Result<Vec<_>, _>>();
        let Ok(entry) = old.replica.book().entry(local, all.remove(0).2);
        entry.unwrap()
    };
    assert_eq!(node.say(NOW, 1, &offer(1, &lacked(2))), [outrun(&own)]);
    assert_eq!(node.say(NOW, 1, &offer(2, &lacked(3))), []);
    node.sync(NOW);
    node.write(NOW, 1);
    assert_ne!(node.own.unwrap().feed, own.feed);
    assert_eq!(node.replica.book().evidence(&own.feed), None, "nothing is forked");
}

#[test]
fn evidence_against_the_own_feed_ends_it() {
    let mut node = written(0);
    node.write(NOW, 1);
    node.sync(NOW);
    let own = node.own.unwrap();
    node.meet(NOW, 1);
    // Another copy of this node wrote something else there.
    let place = Place::first(genesis().space_id(), own.feed, Authority::Genesis);
    let other = draft(5).sign(&key(100), place, WALL).unwrap();
    let taken = node.say(NOW, 1, &offer(1, &other));
    let outputs = [taken, node.sync(NOW)].concat();
    assert_eq!(outputs.iter().filter(|output| **output == outrun(&own)).count(), 1);
    node.write(NOW, 2);
    assert_ne!(node.own.unwrap().feed, own.feed);
}

#[test]
fn a_failed_disk_ends_sessions_and_writes() {
    let mut node = written(1);
    node.meet(NOW, 1);
    node.write(NOW, 7);
    node.say(NOW, 1, &offer(1, &entry(1, None, 1)));
    let failed = |token| Output::Refused { token, why: WriteError::Failed };
    let close = Output::Close { peer: peer(1), fault: None };
    assert_eq!(node.handle(NOW, Input::Failed), [failed(7), close.clone()]);
    assert!(node.replica.has_failed());
    assert_eq!(node.write(NOW, 8), [failed(8)]);
    assert_eq!(node.handle(NOW, Input::Edit { token: 9, edits: Vec::new() }), [failed(9)]);
    assert_eq!(node.say(NOW, 1, &hello(true, Hash::from_bytes([1; 32]))), []);
    let meet = Input::Connected { peer: peer(1), opens: true };
    assert_eq!(node.handle(NOW, meet), [close]);
    let generation = node.unsynced.back().unwrap().0;
    assert_eq!(node.handle(NOW, Input::Persisted { generation }), []);
    assert_eq!(node.replica.poll_timeout(), None);
}

/// A disk whose rows that begin with some byte can't be read.
#[derive(Debug)]
struct Torn(Memory, Option<u8>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("torn")]
struct Tear;

impl Base for Torn {
    type Error = Tear;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Tear> {
        if key.first() == self.1.as_ref() { Err(Tear) } else { Ok(self.0.get(key).cloned()) }
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = crate::proto::rows::Scanned<Self>> + use<'_> {
        let torn = self.1.as_ref() == from.first();
        let error = torn.then_some(Err(Tear)).into_iter();
        let rows = (!torn).then(|| self.0.scan(from, below)).into_iter().flatten();
        error.chain(rows.map(|row| row.map_err(|never| match never {})))
    }
}

#[test]
fn a_disk_that_can_t_be_read_has_failed_and_the_user_is_told() {
    let mut node = written(1);
    let (disk, own) = (disk(&mut node), node.own);
    let open = |torn| {
        let base = Torn(disk.clone(), torn);
        Replica::open(Config::default(), genesis(), key(100).into(), [1; 32], base, own)
    };
    assert!(matches!(open(Some(6)), Err(OpenError::Rows(Tear))));
    let mut replica = open(None).unwrap();
    replica.base_mut().1 = Some(3);
    replica.handle(NOW, Input::Write { token: 4, draft: Draft::new(), cites: Vec::new() });
    assert!(replica.has_failed());
    assert_eq!(replica.poll_output(), Some(Output::Unreadable { error: "torn".to_owned() }));
    let refused = Output::Refused { token: 4, why: WriteError::Failed };
    assert_eq!(replica.poll_output(), Some(refused));
    assert_eq!(replica.poll_output(), None);
}

#[test]
fn what_no_replica_would_take_isn_t_written() {
    let mut node = Node::open(200, Config::default(), Memory::new(), None);
    let outputs = node.write(NOW, 1);
    let owners = WriteError::Misfit(Misfit::OwnersFeed);
    assert_eq!(outputs, [Output::Refused { token: 1, why: owners }]);
    assert_eq!(node.last(), Position::ZERO);
}
