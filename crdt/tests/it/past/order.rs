//! B1 to B3: what a change builds on, and how it counts.

use aether_crdt::proto::document::{ActorId, Change, ChangeHash, Index, Why};

use super::{NEXT, Past, S, change, past};
use crate::chunks::{Op, Parts};

fn put() -> [Op; 1] {
    [Op::put("a")]
}

#[test]
fn a_dependency_must_be_an_effective_change() {
    let (past, first) = past();
    let next: u64 = NEXT.into();
    assert_eq!(past.verdict(&change(1, 2, next, &[first], &put())), Ok(()));
    let unknown = [9; 32];
    let why = Why::Dep(ChangeHash(unknown));
    assert_eq!(past.verdict(&change(1, 2, next, &[first, unknown], &put())), Err(why));
    assert_eq!(past.verdict(&change(2, 1, next, &[unknown], &put())), Err(why));
}

#[test]
fn a_dependency_that_the_entry_does_not_name_is_none() {
    let (past, first) = past();
    let bytes = change(2, 1, NEXT.into(), &[first], &put()).bytes();
    let next = Change::decode(&bytes, &ActorId([2; 16])).unwrap();
    let why = Why::Dep(ChangeHash(first));
    let judged = past.index.judge(&next, u64::MAX, |dep| dep.0 != first);
    assert_eq!(judged.map(|_| ()), Err(why));
    let judged = past.index.judge(&next, u64::MAX, |dep| dep.0 == first);
    assert_eq!(judged.map(|_| ()), Ok(()));
    let alone = Index::default().judge(&next, u64::MAX, |_| true);
    assert_eq!(alone.map(|_| ()), Err(why), "the same where it has not arrived");
}

#[test]
fn a_gap_in_the_sequence_is_void_and_so_is_a_repetition() {
    let (past, first) = past();
    let with = |by, seq| past.verdict(&change(by, seq, NEXT.into(), &[first], &put()));
    assert_eq!(with(1, 2), Ok(()));
    assert_eq!(with(2, 1), Ok(()));
    for (by, seq) in [(1, 0), (1, 1), (1, 3), (1, u64::MAX), (2, 0), (2, 2), (2, 1 << 32 | 1)] {
        assert_eq!(with(by, seq), Err(Why::Seq), "{by} {seq}");
    }
}

#[test]
fn a_change_depends_on_the_one_before_it() {
    let (mut past, first) = past();
    let next: u64 = NEXT.into();
    let second = past.add(&change(2, 1, next, &[first], &put()));
    let with =
        |by, seq, start, deps: &[[u8; 32]]| past.verdict(&change(by, seq, start, deps, &put()));
    // Not even if it is in the past all the same: Automerge always names it.
    assert_eq!(with(1, 2, next + 1, &[second]), Err(Why::Previous));
    assert_eq!(with(1, 2, next + 1, &[first, second]), Ok(()));
    assert_eq!(with(2, 2, next, &[first]), Err(Why::Previous));
    assert_eq!(with(2, 2, 1, &[]), Err(Why::Previous));
    assert_eq!(with(2, 2, next + 1, &[second]), Ok(()));
}

#[test]
fn operations_are_numbered_from_the_end_of_the_past() {
    let (past, first) = past();
    let next: u64 = NEXT.into();
    let with = |start| past.verdict(&change(2, 1, start, &[first], &put()));
    assert_eq!(with(next), Ok(()));
    for start in [1, next - 1, next + 1, (1 << 31) - 1] {
        assert_eq!(with(start), Err(Why::Start(start as u32, NEXT)));
    }
    assert_eq!(past.verdict(&change(2, 1, 1, &[], &put())), Ok(()));
    let why = Why::Start(NEXT, 1);
    assert_eq!(past.verdict(&change(2, 1, next, &[], &put())), Err(why));
}

#[test]
fn what_was_written_at_once_is_not_in_the_past() {
    let (mut past, first) = past();
    let next: u64 = NEXT.into();
    let own = past.add(&change(1, 2, next, &[first], &[Op::put("b")]));
    let foreign = |deps: &[[u8; 32]], start, counter| -> Parts {
        let over = Op::put("b").over(&[(counter, 1)]);
        Parts { others: vec![vec![1; 16]], ..change(2, 1, start, deps, &[over]) }
    };
    assert_eq!(past.verdict(&foreign(&[own], next + 1, NEXT)), Ok(()));
    assert_eq!(past.verdict(&foreign(&[first], next, NEXT)), Err(Why::Pred(0)));
    assert_eq!(past.verdict(&foreign(&[], 1, NEXT)), Err(Why::Pred(0)));
    let third = past.add(&change(3, 1, next, &[first], &[Op::put("c")]));
    let over = Op::put("c").over(&[(NEXT, 1)]);
    let others = vec![vec![3; 16]];
    let fourth = |deps: &[[u8; 32]]| {
        let over = std::slice::from_ref(&over);
        Parts { others: others.clone(), ..change(4, 1, next + 1, deps, over) }
    };
    assert_eq!(past.verdict(&fourth(&[own])), Err(Why::Pred(0)));
    assert_eq!(past.verdict(&fourth(&[third])), Ok(()));
    assert_eq!(past.verdict(&fourth(&[own, third])), Ok(()));
}

#[test]
fn an_actor_that_has_written_nothing_has_nothing_to_name() {
    let (past, first) = past();
    for ops in
        [Op::put("s").over(&[(S.0, 1)]), Op::insert((1, 1)), super::behind(super::TEXT, (6, 1))]
    {
        let mut parts = change(1, 2, NEXT.into(), &[first], &[ops]);
        parts.others = vec![vec![8; 16]];
        assert!(past.verdict(&parts).is_err());
    }
}

#[test]
fn a_void_change_leaves_no_trace_and_voids_what_builds_on_it() {
    let (mut past, first) = past();
    let next: u64 = NEXT.into();
    let void = change(1, 2, next, &[first], &[Op::put("new"), Op::put("s").over(&[(9, 0)])]);
    assert_eq!(past.verdict(&void), Err(Why::Pred(1)));
    let hash = automerge::Change::try_from(&void.bytes()[..]).unwrap().hash().0;
    let after = change(1, 3, next + 2, &[hash], &put());
    assert_eq!(past.verdict(&after), Err(Why::Dep(ChangeHash(hash))));
    past.add(&change(1, 2, next, &[first], &[Op::put("new")]));
    assert_eq!(past.index.len(), 2);
}

#[test]
#[should_panic(expected = "not the one that judged")]
fn a_verdict_is_of_no_use_once_another_change_was_added() {
    let Past { mut index, .. } = Past::default();
    let bytes = |by| change(by, 1, 1, &[], &put()).bytes();
    let (one, other) = (super::judge(&index, &bytes(1)), super::judge(&index, &bytes(2)));
    index.apply(one.unwrap());
    index.apply(other.unwrap());
}
