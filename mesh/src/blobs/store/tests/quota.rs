use std::time::{Duration, UNIX_EPOCH};

use super::*;

const BOTH: [Eviction; 2] = [Eviction::S3Fifo, Eviction::Lru];

/// Bytes on disk of a blob of ten groups.
const TEN: u64 = 41 * 4096;

fn add(store: &BlobStore, seed: u64) -> BlobId {
    store.add_bytes(&content(10 * GROUP, seed)).unwrap().id()
}

fn fill(store: &BlobStore, seeds: Range<u64>) {
    for seed in seeds {
        add(store, seed);
    }
}

fn is_here(store: &BlobStore, id: &BlobId) -> bool {
    store.status(id) != BlobStatus::Absent
}

#[test]
fn the_quota_holds_whatever_is_added() {
    for eviction in BOTH {
        let (folder, store) = with_quota(5 * TEN, eviction);
        for seed in 0..30 {
            let id = add(&store, seed);
            assert!(is_here(&store, &id), "what was just added is here");
            assert!(store.used() <= store.quota());
        }
        assert_eq!((store.list().len(), store.used()), (5, 5 * TEN));
        assert_eq!(store.used(), store.list().iter().map(|info| info.on_disk).sum::<u64>());
        assert_eq!(names(&folder.path().join("blobs")).len(), 5, "evicted files are gone");
        assert_eq!(names(&folder.path().join("tmp")).len(), 0);
    }
}

