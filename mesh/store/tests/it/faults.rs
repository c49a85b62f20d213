//! Each fault, and what follows from it.

use std::fs;

use aether_store::{
    Batch, CommitError, Durability, LogError, OpenError, Options, ReadError, Store,
};

use crate::{chain, open};

fn commit(store: &Store, key: &[u8], durability: Durability) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put(&store.keyspace("k").unwrap(), key, key);
    store.commit(batch, durability).wait()
}

fn keys(store: &Store) -> String {
    let scan = store.keyspace("k").unwrap().prefix(b"");
    scan.map(|item| String::from_utf8(item.unwrap().0.to_vec()).unwrap()).collect()
}

#[test]
fn a_failed_sync_poisons_until_the_store_is_reopened() {
    for (keep, found) in [(None, "ab"), (Some(0), "a"), (Some(u64::MAX), "ab")] {
        let folder = tempfile::tempdir().unwrap();
        let (store, faults) = open(folder.path());
        commit(&store, b"a", Durability::Synced).unwrap();
        faults.fail_next_sync();
        for (key, durability) in [(b"b", Durability::Synced), (b"c", Durability::Buffered)] {
            let error = commit(&store, key, durability).unwrap_err();
            assert!(matches!(error, CommitError::Poisoned { .. }));
            assert!(chain(&error).contains("the sync failed (a fault on order)"), "{error}");
        }
        assert!(store.health().is_err());
        assert!(matches!(store.log("log"), Err(LogError::Poisoned)));
        assert_eq!(keys(&store), "a", "reads go on, and see what was acknowledged");
        if let Some(keep) = keep {
            faults.crash(keep);
        }
        drop(store);
        let (store, _) = open(folder.path());
        assert_eq!(keys(&store), found, "{keep:?}");
        commit(&store, b"d", Durability::Synced).unwrap();
    }
}

#[test]
fn a_failed_sync_of_a_log_poisons_before_the_engine_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let log = store.log("log").unwrap().log;
    faults.fail_next_sync();
    let mut batch = Batch::new();
    batch.put(&store.keyspace("k").unwrap(), b"a", b"a").append(&log, b"a");
    let error = store.commit(batch, Durability::Synced).wait().unwrap_err();
    assert!(chain(&error).contains("log.log"), "{}", chain(&error));
    drop((store, log));
    let (store, _) = open(folder.path());
    assert_eq!(keys(&store), "");
    assert_eq!(store.log("log").unwrap().records, [b"a"]);
}

#[test]
fn a_crash_loses_what_was_not_synced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let log = store.log("log").unwrap().log;
    let write = |key: &[u8], durability| {
        let mut batch = Batch::new();
        batch.put(&store.keyspace("k").unwrap(), key, key).append(&log, key);
        store.commit(batch, durability).wait()
    };
    write(b"a", Durability::Buffered).unwrap();
    write(b"b", Durability::Synced).unwrap();
    write(b"c", Durability::Buffered).unwrap();
    assert_eq!(keys(&store), "abc");
    faults.crash(0);
    let error = write(b"d", Durability::Buffered).unwrap_err();
    assert!(chain(&error).contains("power failed"), "{}", chain(&error));
    drop((store, log));
    let (store, _) = open(folder.path());
    assert_eq!(keys(&store), "ab");
    let opened = store.log("log").unwrap();
    assert_eq!((opened.records, opened.truncated), (vec![b"a".to_vec(), b"b".to_vec()], 0));
}

#[test]
fn a_torn_write_is_found_whole_or_not_at_all() {
    let mut outcomes = [0, 0];
    for keep in (0..200).step_by(3) {
        let folder = tempfile::tempdir().unwrap();
        let (store, faults) = open(folder.path());
        commit(&store, b"a", Durability::Synced).unwrap();
        faults.tear_next_write(keep);
        let (b, c) = (store.keyspace("k").unwrap(), store.keyspace("other").unwrap());
        let mut batch = Batch::new();
        batch.put(&b, b"b", &[7; 20]).put(&c, b"c", &[8; 20]);
        let error = store.commit(batch, Durability::Synced).wait().unwrap_err();
        assert!(matches!(error, CommitError::Poisoned { .. }));
        drop((store, b, c));
        let (store, _) = open(folder.path());
        let (b, c) = (store.keyspace("k").unwrap(), store.keyspace("other").unwrap());
        let found = [b.get(b"b").unwrap().is_some(), c.get(b"c").unwrap().is_some()];
        assert_eq!(found[0], found[1], "of a torn write {keep} bytes were kept");
        assert!(b.get(b"a").unwrap().is_some(), "keep {keep}");
        outcomes[usize::from(found[0])] += 1;
        assert_eq!(store.trimmed() > 0, !found[0] && keep > 0, "keep {keep}");
        // The journal goes on behind the cut.
        commit(&store, b"e", Durability::Synced).unwrap();
        drop((store, b, c));
        let (store, _) = open(folder.path());
        assert!(store.keyspace("k").unwrap().get(b"e").unwrap().is_some(), "keep {keep}");
    }
    assert!(outcomes.iter().all(|count| *count > 5), "{outcomes:?}");
}

