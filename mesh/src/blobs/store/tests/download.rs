use bao_tree::{
    BlockSize, ChunkNum, ChunkRanges,
    io::{outboard::PostOrderMemOutboard, sync::encode_ranges_validated},
};

use super::*;

#[test]
fn an_encoding_is_baos() {
    let mut dice = Dice(1);
    for size in SIZES {
        let (store, id, content) = provider(size, 1);
        let outboard = PostOrderMemOutboard::create(&content, BlockSize::from_chunk_log(4));
        for _ in 0..8 {
            let start = dice.below(groups(size));
            let range = start..start + 1 + dice.below(groups(size) - start);
            let to_end = range.end == groups(size);
            let chunks = ChunkNum(range.start * 16);
            let chunks = if to_end {
                ChunkRanges::from(chunks..)
            } else {
                ChunkRanges::from(chunks..ChunkNum(range.end * 16))
            };
            let mut expected = Vec::new();
            encode_ranges_validated(&content[..], &outboard, &chunks, &mut expected).unwrap();
            assert_eq!(encode(&store, &id, range.clone()), expected, "{range:?} of {size}");
            assert_eq!(encoded_len(size, range), expected.len() as u64);
        }
    }
    assert_eq!(encoded_len(GROUP, 0..2) + encoded_len(GROUP, 1..1), 0);
}

#[test]
fn an_encoding_comes_in_pieces_of_bounded_size() {
    let (store, id, _) = provider(100 * GROUP, 2);
    let mut encoder = store.encode(&id, 0..100).unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = encoder.next_piece().unwrap() {
        assert!(piece.len() < 300 * 1024);
        whole.extend_from_slice(&piece);
    }
    assert_eq!(whole, encode(&store, &id, 0..100));
}

#[test]
fn a_download_of_any_size_cut_anywhere_arrives() {
    let mut dice = Dice(3);
    for size in SIZES {
        let (from, id, content) = provider(size, 3);
        let (folder, store) = fresh();
        let download = store.begin(id, size).unwrap();
        let all = 0..groups(size);
        assert_eq!(download.missing(), one(all.clone()));
        let mut writer = download.writer(all.clone()).unwrap();
        let encoded = encode(&from, &id, all);
        let mut rest = &encoded[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(1 + dice.below(50_000) as usize));
            writer.push(head).unwrap();
            rest = tail;
        }
        writer.finish().unwrap();
        assert!(download.is_complete() && download.missing().is_empty(), "{size}");
        assert_eq!(read_all(&store, &id), content);
        assert_eq!(names(&folder.path().join("blobs")), [id.to_string()], "one file");
        drop((download, store));
        assert_eq!(read_all(&open(folder.path()), &id), content);
    }
}

#[test]
fn what_is_held_is_resumed_and_served() {
    let size = 70 * GROUP + 5;
    let (from, id, content) = provider(size, 4);
    let (folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    for run in [3..7, 40..41, 60..71] {
        receive(&download, run.clone(), &encode(&from, &id, run)).unwrap();
    }
    drop((download, store));
    let store = open(folder.path());
    let runs = vec![3..7, 40..41, 60..71];
    assert_eq!(store.status(&id), BlobStatus::Partial { size, proved: true, held: runs.clone() });
    for run in runs {
        assert_eq!(encode(&store, &id, run.clone()), encode(&from, &id, run));
    }
    for range in [2..5, 40..42, 7..8] {
        let refused = store.encode(&id, range.clone()).unwrap_err();
        assert!(matches!(refused, ReadError::Missing { .. }), "{range:?}: {refused}");
    }
    only_right_bytes(&store, &id, &content);
    complete(&store, &from, &id, &content);
}

#[test]
fn several_senders_at_once_make_one_blob() {
    let size = 200 * GROUP + 77;
    let (from, id, content) = provider(size, 5);
    let (_folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let (download, from) = (download.clone(), from.clone());
            scope.spawn(move || {
                // Neighbouring spans, and some of them twice.
                for span in 0..26 {
                    if span % 3 == sender % 3 || span % 4 == sender {
                        let run = span * 8..(span * 8 + 8).min(groups(size));
                        if !run.is_empty() {
                            receive(&download, run.clone(), &encode(&from, &id, run)).unwrap();
                        }
                    }
                }
            });
        }
        for _ in 0..20 {
            only_right_bytes(&store, &id, &content);
        }
    });
    assert!(download.is_complete());
    assert_eq!(read_all(&store, &id), content);
}

#[test]
fn a_thousand_tampered_encodings_store_nothing_wrong() {
    let size = 6 * GROUP + 100;
    let (from, id, content) = provider(size, 6);
    let encoded = encode(&from, &id, 0..7);
    let (_folder, store) = fresh();
    let mut dice = Dice(6);
    for round in 0..1000 {
        let mut tampered = encoded.clone();
        // Every other one in the pairs of hashes, which are few.
        let at = match round % 2 {
            0 => dice.below(tampered.len() as u64) as usize,
            _ => dice.below(3 * 64) as usize,
        };
        tampered[at] ^= 1 << dice.below(8);
        let download = store.begin(id, size).unwrap();
        let error = receive(&download, 0..7, &tampered).unwrap_err();
        let WriteError::Wrong { groups } = error else { panic!("{error}") };
        let before: Vec<_> = (groups.start > 0).then_some(0..groups.start).into_iter().collect();
        assert_eq!(held(&store, &id), before, "what came before the flipped bit");
        if round % 50 == 0 {
            only_right_bytes(&store, &id, &content);
        }
        drop(download);
        if groups.start > 0 {
            store.remove(&id).unwrap();
        }
    }
    complete(&store, &from, &id, &content);
}