#[test]
fn what_can_never_fit_evicts_nothing() {
    for eviction in BOTH {
        let (_folder, store) = with_quota(5 * TEN, eviction);
        let ids: Vec<_> = (0..3).map(|seed| add(&store, seed)).collect();
        store.pin(ids[0], "mine", Reach::Blob).unwrap();
        let error = store.begin(BlobId::of(b"x"), 45 * GROUP).unwrap_err();
        let BeginError::Quota(QuotaExceeded { quota, pinned, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!((quota, pinned), (5 * TEN, TEN));
        assert!(ids.iter().all(|id| is_here(&store, id)));
        let error = store.add_bytes(&content(45 * GROUP, 9)).unwrap_err();
        assert!(matches!(error, AddError::Quota(_)), "{error}");
        assert!(is_here(&store, &ids[0]));
        assert_eq!(store.kept(), TEN, "nothing stays reserved");
    }
}

#[test]
fn the_least_recently_used_goes_first() {
    let (_folder, store) = with_quota(4 * TEN, Eviction::Lru);
    let ids: Vec<_> = (0..4).map(|seed| add(&store, seed)).collect();
    store.read_at(&ids[0], 0, &mut [0]).unwrap();
    add(&store, 10);
    add(&store, 11);
    let here: Vec<_> = ids.iter().map(|id| is_here(&store, id)).collect();
    assert_eq!(here, [true, false, false, true]);
}

#[test]
fn a_long_scan_does_not_push_out_what_is_read_again() {
    let (_folder, store) = with_quota(40 * 4096, Eviction::S3Fifo);
    let small = |seed| store.add_bytes(&content(100, seed)).unwrap().id();
    let hot: Vec<_> = (0..10).map(small).collect();
    for seed in 100..280 {
        small(seed);
        if seed % 10 == 0 {
            hot.iter().filter(|id| is_here(&store, id)).for_each(|id| {
                store.read_at(id, 0, &mut [0]).unwrap();
            });
        }
    }
    assert!(hot.iter().all(|id| is_here(&store, id)), "read again and again");
    assert_eq!(store.used(), 40 * 4096);
}

#[test]
fn pins_keep_until_the_last_is_gone_and_over_restarts() {
    for eviction in BOTH {
        let (folder, store) = with_quota(3 * TEN, eviction);
        let pinned = add(&store, 0);
        store.pin(pinned, "one", Reach::Blob).unwrap();
        store.pin(pinned, "one", Reach::Blob).unwrap();
        store.pin(pinned, "two", Reach::Blob).unwrap();
        fill(&store, 1..8);
        assert!(is_here(&store, &pinned));
        assert!(matches!(store.remove(&pinned), Err(RemoveError::Pinned)));
        drop(store);
        let store = BlobStore::open(folder.path(), Options { quota: 3 * TEN, eviction }).unwrap();
        let pin = |name: &str| Pin { id: pinned, name: name.to_owned(), reach: Reach::Blob };
        assert_eq!(store.pins(), [pin("one"), pin("two")]);
        store.unpin(&pinned, "one").unwrap();
        fill(&store, 11..18);
        assert!(is_here(&store, &pinned));
        store.unpin(&pinned, "two").unwrap();
        store.unpin(&pinned, "two").unwrap();
        fill(&store, 21..35);
        assert!(!is_here(&store, &pinned));
        assert_eq!((store.pins(), store.kept()), (vec![], 0));
    }
}

#[test]
fn a_pins_name_is_checked() {
    let (folder, store) = fresh();
    for name in ["", "A", "a.b", "../x", "a/b", &"x".repeat(65)] {
        let refused = store.pin(BlobId::of(b""), name, Reach::Blob);
        assert!(matches!(refused, Err(PinError::Name)), "{name:?}");
    }
    store.pin(BlobId::of(b""), &"x".repeat(64), Reach::Collection).unwrap();
    store.pin(BlobId::of(b""), &"x".repeat(64), Reach::Blob).unwrap();
    assert_eq!(names(&folder.path().join("pins")).len(), 1);
}

#[test]
fn what_is_in_use_is_neither_evicted_nor_removed() {
    for eviction in BOTH {
        let (_folder, store) = with_quota(3 * TEN, eviction);
        let ids: Vec<_> = (0..3).map(|seed| add(&store, seed)).collect();
        let mut reader = store.reader(&ids[0]).unwrap();
        let encoder = store.encode(&ids[1], 0..10).unwrap();
        fill(&store, 10..16);
        assert!(is_here(&store, &ids[0]) && is_here(&store, &ids[1]) && !is_here(&store, &ids[2]));
        assert!(matches!(store.remove(&ids[0]), Err(RemoveError::InUse)));
        assert_eq!(reader.read_up_to(1 << 30).unwrap(), content(10 * GROUP, 0));
        let third = store.add_bytes(&content(10 * GROUP, 20)).unwrap();
        let full = store.add_bytes(&content(10 * GROUP, 21)).unwrap_err();
        assert!(full.to_string().contains("raise the quota"), "{full}");
        drop((third, reader, encoder));
        store.remove(&ids[0]).unwrap();
        assert!(matches!(store.remove(&ids[0]), Err(RemoveError::Absent)));
        assert_eq!((store.used(), store.kept()), (2 * TEN, 0));
    }
}

#[test]
fn a_download_makes_room_as_it_goes() {
    for eviction in BOTH {
        let (from, id, content) = provider(20 * GROUP, 1);
        let (_folder, store) = with_quota(4 * TEN, eviction);
        let ids: Vec<_> = (10..14).map(|seed| add(&store, seed)).collect();
        let download = store.begin(id, 20 * GROUP).unwrap();
        assert!(ids.iter().all(|id| is_here(&store, id)), "a claim evicts nothing");
        receive(&download, 0..1, &encode(&from, &id, 0..1)).unwrap();
        assert_eq!(ids.iter().filter(|id| is_here(&store, id)).count(), 3);
        drop(download);
        complete(&store, &from, &id, &content);
        assert!(store.used() <= store.quota());
        assert_eq!(store.used(), store.list().iter().map(|info| info.on_disk).sum::<u64>());
        assert_eq!(store.kept(), 0);
    }
}

#[test]
fn a_download_that_finds_no_room_keeps_what_it_has() {
    let size = 20 * GROUP;
    let (from, id, content) = provider(size, 2);
    let (_folder, store) = with_quota(3 * TEN, Eviction::default());
    let download = store.begin(id, size).unwrap();
    receive(&download, 0..8, &encode(&from, &id, 0..8)).unwrap();
    let in_the_way = [3, 4].map(|seed| store.add_bytes(&super::content(5 * GROUP, seed)).unwrap());
    let pinned = store.add_bytes(&super::content(7 * GROUP, 5)).unwrap();
    let error = receive(&download, 8..20, &encode(&from, &id, 8..20)).unwrap_err();
    assert!(matches!(error, WriteError::Quota(_)), "{error}");
    assert!(held(&store, &id)[0].end >= 8);
    only_right_bytes(&store, &id, &content);
    drop((in_the_way, pinned));
    complete(&store, &from, &id, &content);
}

#[test]
fn the_order_of_eviction_survives_a_restart() {
    for eviction in BOTH {
        let (folder, store) = with_quota(6 * TEN, eviction);
        let ids: Vec<_> = (0..6).map(|seed| add(&store, seed)).collect();
        drop(store);
        // The second was used last, and so on.
        for (age, at) in [(9, 0), (1, 1), (8, 2), (2, 3), (7, 4), (3, 5)] {
            let file = fs::File::open(blob_file(folder.path(), &ids[at], "")).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
        }
        // A lower quota evicts at once.
        let store = BlobStore::open(folder.path(), Options { quota: 3 * TEN, eviction }).unwrap();
        let here: Vec<_> = ids.iter().map(|id| is_here(&store, id)).collect();
        assert_eq!(here, [false, true, false, true, false, true], "{eviction:?}");
        assert_eq!(store.used(), 3 * TEN);
    }
}

#[test]
fn many_at_once_keep_the_sums_right() {
    for eviction in BOTH {
        let (_folder, store) = with_quota(20 * TEN, eviction);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = store.clone();
                scope.spawn(move || {
                    let mut dice = Dice(thread);
                    for _ in 0..60 {
                        let seed = dice.below(30);
                        let content = content((1 + seed) * GROUP, seed);
                        let added = store.add_bytes(&content).unwrap();
                        match dice.below(4) {
                            0 => store.pin(added.id(), "some", Reach::Blob).unwrap(),
                            1 => store.unpin(&added.id(), "some").unwrap(),
                            2 => assert_eq!(read_all(&store, &added.id()), content),
                            _ => drop(store.remove(&added.id())),
                        }
                        if seed < 28 {
                            store.unpin(&added.id(), "some").unwrap();
                        }
                    }
                });
            }
        });
        let list = store.list();
        assert_eq!(store.used(), list.iter().map(|info| info.on_disk).sum::<u64>());
        let pinned = list.iter().filter(|info| info.pinned).map(|info| info.on_disk);
        assert_eq!(store.kept(), pinned.sum::<u64>());
        assert!(store.used() <= store.quota());
    }
}
