//! Walkers give what a peer lacks, and in order.

use super::*;

/// What walkers give, as a session walks them: always the one that comes first.
fn given(book: &Book<Memory>, ways: Vec<Walker>) -> Vec<(Position, Tip)> {
    let next = |way: &Walker| {
        let Ok(next) = book.step(way);
        next
    };
    let mut heap: BTreeMap<Position, Walker> = ways.iter().filter_map(&next).collect();
    let mut given = Vec::new();
    while let Some((position, way)) = heap.pop_first() {
        let Ok(stored) = book.stored(&way);
        let stored = stored.expect("what is stepped to is kept");
        assert_eq!((stored.position, stored.id.number), (position, way.behind().number));
        let Ok(entry) = book.entry(way.local(), way.behind());
        let entry = entry.unwrap();
        assert_eq!(stored.header, entry.header().encode());
        assert_eq!(stored.payload, entry.payload().as_bytes());
        given.push((position, way.behind()));
        heap.extend(next(&way));
    }
    given
}

/// Entries with all that they descend from.
fn down(tips: &[Tip], all: &Nodes) -> BTreeSet<Tip> {
    let mut below = BTreeSet::new();
    for tip in tips {
        let mut at = all.get(*tip);
        while let Some(node) = at {
            below.insert(node.tip());
            at = all.get(Tip { number: node.number - 1, hash: node.parent });
        }
    }
    below
}

/// What of ours somebody with these tips is given, by what `ways` says.
fn lacking(ours: &Nodes, theirs: &[Tip], is_forked: bool) -> BTreeSet<Tip> {
    let shared: Vec<Tip> = theirs.iter().filter(|tip| ours.get(**tip).is_some()).copied().collect();
    let top = ours.iter().map(|node| node.number).max().unwrap_or(0);
    let is_ahead = theirs.iter().any(|tip| tip.number > top);
    if shared.is_empty() && is_ahead && !is_forked {
        return BTreeSet::new();
    }
    let has = down(&shared, ours);
    ours.iter().map(|node| node.tip()).filter(|tip| !has.contains(tip)).collect()
}

fn check_ways(book: &Book<Memory>, theirs: &[Tip], is_forked: bool) {
    let Ok(ways) = book.ways(&feed(1), theirs, is_forked);
    let given = given(book, ways);
    assert!(given.is_sorted_by(|one, next| one.0 < next.0), "in the order of intake, each once");
    let given: BTreeSet<Tip> = given.into_iter().map(|(_, tip)| tip).collect();
    assert_eq!(given, lacking(&kept(book, &feed(1)), theirs, is_forked), "of {theirs:?}");
}

/// A part of a tree, taken in by somebody in an order of his own.
fn somebody(rng: &mut ChaCha12Rng, entries: &[Entry]) -> Book<Memory> {
    let mut some: Vec<Entry> = entries.to_vec();
    some.truncate(rng.random_range(0..=entries.len()));
    some.shuffle(rng);
    some.retain(|_| rng.random_bool(0.9));
    let Ok(mut book) = Book::open(Memory::new());
    offer(&mut book, &some, |_| {});
    book
}

#[test]
fn a_peer_is_given_exactly_what_it_lacks_in_the_order_of_intake() {
    for_seeds(150, |rng| {
        let entries = tree(rng, 1, 24);
        let (ours, theirs) = (somebody(rng, &entries), somebody(rng, &entries));
        let known = theirs.known(&feed(1));
        let tips = known.map(|known| known.feed().tips()).unwrap_or_default();
        let is_forked = [&ours, &theirs].iter().any(|book| book.evidence(&feed(1)).is_some());
        check_ways(&ours, &tips, is_forked);
        check_ways(&ours, &[], is_forked);
        // Rows that no honest peer says.
        let any = |rng: &mut ChaCha12Rng| {
            let header = entries[rng.random_range(0..entries.len())].header();
            Tip { number: header.number(), hash: header.hash() }
        };
        check_ways(&ours, &[any(rng), any(rng)], rng.random_bool(0.5));
    });
}

#[test]
fn who_is_ahead_on_an_unknown_branch_gives_first_unless_a_fork_is_known() {
    let Ok(mut book) = Book::open(Memory::new());
    let first = entry(1, None, &collection(0), 1);
    let second = entry(1, Some(&first), &collection(0), 2);
    offer(&mut book, &[first, second], |_| {});
    let tip = |number| Tip { number, hash: Hash::from_bytes([9; 32]) };
    let count = |theirs, is_forked| {
        let Ok(ways) = book.ways(&feed(1), &[tip(theirs)], is_forked);
        given(&book, ways).len()
    };
    assert_eq!(count(3, false), 0, "it sends, and that shows whether there is a fork");
    assert_eq!(count(2, false), 2, "of equal length it is a fork");
    assert_eq!(count(3, true), 2);
    assert_eq!(book.ways(&feed(2), &[tip(1)], false), Ok(Vec::new()), "a feed not known here");
}

#[test]
fn a_walker_ends_where_its_way_was_evicted() {
    let Ok(mut book) = Book::open(Memory::new());
    let root = entry(1, None, &collection(0), 1);
    let mut heads: Vec<Entry> =
        (2..5).map(|salt| entry(1, Some(&root), &collection(0), salt)).collect();
    heads.sort_by_key(|entry| entry.header().hash());
    offer(&mut book, &[root, heads[1].clone(), heads[2].clone()], |_| {});
    let Ok(ways) = book.ways(&feed(1), &[], true);
    let Ok(Some((_, evicted))) = book.step(&Walker::new(0, ways[1].behind(), 1)) else {
        panic!("there are two lanes")
    };
    assert_eq!(evicted.behind().hash, heads[2].header().hash());
    offer(&mut book, &heads[..1], |_| {});
    assert_eq!(book.stored(&evicted), Ok(None));
    assert_eq!(book.step(&evicted), Ok(None));
}
