//! Web servers whose users stay logged in, whichever of the servers dies.
//!
//! Every server keeps all sessions itself, so a load balancer may send each request to any:
//!
//! ```text
//! cargo run -p aether-examples --bin sessions -- --data one create
//! cargo run -p aether-examples --bin sessions -- --data two join TICKET
//! curl -c jar -X POST 'http://127.0.0.1:PORT/login?user=ada'
//! curl -b jar http://127.0.0.1:OTHER/
//! ```
//!
//! A login is on the other servers a moment later; none waits for another. There are no passwords:
//! this is about who remembers, not about who may.

use std::{net::SocketAddr, path::PathBuf};

use aether_crdt::{Counter, Map, Spaces};
use aether_mesh::{Multiaddr, Node, Preset};
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::block_in_place};

/// Serve a site whose sessions are on all of its servers.
#[derive(Parser)]
struct Args {
    /// Where to listen for browsers; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Where this server keeps the sessions.
    #[arg(long, default_value = "sessions")]
    data: PathBuf,
    /// The mesh; only nodes of the same one meet.
    #[arg(long, default_value = "aether sessions")]
    mesh: String,
    /// Where another server is, unless on the same network; may be given again.
    #[arg(long)]
    seed: Vec<Multiaddr>,
    /// Stay on this machine.
    #[arg(long)]
    local: bool,
    #[command(subcommand)]
    start: Start,
}

#[derive(Subcommand)]
enum Start {
    /// Be the first server of a site.
    Create,
    /// Serve a site as well.
    Join { ticket: String },
    /// Go on with the site that is in the folder.
    Open,
}

#[derive(Clone, Serialize, Deserialize)]
struct Session {
    user: String,
}

#[derive(Clone)]
struct Site {
    sessions: Map<String, Session>,
    /// No field of the session: two visits at once count as two, and one that meets a logout
    /// doesn't write the session anew.
    visits: Counter<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { http, data, mesh, seed, local, start } = Args::parse();
    let preset = if local { Preset::Local } else { Preset::Lan };
    let node = Node::builder(preset).mesh(&mesh).seeds(seed).data(data).spawn().await?;
    let spaces = Spaces::open(&node).await?;
    let space = match start {
        Start::Create => spaces.create("site").await?,
        Start::Join { ticket } => spaces.join(&ticket).await?,
        Start::Open => spaces.get("site").await?,
    };
    let site = Site { sessions: space.map("sessions"), visits: space.counter("visits") };
    let routes = Router::new()
        .route("/", get(whoami))
        .route("/login", post(login))
        .route("/logout", post(logout));
    let listener = TcpListener::bind(http).await?;
    println!("serving http://{}", listener.local_addr()?);
    println!("others: sessions join {}", space.ticket().await?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, routes.with_state(site)).with_graceful_shutdown(stop).await?;
    node.shutdown().await;
    Ok(())
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(State(site): State<Site>, login: Query<Login>) -> Result<Response, Failure> {
    // Who guesses it is logged in: 128 bits.
    let token = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
    let session = Session { user: login.0.user };
    // When this returns, it survives this server, unless that dies before it meets another.
    site.sessions.put(&token, &session).await?;
    Ok((cookie(&token, ""), format!("welcome, {}\n", session.user)).into_response())
}

async fn whoami(State(site): State<Site>, headers: HeaderMap) -> Result<Response, Failure> {
    let token = token(&headers);
    // A read is of this server's own copy, but may wait for its disk.
    let Some(session) = block_in_place(|| site.sessions.get(&token))? else {
        return Ok((StatusCode::UNAUTHORIZED, "not logged in\n").into_response());
    };
    site.visits.add(&token, 1).await?;
    let visits = block_in_place(|| site.visits.get(&token))?;
    Ok(format!("{}, visit {visits}\n", session.user).into_response())
}

async fn logout(State(site): State<Site>, headers: HeaderMap) -> Result<Response, Failure> {
    let token = token(&headers);
    site.sessions.remove(&token).await?;
    site.visits.reset(&token).await?;
    Ok((cookie("", "; Max-Age=0"), "goodbye\n").into_response())
}

/// The header that makes a browser keep a token, and show it to no script and no other site.
fn cookie(token: &str, more: &str) -> [(header::HeaderName, String); 1] {
    let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Strict{more}");
    [(header::SET_COOKIE, cookie)]
}

/// The token that a browser shows; empty if none, which is nobody's.
fn token(headers: &HeaderMap) -> String {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|all| all.to_str().ok());
    let mut each = cookies.flat_map(|all| all.split(';')).map(str::trim);
    each.find_map(|cookie| cookie.strip_prefix("session=")).unwrap_or_default().to_owned()
}

/// What went wrong is the server's business: the user hears only that something did.
struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("{:#}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong\n").into_response()
    }
}