#[test]
fn an_encoding_too_short_or_too_long_is_told() {
    let (from, id, _) = provider(3 * GROUP, 7);
    let encoded = encode(&from, &id, 0..3);
    let (_folder, store) = fresh();
    let download = store.begin(id, 3 * GROUP).unwrap();
    for cut in [0, 63, 64, 20_000, encoded.len() - 1] {
        let short = receive(&download, 0..3, &encoded[..cut]);
        assert!(matches!(short, Err(WriteError::TooShort)), "{cut}");
    }
    assert_eq!(held(&store, &id), one(0..2), "what came before is kept");
    let long = receive(&download, 0..3, &[&encoded[..], b"x"].concat());
    assert!(matches!(long, Err(WriteError::TooLong { excess: 1 })));
    assert!(download.is_complete());
    assert!(download.writer(0..4).is_err() && download.writer(1..1).is_err());
}

#[test]
fn a_false_size_holds_nothing_and_reserves_nothing() {
    let size = 5 * GROUP;
    let (from, id, content) = provider(size, 8);
    let (folder, store) = fresh();
    for claim in [0, 1, GROUP, 2 * GROUP, 9 * GROUP, 1 << 40, MAX_SIZE] {
        let download = store.begin(id, claim).unwrap();
        assert_eq!((store.used(), download.is_proved()), (0, false));
        let all = 0..groups(claim).min(5);
        let Err(WriteError::Wrong { .. } | WriteError::TooShort) =
            receive(&download, all, &encode(&from, &id, 0..5))
        else {
            panic!("a size of {claim} was believed")
        };
        assert!(!download.is_complete());
        drop(download);
        assert_eq!(store.status(&id), BlobStatus::Absent, "{claim}");
    }
    assert!(matches!(store.begin(id, MAX_SIZE + 1), Err(BeginError::TooLarge { .. })));
    assert_eq!(names(&folder.path().join("blobs")), [""; 0]);
    complete(&store, &from, &id, &content);
}

#[test]
fn a_proved_size_replaces_a_claimed_one_and_keeps_what_is_right() {
    let size = 21 * GROUP + 500;
    let (from, id, content) = provider(size, 9);
    for claim in [size + 1, size - 1, size - 500, 22 * GROUP, 24 * GROUP, 30 * GROUP] {
        let (folder, store) = fresh();
        let claimed = store.begin(id, claim).unwrap();
        // All groups in the full subtree of 16 verify under the false size as well.
        let run = 0..16;
        receive(&claimed, run.clone(), &encode(&from, &id, run)).unwrap();
        let last = groups(size) - 1;
        let proof = encode(&from, &id, last..last + 1);
        for false_size in [claim, size + 2, GROUP] {
            assert!(matches!(store.prove(id, false_size, &proof), Err(ProveError::Wrong { .. })));
        }
        let Err(BeginError::OtherSize { size: held, proved: false }) = store.begin(id, size) else {
            panic!("two sizes at once")
        };
        assert_eq!(held, claim);
        store.prove(id, size, &proof).unwrap();
        let late = claimed.writer(0..1).unwrap().push(&encode(&from, &id, 16..17));
        assert!(late.is_err());
        let expected = vec![0..16, last..last + 1];
        assert_eq!(super::held(&store, &id), expected, "claimed {claim}");
        assert!(matches!(store.begin(id, claim), Err(BeginError::OtherSize { proved: true, .. })));
        only_right_bytes(&store, &id, &content);
        drop((claimed, store));
        complete(&open(folder.path()), &from, &id, &content);
    }
}

#[test]
fn a_proof_alone_begins_a_download() {
    for size in [0, 5, GROUP, 9 * GROUP + 1] {
        let (from, id, content) = provider(size, 10);
        let (_folder, store) = fresh();
        let last = groups(size) - 1;
        store.prove(id, size, &encode(&from, &id, last..last + 1)).unwrap();
        assert_eq!(held(&store, &id), one(last..last + 1));
        complete(&store, &from, &id, &content);
        store.prove(id, size, &encode(&from, &id, last..last + 1)).unwrap();
    }
}

#[test]
fn adding_what_is_being_fetched_completes_it() {
    let (from, id, content) = provider(9 * GROUP, 11);
    let (folder, store) = fresh();
    let download = store.begin(id, 9 * GROUP).unwrap();
    receive(&download, 2..4, &encode(&from, &id, 2..4)).unwrap();
    store.add_bytes(&content).unwrap();
    assert!(download.is_complete());
    receive(&download, 3..9, &encode(&from, &id, 3..9)).unwrap();
    assert_eq!(read_all(&store, &id), content);
    assert_eq!(names(&folder.path().join("blobs")), [id.to_string()]);
}

#[test]
fn who_brings_the_last_group_is_told_so_once_the_blob_is_whole_whoever_makes_it_that() {
    let size = 16 * GROUP;
    let (from, id, _) = provider(size, 3);
    let (rest, last) = (encode(&from, &id, 0..15), encode(&from, &id, 15..16));
    for _ in 0..30 {
        let (_folder, store) = fresh();
        let download = store.begin(id, size).unwrap();
        receive(&download, 0..15, &rest).unwrap();
        let at_once = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    at_once.wait();
                    receive(&download, 15..16, &last).unwrap();
                    assert!(download.is_complete());
                });
            }
        });
    }
}
