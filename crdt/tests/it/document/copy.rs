//! Copies: all that is shown, and nothing of how it came about.

use aether_crdt::proto::document::{
    Kind,
    content::{Content, Expand, Scalar, Span, TextUnit},
    copy::{Copy, LINK, Source},
    edit::{Edit, EditError},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{
    authors::{Author, ROOT},
    edits::{objects, random_edit},
};

fn source() -> Source {
    Source { space: "space".into(), document: "old".into(), version: vec!["12ab".into()] }
}

/// Writes all of a copy. Returns how many changes that took.
fn copied(from: &Author, to: &mut Author) -> usize {
    let mut copy = Copy::new(&from.body.view().unwrap(), source()).unwrap();
    let mut changes = 0;
    while !copy.is_done() {
        to.edit(|edit| copy.step(edit)).unwrap();
        assert!(to.commit().is_some());
        changes += 1;
    }
    changes
}

/// What is shown, without the link: content, and the spans of each text by its path.
fn shown(author: &Author) -> (Content, Vec<Vec<Span>>) {
    let view = author.body.view().unwrap();
    let texts = objects(&view).into_iter().filter(|(kind, ..)| *kind == Kind::Text);
    let texts = texts.map(|(_, text, _)| {
        let spans = view.spans(text).unwrap().into_iter();
        // An empty one stands for nothing.
        spans.filter(|span| !matches!(span, Span::Text { text, .. } if text.is_empty())).collect()
    });
    let texts = texts.collect();
    let Content::Map(mut root) = author.content() else { panic!("the root is a map") };
    root.remove(LINK);
    (Content::Map(root), texts)
}

#[test]
fn a_copy_shows_what_the_document_showed_and_says_what_it_is_of() {
    let mut texts = 0;
    for seed in 0..80 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let unit = if rng.random() { TextUnit::CodePoint } else { TextUnit::Utf16 };
        let (mut old, mut new) = (Author::new(1, unit), Author::new(2, unit));
        let edits = rng.random_range(1..80);
        old.edit(|edit| (0..edits).try_for_each(|_| random_edit(&mut rng, edit))).unwrap();
        copied(&old, &mut new);
        assert_eq!(shown(&new), shown(&old), "seed {seed}");
        texts += shown(&new).1.len();
        assert_eq!(Source::of(&new.body.view().unwrap()), Ok(Some(source())));
        assert_eq!(Source::of(&old.body.view().unwrap()), Ok(None));
    }
    assert!(texts > 20, "only {texts}");
}

#[test]
fn a_copy_replaces_what_the_document_began_with_and_keeps_its_objects() {
    let begin = |edit: &mut Edit<'_>| {
        let text = edit.put_object(ROOT, "text", Kind::Text)?;
        edit.splice_text(text, 0, 0, "begin")?;
        let list = edit.put_object(ROOT, "list", Kind::List)?;
        edit.insert(list, 0, "one")?;
        edit.put(ROOT, "gone", 1_u64)?;
        Ok((text, list))
    };
    let mut new = Author::new(2, TextUnit::CodePoint);
    let ((text, list), _) = new.edit(begin).unwrap();
    new.commit();
    let mut old = Author::new(1, TextUnit::CodePoint);
    let change = |edit: &mut Edit<'_>| {
        let (text, list) = begin(edit)?;
        edit.splice_text(text, 5, 0, "ning")?;
        edit.mark(text, 0..2, "bold", true, Expand::None)?;
        edit.insert(list, 1, Scalar::Counter(4))?;
        edit.increment(list, 1, 3)?;
        edit.delete(ROOT, "gone")
    };
    old.edit(change).unwrap();
    copied(&old, &mut new);
    assert_eq!(shown(&new), shown(&old));
    let view = new.body.view().unwrap();
    assert_eq!(view.get(ROOT, "text").unwrap().unwrap().object(), Some(text));
    assert_eq!(view.get(ROOT, "list").unwrap().unwrap().object(), Some(list));
    // A copy of the copy is one of that.
    let mut third = Author::new(3, TextUnit::CodePoint);
    copied(&new, &mut third);
    assert_eq!(shown(&third), shown(&old));
}

#[test]
fn what_is_too_large_for_one_change_is_copied_in_several_and_is_smaller() {
    let mut old = Author::new(1, TextUnit::CodePoint);
    let (text, _) = old.edit(|edit| edit.put_object(ROOT, "text", Kind::Text)).unwrap();
    let line = "0123456789äöü\n".repeat(2_000);
    for round in 0..6 {
        old.edit(|edit| edit.splice_text(text, 0, 0, &line)).unwrap();
        old.commit();
        if round % 2 == 0 {
            old.edit(|edit| edit.splice_text(text, 0, 28_000, "")).unwrap();
            old.commit();
        }
    }
    let (list, _) = old.edit(|edit| edit.put_object(ROOT, "flags", Kind::List)).unwrap();
    for at in 0..5 {
        old.edit(|edit| (0..1_000).try_for_each(|_| edit.insert(list, at * 1_000, true))).unwrap();
        old.commit();
    }
    let mut new = Author::new(2, TextUnit::CodePoint);
    let changes = copied(&old, &mut new);
    assert!((3..20).contains(&changes), "{changes}");
    assert_eq!(shown(&new), shown(&old));
    let (was, is) = (old.body.index().weight(), new.body.index().weight());
    assert!(is < was * 2 / 3, "{is} of {was}");
}

#[test]
fn a_link_that_makes_no_sense_is_none() {
    let mut one = Author::new(1, TextUnit::CodePoint);
    type Link = fn(&mut Edit<'_>) -> Result<(), EditError>;
    let links: [Link; 3] = [
        |edit| edit.put(ROOT, LINK, "somewhere"),
        |edit| edit.put_object(ROOT, LINK, Kind::Map).map(drop),
        |edit| {
            let link = edit.put_object(ROOT, LINK, Kind::Map)?;
            edit.put(link, "space", 7_u64)?;
            edit.put(link, "document", "x")?;
            edit.put_object(link, "version", Kind::List).map(drop)
        },
    ];
    for link in links {
        one.edit(link).unwrap();
        assert_eq!(Source::of(&one.body.view().unwrap()), Ok(None));
    }
}
