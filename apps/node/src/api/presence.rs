//! Routes about presence: what nodes say of themselves while they are there. Values are JSON here;
//! between nodes and in programs they are CBOR, so that a `Presence<T>` of a program and one here
//! are the same.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aether_crdt::{
    Presence, PresenceChanges, PresenceError, PresenceEvent as Told, Present as Other, Space,
    proto::id::SpaceId,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::sse::{Event, Sse},
};
use futures::{Stream, stream};
use lru::LruCache;
use serde_json::Value;

use super::{
    Api, PresenceEvent, Present, Problem,
    spaces::{AnyJson, open},
};
use crate::output::told;

/// How long a value stays that a client has set and doesn't set again.
const LASTS: Duration = Duration::from_secs(45);
/// Names that are listened to between requests.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(16).expect("it is no zero");

type Named = (SpaceId, String);

/// Presence that was asked for last: whoever begins to listen must first hear the others.
pub(super) struct Kept(Mutex<LruCache<Named, (Space, Presence<AnyJson>)>>);

impl Default for Kept {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KEPT)))
    }
}

impl Kept {
    fn open(&self, space: &Space, name: &str) -> Presence<AnyJson> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = (space.id(), name.to_owned());
        // Of a space that was closed and opened again, what was in hand before is of no use.
        if let Some((_, presence)) = kept.get(&named).filter(|(space, _)| !space.is_left()) {
            return presence.clone();
        }
        let presence = space.presence(name);
        kept.put(named, (space.clone(), presence.clone()));
        presence
    }
}

/// What other nodes say under a name; for a document its name is a good one. The first request for
/// a name begins to listen: what others say comes about a second later.
#[utoipa::path(get, path = "/v1/spaces/{space}/presence/{name}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("name" = String, Path, description = "The name, percent-encoded, at most 255 bytes."),
    ),
    responses(
        (status = 200, body = Vec<Present>),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
    ))]
pub(super) async fn others(
    State(api): State<Api>,
    Path((space, name)): Path<(String, String)>,
) -> Result<Json<Vec<Present>>, Problem> {
    let others = presence_of(&api, &space, &name).await?.others().await.map_err(refused)?;
    Ok(Json(others.into_iter().map(described).collect()))
}

/// Says something under a name in this node's name, for 45 seconds: say it again before they are
/// over.
#[utoipa::path(put, path = "/v1/spaces/{space}/presence/{name}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("name" = String, Path, description = "The name, percent-encoded, at most 255 bytes."),
    ),
    request_body = Value,
    responses(
        (status = 204),
        (status = 404, description = "No such space.", body = Problem),
        (status = 413, description = "The value is too large, or there are too many.",
            body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
    ))]
pub(super) async fn say(
    State(api): State<Api>,
    Path((space, name)): Path<(String, String)>,
    Json(value): Json<Value>,
) -> Result<StatusCode, Problem> {
    let presence = presence_of(&api, &space, &name).await?;
    presence.set_for(&AnyJson(value), LASTS).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says nothing under a name any more.
#[utoipa::path(delete, path = "/v1/spaces/{space}/presence/{name}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("name" = String, Path, description = "The name, percent-encoded."),
    ),
    responses(
        (status = 204),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
    ))]
pub(super) async fn clear(
    State(api): State<Api>,
    Path((space, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    presence_of(&api, &space, &name).await?.clear().await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What other nodes say under a name, and what becomes of it, as server-sent events: first those
/// who say something already.
#[utoipa::path(get, path = "/v1/spaces/{space}/presence/{name}/events",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("name" = String, Path, description = "The name, percent-encoded."),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = PresenceEvent),
        (status = 404, description = "No such space.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(super) async fn events(
    State(api): State<Api>,
    Path((space, name)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let permit = api.stream()?;
    let presence = presence_of(&api, &space, &name).await?;
    // What comes while those who are there are asked for may be told twice, and isn't missed.
    let changes = presence.changes();
    let others = presence.others().await.map_err(refused)?;
    let first = others.into_iter().map(|other| PresenceEvent::Says(described(other))).collect();
    Ok(api.events(permit, stream::unfold(Reader { first, changes }, Reader::next)))
}

struct Reader {
    first: VecDeque<PresenceEvent>,
    changes: PresenceChanges<AnyJson>,
}

impl Reader {
    async fn next(mut self) -> Option<((&'static str, PresenceEvent), Self)> {
        let event = match self.first.pop_front() {
            Some(event) => event,
            None => match self.changes.next().await? {
                Told::Says(other) => PresenceEvent::Says(described(other)),
                Told::Gone { peer } => PresenceEvent::Gone { peer },
                Told::Missed => PresenceEvent::Missed,
            },
        };
        Some(((event.name(), event), self))
    }
}

async fn presence_of(api: &Api, space: &str, name: &str) -> Result<Presence<AnyJson>, Problem> {
    Ok(api.presence().open(&open(api, space).await?, name))
}

fn described(Other { peer, value: AnyJson(value) }: Other<AnyJson>) -> Present {
    Present { peer, value }
}

fn refused(error: PresenceError) -> Problem {
    let status = match error {
        PresenceError::Closed | PresenceError::Topic(_) => StatusCode::SERVICE_UNAVAILABLE,
        PresenceError::Left => StatusCode::CONFLICT,
        PresenceError::Set(_) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, told(&error))
}
