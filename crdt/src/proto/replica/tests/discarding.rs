//! Payloads that an owner discards. Rule 15.

use super::{
    members::{member, talk},
    *,
};
use crate::proto::{compact, map};

const FOUNDER: u8 = 101;
const WRITER: u8 = 1;

fn put(node: &mut Node, now: Time, key: &str, byte: u8) {
    let all = Collection::new(Kind::Map, "all");
    let edits = vec![Edit::new(all, key, Action::Put(vec![byte; 100])).unwrap()];
    let outputs = node.handle(now, Input::Edit { token: 9, edits });
    assert!(!outputs.iter().any(|output| matches!(output, Output::Refused { .. })), "{outputs:?}");
    node.sync(now);
}

fn get(node: &Node, key: &str) -> Option<Vec<u8>> {
    let all = Collection::new(Kind::Map, "all");
    let (rows, feeds) = (node.replica.book().rows(), node.replica.book().catalog());
    let Ok(found) = map::get(&all, key.as_bytes(), rows, feeds);
    found.first().map(|element| element.value.clone())
}

/// How many payloads are held.
fn payloads(node: &Node) -> usize {
    let book = node.replica.book();
    let order = book.order(Position::ZERO).map(|row| {
        let Ok((_, local, tip)) = row;
        let Ok(entry) = book.entry(local, tip);
        entry.unwrap()
    });
    order.filter(|entry| !entry.payload().as_bytes().is_empty()).count()
}

/// Lets a replica do what time brings, as long as that is due now.
fn work(node: &mut Node, now: Time) {
    for _ in 0..1000 {
        if node.replica.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        node.handle(now, Input::Timeout);
        node.sync(now);
    }
    panic!("it doesn't come to an end");
}

/// Discards what is found, or else these.
fn discard(node: &mut Node, now: Time, runs: Option<BTreeMap<FeedId, Vec<Run>>>) -> Vec<Output> {
    let Ok(found) = compact::find(node.replica.book(), |_, _| {});
    let runs = runs.unwrap_or(found.runs);
    let mut outputs = node.handle(now, Input::Discard { token: 7, runs });
    outputs.extend(node.sync(now));
    outputs
}

/// A founder and a writer who know the same: a key that was written ten times, and another.
fn scene() -> [Node; 2] {
    let mut founder = member(Mode::Open, FOUNDER, true);
    let mut writer = member(Mode::Open, WRITER, false);
    put(&mut writer, NOW, "once", 1);
    (0..10).for_each(|byte| put(&mut writer, NOW, "often", byte));
    talk([(FOUNDER, &mut founder), (WRITER, &mut writer)]);
    assert_eq!([payloads(&founder), payloads(&writer)], [11, 11]);
    [founder, writer]
}

#[test]
fn what_an_owner_discards_goes_everywhere_and_who_comes_later_is_sent_headers_alone() {
    let [mut founder, mut writer] = scene();
    let is_written = |output: &Output| matches!(output, Output::Written { token: 7, id: Some(_) });
    assert!(discard(&mut founder, NOW, None).iter().any(is_written));
    work(&mut founder, NOW);
    assert_eq!((payloads(&founder), get(&founder, "often")), (2, Some(vec![9; 100])));

    talk([(FOUNDER, &mut founder), (WRITER, &mut writer)]);
    work(&mut writer, NOW);
    assert_eq!((payloads(&writer), get(&writer, "often")), (2, Some(vec![9; 100])));
    assert_eq!(writer.replica.digest(), founder.replica.digest());

    // Of either, in one session, without an entry that isn't taken.
    for (seed, from) in [(FOUNDER, &mut founder), (WRITER, &mut writer)] {
        let mut late = member(Mode::Open, 50 + seed, false);
        let sent = talk([(seed, from), (50 + seed, &mut late)]);
        assert_eq!(sent, [12, 0], "eleven entries and the discard, each once");
        assert_eq!(late.replica.digest(), from.replica.digest());
        assert_eq!((payloads(&late), get(&late, "once")), (2, Some(vec![1; 100])));
        assert_eq!(get(&late, "often"), Some(vec![9; 100]));
    }
    // What is written then builds on it.
    put(&mut writer, NOW, "often", 77);
    assert_eq!(get(&writer, "often"), Some(vec![77; 100]));
}

