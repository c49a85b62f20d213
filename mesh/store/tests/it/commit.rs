//! What commits do, and what reads see.

use std::{
    ops::{Bound, RangeBounds},
    thread,
};

use aether_store::{
    Batch, CommitError, Durability, Keyspace, MAX_KEY, MAX_RECORD, Options, ReadError, Scan, Slice,
    Store,
};

use crate::open;

fn put(keyspace: &Keyspace, key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(keyspace, key.as_bytes(), value.as_bytes());
    batch
}

fn texts(scan: impl Iterator<Item = <Scan as Iterator>::Item>) -> String {
    let text = |item: Result<(Slice, Slice), ReadError>| {
        let (key, value) = item.unwrap();
        format!("{}={} ", key.escape_ascii(), value.escape_ascii())
    };
    scan.map(text).collect()
}

#[test]
fn scans_go_both_ways_over_ranges_and_prefixes() {
    let store = Store::temporary(Options::default()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let mut batch = Batch::new();
    for key in ["a", "ab", "abc", "b", "ba"] {
        batch.put(&keyspace, key.as_bytes(), key.to_uppercase().as_bytes());
    }
    batch.put(&keyspace, b"\xff", b"last").put(&keyspace, b"\xff\xff", b"");
    store.commit(batch, Durability::Buffered).wait().unwrap();

    assert_eq!(texts(keyspace.prefix(b"ab")), "ab=AB abc=ABC ");
    assert_eq!(texts(keyspace.prefix(b"ab").rev()), "abc=ABC ab=AB ");
    assert_eq!(texts(keyspace.prefix(b"\xff")), "\\xff=last \\xff\\xff= ");
    assert_eq!(texts(keyspace.range("ab".."b")), "ab=AB abc=ABC ");
    assert_eq!(texts(keyspace.range("ab"..="b").rev()), "b=B abc=ABC ab=AB ");
    assert_eq!(texts(keyspace.range("c"..="a")), "");
    assert_eq!(texts(keyspace.range::<&str>(..)).split(' ').count(), 8);
    assert_eq!(keyspace.prefix(b"").count(), 7);
    assert_eq!(keyspace.prefix(b"nothing").count(), 0);
    let mut both = keyspace.prefix(b"b");
    assert_eq!(texts(both.next_back().into_iter()), "ba=BA ");
    assert_eq!(texts(both), "b=B ");
}

/// Reads of every kind against the same reads of a map, in memory and in the engine's tables.
#[test]
fn ranges_are_those_of_a_map_wherever_the_keys_are() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { write_buffer: 1, ..Options::default() };
    let store = Store::open(folder.path(), options).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let long = |tail: &[u8]| [&[7; MAX_KEY - 1][..], tail].concat();
    let keys = [b"a".to_vec(), b"ab".to_vec(), long(b""), long(b"b"), b"\xff".to_vec()];
    let strange = [Vec::new(), long(b"aa"), long(b"bb"), long(b"cc"), b"\xff\xff".to_vec()];
    let mut batch = Batch::new();
    for key in &keys {
        batch.put(&keyspace, &key[..], b"v");
    }
    store.commit(batch, Durability::Synced).wait().unwrap();
    let bounds: Vec<Bound<Vec<u8>>> = [keys.iter(), strange.iter()]
        .into_iter()
        .flatten()
        .flat_map(|key| [Bound::Included(key.clone()), Bound::Excluded(key.clone())])
        .chain([Bound::Unbounded])
        .collect();
    let check = || {
        for (start, end) in
            bounds.iter().flat_map(|start| bounds.iter().map(move |end| (start, end)))
        {
            let range = (start.clone(), end.clone());
            let expected: Vec<_> = keys.iter().filter(|key| range.contains(key)).cloned().collect();
            let mut expected = expected;
            expected.sort();
            let found = |scan: Scan| scan.map(|item| item.unwrap().0.to_vec()).collect::<Vec<_>>();
            assert_eq!(found(keyspace.range(range.clone())), expected, "{range:?}");
        }
        for key in keys.iter().chain(&strange) {
            let begin = keys.iter().filter(|other| other.starts_with(key)).count();
            assert_eq!(keyspace.prefix(key).count(), begin, "{key:?}");
            assert_eq!(keyspace.get(key).unwrap().is_some(), keys.contains(key), "{key:?}");
        }
    };
    check();
    let tables = folder.path().join("engine/keyspaces/1/tables");
    while std::fs::read_dir(&tables).map_or(0, Iterator::count) == 0 {
        thread::yield_now();
    }
    check();
}

