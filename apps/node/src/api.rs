//! The local HTTP interface of a running node.
//!
//! Everything under `/v1` is described by the OpenAPI document at `/v1/openapi.json`, which is
//! made from the handlers themselves. Live data are server-sent events. Errors are problem
//! documents (RFC 9457). Beside it stand `/health/live`, `/health/ready` (and `/health`, the
//! same), and `/metrics` in the OpenMetrics text format.
//!
//! **Who may use it.** On loopback, where it listens unless told otherwise, whoever reaches it
//! controls the node. With `api.auth = "token"` each request must carry a token, in the header
//! `Authorization: Bearer TOKEN` (RFC 6750); an address beyond loopback is refused without that.
//! There are two kinds, alike in form, and each grants a role until it expires or is revoked:
//!
//! - a token of this interface, which `aether api token` signs with the node's key and
//!   `aether api revoke` takes back; it is good at this node alone, and lets nobody into any mesh;
//! - an invite to the closed mesh that the node is in; it is good at each of its nodes.
//!
//! | role | may |
//! |---|---|
//! | none needed | ask for health, and for the OpenAPI document |
//! | reader | read: status, peers, lists, messages, blobs, maps, partitioned ones too, documents, presence, archives of spaces, metrics |
//! | writer, validator | publish, call services, add and get blobs, pin and unpin them, found spaces and partitioned maps, write to maps and documents, say things of the node in spaces, see tickets |
//! | admin | dial, revoke, renew the node; join, import, compact, close, open and delete spaces, and change who may do what in them; join partitioned maps, and say which nodes hold them; remove blobs; read and write files where the node runs |
//!
//! A token is judged when a request begins. A stream that goes on when its token expires or is
//! revoked isn't cut: to be rid of its reader at once, restart the node.
//!
//! **TLS.** With `api.tls` the interface speaks TLS 1.3, by a certificate that the node makes once
//! and keeps, or by one that is given; with `api.client_ca` clients must show one too. Without TLS
//! whoever sees the traffic has the tokens. A [`Client`](crate::Client) of the same user on the
//! same machine needs no flag: `api.json` in the data folder, for its owner only, holds an admin's
//! token and the certificate.
//!
//! It refuses what web pages of other origins send, whatever they carry.

mod access;
mod auth;
mod blobs;
mod documents;
mod guard;
mod health;
mod json;
mod node;
mod pmaps;
mod presence;
mod problem;
mod serve;
mod services;
mod spaces;
mod topics;
mod types;

use std::{sync::Arc, time::Duration};

use aether_mesh::{Node, access::Role};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    config::{self, Api as Settings},
    interface::Interface,
};

use self::auth::Routes;
pub(crate) use self::{auth::Auth, serve::serve};
pub use self::{
    problem::Problem,
    types::{
        Access, Blob, BlobAdded, BlobEvent, BlobPin, BlobsHeld, ClosedSpace, Dial, Document,
        DocumentAction, DocumentChange, DocumentCopy, DocumentEvent, DocumentOrigin, DocumentPatch,
        DocumentSplice, DocumentTurn, DocumentVersion, Health, Instance, Item, Level, MapBatch,
        MapEntry, MapEvent, MapPage, MemberChange, Mesh, NewPmap, NewSpace, NodeReply, Peer,
        PeerAccess, PeerState, Pmap, PmapMember, PmapMembers, PmapPage, PmapStatus, Pmaps,
        PresenceEvent, Present, Published, Services, Space, SpaceAccess, SpaceCompacted,
        SpaceImported, SpaceMember, SpaceMembers, SpaceRole, SpaceStatus, SpaceTicket, Spaces,
        Status, Token, TopicEvent, Topics,
    },
};

