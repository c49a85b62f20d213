//! How many feeds an author has.

use super::*;

const GENESIS: Authority = Authority::Genesis;

#[test]
fn of_an_authors_feeds_the_smallest_incarnations_are_kept_in_whatever_order_they_begin() {
    for_seeds(3, |rng| {
        let most = u64::try_from(MAX_INCARNATIONS).unwrap();
        let mut begin: Vec<u64> = (0..most + 50).collect();
        begin.shuffle(rng);
        let (mut incarnations, mut kept) = (Incarnations::default(), BTreeSet::new());
        for incarnation in begin {
            let judged = incarnations.judge(feed(6, incarnation), GENESIS);
            let began = incarnations.insert(feed(6, incarnation), GENESIS);
            assert_eq!(judged, began);
            if began != Began::Surplus {
                kept.insert(incarnation);
                assert_eq!(incarnations.insert(feed(6, incarnation), GENESIS), Began::Kept);
            }
            if let Began::Instead(other) = began {
                assert_eq!(other.author, public(6));
                assert!(kept.remove(&other.incarnation));
            }
        }
        assert_eq!(kept, (0..most).collect());
        assert_eq!(incarnations.insert(feed(6, most), GENESIS), Began::Surplus);
        // Each author, and each authority, has its own.
        assert_eq!(incarnations.insert(feed(7, most), GENESIS), Began::Kept);
        let grant = EntryId { feed: feed(1, 1), number: 1, hash: Hash::from_bytes([1; 32]) };
        assert_eq!(incarnations.insert(feed(6, most), Authority::Grant(grant)), Began::Kept);
        incarnations.remove(feed(6, 5), GENESIS);
        assert_eq!(incarnations.insert(feed(6, most), GENESIS), Began::Kept);
    });
}

#[test]
fn what_is_dropped_leaves_nothing() {
    let mut incarnations = Incarnations::default();
    incarnations.insert(feed(6, 1), GENESIS);
    incarnations.remove(feed(6, 1), GENESIS);
    incarnations.remove(feed(6, 1), GENESIS);
    assert_eq!(incarnations, Incarnations::default());
}
