//! Compacting spaces on real nodes.

use aether_crdt::{Changed, CompactError, Compacted, Space, Spaces, Watch, proto::id::Position};
use tempfile::tempdir;

use crate::spaces::{again, node, until};

#[tokio::test]
async fn what_was_overwritten_goes_from_all_nodes_and_nobody_sees_a_difference() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let first = again("compacting", &data).await;
    let second = node("compacting", Some(&first)).await;
    let (one, other) = (Spaces::open(&first).await.unwrap(), Spaces::open(&second).await.unwrap());
    let space = one.create("desk").await.unwrap();
    let ticket = space.ticket().await.unwrap().to_string();
    let joined = other.join(&ticket).await.unwrap();
    for round in 0..10_u32 {
        space.map::<u32, u32>("here").put(&1, &round).await.unwrap();
        joined.map::<u32, u32>("there").put(&1, &round).await.unwrap();
    }
    joined.set::<u32>("gone").insert(&1).await.unwrap();
    joined.set::<u32>("gone").remove(&1).await.unwrap();
    let same = async || {
        let both = (space.status().await.unwrap(), joined.status().await.unwrap());
        both.0.digest == both.1.digest && both.0.entries == 22
    };
    until("both hold all", same).await;
    let before = space.state_hash().unwrap();
    let mut behind = space.map::<u32, u32>("here").watch(Some(Position::ZERO));
    let mut now = joined.map::<u32, u32>("here").watch(None);

    let refused = joined.compact(|_| {}).await;
    assert!(matches!(refused, Err(CompactError::Owner)), "{refused:?}");
    let Compacted { entries, bytes } = space.compactable(|_| {}).await.unwrap();
    assert_eq!(entries, 20, "all but the last of each");
    assert!(bytes > 20 * 16, "{bytes} bytes");
    assert_eq!(space.compact(|_| {}).await.unwrap(), Compacted { entries, bytes });
    assert_eq!(space.compact(|_| {}).await.unwrap(), Compacted::default());
    until("both know it", async || {
        let both = (space.status().await.unwrap(), joined.status().await.unwrap());
        both.0.digest == both.1.digest && both.1.entries == 24
    })
    .await;

    until("it is dropped", async || !space.status().await.unwrap().is_compacting).await;
    are_told(&space, &mut behind, &mut now).await;
    space.map::<u32, u32>("here").remove(&2).await.unwrap();
    until("both hold that", async || joined.status().await.unwrap().entries == 26).await;

    // Who comes later, and who comes back, see the same, and an archive has it.
    let third = node("compacting", Some(&second)).await;
    let late = Spaces::open(&third).await.unwrap().join(&ticket).await.unwrap();
    until("the late one holds all", async || late.status().await.unwrap().entries == 26).await;
    let archive = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    late.export(Shared(archive.clone()), |_| {}).await.unwrap();
    let bytes = archive.lock().unwrap().clone();
    let fourth = node("elsewhere", None).await;
    let spaces = Spaces::open(&fourth).await.unwrap();
    let (restored, imported) = spaces.import(std::io::Cursor::new(bytes)).await.unwrap();
    assert_eq!((imported.taken, imported.left), (26, 0));
    for space in [&space, &joined, &late, &restored] {
        assert_eq!(space.state_hash().unwrap(), before);
        assert_eq!(space.map::<u32, u32>("there").get(&1).unwrap(), Some(9));
    }
    let ending = first.store().ending();
    first.shutdown().await;
    drop((behind, now, space, one, first));
    let ended = move || ending.wait(std::time::Duration::from_secs(60));
    assert!(tokio::task::spawn_blocking(ended).await.unwrap());
    let first = again("compacting", &data).await;
    let space = Spaces::open(&first).await.unwrap().get("desk").await.unwrap();
    assert_eq!(space.state_hash().unwrap(), before);
    assert_eq!(space.compact(|_| {}).await.unwrap().entries, 2, "what was put since and removed");
    for node in [first, second, third, fourth] {
        node.shutdown().await;
    }
}

/// Who watches from before it is told that there was something, and then of what is left.
async fn are_told(space: &Space, behind: &mut Watch<u32>, now: &mut Watch<u32>) {
    assert_eq!(behind.next().await.unwrap().unwrap(), Changed::Rebuilt);
    let mut changed = behind.next().await.unwrap().unwrap();
    while changed == Changed::Rebuilt {
        changed = behind.next().await.unwrap().unwrap();
    }
    assert!(matches!(changed, Changed::Key { key: 1, .. }), "{changed:?}");
    space.map::<u32, u32>("here").put(&2, &0).await.unwrap();
    assert!(matches!(now.next().await.unwrap().unwrap(), Changed::Key { key: 2, .. }));
}

/// A writer that others look into.
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
