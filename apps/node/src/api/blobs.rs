//! Routes about blobs. Paths are of the machine that the node runs on.

mod body;

use std::path::PathBuf;

use aether_mesh::{
    BlobId, Blobs, GetError, PeerId,
    blobs::{BlobInfo, BlobStatus, GROUP, Reach},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use futures::{Stream, stream};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

pub(super) use self::body::BodyReader;
use super::{Api, Blob, BlobAdded, BlobEvent, BlobPin, BlobsHeld, Problem};

/// Bytes of a blob that are read at a time.
const PIECE: u64 = 1024 * 1024;

fn parse(id: &str) -> Result<BlobId, Problem> {
    id.parse().map_err(|_| {
        let detail = format!("{id:?} is no blob's id, which has 64 lower-case hexadecimal digits");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}

fn refused(error: impl std::error::Error) -> Problem {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn not_got(error: GetError) -> Problem {
    let status = match error {
        GetError::NoProviders { .. } => StatusCode::NOT_FOUND,
        GetError::TooMuch { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        GetError::Closed(_) | GetError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INSUFFICIENT_STORAGE,
    };
    Problem::new(status, error)
}

/// What the node holds, in whole or part, and what keeps it.
#[utoipa::path(get, path = "/v1/blobs", responses((status = 200, body = BlobsHeld)))]
pub(super) async fn list(State(api): State<Api>) -> Json<BlobsHeld> {
    let blobs = api.node().blobs();
    let pins = blobs.pins();
    let blob = |info: BlobInfo| {
        let pins = pins.iter().filter(|pin| pin.id == info.id).map(|pin| pin.name.clone());
        let (size, held) = match &info.status {
            BlobStatus::Complete { size } => (*size, *size),
            BlobStatus::Partial { size, held, .. } => {
                let groups: u64 = held.iter().map(|run| run.end - run.start).sum();
                (*size, (groups * GROUP).min(*size))
            }
            _ => (0, 0),
        };
        let is_whole = matches!(info.status, BlobStatus::Complete { .. });
        Blob {
            id: info.id.to_string(),
            size,
            held,
            is_whole,
            on_disk: info.on_disk,
            kept: info.pinned,
            pins: pins.collect(),
        }
    };
    let (used, quota) = (blobs.store().used(), blobs.store().quota());
    Json(BlobsHeld { used, quota, blobs: blobs.list().into_iter().map(blob).collect() })
}

/// Adds the body as a blob. It is synced to disk when this answers.
#[utoipa::path(post, path = "/v1/blobs",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = BlobAdded),
        (status = 422, description = "It can't be kept: no room, a full disk.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
    ))]
pub(super) async fn add(State(api): State<Api>, body: Body) -> Result<Json<BlobAdded>, Problem> {
    let _permit = api.stream()?;
    let mut body = body.into_data_stream();
    let (reader, feeding) = BodyReader::new(&mut body);
    let blobs = api.node().blobs();
    let adding = blobs.add_reader(reader);
    let ((), added) = tokio::join!(feeding, adding);
    let added = added.map_err(refused)?;
    Ok(Json(BlobAdded { id: added.id().to_string(), size: added.size(), files: 1 }))
}

/// A path on the node's machine.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// Absolute.
    path: String,
    /// Keep it under this name.
    #[serde(default)]
    pin: Option<String>,
}

impl At {
    fn path(&self) -> Result<PathBuf, Problem> {
        let path = PathBuf::from(&self.path);
        if path.is_absolute() {
            return Ok(path);
        }
        let detail = format!("{:?} is no absolute path on the node's machine", self.path);
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
    }
}

/// Adds a file or a folder of the node's machine, and tells how far it is: events named `progress`,
/// and at the end `added` or `failed`.
#[utoipa::path(post, path = "/v1/blobs/add",
    request_body = At,
    responses(
        (status = 200, content_type = "text/event-stream", body = BlobEvent),
        (status = 422, description = "That is no absolute path.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(super) async fn add_path(
    State(api): State<Api>,
    Json(at): Json<At>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let (permit, path) = (api.stream()?, at.path()?);
    let blobs = api.node().blobs();
    let (told, events) = mpsc::channel(16);
    let progress = told.clone();
    let work = async move {
        let hear = move |done| drop(progress.try_send(BlobEvent::Progress { done, of: None }));
        let added = match blobs.add_path(path, hear).await {
            Ok(added) => added,
            Err(error) => return failed(&told, refused(error).detail).await,
        };
        let (id, size, files) = (added.id(), added.size(), added.files());
        if let Some(pin) = at.pin {
            let reach = if added.is_collection() { Reach::Collection } else { Reach::Blob };
            if let Err(error) = blobs.pin(id, &pin, reach).await {
                return failed(&told, refused(error).detail).await;
            }
        }
        let done = BlobAdded { id: id.to_string(), size, files: files as u64 };
        let _ = told.send(BlobEvent::Added(done)).await;
    };
    Ok(api.events(permit, told_while(work, events)))
}

async fn failed(told: &mpsc::Sender<BlobEvent>, error: String) {
    let _ = told.send(BlobEvent::Failed { error }).await;
}

/// Events of work that goes on while somebody reads them.
fn told_while(
    work: impl Future<Output = ()> + Send + 'static,
    events: mpsc::Receiver<BlobEvent>,
) -> impl Stream<Item = (&'static str, BlobEvent)> + Send + 'static {
    let state = (Box::pin(work), events, false);
    stream::unfold(state, |(mut work, mut events, mut is_done)| async move {
        loop {
            let event = tokio::select! {
                biased;
                event = events.recv() => event?,
                () = &mut work, if !is_done => {
                    is_done = true;
                    continue;
                }
            };
            return Some(((event.name(), event), (work, events, is_done)));
        }
    })
}

/// How to get.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct How {
    from: Option<String>,
    content: bool,
}

/// Has a blob on this node, and tells how far it is: events named `progress`, and at the end
/// `added` or `failed`. Closing the connection stops the download; what has come stays.
#[utoipa::path(post, path = "/v1/blobs/{id}/get",
    params(
        ("id" = String, Path, description = "The blob's id."),
        ("from" = Option<String>, Query, description = "Ask this node first."),
        ("content" = Option<bool>, Query, description = "If it is a collection, its files too."),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = BlobEvent),
        (status = 422, description = "That is no id.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(how): Query<How>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let (permit, id) = (api.stream()?, parse(&id)?);
    let (progress, mut seen) = watch::channel((0, None));
    let mut getting = api.node().blobs().get(id).progress(progress);
    if let Some(from) = &how.from {
        let peer: PeerId = from.parse().map_err(|_| {
            let detail = format!("{from:?} is no peer id");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        })?;
        getting = getting.from(peer);
    }
    if how.content {
        getting = getting.with_content();
    }
    let (told, events) = mpsc::channel(16);
    let work = async move {
        let mut getting = getting.into_future();
        let got = loop {
            tokio::select! {
                got = &mut getting => break got,
                Ok(()) = seen.changed() => {
                    let (done, of) = *seen.borrow_and_update();
                    // Who reads slowly hears of later progress.
                    let _ = told.try_send(BlobEvent::Progress { done, of });
                }
            }
        };
        let event = match got {
            Ok(size) => BlobEvent::Added(BlobAdded { id: id.to_string(), size, files: 1 }),
            Err(error) => BlobEvent::Failed { error: error.to_string() },
        };
        let _ = told.send(event).await;
    };
    Ok(api.events(permit, told_while(work, events)))
}

/// Writes a blob that is here, or the files of a collection, to a path where nothing is.
#[utoipa::path(post, path = "/v1/blobs/{id}/export",
    params(("id" = String, Path, description = "The blob's id.")),
    request_body = At,
    responses(
        (status = 204),
        (status = 422, description = "Not here in whole, or can't be written.", body = Problem),
    ))]
pub(super) async fn export(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(at): Json<At>,
) -> Result<StatusCode, Problem> {
    let (id, path) = (parse(&id)?, at.path()?);
    api.node().blobs().export(id, path, |_| {}).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The content, verified, from other nodes as far as it isn't here. One range of bytes may be asked
/// for (RFC 9110, section 14), and then only that is fetched.
#[utoipa::path(get, path = "/v1/blobs/{id}",
    params(
        ("id" = String, Path, description = "The blob's id."),
        ("range" = Option<String>, Header, description = "Such as `bytes=0-99`."),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "Nobody who can be reached holds it.", body = Problem),
        (status = 416, description = "The blob ends before.", body = Problem),
    ))]
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (permit, id) = (api.stream()?, parse(&id)?);
    let blobs = api.node().blobs();
    // The first group proves the size.
    blobs.read(id, 0..1).await.map_err(not_got)?;
    let (BlobStatus::Complete { size } | BlobStatus::Partial { size, .. }) = blobs.status(&id)
    else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "the blob has just been removed"));
    };
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = asked.and_then(|range| parse_range(range, size));
    let (start, end) = range.unwrap_or((0, size));
    if range.is_some() && start >= end {
        let detail = format!("the blob has {size} bytes");
        return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail));
    }
    let body = Body::from_stream(pieces(blobs, id, start, end, permit));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let mut set = |name, value: String| {
        headers.insert(name, value.parse().expect("digits and hexadecimal digits"));
    };
    set(header::CONTENT_TYPE, "application/octet-stream".into());
    set(header::CONTENT_LENGTH, (end - start).to_string());
    set(header::ACCEPT_RANGES, "bytes".into());
    set(header::ETAG, format!("\"{id}\""));
    if range.is_some() {
        set(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// One range of bytes, as offsets; `None` if it is another kind of range, which may be ignored.
fn parse_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        return Some((size.saturating_sub(suffix), size));
    }
    let first = first.parse().ok()?;
    let end = match last {
        "" => size,
        last => last.parse::<u64>().ok()?.saturating_add(1).min(size),
    };
    Some((first, end))
}

