//! B9: weight, lanes, and hashes that begin with zero.

use aether_crdt::proto::document::{
    ActorId, Change, Index, Why,
    weight::{DEFAULT_LIMIT, MAX_LANES},
};

use super::{NEXT, Past, TEXT, begin, behind, change, end, past};
use crate::chunks::{Op, Parts};

fn judge(index: &Index, parts: &Parts, limit: u64) -> Result<u64, Why> {
    let bytes = parts.bytes();
    let actor = ActorId(parts.actor.clone().try_into().unwrap());
    let change = Change::decode(&bytes, &actor).unwrap();
    index.judge(&change, limit, |_| true).map(|accepted| accepted.total_weight())
}

/// What the change of [`past`] weighs: twelve operations, three objects, a mark.
const FIRST: u64 = 2 + 12 + 3 * 4 + 64;

#[test]
fn a_document_weighs_what_its_changes_weigh() {
    let (past, first) = past();
    assert_eq!(past.index.weight(), FIRST);
    let with = |ops: &[Op]| {
        judge(&past.index, &change(1, 2, NEXT.into(), &[first], ops), u64::MAX).unwrap() - FIRST
    };
    assert_eq!(with(&[Op::put("a")]), 3);
    assert_eq!(with(&[Op::put("a").does(4)]), 7);
    assert_eq!(with(&[Op::put("s").does(3).over(&[super::S])]), 3);
    assert_eq!(with(&[begin(Op::insert(TEXT)), end(behind(TEXT, (NEXT, 0)))]), 68);
    let alone = change(2, 1, 1, &[], &[Op::put("a")]);
    assert_eq!(judge(&past.index, &alone, u64::MAX), Ok(3), "what is beside it doesn't count");
}

#[test]
fn a_change_fits_into_the_limit_to_the_last_unit() {
    let (mut past, first) = past();
    let next: u64 = NEXT.into();
    let second = past.add(&change(2, 1, next, &[first], &[Op::put("a")]));
    let third = change(1, 2, next + 1, &[first, second], &[Op::put("b")]);
    assert_eq!(judge(&past.index, &third, FIRST + 6), Ok(FIRST + 6));
    assert_eq!(judge(&past.index, &third, FIRST + 5), Err(Why::Weight(FIRST + 6)));
    // One that doesn't build on the second doesn't carry its weight.
    let beside = change(3, 1, next, &[first], &[Op::put("b")]);
    assert_eq!(judge(&past.index, &beside, FIRST + 3), Ok(FIRST + 3));
    assert_eq!(judge(&past.index, &beside, FIRST + 2), Err(Why::Weight(FIRST + 3)));
}

/// A change by the lane of this number, on its own.
fn lane(number: usize) -> Parts {
    let mut actor = vec![0; 16];
    actor[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Parts { actor, ..change(0, 1, 1, &[], &[Op::put("a")]) }
}

#[test]
fn a_change_builds_on_so_many_lanes_and_no_more() {
    let mut index = Index::default();
    let mut deps = Vec::new();
    for number in 0..MAX_LANES {
        let bytes = lane(number).bytes();
        let actor = ActorId(lane(number).actor.try_into().unwrap());
        let first = Change::decode(&bytes, &actor).unwrap();
        let accepted = index.judge(&first, DEFAULT_LIMIT, |_| true).unwrap();
        assert_eq!(accepted.total_weight(), 3);
        index.apply(accepted);
        deps.push(first.hash.0);
    }
    deps.sort_unstable();
    let beside = lane(MAX_LANES);
    assert_eq!(judge(&index, &beside, 3), Ok(3), "it builds on no other");
    let on_all = Parts { deps: deps.clone(), start_op: 2, ..beside };
    assert_eq!(judge(&index, &on_all, u64::MAX), Err(Why::Lanes(MAX_LANES + 1)));
    let on_most = Parts { deps: deps[1..].to_vec(), ..on_all.clone() };
    let before = 3 * (MAX_LANES as u64 - 1);
    assert_eq!(judge(&index, &on_most, u64::MAX), Ok(before + 3 + MAX_LANES as u64 / 256));
    let own = Parts { seq: 2, actor: lane(5).actor, ..on_all };
    assert_eq!(judge(&index, &own, u64::MAX), Ok(3 * MAX_LANES as u64 + 3 + 16));
}

/// The author's next change, by whose time its hash begins with zero, or doesn't.
fn ground(seq: u64, deps: &[[u8; 32]], zero: bool) -> (Parts, [u8; 32]) {
    for time in 0_u16..8_192 {
        let mut parts = change(1, seq, seq, deps, &[Op::put("a")]);
        parts.time = match time {
            0..64 => vec![time as u8],
            _ => vec![(time & 0x7f) as u8 | 0x80, (time >> 7) as u8],
        };
        let bytes = parts.bytes();
        let Ok(change) = Change::decode(&bytes, &ActorId([1; 16])) else { continue };
        if (change.hash.0[0] == 0) == zero {
            return (parts, change.hash.0);
        }
    }
    panic!("no such hash");
}

#[test]
fn who_grinds_hashes_that_begin_with_zero_is_stopped() {
    let Past { mut index, .. } = Past::default();
    let mut deps = Vec::new();
    let mut add = |index: &mut Index, seq, zero| {
        let (parts, hash) = ground(seq, &deps, zero);
        let accepted = super::judge(index, &parts.bytes())?;
        index.apply(accepted);
        deps = vec![hash];
        Ok(())
    };
    (1..=16).for_each(|seq| add(&mut index, seq, true).unwrap());
    assert_eq!(add(&mut index, 17, true), Err(Why::Fragments));
    (17..32).for_each(|seq| add(&mut index, seq, false).unwrap());
    assert_eq!(add(&mut index, 32, true), Ok(()));
    assert_eq!(add(&mut index, 33, true), Err(Why::Fragments));
    assert_eq!(add(&mut index, 33, false), Ok(()));
}