#[test]
fn a_torn_append_is_cut_off_and_reported() {
    for keep in 0..60 {
        let folder = tempfile::tempdir().unwrap();
        let (store, faults) = open(folder.path());
        let log = store.log("log").unwrap().log;
        let append = |record: &[u8]| {
            let mut batch = Batch::new();
            batch.append(&log, record);
            store.commit(batch, Durability::Synced).wait()
        };
        append(b"first").unwrap();
        faults.tear_next_write(keep);
        append(b"second").unwrap_err();
        drop((store, log));
        let (store, _) = open(folder.path());
        let opened = store.log("log").unwrap();
        let whole = keep >= 24 + 6;
        assert_eq!(opened.records.len(), 1 + usize::from(whole), "keep {keep}");
        assert_eq!(opened.truncated, if whole { 0 } else { keep }, "keep {keep}");
        drop((store, opened.log));
        let (store, _) = open(folder.path());
        assert_eq!(store.log("log").unwrap().truncated, 0, "it is cut off once");
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    faults.fill_disk(10);
    commit(&store, b"a", Durability::Synced).unwrap();
    let error = commit(&store, b"bb", Durability::Synced).unwrap_err();
    assert!(matches!(error, CommitError::DiskFull { needed: 8, room: 4 }), "{error:?}");
    assert_eq!(keys(&store), "a", "reads go on");
    store.health().unwrap();
    faults.free_disk();
    commit(&store, b"bb", Durability::Synced).unwrap();
    assert_eq!(keys(&store), "abb");
}

#[test]
fn the_reserve_is_left_free() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { reserve: u64::MAX, ..Options::default() };
    let store = Store::open(folder.path(), options).unwrap();
    let error = commit(&store, b"a", Durability::Buffered).unwrap_err();
    assert!(matches!(error, CommitError::DiskFull { room: 0, .. }), "{error:?}");
}

#[test]
fn a_flipped_bit_of_a_value_is_named_and_other_keys_stay_readable() {
    for bit in 0..5 * 8 {
        let folder = tempfile::tempdir().unwrap();
        let (store, faults) = open(folder.path());
        commit(&store, b"a", Durability::Buffered).unwrap();
        faults.flip_next_write(bit);
        commit(&store, b"b", Durability::Buffered).unwrap();
        commit(&store, b"c", Durability::Synced).unwrap();
        let keyspace = store.keyspace("k").unwrap();
        let error = keyspace.get(b"b").unwrap_err();
        assert_eq!(error.to_string(), "the value of \"b\" in keyspace k is corrupt");
        assert!(matches!(error, ReadError::Corrupt { key, .. } if key == b"b"));
        assert!(keyspace.get(b"a").unwrap().is_some());
        let scanned: Vec<bool> = keyspace.prefix(b"").map(|item| item.is_ok()).collect();
        assert_eq!(scanned, [true, false, true], "bit {bit}");
        commit(&store, b"b", Durability::Buffered).unwrap();
        assert_eq!(keys(&store), "abc", "a put repairs it");
    }
}

#[test]
fn a_flipped_bit_of_a_log_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let log = store.log("log").unwrap().log;
    for bit in [None, Some(100), None] {
        if let Some(bit) = bit {
            faults.flip_next_write(bit);
        }
        let mut batch = Batch::new();
        batch.append(&log, b"record");
        store.commit(batch, Durability::Synced).wait().unwrap();
    }
    drop((store, log));
    let (store, _) = open(folder.path());
    let error = store.log("log").unwrap_err();
    assert!(matches!(error, LogError::Corrupt { offset: 54, .. }), "{error}");
    assert!(error.to_string().contains("logs/log.log is corrupt at byte 54"), "{error}");
    commit(&store, b"a", Durability::Synced).unwrap();
}

/// What the engine does with a damaged journal is its own business, if only it can be noticed.
#[test]
fn a_flipped_bit_of_the_journal_is_never_silent() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    for key in [b"a", b"b", b"c"] {
        commit(&store, key, Durability::Synced).unwrap();
    }
    // Else the engine would make the journal longer than what is in it.
    faults.crash(0);
    drop(store);
    let journal = folder.path().join("engine/0.jnl");
    let whole = fs::read(&journal).unwrap();
    let mut outcomes = [0; 3];
    for offset in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[offset] ^= 1 << (offset % 8);
        fs::write(&journal, &damaged).unwrap();
        // What an orderly end writes down finds more: this is after a crash.
        let _ = fs::remove_file(folder.path().join("CLOSED"));
        let outcome = match Store::open(folder.path(), Options::default()) {
            Err(OpenError::Engine { .. }) => 0,
            Err(error) => panic!("byte {offset}: {error}"),
            Ok(store) if keys(&store) == "abc" => 1,
            Ok(store) => {
                assert!(store.trimmed() > 0, "byte {offset}: lost in silence");
                2
            }
        };
        outcomes[outcome] += 1;
    }
    assert!(outcomes[0] > 0 && outcomes[2] > 0, "{outcomes:?}");
}

#[test]
fn nothing_is_trimmed_after_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (store, _) = open(folder.path());
        assert_eq!(store.trimmed(), 0);
        commit(&store, b"a", Durability::Synced).unwrap();
    }
}

#[test]
fn a_store_whose_disk_hangs_on_order_still_closes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let mut batch = Batch::new();
    batch.put(&store.keyspace("k").unwrap(), b"a", b"a");
    faults.stall();
    let ticket = store.commit(batch, Durability::Synced);
    drop(store);
    ticket.wait().unwrap();
}
