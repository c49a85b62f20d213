//! Routes about documents, which begin with an empty text here: what a program has as
//! `space.document_from(name, &Template::text())`.
//!
//! Documents in hand have a task and threads of their own, so nothing blocks here.

mod content;
mod copy;
mod events;
mod kept;
mod merge;

use std::time::{Duration, UNIX_EPOCH};

use aether_crdt::{
    ChangeError, Document as Handle, DocumentError, Revision, WriteError,
    proto::document::{
        ChangeHash,
        content::{Node, ObjId},
        edit::{Edit, EditError},
        template::TEXT,
        view::{View, ViewError},
    },
};
use aether_mesh::identity::peer_id;
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;

use self::merge::Merge;
pub(super) use self::{copy::*, events::*, kept::Kept};
use super::{
    Api, Document, DocumentChange, DocumentSplice, DocumentTurn, DocumentVersion, Problem,
    spaces::{not_written, open},
};
use crate::output::told;

/// Most splices at once.
const MAX_SPLICES: usize = 4_096;
/// The last moment of the year 9999: what is said to be later can't be written.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// Which version.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct At {
    at: Option<String>,
}

/// What an edit was made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Base {
    base: Option<String>,
}

/// A document with all that is in it.
#[utoipa::path(get, path = "/v1/spaces/{space}/documents/{document}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
        ("at" = Option<String>, Query,
            description = "As it was at this version: hashes of changes, with commas."),
    ),
    responses(
        (status = 200, body = Document),
        (status = 404, description = "No such space, or no such version.", body = Problem),
        (status = 422, description = "That is no version.", body = Problem),
        (status = 500, description = "What is stored can't be read.", body = Problem),
    ))]
pub(super) async fn show(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
    Query(At { at }): Query<At>,
) -> Result<Json<Document>, Problem> {
    let version = at.as_deref().map(version).transpose()?;
    let document = document_of(&api, &space, &document).await?;
    let version = match version {
        Some(version) => version,
        None => document.version().await.map_err(unreadable)?,
    };
    let read = |view: &View<'_>| view.content(ObjId::Root).map(|all| content::whole(&all));
    let found = document.view_at(version.clone(), read).await.map_err(unreadable)?;
    let content = found.map_err(|error| unreadable(error.into()))?;
    Ok(Json(Document { version: hex(&version), content }))
}

/// The text of a document.
#[utoipa::path(get, path = "/v1/spaces/{space}/documents/{document}/text",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
        ("at" = Option<String>, Query,
            description = "As it was at this version: hashes of changes, with commas."),
    ),
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = 404, description = "No such space, or no such version.", body = Problem),
        (status = 409, description = "Somebody put something else in its place.", body = Problem),
        (status = 422, description = "That is no version.", body = Problem),
        (status = 500, description = "What is stored can't be read.", body = Problem),
    ))]
pub(super) async fn text(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
    Query(At { at }): Query<At>,
) -> Result<String, Problem> {
    let version = at.as_deref().map(version).transpose()?;
    let document = document_of(&api, &space, &document).await?;
    let read = |view: &View<'_>| view.text(text_of(view)?);
    let found = match version {
        Some(version) => document.view_at(version, read).await,
        None => document.view(read).await,
    };
    found.map_err(unreadable)?.map_err(|error| unreadable(error.into()))
}

