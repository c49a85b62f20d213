use std::io::{self, Read};

use bao_tree::{BlockSize, io::outboard::PostOrderMemOutboard};

use super::*;

#[test]
fn content_of_any_size_comes_back() {
    let (_folder, store) = fresh();
    for size in SIZES {
        let content = content(size, 1);
        let added = store.add_bytes(&content).unwrap();
        assert_eq!((added.id(), added.size()), (BlobId::of(&content), size));
        assert_eq!(store.status(&added.id()), BlobStatus::Complete { size });
        assert_eq!(read_all(&store, &added.id()), content, "{size}");
    }
}

#[test]
fn a_file_is_its_content_and_baos_outboard() {
    let (folder, store) = fresh();
    for size in SIZES {
        let content = content(size, 2);
        let id = store.add_bytes(&content).unwrap().id();
        let outboard = PostOrderMemOutboard::create(&content, BlockSize::from_chunk_log(4));
        let expected = [&content[..], &outboard.data[..]].concat();
        assert_eq!(fs::read(blob_file(folder.path(), &id, "")).unwrap(), expected, "{size}");
        assert_eq!(size_of_whole(expected.len() as u64), Some(size));
    }
    assert_eq!(names(&folder.path().join("blobs")).len(), SIZES.len(), "one file each");
    assert_eq!(names(&folder.path().join("tmp")), [""; 0]);
}

#[test]
fn a_length_that_no_blob_has_is_none() {
    for groups in 1..20 {
        let longest = groups * GROUP + (groups - 1) * 64;
        assert_eq!(size_of_whole(longest), Some(groups * GROUP));
        assert_eq!(size_of_whole(longest + 1), None);
        assert_eq!(size_of_whole(longest + 64), None);
        assert_eq!(size_of_whole(longest + 65), Some(groups * GROUP + 1));
    }
}

#[test]
fn the_same_content_twice_is_one_blob() {
    let (_folder, store) = fresh();
    let content = content(3 * GROUP, 3);
    let first = store.add_bytes(&content).unwrap();
    let used = store.used();
    let second = store.add_bytes(&content).unwrap();
    assert_eq!(first.id(), second.id());
    assert_eq!((store.used(), store.list().len()), (used, 1));
}

#[test]
fn it_is_there_after_a_restart() {
    let (folder, store) = fresh();
    let ids = SIZES.map(|size| store.add_bytes(&content(size, 4)).unwrap().id());
    let (list, used) = (store.list(), store.used());
    drop(store);
    let store = open(folder.path());
    assert_eq!((store.list(), store.used()), (list, used));
    for (id, size) in ids.iter().zip(SIZES) {
        assert_eq!(read_all(&store, id), content(size, 4));
    }
}

/// Gives some bytes, then fails.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.0);
        self.0 -= len;
        if len == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(len) }
    }
}

#[test]
fn of_what_fails_in_the_middle_nothing_is_left() {
    let (folder, store) = fresh();
    let failed = store.add_reader(&mut Broken(3_000_000), &mut |_| {});
    assert!(matches!(failed, Err(AddError::Read(_))));
    assert_eq!((store.used(), store.kept(), store.list().len()), (0, 0, 0));
    assert_eq!(names(&folder.path().join("tmp")), [""; 0]);
}

/// Looks at the store while it's read from.
struct Watching<'a>(&'a BlobStore, &'a [u8]);

impl Read for Watching<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert_eq!(self.0.list(), []);
        self.1.read(buffer)
    }
}

#[test]
fn nothing_is_visible_before_it_is_whole() {
    let (folder, store) = fresh();
    let content = content(40 * GROUP, 5);
    store.add_reader(&mut Watching(&store, &content), &mut |_| {}).unwrap();
    // A crash in the middle leaves a file in `tmp` at most.
    drop(store);
    fs::write(folder.path().join("tmp/0"), b"half").unwrap();
    let store = open(folder.path());
    assert_eq!(names(&folder.path().join("tmp")), [""; 0]);
    assert_eq!(store.list().len(), 1);
}

#[test]
fn progress_is_told() {
    let (folder, store) = fresh();
    let content = content(50 * GROUP + 7, 6);
    let mut told = Vec::new();
    let added = store.add_reader(&mut &content[..], &mut |done| told.push(done)).unwrap();
    assert!(told.is_sorted() && told.len() > 2, "{told:?}");
    assert_eq!(told.last(), Some(&(content.len() as u64)));
    told.clear();
    let target = folder.path().join("out");
    store.export(&added.id(), &target, &mut |done| told.push(done)).unwrap();
    assert_eq!(told.last(), Some(&(content.len() as u64)));
    assert_eq!(fs::read(target).unwrap(), content);
}

#[test]
fn an_outboard_that_is_spilled_is_the_same() {
    let mut builder = tree::Builder::new(0, &std::env::temp_dir());
    let groups = 20_000_u64;
    // Groups of one byte hash as well, and are quicker.
    for group in 0..groups {
        builder.push(&[group as u8], false).unwrap();
    }
    let (_, mut outboard) = builder.finish(true).unwrap();
    assert!(outboard.is_rolled());
    let mut bytes = Vec::new();
    outboard.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, (groups - 1) * 64);
}

#[test]
fn what_is_read_may_begin_and_end_anywhere() {
    let (_folder, store) = fresh();
    let content = content(7 * GROUP + 300, 7);
    let id = store.add_bytes(&content).unwrap().id();
    let mut dice = Dice(7);
    for _ in 0..200 {
        let offset = dice.below(content.len() as u64 + 1);
        let mut buffer = vec![0; dice.below(3 * GROUP) as usize];
        let read = store.read_at(&id, offset, &mut buffer).unwrap();
        let offset = offset as usize;
        assert_eq!(read, buffer.len().min(content.len() - offset));
        assert_eq!(buffer[..read], content[offset..offset + read]);
    }
    let beyond = store.read_at(&id, content.len() as u64 + 1, &mut [0]);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
    let mut reader = store.reader(&id).unwrap();
    for _ in 0..50 {
        let at = dice.below(content.len() as u64);
        io::Seek::seek(&mut reader, io::SeekFrom::Start(at)).unwrap();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], content[at as usize]);
    }
}
