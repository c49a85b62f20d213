//! Routes about who is in a closed mesh.

use aether_mesh::{
    AccessError,
    access::{self, AccessStatus, Membership, Revocation, RevocationError, wall_now},
};
use axum::{Json, extract::State, http::StatusCode};

use super::{Access, Api, PeerAccess, Problem, Token};
use crate::output;

pub(super) fn own(status: AccessStatus) -> Access {
    Access {
        role: status.role.to_string(),
        expires: status.expires.as_secs(),
        provisional: status.provisional,
        admits: status.admits,
        revocations: status.revocations,
        refused: status.refused,
    }
}

pub(super) fn peer(access: access::PeerAccess) -> PeerAccess {
    PeerAccess { role: access.role.to_string(), expires: access.expires.as_secs() }
}

/// Puts a revocation into force: one of the mesh, which an admin signed, here and wherever it
/// reaches from here; one of a token of this interface, which `aether api revoke` signed, here.
#[utoipa::path(post, path = "/v1/access/revocations", request_body = Token, responses(
    (status = 202, description = "It is in force here, and spreads if it is of the mesh."),
    (status = 409, description = "The mesh is open.", body = Problem),
    (status = 422, description = "It is no revocation of this mesh or interface.", body = Problem),
    (status = 500, description = "It can't be kept.", body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Json(Token { token }): Json<Token>,
) -> Result<StatusCode, Problem> {
    let revocation = Revocation::parse(&token).map_err(unusable)?;
    let interface = api.interface();
    match revocation.verify(interface.genesis()) {
        Err(RevocationError::OtherMesh) => {
            api.node().revoke(revocation).await.map_err(problem)?;
        }
        Err(error) => return Err(unusable(error)),
        Ok(()) => {
            let kept = move || interface.revoke(revocation, wall_now());
            let kept = tokio::task::spawn_blocking(kept).await;
            kept.map_err(|_| unkept("the work broke off"))?
                .map_err(|error| unkept(output::told(&error)))?;
        }
    }
    Ok(StatusCode::ACCEPTED)
}

/// Renews this node by a membership that an admin signed for it.
#[utoipa::path(post, path = "/v1/access/membership", request_body = Token, responses(
    (status = 202, description = "It is shown from now on, and kept."),
    (status = 409, description = "The mesh is open.", body = Problem),
    (status = 422, description = "It is no membership of this node.", body = Problem),
    (status = 503, description = "The node is stopping.", body = Problem),
))]
pub(super) async fn accept(
    State(api): State<Api>,
    Json(Token { token }): Json<Token>,
) -> Result<StatusCode, Problem> {
    let membership = Membership::parse(&token).map_err(unusable)?;
    api.node().hold(membership.capability).await.map_err(problem)?;
    Ok(StatusCode::ACCEPTED)
}

fn unkept(detail: impl ToString) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

fn unusable(error: impl ToString) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error)
}

fn problem(error: AccessError) -> Problem {
    match error {
        AccessError::Closed(closed) => closed.into(),
        AccessError::Open => Problem::new(StatusCode::CONFLICT, error),
        error => unusable(error),
    }
}