/// Makes the text of a document another one, by what differs: what others write meanwhile stays.
///
/// With `base`, what differs is looked for between the text at that version and the new one, and
/// done to the text as it is now. It is durable here when this answers. What doesn't fit into one
/// edit, which holds some 50,000 characters, is done in several; if one fails, those before stay.
#[utoipa::path(put, path = "/v1/spaces/{space}/documents/{document}/text",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
        ("base" = Option<String>, Query,
            description = "The version that the text was made of: hashes of changes, with commas."),
    ),
    request_body(content = String, content_type = "text/plain"),
    responses(
        (status = 200, body = DocumentVersion),
        (status = 400, description = "The text is no UTF-8.", body = Problem),
        (status = 404, description = "No such space, or no such version.", body = Problem),
        (status = 409, description = "Somebody put something else in its place.", body = Problem),
        (status = 413, description = "The text or the document is too large.", body = Problem),
        (status = 422, description = "That is no version.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn replace(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
    Query(Base { base }): Query<Base>,
    body: String,
) -> Result<Json<DocumentVersion>, Problem> {
    let base = base.as_deref().map(version).transpose()?;
    // A comparison takes some 50 times the text: no more at a time than there may be streams.
    let _permit = api.stream()?;
    let document = document_of(&api, &space, &document).await?;
    let read = |view: &View<'_>| {
        let text = text_of(view)?;
        Ok::<_, ViewError>((view.text(text)?, view.elements(text)?))
    };
    let found = match base {
        Some(base) => document.view_at(base, read).await,
        None => document.view(read).await,
    };
    let found = found.map_err(unreadable)?;
    let (from, elements) = found.map_err(|error| unreadable(error.into()))?;
    let compare = move || Merge::new(elements, &from, &body);
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the comparison broke off");
    let mut merge = tokio::task::spawn_blocking(compare).await.map_err(broken)?;
    while !merge.is_done() {
        let step = move |edit: &mut Edit<'_>| {
            let text = text_of(&edit.view()?)?;
            merge.step(edit, text)?;
            Ok(merge)
        };
        merge = document.change(step).await.map_err(unchanged)?;
    }
    durable(&document).await
}

/// Inserts into the text of a document and deletes from it, in order, all or nothing. It is durable
/// here when this answers.
#[utoipa::path(post, path = "/v1/spaces/{space}/documents/{document}/splices",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
    ),
    request_body = Vec<DocumentSplice>,
    responses(
        (status = 200, body = DocumentVersion),
        (status = 404, description = "No such space.", body = Problem),
        (status = 409, description = "Somebody put something else in its place.", body = Problem),
        (status = 413, description = "They are too many, or too large for one edit.",
            body = Problem),
        (status = 422, description = "One reaches beyond the text.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn splice(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
    Json(splices): Json<Vec<DocumentSplice>>,
) -> Result<Json<DocumentVersion>, Problem> {
    if splices.len() > MAX_SPLICES {
        let detail = format!("{} splices are more than {MAX_SPLICES}", splices.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let document = document_of(&api, &space, &document).await?;
    let edit = move |edit: &mut Edit<'_>| {
        let text = text_of(&edit.view()?)?;
        for (number, DocumentSplice { at, delete, insert }) in splices.iter().enumerate() {
            edit.splice_text(text, *at, *delete, insert).map_err(|error| beyond(number, error))?;
        }
        Ok(())
    };
    document.change(edit).await.map_err(unchanged)?;
    durable(&document).await
}

fn beyond(number: usize, error: EditError) -> EditError {
    match error {
        EditError::OutOfRange => EditError::Custom(format!(
            "splice {number} reaches beyond the text, so nothing was done; positions are code \
             points of the text as the splices before leave it"
        )),
        error => error,
    }
}

/// Takes back the last edit of a document that was made at this node, durably; nothing that others
/// wrote. What was edited before the document was last opened can't be taken back: it closes when
/// nobody has used it for a minute.
#[utoipa::path(post, path = "/v1/spaces/{space}/documents/{document}/undo",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
    ),
    responses(
        (status = 200, body = DocumentTurn),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn undo(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
) -> Result<Json<DocumentTurn>, Problem> {
    turned(&document_of(&api, &space, &document).await?, Handle::undo).await
}

/// Takes back the last undo, durably, if nothing was edited at this node since.
#[utoipa::path(post, path = "/v1/spaces/{space}/documents/{document}/redo",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
    ),
    responses(
        (status = 200, body = DocumentTurn),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn redo(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
) -> Result<Json<DocumentTurn>, Problem> {
    turned(&document_of(&api, &space, &document).await?, Handle::redo).await
}

async fn turned(
    document: &Handle,
    turn: impl AsyncFnOnce(&Handle) -> Result<bool, ChangeError>,
) -> Result<Json<DocumentTurn>, Problem> {
    let done = turn(document).await.map_err(unchanged)?;
    document.durable().await.map_err(unchanged)?;
    Ok(Json(DocumentTurn { done }))
}

/// All changes of a document, oldest first by their authors' clocks. Reads them all.
#[utoipa::path(get, path = "/v1/spaces/{space}/documents/{document}/history",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
    ),
    responses(
        (status = 200, body = Vec<DocumentChange>),
        (status = 404, description = "No such space.", body = Problem),
        (status = 500, description = "What is stored can't be read.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
    ))]
