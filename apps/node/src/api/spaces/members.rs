//! Who may do what in a space.

use aether_crdt::{ChangeAccessError, Role, WriteError};
use aether_mesh::PeerId;
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::{no_space, not_written, open};
use crate::api::{Api, Problem, SpaceMember, SpaceMembers, SpaceRole};

/// The members of a space: nodes that were given a role. In a space that is everyone's that may be
/// nobody.
#[utoipa::path(get, path = "/v1/spaces/{space}/members",
    params(("space" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 200, body = SpaceMembers),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
    ))]
pub(in crate::api) async fn members(
    State(api): State<Api>,
    Path(space): Path<String>,
) -> Result<Json<SpaceMembers>, Problem> {
    let members = open(&api, &space).await?.members().await.map_err(no_space)?;
    let described = members.iter().filter_map(|member| {
        let role = match member.role {
            Role::Reader => SpaceRole::Reader,
            Role::Writer => SpaceRole::Writer,
            Role::Admin => SpaceRole::Admin,
            // Owners aren't nodes.
            Role::Owner => return None,
        };
        Some(SpaceMember { peer: member.peer(), role })
    });
    Ok(Json(SpaceMembers { members: described.collect() }))
}

/// Gives a node a role in a space, durably. The owner's node may, and admins up to writer.
#[utoipa::path(put, path = "/v1/spaces/{space}/members/{peer}",
    params(
        ("space" = String, Path, description = "Its id, or its name if no other has it."),
        ("peer" = String, Path, description = "The node's peer id."),
    ),
    request_body = SpaceRole,
    responses(
        (status = 204),
        (status = 403, description = "This node may not grant that.", body = Problem),
        (status = 404, description = "There is no such space.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
        (status = 422, description = "That is no peer id.", body = Problem),
    ))]
pub(in crate::api) async fn grant(
    State(api): State<Api>,
    Path((space, peer)): Path<(String, String)>,
    Json(role): Json<SpaceRole>,
) -> Result<StatusCode, Problem> {
    let role = match role {
        SpaceRole::Reader => Role::Reader,
        SpaceRole::Writer => Role::Writer,
        SpaceRole::Admin => Role::Admin,
    };
    let (space, peer) = (open(&api, &space).await?, peer_of(&peer)?);
    space.grant(&peer, role).await.map_err(unchanged)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a node from a space, durably: what this node holds of its entries stays, and nothing
/// else of it ever counts.
#[utoipa::path(delete, path = "/v1/spaces/{space}/members/{peer}",
    params(
        ("space" = String, Path, description = "Its id, or its name if no other has it."),
        ("peer" = String, Path, description = "The node's peer id."),
    ),
    responses(
        (status = 204),
        (status = 403, description = "This node may not remove it.", body = Problem),
        (status = 404, description = "There is no such space.", body = Problem),
        (status = 409, description = "Several have the name.", body = Problem),
        (status = 422, description = "That is no peer id.", body = Problem),
    ))]
pub(in crate::api) async fn expel(
    State(api): State<Api>,
    Path((space, peer)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (space, peer) = (open(&api, &space).await?, peer_of(&peer)?);
    space.remove(&peer).await.map_err(unchanged)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::api) fn peer_of(text: &str) -> Result<PeerId, Problem> {
    let wrong = |_| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "that is no peer id");
    text.parse().map_err(wrong)
}

fn unchanged(error: ChangeAccessError) -> Problem {
    match error {
        ChangeAccessError::Write(failed) => not_written(WriteError::Failed(failed)),
        error => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    }
}
