//! Documents on real nodes.

use std::{collections::BTreeMap, path::Path, time::Duration};

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

use aether_store::{Batch, Durability, Options, Store};
use automerge::transaction::Transactable as _;

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

/// Puts another document into a document's stored file, one that no node would have written.
fn spoil(data: &Path) {
    let mut strange = automerge::Automerge::new().with_actor([1, 2, 3].into());
    let mut tx = strange.transaction();
    tx.put_object(automerge::ROOT, TEXT, automerge::ObjType::Text).unwrap();
    tx.commit();
    let store = Store::open(data.join("store"), Options::default()).unwrap();
    let rows = store.keyspace("spaces").unwrap();
    let mut batch = Batch::new();
    for row in rows.range::<&[u8]>(..) {
        let (key, value) = row.unwrap();
        let begins = value.windows(4).position(|four| four == [0x85, 0x6f, 0x4a, 0x83]);
        // Behind the number of the space, files begin with 11.
        if let Some(begins) = begins.filter(|_| key[4] == 11) {
            batch.put(&rows, &key[..], &[&value[..begins], &strange.save()[..]].concat());
        }
    }
    assert!(!batch.is_empty(), "there is a file");
    store.commit(batch, Durability::Synced).wait().unwrap();
}

#[tokio::test]
async fn what_no_node_has_written_is_found_in_a_file_and_the_document_made_of_entries() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let long: String = "0123456789".repeat(9_000);
    let node = again("spoilt", &data).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let document = notes(&spaces.create("desk").await.unwrap());
    let text = long.clone();
    let edit = move |edit: &mut Edit<'_>| {
        let to = text_of(&edit.view()?);
        edit.splice_text(to, 0, 0, &text)
    };
    document.commit(edit).await.unwrap();
    drop((document, spaces));
    let ending = node.store().ending();
    node.shutdown().await;
    drop(node);
    let wait = move || ending.wait(Duration::from_secs(60));
    assert!(tokio::task::spawn_blocking(wait).await.unwrap(), "the store ends");

    spoil(&data);
    let node = again("spoilt", &data).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let document = notes(&spaces.get("desk").await.unwrap());
    // Who asks when it is found is told so, and asks again.
    let shown = async || document.view(|view| view.text(text_of(view)).unwrap()).await;
    until("the text", async || shown().await.is_ok_and(|text| text == long)).await;
    splice(&document, 0, 1, "x").await;
    document.durable().await.unwrap();
    assert_eq!(read(&document).await, format!("x{}", &long[1..]));
    node.shutdown().await;
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

/// A program's own type, as it stands in a document.
#[derive(Debug, Default, PartialEq, autosurgeon::Hydrate, autosurgeon::Reconcile)]
struct List {
    title: String,
    items: Vec<Item>,
}

#[derive(Debug, PartialEq, autosurgeon::Hydrate, autosurgeon::Reconcile)]
struct Item {
    #[key]
    id: u64,
    text: aether_crdt::proto::document::typed::Text,
}

#[tokio::test]
async fn a_document_is_a_value_of_the_programs_type() {
    let node = node("typed", None).await;
    let space = Spaces::open(&node).await.unwrap().create("desk").await.unwrap();
    let list = space.document_from("list", &Template::of(&List::default()).unwrap());
    let add = |id: u64, text: &'static str| {
        move |list: &mut List| {
            list.items.push(Item { id, text: text.into() });
            Ok(list.items.len())
        }
    };
    assert_eq!(list.update(add(1, "milk")).await.unwrap(), 1);
    assert_eq!(list.update(add(2, "bread")).await.unwrap(), 2);
    list.durable().await.unwrap();
    let failed = list.update(|list: &mut List| {
        list.items.clear();
        Err::<(), _>(EditError::Custom("no".into()))
    });
    assert!(failed.await.is_err());
    let read: List = list.read().await.unwrap();
    assert_eq!(read.items.iter().map(|item| &item.text[..]).collect::<Vec<_>>(), ["milk", "bread"]);
    list.change(|edit| edit.put(ObjId::Root, "title", 3_u64)).await.unwrap();
    let wrong = list.read::<List>().await.unwrap_err();
    assert!(wrong.to_string().contains("title: unexpected uint"), "{wrong}");
    let wrong = list.update(|_: &mut List| Ok(())).await.unwrap_err();
    assert!(wrong.to_string().contains("title: unexpected uint"), "{wrong}");
}

