//! Who may ask for what: a token's role against the role that a route needs.
//!
//! Routes come into the router as [`Routes`] only, and those say which role they need. So no route
//! is without one because somebody forgot.

use std::sync::Arc;

use aether_mesh::{
    AccessError, Node,
    access::{Invite, Refusal, Role, wall_now},
};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use utoipa::openapi::{
    Content, OpenApi, Ref, RefOr, ResponseBuilder,
    path::{Operation, PathItem},
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use super::{Api, Problem};
use crate::interface::Interface;

/// The name of the scheme in the OpenAPI document.
const SCHEME: &str = "token";

/// Judges tokens.
#[derive(Clone)]
pub(crate) struct Auth(Arc<Inner>);

struct Inner {
    node: Node,
    interface: Arc<Interface>,
    asks: bool,
}

/// Why a request isn't let through.
#[derive(Debug, PartialEq, Eq)]
enum Denied {
    /// There is no token.
    Missing,
    /// It is no good.
    Invalid(String),
    /// It is of a narrower role.
    Narrow { has: Role, needs: Role },
}

impl Auth {
    /// Asks for tokens, or lets everybody do everything.
    pub(crate) fn new(node: Node, interface: Arc<Interface>, asks: bool) -> Self {
        Self(Arc::new(Inner { node, interface, asks }))
    }

    fn check(&self, headers: &HeaderMap, needs: Role) -> Result<(), Denied> {
        if !self.0.asks {
            return Ok(());
        }
        let has = self.role(token_of(headers)?).map_err(Denied::Invalid)?;
        if has < needs { Err(Denied::Narrow { has, needs }) } else { Ok(()) }
    }

    /// The role of whoever holds a token: of this interface, or of the node's closed mesh.
    fn role(&self, token: &str) -> Result<Role, String> {
        let token = Invite::parse(token).map_err(|error| error.to_string())?;
        if token.genesis() == self.0.interface.genesis() {
            return self.0.interface.role(&token, wall_now()).map_err(worthless);
        }
        match self.0.node.access_by(&token) {
            Ok(access) => Ok(access.role),
            Err(AccessError::Refused(refusal)) => Err(worthless(refusal)),
            Err(_) => Err(worthless(Refusal::OtherMesh)),
        }
    }
}

fn worthless(refusal: Refusal) -> String {
    match refusal {
        Refusal::OtherMesh => {
            "the token is another node's, or an invite to another mesh than this node's".to_owned()
        }
        Refusal::NotYet { issued } => {
            format!("the token holds from {issued} on; is a clock wrong?")
        }
        Refusal::Expired { at } => format!("the token expired at {at}"),
        Refusal::Revoked { .. } => "the token was revoked".to_owned(),
        refusal => refusal.to_string(),
    }
}

/// The token of the header `Authorization` (RFC 6750, section 2.1).
fn token_of(headers: &HeaderMap) -> Result<&str, Denied> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Denied::Missing)?;
    let value = value.to_str().unwrap_or_default();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Denied::Missing),
    }
}

impl IntoResponse for Denied {
    /// The header is as RFC 6750, section 3, has it.
    fn into_response(self) -> Response {
        let next = |role: &str| {
            format!(
                "make one with `aether api token{role}` where the node runs, or ask whoever runs it"
            )
        };
        let (status, challenge, detail) = match self {
            Self::Missing => (
                StatusCode::UNAUTHORIZED,
                "Bearer realm=\"aether\"".to_owned(),
                format!(
                    "this interface asks for a token, in the header Authorization: Bearer TOKEN \
                     (of a command with --token or AETHER_TOKEN); {}",
                    next("")
                ),
            ),
            Self::Invalid(why) => (
                StatusCode::UNAUTHORIZED,
                "Bearer realm=\"aether\", error=\"invalid_token\"".to_owned(),
                format!("{why}; {}", next("")),
            ),
            Self::Narrow { has, needs } => (
                StatusCode::FORBIDDEN,
                format!("Bearer realm=\"aether\", error=\"insufficient_scope\", scope=\"{needs}\""),
                format!(
                    "this needs the role {needs}, and the token's is {has}; {}",
                    next(&format!(" --role {needs}"))
                ),
            ),
        };
        let mut response = Problem::new(status, detail).into_response();
        let challenge = HeaderValue::from_str(&challenge).expect("roles are words");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }
}

