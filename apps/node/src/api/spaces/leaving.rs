//! Closing spaces, opening them again, and deleting them.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::{described, no_space};
use crate::api::{Api, Problem, Space};

/// Has the node take no part in a space, also after a restart. What it has of it stays. That it is
/// closed already is no error.
#[utoipa::path(post, path = "/v1/spaces/{space}/close",
    params(("space" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 204),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
        (status = 503, description = "The node is stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn close(
    State(api): State<Api>,
    Path(space): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = api.spaces().find(&space).await.map_err(no_space)?;
    api.spaces().close(id).await.map_err(no_space)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has the node take part again in a space that was closed. That it is open already is no error.
#[utoipa::path(post, path = "/v1/spaces/{space}/open",
    params(("space" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 200, body = Space),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
        (status = 503, description = "The node is stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn open_again(
    State(api): State<Api>,
    Path(space): Path<String>,
) -> Result<Json<Space>, Problem> {
    let id = api.spaces().find(&space).await.map_err(no_space)?;
    let space = api.spaces().open_again(id).await.map_err(no_space)?;
    Ok(Json(described(&space).await?))
}

/// Deletes what the node has of a space, open or closed. Other nodes keep theirs; what only this
/// one has is gone.
#[utoipa::path(delete, path = "/v1/spaces/{space}",
    params(("space" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 204),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
        (status = 503, description = "The node is stopping.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    Path(space): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = api.spaces().find(&space).await.map_err(no_space)?;
    api.spaces().delete(id).await.map_err(no_space)?;
    Ok(StatusCode::NO_CONTENT)
}
