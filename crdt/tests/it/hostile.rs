//! Changes that would take Automerge down, or make a file that never loads: each built by hand, each
//! refused by its rule before Automerge sees it.

use aether_crdt::proto::document::{
    ActorId, Change, Column, ColumnError, DecodeError, MAX_CHUNK, MAX_DEPS, MAX_KEY, MAX_MARKS,
    MAX_OPERATIONS, Rule,
};

use crate::chunks::{AUTHOR, Id, Key, Op, Parts, seal, signed, unsigned};

const OBJECT: Id = (1, 0);

fn decode(bytes: &[u8]) -> Result<(), DecodeError> {
    Change::decode(bytes, &ActorId(AUTHOR)).map(|_| ())
}

fn refused(parts: &Parts) -> DecodeError {
    decode(&parts.bytes()).unwrap_err()
}

fn refused_ops(ops: &[Op]) -> DecodeError {
    refused(&Parts::of(ops))
}

fn accepted(ops: &[Op]) {
    let bytes = Parts::of(ops).bytes();
    assert_eq!(decode(&bytes), Ok(()));
    let theirs = automerge::Change::try_from(&bytes[..]).unwrap();
    assert_eq!(automerge::Change::from(theirs.decode()).raw_bytes(), bytes, "the builder is off");
}

fn leb(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    signed(value, &mut out);
    out
}

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
fn honest_changes_of_the_builder_are_accepted() {
    accepted(&[Op::put("a")]);
    accepted(&[Op::put("a").does(2), Op::insert(OBJECT), Op::insert(OBJECT).value(6, b"text")]);
    accepted(&[Op::put("a").does(3).over(&[(1, 0)])]);
    accepted(&[Op::put("a").does(5).value(4, &leb(-3)).over(&[(1, 0)])]);
    accepted(&[Op::insert(OBJECT).does(7).value(2, &[]).named("bold"), Op::insert(OBJECT).does(7)]);
    let element = Op { insert: false, key: Key::Element((2, 0)), ..Op::insert(OBJECT) };
    accepted(&[element.over(&[(2, 0), (3, 0)])]);
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
fn a_compressed_change_or_a_document_is_refused() {
    let body = Parts::of(&[Op::put("a")]).body();
    for kind in [0, 2, 3, 4, 0xff] {
        assert_eq!(decode(&seal(kind, &body)), Err(DecodeError::Type(kind)));
    }
}

#[test]
fn a_change_of_more_than_a_mebibyte_is_refused() {
    let text = vec![b'a'; MAX_CHUNK];
    assert_eq!(refused_ops(&[Op::put("a").value(6, &text)]), DecodeError::TooLarge);
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
fn a_predecessor_is_taken_once_but_counted_on_often() {
    let over = || Op::put("a").over(&[(1, 0)]);
    assert_eq!(refused_ops(&[over(), over()]), DecodeError::PredTwice);
    assert_eq!(refused_ops(&[over(), over().does(3)]).rule(), Rule::A10);
    let increment = || over().does(5).value(4, &[1]);
    accepted(&[increment(), increment(), over()]);
}

#[test]
fn a_change_without_operations_is_refused() {
    let mut parts = Parts::of(&[Op::put("a")]);
    parts.columns.clear();
    assert_eq!(refused(&parts), DecodeError::Operations);
    assert_eq!(refused(&parts).rule(), Rule::A2);
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
