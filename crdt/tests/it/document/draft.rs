//! Drafts: what others don't see until it is merged, and what becomes of it then.

use std::time::Duration;

use aether_core::Time;
use aether_crdt::proto::{
    document::{
        ActorId, ChangeHash, Kind,
        body::{Committed, Settings},
        content::{Content, Expand, ObjId, TextUnit},
        draft::{Draft, MergeError},
        edit::{Edit, EditError},
        state::{Config, Document, Origin, Output},
        weight::DEFAULT_LIMIT,
    },
    time::Wall,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{authors::ROOT, edits::random_edit};

const WALL: Wall = Wall::from_millis(1_800_000_000_000);
const NOW: Time = Time::from_millis(7);

/// A lane for drafts.
const LANE: ActorId = ActorId([77; 16]);

fn document(by: u8) -> Document {
    let actor = ActorId([by; 16]);
    let unit = TextUnit::CodePoint;
    let mut config = Config::new(Settings { actor, unit, limit: DEFAULT_LIMIT });
    config.coalesce = Duration::ZERO;
    Document::new(config)
}

type Changes = Vec<(ActorId, Committed)>;

fn outputs(document: &mut Document) -> (Changes, Vec<Origin>) {
    let (mut changes, mut origins) = (Vec::new(), Vec::new());
    while let Some(output) = document.poll_output() {
        match output {
            Output::Append(actor, change) => changes.push((actor, change)),
            Output::Patches(origin, _) => origins.push(origin),
            output => panic!("{output:?}"),
        }
    }
    (changes, origins)
}

fn edit<T>(
    document: &mut Document,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError>,
) -> (T, Changes) {
    let value = document.edit(NOW, WALL, edit).unwrap().unwrap();
    document.flush();
    (value, outputs(document).0)
}

fn give(document: &mut Document, changes: &Changes) {
    for (actor, change) in changes {
        document.receive(NOW, &change.bytes, actor, |_| true).unwrap();
    }
    document.settle();
    outputs(document);
}

fn content(document: &Document) -> Content {
    document.view().unwrap().content(ROOT).unwrap()
}

fn heads(document: &mut Document) -> Vec<ChangeHash> {
    document.settle();
    document.body().unwrap().heads().unwrap()
}

fn drafted(document: &mut Document, at: Option<&[ChangeHash]>) -> Draft {
    let mut draft = document.draft(at).unwrap();
    draft.write_as(LANE).unwrap();
    draft
}

/// Two with a text.
fn pair(text: &str) -> (Document, Document, ObjId) {
    let (mut one, mut other) = (document(1), document(2));
    let (object, changes) = edit(&mut one, |edit| {
        let object = edit.put_object(ROOT, "text", Kind::Text)?;
        edit.splice_text(object, 0, 0, text)?;
        Ok(object)
    });
    give(&mut other, &changes);
    (one, other, object)
}

fn text(document: &Document, text: ObjId) -> String {
    document.view().unwrap().text(text).unwrap()
}

#[test]
fn nobody_sees_a_draft_until_it_is_merged() {
    let (mut one, mut other, object) = pair("hello world");
    let mut draft = drafted(&mut one, None);
    draft.edit(WALL, |edit| edit.splice_text(object, 0, 5, "goodbye")).unwrap();
    assert_eq!(draft.view().unwrap().text(object).unwrap(), "goodbye world");
    assert_eq!(text(&one, object), "hello world");
    assert_eq!(outputs(&mut one), (vec![], vec![]));
    assert_eq!(one.merge(NOW, &mut draft), Some(Ok(true)));
    assert_eq!(text(&one, object), "goodbye world");
    let (changes, origins) = outputs(&mut one);
    assert_eq!(origins, [Origin::Local]);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].0, LANE);
    give(&mut other, &changes);
    assert_eq!(text(&other, object), "goodbye world");
    assert_eq!(one.merge(NOW, &mut draft), Some(Ok(false)), "there is nothing new");
    draft.edit(WALL, |edit| edit.splice_text(object, 0, 0, "> ")).unwrap();
    assert_eq!(one.merge(NOW, &mut draft), Some(Ok(true)));
    assert_eq!(text(&one, object), "> goodbye world");
}

