//! Changes that name what isn't there, or what they may not touch: each built by hand behind an
//! honest past, each void by its rule B. And their neighbours that are in order: accepted, applied,
//! saved, loaded and read back byte for byte.

mod limits;
mod marks;
mod objects;
mod order;
mod purity;

use aether_crdt::proto::document::{
    Accepted, ActorId, Change, ChangeHash, Index, Rule, Why, weight::DEFAULT_LIMIT,
};
use automerge::Automerge;

use crate::chunks::{Id, Key, Op, Parts};

/// Reads a change, whoever wrote it, and judges it.
pub(crate) fn judge(index: &Index, bytes: &[u8]) -> Result<Accepted, Why> {
    let actor = ActorId(Parts::parse(bytes).actor.try_into().unwrap());
    index.judge(&Change::decode(bytes, &actor).unwrap(), DEFAULT_LIMIT, |_| true)
}

/// Applies a change behind those before it, and asserts that the document can be kept.
pub(crate) fn keep(before: &Automerge, bytes: &[u8]) -> Automerge {
    let change = automerge::Change::try_from(bytes).unwrap();
    let mut document = before.clone();
    document.apply_changes([change]).unwrap();
    let loaded = Automerge::load(&document.save()).unwrap();
    assert_eq!(loaded.get_heads(), document.get_heads());
    assert_eq!(loaded.hydrate(None), document.hydrate(None));
    let (kept, given) = (loaded.get_changes(&[]), document.get_changes(&[]));
    assert!(kept.iter().map(|c| c.raw_bytes()).eq(given.iter().map(|c| c.raw_bytes())));
    assert!(given.iter().any(|change| change.raw_bytes() == bytes));
    document
}

/// A document and its index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    pub(crate) index: Index,
    pub(crate) document: Automerge,
}

impl Past {
    /// Adds an honest change.
    pub(crate) fn follow(&mut self, change: &automerge::Change) {
        self.index.apply(judge(&self.index, change.raw_bytes()).unwrap());
        self.document.apply_changes([change.clone()]).unwrap();
    }

    /// Adds a change that must be in order. Returns its hash.
    fn add(&mut self, parts: &Parts) -> [u8; 32] {
        let bytes = parts.bytes();
        let accepted = judge(&self.index, &bytes).unwrap();
        self.index.apply(accepted);
        self.document = keep(&self.document, &bytes);
        let actor = ActorId(parts.actor.clone().try_into().unwrap());
        Change::decode(&bytes, &actor).unwrap().hash.0
    }

    fn verdict(&self, parts: &Parts) -> Result<(), Why> {
        let bytes = parts.bytes();
        judge(&self.index, &bytes)?;
        keep(&self.document, &bytes);
        Ok(())
    }
}

/// A change by author `by`.
fn change(by: u8, seq: u64, start_op: u64, deps: &[[u8; 32]], ops: &[Op]) -> Parts {
    let mut deps = deps.to_vec();
    deps.sort_unstable();
    Parts { actor: vec![by; 16], seq, start_op, deps, ..Parts::of(ops) }
}

const MAP: Id = (1, 0);
const LIST: Id = (2, 0);
const TEXT: Id = (3, 0);
/// In the list: null, then a counter.
const NULL: Id = (4, 0);
const COUNTER: Id = (5, 0);
/// In the text.
const A: Id = (6, 0);
const B: Id = (7, 0);
const C: Id = (8, 0);
/// At keys `n` and `s` of the root: a counter, and null.
const N: Id = (9, 0);
const S: Id = (10, 0);
/// A mark from behind the a to behind the b.
const BEGIN: Id = (11, 0);
const END: Id = (12, 0);
/// The next operation.
const NEXT: u32 = 13;

fn behind(object: Id, element: Id) -> Op {
    Op { key: Key::Element(element), ..Op::insert(object) }
}

fn at(object: Id, element: Id) -> Op {
    Op { insert: false, ..behind(object, element) }
}

fn letter(op: Op, letter: &str) -> Op {
    op.value(6, letter.as_bytes())
}

fn begin(op: Op) -> Op {
    op.does(7).value(2, &[]).named("bold")
}

fn end(op: Op) -> Op {
    op.does(7)
}

fn increment(op: Op) -> Op {
    op.does(5).value(4, &[1])
}

fn delete(op: Op) -> Op {
    op.does(3)
}

/// A past of one change by author 1, in which there is one of everything.
fn past() -> (Past, [u8; 32]) {
    let mut past = Past::default();
    let first = past.add(&change(
        1,
        1,
        1,
        &[],
        &[
            Op::put("map").does(0),
            Op::put("list").does(2),
            Op::put("text").does(4),
            Op::insert(LIST),
            behind(LIST, NULL).value(8, &[0]),
            letter(Op::insert(TEXT), "a"),
            letter(behind(TEXT, A), "b"),
            letter(behind(TEXT, B), "c"),
            Op::put("n").value(8, &[0]),
            Op::put("s"),
            begin(behind(TEXT, A)),
            end(behind(TEXT, B)),
        ],
    ));
    (past, first)
}

/// What becomes of these operations as the author's next change.
fn verdict(ops: &[Op]) -> Result<(), Why> {
    let (past, first) = past();
    past.verdict(&change(1, 2, NEXT.into(), &[first], ops))
}

/// The same, by an author who has written nothing yet: ids are of author 1 all the same.
fn verdict_on_others(ops: &[Op]) -> Result<(), Why> {
    let (past, first) = past();
    let mut parts = change(2, 1, NEXT.into(), &[first], ops);
    let foreign = |spec: &u64| [0x01, 0x11, 0x71].contains(spec);
    for (_, bytes) in parts.columns.iter_mut().filter(|(spec, _)| foreign(spec)) {
        // Runs of index 0, and nulls: a zero that stands for a count is before another byte.
        let last = bytes.len() - 1;
        bytes[last] = 1;
    }
    parts.others = vec![vec![1; 16]];
    past.verdict(&parts)
}

#[test]
fn rules_name_themselves() {
    let hash = ChangeHash([0; 32]);
    for (why, rule) in [
        (Why::Dep(hash), Rule::B1),
        (Why::Seq, Rule::B2),
        (Why::Previous, Rule::B2),
        (Why::Start(1, 2), Rule::B3),
        (Why::Object(0), Rule::B4),
        (Why::Kind(0), Rule::B4),
        (Why::Depth(0), Rule::B4),
        (Why::Element(0), Rule::B5),
        (Why::Pred(0), Rule::B6),
        (Why::NoCounter(0), Rule::B7),
        (Why::Mark(0), Rule::B8),
        (Why::Weight(0), Rule::B9),
        (Why::Lanes(0), Rule::B9),
        (Why::Fragments, Rule::B9),
    ] {
        assert_eq!(why.rule(), rule, "{why}");
    }
}
