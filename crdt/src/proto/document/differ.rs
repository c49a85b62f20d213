//! What to insert and delete to make one sequence of another (Myers, *An O(ND) difference algorithm
//! and its variations*, Algorithmica 1986).

use std::ops::Range;

/// More differences than this are taken for one.
const MAX_DIFFERENCES: usize = 1_000;

/// A range of the old that a range of the new takes the place of; either may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// The steps, in order; what lies between them is equal. O(old + new) if the two are equal but for
/// one stretch; else O((old + new) × differences) steps, and at most four megabytes.
pub(super) fn diff<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let pairs = old_rest.iter().rev().zip(new_rest.iter().rev());
    let tail = pairs.take_while(|(one, other)| one == other).count();
    let old_rest = &old_rest[..old_rest.len() - tail];
    let new_rest = &new_rest[..new_rest.len() - tail];
    if old_rest.is_empty() && new_rest.is_empty() {
        return Vec::new();
    }
    let whole = vec![Step { old: 0..old_rest.len(), new: 0..new_rest.len() }];
    let either = old_rest.is_empty() || new_rest.is_empty();
    let steps = if either { None } else { myers(old_rest, new_rest) };
    let shifted = steps.unwrap_or(whole).into_iter().map(|Step { old, new }| Step {
        old: old.start + head..old.end + head,
        new: new.start + head..new.end + head,
    });
    shifted.collect()
}

/// For each number of differences, how far each diagonal gets; then the way back. `None` if there
/// are too many differences.
fn myers<T: PartialEq>(old: &[T], new: &[T]) -> Option<Vec<Step>> {
    let max = (old.len() + new.len()).min(MAX_DIFFERENCES);
    // `reached[k]` is the place in the old on diagonal k - max - 1.
    let mut reached = vec![0_usize; 2 * max + 3];
    let mut rounds = Vec::new();
    for round in 0..=max {
        // Only the middle was written so far: the rest isn't kept.
        rounds.push(reached[max + 1 - round..=max + 1 + round].to_vec());
        for diagonal in (max + 1 - round..=max + 1 + round).step_by(2) {
            let down = diagonal == max + 1 - round
                || (diagonal != max + 1 + round && reached[diagonal - 1] < reached[diagonal + 1]);
            let mut x = if down { reached[diagonal + 1] } else { reached[diagonal - 1] + 1 };
            let mut y = (x + max + 1).wrapping_sub(diagonal);
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            reached[diagonal] = x;
            if x >= old.len() && y >= new.len() {
                return Some(way_back(&rounds, old.len(), new.len()));
            }
        }
    }
    None
}

/// Follows the differences from the end to the beginning.
fn way_back(rounds: &[Vec<usize>], old: usize, new: usize) -> Vec<Step> {
    let (mut x, mut y) = (old, new);
    let mut steps: Vec<Step> = Vec::new();
    for (round, reached) in rounds.iter().enumerate().skip(1).rev() {
        // The diagonal x - y, in a row that begins at -round.
        let diagonal = (x + round).wrapping_sub(y);
        let at = |diagonal: usize| reached.get(diagonal).copied().unwrap_or(0);
        let down = diagonal == 0
            || (diagonal != 2 * round && at(diagonal.wrapping_sub(1)) < at(diagonal + 1));
        let (from_x, from_diagonal) =
            if down { (at(diagonal + 1), diagonal + 1) } else { (at(diagonal - 1), diagonal - 1) };
        let from_y = (from_x + round).wrapping_sub(from_diagonal);
        let (to_x, to_y) = if down { (from_x, from_y + 1) } else { (from_x + 1, from_y) };
        match steps.last_mut() {
            Some(last) if (last.old.start, last.new.start) == (to_x, to_y) => {
                (last.old.start, last.new.start) = (from_x, from_y);
            }
            _ => steps.push(Step { old: from_x..to_x, new: from_y..to_y }),
        }
        (x, y) = (from_x, from_y);
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rebuilt(old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut built = old.to_vec();
        for step in diff(old, new).into_iter().rev() {
            built.splice(step.old, new[step.new].iter().copied());
        }
        built
    }

    /// The length of the longest common subsequence, by its definition.
    fn common(old: &[u8], new: &[u8]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for one in old {
            let mut diagonal = 0;
            for (at, other) in new.iter().enumerate() {
                let best = if one == other { diagonal + 1 } else { row[at].max(row[at + 1]) };
                diagonal = std::mem::replace(&mut row[at + 1], best);
            }
        }
        row[new.len()]
    }

    proptest! {
        #[test]
        fn a_difference_makes_the_new_of_the_old_by_as_few_steps_as_can_be(
            old in proptest::collection::vec(0..4_u8, 0..40),
            new in proptest::collection::vec(0..4_u8, 0..40),
        ) {
            let made = rebuilt(&old, &new);
            prop_assert_eq!(&made, &new);
            let touched: usize =
                diff(&old, &new).iter().map(|step| step.old.len() + step.new.len()).sum();
            prop_assert_eq!(touched, old.len() + new.len() - 2 * common(&old, &new));
        }
    }

    #[test]
    fn too_many_differences_are_one() {
        let old: Vec<u8> = (0..3_000).map(|at| (at % 2) as u8).collect();
        let new: Vec<u8> = (0..3_000).map(|at| 2 + (at % 2) as u8).collect();
        assert_eq!(diff(&old, &new), [Step { old: 0..3_000, new: 0..3_000 }]);
        assert_eq!(rebuilt(&old, &new), new);
    }
}
