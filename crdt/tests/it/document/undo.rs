//! Undo and redo: exact where nobody else writes, and never another's work where somebody does.

use std::{collections::BTreeMap, time::Duration};

use aether_core::Time;
use aether_crdt::proto::document::{
    Kind,
    content::{Content, Expand, Mark, ObjId, Scalar, TextUnit},
    edit::{Edit, EditError},
    undo::{History, MAX_STEPS, MAX_UNIT},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{
    authors::{Author, ROOT, World},
    edits::{objects, place, random_edit},
};

const PAUSE: Duration = Duration::from_millis(500);

/// Everything that is shown: content, and the marks of each text by its path.
fn shown(author: &Author) -> (Content, Vec<Vec<Mark>>) {
    let view = author.body.view().unwrap();
    let texts = objects(&view).into_iter().filter(|(kind, ..)| *kind == Kind::Text);
    let marks = texts.map(|(_, text, _)| {
        let mut marks = view.marks(text).unwrap();
        marks.sort_by(|a, b| (&a.name, a.start).cmp(&(&b.name, b.start)));
        marks
    });
    (author.content(), marks.collect())
}

struct Undoer {
    author: Author,
    history: History,
    now: Time,
}

impl Undoer {
    fn new(by: u8, unit: TextUnit) -> Self {
        Self { author: Author::new(by, unit), history: History::new(PAUSE), now: Time::ZERO }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>) {
        let ((), edited) = self.author.edit(edit).unwrap();
        self.history.record(self.now, &edited);
        self.now = self.now + PAUSE + Duration::from_millis(1);
    }

    fn undo(&mut self) -> bool {
        let edited = self.history.undo(self.now, &mut self.author.body).unwrap();
        edited.iter().for_each(|edited| self.author.mirror(&edited.patches));
        edited.is_some()
    }

    fn redo(&mut self) -> bool {
        let edited = self.history.redo(self.now, &mut self.author.body).unwrap();
        edited.iter().for_each(|edited| self.author.mirror(&edited.patches));
        edited.is_some()
    }
}

#[test]
fn without_others_undoing_all_restores_every_state_and_redoing_returns_to_it() {
    for seed in 0..80 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let unit = if rng.random() { TextUnit::CodePoint } else { TextUnit::Utf16 };
        let mut one = Undoer::new(1, unit);
        let mut states = vec![shown(&one.author)];
        for _ in 0..rng.random_range(1..20) {
            let edits = rng.random_range(1..4);
            one.edit(|edit| (0..edits).try_for_each(|_| random_edit(&mut rng, edit)));
            let units = one.history.len();
            states.truncate(units);
            states.push(shown(&one.author));
            if rng.random_ratio(1, 4) {
                one.author.commit();
            }
        }
        assert_eq!(states.len(), one.history.len() + 1);
        // Down, up, half down, up again, and down: to the same states each time.
        for turn in 0..5 {
            while one.history.len() > if turn == 2 { states.len() / 2 } else { 0 } && turn % 2 == 0
            {
                let before = one.history.len();
                assert!(one.undo());
                // Units without effect, such as a mark over the same mark, are passed over.
                states.drain(one.history.len() + 1..before);
                assert_eq!(shown(&one.author), states[one.history.len()], "seed {seed}");
            }
            while one.history.redoable() > 0 && turn % 2 == 1 {
                let before = (one.history.len(), one.history.redoable());
                assert!(one.redo());
                let passed = before.1 - one.history.redoable() - 1;
                states.drain(before.0 + 1..before.0 + 1 + passed);
                assert_eq!(shown(&one.author), states[one.history.len()], "seed {seed}");
            }
            one.author.commit();
        }
        assert!(!one.undo());
    }
}

/// A character that nobody else types.
fn tag(author: usize, count: usize) -> char {
    let base = u32::try_from(author * 4_000 + count).unwrap();
    char::from_u32(0xf0000 + base).unwrap()
}

/// What is known of a character: who deleted it, and whether its author has undone it.
#[derive(Default)]
struct Typed {
    author: usize,
    undone: bool,
    deleted: bool,
}

