//! Presence on real nodes.

use std::time::Duration;

use aether_crdt::{
    Cursor, Presence, PresenceError, PresenceEvent, Present, Spaces,
    proto::{
        document::{
            content::ObjId,
            edit::Edit,
            template::{TEXT, Template},
            view::View,
        },
        presence::SetError,
        space::{Mode, Role},
    },
};
use aether_mesh::Node;
use serde::{Deserialize, Serialize};

use crate::spaces::{node, until};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Here {
    name: String,
}

fn here(name: &str) -> Here {
    Here { name: name.into() }
}

/// What is seen of another node.
async fn sees(presence: &Presence<Here>, of: &Node) -> Option<Here> {
    let others = presence.others().await.unwrap();
    others.into_iter().find(|other| other.peer == of.id()).map(|other| other.value)
}

#[tokio::test]
async fn who_is_there_is_seen_changes_and_goes() {
    let first = node("presence", None).await;
    let second = node("presence", Some(&first)).await;
    let (one, other) = (Spaces::open(&first).await.unwrap(), Spaces::open(&second).await.unwrap());
    let space = one.create("desk").await.unwrap();
    let joined = other.join(&space.ticket().await.unwrap().to_string()).await.unwrap();
    let (ada, bob) = (space.presence::<Here>("notes"), joined.presence::<Here>("notes"));
    let mut changes = bob.changes();
    ada.set(&here("ada")).await.unwrap();
    until("ada is seen", async || sees(&bob, &first).await == Some(here("ada"))).await;
    let says = PresenceEvent::Says(Present { peer: first.id(), value: here("ada") });
    assert_eq!(changes.next().await, Some(says));
    // Who came first is told to who comes later, long before it would be said again.
    bob.set(&here("bob")).await.unwrap();
    until("bob is seen", async || sees(&ada, &second).await == Some(here("bob"))).await;
    ada.set(&here("ada l.")).await.unwrap();
    until("ada changes", async || sees(&bob, &first).await == Some(here("ada l."))).await;
    // Under another name there is nobody.
    assert_eq!(space.presence::<Here>("other").others().await.unwrap(), []);
    ada.clear().await.unwrap();
    until("ada goes", async || sees(&bob, &first).await.is_none()).await;
    ada.set(&here("again")).await.unwrap();
    until("ada is back", async || sees(&bob, &first).await.is_some()).await;
    // The last handle is gone, and what was said with it.
    drop(ada);
    until("ada has left", async || sees(&bob, &first).await.is_none()).await;
    let mut last = None;
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(1), changes.next()).await {
        last = event;
    }
    assert_eq!(last, Some(PresenceEvent::Gone { peer: first.id() }));
}

#[tokio::test]
async fn who_dies_is_forgotten() {
    let first = node("dying", None).await;
    let second = node("dying", Some(&first)).await;
    let (one, other) = (Spaces::open(&first).await.unwrap(), Spaces::open(&second).await.unwrap());
    let space = one.create("desk").await.unwrap();
    let joined = other.join(&space.ticket().await.unwrap().to_string()).await.unwrap();
    let (ada, bob) = (space.presence::<Here>("notes"), joined.presence::<Here>("notes"));
    ada.set(&here("ada")).await.unwrap();
    until("ada is seen", async || sees(&bob, &first).await.is_some()).await;
    // A node that is shut down under its spaces says nothing more.
    first.shutdown().await;
    assert!(sees(&bob, &first).await.is_some());
    assert_eq!(
        ada.set(&here("ada")).await.map_err(|error| error.to_string()).err().as_deref(),
        Some("the node has stopped")
    );
    let gone = async {
        let mut changes = bob.changes();
        while changes.next().await != Some(PresenceEvent::Gone { peer: first.id() }) {}
    };
    tokio::time::timeout(Duration::from_secs(120), gone).await.expect("it expires in 45 s");
}

