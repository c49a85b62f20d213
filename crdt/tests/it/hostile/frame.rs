//! Header, fields, list of columns, and how columns are encoded.

use aether_crdt::proto::document::{Column, ColumnError, DecodeError, MAX_DEPS, MAX_KEY, Rule};

use super::{OBJECT, accepted, decode, leb, refused, refused_ops};
use crate::chunks::{AUTHOR, Key, Op, Parts, seal};

#[test]
fn a_compressed_change_or_a_document_is_refused() {
    let body = Parts::of(&[Op::put("a")]).body();
    for kind in [0, 2, 3, 4, 0xff] {
        assert_eq!(decode(&seal(kind, &body)), Err(DecodeError::Type(kind)));
    }
}

#[test]
fn a_wrong_checksum_magic_or_length_is_refused() {
    let bytes = Parts::of(&[Op::put("a")]).bytes();
    let spoilt = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        decode(&bytes).unwrap_err()
    };
    assert_eq!(spoilt(0), DecodeError::Magic);
    assert_eq!(spoilt(7), DecodeError::Checksum);
    assert_eq!(spoilt(9), DecodeError::Length);
    assert_eq!(spoilt(bytes.len() - 1), DecodeError::Checksum);
}

#[test]
fn operations_near_the_end_of_numbers_are_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    for start_op in [(1 << 31), u64::from(u32::MAX) - 1, 1 << 32, u64::MAX] {
        parts.start_op = start_op;
        assert_eq!(refused(&parts), DecodeError::OperationNumber);
    }
    parts.start_op = (1 << 31) - 1;
    assert_eq!(decode(&parts.bytes()), Ok(()));
    parts.start_op = 0;
    assert_eq!(refused(&parts), DecodeError::Field(ColumnError::Range));
}

#[test]
fn a_change_under_anothers_actor_is_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    parts.actor = vec![8; 16];
    assert_eq!(refused(&parts), DecodeError::Actor);
    assert_eq!(refused(&parts).rule(), Rule::A5);
    for len in [0, 15, 17, 32] {
        parts.actor = vec![7; len];
        assert_eq!(refused(&parts), DecodeError::ActorLength);
    }
}

#[test]
fn an_index_that_names_no_actor_is_refused() {
    let element = Op { key: Key::Element((1, 1)), ..Op::insert(OBJECT) };
    for op in [Op::insert((1, 1)), element, Op::put("a").over(&[(1, 1)])] {
        assert_eq!(refused_ops(std::slice::from_ref(&op)), DecodeError::ActorIndex);
        let mut parts = Parts::of(&[op]);
        parts.others.push(vec![8; 16]);
        assert_eq!(decode(&parts.bytes()), Ok(()));
    }
}

#[test]
fn an_actor_that_no_operation_names_is_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    parts.others.push(vec![8; 16]);
    assert_eq!(refused(&parts), DecodeError::UnusedActor);
}

#[test]
fn actors_out_of_order_are_refused() {
    let mut parts = Parts::of(&[Op::put("a").over(&[(1, 1), (1, 2)])]);
    parts.others = vec![vec![8; 16], vec![9; 16]];
    assert_eq!(decode(&parts.bytes()), Ok(()));
    parts.others.reverse();
    assert_eq!(refused(&parts), DecodeError::ActorOrder);
    parts.others = vec![vec![8; 16]; 2];
    assert_eq!(refused(&parts), DecodeError::ActorOrder);
    parts.others = vec![AUTHOR.to_vec(), vec![9; 16]];
    assert_eq!(refused(&parts), DecodeError::ActorOrder);
}

#[test]
fn bytes_behind_the_columns_are_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    parts.seq = 2;
    for extra in [&[1, 0][..], &[0], &[1, 1, 65]] {
        parts.extra = extra.to_vec();
        assert_eq!(refused(&parts), DecodeError::Extra);
    }
}

#[test]
fn columns_that_are_unknown_empty_compressed_twice_or_out_of_order_are_refused() {
    let parts = Parts::of(&[Op::put("a")]);
    let with = |at: usize, column: (u64, Vec<u8>)| {
        let mut parts = parts.clone();
        parts.columns.insert(at, column);
        refused(&parts)
    };
    assert_eq!(with(5, (0xb0, vec![2, 0])), DecodeError::UnknownColumn(0xb0));
    assert_eq!(with(0, (0x01, vec![])), DecodeError::UnknownColumn(0x01));
    assert_eq!(with(0, (0x15, vec![0x7f, 1, 97])), DecodeError::UnknownColumn(0x15));
    assert_eq!(with(1, (0x01, vec![0x7f, 0])), DecodeError::UnknownColumn(0x01));
    let mut deflated = parts.clone();
    deflated.columns[2].0 |= 8;
    assert_eq!(refused(&deflated), DecodeError::UnknownColumn(0x4a));
    let mut swapped = parts.clone();
    swapped.columns.swap(1, 2);
    assert_eq!(refused(&swapped), DecodeError::UnknownColumn(0x34));
}

