//! Archives of spaces, as they are written and read.

use std::{
    io::{self, Write},
    mem,
};

use aether_crdt::{ExportError, ImportError, Imported};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::{described, no_space, open};
use crate::{
    api::{Api, Problem, SpaceImported, blobs::BodyReader},
    output::told,
};

/// Bytes that are sent at a time, about.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for a slow client.
const MAX_PIECES: usize = 4;
/// Bytes of a body that are read though nobody needs them, so that the client hears why.
const MAX_UNREAD: usize = 16 * 1024 * 1024;

/// An archive of all that the node has of a space now: a backup, which another node imports. It
/// ends with a record that says so; what breaks off before isn't whole.
#[utoipa::path(get, path = "/v1/spaces/{space}/archive",
    params(("space" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(in crate::api) async fn archive(
    State(api): State<Api>,
    Path(space): Path<String>,
) -> Result<Response, Problem> {
    let permit = api.stream()?;
    let space = open(&api, &space).await?;
    let (pieces, mut taken) = mpsc::channel(MAX_PIECES);
    let writer = PieceWriter { pieces: pieces.clone(), piece: Vec::with_capacity(PIECE) };
    #[expect(clippy::disallowed_methods, reason = "it ends with the body, which takes its pieces")]
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(error) = space.export(writer, |_| {}).await {
            if !matches!(error, ExportError::Write(_)) {
                tracing::error!(space = %space.id(), error = told(&error), "an export broke off");
            }
            // Whoever has gone needs no answer; else the body breaks off, and isn't whole.
            let _ = pieces.send(Err(io::Error::other(error))).await;
        }
    });
    let body = Body::from_stream(stream::poll_fn(move |context| taken.poll_recv(context)));
    let mut response = body.into_response();
    let octets = "application/octet-stream".parse().expect("it is a header's value");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    Ok(response)
}

/// Sends what is written, from a thread that may block.
struct PieceWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.pieces.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Takes in an archive: opens its space, and takes in what is new here. All is checked as what a
/// peer sends. Of an archive that isn't whole, what stands before the damage is taken in.
#[utoipa::path(post, path = "/v1/spaces/import",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = SpaceImported),
        (status = 400, description = "The body broke off.", body = Problem),
        (status = 422, description = "That is no archive, or it is torn or forged.",
            body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn import(
    State(api): State<Api>,
    body: Body,
) -> Result<Json<SpaceImported>, Problem> {
    let _permit = api.stream()?;
    let mut body = body.into_data_stream();
    let imported = {
        let (reader, feeding) = BodyReader::new(&mut body);
        let importing = api.spaces().import(reader);
        tokio::join!(feeding, importing).1
    };
    let (space, imported) = match imported {
        Ok(imported) => imported,
        Err(error) => {
            let mut unread = 0;
            while unread < MAX_UNREAD
                && let Some(Ok(piece)) = body.next().await
            {
                unread += piece.len();
            }
            return Err(not_imported(error));
        }
    };
    let Imported { taken, known, left, bytes } = imported;
    let space = described(&space).await?;
    Ok(Json(SpaceImported { space, taken, known, left, bytes }))
}

fn not_imported(error: ImportError) -> Problem {
    let status = match error {
        ImportError::Open(error) => return no_space(error),
        ImportError::Read { .. } => StatusCode::BAD_REQUEST,
        ImportError::Write { source: aether_crdt::WriteFailed::Refused(_), .. } => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        ImportError::Write { source: aether_crdt::WriteFailed::Left, .. } => StatusCode::CONFLICT,
        ImportError::Write { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, told(&error))
}
