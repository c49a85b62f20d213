//! Talks to a running node over its local interface.

mod blobs;
mod documents;
mod file;
mod options;
mod pmaps;
mod presence;
mod services;
mod spaces;

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStream, TryStreamExt as _};
use reqwest::{RequestBuilder, Response, StatusCode};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;

use self::options::TlsFailure;
pub use self::{file::ApiFile, options::ClientOptions, pmaps::PmapCall, services::ServiceCall};
use crate::{
    api::{Dial, MemberChange, Peer, Problem, Published, Status, Token, TopicEvent, Topics},
    events::EventReader,
    tls::TlsFileError,
};

/// How long a connection to the interface may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a plain question may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a node can't be asked, or doesn't do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// That is no URL of an interface.
    #[error("{url:?} is no URL such as http://127.0.0.1:7070 or https://node1.example:7070")]
    Url {
        /// What was given.
        url: String,
    },
    /// The token can't be one, whatever the node.
    #[error("the token to send can't be used")]
    Token(#[from] aether_mesh::access::TokenError),
    /// A certificate or a key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The system has no certificates to trust.
    #[error("this system has no certificates to trust, so say with --ca which file has some")]
    NoRoots(#[source] Box<dyn Error + Send + Sync>),
    /// The node's certificate isn't trusted.
    #[error(
        "the certificate of the node at {url} isn't trusted: {why}; --ca FILE says which \
         certificates to trust, and the node's own is in api-tls.pem of its data folder if it made \
         it itself"
    )]
    Untrusted {
        /// The interface's URL.
        url: String,
        /// Why.
        why: String,
    },
    /// The node doesn't take this client for one of its own.
    #[error(
        "the node at {url} wants its clients to show a certificate, and {why}; give one that it \
         trusts with --cert FILE and --key FILE"
    )]
    Certificate {
        /// The interface's URL.
        url: String,
        /// What is wrong with what was shown.
        why: &'static str,
    },
    /// Nobody answers.
    #[error("no node answers at {url}")]
    Unreachable {
        /// The interface's URL.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The connection broke, or took too long.
    #[error("the connection to the node at {url} broke")]
    Broken {
        /// The interface's URL.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The messages to publish came to no good end; those before were published.
    #[error("the messages to publish broke off")]
    Messages(#[source] Box<dyn Error + Send + Sync>),
    /// The node refused.
    #[error("the node refused: {} ({})", .0.detail, .0.status)]
    Refused(Problem),
    /// Something answered that isn't a node.
    #[error("what answers at {url} does not speak as a node does: {detail}")]
    Foreign {
        /// The interface's URL.
        url: String,
        /// What is odd.
        detail: String,
    },
}

/// A stream of events from a node.
pub type Events<T> = Pin<Box<dyn Stream<Item = Result<T, ClientError>> + Send>>;

/// A client of one node. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    /// What it does TLS with, if it does.
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// A client of the node whose interface has this URL, `http://host:port` or
    /// `https://host:port`. It sends no token, and trusts what the system trusts.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::with(url, &ClientOptions::default())
    }

    /// A client that proves who it is, or trusts something else than the system does.
    ///
    /// Options that need files read them here.
    pub fn with(url: &str, options: &ClientOptions) -> Result<Self, ClientError> {
        let base = url.trim_end_matches('/').to_owned();
        let wrong = || ClientError::Url { url: url.to_owned() };
        let parsed = reqwest::Url::parse(&base).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(wrong());
        }
        // No proxy: the interface is the local node's. No other place, either: the token is for
        // this one.
        let is_tls = parsed.scheme() == "https";
        let tls = options.tls(is_tls)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls.clone())
            .default_headers(options.headers()?);
        let http = http.build().map_err(|_| wrong())?;
        Ok(Self { base, http, tls: is_tls.then(|| Arc::new(tls)) })
    }

    /// The interface's URL.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The node as it is now.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.json(self.get("/v1/status").timeout(TIMEOUT)).await
    }

    /// Members of the mesh and connected peers.
    pub async fn peers(&self) -> Result<Vec<Peer>, ClientError> {
        self.json(self.get("/v1/peers").timeout(TIMEOUT)).await
    }

    /// The topics that the node has joined.
    pub async fn topics(&self) -> Result<Topics, ClientError> {
        self.json(self.get("/v1/topics").timeout(TIMEOUT)).await
    }

    /// Has the node take an address for a seed.
    pub async fn dial(&self, address: &str) -> Result<(), ClientError> {
        let dial = Dial { address: address.to_owned() };
        let request = self.http.post(format!("{}/v1/peers/dial", self.base)).json(&dial);
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// Puts a revocation into force, given as text.
    pub async fn revoke(&self, revocation: &str) -> Result<(), ClientError> {
        self.give("/v1/access/revocations", revocation).await
    }

    /// Renews the node by a membership, given as text.
    pub async fn accept(&self, membership: &str) -> Result<(), ClientError> {
        self.give("/v1/access/membership", membership).await
    }

    async fn give(&self, path: &str, token: &str) -> Result<(), ClientError> {
        let token = Token { token: token.to_owned() };
        let request = self.http.post(format!("{}{path}", self.base)).json(&token);
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// Publishes messages as they come, once `wait_neighbours` connected nodes read the topic, for
    /// which it waits at most `timeout`.
    pub async fn publish<S>(
        &self,
        topic: &str,
        messages: S,
        wait_neighbours: usize,
        timeout: Duration,
    ) -> Result<Published, ClientError>
    where
        S: TryStream<Ok = String> + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // The HTTP client would tell of a broken connection, so the cause is kept beside it.
        let broken = Arc::new(Mutex::new(None::<Box<dyn Error + Send + Sync>>));
        let kept = broken.clone();
        let lines = messages.map_ok(|message| {
            let mut line = serde_json::to_vec(&message).expect("a string is JSON");
            line.push(b'\n');
            Bytes::from(line)
        });
        let lines = lines.map_err(move |error| {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.into());
            io::Error::other("the messages broke off")
        });
        let mut url = self.messages(topic)?;
        url.query_pairs_mut()
            .append_pair("wait_neighbours", &wait_neighbours.to_string())
            .append_pair("timeout_seconds", &timeout.as_secs_f64().to_string());
        let request = self.http.post(url).header("content-type", "application/x-ndjson");
        let result = self.json(request.body(reqwest::Body::wrap_stream(lines))).await;
        let cause = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        match cause {
            Some(error) => Err(ClientError::Messages(error)),
            None => result,
        }
    }

    /// Messages published from now on: once this returns, none is missed unsaid.
    pub async fn subscribe(&self, topic: &str) -> Result<Events<TopicEvent>, ClientError> {
        self.events(self.http.get(self.messages(topic)?)).await
    }

    /// Changes among the members from now on.
    pub async fn member_events(&self) -> Result<Events<MemberChange>, ClientError> {
        self.events(self.get("/v1/members/events")).await
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    /// A topic's name is one segment of the path, whatever is in it.
    fn messages(&self, topic: &str) -> Result<reqwest::Url, ClientError> {
        self.path(["v1", "topics", topic, "messages"])
    }

    fn path<'a>(
        &self,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Result<reqwest::Url, ClientError> {
        let wrong = || ClientError::Url { url: self.base.clone() };
        let mut url = reqwest::Url::parse(&self.base).map_err(|_| wrong())?;
        let mut segments = url.path_segments_mut().map_err(|()| wrong())?;
        segments.pop_if_empty().extend(parts);
        drop(segments);
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(source) => return Err(self.unsent(source).await),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|source| self.broken(source))?;
        Err(match serde_json::from_slice(&bytes) {
            Ok(problem) => ClientError::Refused(problem),
            Err(_) => self.foreign(format!("status {status} without a problem document")),
        })
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|source| self.broken(source))?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(error.to_string()))
    }

    async fn events<T: DeserializeOwned + Send + 'static>(
        &self,
        request: RequestBuilder,
    ) -> Result<Events<T>, ClientError> {
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.foreign("no stream of events".to_owned()));
        }
        let client = self.clone();
        let bytes = response.bytes_stream();
        let events = EventReader::new(bytes).into_stream();
        Ok(Box::pin(events.map(move |data| {
            let data = data.map_err(|source| client.broken(source))?;
            serde_json::from_str(&data).map_err(|error| client.foreign(error.to_string()))
        })))
    }

    async fn unsent(&self, source: reqwest::Error) -> ClientError {
        let url = self.base.clone();
        let failure = match (TlsFailure::of(&source), &self.tls) {
            (None, Some(tls)) if !source.is_timeout() => TlsFailure::found(&url, tls).await,
            (failure, _) => failure,
        };
        match failure {
            Some(TlsFailure::Untrusted(why)) => ClientError::Untrusted { url, why },
            Some(TlsFailure::Certificate(why)) => ClientError::Certificate { url, why },
            Some(TlsFailure::Foreign) => {
                self.foreign("it speaks no TLS; does its URL begin with http://?".to_owned())
            }
            None if source.is_connect() => ClientError::Unreachable { url, source },
            None => self.broken(source),
        }
    }

    fn broken(&self, source: reqwest::Error) -> ClientError {
        ClientError::Broken { url: self.base.clone(), source: source.without_url() }
    }

    fn foreign(&self, detail: String) -> ClientError {
        ClientError::Foreign { url: self.base.clone(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        assert_eq!(Client::new("http://127.0.0.1:7070/").unwrap().url(), "http://127.0.0.1:7070");
        for wrong in ["127.0.0.1:7070", "ftp://127.0.0.1", "http://", "", "file:///etc"] {
            assert!(matches!(Client::new(wrong), Err(ClientError::Url { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_topic_is_one_segment() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let url = client.messages("a/b c?d").unwrap();
        assert_eq!(url.path(), "/v1/topics/a%2Fb%20c%3Fd/messages");
    }
}
