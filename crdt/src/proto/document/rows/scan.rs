//! The first pass: adds up runs, and looks at every value once, without expanding anything.

use super::at;
use crate::proto::document::{
    Column, DecodeError, MAX_MARKS, MAX_OPERATIONS, SLACK,
    chunk::Columns,
    column::{Booleans, ColumnError, Item, Rle, Run, Sum},
};

/// Actions: make map 0, set 1, make list 2, delete 3, make text 4, increment 5, make table 6, mark
/// 7. Tables aren't allowed.
const DELETE: u64 = 3;
const TABLE: u64 = 6;
const MARK: u64 = 7;
const UNKNOWN: u64 = 8;

/// How much the second pass will expand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    /// At most [`MAX_OPERATIONS`].
    pub(crate) operations: usize,
    /// At most twice the operations and [`SLACK`].
    pub(crate) preds: usize,
}

/// Whether a column's values can be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nulls {
    Allowed,
    Refused,
}

/// A run-length encoded column that must hold `expected` values.
struct Walk<'a> {
    column: Column,
    bytes: &'a [u8],
    expected: u64,
    nulls: Nulls,
}

impl<'a> Walk<'a> {
    /// Reads run by run, and hands each run of values to `each`. One step for each run and for each
    /// value of a literal; gives up when there are more than expected.
    fn runs<T: Item<'a>>(
        &self,
        steps: &mut u64,
        mut each: impl FnMut(T, u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.bytes.is_empty() && self.nulls == Nulls::Allowed {
            return Ok(());
        }
        let fault = at(self.column);
        let mut rle = Rle::<T>::new(self.bytes);
        let mut total = 0_u64;
        let mut blank = self.nulls == Nulls::Allowed;
        while let Some(Run { value, count }) = rle.next_run().map_err(&fault)? {
            *steps += 1;
            let sum = total.checked_add(count).filter(|sum| *sum <= self.expected);
            total = sum.ok_or_else(|| fault(ColumnError::Count))?;
            match value {
                Some(value) => each(value, count)?,
                None if self.nulls == Nulls::Refused => return Err(fault(ColumnError::Null)),
                None => continue,
            }
            blank = false;
        }
        if total != self.expected {
            return Err(fault(ColumnError::Count));
        }
        if blank { Err(fault(ColumnError::Blank)) } else { Ok(()) }
    }
}

/// Walks all columns. Counts its steps in `steps`: at most one for each byte.
pub(crate) fn scan(
    columns: &Columns<'_>,
    actors: usize,
    len: usize,
    steps: &mut u64,
) -> Result<Totals, DecodeError> {
    let operations = actions(columns, len, steps)?;
    let preds = pred_counts(columns, operations, steps)?;
    let mut used = vec![false; actors];
    let walk = |column, nulls, expected| {
        let bytes = columns.get(column);
        Walk { column, bytes, expected, nulls }
    };
    for (column, nulls, expected) in [
        (Column::ObjectActor, Nulls::Allowed, operations),
        (Column::KeyActor, Nulls::Allowed, operations),
        (Column::PredActor, Nulls::Refused, preds),
    ] {
        walk(column, nulls, expected).runs(steps, |actor: u64, _| {
            let place = usize::try_from(actor).ok();
            let place = place.and_then(|place| used.get_mut(place));
            *place.ok_or(DecodeError::ActorIndex)? = true;
            Ok(())
        })?;
    }
    if used.iter().skip(1).any(|used| !used) {
        return Err(DecodeError::UnusedActor);
    }
    walk(Column::ObjectCounter, Nulls::Allowed, operations).runs(steps, |counter: u64, _| {
        let counter = u32::try_from(counter).map_err(|_| ColumnError::Range);
        counter.map(|_| ()).map_err(at(Column::ObjectCounter))
    })?;
    for (column, nulls, expected) in [
        (Column::KeyCounter, Nulls::Allowed, operations),
        (Column::PredCounter, Nulls::Refused, preds),
    ] {
        let mut sum = Sum::default();
        walk(column, nulls, expected).runs(steps, |delta: i64, count| {
            sum.add(delta, count).map(|_| ()).map_err(at(column))
        })?;
    }
    for column in [Column::KeyString, Column::MarkName] {
        walk(column, Nulls::Allowed, operations).runs(steps, |_: &str, _| Ok(()))?;
    }
    booleans(columns, Column::Insert, operations, steps)?;
    if !columns.get(Column::Expand).is_empty()
        && !booleans(columns, Column::Expand, operations, steps)?
    {
        return Err(at(Column::Expand)(ColumnError::Blank));
    }
    values(columns, operations, steps)?;
    let fits = |count: u64| usize::try_from(count).map_err(|_| DecodeError::Operations);
    Ok(Totals { operations: fits(operations)?, preds: fits(preds)? })
}

