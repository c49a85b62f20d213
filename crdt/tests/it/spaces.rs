//! Spaces on real nodes: in memory or on disk, over loopback.

use std::time::Duration;

use aether_crdt::{Changed, Space, Spaces};
use aether_mesh::{Node, Preset};

/// Generous: a shared machine may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, wait).await;
    assert!(came.is_ok(), "{what}: it didn't come about");
}

pub(crate) async fn node(mesh: &str, seed: Option<&Node>) -> Node {
    let mut builder = Node::builder(Preset::Local).mesh(mesh);
    if let Some(seed) = seed {
        builder = builder.seeds(seed.addresses().await.unwrap());
    }
    builder.spawn().await.unwrap()
}

async fn same(spaces: &[&Space]) -> bool {
    let mut digests = Vec::new();
    for space in spaces {
        digests.push(space.status().await.unwrap().digest);
    }
    digests.windows(2).all(|pair| pair[0] == pair[1])
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let id = {
        let node = Node::builder(Preset::Local).mesh("restart").data(&data).spawn().await.unwrap();
        let spaces = Spaces::open(&node).await.unwrap();
        let space = spaces.create("guests").await.unwrap();
        let ages = space.map::<String, u32>("ages");
        ages.put(&text("ada"), &36).await.unwrap();
        ages.put(&text("ada"), &37).await.unwrap();
        ages.put(&text("blaise"), &39).await.unwrap();
        ages.remove(&text("blaise")).await.unwrap();
        space.counter::<u32>("visits").add(&7, 2).await.unwrap();
        assert_eq!(ages.get(&text("ada")).unwrap(), Some(37));
        node.shutdown().await;
        space.id()
    };
    let node = again("restart", &data).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let space = spaces.get("guests").await.unwrap();
    assert_eq!(space.id(), id);
    let ages = space.map::<String, u32>("ages");
    let all: Vec<_> = ages.iter().map(Result::unwrap).collect();
    assert_eq!(all, [(text("ada"), 37)]);
    let visits = space.counter::<u32>("visits");
    visits.add(&7, 3).await.unwrap();
    assert_eq!(visits.get(&7).unwrap(), 5);
    // After an orderly end the same feed goes on.
    assert_eq!(space.status().await.unwrap().feeds, 1);
}

#[tokio::test]
async fn a_copy_of_a_folder_begins_a_new_feed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let node = Node::builder(Preset::Local).mesh("backup").data(&data).spawn().await.unwrap();
    let space = Spaces::open(&node).await.unwrap().create("guests").await.unwrap();
    space.register::<u32>("answer").set(&41).await.unwrap();
    node.shutdown().await;
    drop((space, node));
    for (data, feeds) in [(&data, 1), (&copy, 2)] {
        let node = again("backup", data).await;
        let space = Spaces::open(&node).await.unwrap().get("guests").await.unwrap();
        if feeds == 1 {
            // While nothing is written, the end that is written down stands.
            copy_folder(data, &copy);
        }
        space.register::<u32>("answer").set(&42).await.unwrap();
        assert_eq!(space.status().await.unwrap().feeds, feeds);
        assert_eq!(space.register::<u32>("answer").all().unwrap(), [42]);
        node.shutdown().await;
    }
}