#[tokio::test]
async fn a_draft_is_merged_with_what_others_wrote_meanwhile() {
    let first = node("drafts", None).await;
    let second = node("drafts", Some(&first)).await;
    let (one, other) = (Spaces::open(&first).await.unwrap(), Spaces::open(&second).await.unwrap());
    let space = one.create("desk").await.unwrap();
    let ticket = space.ticket().await.unwrap().to_string();
    let (here, there) = (notes(&space), notes(&other.join(&ticket).await.unwrap()));
    splice(&here, 0, 0, "the quick fox").await;
    until("both have it", async || read(&there).await == "the quick fox").await;
    let draft = here.draft(None).await.unwrap();
    let edit = |edit: &mut Edit<'_>| {
        let text = text_of(&edit.view()?);
        edit.splice_text(text, 4, 5, "slow")
    };
    draft.change(edit).await.unwrap();
    assert_eq!(draft.view(|view| view.text(text_of(view)).unwrap()).await.unwrap(), "the slow fox");
    assert_eq!(draft.differences().await.unwrap().len(), 2);
    splice(&there, 13, 0, " jumps").await;
    until("it is here", async || read(&here).await == "the quick fox jumps").await;
    splice(&here, 10, 0, "brown ").await;
    assert!(draft.merge().await.unwrap());
    assert_eq!(read(&here).await, "the slow brown fox jumps");
    here.durable().await.unwrap();
    until("it is there", async || read(&there).await == "the slow brown fox jumps").await;
    assert!(here.undo().await.unwrap());
    until("it is taken back", async || read(&there).await == "the quick brown fox jumps").await;
    // The next draft, and what is edited after it, go on in lanes of their own.
    for _ in 0..3 {
        let draft = here.draft(None).await.unwrap();
        splice(&here, 0, 0, ">").await;
        draft.change(edit).await.unwrap();
        assert!(draft.merge().await.unwrap());
        splice(&here, 0, 0, "<").await;
        assert!(here.undo().await.unwrap());
        assert!(here.undo().await.unwrap());
    }
    here.durable().await.unwrap();
    until("all is there", async || read(&there).await == read(&here).await).await;
    assert_eq!(here.version().await.unwrap(), there.version().await.unwrap());
}

#[tokio::test]
async fn merged_drafts_are_there_after_a_restart_and_more_can_be_begun() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for round in 0..4 {
        let node = again("redrafts", &data).await;
        let spaces = Spaces::open(&node).await.unwrap();
        let space = match round {
            0 => spaces.create("desk").await.unwrap(),
            _ => spaces.get("desk").await.unwrap(),
        };
        let document = notes(&space);
        assert_eq!(read(&document).await.len(), 4 * round);
        let draft = document.draft(None).await.unwrap();
        let old = document.draft(Some(document.version().await.unwrap())).await.unwrap();
        let edit = |edit: &mut Edit<'_>| {
            let text = text_of(&edit.view()?);
            edit.splice_text(text, 0, 0, "x")
        };
        draft.change(edit).await.unwrap();
        splice(&document, 0, 0, "y").await;
        old.change(edit).await.unwrap();
        assert!(draft.merge().await.unwrap());
        assert!(old.merge().await.unwrap());
        splice(&document, 0, 0, "z").await;
        document.durable().await.unwrap();
        assert!(document.history().await.unwrap().iter().all(|revision| revision.counts));
        assert_eq!(read(&document).await.len(), 4 * round + 4);
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_copy_begins_without_history_and_says_of_what_it_is_one() {
    let node = node("copies", None).await;
    let space = Spaces::open(&node).await.unwrap().create("desk").await.unwrap();
    let document = notes(&space);
    for _ in 0..20 {
        splice(&document, 0, 0, "hello ").await;
        document.durable().await.unwrap();
    }
    splice(&document, 0, 114, "").await;
    let version = document.version().await.unwrap();
    let copy = document.copy_to("fresh").await.unwrap();
    assert_eq!(read(&copy).await, "hello ");
    assert_eq!(copy.history().await.unwrap().len(), 1);
    let source = copy.copied_from().await.unwrap().unwrap();
    assert_eq!((&source.space, &source.document[..]), (&space.id().to_string(), "notes"));
    assert_eq!(source.version, version.iter().map(|hash| format!("{hash:?}")).collect::<Vec<_>>());
    assert_eq!(document.copied_from().await.unwrap(), None);
    for name in ["fresh", "notes"] {
        let exists = document.copy_to(name).await.unwrap_err();
        assert!(exists.to_string().contains("another name"), "{exists}");
    }
    splice(&copy, 6, 0, "again").await;
    assert_eq!(read(&space.document_from("fresh", &Template::text())).await, "hello again");
}
