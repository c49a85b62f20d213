//! Errors as problem documents (RFC 9457).

use axum::{
    Json,
    body::to_bytes,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request wasn't served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says which kind it is.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong with this very request, and what to do.
    pub detail: String,
    /// Of a request to publish: messages that were queued before it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl ToString) -> Self {
        Self {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.to_string(),
            published: None,
        }
    }

    pub(super) fn published(self, count: u64) -> Self {
        Self { published: Some(count), ..self }
    }

    pub(super) fn busy(detail: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<aether_mesh::Closed> for Problem {
    fn from(_: aether_mesh::Closed) -> Self {
        Self::busy("the node is stopping")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        // The request may have a body that nobody has read, so the connection can't be used again.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Turns the framework's own refusals, which are plain text or nothing, into problem documents.
pub(super) async fn unify(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let structured = kind.is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    if structured || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, 4096).await.unwrap_or_default();
    let detail = match String::from_utf8_lossy(&text) {
        text if !text.is_empty() => text.into_owned(),
        _ if status == StatusCode::NOT_FOUND => "see /v1/openapi.json for what is there".to_owned(),
        _ => "see /v1/openapi.json for what this path takes".to_owned(),
    };
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}
