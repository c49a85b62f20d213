//! Ids, values, actions and their shapes.

use aether_crdt::proto::document::{Column, ColumnError, DecodeError, MAX_MARKS, Rule};

use super::{OBJECT, accepted, decode, leb, refused, refused_ops};
use crate::chunks::{Key, Op, Parts};

#[test]
fn a_delete_or_an_increment_of_nothing_is_refused() {
    assert_eq!(refused_ops(&[Op::put("a").does(3)]), DecodeError::Shape(0));
    assert_eq!(refused_ops(&[Op::put("a").does(5).value(4, &[1])]), DecodeError::Shape(0));
}

#[test]
fn a_key_that_does_not_go_with_the_operation_is_refused() {
    let insert_at_string = Op { insert: true, ..Op::put("a") };
    assert_eq!(refused_ops(&[insert_at_string]), DecodeError::Shape(0));
    let set_the_head = Op { insert: false, ..Op::insert(OBJECT) };
    assert_eq!(refused_ops(&[set_the_head]), DecodeError::Shape(0));
    assert_eq!(refused_ops(&[Op::insert(OBJECT).over(&[(1, 0)])]), DecodeError::Shape(0));
    let delete = Op::insert(OBJECT).does(3);
    assert_eq!(refused_ops(&[delete.over(&[(1, 0)])]), DecodeError::Shape(0));
}

#[test]
fn a_field_that_does_not_go_with_the_action_is_refused() {
    let put = || Op::put("a");
    let over = || put().over(&[(1, 0)]);
    for op in [
        put().does(0).value(2, &[]),
        put().does(4).value(6, b"x"),
        over().does(3).value(4, &[1]),
        over().does(5),
        over().does(5).value(3, &[1]),
        over().does(5).value(8, &[1]),
        put().named("bold"),
        Op { expand: true, ..put() },
    ] {
        assert_eq!(refused_ops(&[op]), DecodeError::Shape(0));
    }
}

#[test]
fn predecessors_out_of_the_order_of_actors_bytes_are_refused() {
    // The other actor's bytes are less than the author's, though its index is greater.
    let ordered = Op::put("a").over(&[(1, 1), (1, 0)]);
    let mut parts = Parts::of(&[ordered]);
    parts.others = vec![vec![6; 16]];
    assert_eq!(decode(&parts.bytes()), Ok(()));
    let mut parts = Parts::of(&[Op::put("a").over(&[(1, 0), (1, 1)])]);
    parts.others = vec![vec![6; 16]];
    assert_eq!(refused(&parts), DecodeError::PredOrder);
    assert_eq!(refused_ops(&[Op::put("a").over(&[(2, 0), (1, 0)])]), DecodeError::PredOrder);
    assert_eq!(refused_ops(&[Op::put("a").over(&[(2, 0), (2, 0)])]), DecodeError::PredOrder);
}

#[test]
fn a_number_of_2_to_the_32_is_refused_in_every_id() {
    let mut object = Parts::of(&[Op::insert(OBJECT)]);
    *object.column(0x02) = vec![0x7f, 0x80, 0x80, 0x80, 0x80, 0x10];
    let range = ColumnError::Range;
    assert_eq!(refused(&object), DecodeError::Column(Column::ObjectCounter, range));
    let delta: Vec<u8> = [0x7f].into_iter().chain(leb(1 << 32)).collect();
    let mut key = Parts::of(&[Op { key: Key::Element((1, 0)), ..Op::insert(OBJECT) }]);
    (*key.column(0x13)).clone_from(&delta);
    assert_eq!(refused(&key), DecodeError::Column(Column::KeyCounter, range));
    let mut pred = Parts::of(&[Op::put("a").over(&[(1, 0)])]);
    *pred.column(0x73) = delta;
    assert_eq!(refused(&pred), DecodeError::Column(Column::PredCounter, range));
}

#[test]
fn a_number_of_zero_is_refused_in_every_id() {
    assert_eq!(refused_ops(&[Op::insert((0, 0))]), DecodeError::Object);
    let element = Op { key: Key::Element((0, 0)), ..Op::insert(OBJECT) };
    assert_eq!(refused_ops(&[element]), DecodeError::Key);
    assert_eq!(refused_ops(&[Op::put("a").over(&[(0, 0)])]), DecodeError::PredOrder);
}

#[test]
fn an_id_of_which_half_is_missing_is_refused() {
    let without = |op: Op, spec| {
        let mut parts = Parts::of(&[op]);
        parts.columns.retain(|column| column.0 != spec);
        refused(&parts)
    };
    assert_eq!(without(Op::insert(OBJECT), 0x01), DecodeError::Object);
    assert_eq!(without(Op::insert(OBJECT), 0x02), DecodeError::Object);
    let element = || Op { key: Key::Element((1, 0)), ..Op::insert(OBJECT) };
    assert_eq!(without(element(), 0x11), DecodeError::Key);
    assert_eq!(without(element(), 0x13), DecodeError::Key);
    assert_eq!(without(Op::put("a"), 0x15), DecodeError::Key);
    let pred = || Op::put("a").over(&[(1, 0)]);
    let count = ColumnError::Count;
    assert_eq!(without(pred(), 0x71), DecodeError::Column(Column::PredActor, count));
    assert_eq!(without(pred(), 0x73), DecodeError::Column(Column::PredCounter, count));
    let mut both = Parts::of(&[element()]);
    both.columns.insert(4, (0x15, vec![0x7f, 1, b'a']));
    assert_eq!(refused(&both), DecodeError::Key);
}

