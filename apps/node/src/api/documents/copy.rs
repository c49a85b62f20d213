//! Copies of documents.

use aether_crdt::CopyError;
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::{document_of, durable, unchanged, unreadable};
use crate::{
    api::{Api, DocumentCopy, DocumentVersion, Problem},
    output::told,
};

/// Copies what a document shows into a new one of the same space, without its history: the way to
/// shrink a document, which keeps all that was ever written. Under the key `copied_from` of the
/// copy stands of what it is one. It is durable here when this answers.
#[utoipa::path(post, path = "/v1/spaces/{space}/documents/{document}/copy",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name, percent-encoded."),
    ),
    request_body = DocumentCopy,
    responses(
        (status = 200, description = "The version of the copy.", body = DocumentVersion),
        (status = 404, description = "No such space.", body = Problem),
        (status = 409, description = "A document of that name was written to.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn copy(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
    Json(DocumentCopy { to }): Json<DocumentCopy>,
) -> Result<Json<DocumentVersion>, Problem> {
    // All of it is read and written: no more of that at a time than there may be streams.
    let _permit = api.stream()?;
    let document = document_of(&api, &space, &document).await?;
    let copy = document.copy_to(&to).await.map_err(|error| match error {
        CopyError::Exists { .. } => Problem::new(StatusCode::CONFLICT, told(&error)),
        CopyError::Document(error) => unreadable(error),
        CopyError::Change(error) => unchanged(error),
        error => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, told(&error)),
    })?;
    durable(&copy).await
}
