//! Documents as values of the program's own types.

use std::collections::BTreeMap;

use aether_crdt::proto::document::{
    ActorId, Kind, MAX_KEY,
    body::{Body, Settings},
    content::{Content, Node, ObjId, Scalar, TextUnit},
    edit::{Edit, EditError},
    template::Template,
    typed::{Counter, Misshapen, Text, TypedError},
    undo::History,
    view::ViewError,
    weight::DEFAULT_LIMIT,
};
use autosurgeon::{Hydrate, Reconcile};

use super::authors::{Author, ROOT};

#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
struct Board {
    title: String,
    intro: Text,
    visits: Counter,
    owner: Person,
    labels: BTreeMap<String, i64>,
    cards: Vec<Card>,
    due: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
struct Person {
    name: String,
    mail: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Hydrate, Reconcile)]
struct Card {
    #[key]
    id: u64,
    text: Text,
    votes: Counter,
    is_done: bool,
}

fn card(id: u64, text: &str) -> Card {
    Card { id, text: text.into(), votes: Counter::default(), is_done: false }
}

fn board() -> Board {
    Board {
        title: "größe".into(),
        intro: "hello wörld 👩‍👩‍👧".into(),
        visits: Counter::new(7),
        owner: Person { name: "ada".into(), mail: None },
        labels: [("red".into(), -1), ("blue".into(), 2)].into(),
        cards: vec![card(1, "milk"), card(2, "bread")],
        due: Some(3),
    }
}

fn read(author: &Author) -> Board {
    author.body.view().unwrap().hydrate().unwrap()
}

fn update(author: &mut Author, update: impl FnOnce(&mut Board)) {
    let edit = |edit: &mut Edit<'_>| {
        let mut board: Board = edit.hydrate()?;
        update(&mut board);
        edit.reconcile(&board)
    };
    author.edit(edit).unwrap();
}

/// Two authors with the same board.
fn pair(board: &Board) -> (Author, Author) {
    let (mut one, mut other) =
        (Author::new(1, TextUnit::CodePoint), Author::new(2, TextUnit::CodePoint));
    one.edit(|edit| edit.reconcile(board)).unwrap();
    let change = one.commit().unwrap();
    other.receive(&[(one.body.settings().actor, change)]);
    (one, other)
}

/// Each gets what the other did.
fn meet(one: &mut Author, other: &mut Author) {
    let own = |author: &mut Author| {
        author.commit().map(|change| (author.body.settings().actor, change)).into_iter().collect()
    };
    let (here, there): (Vec<_>, Vec<_>) = (own(one), own(other));
    one.receive(&there);
    other.receive(&here);
    assert_eq!(one.content(), other.content());
}

#[test]
fn what_was_written_is_read() {
    let (one, other) = pair(&board());
    assert_eq!(read(&one), board());
    assert_eq!(read(&other), board());
    let Content::Map(root) = one.content() else { panic!() };
    assert!(matches!(root["intro"], Content::Text(_)));
    assert_eq!(root["visits"], Content::Scalar(Scalar::Counter(7)));
    assert_eq!(root["title"], Content::Scalar(Scalar::Str("größe".into())));
}

#[test]
fn what_is_the_same_is_not_written() {
    let (mut one, _) = pair(&board());
    update(&mut one, |_| {});
    assert_eq!(one.body.pending(), 0);
    update(&mut one, |board| board.cards[1].is_done = true);
    assert_eq!(one.body.pending(), 1);
    update(&mut one, |board| board.intro.insert(6, 'x'));
    assert_eq!(one.body.pending(), 2);
}

#[test]
fn what_two_do_to_different_fields_and_items_stays() {
    let (mut one, mut other) = pair(&board());
    update(&mut one, |board| {
        board.title = "new".into();
        board.intro.push_str(" again");
        board.visits.add(2);
        board.owner.mail = Some("ada@example.org".into());
        board.labels.insert("green".into(), 5);
        board.cards[0].is_done = true;
        board.cards[1].text.push_str(" and butter");
        board.cards.insert(0, card(3, "tea"));
    });
    update(&mut other, |board| {
        board.intro.replace_range(0..5, "goodbye");
        board.visits.add(-1);
        board.owner.name = "ada l.".into();
        board.labels.remove("red");
        board.due = None;
        board.cards[0].votes.add(4);
        board.cards[1].text.insert_str(0, "dark ");
        board.cards.push(card(4, "salt"));
    });
    meet(&mut one, &mut other);
    let expected = Board {
        title: "new".into(),
        intro: "goodbye wörld 👩‍👩‍👧 again".into(),
        visits: Counter::new(8),
        owner: Person { name: "ada l.".into(), mail: Some("ada@example.org".into()) },
        labels: [("green".into(), 5), ("blue".into(), 2)].into(),
        cards: vec![
            card(3, "tea"),
            Card { votes: Counter::new(4), is_done: true, ..card(1, "milk") },
            card(2, "dark bread and butter"),
            card(4, "salt"),
        ],
        due: None,
    };
    assert_eq!(read(&one), expected);
}