fn pieces(
    blobs: Blobs,
    id: BlobId,
    start: u64,
    end: u64,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> impl Stream<Item = Result<bytes::Bytes, GetError>> + Send + 'static {
    stream::try_unfold((blobs, start, permit), move |(blobs, at, permit)| async move {
        if at >= end {
            return Ok(None);
        }
        let piece = blobs.read(id, at..end.min(at + PIECE)).await?;
        let next = at + piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, (blobs, next, permit))))
    })
}

/// Removes a blob that nobody uses and no pin needs.
#[utoipa::path(delete, path = "/v1/blobs/{id}",
    params(("id" = String, Path, description = "The blob's id.")),
    responses(
        (status = 204),
        (status = 422, description = "It isn't here, is pinned or in use.", body = Problem),
    ))]
pub(super) async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    api.node().blobs().remove(parse(&id)?).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a blob from being evicted, under a name of 1 to 64 of `a-z`, `0-9`, `_` and `-`.
#[utoipa::path(put, path = "/v1/blobs/{id}/pins/{name}",
    params(
        ("id" = String, Path, description = "The blob's id."),
        ("name" = String, Path, description = "The pin's name."),
    ),
    request_body = BlobPin,
    responses(
        (status = 204),
        (status = 422, description = "Not a name, or no collection.", body = Problem),
    ))]
