//! B4 to B7: objects, elements, predecessors and counters.

use aether_crdt::proto::document::{Why, rules::MAX_DEPTH};

use super::{
    A, B, BEGIN, C, COUNTER, END, LIST, MAP, N, NEXT, NULL, S, TEXT, at, behind, change, delete,
    increment, letter, past, verdict, verdict_on_others,
};
use crate::chunks::{Id, Key, Op, Parts};

fn key(object: Id, key: &str) -> Op {
    Op { object: Some(object), ..Op::put(key) }
}

#[test]
fn an_object_that_nobody_made_or_that_is_a_scalar_is_none() {
    assert_eq!(verdict(&[key(MAP, "a")]), Ok(()));
    for missing in [NULL, S, N, A, BEGIN, (NEXT, 0), (NEXT + 1, 0), (1_000, 0), (u32::MAX, 0)] {
        assert_eq!(verdict(&[key(missing, "a")]), Err(Why::Object(0)), "{missing:?}");
        assert_eq!(verdict(&[Op::insert(missing)]), Err(Why::Object(0)), "{missing:?}");
    }
}

#[test]
fn an_object_can_be_used_by_later_operations_of_the_change_that_makes_it() {
    let own = (NEXT, 0);
    assert_eq!(verdict(&[Op::put("new").does(0), key(own, "a")]), Ok(()));
    assert_eq!(verdict(&[key((NEXT + 1, 0), "a"), Op::put("new").does(0)]), Err(Why::Object(0)));
    assert_eq!(verdict(&[Op::put("new"), key(own, "a")]), Err(Why::Object(1)));
    assert_eq!(verdict(&[Op::put("new").does(2), key(own, "a")]), Err(Why::Kind(1)));
    assert_eq!(verdict(&[Op::put("new").does(2), Op::insert(own)]), Ok(()));
}

#[test]
fn a_key_on_a_list_or_an_element_on_a_map_is_void() {
    for object in [LIST, TEXT] {
        assert_eq!(verdict(&[key(object, "a")]), Err(Why::Kind(0)));
        assert_eq!(verdict(&[key(object, "a").does(0)]), Err(Why::Kind(0)));
        assert_eq!(verdict(&[delete(key(object, "a")).over(&[S])]), Err(Why::Kind(0)));
    }
    assert_eq!(verdict(&[Op::insert(MAP)]), Err(Why::Kind(0)));
    assert_eq!(verdict(&[behind(MAP, NULL)]), Err(Why::Kind(0)));
    let root = Op { object: None, ..Op::insert(MAP) };
    assert_eq!(verdict(&[root]), Err(Why::Kind(0)));
}

#[test]
fn a_text_takes_strings_and_blocks_and_nothing_else() {
    assert_eq!(verdict(&[letter(behind(TEXT, A), "x")]), Ok(()));
    assert_eq!(verdict(&[letter(behind(TEXT, A), "several")]), Ok(()));
    assert_eq!(verdict(&[behind(TEXT, A).does(0), key((NEXT, 0), "type")]), Ok(()));
    for op in [
        behind(TEXT, A),
        letter(behind(TEXT, A), ""),
        behind(TEXT, A).value(8, &[0]),
        behind(TEXT, A).does(2),
        behind(TEXT, A).does(4),
        letter(at(TEXT, A), "x").over(&[A]),
        at(TEXT, A).does(0).over(&[A]),
        increment(at(TEXT, A)).over(&[A]),
    ] {
        assert_eq!(verdict(std::slice::from_ref(&op)), Err(Why::Kind(0)), "{op:?}");
    }
    assert_eq!(verdict(&[delete(at(TEXT, A)).over(&[A])]), Ok(()));
}

#[test]
fn a_list_takes_everything_but_marks() {
    let element = behind(LIST, NULL);
    for op in [element.clone(), element.clone().does(0), element.does(4)] {
        assert_eq!(verdict(&[op]), Ok(()));
    }
    for op in [at(LIST, NULL), at(LIST, NULL).does(2), delete(at(LIST, NULL))] {
        assert_eq!(verdict(&[op.over(&[NULL])]), Ok(()));
    }
    assert_eq!(verdict(&[increment(at(LIST, COUNTER)).over(&[COUNTER])]), Ok(()));
    let marks = [super::begin(behind(LIST, NULL)), super::end(behind(LIST, COUNTER))];
    assert_eq!(verdict(&marks), Err(Why::Kind(0)));
}

