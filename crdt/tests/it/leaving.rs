//! Closing and deleting spaces on real nodes.

use std::time::Duration;

use aether_crdt::{
    DocumentError, LookupError, OpenError, Space, Spaces, WriteError, WriteFailed,
    proto::document::content::ObjId,
};
use aether_mesh::{Node, Preset};

use crate::spaces::{again, node, until};

fn ages(space: &Space) -> aether_crdt::Map<String, u32> {
    space.map("ages")
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn a_space_that_was_closed_stays_closed_until_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = Node::builder(Preset::Local).mesh("closed").data(&data);
    let node = start.spawn().await.unwrap();
    let spaces = Spaces::open(&node).await.unwrap();
    let space = spaces.create("guests").await.unwrap();
    let other = spaces.create("others").await.unwrap();
    ages(&space).put(&text("ada"), &36).await.unwrap();
    spaces.close(space.id()).await.unwrap();
    spaces.close(space.id()).await.unwrap();
    let id = space.id();
    node.shutdown().await;
    drop((space, other, spaces, node));

    let node = again("closed", &data).await;
    let spaces = Spaces::open(&node).await.unwrap();
    assert_eq!(spaces.list().await.unwrap().len(), 1);
    let closed = spaces.closed().await.unwrap();
    assert_eq!((closed[0].id(), closed[0].name(), closed.len()), (id, "guests", 1));
    let why = spaces.get("guests").await.unwrap_err();
    assert!(matches!(why, OpenError::Left { .. }), "{why:?}");
    assert_eq!(spaces.find("guests").await.unwrap(), id);
    node.shutdown().await;
    drop((spaces, node));

    let node = again("closed", &data).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let space = spaces.open_again(id).await.unwrap();
    assert!(spaces.closed().await.unwrap().is_empty());
    assert_eq!(ages(&space).get(&text("ada")).unwrap(), Some(36));
    ages(&space).put(&text("ada"), &37).await.unwrap();
    assert_eq!(space.status().await.unwrap().feeds, 1, "the same feed goes on");
    // Open already, it stays as it is.
    assert_eq!(spaces.open_again(id).await.unwrap().id(), id);
    ages(&space).put(&text("ada"), &38).await.unwrap();
}

#[tokio::test]
async fn handles_of_a_space_that_was_closed_say_so() {
    let node = node("handles", None).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let space = spaces.create("guests").await.unwrap();
    ages(&space).put(&text("ada"), &36).await.unwrap();
    let mut watch = ages(&space).watch(None);
    let document = space.document("notes");
    document.change(|edit| edit.put(ObjId::Root, "a", 1).map(drop)).await.unwrap();
    document.durable().await.unwrap();
    let mut patches = document.patches().await.unwrap();
    spaces.close(space.id()).await.unwrap();

    let patience = Duration::from_secs(60);
    let ended = tokio::time::timeout(patience, watch.next()).await.unwrap();
    assert!(matches!(ended, Some(Err(LookupError::Left))), "{ended:?}");
    assert!(tokio::time::timeout(patience, patches.next()).await.unwrap().unwrap().is_err());
    let check = async || {
        let read = ages(&space).get(&text("ada")).unwrap_err();
        assert!(matches!(read, LookupError::Left), "{read:?}");
        assert!(matches!(ages(&space).iter().next(), Some(Err(LookupError::Left))));
        let write = ages(&space).put(&text("ada"), &37).await.unwrap_err();
        assert!(matches!(write, WriteError::Failed(WriteFailed::Left)), "{write:?}");
        let status = space.status().await.unwrap_err();
        assert!(matches!(status, OpenError::Left { .. }), "{status:?}");
        let view = document.content().await.unwrap_err();
        assert!(matches!(view, DocumentError::Left), "{view:?}");
        assert!(space.state_hash().is_err());
        assert!(space.export(std::io::sink(), |_| {}).await.is_err());
    };
    check().await;
    // Whoever opens it again has new handles; the old ones stay closed.
    let anew = spaces.open_again(space.id()).await.unwrap();
    assert_eq!(ages(&anew).get(&text("ada")).unwrap(), Some(36));
    let document = anew.document("notes").content().await.unwrap();
    assert_ne!(document, space_content_empty());
    check().await;
}

