//! Archives on real nodes: a backup, a move, a torn file.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use aether_crdt::{
    ImportError, Imported, Space, Spaces,
    proto::archive::{ArchiveError, Contents},
};
use aether_mesh::{Node, Preset};

use crate::spaces::{again, node, until};

async fn export(space: &Space, path: &Path) -> Contents {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let exported = space.export(File::create(path).unwrap(), move |progress| {
        told.lock().unwrap().push((progress.done, progress.of));
    });
    let contents = exported.await.unwrap();
    assert_eq!(contents.bytes, std::fs::metadata(path).unwrap().len());
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.last().is_some_and(|(done, of)| done == of), "{seen:?}");
    contents
}

async fn state(space: &Space) -> (String, String) {
    let digest = space.status().await.unwrap().digest;
    (digest, space.state_hash().unwrap().to_string())
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

/// A space with some of everything, in more entries than are given to the driver at once.
async fn filled(spaces: &Spaces) -> Space {
    let space = spaces.create("guests").await.unwrap();
    let ages = space.map::<u32, u32>("ages");
    for n in 0..150 {
        ages.put(&(n % 40), &n).await.unwrap();
    }
    ages.remove(&7).await.unwrap();
    space.counter::<u32>("visits").add(&1, 5).await.unwrap();
    let notes = space.document("notes");
    let put = |edit: &mut aether_crdt::proto::document::edit::Edit<'_>| {
        edit.put(aether_crdt::proto::document::content::ObjId::Root, "title", "hello").map(drop)
    };
    notes.commit(put).await.unwrap();
    space
}

#[tokio::test]
async fn an_archive_makes_an_equal_space_on_another_node() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "guests.space");
    let (here, there) = (node("archive", None).await, node("other archive", None).await);
    let space = filled(&Spaces::open(&here).await.unwrap()).await;
    let contents = export(&space, &path).await;
    assert_eq!(contents.entries, space.status().await.unwrap().entries);

    let others = Spaces::open(&there).await.unwrap();
    let (copy, imported) = others.import(File::open(&path).unwrap()).await.unwrap();
    let bytes = contents.bytes;
    assert_eq!(imported, Imported { taken: contents.entries, bytes, ..Imported::default() });
    assert_eq!((copy.id(), copy.name()), (space.id(), "guests"));
    assert_eq!(state(&copy).await, state(&space).await);
    assert_eq!(copy.counter::<u32>("visits").get(&1).unwrap(), 5);
    let title = copy.document("notes").content().await.unwrap();
    assert_eq!(title, space.document("notes").content().await.unwrap());

    let (same, again) = others.import(File::open(&path).unwrap()).await.unwrap();
    assert_eq!(again, Imported { known: contents.entries, bytes, ..Imported::default() });
    assert_eq!(state(&same).await, state(&space).await, "twice does no harm");

    // What the copy exports makes the same, and goes on by itself.
    let second = file(&folder, "again.space");
    assert_eq!(export(&copy, &second).await.bytes, bytes);
    assert_eq!(std::fs::read(&second).unwrap(), std::fs::read(&path).unwrap());
    copy.map::<u32, u32>("ages").put(&1, &1).await.unwrap();
    assert_eq!(copy.status().await.unwrap().feeds, 2);
}