#[test]
fn a_table_or_an_action_of_tomorrow_is_refused() {
    for action in [6, 8, 1_000] {
        let error = refused_ops(&[Op::put("a").does(action)]);
        assert_eq!(error, DecodeError::Action(action));
        assert_eq!(error.rule(), Rule::A7);
    }
}

#[test]
fn a_value_of_tomorrow_or_of_the_wrong_length_is_refused() {
    for kind in 10..16 {
        assert_eq!(refused_ops(&[Op::put("a").value(kind, b"x")]), DecodeError::ValueType(kind));
    }
    let range = DecodeError::Column(Column::ValueMeta, ColumnError::Range);
    for (kind, value) in [(0, &b"x"[..]), (1, b"x"), (2, b"x"), (3, b""), (5, b"1234567")] {
        assert_eq!(refused_ops(&[Op::put("a").value(kind, value)]), range);
    }
    for (kind, value, error) in [
        (3, &[0x80, 0][..], ColumnError::Overlong),
        (4, &[0xff, 0x7f], ColumnError::Overlong),
        (4, &[1, 1], ColumnError::Range),
        (8, &[0x80], ColumnError::Truncated),
        (6, &[0xff], ColumnError::Text),
    ] {
        let error = DecodeError::Column(Column::Value, error);
        assert_eq!(refused_ops(&[Op::put("a").value(kind, value)]), error);
    }
}

#[test]
fn counters_that_could_overflow_together_are_refused() {
    let start = |value| Parts::of(&[Op::put("a").value(8, &leb(value))]);
    let by = |value| Parts::of(&[Op::put("a").does(5).value(4, &leb(value)).over(&[(1, 0)])]);
    for value in [i64::MIN, -(1 << 53) - 1, (1 << 53) + 1, i64::MAX] {
        assert_eq!(refused(&start(value)), DecodeError::Counter);
    }
    for value in [i64::MIN, -(1 << 32) - 1, (1 << 32) + 1, i64::MAX] {
        assert_eq!(refused(&by(value)), DecodeError::Increment);
    }
    for sign in [-1, 1] {
        assert_eq!(decode(&start(sign << 53).bytes()), Ok(()));
        assert_eq!(decode(&by(sign << 32).bytes()), Ok(()));
    }
}

#[test]
fn marks_without_end_without_begin_turned_round_or_torn_are_refused() {
    let begin = || Op::insert(OBJECT).does(7).value(2, &[]).named("bold");
    let end = || Op::insert(OBJECT).does(7);
    let elsewhere = Op { object: Some((2, 0)), ..end() };
    accepted(&[begin(), end(), begin(), end()]);
    assert_eq!(refused_ops(&[begin()]), DecodeError::Shape(0));
    assert_eq!(refused_ops(&[end()]), DecodeError::Shape(0));
    assert_eq!(refused_ops(&[end(), begin()]), DecodeError::Shape(0));
    assert_eq!(refused_ops(&[begin(), begin(), end(), end()]), DecodeError::Shape(1));
    assert_eq!(refused_ops(&[begin(), elsewhere]), DecodeError::Shape(1));
    assert_eq!(refused_ops(&[begin(), Op::insert(OBJECT), end()]), DecodeError::Shape(1));
    assert_eq!(refused_ops(&[begin(), end().value(2, &[])]), DecodeError::Shape(1));
}

#[test]
fn marks_are_bounded_in_name_value_and_number() {
    let begin = || Op::insert(OBJECT).does(7).value(2, &[]).named("bold");
    let end = || Op::insert(OBJECT).does(7);
    assert_eq!(refused_ops(&[begin().named(""), end()]), DecodeError::MarkName);
    assert_eq!(refused_ops(&[begin().named(&"n".repeat(129)), end()]), DecodeError::MarkName);
    accepted(&[begin().named(&"n".repeat(128)).value(6, &[b'v'; 4_096]), end()]);
    let long = begin().value(6, &[b'v'; 4_097]);
    assert_eq!(refused_ops(&[long, end()]), DecodeError::MarkValue);
    let marks = |count| -> Vec<Op> { (0..count).flat_map(|_| [begin(), end()]).collect() };
    accepted(&marks(MAX_MARKS));
    assert_eq!(refused_ops(&marks(MAX_MARKS + 1)), DecodeError::Marks);
}

#[test]
fn a_predecessor_is_taken_once_but_counted_on_often() {
    let over = || Op::put("a").over(&[(1, 0)]);
    assert_eq!(refused_ops(&[over(), over()]), DecodeError::PredTwice);
    assert_eq!(refused_ops(&[over(), over().does(3)]).rule(), Rule::A10);
    let increment = || over().does(5).value(4, &[1]);
    accepted(&[increment(), increment(), over()]);
}