/// Maps, each within the one before, the first in the root.
fn nested(depth: u32) -> Vec<Op> {
    let deeper = |level| match level {
        0 => Op::put("deep").does(0),
        _ => key((NEXT + level - 1, 0), "deep").does(0),
    };
    (0..depth).map(deeper).collect()
}

#[test]
fn objects_lie_within_each_other_so_deep_and_no_deeper() {
    assert_eq!(verdict(&nested(MAX_DEPTH)), Ok(()));
    let deepest = MAX_DEPTH as usize;
    assert_eq!(verdict(&nested(MAX_DEPTH + 1)), Err(Why::Depth(deepest)));
    assert_eq!(verdict(&nested(50_000)), Err(Why::Depth(deepest)));
    // Nor over several changes.
    let (mut past, first) = past();
    let second = past.add(&change(1, 2, NEXT.into(), &[first], &nested(MAX_DEPTH)));
    let last = NEXT + MAX_DEPTH;
    let with = |op| past.verdict(&change(1, 3, last.into(), &[second], &[op]));
    assert_eq!(with(key((last - 1, 0), "deeper").does(0)), Err(Why::Depth(0)));
    assert_eq!(with(key((last - 1, 0), "scalar")), Ok(()));
    assert_eq!(with(key((last - 2, 0), "beside").does(0)), Ok(()));
}

#[test]
fn an_insert_behind_a_missing_element_or_one_of_another_object_is_void() {
    let text = |element| verdict(&[letter(behind(TEXT, element), "x")]);
    for element in [A, B, C, BEGIN, END] {
        assert_eq!(text(element), Ok(()));
    }
    for element in [NULL, COUNTER, MAP, S, (NEXT, 0), (NEXT + 1, 0), (u32::MAX, 0)] {
        assert_eq!(text(element), Err(Why::Element(0)), "{element:?}");
    }
    assert_eq!(verdict(&[behind(LIST, A)]), Err(Why::Element(0)));
    let own = [letter(behind(TEXT, A), "x"), letter(behind(TEXT, (NEXT, 0)), "y")];
    assert_eq!(verdict(&own), Ok(()));
    // What replaces an element is none itself.
    let update = [at(LIST, NULL).over(&[NULL]), behind(LIST, (NEXT, 0))];
    assert_eq!(verdict(&update), Err(Why::Element(1)));
    // A hole: what a delete or an increment left.
    let hole = [delete(at(LIST, NULL)).over(&[NULL]), behind(LIST, (NEXT, 0))];
    assert_eq!(verdict(&hole), Err(Why::Element(1)));
}

#[test]
fn a_mark_is_not_deleted() {
    for mark in [BEGIN, END] {
        assert_eq!(verdict(&[delete(at(TEXT, mark)).over(&[mark])]), Err(Why::Element(0)));
        assert_eq!(verdict(&[delete(at(TEXT, A)).over(&[mark])]), Err(Why::Pred(0)));
    }
}

#[test]
fn a_predecessor_is_at_the_same_place() {
    assert_eq!(verdict(&[Op::put("s").over(&[S])]), Ok(()));
    assert_eq!(verdict(&[Op::put("s")]), Ok(()), "none: as if it wasn't known");
    assert_eq!(verdict(&[Op::put("map").over(&[MAP])]), Ok(()));
    assert_eq!(verdict(&[delete(Op::put("map")).over(&[MAP])]), Ok(()));
    for pred in [MAP, N, A, NULL, BEGIN, (NEXT, 0), (NEXT + 5, 0), (u32::MAX, 0)] {
        assert_eq!(verdict(&[Op::put("s").over(&[pred])]), Err(Why::Pred(0)), "{pred:?}");
        assert_eq!(verdict(&[delete(Op::put("s")).over(&[pred])]), Err(Why::Pred(0)), "{pred:?}");
    }
    assert_eq!(verdict(&[key(MAP, "s").over(&[S])]), Err(Why::Pred(0)), "another object's");
    assert_eq!(verdict(&[Op::put("new").over(&[S])]), Err(Why::Pred(0)), "an unknown key's");
    for pred in [COUNTER, LIST, S, A] {
        assert_eq!(verdict(&[at(LIST, NULL).over(&[pred])]), Err(Why::Pred(0)), "{pred:?}");
    }
    assert_eq!(verdict(&[delete(at(TEXT, A)).over(&[B])]), Err(Why::Pred(0)));
}

