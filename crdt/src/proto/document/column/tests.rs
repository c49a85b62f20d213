use proptest::prelude::*;

use super::*;

/// Writes LEB128, as the format asks.
fn unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(mut value: i64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn flush(literal: &mut Vec<u64>, out: &mut Vec<u8>) {
    if !literal.is_empty() {
        signed(-(literal.len() as i64), out);
        literal.drain(..).for_each(|value| unsigned(value, out));
    }
}

/// Writes a run-length encoded column, from groups of equal values: an encoder of its own, that
/// shares no line with the reader.
fn rle(values: &[Option<u64>]) -> Vec<u8> {
    let (mut out, mut literal) = (Vec::new(), Vec::new());
    for group in values.chunk_by(|a, b| a == b) {
        match group[0] {
            Some(value) if group.len() == 1 => literal.push(value),
            Some(value) => {
                flush(&mut literal, &mut out);
                signed(group.len() as i64, &mut out);
                unsigned(value, &mut out);
            }
            None => {
                flush(&mut literal, &mut out);
                out.push(0);
                unsigned(group.len() as u64, &mut out);
            }
        }
    }
    flush(&mut literal, &mut out);
    out
}

fn booleans(values: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    if values.first() == Some(&true) {
        out.push(0);
    }
    for group in values.chunk_by(|a, b| a == b) {
        unsigned(group.len() as u64, &mut out);
    }
    out
}

/// All values of a column, if there are at most `max`.
fn read_rle(bytes: &[u8], max: u64) -> Result<Option<Vec<Option<u64>>>, ColumnError> {
    let mut reader = Rle::<u64>::new(bytes);
    let mut values = Vec::new();
    while let Some(run) = reader.next_run()? {
        if run.count > max - values.len() as u64 {
            return Ok(None);
        }
        values.extend((0..run.count).map(|_| run.value));
    }
    Ok(Some(values))
}

fn read_booleans(bytes: &[u8], max: u64) -> Result<Option<Vec<bool>>, ColumnError> {
    let mut reader = Booleans::new(bytes);
    let mut values = Vec::new();
    while let Some((value, count)) = reader.next_run()? {
        if count > max - values.len() as u64 {
            return Ok(None);
        }
        values.extend((0..count).map(|_| value));
    }
    Ok(Some(values))
}

/// Bytes that often are a column: small counts and few values.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        8 => 0_u8..4,
        4 => 0x7c_u8..0x80,
        1 => any::<u8>(),
    ];
    proptest::collection::vec(byte, 0..14)
}

fn values() -> impl Strategy<Value = Vec<Option<u64>>> {
    let value =
        prop_oneof![3 => Just(None), 6 => (0_u64..3).prop_map(Some), 1 => any::<Option<u64>>()];
    proptest::collection::vec(value, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_unsigned_integer_is_read_back(value in any::<u64>(), shift in 0_u32..64) {
        let value = value >> shift;
        let mut bytes = Vec::new();
        unsigned(value, &mut bytes);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.unsigned(), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_signed_integer_is_read_back(value in any::<i64>(), shift in 0_u32..64) {
        let value = value >> shift;
        let mut bytes = Vec::new();
        signed(value, &mut bytes);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.signed(), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn bytes_that_are_read_as_an_integer_are_its_only_encoding(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0x80), Just(0xff),
            Just(0x7f), Just(0x40), Just(0xc0), any::<u8>()], 1..12)
    ) {
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = reader.unsigned() {
            let mut again = Vec::new();
            unsigned(value, &mut again);
            prop_assert_eq!(&again, &bytes[..bytes.len() - reader.rest().len()]);
        }
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = reader.signed() {
            let mut again = Vec::new();
            signed(value, &mut again);
            prop_assert_eq!(&again, &bytes[..bytes.len() - reader.rest().len()]);
        }
    }

    #[test]
    fn what_an_encoder_writes_is_read(values in values()) {
        let bytes = rle(&values);
        prop_assert_eq!(read_rle(&bytes, 1_000), Ok(Some(values.clone())));
        let mut reader = Rle::<u64>::new(&bytes);
        for value in values {
            prop_assert_eq!(reader.next_value(), Ok(value));
        }
        prop_assert_eq!(reader.next_run(), Ok(None));
    }

    #[test]
    fn bytes_that_are_read_as_runs_are_their_only_encoding(bytes in nearly()) {
        if let Ok(Some(values)) = read_rle(&bytes, 1_000) {
            prop_assert_eq!(rle(&values), bytes);
        }
    }

    #[test]
    fn what_an_encoder_writes_of_booleans_is_read(
        values in proptest::collection::vec(any::<bool>(), 0..24)
    ) {
        let bytes = booleans(&values);
        prop_assert_eq!(read_booleans(&bytes, 1_000), Ok(Some(values.clone())));
        let mut reader = Booleans::new(&bytes);
        for value in values {
            prop_assert_eq!(reader.next_value(), Ok(value));
        }
    }

    #[test]
    fn bytes_that_are_read_as_booleans_are_their_only_encoding(bytes in nearly()) {
        if let Ok(Some(values)) = read_booleans(&bytes, 1_000) {
            // A lone zero is no values, which has no column: the count of operations refuses it.
            prop_assert!(booleans(&values) == bytes || (values.is_empty() && bytes == [0]));
        }
    }
}

