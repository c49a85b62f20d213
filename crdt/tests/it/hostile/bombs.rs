//! Few bytes that claim much.

use aether_crdt::proto::document::{
    Column, ColumnError, DecodeError, MAX_CHUNK, MAX_OPERATIONS, Rule,
};

use super::{OBJECT, decode, leb, refused, refused_ops};
use crate::chunks::{AUTHOR, Op, Parts, seal, unsigned};

/// A run of so many `value`.
fn run(count: u64, value: u64) -> Vec<u8> {
    let mut out = leb(count as i64);
    unsigned(value, &mut out);
    out
}

/// A change whose columns claim `count` inserts of null behind the head of an object.
fn bomb(count: u64) -> Parts {
    let mut parts = Parts::of(&[Op::insert(OBJECT)]);
    let mut head = leb(count as i64);
    head.push(0);
    let mut inserts = vec![0];
    unsigned(count, &mut inserts);
    parts.columns = vec![
        (0x01, run(count, 0)),
        (0x02, run(count, 1)),
        (0x13, head),
        (0x34, inserts),
        (0x42, run(count, 1)),
        (0x56, run(count, 0)),
        (0x70, run(count, 0)),
    ];
    parts
}

#[test]
fn a_hundred_bytes_that_claim_130_million_inserts_are_refused_by_their_runs() {
    let bytes = bomb(130_000_000).bytes();
    assert!(bytes.len() < 110, "{} bytes", bytes.len());
    assert_eq!(decode(&bytes), Err(DecodeError::Operations));
}

#[test]
fn a_hundred_bytes_that_claim_a_million_inserts_are_refused_by_their_runs() {
    assert_eq!(refused(&bomb(1_000_000)), DecodeError::Operations);
}

#[test]
fn a_hundred_bytes_within_the_cap_of_operations_are_refused_for_what_they_would_cost() {
    let bytes = bomb(MAX_OPERATIONS as u64).bytes();
    assert_eq!(decode(&bytes), Err(DecodeError::Rows));
    assert_eq!(decode(&bomb(4_096).bytes()), Ok(()));
}

#[test]
fn counts_that_overflow_when_added_are_refused() {
    for column in [0x01, 0x02, 0x13, 0x42, 0x56, 0x70] {
        let mut parts = bomb(3);
        let mut runs = leb(i64::MAX);
        runs.push(1);
        runs.extend(leb(i64::MAX));
        runs.push(2);
        *parts.column(column) = runs;
        let rule = refused(&parts).rule();
        assert!(matches!(rule, Rule::A1 | Rule::A2 | Rule::A3 | Rule::A6), "{column:#x}: {rule:?}");
    }
    let mut parts = bomb(3);
    *parts.column(0x34) = [0xff; 9].into_iter().chain([1, 1]).collect();
    assert_eq!(refused(&parts), DecodeError::Column(Column::Insert, ColumnError::Count));
}

#[test]
fn predecessors_without_number_are_refused_by_their_runs() {
    for count in [5_000, u64::MAX] {
        let mut parts = Parts::of(&[Op::put("a").does(3).over(&[(1, 0)])]);
        *parts.column(0x70) = leb(-1);
        unsigned(count, parts.column(0x70));
        assert_eq!(refused(&parts), DecodeError::Preds);
    }
}

#[test]
fn a_change_of_more_than_a_mebibyte_is_refused() {
    let text = vec![b'a'; MAX_CHUNK];
    assert_eq!(refused_ops(&[Op::put("a").value(6, &text)]), DecodeError::TooLarge);
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_without_making_room_for_it() {
    // Number of actors, then of columns, as large as they come.
    let mut body = vec![0, 16];
    body.extend(AUTHOR);
    body.extend([1, 1, 0, 0]);
    let mut actors = body.clone();
    unsigned(u64::MAX, &mut actors);
    assert_eq!(decode(&seal(1, &actors)), Err(DecodeError::Field(ColumnError::Truncated)));
    let mut columns = body;
    columns.push(0);
    unsigned(u64::MAX, &mut columns);
    assert_eq!(decode(&seal(1, &columns)), Err(DecodeError::Field(ColumnError::Truncated)));
}