#[test]
fn an_item_that_is_deleted_takes_nothing_else_with_it() {
    let mut begun = board();
    begun.cards.extend([card(3, "tea"), card(4, "salt")]);
    let (mut one, mut other) = pair(&begun);
    update(&mut one, |board| drop(board.cards.remove(1)));
    update(&mut other, |board| board.cards[3].text.insert_str(0, "sea "));
    meet(&mut one, &mut other);
    let cards = read(&one).cards;
    assert_eq!(cards, [card(1, "milk"), card(3, "tea"), card(4, "sea salt")]);
}

#[test]
fn what_is_moved_keeps_what_it_was() {
    let (mut one, _) = pair(&board());
    update(&mut one, |board| {
        board.visits.add(1);
        let mut first = board.cards.remove(0);
        first.votes.add(3);
        first.text.push('!');
        board.cards.push(first);
    });
    let moved = Card { votes: Counter::new(3), ..card(1, "milk!") };
    assert_eq!(read(&one).cards, [card(2, "bread"), moved]);
    assert_eq!(read(&one).visits, Counter::new(8));
}

#[test]
fn fields_that_the_type_does_not_have_stay() {
    #[derive(Hydrate, Reconcile)]
    struct Part {
        title: String,
        cards: Vec<Item>,
    }
    #[derive(Hydrate, Reconcile)]
    struct Item {
        #[key]
        id: u64,
        is_done: bool,
    }
    let (mut one, _) = pair(&board());
    let edit = |edit: &mut Edit<'_>| {
        let mut part: Part = edit.hydrate()?;
        part.title.push('!');
        part.cards[1].is_done = true;
        part.cards.remove(0);
        edit.reconcile(&part)
    };
    one.edit(edit).unwrap();
    let cards = vec![Card { is_done: true, ..card(2, "bread") }];
    assert_eq!(read(&one), Board { title: "größe!".into(), cards, ..board() });
}

#[test]
fn conflicts_stay_until_their_field_is_written() {
    let (mut one, mut other) = pair(&board());
    update(&mut one, |board| board.title = "one".into());
    update(&mut other, |board| board.title = "other".into());
    meet(&mut one, &mut other);
    let titles = |author: &Author| author.body.view().unwrap().conflicts(ROOT, "title").unwrap();
    assert_eq!(titles(&one).len(), 2);
    update(&mut one, |board| board.due = Some(9));
    assert_eq!(titles(&one).len(), 2, "it was not looked at");
    update(&mut one, |board| board.title = "both".into());
    assert_eq!(titles(&one).len(), 1);
}

#[test]
fn another_shape_is_an_error_that_says_where() {
    let (mut one, _) = pair(&board());
    let view = one.body.view().unwrap();
    let list = view.get(ROOT, "cards").unwrap().unwrap().object().unwrap();
    let place = |error: TypedError| match error {
        TypedError::Shape(Misshapen { place, reason }) => (place, reason),
        error => panic!("{error:?}"),
    };
    let second = view.get(list, 1).unwrap().unwrap().object().unwrap();
    let (at, reason) = place(view.hydrate_at::<u64>(second, "text").unwrap_err());
    assert_eq!((&at[..], &reason[..]), ("cards/1/text", "unexpected text"));
    one.edit(|edit| edit.put(second, "votes", "many")).unwrap();
    let view = one.body.view().unwrap();
    let error = view.hydrate::<Board>().unwrap_err();
    assert_eq!(place(error.clone()).0, "cards/1/votes");
    assert_eq!(
        error.to_string(),
        "the document has another shape than the program's type, at cards/1/votes: \
         unexpected string"
    );
    let (at, reason) = place(view.hydrate_at::<String>(ROOT, "nothing").unwrap_err());
    assert_eq!((&at[..], &reason[..]), ("nothing", "unexpected None"));
    assert_eq!(place(view.hydrate::<Vec<u64>>().unwrap_err()).0, "the root");
    let strange = ObjId::Made(aether_crdt::proto::document::content::OpRef {
        counter: 77,
        actor: ActorId([9; 16]),
    });
    let none = view.hydrate_at::<u64>(strange, "x").unwrap_err();
    assert_eq!(none, TypedError::View(ViewError::NotFound));
    let done = one.edit(|edit| edit.reconcile(&vec![1_u64]));
    assert!(matches!(done, Err(EditError::Shape(_))), "{done:?}");
}

