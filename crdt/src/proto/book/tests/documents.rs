//! Which entries count for documents, and what becomes of their files.

use super::super::documents::of;
use super::*;

fn document() -> Collection {
    Collection::new(Kind::Document, "notes")
}

/// What an author signs who forks.
fn branches(rng: &mut ChaCha12Rng) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..rng.random_range(1..14) {
        let parent = match entries.len() {
            0 => None,
            len if rng.random_bool(0.7) => Some(&entries[len - 1]),
            len => Some(&entries[rng.random_range(0..len)]),
        };
        let into = if rng.random_bool(0.8) { document() } else { collection(0) };
        entries.push(entry(1, parent, &into, rng.random_range(0..=u64::MAX)));
    }
    entries
}

fn counted(book: &Book<Memory>, counting: &mut Counting) -> Vec<Tip> {
    let mut found = Vec::new();
    for change in changes(book.rows(), &document(), Position::ZERO) {
        let Ok((at, local, tip)) = change;
        let entry = super::super::entry(book.rows(), local, tip).unwrap_or_else(|e| match e {});
        let entry = entry.expect("what is listed is kept");
        assert_eq!(book.position(&entry.header().id()), Ok(Some(at)));
        if counting.counts(book.rows(), local, entry.header()) == Ok(true) {
            found.push(tip);
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn one_branch_of_a_forked_feed_counts_and_the_same_on_every_replica() {
    let mut forked = 0;
    for seed in 0..300 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut entries = branches(&mut rng);
        let mut first: Option<Vec<Tip>> = None;
        for _ in 0..3 {
            entries.shuffle(&mut rng);
            let mut book = Book::open(Memory::new()).unwrap_or_else(|e| match e {});
            let mut counting = Counting::default();
            offer(&mut book, &entries, |book| {
                // Made anew when told, as readers do.
                if !book.stale().is_empty() {
                    let stale = book.stale().clone();
                    stale.iter().for_each(|of| {
                        let Ok(()) = book.rebuild(of);
                    });
                    counting = Counting::default();
                }
                assert_eq!(
                    counted(book, &mut counting),
                    counted(book, &mut Counting::default()),
                    "seed {seed}: what was asked before holds until collections are made anew"
                );
            });
            let now = counted(&book, &mut Counting::default());
            // At most one of each number: Automerge takes no other.
            assert!(now.windows(2).all(|pair| pair[0].number < pair[1].number), "seed {seed}");
            let kept = defined(&entries);
            let is_forked = kept.iter().any(|node| kept.at(node.number).count() > 1);
            if !is_forked {
                let into = |entry: &&Entry| of(entry).next().is_some();
                let all = entries.iter().filter(into).map(|entry| tip(&entry.header().id()));
                let all = all.filter(|tip| kept.get(*tip).is_some()).count();
                assert_eq!(now.len(), all, "seed {seed}: all count");
            }
            forked += u32::from(is_forked);
            assert_eq!(first.get_or_insert_with(|| now.clone()), &now, "seed {seed}");
        }
    }
    assert!(forked > 100, "only {forked}");
}

#[test]
fn a_file_goes_when_an_entry_that_it_may_hold_counts_no_more() {
    let mut book = Book::open(Memory::new()).unwrap_or_else(|e| match e {});
    let take = |book: &mut Book<Memory>, entry: &Entry| {
        let Ok(taken) = book.take(entry, Authority::Genesis);
        taken.placed
    };
    let keep = |book: &mut Book<Memory>| {
        let Ok(()) = book.rows_mut().put(file_row(&document()), b"file".to_vec());
    };
    let first = entry(1, None, &document(), 0);
    let second = entry(1, Some(&first), &document(), 1);
    let third = entry(1, Some(&second), &document(), 2);
    for entry in [&first, &second] {
        take(&mut book, entry);
    }
    keep(&mut book);
    assert_eq!(take(&mut book, &third), Placed::Appended);
    assert_eq!(file(book.rows(), &document()), Ok(Some(b"file".to_vec())), "more came on top");
    // Another second entry: one of the two branches counts no more.
    let twin = entry(1, Some(&first), &document(), 9);
    assert!(matches!(take(&mut book, &twin), Placed::Forked { .. }));
    assert_eq!(file(book.rows(), &document()), Ok(None));
    assert_eq!(book.stale(), &[document()].into());
    // The mark outlives a restart, and making anew takes it away.
    let mut book = Book::open(book.rows().clone()).unwrap_or_else(|e| match e {});
    assert_eq!(book.stale(), &[document()].into());
    let Ok(()) = book.rebuild(&document());
    assert!(book.stale().is_empty());
    let book = Book::open(book.rows().clone()).unwrap_or_else(|e| match e {});
    assert!(book.stale().is_empty());
}

#[test]
fn a_file_stays_when_only_the_branch_that_does_not_count_is_another() {
    let mut book = Book::open(Memory::new()).unwrap_or_else(|e| match e {});
    let first = entry(1, None, &document(), 0);
    let mut twins: Vec<Entry> = (1..4).map(|n| entry(1, Some(&first), &document(), n)).collect();
    twins.sort_by_key(|entry| entry.header().hash());
    let [smallest, middle, largest] = &twins[..] else { unreachable!() };
    for entry in [&first, smallest, largest] {
        let Ok(_) = book.take(entry, Authority::Genesis);
    }
    let Ok(()) = book.rebuild(&document());
    let Ok(()) = book.rows_mut().put(file_row(&document()), b"file".to_vec());
    let Ok(taken) = book.take(middle, Authority::Genesis);
    assert!(matches!(taken.placed, Placed::Replaced { .. }));
    assert_eq!(file(book.rows(), &document()), Ok(Some(b"file".to_vec())));
    assert!(book.stale().is_empty());
    let listed = changes(book.rows(), &document(), Position::ZERO).count();
    assert_eq!(listed, 3, "what was evicted is listed no more");
}
