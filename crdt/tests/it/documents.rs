//! Documents on real nodes.

use std::collections::BTreeMap;

use aether_crdt::{
    Document, Space, Spaces,
    proto::document::{
        Kind,
        content::{Content, ObjId, Scalar},
        edit::{Edit, EditError},
        patch::PatchAction,
        state::Origin,
        template::{TEXT, Template},
        view::View,
    },
};

use crate::spaces::{again, node, until};

fn text_of(view: &View<'_>) -> ObjId {
    view.get(ObjId::Root, TEXT).unwrap().unwrap().object().unwrap()
}

fn notes(space: &Space) -> Document {
    space.document_from("notes", &Template::text())
}

async fn read(document: &Document) -> String {
    document.view(|view| view.text(text_of(view)).unwrap()).await.unwrap()
}

async fn splice(document: &Document, at: usize, delete: usize, insert: &'static str) {
    let edit = move |edit: &mut Edit<'_>| {
        let text = text_of(&edit.view()?);
        edit.splice_text(text, at, delete, insert)
    };
    document.change(edit).await.unwrap();
}

#[tokio::test]
async fn what_is_durable_is_there_after_a_restart_and_can_be_edited_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for round in 0..3 {
        let node = again("documents", &data).await;
        let spaces = Spaces::open(&node).await.unwrap();
        let space = match round {
            0 => spaces.create("desk").await.unwrap(),
            _ => spaces.get("desk").await.unwrap(),
        };
        let document = notes(&space);
        assert_eq!(read(&document).await.len(), 6 * round);
        splice(&document, 0, 0, "hello ").await;
        assert_eq!(read(&document).await.len(), 6 * round + 6, "it is shown at once");
        document.durable().await.unwrap();
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_file_holds_what_was_there_and_later_entries_come_on_top() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let long: String = "0123456789".repeat(9_000);
    for round in 1..=3 {
        let node = again("files", &data).await;
        let spaces = Spaces::open(&node).await.unwrap();
        let space = match round {
            1 => spaces.create("desk").await.unwrap(),
            _ => spaces.get("desk").await.unwrap(),
        };
        let document = notes(&space);
        let insert = if round == 1 { long.clone() } else { "x".to_owned() };
        let edit = move |edit: &mut Edit<'_>| {
            let text = text_of(&edit.view()?);
            edit.splice_text(text, 0, 0, &insert)
        };
        document.commit(edit).await.unwrap();
        assert_eq!(read(&document).await.len(), long.len() + round - 1);
        drop(document);
        // Letting go of it has its file written, which the next one opens.
        let document = notes(&space);
        assert_eq!(read(&document).await.len(), long.len() + round - 1);
        let history = document.history().await.unwrap();
        assert_eq!(history.len(), round);
        assert!(history.iter().all(|revision| revision.counts));
        node.shutdown().await;
    }
}

#[tokio::test]
async fn two_type_into_one_text_apart_and_together() {
    let (first, second) = (node("typing", None).await, node("typing", None).await);
    let (one, other) = (Spaces::open(&first).await.unwrap(), Spaces::open(&second).await.unwrap());
    let space = one.create("desk").await.unwrap();
    let ticket = space.ticket().await.unwrap().to_string();
    let (here, there) = (notes(&space), notes(&other.join(&ticket).await.unwrap()));
    // Both begin apart.
    splice(&here, 0, 0, "hello").await;
    splice(&there, 0, 0, "world").await;
    for address in first.addresses().await.unwrap() {
        second.dial(address).await.unwrap();
    }
    until("both show both", async || {
        let (here, there) = (read(&here).await, read(&there).await);
        here.len() == 10 && here == there
    })
    .await;
    assert_eq!(here.version().await.unwrap(), there.version().await.unwrap());
    // And go on together.
    let mut patches = there.patches().await.unwrap();
    splice(&here, 0, 0, "> ").await;
    let event = patches.next().await.unwrap().unwrap();
    assert_eq!(event.origin, Origin::Remote);
    let expected = PatchAction::Splice { index: 0, text: "> ".into(), marks: BTreeMap::new() };
    assert_eq!(event.patches[0].action, expected);
    let history = there.history().await.unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(history.iter().filter(|one| one.author == first.secret_key().public()).count(), 2);
}

#[tokio::test]
async fn undo_takes_back_what_was_edited_here() {
    let node = node("undo", None).await;
    let space = Spaces::open(&node).await.unwrap().create("desk").await.unwrap();
    let document = space.document("list");
    let put = |key: &'static str, value: &'static str| {
        move |edit: &mut Edit<'_>| edit.put(ObjId::Root, key, value).map(drop)
    };
    document.change(put("title", "old")).await.unwrap();
    document.undo_barrier().await.unwrap();
    document.change(put("title", "new")).await.unwrap();
    assert!(document.undo().await.unwrap());
    let title = |content: Content| match content {
        Content::Map(map) => map.get("title").cloned(),
        _ => None,
    };
    let old = Some(Content::Scalar(Scalar::Str("old".into())));
    assert_eq!(title(document.content().await.unwrap()), old);
    let version = document.version().await.unwrap();
    assert!(document.redo().await.unwrap());
    let new = Some(Content::Scalar(Scalar::Str("new".into())));
    assert_eq!(title(document.content().await.unwrap()), new);
    let then = document.view_at(version, |view| view.content(ObjId::Root).unwrap()).await;
    assert_eq!(title(then.unwrap()), old);
    // An edit that fails leaves nothing, and one that panics is its caller's loss alone.
    let failed = document
        .change(|edit| {
            edit.put(ObjId::Root, "title", "half")?;
            Err::<(), _>(EditError::Custom("no".into()))
        })
        .await;
    assert!(failed.is_err());
    let panicked = document.change(|_| -> Result<(), EditError> { panic!("of the user's") }).await;
    assert!(panicked.is_err());
    assert_eq!(title(document.content().await.unwrap()), new);
    document.durable().await.unwrap();
}

#[tokio::test]
async fn all_handles_of_a_document_share_it_and_names_tell_documents_apart() {
    let node = node("handles", None).await;
    let space = Spaces::open(&node).await.unwrap().create("desk").await.unwrap();
    let handles: Vec<Document> = (0..4).map(|_| space.document("shared")).collect();
    for (n, document) in handles.iter().enumerate() {
        let key = format!("key {n}");
        document.change(move |edit| edit.put(ObjId::Root, key, true).map(drop)).await.unwrap();
    }
    let keys = |document: &Document| {
        let document = document.clone();
        async move { document.view(|view| view.keys(ObjId::Root).unwrap()).await.unwrap() }
    };
    assert_eq!(keys(&handles[0]).await.len(), 4);
    assert!(keys(&space.document("other")).await.is_empty());
    let list = Template::new(|edit| edit.put_object(ObjId::Root, "items", Kind::List).map(drop));
    assert_eq!(keys(&space.document_from("shared", &list.unwrap())).await, ["items"]);
    // One that comes when the last was let go of finds what that wrote.
    drop(handles);
    assert_eq!(keys(&space.document("shared")).await.len(), 4);
}