#[test]
fn edits_refuse_of_a_type_what_they_refuse_of_everyone() {
    let (mut one, _) = pair(&board());
    let refused = |one: &mut Author, change: fn(&mut Board)| {
        let edit = |edit: &mut Edit<'_>| {
            let mut board: Board = edit.hydrate()?;
            change(&mut board);
            edit.reconcile(&board)
        };
        one.edit(edit).unwrap_err()
    };
    let keys = refused(&mut one, |board| {
        board.title = "not this either".into();
        board.labels.insert("k".repeat(MAX_KEY + 1), 1);
    });
    assert_eq!(keys, EditError::TooLarge);
    let counter = refused(&mut one, |board| board.visits.add(1 << 40));
    assert_eq!(counter, EditError::TooLarge);
    let counter = refused(&mut one, |board| {
        board.cards.push(Card { votes: Counter::new(i64::MAX), ..card(9, "") });
    });
    assert_eq!(counter, EditError::TooLarge);
    assert_eq!(read(&one), board(), "all or nothing");
    // What was made is what others take: what they refuse, a body refuses of itself.
    assert!(one.body.commit(1).unwrap().is_none());
}

#[test]
fn what_differs_is_taken_back_at_once() {
    let mut one = Author::new(1, TextUnit::Utf16);
    one.edit(|edit| edit.reconcile(&board())).unwrap();
    let mut history = History::new(std::time::Duration::ZERO);
    let edit = |edit: &mut Edit<'_>| {
        let mut board: Board = edit.hydrate()?;
        board.intro.replace_range(6..12, "all");
        board.visits.add(5);
        board.cards.remove(0);
        edit.reconcile(&board)
    };
    let ((), edited) = one.edit(edit).unwrap();
    history.record(aether_core::Time::ZERO, &edited);
    let undone = history.undo(aether_core::Time::ZERO, &mut one.body).unwrap().unwrap();
    one.mirror(&undone.patches);
    assert_eq!(read(&one), board());
}

#[test]
fn a_version_is_read_as_it_was() {
    let (mut one, _) = pair(&board());
    let then = one.body.heads().unwrap();
    update(&mut one, |board| {
        board.cards.remove(0);
        board.labels.clear();
        board.intro.clear();
        board.visits.add(1);
    });
    one.commit();
    let view = one.body.view_at(&then).unwrap().unwrap();
    assert_eq!(view.hydrate::<Board>().unwrap(), board());
}

#[test]
fn a_part_is_written_where_it_is() {
    let (mut one, _) = pair(&board());
    let person = Person { name: "grace".into(), mail: None };
    one.edit(|edit| edit.reconcile_at(ROOT, "owner", &person)).unwrap();
    one.edit(|edit| edit.reconcile_at(ROOT, "guest", &person)).unwrap();
    assert_eq!(read(&one).owner, person);
    let guest: Person = one.body.view().unwrap().hydrate_at(ROOT, "guest").unwrap();
    assert_eq!(guest, person);
    let kinds = one.edit(|edit| edit.reconcile_at(ROOT, 3, &person)).unwrap_err();
    assert!(matches!(kinds, EditError::Shape(_) | EditError::WrongType), "{kinds:?}");
}

#[test]
fn a_template_of_a_value_is_the_same_everywhere() {
    let (one, other) = (Template::of(&board()).unwrap(), Template::of(&board()).unwrap());
    assert_eq!(one, other);
    let settings =
        Settings { actor: ActorId([3; 16]), unit: TextUnit::default(), limit: DEFAULT_LIMIT };
    let mut body = Body::new(settings);
    let (_, chunk) = one.change().unwrap();
    body.take(chunk, &aether_crdt::proto::document::template::ACTOR, |_| true).unwrap();
    body.apply().unwrap();
    assert_eq!(body.view().unwrap().hydrate::<Board>().unwrap(), board());
}

/// autosurgeon's own types, which know less.
#[test]
fn texts_and_counters_of_autosurgeon_work() {
    #[derive(Hydrate, Reconcile)]
    struct Note {
        body: autosurgeon::Text,
        count: autosurgeon::Counter,
    }
    for unit in [TextUnit::CodePoint, TextUnit::Utf16] {
        let mut one = Author::new(1, unit);
        let note = Note {
            body: "ä👩‍👩‍👧ö".into(), count: autosurgeon::Counter::with_value(2)
        };
        one.edit(|edit| edit.reconcile(&note)).unwrap();
        one.commit();
        let edit = |edit: &mut Edit<'_>| {
            let mut note: Note = edit.hydrate()?;
            let end = note.body.as_str().len();
            note.body.splice(end - 2, 2, "o!");
            note.body.splice(0, 2, "a");
            note.count.increment(3);
            edit.reconcile(&note)
        };
        one.edit(edit).unwrap();
        let note: Note = one.body.view().unwrap().hydrate().unwrap();
        assert_eq!((note.body.as_str(), note.count.value()), ("a👩‍👩‍👧o!", 5));
        // What was read of another version isn't written over a newer one.
        let text = one.body.view().unwrap().get(ROOT, "body").unwrap();
        let Some(Node::Object(Kind::Text, text)) = text else { panic!() };
        let mut stale = note;
        stale.body.splice(0, 1, "");
        one.edit(|edit| edit.splice_text(text, 0, 0, "new")).unwrap();
        let done = one.edit(|edit| edit.reconcile(&stale));
        assert!(matches!(done, Err(EditError::Shape(_))), "{done:?}");
    }
}
