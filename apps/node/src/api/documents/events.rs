//! Differences in documents, as they come.

use aether_crdt::{Document, PatchEvent, Patches, proto::document::state::Origin};
use axum::{
    extract::{Path, State},
    response::sse::{Event, Sse},
};
use futures::{Stream, stream};

use super::{content, document_of, unreadable};
use crate::api::{Api, DocumentEvent, DocumentOrigin, Problem};

/// What becomes different in a document from now on, as server-sent events: whoever reads it once
/// this has begun, and does what they say, shows what the node shows.
#[utoipa::path(get, path = "/v1/spaces/{space}/documents/{document}/events",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("document" = String, Path, description = "The document's name."),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = DocumentEvent),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(in crate::api) async fn events(
    State(api): State<Api>,
    Path((space, document)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let permit = api.stream()?;
    let document = document_of(&api, &space, &document).await?;
    let patches = document.patches().await.map_err(unreadable)?;
    let reader = Reader { patches, _document: document };
    Ok(api.events(permit, stream::unfold(reader, Reader::next)))
}

/// Somebody who is told of differences, and has the document in hand meanwhile.
struct Reader {
    patches: Patches,
    _document: Document,
}

impl Reader {
    async fn next(mut self) -> Option<((&'static str, DocumentEvent), Self)> {
        loop {
            let event = match self.patches.next().await? {
                Ok(PatchEvent { origin, patches }) => {
                    let patches: Vec<_> = patches.iter().filter_map(content::patch).collect();
                    if patches.is_empty() {
                        continue;
                    }
                    DocumentEvent::Patches { origin: by(origin), patches }
                }
                Err(_) => DocumentEvent::Missed,
            };
            return Some(((event.name(), event), self));
        }
    }
}

const fn by(origin: Origin) -> DocumentOrigin {
    match origin {
        Origin::Local => DocumentOrigin::Local,
        Origin::Undo => DocumentOrigin::Undo,
        Origin::Remote => DocumentOrigin::Remote,
        Origin::Rebuilt => DocumentOrigin::Rebuilt,
    }
}