#[test]
fn what_was_written_meanwhile_here_and_elsewhere_stays() {
    let (mut one, mut other, object) = pair("the quick fox");
    let mut draft = drafted(&mut one, None);
    let change = |edit: &mut Edit<'_>| {
        edit.splice_text(object, 4, 5, "slow")?;
        edit.mark(object, 0..3, "bold", true, Expand::None)?;
        edit.put(ROOT, "title", "draft")
    };
    draft.edit(WALL, change).unwrap();
    let ((), theirs) = edit(&mut other, |edit| edit.splice_text(object, 13, 0, " jumps"));
    give(&mut one, &theirs);
    let ((), ours) = edit(&mut one, |edit| edit.splice_text(object, 10, 0, "brown "));
    assert_eq!(draft.view().unwrap().text(object).unwrap(), "the slow fox");
    one.merge(NOW, &mut draft).unwrap().unwrap();
    assert_eq!(text(&one, object), "the slow brown fox jumps");
    give(&mut other, &ours);
    give(&mut other, &outputs(&mut one).0);
    assert_eq!(content(&one), content(&other));
    assert_eq!(heads(&mut one), heads(&mut other));
}

#[test]
fn a_merge_is_undone_at_once_and_nothing_else_with_it() {
    let (mut one, mut other, object) = pair("the quick fox");
    let mut draft = drafted(&mut one, None);
    for word in ["a ", "b ", "c "] {
        draft.edit(WALL, |edit| edit.splice_text(object, 0, 0, word)).unwrap();
    }
    draft.edit(WALL, |edit| edit.put(ROOT, "title", "draft")).unwrap();
    one.undo_barrier();
    edit(&mut one, |edit| edit.splice_text(object, 4, 0, "very "));
    one.merge(NOW, &mut draft).unwrap().unwrap();
    edit(&mut one, |edit| edit.put(ROOT, "own", true));
    assert_eq!(text(&one, object), "c b a the very quick fox");
    let ((), theirs) = edit(&mut other, |edit| edit.splice_text(object, 13, 0, "!"));
    give(&mut one, &theirs);
    assert_eq!(one.undo(NOW, WALL), Some(Ok(true)));
    assert_eq!(one.view().unwrap().keys(ROOT).unwrap(), ["text", "title"]);
    assert_eq!(text(&one, object), "c b a the very quick fox!");
    assert_eq!(one.undo(NOW, WALL), Some(Ok(true)));
    assert_eq!(text(&one, object), "the very quick fox!");
    assert_eq!(one.view().unwrap().keys(ROOT).unwrap(), ["text"]);
    assert_eq!(one.redo(NOW, WALL), Some(Ok(true)));
    assert_eq!(text(&one, object), "c b a the very quick fox!");
    one.undo(NOW, WALL).unwrap().unwrap();
    assert_eq!(one.undo(NOW, WALL), Some(Ok(true)));
    assert_eq!(text(&one, object), "the quick fox!", "what the other wrote stays");
}

#[test]
fn a_draft_of_an_older_version_builds_on_that() {
    let (mut one, _, object) = pair("first");
    let then = heads(&mut one);
    edit(&mut one, |edit| edit.splice_text(object, 5, 0, " second"));
    assert!(one.draft(Some(&[ChangeHash([0; 32])])).is_none());
    let mut draft = drafted(&mut one, Some(&then));
    assert_eq!(draft.base(), then);
    assert_eq!(draft.view().unwrap().text(object).unwrap(), "first");
    draft.edit(WALL, |edit| edit.splice_text(object, 0, 0, "very ")).unwrap();
    one.merge(NOW, &mut draft).unwrap().unwrap();
    assert_eq!(text(&one, object), "very first second");
}