/// Live streams and requests to publish that go on at a time.
const MAX_STREAMS: usize = 64;
/// Bytes of a JSON body.
const MAX_BODY: usize = 16 * 1024;
/// Bytes of a call's arguments in JSON, and of what is written to a map or a document at once.
const MAX_ARGUMENTS: usize = 4 * 1024 * 1024;
/// How often an idle stream is told to be alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells when the program stops.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// The signal, and the one who hears it.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (signal, heard) = watch::channel(false);
        (signal, Self(heard))
    }

    /// Waits for the signal. Whoever was to give it and is gone has given it.
    pub(crate) async fn wait(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    node: Node,
    spaces: aether_crdt::Spaces,
    interface: Arc<Interface>,
    hosts: Vec<String>,
    started: Instant,
    stopping: Stopping,
    streams: Arc<Semaphore>,
    topics: topics::Kept,
    documents: documents::Kept,
    presence: presence::Kept,
    openapi: String,
}

impl Api {
    fn node(&self) -> &Node {
        &self.0.node
    }

    fn spaces(&self) -> &aether_crdt::Spaces {
        &self.0.spaces
    }

    fn documents(&self) -> &documents::Kept {
        &self.0.documents
    }

    fn presence(&self) -> &presence::Kept {
        &self.0.presence
    }

    fn interface(&self) -> Arc<Interface> {
        self.0.interface.clone()
    }

    fn hosts(&self) -> &[String] {
        &self.0.hosts
    }

    fn stopping(&self) -> Stopping {
        self.0.stopping.clone()
    }

    /// Room for one more stream.
    fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.streams.clone().try_acquire_owned().map_err(|_| {
            Problem::busy(format!("{MAX_STREAMS} streams are open, which is the limit; close one"))
        })
    }

    /// Answers with events, each under its name, until the program stops or the client goes. The
    /// stream holds its room until then.
    fn events<S, T>(
        &self,
        permit: OwnedSemaphorePermit,
        events: S,
    ) -> Sse<impl Stream<Item = Result<Event, axum::Error>> + use<S, T>>
    where
        S: Stream<Item = (&'static str, T)> + Send + 'static,
        T: Serialize + 'static,
    {
        self.numbered(permit, events.map(|(name, event)| (None, name, event)))
    }

    /// The same, where an event may have an id, which a client that comes back sends as
    /// `Last-Event-ID`.
    fn numbered<S, T>(
        &self,
        permit: OwnedSemaphorePermit,
        events: S,
    ) -> Sse<impl Stream<Item = Result<Event, axum::Error>> + use<S, T>>
    where
        S: Stream<Item = (Option<u64>, &'static str, T)> + Send + 'static,
        T: Serialize + 'static,
    {
        let mut stopping = self.stopping();
        let events = events.take_until(async move { stopping.wait().await });
        let events = events.map(move |(id, name, event)| {
            // Dropped with the stream, and not before.
            let _ = &permit;
            let sent = Event::default().event(name);
            let sent = match id {
                Some(id) => sent.id(id.to_string()),
                None => sent,
            };
            sent.json_data(event)
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
    }
}

/// All routes over a node.
pub(crate) fn router(
    node: Node,
    spaces: aether_crdt::Spaces,
    interface: Arc<Interface>,
    settings: &Settings,
    stopping: Stopping,
) -> Router {
    let asks = settings.auth == config::Auth::Token;
    let auth = Auth::new(node.clone(), interface.clone(), asks);
    let (router, mut openapi) = routes(&auth).split();
    openapi.info.title = "Aether node".to_owned();
    openapi.info.version = env!("CARGO_PKG_VERSION").to_owned();
    openapi.info.description =
        Some("The local interface of a running node. Errors are problem documents.".to_owned());
    #[expect(clippy::disallowed_methods, reason = "the uptime is the program's own")]
    let started = Instant::now();
    let api = Api(Arc::new(Inner {
        node,
        spaces,
        interface,
        hosts: settings.hosts.clone(),
        started,
        stopping,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        topics: topics::Kept::default(),
        documents: documents::Kept::default(),
        presence: presence::Kept::default(),
        openapi: openapi.to_json().expect("the document is made of plain strings and maps"),
    }));
    router
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response(problem::unify))
        .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
}

/// Every route stands in one of these groups.
fn routes(auth: &Auth) -> Routes {
    Routes::open(for_everybody())
        .and(Routes::needing(Role::Reader, auth, for_readers()))
        .and(Routes::needing(Role::Writer, auth, for_writers()))
        .and(Routes::needing(Role::Admin, auth, for_admins()))
}

fn for_everybody() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::health))
        .routes(routes!(openapi))
}