#[test]
fn a_column_that_says_nothing_must_be_absent() {
    let blank = |spec, at, bytes: &[u8]| {
        let mut parts = Parts::of(&[Op::put("a")]);
        parts.columns.insert(at, (spec, bytes.to_vec()));
        refused(&parts)
    };
    let error = |column| DecodeError::Column(column, ColumnError::Blank);
    assert_eq!(blank(0x01, 0, &[0, 1]), error(Column::ObjectActor));
    assert_eq!(blank(0x94, 5, &[1]), error(Column::Expand));
    assert_eq!(blank(0xa5, 5, &[0, 1]), error(Column::MarkName));
}

#[test]
fn a_column_that_is_too_short_or_too_long_is_refused() {
    for spec in [0x15, 0x34, 0x56, 0x70] {
        let mut parts = Parts::of(&[Op::put("a"), Op::put("a").over(&[(1, 0)])]);
        let column = match spec {
            0x34 => vec![3],
            _ => [3, 1, 97][..2 + usize::from(spec == 0x15)].to_vec(),
        };
        *parts.column(spec) = column;
        let error = refused(&parts);
        assert!(matches!(error, DecodeError::Column(_, ColumnError::Count)), "{spec:#x}: {error}");
    }
    let mut parts = Parts::of(&[Op::put("a").value(6, b"text")]);
    parts.column(0x57).push(0);
    assert_eq!(refused(&parts), DecodeError::Column(Column::Value, ColumnError::Count));
}

#[test]
fn runs_that_automerge_would_write_otherwise_are_refused_in_every_column() {
    let ops = [Op::put("a"), Op::put("a").over(&[(1, 0)]), Op::put("a").over(&[(2, 0)])];
    let with = |spec, bytes: &[u8]| {
        let mut parts = Parts::of(&ops);
        *parts.column(spec) = bytes.to_vec();
        let error = refused(&parts);
        assert!(matches!(error, DecodeError::Column(_, ColumnError::Runs)), "{spec:#x}: {error}");
    };
    assert_eq!(decode(&Parts::of(&ops).bytes()), Ok(()));
    with(0x15, &[2, 1, 97, 0x7f, 1, 97]);
    with(0x34, &[1, 0, 2]);
    with(0x42, &[2, 1, 0x7f, 1]);
    with(0x42, &[0x7d, 1, 1, 1]);
    with(0x56, &[1, 0, 2, 0]);
    with(0x70, &[0x7f, 0, 0x7e, 1, 1]);
    with(0x71, &[0x7e, 0, 0]);
    with(0x73, &[1, 1, 1, 1]);
}

#[test]
fn times_at_the_ends_of_their_range_are_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    for time in [i64::MIN, -1, 1 << 40, i64::MAX] {
        parts.time = leb(time);
        assert_eq!(refused(&parts), DecodeError::Time);
    }
    for time in [0, (1 << 40) - 1] {
        parts.time = leb(time);
        assert_eq!(decode(&parts.bytes()), Ok(()));
    }
}

#[test]
fn dependencies_message_and_keys_are_bounded() {
    let mut parts = Parts::of(&[Op::put("a")]);
    let dep = |place: usize| {
        let mut dep = [0; 32];
        dep[..8].copy_from_slice(&(place as u64).to_be_bytes());
        dep
    };
    parts.deps = (0..=MAX_DEPS).map(dep).collect();
    assert_eq!(refused(&parts), DecodeError::Deps);
    parts.deps.pop();
    assert_eq!(decode(&parts.bytes()), Ok(()));
    parts.deps = vec![dep(2), dep(1)];
    assert_eq!(refused(&parts), DecodeError::DepOrder);
    parts.deps = vec![dep(1), dep(1)];
    assert_eq!(refused(&parts), DecodeError::DepOrder);
    parts.deps.clear();
    parts.message = vec![b'm'; 1_025];
    assert_eq!(refused(&parts), DecodeError::Message);
    parts.message = vec![0xff];
    assert_eq!(refused(&parts), DecodeError::Field(ColumnError::Text));
    assert_eq!(refused_ops(&[Op::put(&"k".repeat(MAX_KEY + 1))]), DecodeError::KeyLength);
    accepted(&[Op::put(&"k".repeat(MAX_KEY))]);
}

#[test]
fn a_change_without_operations_is_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    parts.columns.clear();
    assert_eq!(refused(&parts), DecodeError::Operations);
    assert_eq!(refused(&parts).rule(), Rule::A2);
}