#[test]
fn an_entry_without_its_payload_is_nobodys_fault_and_taken_once_that_is_discarded() {
    let mut founder = member(Mode::Open, FOUNDER, true);
    let mut node = member(Mode::Open, 100, false);
    let space = founder.replica.genesis().space_id();
    let first = draft(1).sign(&key(1), Place::first(space, feed(1), Authority::Genesis), WALL);
    let first = first.unwrap();
    node.meet(NOW, 1);
    let bare = |n| {
        let header = ByteVec::from(first.header().encode());
        Message::Entry { n, header, payload: Vec::new().into() }
    };
    assert_eq!(sent(&node.say(NOW, 1, &bare(1))), [ack(1, &[1])]);
    assert_eq!(node.last(), Position::ZERO);

    let runs = BTreeMap::from([(feed(1), vec![Run { first: 1, last: 1 }])]);
    discard(&mut founder, NOW, Some(runs));
    talk([(FOUNDER, &mut founder), (100, &mut node)]);
    assert_eq!(node.say(NOW, 1, &bare(2)), []);
    assert_eq!(sent(&node.sync(NOW))[0], ack(2, &[]));
    assert!(node.holds(&first));
    assert_eq!(payloads(&node), 0);

    // With its payload it is taken all the same, but for that.
    let mut other = member(Mode::Open, 102, false);
    talk([(FOUNDER, &mut founder), (102, &mut other)]);
    other.meet(NOW, 1);
    other.say(NOW, 1, &offer(1, &first));
    other.sync(NOW);
    assert!(other.holds(&first));
    assert_eq!((payloads(&other), get(&other, "k")), (0, None));
}

#[test]
fn only_who_has_an_owners_key_discards() {
    let [_, mut writer] = scene();
    let refused = Output::Refused { token: 7, why: WriteError::Misfit(Misfit::Discard) };
    assert_eq!(discard(&mut writer, NOW, None), [refused]);
    work(&mut writer, NOW);
    assert_eq!(payloads(&writer), 11);
}

#[test]
fn what_is_alive_is_left_for_ten_minutes_and_goes_then_everywhere() {
    let [mut founder, mut writer] = scene();
    let feed = writer.replica.own().unwrap();
    let runs = BTreeMap::from([(feed, vec![Run { first: 1, last: 11 }])]);
    discard(&mut founder, NOW, Some(runs));
    work(&mut founder, NOW);
    assert_eq!(payloads(&founder), 2, "what is dead goes at once");
    assert_eq!(get(&founder, "once"), Some(vec![1; 100]));

    // A restart begins the ten minutes anew.
    let disk = founder.replica.base_mut().clone();
    let keys = Keys { own: key(FOUNDER), owner: Some(key(200)) };
    let genesis = founder.replica.genesis().clone();
    let opened = Replica::open(Config::default(), genesis, keys, [1; 32], disk, None);
    let mut founder = Node { replica: opened.unwrap(), unsynced: VecDeque::new(), own: None };
    founder.handle(NOW, Input::Wall(WALL));
    talk([(FOUNDER, &mut founder), (WRITER, &mut writer)]);
    work(&mut founder, NOW + seconds(590));
    assert_eq!((payloads(&founder), payloads(&writer)), (2, 11));
    for node in [&mut founder, &mut writer] {
        work(node, NOW + seconds(1200));
        assert_eq!((payloads(node), get(node, "once"), get(node, "often")), (0, None, None));
    }
    let hash = |node: &Node| {
        let Ok(hash) = map::state_hash(node.replica.book().rows(), node.replica.book().catalog());
        hash
    };
    assert_eq!(hash(&founder), hash(&writer));
}
