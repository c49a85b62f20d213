//! A document's life: what is gathered, what waits, what is void, set aside, put to sleep.

use std::{collections::BTreeSet, time::Duration};

use aether_core::Time;
use aether_crdt::proto::{
    document::{
        ActorId, Change, ChangeHash, Kind, Rule, Why,
        body::{Committed, Settings},
        content::{Content, ObjId, TextUnit},
        edit::{Edit, EditError},
        state::{Config, Document, FLUSH_OPERATIONS, Origin, Output, Received},
        weight::DEFAULT_LIMIT,
    },
    time::Wall,
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha12Rng;

use super::{
    authors::{ROOT, World},
    edits::random_edit,
};
use crate::chunks::Parts;

const WALL: Wall = Wall::from_millis(1_800_000_000_000);

fn config(by: u8) -> Config {
    let actor = ActorId([by; 16]);
    Config::new(Settings { actor, unit: TextUnit::CodePoint, limit: DEFAULT_LIMIT })
}

fn outputs(document: &mut Document) -> Vec<Output> {
    std::iter::from_fn(|| document.poll_output()).collect()
}

fn appended(document: &mut Document) -> Vec<(ActorId, Committed)> {
    let outputs = outputs(document).into_iter();
    let append = |output| match output {
        Output::Append(actor, change) => Some((actor, change)),
        _ => None,
    };
    outputs.filter_map(append).collect()
}

fn edit(
    document: &mut Document,
    now: Time,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) {
    document.edit(now, WALL, edit).unwrap().unwrap();
}

fn content(document: &Document) -> Content {
    document.view().unwrap().content(ObjId::Root).unwrap()
}

fn give(document: &mut Document, (actor, change): &(ActorId, Committed)) -> Received {
    document.receive(Time::ZERO, &change.bytes, actor, |_| true).unwrap()
}

#[test]
fn edits_become_one_change_when_the_first_of_them_is_old_enough() {
    let mut document = Document::new(config(1));
    let millis = |millis| Time::ZERO + Duration::from_millis(millis);
    edit(&mut document, millis(0), |edit| edit.put(ROOT, "a", 1_u64));
    edit(&mut document, millis(60), |edit| edit.put(ROOT, "b", 2_u64));
    let shown = outputs(&mut document);
    assert!(matches!(&shown[..], [Output::Patches(Origin::Local, _), Output::Patches(..)]));
    assert_eq!(document.poll_timeout(), Some(millis(100)));
    document.on_timeout(millis(99));
    assert_eq!(document.poll_output(), None);
    document.on_timeout(millis(100));
    let changes = appended(&mut document);
    assert_eq!((changes.len(), changes[0].0), (1, ActorId([1; 16])));
    let change = Change::decode(&changes[0].1.bytes, &changes[0].0).unwrap();
    assert_eq!(change.time, 1_800_000_000);
    assert_eq!(document.poll_timeout(), None);
    edit(&mut document, millis(200), |edit| {
        let text = edit.put_object(ROOT, "text", Kind::Text)?;
        edit.splice_text(text, 0, 0, &"a".repeat(FLUSH_OPERATIONS))
    });
    assert_eq!(appended(&mut document).len(), 1, "many operations are flushed at once");
    let mut each = Document::new(Config { coalesce: Duration::ZERO, ..config(2) });
    edit(&mut each, millis(0), |edit| edit.put(ROOT, "a", 1_u64));
    edit(&mut each, millis(0), |edit| edit.put(ROOT, "a", 2_u64));
    assert_eq!(appended(&mut each).len(), 2);
}

#[test]
fn what_came_too_early_waits_and_pending_edits_are_flushed_before_it_is_applied() {
    let mut one = Document::new(config(1));
    let mut changes = Vec::new();
    for value in 0..5_u64 {
        edit(&mut one, Time::ZERO, |edit| edit.put(ROOT, "a", value));
        one.flush();
        changes.extend(appended(&mut one));
    }
    let mut two = Document::new(config(2));
    edit(&mut two, Time::ZERO, |edit| edit.put(ROOT, "mine", true));
    for change in changes[1..].iter().rev() {
        assert_eq!(give(&mut two, change), Received::Waiting);
    }
    assert_eq!(give(&mut two, &changes[4]), Received::Waiting);
    assert_eq!((two.waiting(), give(&mut two, &changes[0])), (4, Received::Taken));
    assert_eq!((two.waiting(), give(&mut two, &changes[3])), (0, Received::Taken));
    outputs(&mut two);
    assert_eq!(content(&two), Content::Map([("mine".into(), true.into())].into()));
    let due = two.poll_timeout().unwrap();
    assert_eq!(due, Time::ZERO + Duration::from_millis(20));
    two.on_timeout(due);
    let done = outputs(&mut two);
    let flushed = matches!(&done[..], [Output::Append(..), Output::Patches(Origin::Remote, _)]);
    assert!(flushed, "{done:?}");
    assert_eq!(two.view().unwrap().get(ROOT, "a").unwrap().unwrap(), {
        aether_crdt::proto::document::content::Node::Scalar(4_u64.into())
    });
}

#[test]
fn waiting_changes_take_no_more_room_than_they_may() {
    let mut one = Document::new(config(1));
    let mut changes = Vec::new();
    for _ in 0..3 {
        edit(&mut one, Time::ZERO, |edit| {
            let text = edit.put_object(ROOT, "text", Kind::Text)?;
            edit.splice_text(text, 0, 0, &"ab".repeat(500))
        });
        one.flush();
        changes.extend(appended(&mut one));
    }
    let room = changes[2].1.bytes.len() + 10;
    let mut two = Document::new(Config { max_waiting: room, ..config(2) });
    assert_eq!(give(&mut two, &changes[2]), Received::Waiting);
    assert_eq!(give(&mut two, &changes[1]), Received::Full);
    assert_eq!(give(&mut two, &changes[0]), Received::Taken);
    assert_eq!(give(&mut two, &changes[1]), Received::Taken);
    assert_eq!(two.waiting(), 0);
}

/// A change that is void, and one that builds on it.
fn lies(deps: &[ChangeHash]) -> [(ActorId, Committed); 2] {
    let lie = |by: u8, deps: Vec<[u8; 32]>| {
        let op = crate::chunks::Op::put("x");
        let parts = Parts { actor: vec![by; 16], start_op: 9_999, deps, ..Parts::of(&[op]) };
        let bytes = parts.bytes();
        let actor = ActorId([by; 16]);
        let change = Change::decode(&bytes, &actor).unwrap();
        (actor, Committed { hash: change.hash, bytes })
    };
    let first = lie(201, deps.iter().map(|dep| dep.0).collect());
    let second = lie(202, vec![first.1.hash.0]);
    [first, second]
}

#[test]
fn a_void_change_and_what_builds_on_it_are_reported_once_in_either_order() {
    let [first, second] = lies(&[]);
    for order in [[&first, &second], [&second, &first]] {
        let mut document = Document::new(config(1));
        for change in order {
            give(&mut document, change);
        }
        order.iter().for_each(|change| {
            assert!(matches!(give(&mut document, change), Received::Void(_)));
        });
        let reported = outputs(&mut document);
        let why = Why::Start(9_999, 1);
        let expected =
            [Output::Void(first.1.hash, why), Output::Void(second.1.hash, Why::Dep(first.1.hash))];
        assert_eq!(reported, expected);
        assert_eq!((document.waiting(), why.rule()), (0, Rule::B3));
    }
}

#[test]
fn a_change_that_its_entry_does_not_cover_waits_for_an_entry_that_does() {
    let mut one = Document::new(config(1));
    edit(&mut one, Time::ZERO, |edit| edit.put(ROOT, "a", 1_u64));
    one.flush();
    edit(&mut one, Time::ZERO, |edit| edit.put(ROOT, "a", 2_u64));
    one.flush();
    let changes = appended(&mut one);
    let mut two = Document::new(config(2));
    give(&mut two, &changes[0]);
    let (actor, change) = &changes[1];
    let bare = two.receive(Time::ZERO, &change.bytes, actor, |_| false).unwrap();
    assert_eq!((bare, two.waiting()), (Received::Waiting, 1));
    assert_eq!((give(&mut two, &changes[1]), two.waiting()), (Received::Taken, 0));
}

#[test]
fn an_edit_that_fails_or_panics_leaves_what_was_pending_and_nothing_else() {
    let mut document = Document::new(config(1));
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "kept", 1_u64));
    outputs(&mut document);
    let before = content(&document);
    let failed = document.edit(Time::ZERO, WALL, |edit| {
        edit.put_object(ROOT, "gone", Kind::List)?;
        edit.increment(ROOT, "kept", 1)
    });
    assert_eq!(failed, Some(Err(EditError::NotACounter)));
    assert_eq!(content(&document), before);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        document.edit(Time::ZERO, WALL, |edit| -> Result<(), EditError> {
            edit.put(ROOT, "gone", 2_u64)?;
            std::panic::resume_unwind(Box::new("the user's own"))
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(content(&document), before);
    assert_eq!(outputs(&mut document), []);
    document.flush();
    assert_eq!(appended(&mut document).len(), 1);
}

#[test]
fn a_document_sleeps_with_all_that_it_had_and_wakes_with_it() {
    let mut document = Document::new(config(1));
    edit(&mut document, Time::ZERO, |edit| {
        let text = edit.put_object(ROOT, "text", Kind::Text)?;
        edit.splice_text(text, 0, 0, "asleep")
    });
    let before = content(&document);
    let [_, orphan] = lies(&[]);
    give(&mut document, &orphan);
    let slept = document.sleep().unwrap();
    assert_eq!(appended(&mut document).len(), 1, "what was pending is flushed");
    assert_eq!(slept.missing, [orphan.1.hash]);
    assert!(!document.is_awake() && document.sleep().is_none());
    assert_eq!(give(&mut document, &orphan), Received::Asleep);
    assert!(document.edit(Time::ZERO, WALL, |_| Ok::<(), EditError>(())).is_none());
    document.wake(&slept.file).unwrap();
    assert_eq!(content(&document), before);
    assert_eq!(document.body().unwrap().heads().unwrap(), slept.heads);
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "more", 1_u64));
    document.flush();
    assert_eq!(appended(&mut document).len(), 1);
    document.sleep().unwrap();
    assert!(document.wake(b"no file").is_err());
}

