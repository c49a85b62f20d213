use std::os::unix::fs::FileExt as _;

use super::*;

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn rot_in_content_is_found_dropped_and_fetched_again() {
    let size = 21 * GROUP + 300;
    let (from, id, content) = provider(size, 1);
    let mut dice = Dice(1);
    for _ in 0..15 {
        let (folder, store) = fresh();
        store.add_bytes(&content).unwrap();
        let at = dice.below(size);
        flip(&blob_file(folder.path(), &id, ""), at);
        let mut sink = Vec::new();
        let error = store.encode(&id, 0..22).unwrap().write_to(&mut sink).unwrap_err();
        let error = error.downcast::<ReadError>().unwrap();
        let ReadError::Damaged { groups } = error else { panic!("{error}") };
        assert_eq!(groups, at / GROUP..at / GROUP + 1);
        assert_eq!(sink, encode(&from, &id, 0..22)[..sink.len()], "what came before is right");
        only_right_bytes(&store, &id, &content);
        drop(store);
        let store = open(folder.path());
        assert_eq!(store.begin(id, size).unwrap().missing(), one(groups));
        complete(&store, &from, &id, &content);
        assert_eq!(names(&folder.path().join("blobs")), [id.to_string()]);
    }
}

#[test]
fn rot_in_the_hashes_of_a_whole_blob_is_mended_from_its_content() {
    for size in [2 * GROUP, 21 * GROUP + 300, 64 * GROUP] {
        let (from, id, content) = provider(size, 7);
        let (folder, store) = fresh();
        store.add_bytes(&content).unwrap();
        let path = blob_file(folder.path(), &id, "");
        let right = fs::read(&path).unwrap();
        let mut dice = Dice(7);
        for _ in 0..30 {
            flip(&path, size + dice.below(right.len() as u64 - size));
            assert_eq!(encode(&store, &id, 0..groups(size)), encode(&from, &id, 0..groups(size)));
            assert_eq!(fs::read(&path).unwrap(), right);
        }
        // Where the content is damaged too, it's as bad as it looks.
        flip(&path, right.len() as u64 - 1);
        flip(&path, 5);
        let error = store.read_at(&id, size - 1, &mut [0]).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }));
        only_right_bytes(&store, &id, &content);
        complete(&store, &from, &id, &content);
    }
}

#[test]
fn rot_in_a_small_blob_drops_all_of_it() {
    for size in [1, 700, GROUP] {
        let (from, id, content) = provider(size, 2);
        let (folder, store) = fresh();
        store.add_bytes(&content).unwrap();
        flip(&blob_file(folder.path(), &id, ""), size / 2);
        let mut buffer = [0];
        let error = store.read_at(&id, 0, &mut buffer).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { groups: Range { start: 0, end: 1 } }));
        assert_eq!((store.status(&id), store.used()), (BlobStatus::Absent, 0));
        complete(&store, &from, &id, &content);
    }
}

#[test]
fn an_export_of_damaged_content_leaves_the_target_as_it_was() {
    let (folder, store) = fresh();
    let id = store.add_bytes(&content(200 * GROUP, 3)).unwrap().id();
    flip(&blob_file(folder.path(), &id, ""), 150 * GROUP);
    let target = folder.path().join("out");
    fs::write(&target, b"before").unwrap();
    let error = store.export(&id, &target, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ExportError::Read(ReadError::Damaged { .. })), "{error}");
    assert_eq!(fs::read(&target).unwrap(), b"before");
    let left: Vec<_> =
        names(folder.path()).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_torn_whole_file_is_not_served() {
    let size = 5 * GROUP + 10;
    let (from, id, content) = provider(size, 4);
    for cut in [1, 64, 300, 2 * GROUP, size] {
        let (folder, store) = fresh();
        store.add_bytes(&content).unwrap();
        drop(store);
        let path = blob_file(folder.path(), &id, "");
        let len = fs::metadata(&path).unwrap().len();
        fs::File::options().write(true).open(&path).unwrap().set_len(len - cut).unwrap();
        let store = open(folder.path());
        only_right_bytes(&store, &id, &content);
        assert!(store.reader(&id).and_then(|mut reader| reader.read_up_to(1 << 30)).is_err());
        if let BlobStatus::Partial { .. } = store.status(&id) {
            store.remove(&id).unwrap();
        }
        complete(&store, &from, &id, &content);
    }
}

#[test]
fn a_file_that_was_taken_away_is_told() {
    let (from, id, content) = provider(3 * GROUP, 5);
    let (folder, store) = fresh();
    store.add_bytes(&content).unwrap();
    fs::remove_file(blob_file(folder.path(), &id, "")).unwrap();
    let error = store.encode(&id, 0..3).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { groups: Range { start: 0, end: 3 } }));
    assert_eq!((store.status(&id), store.used()), (BlobStatus::Absent, 0));
    complete(&store, &from, &id, &content);
}

#[test]
fn a_full_disk_loses_nothing() {
    let size = 9 * GROUP;
    let (from, id, content) = provider(size, 6);
    let (_folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    receive(&download, 0..4, &encode(&from, &id, 0..4)).unwrap();
    let in_use = InUse::existing(&store.inner, &id).unwrap();
    let files = in_use.blob.lock().files.take().unwrap();
    let (tree, bits) = files.part.as_ref().unwrap();
    let full = || fs::File::options().read(true).write(true).open("/dev/full").unwrap();
    for which in 0..3 {
        let mut three = [files.data.try_clone(), tree.try_clone(), bits.try_clone()];
        three[which] = Ok(full());
        let [data, tree, bits] = three.map(Result::unwrap);
        let (part, path) = (Some((tree, bits)), files.path.clone());
        let files = blob::Files { data, part, path, behind: Default::default() };
        in_use.blob.lock().files = Some(Arc::new(files));
        let error = receive(&download, 4..6, &encode(&from, &id, 4..6)).unwrap_err();
        let WriteError::File(error) = error else { panic!("{error}") };
        assert_eq!(error.source.kind(), std::io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(held(&store, &id), one(0..4), "file {which}");
    }
    in_use.blob.lock().files = None;
    drop(in_use);
    complete(&store, &from, &id, &content);
}
