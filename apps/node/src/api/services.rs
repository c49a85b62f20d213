//! Routes about services. Arguments and replies are JSON here, and CBOR between nodes.

use std::time::Duration;

use aether_mesh::{
    Announced, CallFailed, Calling, Hedge,
    services::{Code, Replies},
};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::sse::{Event, Sse},
};
use ciborium::Value;
use futures::{Stream, stream};
use serde::Deserialize;

use super::{Api, Instance, Item, NodeReply, Problem, Services, json};

/// Longest deadline that may be asked for.
const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Instances of services that the node knows, of this node and of others.
#[utoipa::path(get, path = "/v1/services", responses(
    (status = 200, body = Services),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Services>, Problem> {
    let mut instances: Vec<Instance> =
        api.node().services().await?.into_iter().map(instance).collect();
    instances.sort_by(|a, b| (&a.service, a.peer).cmp(&(&b.service, b.peer)));
    Ok(Json(Services { instances }))
}

fn instance(announced: Announced) -> Instance {
    let Announced { service, peer, version, endpoints, health, in_flight, capacity } = announced;
    Instance { service, peer, version, endpoints, health, in_flight, capacity }
}

/// How to call.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct How {
    deadline_seconds: Option<f64>,
    idempotent: bool,
    hedge: bool,
    owner: Option<String>,
}

impl How {
    fn apply<R>(&self, mut call: Calling<R>) -> Calling<R> {
        if let Some(seconds) = self.deadline_seconds {
            call = call.deadline(deadline(seconds));
        }
        if self.idempotent {
            call = call.idempotent();
        }
        if self.hedge {
            call = call.hedge(Hedge::P95);
        }
        match &self.owner {
            Some(key) => call.owner(key),
            None => call,
        }
    }
}

/// The deadline that a request asks for. What is no time counts as none.
pub(super) fn deadline(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().min(MAX_DEADLINE)
}

/// Calls a service: any one instance, and the reply is the answer's body.
///
/// A failure that another try may mend is 503 or 504. 502 says that the instance was lost, or
/// failed in a way that is its own; 422 that the service has answered with an error.
#[utoipa::path(post, path = "/v1/services/{service}/{endpoint}",
    params(
        ("service" = String, Path, description = "The service's name."),
        ("endpoint" = String, Path, description = "What is asked of it."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
        ("idempotent" = Option<bool>, Query,
            description = "The call may be made twice with the effect of once."),
        ("hedge" = Option<bool>, Query,
            description = "Ask a second instance if the first takes longer than most calls do; \
                only with `idempotent`."),
        ("owner" = Option<String>, Query, description = "Ask the instance that owns this key."),
    ),
    request_body = serde_json::Value,
    responses(
        (status = 200, body = serde_json::Value),
        (status = 404, description = "No such service or endpoint was found.", body = Problem),
        (status = 413, description = "The arguments are too large.", body = Problem),
        (status = 422, description = "The service refused, or can't read the arguments.",
            body = Problem),
        (status = 502, description = "The instance was lost, or failed.", body = Problem),
        (status = 503, description = "All instances are busy or failed of late.", body = Problem),
        (status = 504, description = "The deadline passed.", body = Problem),
    ))]
pub(super) async fn call(
    State(api): State<Api>,
    Path((service, endpoint)): Path<(String, String)>,
    Query(how): Query<How>,
    Json(arguments): Json<serde_json::Value>,
) -> Result<Json<serde_json::Value>, Problem> {
    let call = api.node().client(&service).call::<Value>(&endpoint, &arguments);
    let reply = how.apply(call).await.map_err(problem)?;
    Ok(Json(json::from_cbor(reply)))
}

/// Calls every instance of a service that isn't draining, and waits for all of them.
#[utoipa::path(post, path = "/v1/services/{service}/{endpoint}/every",
    params(
        ("service" = String, Path, description = "The service's name."),
        ("endpoint" = String, Path, description = "What is asked of it."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
    ),
    request_body = serde_json::Value,
    responses(
        (status = 200, body = Vec<NodeReply>),
        (status = 404, description = "No instance was found.", body = Problem),
        (status = 504, description = "The deadline passed.", body = Problem),
    ))]
pub(super) async fn every(
    State(api): State<Api>,
    Path((service, endpoint)): Path<(String, String)>,
    Query(how): Query<How>,
    Json(arguments): Json<serde_json::Value>,
) -> Result<Json<Vec<NodeReply>>, Problem> {
    let call = api.node().client(&service).call::<Value>(&endpoint, &arguments);
    let answers = how.apply(call).every().await.map_err(problem)?;
    let each = answers.into_iter().map(|answer| match answer.result {
        Ok(reply) => {
            NodeReply { peer: answer.peer, reply: Some(json::from_cbor(reply)), error: None }
        }
        Err(error) => NodeReply { peer: answer.peer, reply: None, error: Some(error.to_string()) },
    });
    Ok(Json(each.collect()))
}

/// Calls an endpoint that answers with a stream, and passes its items on as server-sent events
/// named `item`; the last event is named `end` or `failed`. Closing the connection cancels the
/// call.
#[utoipa::path(post, path = "/v1/services/{service}/{endpoint}/items",
    params(
        ("service" = String, Path, description = "The service's name."),
        ("endpoint" = String, Path, description = "What is asked of it."),
        ("deadline_seconds" = Option<f64>, Query, description = "A day by default, and at most."),
        ("owner" = Option<String>, Query, description = "Ask the instance that owns this key."),
    ),
    request_body = serde_json::Value,
    responses(
        (status = 200, content_type = "text/event-stream", body = Item),
        (status = 503, description = "Too many streams are open, or stopping.", body = Problem),
    ))]
pub(super) async fn items(
    State(api): State<Api>,
    Path((service, endpoint)): Path<(String, String)>,
    Query(how): Query<How>,
    Json(arguments): Json<serde_json::Value>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let permit = api.stream()?;
    let call = api.node().client(&service).call::<Value>(&endpoint, &arguments);
    let replies = how.apply(call).items().await.map_err(problem)?;
    Ok(api.events(permit, stream::unfold(Some(replies), next)))
}

type Named = (&'static str, Item);

async fn next(from: Option<Replies<Value>>) -> Option<(Named, Option<Replies<Value>>)> {
    let mut replies = from?;
    Some(match replies.next().await {
        Some(Ok(item)) => (("item", Item::Item { value: json::from_cbor(item) }), Some(replies)),
        Some(Err(error)) => (("failed", Item::Failed { error: error.to_string() }), None),
        None => (("end", Item::End), None),
    })
}

fn problem(failed: CallFailed) -> Problem {
    let status = match &failed {
        CallFailed::NoInstance { .. } => StatusCode::NOT_FOUND,
        CallFailed::Refused(error) => match error.code {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Malformed | Code::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_GATEWAY,
        },
        CallFailed::Service(_) | CallFailed::Name { .. } | CallFailed::Encode { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        CallFailed::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        CallFailed::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        CallFailed::Lost | CallFailed::Unreachable { .. } | CallFailed::Decode { .. } => {
            StatusCode::BAD_GATEWAY
        }
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, failed)
}
