//! Routes about spaces and their maps. Keys are text here, and values JSON; between nodes and in
//! programs they are CBOR, so that `Map<String, T>` of a program and a map here are the same.
//!
//! Reads are of this node's replica, and away from the runtime, as they block on the disk.

mod archive;
mod compacting;
mod events;
mod leaving;
mod members;
mod page;
mod value;

use aether_crdt::{
    LookupError, Map, Mode, OpenError, Status, WriteError, WriteFailed, proto::replica,
};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::{
    archive::*, compacting::*, events::*, leaving::*, members::*, page::*, value::AnyJson,
};
use super::{
    Api, ClosedSpace, MapBatch, NewSpace, Problem, Space, SpaceAccess, SpaceStatus, SpaceTicket,
    Spaces,
};
use crate::output::told;

/// The spaces that the node has, and those that are closed on it.
#[utoipa::path(get, path = "/v1/spaces", responses(
    (status = 200, body = Spaces),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Spaces>, Problem> {
    let mut spaces = Vec::new();
    for space in api.spaces().list().await.map_err(no_space)? {
        match described(&space).await {
            Ok(space) => spaces.push(space),
            // It has just been closed.
            Err(problem) if problem.status == StatusCode::CONFLICT => {}
            Err(problem) => return Err(problem),
        }
    }
    let closed = api.spaces().closed().await.map_err(no_space)?;
    let closed = closed.iter().map(|space| {
        let (id, name) = (space.id().to_string(), space.name().to_owned());
        ClosedSpace { id, name }
    });
    Ok(Json(Spaces { spaces, closed: closed.collect() }))
}

/// Founds a space. Unless it says who has access, everyone may read and write it who has its
/// ticket.
#[utoipa::path(post, path = "/v1/spaces", request_body = NewSpace, responses(
    (status = 201, body = Space),
    (status = 422, description = "The name is too long.", body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
    (status = 507, description = "It can't be written down.", body = Problem),
))]
pub(super) async fn create(
    State(api): State<Api>,
    Json(NewSpace { name, access }): Json<NewSpace>,
) -> Result<(StatusCode, Json<Space>), Problem> {
    let mode = match access {
        SpaceAccess::Open => Mode::Open,
        SpaceAccess::Readable => Mode::Readable,
        SpaceAccess::Granted => Mode::Granted,
    };
    let space = api.spaces().create_as(&name, mode).await.map_err(no_space)?;
    Ok((StatusCode::CREATED, Json(described(&space).await?)))
}

/// Takes part in the space of a ticket. What is in it comes from the nodes that have it, of which
/// those are dialled that the ticket names. Joining again does no harm.
#[utoipa::path(post, path = "/v1/spaces/join", request_body = SpaceTicket, responses(
    (status = 200, body = Space),
    (status = 422, description = "That is no ticket, or not of this release.", body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
    (status = 507, description = "It can't be written down.", body = Problem),
))]
pub(super) async fn join(
    State(api): State<Api>,
    Json(SpaceTicket { ticket }): Json<SpaceTicket>,
) -> Result<Json<Space>, Problem> {
    let space = api.spaces().join(&ticket).await.map_err(no_space)?;
    Ok(Json(described(&space).await?))
}

/// What to show of a space.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct What {
    state: bool,
}

/// A space that the node has.
#[utoipa::path(get, path = "/v1/spaces/{space}",
    params(
        ("space" = String, Path, description = "Its id, or its name if no other has it."),
        ("state" = Option<bool>, Query,
            description = "Hash what its collections show too, which reads all of it."),
    ),
    responses(
        (status = 200, body = Space),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
    ))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(space): Path<String>,
    Query(what): Query<What>,
) -> Result<Json<Space>, Problem> {
    let space = open(&api, &space).await?;
    let mut described = described(&space).await?;
    if what.state {
        // Reading all of a space is work: no more of that at a time than there may be streams.
        let permit = api.stream()?;
        let hash = blocking(move || {
            let _permit = permit;
            Ok(space.state_hash()?)
        });
        described.state = Some(hash.await?.to_string());
    }
    Ok(Json(described))
}

/// The ticket that lets others into a space, with this node's addresses.
#[utoipa::path(get, path = "/v1/spaces/{space}/ticket",
    params(("space" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 200, body = SpaceTicket),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
    ))]
pub(super) async fn ticket(
    State(api): State<Api>,
    Path(space): Path<String>,
) -> Result<Json<SpaceTicket>, Problem> {
    let ticket = open(&api, &space).await?.ticket().await.map_err(no_space)?;
    Ok(Json(SpaceTicket { ticket: ticket.to_string() }))
}

/// How to read a key.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct How {
    all: bool,
}

/// The value of a key.
///
/// Nodes that put values without knowing of each other leave several: this is the latest by hybrid
/// time, and with `all` an array of all of them, the latest last. The next put resolves them.
#[utoipa::path(get, path = "/v1/spaces/{space}/maps/{map}/{key}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("map" = String, Path, description = "The map's name."),
        ("key" = String, Path, description = "The key, percent-encoded, at most 1,024 bytes."),
        ("all" = Option<bool>, Query, description = "All values, as an array."),
    ),
    responses(
        (status = 200, body = Value),
        (status = 404, description = "No such space, or nothing at the key.", body = Problem),
        (status = 500, description = "What is there can't be read.", body = Problem),
    ))]
