use proptest::prelude::*;

use super::{
    histories::{history, honest_history, shuffled, without},
    *,
};

fn seeds() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 1..40)
}

fn applied(order: &[Said], salt: u32, never: &[Said]) -> Replica {
    let mut replica = Replica::new(salt, never);
    order.iter().for_each(|said| replica.apply(said));
    replica
}

fn agrees(replica: &Replica, set: &[Said]) -> Result<(), TestCaseError> {
    let expected = model::state(set);
    prop_assert_eq!(replica.hash(), model::hash(&expected));
    prop_assert_eq!(model::shown(replica), expected);
    Ok(())
}

proptest! {
    #[test]
    fn rows_are_what_the_definition_says_after_each_entry_in_any_order(
        set in history(), seed in seeds(), salt: u32,
    ) {
        let mut replica = Replica::new(salt, &[]);
        let order = shuffled(&set, &seed);
        for (at, said) in order.iter().enumerate() {
            replica.apply(said);
            agrees(&replica, &order[..=at])?;
        }
    }

    #[test]
    fn order_and_local_numbers_do_not_show(set in history(), one in seeds(), other in seeds()) {
        let one = applied(&shuffled(&set, &one), 0, &[]);
        let other = applied(&shuffled(&set, &other), 0xffff, &[]);
        // Rows of absent dots may differ, if a liar named what isn't there: see below.
        prop_assert_eq!(one.elements().count(), other.elements().count());
        prop_assert_eq!(model::shown(&one), model::shown(&other));
        prop_assert_eq!(one.hash(), other.hash());
    }

    #[test]
    fn a_collection_that_is_rebuilt_is_as_it_was(set in history(), seed in seeds()) {
        let mut replica = applied(&shuffled(&set, &seed), 0, &[]);
        let before = replica.rows.clone();
        for collection in collections() {
            replica.rebuild(&collection);
        }
        // Of twins, and of nobody else, a rebuild knows that they come before they do. Then a dot
        // that was named between them is absent, though neither says anything of its collection.
        let twins = set.iter().any(|said| said.id.feed == feed(4, 1));
        let same = |(row, _): &(&Vec<u8>, &Vec<u8>)| row[0] != 2 || !twins;
        prop_assert!(replica.rows.iter().filter(same).eq(before.iter().filter(same)));
    }

    #[test]
    fn what_is_evicted_leaves_nothing_behind_and_may_return(
        set in history(), seed in seeds(), again in seeds(),
        root: prop::sample::Index, when: prop::sample::Index,
    ) {
        let (stay, gone) = without(&set, &set[root.index(set.len())].id);
        let order = shuffled(&set, &seed);
        let (before, after) = order.split_at(when.index(set.len() + 1));
        let mut replica = applied(before, 0, &[]);
        let (evicted, mut left): (Vec<Said>, Vec<Said>) =
            before.iter().cloned().partition(|said| gone.contains(said));
        // The limit that `apply` names.
        let is_late = |twin: &Said, of: &Said| {
            twin.id != of.id && twin.id.dot(0) == of.id.dot(0) && !before.contains(twin)
        };
        prop_assume!(!evicted.iter().any(|said| set.iter().any(|twin| is_late(twin, said))));
        replica.evict(&evicted);
        agrees(&replica, &left)?;
        // What comes next is no worse for what it was named by.
        for said in after.iter().filter(|said| stay.contains(said)) {
            replica.apply(said);
            left.push(said.clone());
            agrees(&replica, &left)?;
        }
        for said in shuffled(&gone, &again) {
            replica.apply(&said);
        }
        agrees(&replica, &set)?;
    }

    #[test]
    fn the_merge_of_two_sets_is_commutative_associative_and_idempotent(
        set in history(), parts in prop::collection::vec(0..7u8, 24), seed in seeds(),
    ) {
        // Three closed sets that overlap: an entry is in those of its parents that it picks.
        let mut sets: [Vec<Said>; 3] = Default::default();
        for (said, part) in set.iter().zip(parts) {
            for (bit, closed) in sets.iter_mut().enumerate() {
                let has = |id| closed.iter().any(|other: &Said| other.id == id);
                if (part + 1) >> bit & 1 == 1 && said.parent.is_none_or(has) {
                    closed.push(said.clone());
                }
            }
        }
        let merged = |order: [usize; 4]| {
            let mut replica = Replica::new(7, &[]);
            for said in order.iter().flat_map(|set| shuffled(&sets[*set], &seed)) {
                if !replica.known.order.contains(&said) {
                    replica.apply(&said);
                }
            }
            replica.hash()
        };
        let hash = merged([0, 1, 2, 0]);
        for order in [[1, 0, 2, 2], [2, 1, 0, 1], [0, 2, 1, 1]] {
            prop_assert_eq!(merged(order), hash);
        }
    }

    #[test]
    fn what_never_comes_leaves_no_row_where_that_is_known(
        set in history(), seed in seeds(), root: prop::sample::Index,
    ) {
        let (stay, gone) = without(&set, &set[root.index(set.len())].id);
        // Whose twin comes is awaited: dots know them by one name.
        let name = |said: &Said| said.id.dot(0);
        let comes = |said: &Said| stay.iter().any(|other| name(other) == name(said));
        let never = Vec::from_iter(gone.into_iter().filter(|said| !comes(said)));
        let order = shuffled(&stay, &seed);
        let (known, unknown) = (applied(&order, 0, &never), applied(&order, 0, &[]));
        agrees(&known, &stay)?;
        agrees(&unknown, &stay)?;
        prop_assert!(known.absent() <= unknown.absent());
    }

    #[test]
    fn no_dot_is_absent_among_the_honest_once_all_is_there(
        set in honest_history(), seed in seeds(),
    ) {
        let mut causal = Replica::new(0, &[]);
        for said in &set {
            causal.apply(said);
            prop_assert_eq!(causal.absent(), 0);
        }
        let other = applied(&shuffled(&set, &seed), 0, &[]);
        prop_assert_eq!(other.absent(), 0);
        prop_assert_eq!(other.elements().count(), causal.elements().count());
        prop_assert_eq!(other.hash(), causal.hash());
    }

    #[test]
    fn a_lane_has_one_value_of_a_key_at_most(set in history(), seed in seeds()) {
        let replica = applied(&shuffled(&set, &seed), 0, &[]);
        for collection in collections() {
            for row in scan(&collection, Keys::All, &replica.rows) {
                let (_, alive) = row.unwrap();
                let elements = alive.elements(&replica.rows, &replica.known).unwrap();
                for (at, one) in elements.iter().enumerate() {
                    for other in &elements[at + 1..] {
                        let precedes = |a: &Element, b: &Element| {
                            let earlier = replica.known.place(&a.entry);
                            replica.known.precedes(&replica.rows, earlier, &b.entry).unwrap()
                        };
                        prop_assert!(!precedes(one, other) && !precedes(other, one));
                    }
                }
            }
        }
    }
}
