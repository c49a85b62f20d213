use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

fn dot(author: u8, number: u64) -> Dot {
    id(feed(author, 2), number, 1).dot(3)
}

fn examples() -> Vec<(&'static str, Op)> {
    vec![
        ("put", put(b"key", "value", &[])),
        ("put-over", put(b"key", "", &[dot(2, 7), dot(1, 6), dot(1, 5)])),
        ("remove", remove(b"", &[dot(1, 5)])),
        ("count", count(b"hits", -2, &[])),
    ]
}

/// Another language can check itself against these. A change of any is a change of the format.
#[test]
fn golden_operations() {
    let golden = include_str!("../../../../tests/golden/maps-v1.txt");
    let expected: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let mut found: Vec<String> = examples()
        .iter()
        .map(|(name, op)| format!("{name} {}", HEXLOWER.encode(&op.encode())))
        .collect();
    let mut replica = Replica::default();
    let first = id(feed(1, 1), 1, 0);
    replica.apply(&said(first, None, map(), vec![put(b"a\0", "1", &[]), put(b"b", "", &[])]));
    let long = "a value that lies in the payload";
    replica.apply(&said(id(feed(2, 1), 1, 0), None, map(), vec![put(b"b", long, &[dot(5, 1)])]));
    for author in 3..6 {
        let many = vec![put(b"many", if author == 3 { long } else { "" }, &[])];
        replica.apply(&said(id(feed(author, 1), 1, 0), None, map(), many));
    }
    for (row, value) in &replica.rows {
        found.push(format!("row {} {}", HEXLOWER.encode(row), HEXLOWER.encode(value)));
    }
    found.push(format!("state {}", replica.hash()));
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}

#[test]
fn slots_lie_by_local_feeds_whichever_came_first() {
    let nth = |author, number| id(feed(author, 1), number, 0);
    let nothing = |id, parent, key| said(id, parent, map(), vec![put(key, "", &[])]);
    for order in [[1, 2], [2, 1]] {
        let mut replica = Replica::default();
        for author in [1, 2] {
            replica.apply(&nothing(nth(author, 1), None, b"other"));
        }
        for author in order {
            replica.apply(&nothing(nth(author, 2), Some(nth(author, 1)), b"k"));
        }
        let value = &replica.rows[&rows::key(&map(), b"k")];
        // What says that they lie here, and the first one's feed.
        assert_eq!(value[..2], [0, 0], "{order:?}");
    }
}

#[test]
fn limits_hold_on_both_sides() {
    let dots: Vec<Dot> = (0..65).map(|number| dot(1, number)).collect();
    let key = vec![0; MAX_KEY + 1];
    assert!(Op::new(&key[1..], dots[1..].to_vec(), Change::Remove).is_ok());
    assert_eq!(Op::new(&*key, [], Change::Remove), Err(OpError::Key { len: 1025 }));
    assert_eq!(Op::new(b"", dots.clone(), Change::Remove), Err(OpError::Over { count: 65 }));
    let value = vec![0; MAX_VALUE + 1];
    let len = value.len();
    assert_eq!(Op::new(b"", [], Change::Put(value)), Err(OpError::Value { len }));

    let several = Op::all(b"k", &dots, Change::Put(b"v".to_vec())).unwrap();
    assert_eq!(several.len(), 2);
    assert_eq!(*several[0].change(), Change::Remove);
    let named: Vec<Dot> = several.iter().flat_map(Op::over).copied().collect();
    assert_eq!(named, dots);
    assert_eq!(Op::all(b"k", &[], Change::Remove).unwrap(), [remove(b"k", &[])]);

    // The largest operation of all fits a payload.
    let feeds = (0..64).map(|at| id(feed(at, 1), 1, 0).dot(0));
    let largest = Op::new(&key[1..], feeds, Change::Put(vec![1; MAX_VALUE])).unwrap();
    let mut draft = crate::proto::entry::Draft::new();
    assert!(draft.op(map(), largest.encode()).is_ok());
    assert_eq!(Op::decode(&largest.encode()), Ok(largest));
}

#[test]
fn one_operation_has_one_encoding() {
    let bytes = put(b"k", "v", &[dot(1, 5), dot(2, 6)]).encode();
    let change = |range: Range<usize>, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes.splice(range, with.iter().copied());
        Op::decode(&bytes)
    };
    let (feeds, dots) = (5..85, 86..128);
    assert_eq!(change(0..1, &[4]), Err(OpError::Change { change: 4 }));
    assert_eq!(change(4..5, &[65]), Err(OpError::Over { count: 65 }));
    assert_eq!(change(85..86, &[65]), Err(OpError::Over { count: 65 }));
    let swapped = |range: &Range<usize>| {
        let (one, other) = bytes[range.clone()].split_at(range.len() / 2);
        [other, one].concat()
    };
    assert_eq!(change(feeds.clone(), &swapped(&feeds)), Err(OpError::Order));
    assert_eq!(change(dots.clone(), &swapped(&dots)), Err(OpError::Order));
    let twice = bytes[86..107].repeat(2);
    assert_eq!(change(dots, &twice), Err(OpError::Order));
    assert_eq!(change(86..87, &[9]), Err(OpError::Order), "no such feed");
    assert_eq!(change(85..107, &[1]), Err(OpError::Order), "a feed without use");
    let mut longer = remove(b"k", &[]).encode();
    longer.push(0);
    assert!(matches!(Op::decode(&longer), Err(OpError::Torn(_))));
}

#[test]
fn an_operation_of_another_kind_of_collection_has_no_effect() {
    let [_, set, register, counter] = collections();
    let mut replica = Replica::default();
    let mut parent = None;
    for (number, (collection, op)) in (1..).zip([
        (map(), count(b"", 1, &[])),
        (set, put(b"", "value", &[])),
        (set, count(b"", 1, &[])),
        (register, put(b"k", "value", &[])),
        (register, count(b"", 1, &[])),
        (counter, put(b"", "value", &[])),
        (Collection::new(Kind::Document, "d"), put(b"", "value", &[])),
    ]) {
        let id = id(feed(1, 1), number, 0);
        replica.apply(&said(id, parent, collection, vec![op]));
        parent = Some(id);
    }
    assert_eq!(replica.rows, Memory::new());
}

proptest! {
    #[test]
    fn operations_round_trip(
        key in prop::collection::vec(any::<u8>(), 0..40),
        dots in prop::collection::vec((0..4u8, 1..9u64), 0..20),
        value in prop::collection::vec(any::<u8>(), 0..40),
        total: i64,
        change in 0..3u8,
    ) {
        let change = match change {
            0 => Change::Remove,
            1 => Change::Put(value),
            _ => Change::Count(total),
        };
        let dots = dots.iter().map(|(author, number)| dot(*author, *number));
        let op = Op::new(key, dots, change).unwrap();
        prop_assert_eq!(Op::decode(&op.encode()), Ok(op));
    }

    #[test]
    fn what_is_read_is_what_is_written(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200), change in 0..4u8, small: bool,
    ) {
        if small && bytes.len() > 5 {
            (bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]) = (change, 0, 0, 1, 0);
        }
        if let Ok(op) = Op::decode(&bytes) {
            prop_assert_eq!(op.encode(), bytes);
        }
    }
}
