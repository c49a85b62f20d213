use proptest::prelude::*;

use super::*;

fn keys(replica: &Replica, keys: Keys<'_>) -> Vec<Vec<u8>> {
    let found = scan(&map(), keys, &replica.rows);
    found.map(|row| row.unwrap().0).collect()
}

fn element(time: u64, author: u8, value: &str) -> Element {
    let entry = id(feed(author, 1), 1, 0);
    Element { entry, index: 0, time: at(time), value: value.into() }
}

#[test]
fn a_rule_picks_the_last_or_the_largest_and_ties_have_an_end() {
    let (early, late) = (element(1, 9, "c"), element(2, 1, "a"));
    let (tied, largest) = (element(2, 2, "b"), element(1, 3, "c"));
    let all = vec![late.clone(), early.clone(), tied.clone(), largest.clone()];
    let sorted = [largest, early.clone(), late, tied.clone()];
    assert_eq!(Rule::All.resolve(all.clone()), sorted);
    assert_eq!(Rule::Last.resolve(all.clone()), [tied]);
    assert_eq!(Rule::Largest.resolve(all), [early]);
    for rule in [Rule::All, Rule::Last, Rule::Largest] {
        assert!(rule.resolve(vec![]).is_empty());
    }
}

#[test]
fn a_page_goes_on_behind_the_last_key() {
    let mut replica = Replica::default();
    let puts = [&b"a"[..], b"a\0", b"a\0\0", b"b"].map(|key| put(key, "", &[]));
    replica.apply(&said(id(feed(1, 1), 1, 0), None, map(), puts.into()));
    let from = [&b"a\0"[..], b"\0"].concat();
    let rest = keys(&replica, Keys::Range { from: &from, below: b"c" });
    assert_eq!(rest, [&b"a\0\0"[..], b"b"]);
    assert_eq!(keys(&replica, Keys::Range { from: b"b", below: b"a" }), [b""; 0]);
}

#[test]
fn another_collection_of_the_name_or_id_is_apart() {
    let mut replica = Replica::default();
    let (set, first) = (Collection::new(Kind::Set, "m"), id(feed(1, 1), 1, 0));
    replica.apply(&said(first, None, map(), vec![put(b"k", "", &[])]));
    replica.apply(&said(id(feed(2, 1), 1, 0), None, set, vec![put(b"l", "", &[])]));
    assert_eq!(keys(&replica, Keys::All), [b"k"]);
    replica.rebuild(&set);
    assert_eq!(replica.rows.len(), 2);
}

proptest! {
    #[test]
    fn keys_are_found_by_prefix_and_range_in_the_order_of_their_bytes(
        all in prop::collection::btree_set(prop::collection::vec(0..3u8, 0..5), 0..12),
        from in prop::collection::vec(0..3u8, 0..4),
        below in prop::collection::vec(0..3u8, 0..4),
    ) {
        // The bytes on which escaping turns: 0, 1 and 255.
        let byte = |key: &Vec<u8>| key.iter().map(|byte| [0, 1, 255][usize::from(*byte)]).collect();
        let all: BTreeSet<Vec<u8>> = all.iter().map(byte).collect();
        let (from, below): (Vec<u8>, Vec<u8>) = (byte(&from), byte(&below));
        let mut replica = Replica::default();
        let puts = all.iter().map(|key| put(key, "", &[])).collect();
        replica.apply(&said(id(feed(1, 1), 1, 0), None, map(), puts));

        let expected = |keep: &dyn Fn(&Vec<u8>) -> bool| -> Vec<Vec<u8>> {
            all.iter().filter(|key| keep(key)).cloned().collect()
        };
        prop_assert_eq!(keys(&replica, Keys::All), expected(&|_| true));
        let prefix = keys(&replica, Keys::Prefix(&from));
        prop_assert_eq!(prefix, expected(&|key| key.starts_with(&from)));
        let range = keys(&replica, Keys::Range { from: &from, below: &below });
        prop_assert_eq!(range, expected(&|key| *key >= from && *key < below));
    }
}
