//! A set of chunk groups, as the runs that it consists of.

use std::{collections::BTreeMap, ops::Range};

/// A set of numbers, kept as disjoint runs that don't touch. Memory grows with the runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Start to end.
    runs: BTreeMap<u64, u64>,
    count: u64,
}

impl Runs {
    /// How many numbers are in the set.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> {
        self.runs.iter().map(|(start, end)| *start..*end)
    }

    /// The run that a number is in.
    fn run_of(&self, number: u64) -> Option<Range<u64>> {
        let (start, end) = self.runs.range(..=number).next_back()?;
        (number < *end).then_some(*start..*end)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.run_of(number).is_some()
    }

    /// The first run within a range that is not in the set.
    pub(super) fn first_gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let start = self.run_of(range.start).map_or(range.start, |run| run.end);
        let end = self.runs.range(start..).next().map_or(range.end, |(next, _)| *next);
        (start < range.end).then_some(start..end.min(range.end))
    }

    /// All runs within a range that are not in the set.
    pub(super) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        while let Some(gap) = self.first_gap(at..range.end) {
            at = gap.end;
            gaps.push(gap);
        }
        gaps
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut whole = range.clone();
        // What overlaps or touches is merged; the last such run is looked at first.
        while let Some((start, end)) = self.runs.range(..=range.end).next_back() {
            let (start, end) = (*start, *end);
            if end < range.start {
                break;
            }
            whole = whole.start.min(start)..whole.end.max(end);
            self.runs.remove(&start);
            self.count -= end - start;
        }
        self.count += whole.end - whole.start;
        self.runs.insert(whole.start, whole.end);
    }

    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((start, end)) = self.runs.range(..range.end).next_back() {
            let (start, end) = (*start, *end);
            if end <= range.start {
                break;
            }
            self.runs.remove(&start);
            self.count -= end - start;
            let kept = [start..range.start.max(start), range.end.min(end)..end];
            for kept in kept.into_iter().filter(|kept| !kept.is_empty()) {
                self.count += kept.end - kept.start;
                self.runs.insert(kept.start, kept.end);
            }
            if start < range.start {
                break;
            }
        }
    }

    /// The eight numbers from `8 * at` on, as bits, the lowest first.
    pub(super) fn byte(&self, at: u64) -> u8 {
        let bit = |bit| u8::from(self.contains(at * 8 + bit)) << bit;
        (0..8).map(bit).fold(0, |byte, bit| byte | bit)
    }

    /// Reads what [`byte`](Self::byte) gave for all bytes; numbers from `end` on are left out.
    pub(super) fn from_bytes(bytes: &[u8], end: u64) -> Self {
        let mut runs = Self::default();
        let mut open = None;
        for (number, byte) in (0..).step_by(8).zip(bytes) {
            if matches!((byte, open), (0, None) | (0xff, Some(_))) {
                continue;
            }
            for bit in 0..8 {
                match (byte >> bit & 1 == 1, open) {
                    (true, None) => open = Some(number + bit),
                    (false, Some(start)) => {
                        runs.insert(start..(number + bit).min(end));
                        open = None;
                    }
                    _ => {}
                }
            }
        }
        if let Some(start) = open {
            runs.insert(start..(bytes.len() as u64 * 8).min(end));
        }
        runs.remove(end..u64::MAX);
        runs
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(set: &BTreeSet<u64>) -> Runs {
        let mut runs = Runs::default();
        set.iter().for_each(|number| runs.insert(*number..number + 1));
        runs
    }

    proptest! {
        #[test]
        fn runs_are_a_set(
            changes in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40),
        ) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (insert, start, len) in changes {
                let range = start..start + len;
                if insert {
                    runs.insert(range.clone());
                    set.extend(range);
                } else {
                    runs.remove(range.clone());
                    set.retain(|number| !range.contains(number));
                }
                prop_assert_eq!(&runs, &of(&set));
                prop_assert_eq!(runs.count(), set.len() as u64);
                let absent = runs.gaps(0..90).into_iter().flatten();
                prop_assert!(absent.eq((0..90).filter(|number| !set.contains(number))));
            }
            let bytes: Vec<u8> = (0..12).map(|at| runs.byte(at)).collect();
            prop_assert_eq!(&Runs::from_bytes(&bytes, 96), &runs);
            set.retain(|number| *number < 33);
            prop_assert_eq!(Runs::from_bytes(&bytes, 33), of(&set));
        }
    }
}