#[tokio::test]
async fn who_may_not_read_is_not_seen() {
    let first = node("guests", None).await;
    let second = node("guests", Some(&first)).await;
    let (one, other) = (Spaces::open(&first).await.unwrap(), Spaces::open(&second).await.unwrap());
    let space = one.create_as("desk", Mode::Granted).await.unwrap();
    let joined = other.join(&space.ticket().await.unwrap().to_string()).await.unwrap();
    let (ada, bob) = (space.presence::<Here>("notes"), joined.presence::<Here>("notes"));
    bob.set(&here("bob")).await.unwrap();
    ada.set(&here("ada")).await.unwrap();
    space.grant(&second.id(), Role::Reader).await.unwrap();
    until("a reader is seen", async || {
        bob.set(&here("a reader")).await.unwrap();
        bob.set(&here("bob")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        sees(&ada, &second).await.is_some()
    })
    .await;
    space.remove(&second.id()).await.unwrap();
    until("who was removed is not", async || {
        bob.set(&here("still here")).await.unwrap();
        bob.set(&here("bob")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        sees(&ada, &second).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_or_of_a_space_that_was_left_is_refused() {
    let node = node("refused", None).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let space = spaces.create("desk").await.unwrap();
    let presence = space.presence::<Here>("notes");
    let large = presence.set(&here(&"x".repeat(5_000))).await.unwrap_err();
    assert!(matches!(large, PresenceError::Set(SetError::Value { .. })), "{large:?}");
    let named = space.presence::<Here>("").set(&here("x")).await.unwrap_err();
    assert!(matches!(named, PresenceError::Set(SetError::Name { len: 0 })), "{named:?}");
    presence.set(&here("x")).await.unwrap();
    spaces.close(space.id()).await.unwrap();
    until("it is told", async || presence.set(&here("x")).await == Err(PresenceError::Left)).await;
    let space = spaces.open_again(space.id()).await.unwrap();
    space.presence::<Here>("notes").set(&here("y")).await.unwrap();
}

fn text_of(view: &View<'_>) -> ObjId {
    view.get(ObjId::Root, TEXT).unwrap().unwrap().object().unwrap()
}

#[tokio::test]
async fn cursors_move_with_the_text() {
    let node = node("cursors", None).await;
    let space = Spaces::open(&node).await.unwrap().create("desk").await.unwrap();
    let document = space.document_from("notes", &Template::text());
    let splice = |at: usize, delete: usize, insert: &'static str| {
        move |edit: &mut Edit<'_>| {
            let text = text_of(&edit.view()?);
            edit.splice_text(text, at, delete, insert)
        }
    };
    document.change(splice(0, 0, "hello world")).await.unwrap();
    let cursors = document.view(|view| {
        let text = text_of(view);
        let at = Cursor::at(view, text, 6).unwrap().unwrap();
        let forth = Cursor::select(view, text, 6, 11).unwrap().unwrap();
        let back = Cursor::select(view, text, 11, 6).unwrap().unwrap();
        assert_eq!(Cursor::at(view, text, 12).unwrap(), None);
        [at, forth, back]
    });
    let cursors = cursors.await.unwrap();
    let json = serde_json::to_string(&cursors).unwrap();
    assert_eq!(serde_json::from_str::<[Cursor; 3]>(&json).unwrap(), cursors);
    assert!(serde_json::from_str::<Cursor>("\"AAAA\"").is_err());
    let at = async || {
        let read = move |view: &View<'_>| {
            let text = text_of(view);
            cursors.map(|cursor| {
                let there = cursor.position(view).unwrap().unwrap();
                assert_eq!(there.object, text);
                (there.begin, there.head)
            })
        };
        document.view(read).await.unwrap()
    };
    assert_eq!(at().await, [(6, 6), (6, 11), (11, 6)]);
    document.change(splice(0, 5, "goodbye")).await.unwrap();
    assert_eq!(at().await, [(8, 8), (8, 13), (13, 8)]);
    // What is written at the ends isn't selected.
    document.change(splice(13, 0, "!")).await.unwrap();
    document.change(splice(8, 0, "> ")).await.unwrap();
    assert_eq!(at().await, [(8, 8), (10, 15), (15, 10)]);
    document.change(splice(0, 16, "")).await.unwrap();
    assert_eq!(at().await, [(0, 0), (0, 0), (0, 0)]);
}
