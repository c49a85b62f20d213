//! Routes about partitioned maps. Keys are text here, and values JSON; between nodes and in
//! programs they are CBOR, so that `PartitionedMap<String, T>` of a program and a map here are the
//! same.

mod items;
mod members;

use aether_crdt::{
    CopyState, LookupError, PartitionError, PartitionStatus, PartitionedMap, Partitioning,
};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;

pub(super) use self::{items::*, members::*};
use super::{
    Api, Level, NewPmap, Pmap, PmapStatus, Pmaps, Problem, SpaceTicket, services,
    spaces::{AnyJson, no_space, not_written},
};
use crate::output::told;

/// A map as it is used here. Keys that are no text are passed over by a scan alone.
type Map<K> = PartitionedMap<K, AnyJson>;

/// How long an operation may take.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Patience {
    deadline_seconds: Option<f64>,
}

/// The partitioned maps that the node has and that aren't closed.
#[utoipa::path(get, path = "/v1/pmaps", responses(
    (status = 200, body = Pmaps),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Pmaps>, Problem> {
    let spaces = api.spaces().list().await.map_err(no_space)?;
    let maps = spaces.iter().filter(|space| space.is_partitioned());
    let maps = maps.map(|space| {
        let (id, name) = (space.id().to_string(), space.name().to_owned());
        Pmap { id, name }
    });
    Ok(Json(Pmaps { maps: maps.collect() }))
}

/// Founds a partitioned map. Nobody holds anything of it until a node serves it: this one, say, by
/// `POST /v1/pmaps/{map}/serve`.
#[utoipa::path(post, path = "/v1/pmaps", request_body = NewPmap, responses(
    (status = 201, body = Pmap),
    (status = 422, description = "The name is too long, or it can't be split so.",
        body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
    (status = 507, description = "It can't be written down.", body = Problem),
))]
pub(super) async fn create(
    State(api): State<Api>,
    Json(NewPmap { name, partitions, replicas }): Json<NewPmap>,
) -> Result<(StatusCode, Json<Pmap>), Problem> {
    let usual = Partitioning::default();
    let partitions = partitions.unwrap_or(usual.partitions());
    let partitioning = Partitioning::new(partitions, replicas.unwrap_or(usual.replicas()));
    let partitioning = partitioning.map_err(|error| undone(error.into()))?;
    let map = api.spaces().create_partitioned(&name, partitioning).await.map_err(undone)?;
    Ok((StatusCode::CREATED, Json(described(&map))))
}

/// Takes part in the partitioned map of a ticket: to read and write it through its members, which
/// are dialled if the ticket names them. Joining again does no harm.
#[utoipa::path(post, path = "/v1/pmaps/join", request_body = SpaceTicket, responses(
    (status = 200, body = Pmap),
    (status = 422, description = "That is no ticket of a partitioned map.", body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
    (status = 507, description = "It can't be written down.", body = Problem),
))]
pub(super) async fn join(
    State(api): State<Api>,
    Json(SpaceTicket { ticket }): Json<SpaceTicket>,
) -> Result<Json<Pmap>, Problem> {
    let map = api.spaces().join_partitioned(&ticket).await.map_err(undone)?;
    Ok(Json(described(&map)))
}

/// How it stands with a map on this node: which partitions it holds, fetches and hands over.
#[utoipa::path(get, path = "/v1/pmaps/{map}",
    params(
        ("map" = String, Path, description = "Its id, or its name if no other has it."),
        ("deadline_seconds" = Option<f64>, Query,
            description = "How long its settings are waited for; 10 by default, a day at most."),
    ),
    responses(
        (status = 200, body = PmapStatus),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 503, description = "Its settings aren't here yet, or stopping.",
            body = Problem),
    ))]
pub(super) async fn status(
    State(api): State<Api>,
    Path(map): Path<String>,
    Query(patience): Query<Patience>,
) -> Result<Json<PmapStatus>, Problem> {
    let map = open(&api, &map, &patience).await?;
    let PartitionStatus {
        partitions,
        replicas,
        members,
        is_member,
        is_leaving,
        owned,
        parted,
        copies,
        view,
        ..
    } = map.status().await.map_err(undone)?;
    let with = |state| {
        let copies = copies.iter().filter(move |copy| copy.state == state);
        copies.map(|copy| copy.partition).collect()
    };
    let Pmap { id, name } = described(&map);
    Ok(Json(PmapStatus {
        id,
        name,
        partitions,
        replicas,
        members,
        is_member,
        is_leaving,
        owned,
        whole: with(CopyState::Whole),
        fetching: with(CopyState::Fetching),
        parting: with(CopyState::Parting),
        parted,
        view,
    }))
}

/// The ticket that lets others read, write and serve a map, with this node's addresses.
#[utoipa::path(get, path = "/v1/pmaps/{map}/ticket",
    params(("map" = String, Path, description = "Its id, or its name if no other has it.")),
    responses(
        (status = 200, body = SpaceTicket),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
    ))]
pub(super) async fn ticket(
    State(api): State<Api>,
    Path(map): Path<String>,
) -> Result<Json<SpaceTicket>, Problem> {
    let map = open(&api, &map, &Patience::default()).await?;
    let ticket = map.ticket().await.map_err(undone)?.to_string();
    Ok(Json(SpaceTicket { ticket }))
}

fn described(map: &Map<String>) -> Pmap {
    Pmap { id: map.id().to_string(), name: map.name().to_owned() }
}

async fn open(api: &Api, map: &str, patience: &Patience) -> Result<Map<String>, Problem> {
    open_at(api, map, Level::default(), patience.deadline_seconds).await
}

/// The map of this name or id, with operations at a level and with a deadline.
async fn open_at<K>(
    api: &Api,
    map: &str,
    level: Level,
    deadline: Option<f64>,
) -> Result<Map<K>, Problem> {
    let map = api.spaces().partitioned(map).await.map_err(undone)?;
    let map = map.reading(level.into()).writing(level.into());
    Ok(match deadline.map(services::deadline) {
        Some(deadline) => map.deadline(deadline),
        None => map,
    })
}

fn undone(error: PartitionError) -> Problem {
    let status = match error {
        PartitionError::Open(error) => return no_space(error),
        PartitionError::Write(error) => return not_written(error),
        PartitionError::Closed
        | PartitionError::NotReady
        | PartitionError::NoMembers
        | PartitionError::Serve(_) => StatusCode::SERVICE_UNAVAILABLE,
        PartitionError::Short { .. }
        | PartitionError::Unconfirmed { .. }
        | PartitionError::StillLeaving => StatusCode::GATEWAY_TIMEOUT,
        PartitionError::LastMember
        | PartitionError::NotPartitioned { .. }
        | PartitionError::Lookup(LookupError::Left) => StatusCode::CONFLICT,
        PartitionError::Lookup(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, told(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_in_time_may_be_tried_again_and_is_told_from_what_can_t_be() {
        let level = aether_crdt::Level::All;
        for (error, status) in [
            (PartitionError::Short { answered: 1, need: 2, level }, 504),
            (PartitionError::Unconfirmed { level }, 504),
            (PartitionError::StillLeaving, 504),
            (PartitionError::NotReady, 503),
            (PartitionError::NoMembers, 503),
            (PartitionError::LastMember, 409),
            (PartitionError::NotPartitioned { name: "guests".to_owned() }, 409),
            (PartitionError::Open(aether_crdt::OpenError::Closed), 503),
            (PartitionError::Mode, 422),
        ] {
            assert_eq!(undone(error).status, status);
        }
    }
}
