//! Keeps web pages away from the interface.
//!
//! A page in the operator's browser can send requests to loopback. Two checks refuse them, whether
//! the interface asks for tokens or not:
//!
//! - `Host` must be `localhost`, an address, or a name from `api.hosts`. A page that has its own
//!   name resolve to 127.0.0.1 (DNS rebinding) still sends its own name.
//! - `Origin`, which browsers send with every request across sites that could change something,
//!   must be absent or the interface itself.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Api, problem::Problem};

pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(request.headers(), request.uri(), api.hosts()) {
        Ok(()) => next.run(request).await,
        Err(detail) => Problem::new(StatusCode::FORBIDDEN, detail).into_response(),
    }
}

fn check(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| text(header::HOST)).unwrap_or_default();
    if !is_allowed(name_of(host), allowed) {
        return Err("the Host header names a host that this interface doesn't answer to; use \
             localhost or an address, or add the name to api.hosts");
    }
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if is_own(origin, host) => Ok(()),
        Some(_) => Err("requests from web pages of other origins are refused"),
    }
}

/// The host without its port, and an IPv6 address without its brackets.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_allowed(name: &str, allowed: &[String]) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok()
        || allowed.iter().any(|one| one.eq_ignore_ascii_case(name))
}

fn is_own(origin: &str, host: &str) -> bool {
    let bare = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    bare.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers, &Uri::from_static("/v1/status"), &["node1.example".to_owned()]).is_ok()
    }

    #[test]
    fn hosts_are_addresses_localhost_or_allowed() {
        for host in ["127.0.0.1:7070", "localhost", "LOCALHOST:1", "[::1]:7070", "10.0.0.1"] {
            assert!(checked(host, None), "{host}");
        }
        assert!(checked("Node1.example:7070", None));
        for host in ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil:7070", "[evil"] {
            assert!(!checked(host, None), "{host}");
        }
    }

    #[test]
    fn origins_are_absent_or_own() {
        assert!(checked("127.0.0.1:7070", Some("http://127.0.0.1:7070")));
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1:8080", "127.0.0.1:7070"]
        {
            assert!(!checked("127.0.0.1:7070", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_request_without_host_is_refused() {
        assert!(check(&HeaderMap::new(), &Uri::from_static("/"), &[]).is_err());
    }
}
