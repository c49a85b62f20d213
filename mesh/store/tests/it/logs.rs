//! Logs in a store.

use std::fs;

use aether_store::{Batch, Durability, Log, LogError, Store};

use crate::open;

fn append(store: &Store, log: &Log, record: &[u8]) {
    let mut batch = Batch::new();
    batch.append(log, record);
    store.commit(batch, Durability::Synced).wait().unwrap();
}

fn rewrite(store: &Store, log: &Log, records: &[&[u8]]) -> bool {
    let mut batch = Batch::new();
    batch.rewrite(log, records.iter().map(|record| record.to_vec()).collect());
    store.commit(batch, Durability::Synced).wait().is_ok()
}

#[test]
fn records_come_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let opened = store.log("votes").unwrap();
    assert!(opened.records.is_empty() && opened.truncated == 0);
    for record in [&b"one"[..], b"", b"three"] {
        append(&store, &opened.log, record);
    }
    drop((store, opened));
    let (store, _) = open(folder.path());
    let opened = store.log("votes").unwrap();
    assert_eq!(opened.records, [&b"one"[..], b"", b"three"]);
    append(&store, &opened.log, b"four");
    let again = store.log("votes").unwrap();
    assert_eq!(again.records.len(), 4, "an open log is read again");
    append(&store, &again.log, b"five");
    append(&store, &opened.log, b"six");
    drop((store, opened, again));
    let (store, _) = open(folder.path());
    assert_eq!(store.log("votes").unwrap().records[3..], [&b"four"[..], b"five", b"six"]);
}

#[test]
fn a_rewrite_replaces_all_records_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let log = store.log("votes").unwrap().log;
    append(&store, &log, b"old");
    let mut batch = Batch::new();
    batch.append(&log, b"lost").rewrite(&log, vec![b"new".to_vec()]).append(&log, b"newer");
    store.commit(batch, Durability::Buffered).wait().unwrap();
    faults.crash(0);
    drop((store, log));
    let (store, faults) = open(folder.path());
    let opened = store.log("votes").unwrap();
    assert_eq!(opened.records, [b"new"], "a rewrite is synced, what follows is only buffered");

    append(&store, &opened.log, b"more");
    faults.fail_next_sync();
    assert!(!rewrite(&store, &opened.log, &[b"never"]));
    drop((store, opened));
    let (store, _) = open(folder.path());
    assert_eq!(store.log("votes").unwrap().records, [&b"new"[..], b"more"]);
}

#[test]
fn a_file_cut_short_and_a_file_with_zeros_are_torn() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let log = store.log("votes").unwrap().log;
    append(&store, &log, b"one");
    append(&store, &log, b"two");
    drop((store, log));
    let path = folder.path().join("logs/votes.log");
    let whole = fs::read(&path).unwrap();
    let zeros = [&whole[..], &[0; 100]].concat();
    for (bytes, records, truncated) in [(&whole[..whole.len() - 1], 1, 26), (&zeros, 2, 100)] {
        fs::write(&path, bytes).unwrap();
        let (store, _) = open(folder.path());
        let opened = store.log("votes").unwrap();
        assert_eq!((opened.records.len(), opened.truncated), (records, truncated));
        append(&store, &opened.log, b"three");
        drop((store, opened));
        let (store, _) = open(folder.path());
        assert_eq!(store.log("votes").unwrap().records.last().unwrap(), b"three");
    }
}

#[test]
fn a_log_of_a_newer_format_or_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    store.log("votes").unwrap();
    let path = folder.path().join("logs/votes.log");
    fs::copy(&path, folder.path().join("logs/tips.log")).unwrap();
    assert!(matches!(store.log("tips"), Err(LogError::Corrupt { offset: 0, .. })));
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] = 2;
    fs::write(&path, bytes).unwrap();
    drop(store);
    let (store, _) = open(folder.path());
    assert!(matches!(store.log("votes"), Err(LogError::Newer { version: 2, .. })));
}