pub(super) async fn history(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
) -> Result<Json<Vec<DocumentChange>>, Problem> {
    // Reading all of it is work: no more of that at a time than there may be streams.
    let _permit = api.stream()?;
    let document = document_of(&api, &space, &document).await?;
    let mut all = document.history().await.map_err(unreadable)?;
    all.sort_by_key(|revision| revision.time);
    Ok(Json(all.into_iter().map(described).collect()))
}

fn described(revision: Revision) -> DocumentChange {
    let millis = revision.time.wall().as_millis().min(LAST_MILLIS);
    let time = UNIX_EPOCH + Duration::from_millis(millis);
    DocumentChange {
        change: format!("{:?}", revision.change),
        author: peer_id(&revision.author),
        time: humantime::format_rfc3339_millis(time).to_string(),
        operations: revision.operations,
        deps: hex(&revision.deps),
        counts: revision.counts,
    }
}

async fn document_of(api: &Api, space: &str, name: &str) -> Result<Handle, Problem> {
    Ok(api.documents().open(&open(api, space).await?, name))
}

/// The text that it began with, unless somebody put something else there.
fn text_of(view: &View<'_>) -> Result<ObjId, ViewError> {
    view.get(ObjId::Root, TEXT)?.as_ref().and_then(Node::object).ok_or(ViewError::NotFound)
}

async fn durable(document: &Handle) -> Result<Json<DocumentVersion>, Problem> {
    document.durable().await.map_err(unchanged)?;
    let version = document.version().await.map_err(unreadable)?;
    Ok(Json(DocumentVersion { version: hex(&version) }))
}

fn hex(version: &[ChangeHash]) -> Vec<String> {
    version.iter().map(|hash| format!("{hash:?}")).collect()
}

fn version(text: &str) -> Result<Vec<ChangeHash>, Problem> {
    let hash = |hash: &str| {
        let bytes = HEXLOWER_PERMISSIVE.decode(hash.trim().as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).map(ChangeHash);
        bytes.ok_or_else(|| {
            let detail = format!(
                "{hash:?} is no hash of a change: a version is one or more of them, with commas, \
                 each of 64 hexadecimal digits"
            );
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        })
    };
    text.split(',').map(hash).collect()
}

fn unreadable(error: DocumentError) -> Problem {
    let (status, detail) = match &error {
        DocumentError::Closed => (StatusCode::SERVICE_UNAVAILABLE, told(&error)),
        DocumentError::Left => (StatusCode::CONFLICT, told(&error)),
        DocumentError::UnknownVersion => {
            let next = "its history names the changes that are here";
            (StatusCode::NOT_FOUND, format!("{error}; {next}"))
        }
        DocumentError::View(ViewError::NotFound | ViewError::WrongType) => no_text(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, told(&error)),
    };
    Problem::new(status, detail)
}

fn no_text() -> (StatusCode, String) {
    let detail = format!("there is no text under the key {TEXT:?} of the document");
    (StatusCode::CONFLICT, detail)
}

fn unchanged(error: ChangeError) -> Problem {
    let (status, detail) = match error {
        ChangeError::Document(error) => return unreadable(error),
        ChangeError::Write(error) => return not_written(WriteError::Failed(error)),
        ChangeError::Edit(EditError::NotFound | EditError::WrongType) => no_text(),
        ChangeError::Edit(EditError::TooLarge) => {
            let detail = "that is more than an edit or a document holds";
            (StatusCode::PAYLOAD_TOO_LARGE, detail.to_owned())
        }
        ChangeError::Edit(EditError::Broken(_)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, told(&error))
        }
        error => (StatusCode::UNPROCESSABLE_ENTITY, told(&error)),
    };
    Problem::new(status, detail)
}
