//! Compacting spaces.

use aether_crdt::{CompactError, Compacted, WriteFailed};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;

use super::{not_written, open};
use crate::{
    api::{Api, Problem, SpaceCompacted},
    output::told,
};

/// How to compact a space.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Way {
    dry_run: bool,
}

/// Discards the payloads of all entries that no longer do anything, on all nodes: what they put was
/// overwritten or removed. What can be read stays the same. Only the node of an owner can do that.
/// It reads all of the space, and answers when it is durable what goes; that is dropped after it.
#[utoipa::path(post, path = "/v1/spaces/{space}/compact",
    params(
        ("space" = String, Path, description = "Its id, or its name if no other has it."),
        ("dry_run" = Option<bool>, Query, description = "Only tell what would go."),
    ),
    responses(
        (status = 200, body = SpaceCompacted),
        (status = 403, description = "This node isn't an owner.", body = Problem),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
        (status = 503, description = "Too busy, or stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn compact(
    State(api): State<Api>,
    Path(space): Path<String>,
    Query(way): Query<Way>,
) -> Result<Json<SpaceCompacted>, Problem> {
    let space = open(&api, &space).await?;
    // Reading all of a space is work: no more of that at a time than there may be streams.
    let _permit = api.stream()?;
    let compacted = match way.dry_run {
        true => space.compactable(|_| {}).await,
        false => space.compact(|_| {}).await,
    };
    let Compacted { entries, bytes } = compacted.map_err(not_compacted)?;
    Ok(Json(SpaceCompacted { entries, bytes }))
}

fn not_compacted(error: CompactError) -> Problem {
    let status = match error {
        CompactError::Owner => StatusCode::FORBIDDEN,
        CompactError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        CompactError::Write(WriteFailed::Left) => StatusCode::CONFLICT,
        CompactError::Write(failed) => return not_written(failed.into()),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, told(&error))
}