/// Starts a node on a folder that another may still be closing: its last handle may be that of the
/// driver's thread.
pub(crate) async fn again(mesh: &str, data: &std::path::Path) -> Node {
    loop {
        match Node::builder(Preset::Local).mesh(mesh).data(data).spawn().await {
            Ok(node) => return node,
            Err(error) => {
                tracing::debug!(%error, "not closed yet");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn after_an_end_that_was_not_orderly_a_new_feed_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let start = async |data: &std::path::Path| {
        Node::builder(Preset::Local).mesh("copy").data(data).spawn().await.unwrap()
    };
    let node = start(&data).await;
    let space = Spaces::open(&node).await.unwrap().create("guests").await.unwrap();
    let ages = space.map::<String, u32>("ages");
    ages.put(&text("ada"), &36).await.unwrap();
    // What a crash would leave: the folder as it is while the node runs.
    copy_folder(&data, &copy);
    let node = start(&copy).await;
    let space = Spaces::open(&node).await.unwrap().get("guests").await.unwrap();
    let ages = space.map::<String, u32>("ages");
    assert_eq!(ages.get(&text("ada")).unwrap(), Some(36));
    ages.put(&text("ada"), &37).await.unwrap();
    assert_eq!(space.status().await.unwrap().feeds, 2, "one number is never given twice");
    assert_eq!(ages.all(&text("ada")).unwrap(), [37]);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn two_nodes_that_both_write_end_with_the_same() {
    let alice = node("two", None).await;
    let bob = node("two", Some(&alice)).await;
    let (at_alice, at_bob) =
        (Spaces::open(&alice).await.unwrap(), Spaces::open(&bob).await.unwrap());
    let one = at_alice.create("guests").await.unwrap();
    one.map::<String, u32>("ages").put(&text("ada"), &36).await.unwrap();
    let other = at_bob.join(&one.ticket().await.unwrap().to_string()).await.unwrap();
    assert_eq!((other.id(), other.name()), (one.id(), "guests"));

    // Written before they ever spoke of it.
    other.map::<String, u32>("ages").put(&text("ada"), &63).await.unwrap();
    until("both hold both", async || {
        same(&[&one, &other]).await && one.status().await.unwrap().feeds == 2
    })
    .await;
    let mut ages = one.map::<String, u32>("ages").all(&text("ada")).unwrap();
    assert_eq!(ages, other.map::<String, u32>("ages").all(&text("ada")).unwrap());
    ages.sort_unstable();
    assert_eq!(ages, [36, 63], "neither had seen the other's");
    assert_eq!(one.state_hash().unwrap(), other.state_hash().unwrap());

    // A write that has seen both resolves them, and the other side is told of it.
    let mut watch = one.map::<String, u32>("ages").watch(None);
    other.map::<String, u32>("ages").put(&text("ada"), &64).await.unwrap();
    let changed = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    let Some(Ok(Changed::Key { key, .. })) = changed else { panic!("{changed:?}") };
    assert_eq!(key, "ada");
    assert_eq!(one.map::<String, u32>("ages").all(&text("ada")).unwrap(), [64]);
}

#[tokio::test]
async fn who_lacks_the_ticket_hears_nothing_of_a_space() {
    let alice = node("private", None).await;
    let bob = node("private", Some(&alice)).await;
    let at_alice = Spaces::open(&alice).await.unwrap();
    let at_bob = Spaces::open(&bob).await.unwrap();
    let secret = at_alice.create("secret").await.unwrap();
    let shared = at_alice.create("shared").await.unwrap();
    secret.register::<u32>("answer").set(&42).await.unwrap();
    shared.register::<u32>("question").set(&7).await.unwrap();
    let joined = at_bob.join(&shared.ticket().await.unwrap().to_string()).await.unwrap();
    until("the shared one is here", async || {
        joined.register::<u32>("question").get().unwrap() == Some(7)
    })
    .await;
    assert_eq!(secret.status().await.unwrap().peers, 0);
    assert_eq!(at_bob.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_writers_at_once_share_entries() {
    let node = node("many", None).await;
    let space = Spaces::open(&node).await.unwrap().create("load").await.unwrap();
    let counts = space.counter::<u32>("counts");
    let adding = (0..200u32).map(|n| {
        let counts = counts.clone();
        async move { counts.add(&(n % 4), i64::from(n)).await.unwrap() }
    });
    futures::future::join_all(adding).await;
    let total: i128 = (0..4).map(|key| counts.get(&key).unwrap()).sum();
    assert_eq!(total, 199 * 100);
    let entries = space.status().await.unwrap().entries;
    assert!(entries < 100, "{entries} entries for 200 writes at once");
}

#[tokio::test]
async fn keys_are_read_in_order_and_by_range_and_prefix() {
    let node = node("ranges", None).await;
    let space = Spaces::open(&node).await.unwrap().create("index").await.unwrap();
    let map = space.map::<u32, u32>("squares");
    let batch = (0..300u32).try_fold(map.batch(), |batch, n| batch.put(&n, &(n * n)));
    map.write(batch.unwrap()).await.unwrap();
    let keys = |range: Vec<_>| range.into_iter().map(|item: Result<(u32, u32), _>| item.unwrap().0);
    assert_eq!(keys(map.iter().collect()).len(), 300);
    assert_eq!(keys(map.range(10..13).collect()).collect::<Vec<_>>(), [10, 11, 12]);
    assert_eq!(keys(map.range(297..).collect()).collect::<Vec<_>>(), [297, 298, 299]);
    assert_eq!(keys(map.range(..=2).collect()).collect::<Vec<_>>(), [0, 1, 2]);
    // 256 to 299.
    assert_eq!(keys(map.prefix([0, 0, 1]).collect()).len(), 44);
}