#[tokio::test]
async fn a_backup_that_is_brought_back_does_not_fork_its_author() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "backup");
    let (old, new) = (file(&folder, "old"), file(&folder, "new"));
    let witness = node("restored", None).await;
    let kept = Spaces::open(&witness).await.unwrap();
    let seeds = witness.addresses().await.unwrap();
    let author = Node::builder(Preset::Local).mesh("restored").data(&old).seeds(seeds.clone());
    let author = author.spawn().await.unwrap();
    let key = author.secret_key().clone();
    let space = Spaces::open(&author).await.unwrap().create("guests").await.unwrap();
    let ages = space.map::<String, u32>("ages");
    ages.put(&"ada".to_owned(), &36).await.unwrap();
    export(&space, &path).await;
    let at_witness = kept.join(&space.ticket().await.unwrap().to_string()).await.unwrap();
    // The author goes on, and is lost.
    ages.put(&"ada".to_owned(), &37).await.unwrap();
    ages.put(&"bob".to_owned(), &20).await.unwrap();
    let same = async |one: &Space, other: &Space| {
        one.status().await.unwrap().digest == other.status().await.unwrap().digest
    };
    until("the witness has all", async || same(&space, &at_witness).await).await;
    author.shutdown().await;
    drop((space, ages, author));

    // A new node with the author's key and the backup writes before it meets anybody.
    let restored = Node::builder(Preset::Local).mesh("restored").data(&new).key(key);
    let restored = restored.spawn().await.unwrap();
    let spaces = Spaces::open(&restored).await.unwrap();
    let (copy, imported) = spaces.import(File::open(&path).unwrap()).await.unwrap();
    assert_eq!(imported.taken, 1);
    copy.map::<String, u32>("ages").put(&"eve".to_owned(), &50).await.unwrap();
    for seed in seeds {
        restored.dial(seed).await.unwrap();
    }
    until("both hold all", async || {
        same(&copy, &at_witness).await && copy.status().await.unwrap().entries == 4
    })
    .await;
    for space in [&copy, &at_witness] {
        let status = space.status().await.unwrap();
        assert_eq!((status.feeds, status.forked), (2, 0));
        let keys: Vec<_> =
            space.map::<String, u32>("ages").iter().map(|all| all.unwrap().0).collect();
        assert_eq!(keys, ["ada", "bob", "eve"]);
    }
    assert_eq!(copy.state_hash().unwrap(), at_witness.state_hash().unwrap());
    restored.shutdown().await;
    drop((copy, spaces, restored));

    // And the old folder, should it be found again, goes on without harm.
    let author = again("restored", &old).await;
    let space = Spaces::open(&author).await.unwrap().get("guests").await.unwrap();
    space.map::<String, u32>("ages").put(&"eve".to_owned(), &51).await.unwrap();
    for seed in witness.addresses().await.unwrap() {
        author.dial(seed).await.unwrap();
    }
    until("the old folder has all", async || {
        same(&space, &at_witness).await && space.status().await.unwrap().entries == 5
    })
    .await;
    assert_eq!(space.status().await.unwrap().forked, 0);
}

#[tokio::test]
async fn of_an_archive_that_is_not_whole_comes_what_stands_before_the_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "guests.space");
    let here = node("torn", None).await;
    let space = filled(&Spaces::open(&here).await.unwrap()).await;
    let contents = export(&space, &path).await;
    let bytes = std::fs::read(&path).unwrap();
    let others = Spaces::open(&node("torn elsewhere", None).await).await.unwrap();

    let torn = bytes[..bytes.len() / 2].to_vec();
    let why = others.import(std::io::Cursor::new(torn)).await.unwrap_err();
    let ImportError::Archive { imported, source: ArchiveError::Torn { record, at } } = why else {
        panic!("{why:?}");
    };
    assert_eq!((imported.taken, at), (record - 1, bytes.len() as u64 / 2));
    let copy = others.get("guests").await.unwrap();
    assert_eq!(copy.status().await.unwrap().entries, imported.taken);

    let mut changed = bytes.clone();
    changed[bytes.len() - 200] ^= 1;
    let why = others.import(std::io::Cursor::new(changed)).await.unwrap_err();
    let ImportError::Archive { source: ArchiveError::Changed { from, to, .. }, .. } = why else {
        panic!("{why:?}");
    };
    assert!((from..to).contains(&(bytes.len() as u64 - 200)));

    let why = others.import(&b"no archive"[..]).await.unwrap_err();
    assert!(matches!(why, ImportError::Archive { source: ArchiveError::Other, .. }), "{why:?}");
    assert!(others.import(std::io::empty()).await.is_err());

    // A whole one is imported over what came.
    let (copy, imported) = others.import(std::io::Cursor::new(bytes)).await.unwrap();
    assert_eq!((imported.taken + imported.known, imported.left), (contents.entries, 0));
    assert_eq!(state(&copy).await, state(&space).await);
}

#[tokio::test]
async fn a_writer_that_fails_ends_an_export() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let node = node("full", None).await;
    let space = Spaces::open(&node).await.unwrap().create("guests").await.unwrap();
    assert!(space.export(Full, |_| {}).await.is_err());
}