pub(super) async fn value(
    State(api): State<Api>,
    Path((space, map, key)): Path<(String, String, String)>,
    Query(how): Query<How>,
) -> Result<Json<Value>, Problem> {
    let map = map_of(&api, &space, &map).await?;
    let missing = format!("nothing is at the key {key:?}");
    let found = blocking(move || {
        if !how.all {
            return Ok(map.get(&key)?.map(|AnyJson(value)| value));
        }
        let all: Vec<Value> = map.all(&key)?.into_iter().map(|AnyJson(value)| value).collect();
        Ok((!all.is_empty()).then_some(Value::Array(all)))
    });
    let found = found.await?;
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, missing))
}

/// Gives a key a value, which is any JSON. It is durable here when this answers, and the other
/// nodes get it from here.
#[utoipa::path(put, path = "/v1/spaces/{space}/maps/{map}/{key}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("map" = String, Path, description = "The map's name; it is there once it is written to."),
        ("key" = String, Path, description = "The key, percent-encoded, at most 1,024 bytes."),
    ),
    request_body = Value,
    responses(
        (status = 204),
        (status = 404, description = "No such space.", body = Problem),
        (status = 413, description = "The key or the value is too large.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn put(
    State(api): State<Api>,
    Path((space, map, key)): Path<(String, String, String)>,
    Json(value): Json<Value>,
) -> Result<StatusCode, Problem> {
    let map = map_of(&api, &space, &map).await?;
    map.put(&key, &AnyJson(value)).await.map_err(not_written)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes what is seen at a key. That nothing is there is no error.
#[utoipa::path(delete, path = "/v1/spaces/{space}/maps/{map}/{key}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("map" = String, Path, description = "The map's name."),
        ("key" = String, Path, description = "The key, percent-encoded, at most 1,024 bytes."),
    ),
    responses(
        (status = 204),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn remove(
    State(api): State<Api>,
    Path((space, map, key)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let map = map_of(&api, &space, &map).await?;
    map.remove(&key).await.map_err(not_written)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes many changes to a map visible and durable here at once.
#[utoipa::path(post, path = "/v1/spaces/{space}/maps/{map}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("map" = String, Path, description = "The map's name; it is there once it is written to."),
    ),
    request_body = MapBatch,
    responses(
        (status = 204),
        (status = 404, description = "No such space.", body = Problem),
        (status = 413, description = "A key or a value is too large, or all of it.",
            body = Problem),
        (status = 422, description = "A key is put and removed.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(super) async fn write(
    State(api): State<Api>,
    Path((space, map)): Path<(String, String)>,
    Json(MapBatch { put, remove }): Json<MapBatch>,
) -> Result<StatusCode, Problem> {
    let map = map_of(&api, &space, &map).await?;
    if let Some(key) = remove.iter().find(|key| put.contains_key(*key)) {
        let detail = format!("the key {key:?} is put and removed: say which");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let mut batch = map.batch();
    for (key, value) in put {
        batch = batch.put(&key, &AnyJson(value)).map_err(not_written)?;
    }
    for key in &remove {
        batch = batch.remove(key).map_err(not_written)?;
    }
    map.write(batch).await.map_err(not_written)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn open(api: &Api, space: &str) -> Result<aether_crdt::Space, Problem> {
    api.spaces().get(space).await.map_err(no_space)
}

async fn map_of(api: &Api, space: &str, map: &str) -> Result<Map<String, AnyJson>, Problem> {
    Ok(open(api, space).await?.map(map))
}

async fn described(space: &aether_crdt::Space) -> Result<Space, Problem> {
    let Status { entries, feeds, forked, peers, digest, role, is_compacting, has_failed } =
        space.status().await.map_err(no_space)?;
    let status =
        SpaceStatus { entries, feeds, forked, peers, digest, role, is_compacting, has_failed };
    Ok(Space { id: space.id().to_string(), name: space.name().to_owned(), status, state: None })
}

/// Reads where blocking does no harm.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, LookupError> + Send + 'static,
) -> Result<T, Problem> {
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the read broke off");
    let read = tokio::task::spawn_blocking(read).await.map_err(broken)?;
    read.map_err(|error| {
        let status = match error {
            LookupError::Left => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, told(&error))
    })
}

pub(super) fn no_space(error: OpenError) -> Problem {
    let status = match error {
        OpenError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        OpenError::NotFound { .. } => StatusCode::NOT_FOUND,
        OpenError::Ambiguous { .. } | OpenError::Left { .. } => StatusCode::CONFLICT,
        OpenError::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
        OpenError::Write(_) => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, told(&error))
}

pub(super) fn not_written(error: WriteError) -> Problem {
    use replica::WriteError as Refused;
    let status = match &error {
        WriteError::Edit(_) => StatusCode::PAYLOAD_TOO_LARGE,
        WriteError::Failed(WriteFailed::Left) => StatusCode::CONFLICT,
        WriteError::Failed(WriteFailed::Refused(Refused::NotGranted | Refused::Access(_))) => {
            StatusCode::FORBIDDEN
        }
        WriteError::Failed(WriteFailed::Closed | WriteFailed::Refused(Refused::Busy)) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        WriteError::Failed(WriteFailed::Refused(
            Refused::Failed | Refused::Feeds | Refused::Full(_),
        )) => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, told(&error))
}