#[test]
fn edits_go_on_behind_own_changes_that_the_file_lacks() {
    let mut document = Document::new(config(1));
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "a", 1_u64));
    let old = document.sleep().unwrap();
    document.wake(&old.file).unwrap();
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "a", 2_u64));
    document.flush();
    let changes = appended(&mut document);
    // A crash: the feed has more than the file.
    let mut document = Document::asleep(config(1));
    document.wake(&old.file).unwrap();
    assert_eq!(give(&mut document, &changes[1]), Received::Taken);
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "b", 3_u64));
    document.flush();
    assert_eq!(appended(&mut document).len(), 1, "an edit was lost");
    let map = [("a".into(), 2_u64.into()), ("b".into(), 3_u64.into())];
    assert_eq!(content(&document), Content::Map(map.into()));
    assert_eq!(document.view_at(&[changes[0].1.hash]).unwrap().keys(ROOT).unwrap(), ["a"]);
    edit(&mut document, Time::ZERO, |edit| edit.delete(ROOT, "a"));
    let then = document.view_at(&old.heads).unwrap().content(ROOT).unwrap();
    assert_eq!(then, Content::Map([("a".into(), 1_u64.into())].into()));
}

#[test]
fn edits_go_on_as_another_actor_when_ones_own_are_set_aside() {
    let mut document = Document::new(config(1));
    let mut one = Document::new(config(2));
    edit(&mut one, Time::ZERO, |edit| edit.put(ROOT, "theirs", 1_u64));
    one.flush();
    let theirs = appended(&mut one);
    give(&mut document, &theirs[0]);
    document.settle();
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "own", 1_u64));
    document.flush();
    outputs(&mut document);
    let fresh = ActorId([3; 16]);
    assert!(document.set_aside(&[theirs[0].1.hash].into(), fresh));
    assert_eq!(content(&document), Content::map());
    assert_eq!(document.waiting(), 1, "the own change waits for what it builds on");
    assert!(!document.set_aside(&[theirs[0].1.hash].into(), ActorId([4; 16])));
    edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, "again", 1_u64));
    document.flush();
    let own = appended(&mut document);
    assert_eq!((own.len(), own[0].0), (1, fresh));
    // It counts again, and what waited is there.
    assert_eq!(give(&mut document, &theirs[0]), Received::Taken);
    document.settle();
    let keys = document.view().unwrap().keys(ROOT).unwrap();
    assert_eq!(keys, ["again", "own", "theirs"]);
}