/// Routes, each with the role that it needs.
pub(super) struct Routes(OpenApiRouter<Api>);

impl Routes {
    /// Routes for whoever reaches the interface.
    pub(super) fn open(routes: OpenApiRouter<Api>) -> Self {
        Self(routes)
    }

    /// Routes for whoever holds a token of this role, or a wider one.
    pub(super) fn needing(role: Role, auth: &Auth, mut routes: OpenApiRouter<Api>) -> Self {
        describe(routes.get_openapi_mut(), role, auth.0.asks);
        let needs = (auth.clone(), role);
        Self(routes.route_layer(middleware::from_fn_with_state(needs, let_through)))
    }

    /// These and others.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0.merge(others.0))
    }

    /// The router, and the document that describes it.
    pub(super) fn split(self) -> (Router<Api>, OpenApi) {
        let (router, mut openapi) = self.0.split_for_parts();
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "A token that `aether api token` printed where the node runs, or an invite to the \
             node's closed mesh. The roles are reader, writer, validator and admin, each of which \
             may do what those before it may."
                .to_owned(),
        );
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
        (router, openapi)
    }
}

async fn let_through(
    State((auth, role)): State<(Auth, Role)>,
    request: Request,
    next: Next,
) -> Response {
    match auth.check(request.headers(), role) {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            tracing::debug!(path = request.uri().path(), ?denied, "denied at the interface");
            denied.into_response()
        }
    }
}

/// Says in the document what each route needs.
fn describe(openapi: &mut OpenApi, role: Role, asks: bool) {
    for operation in openapi.paths.paths.values_mut().flat_map(operations) {
        let needs = format!("Needs a token of the role `{role}` or a wider one");
        let needs = if asks { needs + "." } else { needs + ", on a node that asks for tokens." };
        operation.description = Some(match operation.description.take() {
            Some(text) if !text.is_empty() => format!("{text}\n\n{needs}"),
            _ => needs,
        });
        let mut security = vec![SecurityRequirement::new(SCHEME, [] as [&str; 0])];
        if !asks {
            security.push(SecurityRequirement::default());
        }
        operation.security = Some(security);
        for (status, description) in [
            ("401", "There is no token, or it is no good."),
            ("403", "The token is of a narrower role, or a web page asks."),
        ] {
            let body = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", body)
                .build();
            let responses = &mut operation.responses.responses;
            responses.entry(status.to_owned()).or_insert(RefOr::T(response));
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, head, .. } = path;
    [get, put, post, delete, patch, head].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: Option<&str>) -> Result<String, Denied> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        token_of(&headers).map(str::to_owned)
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(token(Some(value)).unwrap(), "abc", "{value}");
        }
        for value in [None, Some(""), Some("Bearer"), Some("Basic YTpi"), Some("abc")] {
            assert_eq!(token(value), Err(Denied::Missing), "{value:?}");
        }
    }

    #[test]
    fn what_is_denied_is_said_in_the_header_too() {
        let challenge = |denied: Denied| {
            let response = denied.into_response();
            let header = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
            (response.status().as_u16(), header)
        };
        assert_eq!(challenge(Denied::Missing), (401, "Bearer realm=\"aether\"".to_owned()));
        let (status, header) = challenge(Denied::Invalid("torn".to_owned()));
        assert_eq!(status, 401);
        assert!(header.ends_with("error=\"invalid_token\""), "{header}");
        let narrow = Denied::Narrow { has: Role::Reader, needs: Role::Admin };
        let (status, header) = challenge(narrow);
        assert_eq!(status, 403);
        assert!(header.contains("error=\"insufficient_scope\", scope=\"admin\""), "{header}");
    }
}
