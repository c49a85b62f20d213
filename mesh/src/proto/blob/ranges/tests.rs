use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

type Model = BTreeSet<u64>;

fn model(ranges: &Ranges) -> Model {
    ranges.runs().iter().cloned().flatten().collect()
}

fn is_canonical(ranges: &Ranges) -> bool {
    Ranges::from_runs(ranges.runs().to_vec()).as_ref() == Some(ranges)
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0..60u64, 0..12u64).prop_map(|(start, len)| start..start + len)
}

fn any_set() -> impl Strategy<Value = Ranges> {
    vec(range(), 0..8).prop_map(|ranges| ranges.into_iter().collect())
}

#[test]
fn runs_that_are_not_canonical_are_refused() {
    assert!(Ranges::from_runs(vec![0..2, 3..4]).is_some());
    for runs in [vec![0..0, 1..2], vec![0..2, 2..4], vec![0..3, 2..4], vec![4..5, 0..1]] {
        assert_eq!(Ranges::from_runs(runs.clone()), None, "{runs:?}");
    }
}

#[test]
fn the_longest_runs_are_kept_in_order() {
    let set: Ranges = [0..1, 5..9, 20..21, 30..33].into_iter().collect();
    assert_eq!(set.clone().longest(2).runs(), [5..9, 30..33]);
    assert_eq!(set.clone().longest(4), set);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let mut set = Ranges::from(0..u64::MAX);
    set.remove(5..u64::MAX - 1);
    assert_eq!(set.runs(), [0..5, u64::MAX - 1..u64::MAX]);
    assert_eq!(set.gaps(0..u64::MAX).collect::<Vec<_>>(), vec![5..u64::MAX - 1]);
}

proptest! {
    #[test]
    fn changes_are_those_of_a_set(changes in vec((any::<bool>(), range()), 0..20)) {
        let (mut set, mut expected) = (Ranges::new(), Model::new());
        for (insert, range) in changes {
            if insert {
                set.insert(range.clone());
                expected.extend(range);
            } else {
                set.remove(range.clone());
                expected.retain(|number| !range.contains(number));
            }
            prop_assert!(is_canonical(&set), "{:?}", set);
            prop_assert_eq!(model(&set), expected.clone());
            prop_assert_eq!(set.count(), expected.len() as u64);
        }
    }

    #[test]
    fn combinations_are_those_of_sets(a in any_set(), b in any_set(), range in range()) {
        let (x, y) = (model(&a), model(&b));
        prop_assert_eq!(model(&a.intersection(&b)), &x & &y);
        let (mut sum, mut rest) = (a.clone(), a.clone());
        sum.extend(&b);
        rest.subtract(&b);
        prop_assert_eq!(model(&sum), &x | &y);
        prop_assert_eq!(model(&rest), &x - &y);
        prop_assert!(is_canonical(&sum) && is_canonical(&rest));
        prop_assert!(is_canonical(&a.intersection(&b)));
        prop_assert_eq!(a.includes(&b), y.is_subset(&x));
        let window: Model = range.clone().collect();
        prop_assert_eq!(model(&a.within(&range)), &x & &window);
        prop_assert_eq!(a.covers(&range), window.is_subset(&x));
        let gaps: Ranges = a.gaps(range.clone()).collect();
        prop_assert_eq!(model(&gaps), &window - &x);
        prop_assert!(a.gaps(range.clone()).all(|gap| !gap.is_empty()));
        for number in range {
            prop_assert_eq!(a.contains(number), x.contains(&number));
        }
    }

    #[test]
    fn the_first_are_the_lowest(set in any_set(), numbers in 0..40u64, runs in 0..5usize) {
        let first = set.first(numbers, runs);
        prop_assert!(first.count() <= numbers && first.runs().len() <= runs);
        let lowest: Model = model(&set).into_iter().take(model(&first).len()).collect();
        prop_assert_eq!(model(&first), lowest);
        let all = set.runs().len() <= runs && set.count() <= numbers;
        prop_assert!(!all || first == set);
    }
}