#[test]
fn a_run_is_one_step_however_long_it_says_it_is() {
    let mut bytes = Vec::new();
    signed(i64::MAX, &mut bytes);
    bytes.push(7);
    let mut reader = Rle::<u64>::new(&bytes);
    let run = Run { value: Some(7), count: i64::MAX.unsigned_abs() };
    assert_eq!(reader.next_run(), Ok(Some(run)));
    assert_eq!(reader.next_run(), Ok(None));
}

#[test]
fn a_literal_that_claims_more_than_there_is_ends_with_the_bytes() {
    let mut bytes = Vec::new();
    signed(i64::MIN, &mut bytes);
    bytes.extend([1, 2, 3]);
    let mut reader = Rle::<u64>::new(&bytes);
    for value in 1..=3 {
        assert_eq!(reader.next_run(), Ok(Some(Run { value: Some(value), count: 1 })));
    }
    assert_eq!(reader.next_run(), Err(ColumnError::Truncated));
}

#[test]
fn runs_that_an_encoder_would_not_write_are_refused() {
    let refused: [&[u8]; 9] = [
        &[1, 5],                // a run of one
        &[2, 5, 2, 5],          // a run split in two
        &[2, 5, 0x7f, 5],       // a literal that goes on with the run's value
        &[0x7f, 5, 2, 5],       // a run of the literal's last value
        &[0x7e, 5, 5],          // equal neighbours in a literal
        &[0x7f, 5, 0x7f, 6],    // a literal behind a literal
        &[0, 1, 0, 1, 0x7f, 5], // nulls behind nulls
        &[0, 0, 0x7f, 5],       // no nulls at all
        &[0x7e, 5, 6, 2, 6],    // as the fourth, in a longer literal
    ];
    for bytes in refused {
        assert_eq!(read_rle(bytes, 100), Err(ColumnError::Runs), "{bytes:?}");
    }
    assert!(read_rle(&[2, 5, 0, 1, 2, 5], 100).is_ok(), "nulls part equal values");
}

#[test]
fn differences_may_not_leave_the_range_of_numbers() {
    let mut sum = Sum::default();
    assert_eq!(sum.add(-1, 1), Err(ColumnError::Range));
    assert_eq!(Sum::default().add(1 << 32, 1), Err(ColumnError::Range));
    assert_eq!(Sum::default().add(i64::MAX, 3), Err(ColumnError::Range));
    assert_eq!(Sum::default().add(1, u64::MAX), Err(ColumnError::Range));
    let mut sum = Sum::default();
    assert_eq!(sum.add(1, u64::from(u32::MAX)), Ok(u32::MAX));
    assert_eq!(sum.add(-1, u64::from(u32::MAX)), Ok(0));
    assert_eq!(sum.add(1, 1 << 32), Err(ColumnError::Range));
}