/// Counts operations: the column of actions says how many there are (A2, A3, and what A7 says of
/// numbers).
fn actions(columns: &Columns<'_>, len: usize, steps: &mut u64) -> Result<u64, DecodeError> {
    let fault = at(Column::Action);
    let mut rle = Rle::<u64>::new(columns.get(Column::Action));
    let (mut operations, mut deletes, mut marks) = (0_u64, 0_u64, 0_u64);
    while let Some(Run { value, count }) = rle.next_run().map_err(&fault)? {
        *steps += 1;
        let sum = operations.checked_add(count).filter(|sum| *sum <= MAX_OPERATIONS as u64);
        operations = sum.ok_or(DecodeError::Operations)?;
        // Counts are capped by what has been added to the sum, so these can't overflow.
        match value.ok_or_else(|| fault(ColumnError::Null))? {
            DELETE => deletes += count,
            MARK => marks += count,
            action @ (TABLE | UNKNOWN..) => return Err(DecodeError::Action(action)),
            _ => {}
        }
    }
    if operations == 0 {
        return Err(DecodeError::Operations);
    }
    if operations - deletes > len.saturating_add(SLACK) as u64 {
        return Err(DecodeError::Rows);
    }
    if marks > 2 * MAX_MARKS as u64 {
        return Err(DecodeError::Marks);
    }
    Ok(operations)
}

/// Counts predecessors (A3).
fn pred_counts(
    columns: &Columns<'_>,
    operations: u64,
    steps: &mut u64,
) -> Result<u64, DecodeError> {
    let column = Column::PredCount;
    let bytes = columns.get(column);
    let mut preds = 0_u64;
    Walk { column, bytes, expected: operations, nulls: Nulls::Refused }.runs(
        steps,
        |each: u64, count| {
            let more = each.checked_mul(count).and_then(|more| preds.checked_add(more));
            let cap = 2 * operations + SLACK as u64;
            preds = more.filter(|preds| *preds <= cap).ok_or(DecodeError::Preds)?;
            Ok(())
        },
    )?;
    Ok(preds)
}

/// Counts booleans. Says whether any is true.
fn booleans(
    columns: &Columns<'_>,
    column: Column,
    operations: u64,
    steps: &mut u64,
) -> Result<bool, DecodeError> {
    let fault = at(column);
    let mut runs = Booleans::new(columns.get(column));
    let (mut total, mut any) = (0_u64, false);
    while let Some((value, count)) = runs.next_run().map_err(&fault)? {
        *steps += 1;
        let sum = total.checked_add(count).filter(|sum| *sum <= operations);
        total = sum.ok_or_else(|| fault(ColumnError::Count))?;
        any |= value;
    }
    if total == operations { Ok(any) } else { Err(fault(ColumnError::Count)) }
}

/// Checks types of values, and that their lengths add up to what is there.
fn values(columns: &Columns<'_>, operations: u64, steps: &mut u64) -> Result<(), DecodeError> {
    let column = Column::ValueMeta;
    let bytes = columns.get(column);
    let there = columns.get(Column::Value).len() as u64;
    let mut needed = 0_u64;
    Walk { column, bytes, expected: operations, nulls: Nulls::Refused }.runs(
        steps,
        |meta: u64, count| {
            let len = meta >> 4;
            let right = match meta & 0xf {
                0..=2 => len == 0,
                3 | 4 | 8 | 9 => (1..=10).contains(&len),
                5 => len == 8,
                6 | 7 => true,
                _ => return Err(DecodeError::ValueType((meta & 0xf) as u8)),
            };
            let more = len.checked_mul(count).and_then(|more| needed.checked_add(more));
            let more = more.filter(|needed| right && *needed <= there);
            needed = more.ok_or_else(|| at(column)(ColumnError::Range))?;
            Ok(())
        },
    )?;
    if needed == there { Ok(()) } else { Err(at(Column::Value)(ColumnError::Count)) }
}

#[cfg(test)]
mod tests;