#[test]
fn what_differs_from_the_base_is_told() {
    for seed in 0..60 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut one = document(1);
        let some = rng.random_range(0..8);
        edit(&mut one, |edit| (0..some).try_for_each(|_| random_edit(&mut rng, edit)));
        let mut draft = drafted(&mut one, None);
        let mut shown = content(&one);
        for _ in 0..rng.random_range(1..4) {
            let some = rng.random_range(1..8);
            let edits =
                |edit: &mut Edit<'_>| (0..some).try_for_each(|_| random_edit(&mut rng, edit));
            draft.edit(WALL, edits).unwrap();
        }
        for patch in draft.differences().unwrap() {
            let applied = shown.apply(&patch, TextUnit::CodePoint);
            assert!(applied.is_ok(), "seed {seed}: {patch:?} onto {shown:?}");
        }
        assert_eq!(shown, draft.view().unwrap().content(ROOT).unwrap(), "seed {seed}");
    }
}

/// The promise: it is what another author would have made of it.
#[test]
fn a_merged_draft_is_what_another_author_would_have_written() {
    for seed in 0..60 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let (mut one, mut another) = (document(1), document(3));
        let begun = rng.random_range(0..10);
        let random = |rng: &mut ChaCha12Rng, some: usize, edit: &mut Edit<'_>| {
            (0..some).try_for_each(|_| random_edit(rng, edit))
        };
        let ((), first) = edit(&mut one, |edit| random(&mut rng, begun, edit));
        give(&mut another, &first);
        let mut draft = drafted(&mut one, None);
        let (mut mine, mut here) = (rng.clone(), ChaCha12Rng::seed_from_u64(seed + 1_000));
        draft.edit(WALL, |edit| random(&mut mine, 8, edit)).unwrap();
        // Another author, under the draft's actor, who makes the same edits of the same document.
        let mut settings = *another.body().unwrap().settings();
        settings.actor = LANE;
        let mut config = Config::new(settings);
        config.coalesce = Duration::ZERO;
        let mut author = Document::new(config);
        give(&mut author, &first);
        let ((), written) = edit(&mut author, |edit| random(&mut rng, 8, edit));
        let ((), meanwhile) = edit(&mut one, |edit| random(&mut here, 8, edit));
        give(&mut another, &meanwhile);
        give(&mut another, &written);
        one.merge(NOW, &mut draft).unwrap().unwrap();
        assert_eq!(content(&one), content(&another), "seed {seed}");
        assert_eq!(heads(&mut one), heads(&mut another), "seed {seed}");
    }
}

#[test]
fn a_draft_of_what_does_not_count_any_more_is_not_merged() {
    let (mut one, mut other, object) = pair("hello");
    let ((), theirs) = edit(&mut other, |edit| edit.splice_text(object, 5, 0, " you"));
    give(&mut one, &theirs);
    let mut draft = drafted(&mut one, None);
    draft.edit(WALL, |edit| edit.splice_text(object, 0, 0, "> ")).unwrap();
    let gone = theirs.iter().map(|(_, change)| change.hash).collect();
    one.set_aside(&gone, ActorId([9; 16]));
    outputs(&mut one);
    assert_eq!(one.merge(NOW, &mut draft), Some(Err(MergeError::Base)));
    assert_eq!(text(&one, object), "hello");
    assert_eq!(outputs(&mut one), (vec![], vec![]));
}

#[test]
fn a_large_draft_is_merged_whole() {
    let (mut one, mut other, object) = pair("");
    let mut draft = drafted(&mut one, None);
    for number in 0..30 {
        let line = format!("{number:02} {}\n", "x".repeat(1_000));
        draft.edit(WALL, |edit| edit.splice_text(object, 0, 0, &line)).unwrap();
    }
    one.merge(NOW, &mut draft).unwrap().unwrap();
    let (changes, _) = outputs(&mut one);
    assert!(changes.len() > 1, "it is too large for one change");
    give(&mut other, &changes);
    assert_eq!(content(&one), content(&other));
    assert_eq!(text(&other, object).lines().count(), 30);
    assert_eq!(one.undo(NOW, WALL), Some(Ok(true)));
    assert_eq!(text(&one, object), "");
}
