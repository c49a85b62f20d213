//! Sets of groups, as sorted runs.

use std::{fmt, ops::Range};

/// A set of numbers, held as runs in ascending order that neither touch nor overlap.
///
/// Takes 16 bytes a run, whatever the numbers. Queries are logarithmic in the runs, changes and
/// combinations linear.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    runs: Vec<Range<u64>>,
}

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// The set with these runs; `None` unless they are ascending, not empty, and neither touch nor
    /// overlap.
    pub fn from_runs(runs: Vec<Range<u64>>) -> Option<Self> {
        let are_sorted = runs.windows(2).all(|two| two[0].end < two[1].start);
        let are_full = runs.iter().all(|run| run.start < run.end);
        (are_sorted && are_full).then_some(Self { runs })
    }

    /// The runs.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.runs.get(self.first_ending_above(number)).is_some_and(|run| run.start <= number)
    }

    /// Whether all of a range is in it.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let run = self.runs.get(self.first_ending_above(range.start));
        range.is_empty() || run.is_some_and(|run| run.start <= range.start && range.end <= run.end)
    }

    /// Whether all of another set is in it.
    pub fn includes(&self, other: &Self) -> bool {
        other.runs.iter().all(|run| self.covers(run))
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.runs.partition_point(|run| run.end < range.start);
        let after = self.runs.partition_point(|run| run.start <= range.end);
        let start = self.runs.get(first).map_or(range.start, |run| run.start.min(range.start));
        let last = after.checked_sub(1).and_then(|last| self.runs.get(last));
        let end = last.map_or(range.end, |run| run.end.max(range.end));
        if first == after {
            self.runs.insert(first, range);
        } else {
            self.runs.splice(first..after, std::iter::once(start..end));
        }
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        let first = self.first_ending_above(range.start);
        let after = self.runs.partition_point(|run| run.start < range.end);
        if range.is_empty() || first >= after {
            return;
        }
        let before = self.runs[first].start..range.start;
        let behind = range.end..self.runs[after - 1].end;
        let rests = [before, behind].into_iter().filter(|run| !run.is_empty());
        self.runs.splice(first..after, rests);
    }

    /// Adds another set.
    pub fn extend(&mut self, other: &Self) {
        other.runs.iter().for_each(|run| self.insert(run.clone()));
    }

    /// Takes another set out.
    pub fn subtract(&mut self, other: &Self) {
        other.runs.iter().for_each(|run| self.remove(run.clone()));
    }

    /// What of a range is in it.
    pub fn within(&self, range: &Range<u64>) -> Self {
        let runs = self.runs[self.first_ending_above(range.start)..].iter();
        let runs = runs.take_while(|run| run.start < range.end);
        let cut = |run: &Range<u64>| run.start.max(range.start)..run.end.min(range.end);
        Self { runs: runs.map(cut).filter(|run| !run.is_empty()).collect() }
    }

    /// What is in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let (few, many) =
            if self.runs.len() < other.runs.len() { (self, other) } else { (other, self) };
        Self { runs: few.runs.iter().flat_map(|run| many.within(run).runs).collect() }
    }

    /// The parts of a range that aren't in it, in order.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let runs = &self.runs[self.first_ending_above(range.start)..];
        let starts = std::iter::once(range.start).chain(runs.iter().map(|run| run.end));
        let ends = runs.iter().map(|run| run.start).chain([u64::MAX]);
        let gaps = starts.zip(ends).take_while(move |(start, _)| *start < range.end);
        gaps.map(move |(start, end)| start..end.min(range.end)).filter(|gap| gap.start < gap.end)
    }

    /// The lowest numbers of the set: at most so many, in at most so many runs.
    #[must_use]
    pub fn first(&self, mut numbers: u64, runs: usize) -> Self {
        let mut first = Self::new();
        for run in self.runs.iter().take(runs) {
            if numbers == 0 {
                break;
            }
            let len = numbers.min(run.end - run.start);
            first.runs.push(run.start..run.start + len);
            numbers -= len;
        }
        first
    }

    /// At most so many runs of the set: the longest.
    #[must_use]
    pub fn longest(mut self, runs: usize) -> Self {
        if self.runs.len() > runs {
            self.runs.sort_by_key(|run| (std::cmp::Reverse(run.end - run.start), run.start));
            self.runs.truncate(runs);
            self.runs.sort_by_key(|run| run.start);
        }
        self
    }

    /// Where the first run that ends above a number stands.
    fn first_ending_above(&self, number: u64) -> usize {
        self.runs.partition_point(|run| run.end <= number)
    }
}

impl From<Range<u64>> for Ranges {
    fn from(range: Range<u64>) -> Self {
        std::iter::once(range).collect()
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.runs).finish()
    }
}

#[cfg(test)]
mod tests;