#[test]
fn of_two_changes_of_a_key_the_later_one_counts() {
    let store = Store::temporary(Options::default()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let mut batch = put(&keyspace, "a", "old");
    batch.put(&keyspace, b"b", b"old").remove(&keyspace, b"a").put(&keyspace, b"b", b"new");
    store.commit(batch, Durability::Buffered).wait().unwrap();
    assert_eq!(texts(keyspace.prefix(b"")), "b=new ");
    let mut batch = Batch::new();
    batch.remove(&keyspace, b"b").remove(&keyspace, b"never there").put(&keyspace, b"a", b"back");
    store.commit(batch, Durability::Buffered).wait().unwrap();
    assert_eq!(texts(keyspace.prefix(b"")), "a=back ");
}

#[test]
fn a_snapshot_sees_one_moment_of_all_keyspaces() {
    let store = Store::temporary(Options::default()).unwrap();
    let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
    let mut batch = put(&a, "k", "1");
    batch.put(&b, b"k", b"1");
    store.commit(batch, Durability::Buffered).wait().unwrap();
    let (snapshot, scan) = (store.snapshot(), a.prefix(b""));
    let mut batch = put(&a, "k", "2");
    batch.remove(&b, b"k").put(&a, b"l", b"2");
    store.commit(batch, Durability::Buffered).wait().unwrap();

    assert_eq!(texts(scan), "k=1 ");
    assert_eq!(texts(snapshot.prefix(&a, b"")), "k=1 ");
    assert_eq!(texts(snapshot.range::<&[u8]>(&b, ..)), "k=1 ");
    assert_eq!(snapshot.get(&b, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(texts(a.prefix(b"")), "k=2 l=2 ");
    assert_eq!(b.get(b"k").unwrap(), None);
}

#[test]
fn reads_see_a_commit_when_it_is_acknowledged_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let keyspace = store.keyspace("k").unwrap();
    faults.stall();
    let ticket = store.commit(put(&keyspace, "a", "1"), Durability::Synced);
    // It hangs before its sync, or isn't begun.
    assert_eq!(keyspace.get(b"a").unwrap(), None);
    assert_eq!(keyspace.prefix(b"").count(), 0);
    faults.resume();
    ticket.wait().unwrap();
    assert_eq!(texts(keyspace.prefix(b"")), "a=1 ");
}

#[test]
fn writers_share_syncs() {
    const WRITERS: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let keyspace = store.keyspace("k").unwrap();
    faults.stall();
    let tickets: Vec<_> = thread::scope(|scope| {
        let writer = |n: u64| {
            let (store, keyspace) = (&store, &keyspace);
            move || store.commit(put(keyspace, &n.to_string(), "v"), Durability::Synced)
        };
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(writer(n))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    faults.resume();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.batches, WRITERS);
    // Those that came before the storage thread hung, and all others.
    assert!(stats.groups <= 2 && stats.syncs == stats.groups, "{stats:?}");
    assert_eq!(keyspace.prefix(b"").count() as u64, WRITERS);
}

#[test]
fn buffered_commits_cost_no_sync_and_logs_one_each() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let keyspace = store.keyspace("k").unwrap();
    let (log, idle) = (store.log("log").unwrap().log, store.log("idle").unwrap().log);
    store.commit(put(&keyspace, "a", "1"), Durability::Buffered).wait().unwrap();
    assert_eq!(store.stats().syncs, 0);
    let mut batch = put(&keyspace, "a", "2");
    batch.append(&log, b"2").append(&log, b"3");
    store.commit(batch, Durability::Synced).wait().unwrap();
    assert_eq!(store.stats().syncs, 2);
    drop(idle);
}

#[test]
fn a_full_queue_holds_writers_back() {
    let folder = tempfile::tempdir().unwrap();
    let faults = aether_store::Faults::new();
    let options = Options { queue: 4, faults: Some(faults.clone()), ..Options::default() };
    let store = Store::open(folder.path(), options).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    faults.stall();
    let (mut tickets, mut refused) = (Vec::new(), None);
    // The group that hangs took a thousand at most, and four wait behind it.
    for n in 0..2000 {
        match store.try_commit(put(&keyspace, &n.to_string(), "v"), Durability::Synced) {
            Ok(ticket) => tickets.push(ticket),
            Err(batch) => {
                refused = Some(batch);
                break;
            }
        }
    }
    let refused = refused.expect("the queue is full");
    faults.resume();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    store.try_commit(refused, Durability::Synced).unwrap().wait().unwrap();
}

#[test]
fn an_empty_synced_batch_makes_earlier_ones_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = open(folder.path());
    let keyspace = store.keyspace("k").unwrap();
    store.commit(put(&keyspace, "a", "1"), Durability::Buffered).wait().unwrap();
    assert!(Batch::new().is_empty());
    store.commit(Batch::new(), Durability::Synced).wait().unwrap();
    store.commit(put(&keyspace, "b", "2"), Durability::Buffered).wait().unwrap();
    faults.crash(0);
    drop((store, keyspace));
    let (store, _) = open(folder.path());
    assert_eq!(texts(store.keyspace("k").unwrap().prefix(b"")), "a=1 ");
}

#[test]
fn closing_keeps_what_was_queued() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let keyspace = store.keyspace("k").unwrap();
    for n in 0..100 {
        drop(store.commit(put(&keyspace, &n.to_string(), "v"), Durability::Buffered));
    }
    drop((store, keyspace));
    let (store, _) = open(folder.path());
    assert_eq!(store.keyspace("k").unwrap().prefix(b"").count(), 100);
}

