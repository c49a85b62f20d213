use proptest::prelude::*;

use super::*;

const ALL: [Column; 13] = [
    Column::ObjectActor,
    Column::ObjectCounter,
    Column::KeyActor,
    Column::KeyCounter,
    Column::KeyString,
    Column::Insert,
    Column::Action,
    Column::ValueMeta,
    Column::PredCount,
    Column::PredActor,
    Column::PredCounter,
    Column::Expand,
    Column::MarkName,
];

/// A signed count in LEB128 that fills five bytes, and a value of one.
fn run(count: u32, value: u8) -> [u8; 6] {
    let byte = |place: u32| (count >> (7 * place)) as u8 & 0x7f;
    [byte(0) | 0x80, byte(1) | 0x80, byte(2) | 0x80, byte(3) | 0x80, byte(4), value]
}

/// Inserts of null behind the head of an object: as many as one may write into each column.
fn bomb(count: u32, len: usize) -> (Result<Totals, DecodeError>, u64) {
    let (zero, one) = (run(count, 0), run(count, 1));
    let inserts = [&[0], &zero[..5]].concat();
    let columns = Columns::of(&[
        (Column::ObjectActor, &zero),
        (Column::ObjectCounter, &one),
        (Column::KeyCounter, &zero),
        (Column::Insert, &inserts),
        (Column::Action, &one),
        (Column::ValueMeta, &zero),
        (Column::PredCount, &zero),
    ]);
    let mut steps = 0;
    (scan(&columns, 1, len, &mut steps), steps)
}

#[test]
fn a_bomb_is_refused_at_its_first_run() {
    for len in [101, 1 << 20] {
        assert_eq!(bomb(1 << 28, len), (Err(DecodeError::Operations), 1));
        assert_eq!(bomb((1 << 29) - 1, len), (Err(DecodeError::Operations), 1));
    }
}

/// Bytes that often are a column: small counts and few values.
fn column() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => 0_u8..4, 4 => 0x7c_u8..0x80, 1 => any::<u8>()];
    proptest::collection::vec(byte, 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_scan_takes_no_more_steps_than_there_are_bytes(
        columns in proptest::collection::vec(column(), ALL.len()),
        cut in 0..ALL.len(),
    ) {
        // The columns that must be there come first in the walk: right ones let it go further.
        let mut columns = columns;
        columns[6] = vec![2, 1];
        if cut % 2 == 0 {
            columns[8] = vec![2, 0];
            columns[0].clear();
            columns[2].clear();
        }
        let named: Vec<(Column, &[u8])> =
            ALL.into_iter().zip(columns.iter().map(Vec::as_slice)).collect();
        let bytes: usize = columns.iter().map(Vec::len).sum();
        let mut steps = 0;
        let _ = scan(&Columns::of(&named), 2, bytes, &mut steps);
        prop_assert!(steps <= bytes as u64, "{steps} steps for {bytes} bytes");
    }
}

#[test]
fn a_row_takes_no_more_memory_than_documented() {
    assert!(size_of::<super::super::Row<'_>>() <= 112);
}