fn space_content_empty() -> aether_crdt::proto::document::content::Content {
    aether_crdt::proto::document::content::Content::Map(std::collections::BTreeMap::new())
}

#[tokio::test]
async fn who_closed_a_space_is_told_nothing_and_hears_all_when_it_opens_it_again() {
    let alice = node("apart", None).await;
    let bob = node("apart", Some(&alice)).await;
    let at_alice = Spaces::open(&alice).await.unwrap();
    let at_bob = Spaces::open(&bob).await.unwrap();
    let one = at_alice.create("guests").await.unwrap();
    let ticket = one.ticket().await.unwrap().to_string();
    let other = at_bob.join(&ticket).await.unwrap();
    ages(&one).put(&text("ada"), &36).await.unwrap();
    until("bob has it", async || ages(&other).get(&text("ada")).unwrap() == Some(36)).await;
    at_bob.close(other.id()).await.unwrap();
    until("alice's session ends", async || one.status().await.unwrap().peers == 0).await;
    ages(&one).put(&text("ada"), &37).await.unwrap();
    let other = at_bob.open_again(one.id()).await.unwrap();
    until("bob has the rest", async || ages(&other).get(&text("ada")).unwrap() == Some(37)).await;

    // A ticket opens what is closed too.
    at_bob.close(other.id()).await.unwrap();
    ages(&one).put(&text("ada"), &38).await.unwrap();
    let other = at_bob.join(&ticket).await.unwrap();
    until("bob has it all", async || ages(&other).get(&text("ada")).unwrap() == Some(38)).await;
    // Both write on.
    ages(&other).put(&text("bob"), &20).await.unwrap();
    until("alice has it", async || ages(&one).get(&text("bob")).unwrap() == Some(20)).await;
}

#[tokio::test]
async fn a_space_that_was_deleted_is_fetched_anew_from_those_who_have_it() {
    let alice = node("gone", None).await;
    let bob = node("gone", Some(&alice)).await;
    let at_alice = Spaces::open(&alice).await.unwrap();
    let at_bob = Spaces::open(&bob).await.unwrap();
    let one = at_alice.create("guests").await.unwrap();
    let ticket = one.ticket().await.unwrap().to_string();
    let other = at_bob.join(&ticket).await.unwrap();
    ages(&one).put(&text("ada"), &36).await.unwrap();
    ages(&other).put(&text("bob"), &20).await.unwrap();
    let digest = async |space: &Space| space.status().await.unwrap().digest;
    until("both have both", async || {
        digest(&one).await == digest(&other).await && one.status().await.unwrap().feeds == 2
    })
    .await;
    at_bob.delete(other.id()).await.unwrap();
    assert!(at_bob.list().await.unwrap().is_empty() && at_bob.closed().await.unwrap().is_empty());
    let unknown = at_bob.open_again(one.id()).await.unwrap_err();
    assert!(matches!(unknown, OpenError::NotFound { .. }), "{unknown:?}");
    let unknown = at_bob.delete(one.id()).await.unwrap_err();
    assert!(matches!(unknown, OpenError::NotFound { .. }), "{unknown:?}");
    assert_eq!(ages(&one).get(&text("bob")).unwrap(), Some(20), "peers keep what they have");

    let other = at_bob.join(&ticket).await.unwrap();
    // What it writes before it knows what it had is another feed.
    ages(&other).put(&text("bob"), &21).await.unwrap();
    until("both have all", async || {
        digest(&one).await == digest(&other).await && other.status().await.unwrap().entries == 3
    })
    .await;
    let status = other.status().await.unwrap();
    assert_eq!((status.feeds, status.forked), (3, 0));
    assert_eq!(one.state_hash().unwrap(), other.state_hash().unwrap());
}
