//! Routes about topics. A message is text here: a CBOR text string, in Rust a `Topic<String>`.

mod kept;
mod lines;

use std::time::{Duration, UNIX_EPOCH};

use aether_mesh::{Event as Received, MAX_MESSAGE, PublishError, Subscription, Topic, TopicError};
use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::sse::{Event, Sse},
};
use futures::{Stream, stream};
use serde::Deserialize;

pub(super) use self::kept::Kept;
use self::lines::{LineError, Lines};
use super::{Api, Problem, Published, TopicEvent, Topics};

/// Longest wait for neighbours that may be asked for.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// How long the rest of a body is read after its request has failed.
const DISCARD: Duration = Duration::from_secs(1);

/// The topics that the node has joined.
#[utoipa::path(get, path = "/v1/topics", responses(
    (status = 200, body = Topics),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Topics>, Problem> {
    Ok(Json(Topics { topics: api.node().topics_joined().await? }))
}

/// When to publish.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct When {
    wait_neighbours: usize,
    timeout_seconds: f64,
}

impl Default for When {
    fn default() -> Self {
        Self { wait_neighbours: 0, timeout_seconds: 30.0 }
    }
}

/// Publishes messages.
///
/// The body is one message as `text/plain`, or any number of them as `application/x-ndjson`: a JSON
/// string on each line. Lines are published as they come, and read no faster than the topic's
/// outbox takes them; so a request may last as long as its client likes. Messages leave once
/// somebody reads the topic; until then they wait in the outbox, 4 MiB of them.
///
/// The topic is joined by this, and stays joined: of the topics used here the 32 used last.
#[utoipa::path(post, path = "/v1/topics/{name}/messages",
    params(
        ("name" = String, Path, description = "The topic's name, 1 to 255 bytes."),
        ("wait_neighbours" = Option<usize>, Query,
            description = "Wait until so many connected nodes read the topic; 0 by default."),
        ("timeout_seconds" = Option<f64>, Query,
            description = "Seconds to wait for them: 30 by default, 3600 at most."),
    ),
    request_body(
        description = "One message as text, or one JSON string on each line.",
        content((String = "text/plain"), (String = "application/x-ndjson")),
    ),
    responses(
        (status = 200, body = Published),
        (status = 413, description = "A message is longer than 16 MiB, or a line than 393,218 \
            bytes.", body = Problem),
        (status = 415, description = "The body is neither of the two.", body = Problem),
        (status = 422, description = "No name, or a line that is no JSON string.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 504, description = "Too few neighbours in time.", body = Problem),
    ))]
pub(super) async fn publish(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(when): Query<When>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Published>, Problem> {
    let kind = Kind::of(&headers)?;
    let _permit = api.stream()?;
    let topic = api.0.topics.open(api.node(), &name).await.map_err(no_topic)?;
    let mut stopping = api.stopping();
    wait(&topic, &when, &mut stopping).await?;
    let published = match kind {
        Kind::One => publish_one(&topic, body, &mut stopping).await?,
        Kind::Lines => publish_lines(&topic, body, &mut stopping).await?,
    };
    Ok(Json(Published { published, neighbours: topic.neighbours() }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    Lines,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match value.and_then(|value| value.split(';').next()).map(str::trim) {
            Some("text/plain") => Ok(Self::One),
            Some("application/x-ndjson") => Ok(Self::Lines),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "say Content-Type: text/plain for one message, or application/x-ndjson for a JSON \
                 string on each line",
            )),
        }
    }
}

fn stopping_now() -> Problem {
    aether_mesh::Closed.into()
}

fn no_topic(error: TopicError) -> Problem {
    match error {
        TopicError::Name { .. } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error),
        _ => Problem::busy(error),
    }
}

fn not_published(error: PublishError) -> Problem {
    match error {
        PublishError::TooLarge { .. } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error),
        PublishError::Store(_) => Problem::new(StatusCode::INSUFFICIENT_STORAGE, error),
        _ => Problem::busy(error),
    }
}

