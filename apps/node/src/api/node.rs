//! Routes about the node itself and its peers.

use std::collections::BTreeMap;

use aether_mesh::{Connection, Member, MemberEvent, PeerId};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::sse::{Event, Sse},
};
use futures::{Stream, stream};

use super::{Api, Dial, MemberChange, Mesh, Peer, PeerState, Problem, Status};
use crate::config::parse_address;

/// The node as it is now.
#[utoipa::path(get, path = "/v1/status", responses(
    (status = 200, body = Status),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let node = api.node();
    let network = node.status().await?;
    let config = node.config();
    let mesh = Mesh { name: config.genesis.name().to_owned(), id: node.mesh().to_string() };
    Ok(Json(Status {
        peer: node.id(),
        mesh,
        access: node.access().map(super::access::own),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        agent: config.agent.clone(),
        uptime_seconds: api.0.started.elapsed().as_secs_f64(),
        addresses: network.addresses,
        roles: config.roles.names(),
        topics: node.topics_joined().await?,
        connections: network.connections.len(),
        members: node.members().await?.len(),
    }))
}

/// Members of the mesh and connected peers, in one list by peer id.
#[utoipa::path(get, path = "/v1/peers", responses(
    (status = 200, body = Vec<Peer>),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn peers(State(api): State<Api>) -> Result<Json<Vec<Peer>>, Problem> {
    let members = api.node().members().await?;
    let network = api.node().status().await?;
    Ok(Json(join(members, network.connections)))
}

fn join(members: Vec<Member>, connections: Vec<Connection>) -> Vec<Peer> {
    let mut peers: BTreeMap<PeerId, Peer> =
        members.into_iter().map(|member| (member.peer, of_member(member))).collect();
    for connection in connections {
        let peer = peers.entry(connection.peer).or_insert_with(|| stranger(&connection));
        peer.connected = true;
        peer.direction = Some(connection.direction);
        peer.relayed = Some(connection.relayed);
        peer.meshes = Some(connection.meshes);
        // JSON has no infinities.
        peer.score = Some(connection.score).filter(|score| score.is_finite());
        peer.access = connection.access.map(super::access::peer);
    }
    peers.into_values().collect()
}

fn of_member(member: Member) -> Peer {
    Peer {
        peer: member.peer,
        state: if member.suspect { PeerState::Suspect } else { PeerState::Alive },
        connected: false,
        addresses: member.addresses,
        agent: member.agent,
        roles: member.roles,
        latency_ms: member.latency.map(|latency| latency.as_secs_f64() * 1e3),
        last_seen_seconds: Some(member.last_seen.as_secs_f64()),
        direction: None,
        relayed: None,
        meshes: None,
        score: None,
        access: None,
    }
}

fn stranger(connection: &Connection) -> Peer {
    Peer {
        peer: connection.peer,
        state: PeerState::Connected,
        connected: true,
        addresses: vec![connection.address.clone()],
        agent: connection.agent.clone(),
        roles: Vec::new(),
        latency_ms: None,
        last_seen_seconds: None,
        direction: None,
        relayed: None,
        meshes: None,
        score: None,
        access: None,
    }
}

/// Takes an address for a seed from now on, and dials it if peers are still looked for.
///
/// The answer comes before the connection: `/v1/peers` tells whether it was made.
#[utoipa::path(post, path = "/v1/peers/dial", request_body = Dial, responses(
    (status = 202, description = "The address will be tried."),
    (status = 422, description = "It is no address.", body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn dial(
    State(api): State<Api>,
    Json(dial): Json<Dial>,
) -> Result<StatusCode, Problem> {
    let address = parse_address(&dial.address)
        .map_err(|detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))?;
    api.node().dial(address).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Changes among the members from now on, as server-sent events named `joined`, `updated`, `left`,
/// `failed` and `missed`. Comments keep an idle stream alive.
#[utoipa::path(get, path = "/v1/members/events", responses(
    (status = 200, content_type = "text/event-stream", body = MemberChange),
    (status = 503, description = "Too many streams are open.", body = Problem),
))]
pub(super) async fn member_events(
    State(api): State<Api>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let permit = api.stream()?;
    let changes = stream::unfold(api.node().member_events(), |mut events| async move {
        loop {
            if let Some(change) = change(events.next().await?) {
                return Some((change, events));
            }
        }
    });
    Ok(api.events(permit, changes))
}

fn change(event: MemberEvent) -> Option<(&'static str, MemberChange)> {
    Some(match event {
        MemberEvent::Joined(peer) => ("joined", MemberChange::Joined { peer }),
        MemberEvent::Updated(peer) => ("updated", MemberChange::Updated { peer }),
        MemberEvent::Left(peer) => ("left", MemberChange::Left { peer }),
        MemberEvent::Failed(peer) => ("failed", MemberChange::Failed { peer }),
        MemberEvent::Missed(count) => ("missed", MemberChange::Missed { count }),
        // Kinds of a later release of the library have no name here yet.
        _ => return None,
    })
}