/// Feeds a document with changes in random order, with rebuilds, sleeps and edits of its mirror
/// between, so that in the end all but `gone` count.
fn feed(
    rng: &mut ChaCha12Rng,
    changes: &[(ActorId, Committed)],
    gone: &BTreeSet<ChangeHash>,
) -> Document {
    let mut document = Document::new(config(100));
    let mut mirror = Content::map();
    let mut order: Vec<_> = changes.iter().collect();
    order.shuffle(rng);
    let (mut again, mut aside) = (Vec::new(), BTreeSet::new());
    for change in order {
        give(&mut document, change);
        match rng.random_range(0..12) {
            0 => document.settle(),
            1 => {
                // Sets aside one that will count again.
                let hash = changes[rng.random_range(0..changes.len())].1.hash;
                document.set_aside(&[hash].into(), ActorId([101; 16]));
                aside.insert(hash);
            }
            2 => {
                let slept = document.sleep().unwrap();
                document.wake(&slept.file).unwrap();
                again.extend(slept.missing);
            }
            _ => {}
        }
        for output in outputs(&mut document) {
            if let Output::Patches(_, patches) = output {
                let unit = TextUnit::CodePoint;
                patches.iter().for_each(|patch| mirror.apply(patch, unit).unwrap());
            }
        }
        assert_eq!(mirror, content(&document));
    }
    aside.extend(again);
    for change in changes.iter().filter(|(_, change)| aside.contains(&change.hash)) {
        give(&mut document, change);
    }
    document.set_aside(gone, ActorId([101; 16]));
    document.settle();
    document
}

