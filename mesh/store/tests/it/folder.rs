//! Whose folder it is.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use aether_store::{Batch, Durability, KeyspaceError, LogError, OpenError, Options, Store};

use crate::chain;

fn refused(path: &Path) -> OpenError {
    Store::open(path, Options::default()).unwrap_err()
}

/// Every file below a folder with its bytes.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_missing_folder_is_made_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a/b");
    let store = Store::open(&data, Options::default()).unwrap();
    for part in ["", "engine", "logs"] {
        let mode = fs::metadata(data.join(part)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{part:?}");
    }
    drop(store);
    assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), "aether store 1\n");
}

#[test]
fn a_folder_is_open_once_until_its_last_handle_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    let keyspace = store.keyspace("k").unwrap();
    let scan = keyspace.prefix(b"");
    drop((store, keyspace));
    assert!(matches!(refused(folder.path()), OpenError::Locked { .. }));
    drop(scan);
    Store::open(folder.path(), Options::default()).unwrap();
}

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let before = contents(folder.path());
    assert!(matches!(refused(folder.path()), OpenError::Foreign { .. }));
    assert_eq!(contents(folder.path()), before);

    fs::write(folder.path().join("FORMAT"), "A4, landscape").unwrap();
    assert!(matches!(refused(folder.path()), OpenError::Foreign { .. }));
    assert_eq!(fs::read(folder.path().join("FORMAT")).unwrap(), b"A4, landscape");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), Options::default()).unwrap());
    for text in ["aether store 2\n", "aether store 7 sharded\n"] {
        fs::write(folder.path().join("FORMAT"), text).unwrap();
        let before = contents(folder.path());
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Newer { version: 2 | 7, .. }), "{error}");
        assert_eq!(contents(folder.path()), before);
    }
}

#[test]
fn a_folder_that_was_never_finished_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lock"), "").unwrap();
    fs::write(folder.path().join("FORMAT.new"), "aether st").unwrap();
    drop(Store::open(folder.path(), Options::default()).unwrap());

    fs::write(folder.path().join("FORMAT"), "aether store 1 unfinished\n").unwrap();
    fs::remove_file(folder.path().join("engine/version")).unwrap();
    Store::open(folder.path(), Options::default()).unwrap();
}

#[test]
fn a_store_has_ended_when_its_last_handle_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let (keyspace, ending) = (store.keyspace("k").unwrap(), store.ending());
    drop(store);
    assert!(!ending.wait(Duration::from_millis(1)), "a keyspace keeps it open");
    let waiter = std::thread::spawn({
        let ending = ending.clone();
        move || ending.wait(Duration::MAX)
    });
    drop(keyspace);
    assert!(waiter.join().unwrap() && ending.wait(Duration::ZERO));
    assert!(folder.path().join("CLOSED").exists());
    Store::open(folder.path(), Options::default()).unwrap();
}

#[test]
fn a_part_that_is_missing_is_not_replaced_by_an_empty_one() {
    for part in ["engine", "logs"] {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path(), Options::default()).unwrap());
        fs::remove_dir_all(folder.path().join(part)).unwrap();
        let error = refused(folder.path());
        assert!(matches!(&error, OpenError::Missing { path } if path.starts_with(folder.path())));
        assert!(!folder.path().join(part).exists());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(&file.join("data"));
    assert!(chain(&error).contains(&file.join("data").display().to_string()), "{error}");
}

#[test]
fn a_missing_permission_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let data = folder.path().join("data");
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root.
        Store::open(&data, Options::default()).unwrap();
    } else {
        let error = refused(&data).to_string();
        assert!(error.contains(&data.display().to_string()), "{error}");
        assert!(error.contains("give this user the right"), "{error}");
    }
}

#[test]
fn a_temporary_store_works_and_leaves_nothing() {
    let store = Store::temporary(Options::default()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let mut batch = Batch::new();
    batch.put(&keyspace, b"key", b"value");
    store.commit(batch, Durability::Synced).wait().unwrap();
    assert_eq!(keyspace.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.stats().syncs, 0);

    let path = store.path().to_owned();
    assert!(path.exists());
    drop((store, keyspace));
    assert!(!path.exists());
}

#[test]
fn names_that_could_be_paths_are_refused() {
    let store = Store::temporary(Options::default()).unwrap();
    let long = "a".repeat(129);
    for name in ["", ".", "../x", "a/b", ".hidden", "Upper", "\0", &long] {
        assert!(matches!(store.keyspace(name), Err(KeyspaceError::Name { .. })), "{name:?}");
        assert!(matches!(store.log(name), Err(LogError::Name { .. })), "{name:?}");
    }
    store.keyspace(&long[1..]).unwrap();
    store.log("a-b_c.9").unwrap();
}
