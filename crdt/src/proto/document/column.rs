//! Canonical readers of what columns are made of.
//!
//! Every reader takes exactly what Automerge's encoder writes for the same values, so nothing has
//! to be encoded again to be compared:
//!
//! - **LEB128**, unsigned and signed, in the shortest form;
//! - **run-length**: a signed count `n`, then for `n > 0` one value `n` times, for `n < 0` `-n`
//!   values, for `n = 0` an unsigned count of nulls. Runs are of two values at least, and a value
//!   never equals the one right before it unless one run holds both; so it can't stand in a literal
//!   beside its like, and a run can't be split. No literal follows a literal, no nulls follow
//!   nulls;
//! - **boolean**: unsigned counts of false and true in turn; only the first may be zero;
//! - **delta**: run-length over differences from the last value that isn't null, beginning at zero.
//!   Values are 0 to 2^32 - 1.
//!
//! [`Rle::next_run`] reads a run in one step, however long it says it is, and a literal value by
//! value. Each step consumes at least one byte, so a walk over runs takes at most as many steps as
//! there are bytes.

/// How a column or a field isn't what an encoder writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// It ends within a value.
    #[error("bytes are missing")]
    Truncated,
    /// An integer in a longer form than needed.
    #[error("an integer is not in its shortest form")]
    Overlong,
    /// An integer that doesn't fit, or a value out of its range.
    #[error("a value is out of range")]
    Range,
    /// Runs that an encoder would have joined, split or left out.
    #[error("the runs are not those of an encoder")]
    Runs,
    /// Text that isn't UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// A null where there is none.
    #[error("a value is null that can't be")]
    Null,
    /// Nothing but nulls or false, and there all the same.
    #[error("it says nothing and must be left out")]
    Blank,
    /// More or fewer values than there are operations or predecessors.
    #[error("it has not as many values as it must")]
    Count,
}

/// Reads from front to back.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], ColumnError> {
        let len = usize::try_from(len).map_err(|_| ColumnError::Truncated)?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(ColumnError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ColumnError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(ColumnError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn text(&mut self, len: u64) -> Result<&'a str, ColumnError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| ColumnError::Text)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, ColumnError> {
        let mut value = 0;
        for place in 0..10 {
            let [byte] = self.array()?;
            if place == 9 && byte > 1 {
                return Err(ColumnError::Range);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let padded = byte == 0 && place > 0;
                return if padded { Err(ColumnError::Overlong) } else { Ok(value) };
            }
        }
        Err(ColumnError::Range)
    }

    pub(super) fn signed(&mut self) -> Result<i64, ColumnError> {
        let mut value = 0_u64;
        let mut sign_before = None;
        for place in 0..10 {
            let [byte] = self.array()?;
            if place == 9 && byte != 0 && byte != 0x7f {
                return Err(ColumnError::Range);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            let sign = byte & 0x40 != 0;
            if byte & 0x80 == 0 {
                // A last byte that only repeats the sign of the byte before it isn't needed.
                let filler = if sign { 0x7f } else { 0 };
                if byte == filler && sign_before == Some(sign) {
                    return Err(ColumnError::Overlong);
                }
                if sign && place < 9 {
                    value |= u64::MAX << (7 * (place + 1));
                }
                return Ok(value.cast_signed());
            }
            sign_before = Some(sign);
        }
        Err(ColumnError::Range)
    }
}

/// A value that can stand in a run-length encoded column.
pub(super) trait Item<'a>: Copy + PartialEq {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ColumnError>;
}

impl<'a> Item<'a> for u64 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ColumnError> {
        reader.unsigned()
    }
}

impl<'a> Item<'a> for i64 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ColumnError> {
        reader.signed()
    }
}

impl<'a> Item<'a> for &'a str {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ColumnError> {
        let len = reader.unsigned()?;
        reader.text(len)
    }
}

/// One value or null, `count` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<T> {
    pub(super) value: Option<T>,
    pub(super) count: u64,
}

/// What the reader has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Start,
    Nulls,
    Run,
    Literal,
}

/// Reads a run-length encoded column, run by run or value by value.
#[derive(Clone, Debug)]
pub(super) struct Rle<'a, T> {
    reader: Reader<'a>,
    before: Before,
    /// The value right before, if it isn't null.
    last: Option<T>,
    /// Values of the literal that are still to come.
    literal: u64,
    /// The run that [`Rle::next_value`] is in, and how much of it is left.
    current: Run<T>,
}

