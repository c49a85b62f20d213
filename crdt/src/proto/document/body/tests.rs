use aether_core::{Hash, PublicKey};

use super::{super::edit::EditError, *};
use crate::proto::{
    document::{
        Kind, Rule,
        content::{Content, ObjId, OpRef, TextUnit},
    },
    entry,
};

fn body(by: u8) -> Body {
    let actor = ActorId([by; 16]);
    Body::new(Settings { actor, unit: TextUnit::CodePoint, limit: 1_000 })
}

fn put(body: &mut Body, key: &str) {
    let done = body.edit(|edit| -> Result<(), EditError> {
        let text = edit.put_object(ObjId::Root, key, Kind::Text)?;
        edit.splice_text(text, 0, 0, key)
    });
    done.unwrap();
}

fn content(body: &Body) -> Content {
    body.view().unwrap().content(ObjId::Root).unwrap()
}

#[test]
fn a_change_that_others_would_refuse_is_taken_back_and_edits_go_on() {
    let mut body = body(1);
    put(&mut body, "first");
    let first = body.commit(0).unwrap().unwrap();
    let (before, heads) = (content(&body), body.heads().unwrap());
    put(&mut body, "second");
    // Edits see to it that this can't be.
    body.settings.limit = 1;
    let refused = body.commit(0).unwrap_err();
    let CommitError::Refused(why) = refused else { panic!("{refused:?}") };
    assert_eq!(why.rule(), Some(Rule::B9));
    assert_eq!((content(&body), body.heads().unwrap(), body.index().len()), (before, heads, 1));
    body.settings.limit = 1_000;
    put(&mut body, "third");
    let third = body.commit(0).unwrap().unwrap();
    let mut other = self::body(2);
    for change in [&first, &third] {
        other.take(&change.bytes, &ActorId([1; 16]), |_| true).unwrap();
    }
    other.apply().unwrap();
    assert_eq!(content(&other), content(&body));
}

#[test]
fn own_edits_go_on_while_changes_of_others_are_taken() {
    let (mut one, mut two) = (body(1), body(2));
    put(&mut one, "theirs");
    let theirs = one.commit(0).unwrap().unwrap();
    put(&mut two, "own");
    two.take(&theirs.bytes, &ActorId([1; 16]), |_| true).unwrap();
    put(&mut two, "more");
    let own = two.commit(0).unwrap().unwrap();
    assert_eq!((two.taken(), two.heads().unwrap()), (1, vec![own.hash]));
    two.apply().unwrap();
    put(&mut two, "behind both");
    let last = two.commit(0).unwrap().unwrap();
    for change in [&own, &last] {
        one.take(&change.bytes, &ActorId([2; 16]), |_| true).unwrap();
    }
    one.apply().unwrap();
    assert_eq!(content(&one), content(&two));
    let loaded = Body::load(&two.save().unwrap(), one.settings).unwrap();
    assert_eq!(content(&loaded), content(&two));
}

#[test]
fn a_panic_inside_automerge_breaks_the_body_and_nothing_else() {
    assert_eq!(guarded(|| panic!("as Automerge would")), Err::<(), _>(Broken));
    let mut body = body(1);
    put(&mut body, "kept");
    assert_eq!(body.give_up(), Broken);
    assert!(body.is_broken());
    assert_eq!(body.view().map(drop), Err(Broken));
    assert_eq!(body.heads(), Err(Broken));
    assert_eq!(body.save(), Err(Broken));
    assert_eq!(body.apply(), Err(Broken));
    assert_eq!(body.commit(0), Err(CommitError::Broken(Broken)));
    let edited = body.edit(|_| Ok::<(), EditError>(()));
    assert_eq!(edited.map(drop), Err(EditError::Broken(Broken)));
}

#[test]
fn times_are_such_as_others_take() {
    for time in [0, 1_800_000_000, u64::MAX] {
        let mut body = body(1);
        put(&mut body, "a");
        let change = body.commit(time).unwrap().unwrap();
        let change = Change::decode(&change.bytes, &ActorId([1; 16])).unwrap();
        assert_eq!(change.time.unsigned_abs(), time.min(MAX_TIME.unsigned_abs() - 1));
    }
}

#[test]
fn an_actor_is_of_one_space_document_feed_and_lane() {
    let space = |byte| SpaceId::from_hash(Hash::from_bytes([byte; 32]));
    let document = |name| Collection::new(entry::Kind::Document, name);
    let feed = |author: u8, incarnation| FeedId {
        author: PublicKey::from_bytes([author; 32]),
        incarnation,
    };
    let actor = ActorId::of(&space(1), &document("a"), &feed(1, 1), 0);
    let others = [
        ActorId::of(&space(2), &document("a"), &feed(1, 1), 0),
        ActorId::of(&space(1), &document("b"), &feed(1, 1), 0),
        ActorId::of(&space(1), &document("a"), &feed(2, 1), 0),
        ActorId::of(&space(1), &document("a"), &feed(1, 2), 0),
        ActorId::of(&space(1), &document("a"), &feed(1, 1), 1),
    ];
    assert!(others.iter().all(|other| *other != actor));
    assert_eq!(actor, ActorId::of(&space(1), &document("a"), &feed(1, 1), 0));
}

#[test]
fn what_was_loaded_is_judged_when_it_is_edited_and_no_sooner() {
    let mut one = body(1);
    put(&mut one, "first");
    one.commit(0).unwrap();
    let file = one.save().unwrap();
    let mut two = Body::load(&file, body(2).settings).unwrap();
    assert_eq!(content(&two), content(&one));
    assert_eq!(two.heads(), one.heads());
    assert!(two.known.get().is_none(), "to read it takes a load alone");
    let mut three = two.fork(None).unwrap().unwrap();
    put(&mut two, "second");
    let second = two.commit(0).unwrap().unwrap();
    assert_eq!((two.index().len(), one.index().len()), (2, 1));
    // So is what comes from others.
    three.take(&second.bytes, &ActorId([2; 16]), |_| true).unwrap();
    three.apply().unwrap();
    assert_eq!((three.index().len(), three.index().weight()), (2, two.index().weight()));
    assert_eq!(content(&three), content(&two));
    three.make_ready();
    assert_eq!(three.next_op(), OpRef { counter: two.last_op() + 1, actor: ActorId([2; 16]) });
    assert!(!three.is_broken());
}

#[test]
fn a_file_with_what_no_body_writes_is_found_when_it_is_judged() {
    use automerge::transaction::Transactable as _;
    // An actor of three bytes.
    let mut strange = Automerge::new().with_actor([1, 2, 3].into());
    let mut tx = strange.transaction();
    tx.put(automerge::ROOT, "key", "value").unwrap();
    tx.commit();
    let file = strange.save();
    let mut loaded = Body::load(&file, body(1).settings).unwrap();
    assert!(!loaded.is_broken());
    let refused = loaded.edit(|edit| edit.put(ObjId::Root, "key", 1_u64)).unwrap_err();
    assert_eq!(refused, EditError::Broken(Broken));
    assert!(loaded.is_broken() && loaded.index().is_empty());
    let mut other = body(2);
    put(&mut other, "theirs");
    let theirs = other.commit(0).unwrap().unwrap();
    let taken = loaded.take(&theirs.bytes, &ActorId([2; 16]), |_| true);
    assert_eq!(taken.unwrap_err().rule(), None);
}
