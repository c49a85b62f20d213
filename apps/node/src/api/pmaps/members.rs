//! Which nodes hold partitioned maps.

use aether_crdt::PartitionMember;
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};

use super::{Patience, open, undone};
use crate::api::{Api, PmapMember, PmapMembers, Problem, spaces::peer_of};

/// The members of a map, each of which owns some of its partitions, as this node knows them.
#[utoipa::path(get, path = "/v1/pmaps/{map}/members",
    params(
        ("map" = String, Path, description = "Its id, or its name if no other has it."),
        ("deadline_seconds" = Option<f64>, Query,
            description = "How long its settings are waited for; 10 by default, a day at most."),
    ),
    responses(
        (status = 200, body = PmapMembers),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 503, description = "Its settings aren't here yet, or stopping.",
            body = Problem),
    ))]
pub(in crate::api) async fn members(
    State(api): State<Api>,
    Path(map): Path<String>,
    Query(patience): Query<Patience>,
) -> Result<Json<PmapMembers>, Problem> {
    let members = open(&api, &map, &patience).await?.members().await.map_err(undone)?;
    let members = members.into_iter().map(|member| {
        let PartitionMember { peer, is_leaving, owns } = member;
        PmapMember { peer, is_leaving, owns }
    });
    Ok(Json(PmapMembers { members: members.collect() }))
}

/// Makes this node a member, durably: it fetches its share of the partitions from now on, and keeps
/// it. The map's status tells how far that is.
#[utoipa::path(post, path = "/v1/pmaps/{map}/serve",
    params(
        ("map" = String, Path, description = "Its id, or its name if no other has it."),
        ("deadline_seconds" = Option<f64>, Query,
            description = "How long its settings are waited for; 10 by default, a day at most."),
    ),
    responses(
        (status = 204),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 503, description = "Its settings aren't here yet, or stopping.",
            body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn serve(
    State(api): State<Api>,
    Path(map): Path<String>,
    Query(patience): Query<Patience>,
) -> Result<StatusCode, Problem> {
    open(&api, &map, &patience).await?.join_members().await.map_err(undone)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes this node out of the members once all that it holds is handed over, and answers then. If
/// the deadline comes first that goes on by itself, as the map's status shows.
#[utoipa::path(post, path = "/v1/pmaps/{map}/retire",
    params(
        ("map" = String, Path, description = "Its id, or its name if no other has it."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
    ),
    responses(
        (status = 204),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "It is the last member; or several have the name, or it is \
            closed or no partitioned map.", body = Problem),
        (status = 503, description = "Its settings aren't here yet, or stopping.",
            body = Problem),
        (status = 504, description = "It isn't done yet, and goes on.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn retire(
    State(api): State<Api>,
    Path(map): Path<String>,
    Query(patience): Query<Patience>,
) -> Result<StatusCode, Problem> {
    open(&api, &map, &patience).await?.leave_members().await.map_err(undone)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes another node out of the members that won't come back: others own what it owned, and fetch
/// it from those who hold it too.
#[utoipa::path(delete, path = "/v1/pmaps/{map}/members/{peer}",
    params(
        ("map" = String, Path, description = "Its id, or its name if no other has it."),
        ("peer" = String, Path, description = "The node's peer id."),
    ),
    responses(
        (status = 204),
        (status = 404, description = "There is no such map.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 422, description = "That is no peer id.", body = Problem),
        (status = 507, description = "It can't be written down.", body = Problem),
    ))]
pub(in crate::api) async fn expel(
    State(api): State<Api>,
    Path((map, peer)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (map, peer) = (open(&api, &map, &Patience::default()).await?, peer_of(&peer)?);
    map.remove_member(&peer).await.map_err(undone)?;
    Ok(StatusCode::NO_CONTENT)
}
