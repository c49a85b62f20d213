use proptest::prelude::*;

use super::*;

fn entry(seed: u8, size: u64) -> Entry {
    Entry { id: BlobId::from_bytes([seed; 32]), size }
}

fn sample() -> Collection {
    let mut collection = Collection::new();
    collection.insert("readme.txt", entry(1, 5)).unwrap();
    collection.insert("photos/färöer.jpg", entry(2, 1 << 33)).unwrap();
    collection.insert("photos!", entry(3, 0)).unwrap();
    collection
}

#[test]
fn golden_vector() {
    let golden = include_str!("../../../../tests/golden/collection-v1.txt");
    let mut lines = golden.lines().filter(|line| !line.starts_with('#'));
    let encoded = sample().encode().unwrap();
    assert_eq!(lines.next(), Some(data_encoding::HEXLOWER.encode(&encoded).as_str()));
    assert_eq!(lines.next(), Some(BlobId::of(&encoded).to_string().as_str()));
    assert_eq!(Collection::decode(&encoded), Ok(sample()));
}

#[test]
fn decoding_accepts_its_own_bytes_only() {
    let encoded = sample().encode().unwrap();
    for cut in 0..encoded.len() {
        assert!(Collection::decode(&encoded[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Collection::decode(&[&encoded[..], b"x"].concat()).is_err());
    let mut newer = encoded;
    newer[17] = 2;
    assert_eq!(Collection::decode(&newer), Err(CollectionError::Version { version: 2 }));
    let many = [&newer[..17], &[1, 0xff, 0xff, 0xff, 0xff]].concat();
    assert_eq!(Collection::decode(&many), Err(CollectionError::TooMany));
    let long = vec![0; Collection::MAX_ENCODED + 1];
    assert_eq!(Collection::decode(&long), Err(CollectionError::TooLong));
}

/// Bytes of a collection that these names are in, as they are.
fn forged(names: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"aether collection\x01".to_vec();
    bytes.extend_from_slice(&u32::try_from(names.len()).unwrap().to_be_bytes());
    for name in names {
        bytes.extend_from_slice(&u16::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(BlobId::of(b"x").as_bytes());
        bytes.extend_from_slice(&1_u64.to_be_bytes());
    }
    bytes
}

#[test]
fn absurd_names_are_refused() {
    let long = [b'a'; 256];
    let deep = b"a/".repeat(512);
    let absurd: [&[u8]; 17] = [
        b"",
        b"/",
        b"/etc/passwd",
        b".",
        b"..",
        b"a/../b",
        b"../a",
        b"a/..",
        b"a/./b",
        b"a//b",
        b"a/",
        b"a\0b",
        b"a\\b",
        b"a\nb",
        b"\x1b[2J",
        &long,
        &deep,
    ];
    for name in absurd {
        let refused = Collection::decode(&forged(&[name]));
        assert!(matches!(refused, Err(CollectionError::Name { .. })), "{name:?}: {refused:?}");
    }
    let refused = |names: &[&[u8]]| Collection::decode(&forged(names)).unwrap_err();
    assert_eq!(refused(&[b"\xff"]), CollectionError::NotText);
    assert!(matches!(refused(&[b"a", b"a"]), CollectionError::Order { .. }));
    assert!(matches!(refused(&[b"b", b"a"]), CollectionError::Order { .. }));
    assert!(matches!(refused(&[b"a", b"a!", b"a/b"]), CollectionError::Folder { .. }));
    let mut collection = Collection::new();
    collection.insert("a/b/c", entry(1, 1)).unwrap();
    for name in ["a", "a/b"] {
        let refused = collection.insert(name, entry(1, 1));
        assert!(matches!(refused, Err(CollectionError::Folder { .. })), "{name}");
    }
    let twice = collection.insert("a/b/c", entry(2, 1));
    assert!(matches!(twice, Err(CollectionError::Twice { .. })));
}

proptest! {
    #[test]
    fn decoding_never_panics(
        at in 0usize..200,
        with in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Collection::decode(&bytes);
        let mut flipped = sample().encode().unwrap();
        let at = at % flipped.len();
        flipped[at] = with;
        if let Ok(collection) = Collection::decode(&flipped) {
            prop_assert_eq!(collection.encode().unwrap(), flipped);
        }
    }

    #[test]
    fn collections_round_trip(
        names in prop::collection::btree_set("[a-zä .]{1,5}(/[a-z]{1,3}){0,2}", 0..20),
    ) {
        let mut collection = Collection::new();
        for name in names {
            let _ = collection.insert(name, entry(7, 7));
        }
        prop_assert_eq!(Collection::decode(&collection.encode().unwrap()), Ok(collection));
    }
}

/// A folder with files, one of them empty, two alike.
fn make_folder(path: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let files = vec![
        ("a.txt", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("sub/b.bin", content(40 * GROUP + 3, 1)),
        ("sub/deep/c", b"hello".to_vec()),
    ];
    for (name, content) in &files {
        let path = path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    files
}

#[test]
fn a_folder_goes_in_and_comes_out() {
    let (place, store) = (tempfile::tempdir().unwrap(), fresh());
    let store = &store.1;
    let files = make_folder(&place.path().join("in"));
    let mut told = 0;
    let added = store.add_path(&place.path().join("in"), &mut |done| told = done).unwrap();
    let total: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert_eq!((added.is_collection(), added.files(), told), (true, 4, total as u64));
    let again = store.add_path(&place.path().join("in"), &mut |_| {}).unwrap();
    assert_eq!(again.id(), added.id(), "the same files are the same collection");
    let out = place.path().join("out");
    told = 0;
    store.export_folder(&added.id(), &out, &mut |done| told = done).unwrap();
    assert_eq!(told, total as u64);
    for (name, content) in &files {
        assert_eq!(fs::read(out.join(name)).unwrap(), *content, "{name}");
    }
    assert_eq!(names(place.path()), ["in", "out"], "nothing else was made");
    // Never over something else.
    let error = store.export_folder(&added.id(), &out, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    let error = store.export_folder(&added.id(), &out.join("a.txt"), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    fs::create_dir(place.path().join("empty")).unwrap();
    store.export_folder(&added.id(), &place.path().join("empty"), &mut |_| {}).unwrap();
    // A file alone, from a path and to one.
    let file = store.add_path(&out.join("a.txt"), &mut |_| {}).unwrap();
    assert_eq!((file.id(), file.is_collection()), (BlobId::of(b"hello"), false));
    assert!(matches!(
        store.export_folder(&file.id(), &place.path().join("x"), &mut |_| {}),
        Err(ExportError::Collection(CollectionError::NotOne))
    ));
}

#[test]
fn an_export_that_lacks_a_file_leaves_nothing() {
    let (place, (_folder, store)) = (tempfile::tempdir().unwrap(), fresh());
    make_folder(&place.path().join("in"));
    let added = store.add_path(&place.path().join("in"), &mut |_| {}).unwrap();
    let id = added.id();
    drop(added);
    store.remove(&BlobId::of(b"")).unwrap();
    let out = place.path().join("out");
    let error = store.export_folder(&id, &out, &mut |_| {}).unwrap_err();
    let ExportError::Entry { name, source: ReadError::Absent } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), names(place.path())), ("empty", vec!["in".to_owned()]));
}

#[test]
fn links_and_devices_are_refused() {
    let (place, (_folder, store)) = (tempfile::tempdir().unwrap(), fresh());
    make_folder(place.path());
    std::os::unix::fs::symlink("/etc", place.path().join("sub/link")).unwrap();
    for path in [place.path().to_owned(), place.path().join("sub/link"), "/dev/null".into()] {
        let error = store.add_path(&path, &mut |_| {}).unwrap_err();
        assert!(matches!(error, AddError::Kind { .. }), "{error}");
    }
}

#[test]
fn an_export_goes_through_no_link_in_its_way() {
    let (place, (_folder, store)) = (tempfile::tempdir().unwrap(), fresh());
    make_folder(&place.path().join("in"));
    let added = store.add_path(&place.path().join("in"), &mut |_| {}).unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink(&outside, out.join("sub")).unwrap();
    assert!(store.export_folder(&added.id(), &out, &mut |_| {}).is_err());
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    assert!(store.export_folder(&added.id(), &link, &mut |_| {}).is_err());
    assert_eq!(names(&outside), [""; 0]);
}

#[test]
fn a_pinned_collection_keeps_what_it_lists() {
    for when in ["before", "after", "restart"] {
        let place = tempfile::tempdir().unwrap();
        let files = make_folder(&place.path().join("in"));
        let options = Options { quota: 100 * GROUP, eviction: Eviction::default() };
        let mut store = BlobStore::open(&place.path().join("store"), options).unwrap();
        let id = BlobStore::temporary(Options::default()).unwrap();
        let id = id.add_path(&place.path().join("in"), &mut |_| {}).unwrap().id();
        if when == "before" {
            store.pin(id, "folder", Reach::Collection).unwrap();
        }
        let added = store.add_path(&place.path().join("in"), &mut |_| {}).unwrap();
        store.pin(id, "folder", Reach::Collection).unwrap();
        drop(added);
        if when == "restart" {
            drop(store);
            store = BlobStore::open(&place.path().join("store"), options).unwrap();
        }
        let fill = |store: &BlobStore, seeds: Range<u64>| {
            seeds.for_each(|seed| drop(store.add_bytes(&content(20 * GROUP, seed)).unwrap()));
        };
        fill(&store, 10..20);
        for (name, content) in &files {
            assert_eq!(read_all(&store, &BlobId::of(content)), *content, "{name} {when}");
            assert!(matches!(store.remove(&BlobId::of(content)), Err(RemoveError::Pinned)));
        }
        // As a blob, it doesn't reach further than itself.
        store.pin(id, "folder", Reach::Blob).unwrap();
        fill(&store, 20..40);
        assert_eq!(store.status(&BlobId::of(&files[2].1)), BlobStatus::Absent, "{when}");
        assert_ne!(store.status(&id), BlobStatus::Absent);
    }
}

#[test]
fn only_a_collection_is_pinned_as_one() {
    let (_folder, store) = fresh();
    let id = store.add_bytes(b"x").unwrap().id();
    let refused = store.pin(id, "x", Reach::Collection);
    assert!(matches!(refused, Err(PinError::NotACollection(CollectionError::NotOne))));
    assert_eq!(store.pins(), []);
}