pub(super) async fn pin(
    State(api): State<Api>,
    Path((id, name)): Path<(String, String)>,
    Json(pin): Json<BlobPin>,
) -> Result<StatusCode, Problem> {
    let reach = if pin.content { Reach::Collection } else { Reach::Blob };
    api.node().blobs().pin(parse(&id)?, &name, reach).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a pin away.
#[utoipa::path(delete, path = "/v1/blobs/{id}/pins/{name}",
    params(
        ("id" = String, Path, description = "The blob's id."),
        ("name" = String, Path, description = "The pin's name."),
    ),
    responses((status = 204), (status = 422, description = "Not a name.", body = Problem)))]
pub(super) async fn unpin(
    State(api): State<Api>,
    Path((id, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    api.node().blobs().unpin(parse(&id)?, &name).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        let parse = |text| parse_range(text, 100);
        assert_eq!(parse("bytes=0-9"), Some((0, 10)));
        assert_eq!(parse("bytes=90-"), Some((90, 100)));
        assert_eq!(parse("bytes=90-500"), Some((90, 100)));
        assert_eq!(parse("bytes=-10"), Some((90, 100)));
        assert_eq!(parse("bytes=200-"), Some((200, 100)));
        for ignored in ["lines=1-2", "bytes=a-b", "bytes=1", "bytes=0-1,5-6"] {
            assert_eq!(parse(ignored), None, "{ignored}");
        }
    }
}