async fn wait(
    topic: &Topic<String>,
    when: &When,
    stopping: &mut super::Stopping,
) -> Result<(), Problem> {
    // What is no time counts as none.
    let limit = Duration::try_from_secs_f64(when.timeout_seconds).unwrap_or_default().min(MAX_WAIT);
    let enough = tokio::time::timeout(limit, topic.wait_for_neighbours(when.wait_neighbours));
    let waited = tokio::select! {
        () = stopping.wait() => return Err(stopping_now()),
        waited = enough => waited,
    };
    waited.map_err(|_| {
        let (wanted, found) = (when.wait_neighbours, topic.neighbours());
        let detail = format!("{found} connected nodes read the topic, not {wanted}, {limit:?} on");
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).published(0)
    })
}

async fn publish_one(
    topic: &Topic<String>,
    body: Body,
    stopping: &mut super::Stopping,
) -> Result<u64, Problem> {
    let bytes = to_bytes(body, MAX_MESSAGE).await.map_err(|error| {
        let detail = format!("a message has at most {MAX_MESSAGE} bytes encoded: {error}");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    let text = String::from_utf8(bytes.into())
        .map_err(|_| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is not UTF-8"))?;
    tokio::select! {
        () = stopping.wait() => Err(stopping_now()),
        published = topic.publish(&text) => published.map(|_| 1).map_err(not_published),
    }
}

async fn publish_lines(
    topic: &Topic<String>,
    body: Body,
    stopping: &mut super::Stopping,
) -> Result<u64, Problem> {
    let mut lines = Lines::new(body.into_data_stream());
    let mut published = 0;
    let publishing = async {
        while let Some(line) = lines.next().await.map_err(|error| bad_line(&error))? {
            let text: String = serde_json::from_slice(&line).map_err(|error| {
                let detail = format!("line {} is no JSON string: {error}", lines.number());
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            })?;
            topic.publish(&text).await.map_err(not_published)?;
            published += 1;
        }
        Ok(())
    };
    let result = tokio::select! {
        () = stopping.wait() => Err(stopping_now()),
        result = publishing => result,
    };
    if result.is_err() {
        // A client that is still sending would find the connection broken, and not read why.
        let _ = tokio::time::timeout(DISCARD, lines.discard()).await;
    }
    result.map(|()| published).map_err(|problem| problem.published(published))
}

fn bad_line(error: &LineError) -> Problem {
    let status = match error {
        LineError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        LineError::Body(_) => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, error)
}

/// Messages published from now on, as server-sent events named `message`, `missed`, `undecodable`
/// and `unpulled`. Comments keep an idle stream alive. What the node publishes itself is not among
/// them.
#[utoipa::path(get, path = "/v1/topics/{name}/messages",
    params(("name" = String, Path, description = "The topic's name, 1 to 255 bytes.")),
    responses(
        (status = 200, content_type = "text/event-stream", body = TopicEvent),
        (status = 422, description = "That is no name of a topic.", body = Problem),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(super) async fn subscribe(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let permit = api.stream()?;
    let topic = api.0.topics.open(api.node(), &name).await.map_err(no_topic)?;
    let subscription = topic.subscribe().await?;
    Ok(api.events(permit, stream::unfold(subscription, next)))
}

type Named = (&'static str, TopicEvent);

async fn next(mut from: Subscription<String>) -> Option<(Named, Subscription<String>)> {
    loop {
        if let Some(event) = named(from.next_event().await?) {
            return Some((event, from));
        }
    }
}

fn named(event: Received<String>) -> Option<Named> {
    Some(match event {
        Received::Message(message) => {
            let since = message.time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let event = TopicEvent::Message {
                value: message.value,
                author: message.author,
                life: message.life,
                number: message.number,
                time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            };
            ("message", event)
        }
        Received::Missed(count) => ("missed", TopicEvent::Missed { count }),
        Received::Undecodable { author, number, error } => {
            ("undecodable", TopicEvent::Undecodable { author, number, error })
        }
        Received::Unpulled { author, number, id, size, error } => {
            let (blob, error) = (id.to_string(), error.to_string());
            ("unpulled", TopicEvent::Unpulled { author, number, blob, size, error })
        }
        // Kinds of a later release of the library have no name here yet.
        _ => return None,
    })
}