#[test]
fn what_is_applied_depends_on_what_counts_and_on_nothing_else() {
    let mut rebuilt = 0;
    for seed in 0..40 {
        let mut world = World::new(2 * seed);
        world.authors.iter_mut().for_each(|author| assert_eq!(author.body.pending(), 0));
        for _ in 0..30 {
            world.step();
        }
        world.settle();
        let mut changes = world.log.clone();
        let some: Vec<_> = changes.iter().take(2).map(|(_, change)| change.hash).collect();
        changes.extend(lies(&some[..1]));
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut gone = BTreeSet::new();
        for _ in 0..rng.random_range(0..3) {
            gone.insert(changes[rng.random_range(0..changes.len())].1.hash);
        }
        let mut first = None;
        for _ in 0..4 {
            let document = feed(&mut rng, &changes, &gone);
            let heads = document.body().unwrap().heads().unwrap();
            let void: Vec<_> = document.void().collect();
            let now = (heads, content(&document), void, document.waiting());
            assert_eq!(first.get_or_insert_with(|| now.clone()), &now, "seed {seed}");
            rebuilt += usize::from(!gone.is_empty());
        }
    }
    assert!(rebuilt > 20, "only {rebuilt}");
}

#[test]
fn edits_and_undo_of_a_document_are_told_by_patches() {
    let mut rng = ChaCha12Rng::seed_from_u64(5);
    let mut document = Document::new(config(1));
    let mut mirror = Content::map();
    for round in 0..60 {
        let now = Time::from_millis(round * 300);
        match round % 5 {
            3 => drop(document.undo(now, WALL).unwrap().unwrap()),
            4 => drop(document.redo(now, WALL).unwrap().unwrap()),
            2 => document.undo_barrier(),
            _ => edit(&mut document, now, |edit| random_edit(&mut rng, edit)),
        }
        document.on_timeout(now);
        for output in outputs(&mut document) {
            if let Output::Patches(_, patches) = output {
                let unit = TextUnit::CodePoint;
                patches.iter().for_each(|patch| mirror.apply(patch, unit).unwrap());
            }
        }
        assert_eq!(mirror, content(&document));
    }
}

/// Two branches of an author who forked: two changes with one number, and one that builds on each.
fn branches(values: [u64; 2]) -> [Vec<(ActorId, Committed)>; 2] {
    values.map(|value| {
        let mut document = Document::new(config(1));
        let mut changes = Vec::new();
        for key in ["first", "second"] {
            edit(&mut document, Time::ZERO, |edit| edit.put(ROOT, key, value));
            document.flush();
            changes.extend(appended(&mut document));
        }
        changes
    })
}

#[test]
fn of_two_branches_the_one_that_counts_is_shown_whichever_came_first() {
    let all = branches([7, 8]);
    let key = |value: u64| [("first".into(), value.into()), ("second".into(), value.into())];
    for (came, counts) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut document = Document::new(config(9));
        for branch in [came, 1 - came] {
            for change in &all[branch] {
                // Until other entries count, the second of a number is void, or waits for one.
                give(&mut document, change);
            }
            document.settle();
            assert!(document.is_awake(), "Automerge was given two changes of one number");
        }
        let mine = |document: &mut Document| {
            edit(document, Time::ZERO, |edit| edit.put(ROOT, "mine", true));
            document.flush();
        };
        let mut other = Document::new(config(10));
        mine(&mut other);
        let other = appended(&mut other);
        give(&mut document, &other[0]);
        let counted: BTreeSet<ChangeHash> =
            all[counts].iter().chain(&other).map(|(_, change)| change.hash).collect();
        document.recount(|hash, _| counted.contains(hash), ActorId([11; 16]));
        for change in all[counts].iter().chain(&other) {
            assert_eq!(give(&mut document, change), Received::Taken);
        }
        document.settle();
        let mut expected = Vec::from(key([7, 8][counts]));
        expected.push(("mine".into(), true.into()));
        assert_eq!(content(&document), Content::Map(expected.into_iter().collect()));
        assert_eq!((document.waiting(), document.void().count()), (0, 0));
    }
}