fn text_of(author: &Author) -> ObjId {
    match author.body.view().unwrap().get(ROOT, "text").unwrap() {
        Some(aether_crdt::proto::document::content::Node::Object(_, text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The characters of each unit.
type Units = Vec<Vec<char>>;

/// Authors who type characters of their own into one text, delete any, undo and redo.
struct Typists {
    world: World,
    histories: Vec<History>,
    typed: BTreeMap<char, Typed>,
    /// For each author's units, what they typed: those that can be undone, and those undone.
    units: Vec<(Units, Units)>,
    now: Time,
}

impl Typists {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let made = world.authors[0].edit(|edit| edit.put_object(ROOT, "text", Kind::Text));
        made.unwrap();
        world.settle();
        let count = world.authors.len();
        Self {
            world,
            histories: vec![History::new(PAUSE); count],
            typed: BTreeMap::new(),
            units: vec![Default::default(); count],
            now: Time::ZERO,
        }
    }

    fn type_some(&mut self, at: usize) {
        let count = self.typed.len();
        let chars: Vec<char> =
            (0..self.world.rng.random_range(1..5)).map(|more| tag(at, count + more)).collect();
        let author = &mut self.world.authors[at];
        let (text, unit) = (text_of(author), author.body.settings().unit);
        let now = author.body.view().unwrap().text(text).unwrap();
        let index = place(&mut self.world.rng, &now, unit);
        let insert: String = chars.iter().collect();
        let ((), edited) = author.edit(|edit| edit.splice_text(text, index, 0, &insert)).unwrap();
        self.histories[at].record(self.now, &edited);
        self.histories[at].barrier();
        let typed = |_: &char| Typed { author: at, ..Typed::default() };
        self.typed.extend(chars.iter().map(|char| (*char, typed(char))));
        self.units[at].0.push(chars);
        self.units[at].1.clear();
    }

    /// Deletes one character for good: it isn't noted.
    fn delete_one(&mut self, at: usize) {
        let author = &mut self.world.authors[at];
        let (text, unit) = (text_of(author), author.body.settings().unit);
        let now = author.body.view().unwrap().text(text).unwrap();
        let count = now.chars().count();
        if count == 0 {
            return;
        }
        let which = self.world.rng.random_range(0..count);
        let index: usize = now.chars().take(which).map(|char| unit.of_char(char)).sum();
        let char = now.chars().nth(which).unwrap();
        author.edit(|edit| edit.delete(text, index)).unwrap();
        self.typed.get_mut(&char).unwrap().deleted = true;
    }

    /// Undoes or redoes a unit, and notes it. Units of which nothing is left are passed over.
    fn turn(&mut self, at: usize, undo: bool) {
        let (author, history) = (&mut self.world.authors[at], &mut self.histories[at]);
        let before = author.body.view().unwrap().text(text_of(author)).unwrap();
        let edited = if undo {
            history.undo(self.now, &mut author.body).unwrap()
        } else {
            history.redo(self.now, &mut author.body).unwrap()
        };
        edited.iter().for_each(|edited| author.mirror(&edited.patches));
        let after = author.body.view().unwrap().text(text_of(author)).unwrap();
        let (from, to) = match &mut self.units[at] {
            (done, undone) if undo => (done, undone),
            (done, undone) => (undone, done),
        };
        while let Some(unit) = from.pop() {
            let has_effect = unit.iter().any(|char| before.contains(*char) == undo)
                && before != after
                && unit.iter().any(|char| before.contains(*char) != after.contains(*char));
            for char in &unit {
                self.typed.get_mut(char).unwrap().undone = undo;
            }
            if has_effect {
                to.push(unit);
                break;
            }
        }
        // Nobody else's character came or went.
        for (char, typed) in &self.typed {
            if typed.author != at {
                assert_eq!(before.contains(*char), after.contains(*char));
            }
        }
    }
}

#[test]
fn what_is_undone_is_ones_own_and_what_others_deleted_stays_deleted() {
    let mut turns = 0;
    for seed in 0..60 {
        let mut typists = Typists::new(seed);
        for _ in 0..60 {
            let at = typists.world.rng.random_range(0..typists.world.authors.len());
            match typists.world.rng.random_range(0..12) {
                0..4 => typists.type_some(at),
                4 | 5 => typists.delete_one(at),
                6 | 7 => {
                    typists.turn(at, true);
                    turns += 1;
                }
                8 => typists.turn(at, false),
                9 => typists.world.commit(at),
                _ => typists.world.receive(at, 5),
            }
        }
        typists.world.settle();
        let author = &typists.world.authors[0];
        let text = author.body.view().unwrap().text(text_of(author)).unwrap();
        for char in text.chars() {
            let typed = &typists.typed[&char];
            assert!(!typed.undone, "seed {seed}: an undone character is shown");
        }
        for (char, typed) in &typists.typed {
            let copies = text.chars().filter(|other| other == char).count();
            assert!(copies <= 1, "seed {seed}: a character is there twice");
            let gone = typed.undone || typed.deleted;
            assert!(gone || copies == 1, "seed {seed}: a character is lost");
        }
    }
    assert!(turns > 300, "only {turns}");
}

#[test]
fn edits_of_one_object_in_quick_succession_are_one_unit_unless_a_barrier_stands_between() {
    let mut one = Undoer::new(1, TextUnit::CodePoint);
    let mut text = ROOT;
    one.edit(|edit| {
        text = edit.put_object(ROOT, "text", Kind::Text)?;
        Ok(())
    });
    let start = one.now;
    for (millis, char) in [(0, "a"), (400, "b"), (800, "c"), (1_301, "d")] {
        one.now = start + Duration::from_millis(millis);
        let (at, _) = one.author.edit(|edit| Ok(edit.view()?.length(text)?)).unwrap();
        one.edit(|edit| edit.splice_text(text, at, 0, char));
    }
    assert_eq!(one.history.len(), 3);
    one.now = start + Duration::from_millis(1_400);
    one.history.barrier();
    one.edit(|edit| edit.splice_text(text, 4, 0, "e"));
    assert_eq!(one.history.len(), 4);
    let shown = |one: &Undoer| one.author.body.view().unwrap().text(text).unwrap();
    for left in ["abcd", "abc", ""] {
        assert!(one.undo());
        assert_eq!(shown(&one), left);
    }
    assert!(one.redo());
    assert_eq!(shown(&one), "abc");
    assert_eq!(one.history.redoable(), 2);
    one.edit(|edit| edit.splice_text(text, 0, 1, "x"));
    assert_eq!((one.history.redoable(), shown(&one)), (0, "xbc".to_owned()));
    assert!(!one.redo());
}

/// A text, and somebody who edits it without a pause.
fn typist() -> (Undoer, ObjId) {
    let mut one = Undoer::new(1, TextUnit::CodePoint);
    let mut text = ROOT;
    one.edit(|edit| {
        text = edit.put_object(ROOT, "text", Kind::Text)?;
        edit.splice_text(text, 0, 0, "begin")
    });
    one.history.forget();
    (one, text)
}

#[test]
fn what_is_typed_without_a_pause_is_one_step_wherever_it_stands() {
    let (mut one, text) = typist();
    let now = one.now;
    for at in 0..2 * MAX_UNIT {
        one.now = now;
        one.edit(|edit| edit.splice_text(text, at % 7, 0, "x"));
    }
    assert_eq!(one.history.len(), 1);
    assert!(one.undo());
    assert_eq!(one.author.body.view().unwrap().text(text).unwrap(), "begin");
    assert!(one.redo());
    let all = one.author.body.view().unwrap().text(text).unwrap();
    assert_eq!(all.len(), 5 + 2 * MAX_UNIT);
}

#[test]
fn a_unit_and_a_history_have_an_end() {
    let (mut one, text) = typist();
    let now = one.now;
    // Each pair is a step and a step, and what it deleted.
    let cost = 62;
    for _ in 0..MAX_STEPS * 3 / 2 / cost {
        one.now = now;
        one.edit(|edit| edit.splice_text(text, 0, 0, &"x".repeat(cost - 2)));
        one.now = now;
        one.edit(|edit| edit.splice_text(text, 3, cost - 2, ""));
        one.author.commit();
    }
    let units = one.history.len();
    let least = MAX_STEPS / MAX_UNIT;
    assert!((least..=least + 1).contains(&units), "{units} units");
    let whole = one.author.body.view().unwrap().text(text).unwrap();
    let mut undone = 0;
    while one.undo() {
        one.author.commit();
        undone += 1;
    }
    assert!(undone > 0 && undone <= units);
    while one.redo() {
        one.author.commit();
    }
    assert_eq!(one.author.body.view().unwrap().text(text).unwrap(), whole);
}

#[test]
fn others_overwrites_marks_and_insertions_stay() {
    let mut world = World::new(1);
    world.authors.truncate(2);
    let mut history = History::new(PAUSE);
    let mut text = ROOT;
    let (_, edited) = world.authors[0]
        .edit(|edit| {
            edit.put(ROOT, "a", 1_u64)?;
            edit.put(ROOT, "b", 1_u64)?;
            text = edit.put_object(ROOT, "text", Kind::Text)?;
            edit.splice_text(text, 0, 0, "one two")?;
            edit.put(ROOT, "n", Scalar::Counter(5))
        })
        .unwrap();
    drop(edited);
    world.settle();
    let (_, edited) = world.authors[0]
        .edit(|edit| {
            edit.put(ROOT, "a", 2_u64)?;
            edit.put(ROOT, "b", 2_u64)?;
            edit.increment(ROOT, "n", 10)?;
            edit.mark(text, 0..7, "bold", true, Expand::None)?;
            edit.splice_text(text, 3, 0, "-half")
        })
        .unwrap();
    history.record(Time::ZERO, &edited);
    world.settle();
    world.authors[1]
        .edit(|edit| {
            edit.put(ROOT, "a", 3_u64)?;
            edit.increment(ROOT, "n", 100)?;
            edit.mark(text, 0..3, "bold", false, Expand::None)?;
            edit.splice_text(text, 5, 0, "XY")
        })
        .unwrap();
    world.settle();
    let body = &mut world.authors[0].body;
    history.undo(Time::ZERO, body).unwrap().unwrap();
    let view = body.view().unwrap();
    let Content::Map(map) = view.content(ROOT).unwrap() else { panic!() };
    assert_eq!(map["a"], Content::from(3_u64), "another's overwrite was undone");
    assert_eq!(map["b"], Content::from(1_u64));
    assert_eq!(map["n"], Content::Scalar(Scalar::Counter(105)));
    assert_eq!(map["text"], Content::Text("oneXY two".into()));
    let marks = view.marks(text).unwrap();
    let theirs = Mark { start: 0, end: 3, name: "bold".into(), value: Scalar::Boolean(false) };
    assert_eq!(marks, [theirs]);
}

#[test]
fn an_element_that_somebody_else_wrote_into_stays_when_its_insertion_is_undone() {
    let mut world = World::new(1);
    world.authors.truncate(2);
    let mut history = History::new(PAUSE);
    let (list, _) =
        world.authors[0].edit(|edit| edit.put_object(ROOT, "list", Kind::List)).unwrap();
    let (_, edited) = world.authors[0]
        .edit(|edit| {
            edit.insert(list, 0, "mine")?;
            edit.insert(list, 1, "mine too")
        })
        .unwrap();
    history.record(Time::ZERO, &edited);
    world.settle();
    world.authors[1].edit(|edit| edit.put(list, 0, "theirs")).unwrap();
    world.settle();
    let body = &mut world.authors[0].body;
    history.undo(Time::ZERO, body).unwrap().unwrap();
    let left = body.view().unwrap().content(list).unwrap();
    assert_eq!(left, Content::List(vec!["theirs".into()]));
}

#[test]
fn a_counter_that_is_put_anew_is_what_was_put_and_undo_returns_to_the_sum() {
    let mut one = Undoer::new(1, TextUnit::CodePoint);
    let counter =
        |value| Content::Map([("n".into(), Content::Scalar(Scalar::Counter(value)))].into());
    one.edit(|edit| edit.put(ROOT, "n", Scalar::Counter(0)));
    one.edit(|edit| edit.increment(ROOT, "n", 5));
    assert_eq!(one.author.content(), counter(5));
    one.edit(|edit| edit.put(ROOT, "n", Scalar::Counter(0)));
    assert_eq!(one.author.content(), counter(0));
    assert!(one.undo());
    assert_eq!(one.author.content(), counter(5));
    assert!(one.undo());
    assert_eq!(one.author.content(), counter(0));
}

#[test]
fn whatever_is_undone_while_others_write_all_agree_and_no_change_is_refused() {
    let mut turns = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        let mut histories = vec![History::new(PAUSE); world.authors.len()];
        let mut now = Time::ZERO;
        for _ in 0..50 {
            now = now + PAUSE + PAUSE;
            let at = world.rng.random_range(0..world.authors.len());
            match world.rng.random_range(0..8) {
                0..3 => {
                    let (rng, author) = (&mut world.rng, &mut world.authors[at]);
                    let ((), edited) = author.edit(|edit| random_edit(rng, edit)).unwrap();
                    histories[at].record(now, &edited);
                }
                turn @ 3..6 => {
                    let author = &mut world.authors[at];
                    let done = if turn == 5 {
                        histories[at].redo(now, &mut author.body).unwrap()
                    } else {
                        histories[at].undo(now, &mut author.body).unwrap()
                    };
                    done.iter().for_each(|edited| author.mirror(&edited.patches));
                    turns += usize::from(done.is_some());
                }
                6 => world.commit(at),
                _ => world.receive(at, 4),
            }
        }
        world.settle();
        let content = world.authors[0].content();
        assert!(world.authors.iter().all(|author| author.content() == content), "seed {seed}");
    }
    assert!(turns > 300, "only {turns}");
}
