//! What an edit refuses, and anchors from anywhere.

use aether_crdt::proto::document::{
    ActorId, Kind, MAX_COUNTER, MAX_INCREMENT, MAX_KEY, MAX_MARK_NAME, MAX_MARK_VALUE, MAX_MARKS,
    MAX_OPERATIONS, SLACK,
    anchor::{Anchor, Bias},
    body::{Body, CommitError, LoadError, Settings},
    content::{Content, Expand, Node, ObjId, OpRef, Scalar, TextUnit},
    edit::{Edit, EditError},
    rules::MAX_DEPTH,
    view::ViewError,
    weight::DEFAULT_LIMIT,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::authors::{Author, ROOT, World};

fn body(unit: TextUnit, limit: u64) -> Body {
    Body::new(Settings { actor: ActorId([1; 16]), unit, limit })
}

struct Objects {
    body: Body,
    list: ObjId,
    text: ObjId,
}

fn objects(unit: TextUnit) -> Objects {
    let mut body = body(unit, DEFAULT_LIMIT);
    let made = body.edit(|edit| -> Result<_, EditError> {
        let list = edit.put_object(ROOT, "list", Kind::List)?;
        edit.insert(list, 0, "a")?;
        let text = edit.put_object(ROOT, "text", Kind::Text)?;
        edit.splice_text(text, 0, 0, "a👍b")?;
        edit.put(ROOT, "n", Scalar::Counter(0))?;
        Ok((list, text))
    });
    let ((list, text), _) = made.unwrap();
    body.commit(0).unwrap();
    Objects { body, list, text }
}

type Refusal = fn(&mut Edit<'_>, ObjId, ObjId) -> Result<(), EditError>;

#[test]
fn what_every_replica_would_refuse_is_refused_before_it_is_written() {
    use EditError::{NotACounter, NotFound, OutOfRange, TooLarge, Unsupported, WrongType};
    let gone = ObjId::Made(OpRef { counter: 77, actor: ActorId([1; 16]) });
    assert_eq!(gone, ObjId::Made(OpRef { counter: 77, actor: ActorId([1; 16]) }));
    let cases: [(&str, Refusal, EditError); 24] = [
        ("put in a text", |e, _, text| e.put(text, 0, "x"), Unsupported),
        ("object in a text", |e, _, text| e.put_object(text, 0, Kind::List).map(drop), Unsupported),
        ("insert into a text", |e, _, text| e.insert(text, 0, ""), Unsupported),
        ("text in a list", |e, list, _| e.splice_text(list, 0, 0, "x"), WrongType),
        ("mark on a list", |e, list, _| e.mark(list, 0..1, "b", true, Expand::None), WrongType),
        ("key of a list", |e, list, _| e.put(list, "a", 1_u64), WrongType),
        ("index of a map", |e, _, _| e.put(ROOT, 0, 1_u64), WrongType),
        ("delete an index of a map", |e, _, _| e.delete(ROOT, 0), WrongType),
        ("insert into a map", |e, _, _| e.insert(ROOT, 0, 1_u64), WrongType),
        ("no object", |e, _, _| e.put(nowhere(), "a", 1_u64), NotFound),
        ("behind the end", |e, list, _| e.put(list, 1, 1_u64), OutOfRange),
        ("insert behind the end", |e, list, _| e.insert(list, 2, 1_u64), OutOfRange),
        ("delete behind the end", |e, list, _| e.delete(list, 1), OutOfRange),
        ("text behind the end", |e, _, text| e.splice_text(text, 5, 0, "x"), OutOfRange),
        ("deletes too much", |e, _, text| e.splice_text(text, 0, usize::MAX, ""), OutOfRange),
        ("in a character", |e, _, text| e.splice_text(text, 2, 0, "x"), OutOfRange),
        ("half a character", |e, _, text| e.splice_text(text, 0, 2, ""), OutOfRange),
        ("empty mark", |e, _, text| e.mark(text, 1..1, "b", true, Expand::Both), OutOfRange),
        ("no block", |e, _, text| e.join_block(text, 0), WrongType),
        ("no counter", |e, list, _| e.increment(list, 0, 1), NotACounter),
        ("nothing to add to", |e, _, _| e.increment(ROOT, "none", 1), NotACounter),
        ("large counter", |e, _, _| e.put(ROOT, "a", Scalar::Counter(MAX_COUNTER + 1)), TooLarge),
        ("large increment", |e, _, _| e.increment(ROOT, "n", -MAX_INCREMENT - 1), TooLarge),
        ("long key", |e, _, _| e.put(ROOT, "k".repeat(MAX_KEY + 1), 1_u64), TooLarge),
    ];
    for (name, refused, error) in cases {
        let Objects { mut body, list, text } = objects(TextUnit::Utf16);
        let before = body.view().unwrap().content(ROOT).unwrap();
        let done = body.edit(|edit| refused(edit, list, text));
        assert_eq!(done.map(drop), Err(error), "{name}");
        assert_eq!(body.view().unwrap().content(ROOT).unwrap(), before, "{name}");
        assert_eq!(body.pending(), 0, "{name}");
    }
}

fn nowhere() -> ObjId {
    ObjId::Made(OpRef { counter: u32::MAX, actor: ActorId([9; 16]) })
}

#[test]
fn names_and_values_of_marks_have_bounds_that_others_agree_with() {
    let long = "x".repeat(MAX_MARK_NAME);
    let value = "y".repeat(MAX_MARK_VALUE);
    for (name, value, right) in [
        (long.as_str(), value.as_str(), true),
        ("", "v", false),
        (&"x".repeat(MAX_MARK_NAME + 1), "v", false),
        ("n", &"y".repeat(MAX_MARK_VALUE + 1), false),
    ] {
        let Objects { mut body, text, .. } = objects(TextUnit::CodePoint);
        let done = body.edit(|edit| edit.mark(text, 0..1, name, value, Expand::None));
        assert_eq!(done.is_ok(), right);
        assert_eq!(body.commit(0).unwrap().is_some(), right);
    }
}

fn fills(
    kind: Kind,
    most: usize,
    fill: impl Fn(&mut Edit<'_>, ObjId, usize) -> Result<(), EditError>,
) {
    for (count, right) in [(most, true), (most + 1, false)] {
        let mut body = body(TextUnit::CodePoint, DEFAULT_LIMIT);
        let done = body.edit(|edit| {
            let object = edit.put_object(ROOT, "o", kind)?;
            fill(edit, object, count)
        });
        assert_eq!(done.map(drop), if right { Ok(()) } else { Err(EditError::TooLarge) });
        assert_eq!(body.commit(0).unwrap().is_some(), right);
    }
}

#[test]
fn a_change_of_as_many_operations_as_may_be_is_taken_by_others() {
    fills(Kind::Text, MAX_OPERATIONS - 1, |edit, text, count| {
        edit.splice_text(text, 0, 0, &"a".repeat(count))
    });
}

#[test]
fn a_change_of_as_many_rows_as_may_be_is_taken_by_others() {
    fills(Kind::List, SLACK - 1, |edit, list, count| {
        (0..count).try_for_each(|_| edit.insert(list, 0, Scalar::Null))
    });
}

#[test]
fn a_change_of_as_many_marks_as_may_be_is_taken_by_others() {
    fills(Kind::Text, MAX_MARKS, |edit, text, count| {
        edit.splice_text(text, 0, 0, &"a".repeat(count))?;
        (0..count).try_for_each(|at| edit.mark(text, at..at + 1, "b", true, Expand::None))
    });
}

#[test]
fn objects_lie_as_deep_as_others_agree_with_and_no_deeper() {
    let mut body = body(TextUnit::CodePoint, DEFAULT_LIMIT);
    let deepest = body.edit(|edit| {
        let mut map = ROOT;
        for depth in 0..MAX_DEPTH {
            map = match depth % 3 {
                0 => edit.put_object(map, "m", Kind::List)?,
                1 => edit.insert_object(map, 0, Kind::Text)?,
                _ => edit.split_block(map, 0)?,
            };
        }
        Ok::<_, EditError>(map)
    });
    let (deepest, _) = deepest.unwrap();
    let deeper = body.edit(|edit| edit.insert_object(deepest, 0, Kind::Map));
    assert_eq!(deeper.map(drop), Err(EditError::TooLarge));
    assert!(body.commit(0).unwrap().is_some());
    let deeper = body.edit(|edit| edit.insert_object(deepest, 0, Kind::Map));
    assert_eq!(deeper.map(drop), Err(EditError::TooLarge));
}

#[test]
fn a_full_document_refuses_edits() {
    let mut body = body(TextUnit::CodePoint, 100);
    let fill = |body: &mut Body| {
        let done = body.edit(|edit| edit.put(ROOT, "a", body_time()));
        let committed = body.commit(0);
        done.map(drop).map(|()| committed.unwrap())
    };
    fn body_time() -> Scalar {
        Scalar::Boolean(true)
    }
    assert!(fill(&mut body).unwrap().is_some());
    let mut changes = 1;
    loop {
        let flip = Scalar::Uint(changes);
        match body.edit(|edit| edit.put(ROOT, "a", flip)) {
            Ok(_) => assert!(body.commit(0).unwrap().is_some()),
            Err(error) => {
                assert_eq!(error, EditError::TooLarge);
                break;
            }
        }
        changes += 1;
    }
    assert!(changes > 20 && body.index().weight() <= 100, "{changes}");
}

#[test]
fn a_stranger_is_told_what_is_wrong_and_damaged_files_do_not_open() {
    let Objects { mut body, list, .. } = objects(TextUnit::CodePoint);
    let view = body.view().unwrap();
    assert_eq!(view.kind(nowhere()), Err(ViewError::NotFound));
    assert_eq!(view.get(nowhere(), "a"), Err(ViewError::NotFound));
    assert_eq!(view.text(list), Err(ViewError::WrongType));
    assert_eq!(view.get(list, usize::MAX), Ok(None));
    assert_eq!(view.get(ROOT, 0), Err(ViewError::WrongType));
    let file = body.save().unwrap();
    let settings = *body.settings();
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for _ in 0..200 {
        let mut spoilt = file.clone();
        let at = rng.random_range(0..spoilt.len());
        spoilt[at] ^= 1 << rng.random_range(0..8);
        if let Ok(loaded) = Body::load(&spoilt, settings) {
            assert_eq!(loaded.heads().unwrap(), body.heads().unwrap());
        }
    }
    assert_eq!(Body::load(&[], settings).map(drop).err(), None.or(Body::load(&[], settings).err()));
    assert_eq!(Body::load(&file[..20], settings).err(), Some(LoadError));
    let refused: Result<_, CommitError> = body.commit(0);
    assert_eq!(refused, Ok(None));
}

#[test]
fn an_anchor_stays_with_its_element_whatever_others_do() {
    for unit in [TextUnit::CodePoint, TextUnit::Utf16] {
        let Objects { mut body, text, list } = objects(unit);
        let wide = unit.of_char('👍');
        let anchor = |body: &Body, index, bias| {
            let made = body.view().unwrap().anchor(text, index, bias).unwrap().unwrap();
            let read = Anchor::from_bytes(&made.to_bytes());
            assert_eq!(read, Some(made));
            made
        };
        let at = |body: &Body, anchor: &Anchor| body.view().unwrap().position(anchor).unwrap();
        let after = anchor(&body, 1, Bias::After);
        let before = anchor(&body, 1 + wide, Bias::Before);
        let (start, end) = (anchor(&body, 0, Bias::Before), anchor(&body, 2 + wide, Bias::After));
        body.edit(|edit| edit.splice_text(text, 0, 0, "xy")).unwrap();
        body.edit(|edit| edit.splice_text(text, 4 + wide, 0, "z")).unwrap();
        assert_eq!((at(&body, &after), at(&body, &before)), (Some(3), Some(3 + wide)));
        assert_eq!((at(&body, &start), at(&body, &end)), (Some(0), Some(5 + wide)));
        // On a character that is pending, then committed, then deleted.
        let new = anchor(&body, 1, Bias::After);
        assert_eq!(at(&body, &new), Some(1));
        body.commit(0).unwrap();
        assert_eq!(at(&body, &new), Some(1));
        body.edit(|edit| edit.splice_text(text, 0, 3 + wide, "")).unwrap();
        for gone in [&after, &before, &new] {
            assert_eq!(at(&body, gone), Some(0));
        }
        assert_eq!(body.view().unwrap().anchor(text, 100, Bias::After), Ok(None));
        assert_eq!(body.view().unwrap().anchor(ROOT, 0, Bias::After), Err(ViewError::WrongType));
        // An element of another object.
        let other = Anchor::from_bytes(&swapped(&after, list)).unwrap();
        assert_eq!(at(&body, &other), None);
    }
}

#[test]
fn elements_keep_their_names_and_their_order_in_every_version() {
    let Objects { mut body, text, list } = objects(TextUnit::Utf16);
    let elements = |body: &Body, of| body.view().unwrap().elements(of).unwrap();
    let (before, items) = (elements(&body, text), elements(&body, list));
    let version = body.heads().unwrap();
    assert_eq!((before.len(), items.len()), (3, 1), "characters, whatever they are counted by");
    body.edit(|edit| {
        edit.splice_text(text, 3, 1, "x")?;
        edit.split_block(text, 1)?;
        edit.mark(text, 1..4, "b", true, Expand::None)?;
        edit.put(list, 0, "another")
    })
    .unwrap();
    // Pending, and committed.
    for _ in 0..2 {
        let after = elements(&body, text);
        assert_eq!(after.len(), body.view().unwrap().text(text).unwrap().chars().count());
        assert_eq!((after[0], after[2]), (before[0], before[1]));
        assert!(!after.contains(&before[2]), "it was deleted");
        assert_eq!(elements(&body, list), items, "an element is not what is put there");
        body.commit(0).unwrap();
    }
    let view = body.view_at(&version).unwrap().unwrap();
    assert_eq!((view.elements(text), view.elements(list)), (Ok(before), Ok(items)));
    assert_eq!(view.elements(ROOT), Err(ViewError::WrongType));
}

/// The same anchor in another object.
fn swapped(anchor: &Anchor, object: ObjId) -> Vec<u8> {
    let mut bytes = anchor.to_bytes();
    let ObjId::Made(made) = object else { panic!() };
    bytes[2..6].copy_from_slice(&made.counter.to_be_bytes());
    bytes[6..22].copy_from_slice(&made.actor.0);
    bytes
}

#[test]
fn anchors_of_any_bytes_have_no_position_or_one_and_never_panic() {
    let mut world = World::new(3);
    (0..60).for_each(|_| world.step());
    let mut rng = ChaCha12Rng::seed_from_u64(4);
    let author: &Author = &world.authors[0];
    let view = author.body.view().unwrap();
    let (mut decoded, mut placed) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = vec![1, rng.random_range(0..9)];
        for _ in 0..rng.random_range(0..3) {
            bytes.extend(rng.random_range(0..80_u32).to_be_bytes());
            bytes.extend([rng.random_range(1..7); 16]);
        }
        if rng.random_ratio(1, 10) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        let Some(anchor) = Anchor::from_bytes(&bytes) else { continue };
        assert_eq!(anchor.to_bytes(), bytes);
        decoded += 1;
        if let Some(position) = view.position(&anchor).unwrap() {
            assert!(position <= view.length(anchor.object()).unwrap());
            placed += 1;
        }
    }
    assert!(decoded > 1_000 && placed > 10, "{decoded} {placed}");
}

#[test]
fn a_version_is_read_as_it_was() {
    let Objects { mut body, text, .. } = objects(TextUnit::CodePoint);
    let heads = body.heads().unwrap();
    let then = body.view().unwrap().content(ROOT).unwrap();
    body.edit(|edit| -> Result<(), EditError> {
        edit.splice_text(text, 0, 1, "changed")?;
        edit.delete(ROOT, "n")
    })
    .unwrap();
    body.commit(0).unwrap();
    let view = body.view_at(&heads).unwrap().unwrap();
    assert_eq!(view.content(ROOT).unwrap(), then);
    assert_eq!(view.text(text).unwrap(), "a👍b");
    assert_eq!(view.keys(ROOT).unwrap(), ["list", "n", "text"]);
    assert_eq!(view.length(text), Ok(3));
    let node = Node::Scalar(Scalar::Counter(0));
    assert_eq!(view.get(ROOT, "n"), Ok(Some(node)));
    let unknown = aether_crdt::proto::document::ChangeHash([7; 32]);
    assert!(body.view_at(&[unknown]).unwrap().is_none());
    let now = body.view().unwrap();
    assert_eq!(now.get(ROOT, "n"), Ok(None));
    assert_eq!(now.blame(text, 0), Ok(Some(body.heads().unwrap()[0])));
    assert_eq!(now.blame(text, 8), Ok(Some(heads[0])));
    assert_ne!(now.content(ROOT).unwrap(), Content::map());
}