#[test]
fn a_predecessor_can_be_an_earlier_operation_of_the_change() {
    let own = (NEXT, 0);
    assert_eq!(verdict(&[Op::put("new"), Op::put("new").over(&[own])]), Ok(()));
    assert_eq!(verdict(&[Op::put("new"), Op::put("other").over(&[own])]), Err(Why::Pred(1)));
    assert_eq!(verdict(&[Op::put("s").over(&[S]), Op::put("s").over(&[own])]), Ok(()));
    assert_eq!(verdict(&[at(LIST, NULL).over(&[NULL]), at(LIST, NULL).over(&[own])]), Ok(()));
    let elsewhere = [at(LIST, NULL).over(&[NULL]), at(LIST, COUNTER).over(&[own])];
    assert_eq!(verdict(&elsewhere), Err(Why::Pred(1)));
    assert_eq!(verdict(&[behind(LIST, NULL), delete(at(LIST, own)).over(&[own])]), Ok(()));
    // Deletes and increments leave nothing that could be overwritten.
    let deleted = [delete(Op::put("s")).over(&[S]), Op::put("s").over(&[own])];
    assert_eq!(verdict(&deleted), Err(Why::Pred(1)));
    let added = [increment(Op::put("n")).over(&[N]), Op::put("n").over(&[own])];
    assert_eq!(verdict(&added), Err(Why::Pred(1)));
}

#[test]
fn only_counters_are_incremented() {
    assert_eq!(verdict(&[increment(Op::put("n")).over(&[N])]), Ok(()));
    assert_eq!(verdict(&[increment(Op::put("s")).over(&[S])]), Err(Why::NoCounter(0)));
    assert_eq!(verdict(&[increment(Op::put("map")).over(&[MAP])]), Err(Why::NoCounter(0)));
    assert_eq!(verdict(&[increment(at(LIST, NULL)).over(&[NULL])]), Err(Why::NoCounter(0)));
    let own = (NEXT, 0);
    let mixed = [Op::put("n"), increment(Op::put("n")).over(&[N, own])];
    assert_eq!(verdict(&mixed), Err(Why::NoCounter(1)));
    let both = [Op::put("n").value(8, &[5]), increment(Op::put("n")).over(&[N, own])];
    assert_eq!(verdict(&both), Ok(()));
}

#[test]
fn others_may_do_what_the_author_may() {
    assert_eq!(verdict_on_others(&[Op::put("s").over(&[S])]), Ok(()));
    assert_eq!(verdict_on_others(&[letter(behind(TEXT, B), "x")]), Ok(()));
    assert_eq!(verdict_on_others(&[key(MAP, "a")]), Ok(()));
    assert_eq!(verdict_on_others(&[Op::put("n").over(&[S])]), Err(Why::Pred(0)));
    assert_eq!(verdict_on_others(&[behind(TEXT, NULL)]), Err(Why::Kind(0)));
    assert_eq!(verdict_on_others(&[behind(LIST, A)]), Err(Why::Element(0)));
}

#[test]
fn rows_that_one_hides_from_another_may_be_named_together() {
    let (mut past, first) = past();
    let next: u64 = NEXT.into();
    let second = past.add(&change(1, 2, next, &[first], &[Op::put("s").over(&[S])]));
    let over = Op::put("s").over(&[S, (NEXT, 0)]);
    let both = change(1, 3, next + 1, &[second], &[over]);
    assert_eq!(past.verdict(&both), Ok(()));
    let hidden = Op { key: Key::Map("s".into()), ..Op::put("s") }.over(&[S]);
    let parts: Parts = change(1, 3, next + 1, &[second], &[delete(hidden)]);
    assert_eq!(past.verdict(&parts), Ok(()));
}
