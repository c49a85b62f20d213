//! Routes for supervisors and for Prometheus.

use std::time::Duration;

use aether_mesh::NetworkStatus;
use axum::{Json, extract::State, http::StatusCode};

use super::{Api, Health};

/// How long a node may take to answer before it counts as stuck.
const STUCK: Duration = Duration::from_secs(5);

type Answer = (StatusCode, Json<Health>);

fn answer(reasons: Vec<String>) -> Answer {
    let ok = reasons.is_empty();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { ok, reasons }))
}

async fn network(api: &Api) -> Result<NetworkStatus, String> {
    match tokio::time::timeout(STUCK, api.node().status()).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(closed)) => Err(closed.to_string()),
        Err(_) => Err(format!("the node has not answered for {STUCK:?}")),
    }
}

/// Whether the node's tasks answer. If not, a restart may help.
#[utoipa::path(get, path = "/health/live", responses(
    (status = 200, body = Health),
    (status = 503, description = "The node has stopped or is stuck.", body = Health),
))]
pub(super) async fn live(State(api): State<Api>) -> Answer {
    answer(network(&api).await.err().into_iter().collect())
}

/// Whether the node can do its work: it isn't stopping, listens if it was told to, and, if it has
/// seeds, is connected to a peer.
#[utoipa::path(get, path = "/health/ready", responses(
    (status = 200, body = Health),
    (status = 503, description = "Not yet, or no longer.", body = Health),
))]
pub(super) async fn ready(State(api): State<Api>) -> Answer {
    let mut reasons = Vec::new();
    if api.0.stopping.is_set() {
        reasons.push("the node is stopping".to_owned());
    }
    let config = api.node().config();
    match network(&api).await {
        Err(reason) => reasons.push(reason),
        Ok(status) => {
            if !config.listen.is_empty() && status.addresses.is_empty() {
                reasons.push("the node doesn't listen on any address yet".to_owned());
            }
            if !config.seeds.is_empty() && status.connections.is_empty() {
                let seeds = config.seeds.len();
                reasons.push(format!("not connected to any peer yet; {seeds} seeds are tried"));
            }
        }
    }
    answer(reasons)
}

/// The same as `/health/ready`.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, body = Health),
    (status = 503, description = "Not yet, or no longer.", body = Health),
))]
pub(super) async fn health(state: State<Api>) -> Answer {
    ready(state).await
}

/// Metrics of the node and of libp2p, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, content_type = "application/openmetrics-text", body = String),
))]
pub(super) async fn metrics(State(api): State<Api>) -> ([(&'static str, &'static str); 1], String) {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([("content-type", kind)], api.node().metrics().encode())
}
