//! Changes of maps, as they happen.

use aether_crdt::{Changed, LookupError, Map, Watch, proto::id::Position};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::sse::{Event, Sse},
};
use futures::{FutureExt as _, Stream, stream};

use super::{AnyJson, no_space, open};
use crate::{
    api::{Api, MapEvent, Problem},
    output::told,
};

/// What a client that comes back sends (WHATWG HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// Changes of a map as server-sent events, in the order in which this node takes them in, each with
/// what is at the key now. The first event says where they begin: here and now, or where the one
/// with the id ended that `Last-Event-ID` names. None is missed; the changes that were written with
/// the last one may come twice.
#[utoipa::path(get, path = "/v1/spaces/{space}/events/{map}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("map" = String, Path, description = "The map's name."),
        ("last-event-id" = Option<u64>, Header, description = "The id of the last event had."),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = MapEvent),
        (status = 404, description = "No such space.", body = Problem),
        (status = 422, description = "That is no event's id.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(in crate::api) async fn events(
    State(api): State<Api>,
    Path((space, map)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let permit = api.stream()?;
    let space = open(&api, &space).await?;
    let after = match headers.get(LAST_EVENT_ID) {
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            id.ok_or_else(|| {
                let detail = "Last-Event-ID is the number of an event that came from here";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            })?
        }
        None => space.status().await.map_err(no_space)?.entries,
    };
    let map = space.map::<String, AnyJson>(&map);
    let watch = map.watch(Some(Position::from_number(after)));
    let reader = Reader { map, watch, held: None, begins: Some(after), has_ended: false };
    Ok(api.numbered(permit, stream::unfold(reader, Reader::next)))
}

type Next = Option<Result<Changed<String>, LookupError>>;

/// Somebody who is told of changes.
struct Reader {
    map: Map<String, AnyJson>,
    watch: Watch<String>,
    /// What came behind the change that was told last.
    held: Option<Next>,
    begins: Option<u64>,
    has_ended: bool,
}

type Numbered = (Option<u64>, &'static str, MapEvent);

impl Reader {
    async fn next(mut self) -> Option<(Numbered, Self)> {
        if let Some(position) = self.begins.take() {
            return Some((named(Some(position), MapEvent::Begun { position }), self));
        }
        if self.has_ended {
            return None;
        }
        let changed = match self.held.take() {
            Some(next) => next?,
            None => self.watch.next().await?,
        };
        let event = match changed {
            Ok(Changed::Key { key, at }) => self.changed(key, at).await,
            Ok(Changed::Rebuilt) => named(None, MapEvent::Rebuilt),
            Err(error) => self.failed(&error),
        };
        Some((event, self))
    }

    /// A change, with what is there now.
    async fn changed(&mut self, key: String, at: Position) -> Numbered {
        let (map, asked) = (self.map.clone(), key.clone());
        let value = tokio::task::spawn_blocking(move || map.get(&asked)).await;
        let position = at.as_number();
        let event = match value {
            Ok(Ok(Some(AnyJson(value)))) => MapEvent::Put { key, value, position },
            Ok(Ok(None)) => MapEvent::Removed { key, position },
            Ok(Err(error @ (LookupError::Store(_) | LookupError::Left))) => {
                return self.failed(&error);
            }
            Ok(Err(error)) => MapEvent::Unreadable { key, position, error: told(&error) },
            Err(error) => return self.failed(&error),
        };
        // Many changes share a position. Whoever comes back behind it must have had all of them, so
        // only the last one of them has it for its id. All of them are ready at once.
        self.held = self.watch.next().now_or_never();
        let is_last = match &self.held {
            Some(Some(Ok(Changed::Key { at: next, .. }))) => *next != at,
            _ => true,
        };
        named(Some(if is_last { at } else { at.before() }.as_number()), event)
    }

    fn failed(&mut self, error: &(dyn std::error::Error + 'static)) -> Numbered {
        self.has_ended = true;
        named(None, MapEvent::Failed { error: told(error) })
    }
}

fn named(id: Option<u64>, event: MapEvent) -> Numbered {
    (id, event.name(), event)
}