#[test]
fn what_is_too_long_is_refused_whole() {
    let store = Store::temporary(Options::default()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let log = store.log("log").unwrap().log;
    let refused = |change: &dyn Fn(&mut Batch)| {
        let mut batch = put(&keyspace, "fine", "v");
        change(&mut batch);
        match store.commit(batch, Durability::Buffered).wait() {
            Err(CommitError::Length { len, .. }) => len,
            other => panic!("{other:?}"),
        }
    };
    let long = vec![7; MAX_RECORD + 1];
    assert_eq!(refused(&|batch| _ = batch.put(&keyspace, b"", b"v")), 0);
    assert_eq!(refused(&|batch| _ = batch.remove(&keyspace, &long[..=MAX_KEY])), MAX_KEY + 1);
    assert_eq!(refused(&|batch| _ = batch.append(&log, &long)), MAX_RECORD + 1);
    assert_eq!(refused(&|batch| _ = batch.rewrite(&log, vec![long.clone()])), MAX_RECORD + 1);
    assert_eq!(keyspace.get(b"fine").unwrap(), None);

    let mut batch = Batch::new();
    batch.put(&keyspace, &long[..MAX_KEY], &long).append(&log, &long[1..]);
    store.commit(batch, Durability::Buffered).wait().unwrap();
    assert_eq!(keyspace.get(&long[..MAX_KEY]).unwrap().as_deref(), Some(&*long));
    assert_eq!(keyspace.get(&long).unwrap(), None);
}

#[test]
#[should_panic(expected = "a batch changes keyspaces and logs of one store")]
fn a_batch_of_two_stores_is_a_bug() {
    let (a, b) = (Store::temporary(Options::default()), Store::temporary(Options::default()));
    let (a, b) = (a.unwrap().keyspace("k").unwrap(), b.unwrap().keyspace("k").unwrap());
    Batch::new().put(&a, b"k", b"v").put(&b, b"k", b"v");
}

#[test]
#[should_panic(expected = "a batch is committed to the store of its keyspaces")]
fn a_batch_of_another_store_is_a_bug() {
    let (a, b) = (Store::temporary(Options::default()), Store::temporary(Options::default()));
    let batch = put(&a.unwrap().keyspace("k").unwrap(), "k", "v");
    drop(b.unwrap().commit(batch, Durability::Buffered));
}

#[test]
fn merged_files_give_back_the_room_of_what_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let mut value = vec![0; 64 << 10];
    let mut batch = Batch::new();
    for key in 0..64_u8 {
        value.iter_mut().zip(0_u32..).for_each(|(byte, at)| {
            // What can't be compressed.
            *byte = crc32fast::hash(&[&at.to_be_bytes()[..], &[key]].concat()).to_be_bytes()[0];
        });
        batch.put(&keyspace, [key], &value);
    }
    store.commit(batch, Durability::Synced).wait().unwrap();
    keyspace.merge().unwrap();
    let full = keyspace.disk_bytes();
    assert!(full > 4_000_000, "{full} bytes");

    let mut batch = Batch::new();
    for key in 1..64_u8 {
        batch.remove(&keyspace, [key]);
    }
    store.commit(batch, Durability::Synced).wait().unwrap();
    keyspace.merge().unwrap();
    let left = keyspace.disk_bytes();
    assert!(left < full / 32, "{left} of {full} bytes");
    assert_eq!(keyspace.range::<&[u8]>(..).count(), 1);
    // Of nothing, too.
    keyspace.merge().unwrap();
    store.keyspace("empty").unwrap().merge().unwrap();
}