/// What only reads.
fn for_readers() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(node::status))
        .routes(routes!(node::peers))
        .routes(routes!(node::member_events))
        .routes(routes!(topics::list))
        .routes(routes!(topics::subscribe))
        .routes(routes!(services::list))
        .routes(routes!(blobs::list))
        .routes(routes!(blobs::read))
        .routes(routes!(spaces::list))
        .routes(routes!(spaces::show))
        .routes(routes!(spaces::archive))
        .routes(routes!(spaces::members))
        .routes(routes!(spaces::page))
        .routes(routes!(spaces::value))
        .routes(routes!(spaces::events))
        .routes(routes!(pmaps::list))
        .routes(routes!(pmaps::status))
        .routes(routes!(pmaps::members))
        .routes(routes!(pmaps::page))
        .routes(routes!(pmaps::value))
        .routes(routes!(documents::show))
        .routes(routes!(documents::text))
        .routes(routes!(documents::history))
        .routes(routes!(documents::events))
        .routes(routes!(presence::others))
        .routes(routes!(presence::events))
        .routes(routes!(health::metrics))
}

/// What says something in the mesh, or keeps content.
fn for_writers() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(topics::publish))
        .merge(calls())
        .merge(uploads())
        .routes(routes!(blobs::get))
        .routes(routes!(blobs::pin, blobs::unpin))
        .routes(routes!(spaces::create))
        .routes(routes!(spaces::ticket))
        .routes(routes!(pmaps::create))
        .routes(routes!(pmaps::ticket))
        .routes(routes!(documents::copy))
        .routes(routes!(documents::undo))
        .routes(routes!(documents::redo))
        .routes(routes!(presence::say, presence::clear))
        .merge(edits())
}

/// What changes whom the node is with, throws something away, or touches the machine's files.
fn for_admins() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(node::dial))
        .routes(routes!(spaces::join))
        .routes(routes!(spaces::close))
        .routes(routes!(spaces::compact))
        .routes(routes!(spaces::open_again))
        .routes(routes!(spaces::delete))
        .routes(routes!(spaces::grant, spaces::expel))
        .routes(routes!(pmaps::join))
        .routes(routes!(pmaps::serve))
        .routes(routes!(pmaps::retire))
        .routes(routes!(pmaps::expel))
        .merge(imports())
        .routes(routes!(access::revoke))
        .routes(routes!(access::accept))
        .routes(routes!(blobs::remove))
        .routes(routes!(blobs::add_path))
        .routes(routes!(blobs::export))
}

/// Routes whose bodies are arguments of calls.
fn calls() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(services::call))
        .routes(routes!(services::every))
        .routes(routes!(services::items))
        .layer(DefaultBodyLimit::max(MAX_ARGUMENTS))
}

/// Routes whose bodies are values of maps, or texts.
fn edits() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(spaces::put, spaces::remove))
        .routes(routes!(spaces::write))
        .routes(routes!(pmaps::put, pmaps::remove))
        .routes(routes!(documents::replace))
        .routes(routes!(documents::splice))
        .layer(DefaultBodyLimit::max(MAX_ARGUMENTS))
}

/// Routes whose bodies may be as long as they like: they go to disk as they come.
fn uploads() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(blobs::add)).layer(DefaultBodyLimit::disable())
}

/// The same, for admins.
fn imports() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(spaces::import)).layer(DefaultBodyLimit::disable())
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = serde_json::Value)))]
async fn openapi(State(api): State<Api>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", "application/json")], api.0.openapi.clone())
}
