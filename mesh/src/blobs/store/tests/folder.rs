use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    for (name, bytes) in [("photo.jpg", &b"mine"[..]), ("FORMAT", b"something else 1\n")] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
        let refused = BlobStore::open(folder.path(), Options::default()).unwrap_err();
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), bytes);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("blobs")).unwrap();
    fs::write(folder.path().join("blobs/mine"), b"mine").unwrap();
    assert!(BlobStore::open(folder.path(), Options::default()).is_err());
}

#[test]
fn a_newer_folder_is_refused() {
    let (folder, store) = fresh();
    drop(store);
    fs::write(folder.path().join("FORMAT"), "aether blobs 2\n").unwrap();
    let refused = BlobStore::open(folder.path(), Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { version: 2, .. }), "{refused}");
}

#[test]
fn one_store_has_a_folder() {
    let (folder, store) = fresh();
    let refused = BlobStore::open(folder.path(), Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    // What was given out has it still.
    let added = store.add_bytes(b"x").unwrap();
    drop(store);
    assert!(BlobStore::open(folder.path(), Options::default()).is_err());
    drop(added);
    open(folder.path());
}

#[test]
fn a_crash_while_the_folder_is_made_is_mended() {
    let parts = ["blobs", "pins", "tmp"];
    for made in 0..parts.len() + 1 {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), b"").unwrap();
        parts[..made].iter().for_each(|part| fs::create_dir(folder.path().join(part)).unwrap());
        fs::write(folder.path().join("FORMAT.new"), b"aeth").unwrap();
        open(folder.path()).add_bytes(b"x").unwrap();
    }
}

#[test]
fn what_is_not_ours_among_the_blobs_is_left_alone() {
    let (folder, store) = fresh();
    let id = store.add_bytes(b"x").unwrap().id();
    drop(store);
    for name in ["notes.txt", &format!("{id}.bak"), &id.to_string().to_uppercase()] {
        fs::write(folder.path().join("blobs").join(name), b"mine").unwrap();
    }
    fs::write(folder.path().join("pins/notes.txt"), b"mine").unwrap();
    let store = open(folder.path());
    assert_eq!(store.list().len(), 1);
    assert_eq!(names(&folder.path().join("blobs")).len(), 4);
    assert_eq!(names(&folder.path().join("pins")), ["notes.txt"]);
}

#[test]
fn a_temporary_store_goes_away() {
    let store = BlobStore::temporary(Options::default()).unwrap();
    let path = store.inner.folder.path().to_owned();
    let id = store.add_bytes(&content(5 * GROUP, 1)).unwrap().id();
    let clone = store.clone();
    drop(store);
    assert_eq!(read_all(&clone, &id), content(5 * GROUP, 1));
    assert!(path.exists());
    drop(clone);
    assert!(!path.exists());
}

#[test]
fn a_folder_is_its_owners() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    let _store = open(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}
