//! Rules one by one.

use super::*;

/// Siblings, ascending by their hashes.
fn siblings(parent: Option<&Entry>, into: &Collection, count: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = (0..count).map(|salt| entry(1, parent, into, salt)).collect();
    all.sort_by_key(|entry| entry.header().hash());
    all
}

fn take(book: &mut Book<Memory>, entry: &Entry) -> Taken {
    let Ok(taken) = book.take(entry, Authority::Genesis);
    check(book);
    taken
}

#[test]
fn an_entry_that_hangs_in_the_air_makes_no_feed() {
    let Ok(mut book) = Book::open(Memory::new());
    let first = entry(1, None, &collection(0), 1);
    let second = entry(1, Some(&first), &collection(0), 2);
    assert_eq!(take(&mut book, &second).placed, Placed::Gap);
    assert!(book.catalog().feeds().is_empty() && book.rows().is_empty());
    assert_eq!(take(&mut book, &entry(2, None, &collection(0), 3)).position, Some(book.last()));
    assert_eq!(book.local(&feed(2)), Some(0));
}

#[test]
fn a_fork_in_two_makes_nothing_stale_and_a_third_branch_what_it_evicts() {
    let Ok(mut book) = Book::open(Memory::new());
    let root = entry(1, None, &collection(0), 1);
    let heads = siblings(Some(&root), &collection(1), 3);
    let above = entry(1, Some(&heads[2]), &collection(2), 9);
    for entry in [&root, &heads[1], &heads[2], &above] {
        assert!(take(&mut book, entry).placed.is_new());
    }
    assert!(book.stale().is_empty(), "accidents undo nothing");
    let taken = take(&mut book, &heads[0]);
    assert!(matches!(taken.placed, Placed::Replaced { .. }));
    assert_eq!(*book.stale(), [collection(1), collection(2)].into());
    for gone in [&heads[2], &above] {
        assert_eq!(book.position(&gone.header().id()), Ok(None));
        assert_eq!(book.header(&gone.header().id()), Ok(None));
    }
    for collection in book.stale().clone() {
        let Ok(()) = book.rebuild(&collection);
        check(&book);
    }
    assert!(book.stale().is_empty());
    assert_eq!(state(&book), state(&fresh(&book)));
}

#[test]
fn what_lost_leaves_a_witness_and_nothing_else() {
    let Ok(mut book) = Book::open(Memory::new());
    let heads = siblings(None, &collection(0), 3);
    take(&mut book, &heads[1]);
    let taken = take(&mut book, &heads[2]);
    assert!(taken.is_forked_anew && taken.placed.is_new());
    let rows = book.rows().len();
    let above = entry(1, Some(&heads[2]), &collection(0), 7);
    assert!(take(&mut book, &heads[0]).is_forked_anew);
    assert_eq!(take(&mut book, &heads[2]).placed, Placed::Lost { to: heads[1].header().hash() });
    assert_eq!(take(&mut book, &above).placed, Placed::Gap);
    // As many entries and witnesses; and the collection is stale, and shows what went, too.
    assert_eq!(book.rows().len(), rows + 2);
}

#[test]
fn a_known_entry_keeps_its_position() {
    let Ok(mut book) = Book::open(Memory::new());
    let first = entry(1, None, &collection(0), 1);
    let position = take(&mut book, &first).position;
    take(&mut book, &entry(2, None, &collection(0), 2));
    let again = take(&mut book, &first);
    assert_eq!((again.placed, again.position), (Placed::Held, position));
    assert_eq!(book.order(Position::ZERO).count(), 2);
}

/// Nobody can sign two headers with one tag within a test: 2³² hashes. So the branch is tested
/// where it is decided.
#[test]
fn entries_of_one_number_and_tag_are_twins() {
    let hash = |last| {
        let mut bytes = [7; Hash::LEN];
        bytes[Hash::LEN - 1] = last;
        Hash::from_bytes(bytes)
    };
    let node = |hash| Node { number: 4, hash, parent: Hash::from_bytes([1; 32]) };
    let id = EntryId { feed: feed(1), number: 4, hash: hash(1) };
    let level = |hashes: &[Hash]| hashes.iter().map(|hash| node(*hash)).collect::<Nodes>();
    assert!(!is_twin(&id, &level(&[hash(1)])), "no entry is its own twin");
    assert!(is_twin(&id, &level(&[hash(1), hash(2)])));
    assert!(!is_twin(&id, &level(&[hash(1), Hash::from_bytes([8; 32])])));
}