impl<'a, T: Item<'a>> Rle<'a, T> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        let current = Run { value: None, count: 0 };
        let reader = Reader::new(bytes);
        Self { reader, before: Before::Start, last: None, literal: 0, current }
    }

    /// The next run, or one value of a literal; `None` at the end.
    pub(super) fn next_run(&mut self) -> Result<Option<Run<T>>, ColumnError> {
        if self.literal == 0 {
            if self.reader.is_empty() {
                return Ok(None);
            }
            let count = self.reader.signed()?;
            if count == 0 {
                return self.nulls().map(Some);
            }
            if count > 0 {
                return self.repeated(count.unsigned_abs()).map(Some);
            }
            if self.before == Before::Literal {
                return Err(ColumnError::Runs);
            }
            self.before = Before::Literal;
            self.literal = count.unsigned_abs();
        }
        self.literal -= 1;
        let value = self.value()?;
        Ok(Some(Run { value: Some(value), count: 1 }))
    }

    fn nulls(&mut self) -> Result<Run<T>, ColumnError> {
        let count = self.reader.unsigned()?;
        if count == 0 || self.before == Before::Nulls {
            return Err(ColumnError::Runs);
        }
        self.before = Before::Nulls;
        self.last = None;
        Ok(Run { value: None, count })
    }

    fn repeated(&mut self, count: u64) -> Result<Run<T>, ColumnError> {
        if count < 2 {
            return Err(ColumnError::Runs);
        }
        self.before = Before::Run;
        let value = self.value()?;
        Ok(Run { value: Some(value), count })
    }

    fn value(&mut self) -> Result<T, ColumnError> {
        let value = T::read(&mut self.reader)?;
        if self.last == Some(value) {
            return Err(ColumnError::Runs);
        }
        self.last = Some(value);
        Ok(value)
    }

    /// The next value, or null. Nulls for ever at the end, as a column that is all null is absent:
    /// whoever expands has counted before.
    pub(super) fn next_value(&mut self) -> Result<Option<T>, ColumnError> {
        if self.current.count == 0 {
            match self.next_run()? {
                Some(run) => self.current = run,
                None => return Ok(None),
            }
        }
        self.current.count -= 1;
        Ok(self.current.value)
    }
}

/// Adds up differences, and refuses values that no operation's number can have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    value: i64,
}

impl Sum {
    /// Adds `delta` so often. Every value in between lies between the first and the last, so these
    /// two are looked at and no others.
    pub(super) fn add(&mut self, delta: i64, count: u64) -> Result<u32, ColumnError> {
        let first = self.value.checked_add(delta).ok_or(ColumnError::Range)?;
        u32::try_from(first).map_err(|_| ColumnError::Range)?;
        let count = i64::try_from(count).map_err(|_| ColumnError::Range)?;
        let all = delta.checked_mul(count).ok_or(ColumnError::Range)?;
        self.value = self.value.checked_add(all).ok_or(ColumnError::Range)?;
        u32::try_from(self.value).map_err(|_| ColumnError::Range)
    }
}

/// Reads a delta column value by value.
#[derive(Clone, Debug)]
pub(super) struct Delta<'a> {
    rle: Rle<'a, i64>,
    sum: Sum,
}

impl<'a> Delta<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rle: Rle::new(bytes), sum: Sum { value: 0 } }
    }

    /// As [`Rle::next_value`].
    pub(super) fn next_value(&mut self) -> Result<Option<u32>, ColumnError> {
        self.rle.next_value()?.map(|delta| self.sum.add(delta, 1)).transpose()
    }
}

/// Reads a boolean column, run by run or value by value.
#[derive(Clone, Debug)]
pub(super) struct Booleans<'a> {
    reader: Reader<'a>,
    /// What the next run is of; `None` before the first.
    next: Option<bool>,
    current: Run<bool>,
}

impl<'a> Booleans<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        let current = Run { value: None, count: 0 };
        Self { reader: Reader::new(bytes), next: None, current }
    }

    /// The next run; the first, of false, may be empty.
    pub(super) fn next_run(&mut self) -> Result<Option<(bool, u64)>, ColumnError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let count = self.reader.unsigned()?;
        if count == 0 && self.next.is_some() {
            return Err(ColumnError::Runs);
        }
        let value = self.next.unwrap_or(false);
        self.next = Some(!value);
        Ok(Some((value, count)))
    }

    /// The next value. False for ever at the end, as [`Rle::next_value`].
    pub(super) fn next_value(&mut self) -> Result<bool, ColumnError> {
        while self.current.count == 0 {
            match self.next_run()? {
                Some((value, count)) => self.current = Run { value: Some(value), count },
                None => return Ok(false),
            }
        }
        self.current.count -= 1;
        Ok(self.current.value == Some(true))
    }
}

#[cfg(test)]
mod tests;
