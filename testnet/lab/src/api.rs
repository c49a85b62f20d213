//! The client of one node's HTTP API.
//!
//! The lab has its own idea of what the API answers, as a client in another language would: of
//! each answer it reads what it needs, so that it can drive nodes of other releases too. The node's
//! own client shares its types with the node, so it would never notice that they have changed.

mod documents;
mod maps;

use std::{collections::VecDeque, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{
    documents::Document,
    maps::{MapPage, SpaceState},
};
use crate::sse::{SseEvent, SseParser};

/// How long a call may take on a machine that runs fifty nodes.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// `GET /v1/status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The node's peer id.
    pub peer: String,
    /// Where others reach it, each with its peer id.
    pub addresses: Vec<String>,
    /// The mesh that it is part of.
    pub mesh: Mesh,
    /// How many connections it has.
    pub connections: usize,
}

/// A mesh, in a [`Status`].
#[derive(Clone, Debug, Deserialize)]
pub struct Mesh {
    /// Its id, in hexadecimal.
    pub id: String,
}

/// One of `GET /v1/peers`.
#[derive(Clone, Debug, Deserialize)]
pub struct Peer {
    /// Its peer id.
    pub peer: String,
    /// `alive`, `suspect`, or something else for those that are no members.
    pub state: String,
    /// Where it says it can be reached.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// In how many of the node's topics it is a gossip neighbour, if it is connected.
    #[serde(default)]
    pub meshes: Option<usize>,
}

impl Peer {
    /// Whether the node holds it for a member, be it in doubt.
    pub fn is_member(&self) -> bool {
        matches!(self.state.as_str(), "alive" | "suspect")
    }
}

/// What a worker of the example `pool` answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// How many primes there are.
    pub primes: u64,
    /// Who counted.
    pub by: String,
}

/// Why a call has no answer, for people.
#[derive(Clone, Debug)]
pub struct CallError(pub String);

/// `GET /v1/services`.
#[derive(Debug, Deserialize)]
struct Services {
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    service: String,
    peer: String,
    health: String,
}

/// The API of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    url: String,
}

impl Api {
    /// The API at this URL, through a client that several may share.
    pub fn new(http: reqwest::Client, url: impl Into<String>) -> Self {
        Self { http, url: url.into() }
    }

    /// A client that suits: without a proxy, as nodes are on this machine.
    pub fn client() -> Result<reqwest::Client> {
        // Without TLS nobody has to be trusted, and some machines have no certificates to read.
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        Ok(builder.connect_timeout(CALL_TIMEOUT).build()?)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who the node is.
    pub async fn status(&self) -> Result<Status> {
        self.get("/v1/status").await
    }

    /// Whom the node knows.
    pub async fn peers(&self) -> Result<Vec<Peer>> {
        self.get("/v1/peers").await
    }

    /// How many instances of a service serve, as the node knows.
    pub async fn serving(&self, service: &str) -> Result<usize> {
        let known: Services = self.get("/v1/services").await?;
        let serves = |each: &&Instance| each.service == service && each.health == "serving";
        Ok(known.instances.iter().filter(serves).count())
    }

    /// The peer ids of those who serve it, as the node knows.
    pub async fn servers(&self, service: &str) -> Result<Vec<String>> {
        let known: Services = self.get("/v1/services").await?;
        let serving = known.instances.into_iter().filter(|each| each.service == service);
        Ok(serving.map(|each| each.peer).collect())
    }

    /// Calls a service with a number, idempotently.
    pub async fn call(
        &self,
        service: &str,
        endpoint: &str,
        number: usize,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let (url, seconds) = (&self.url, deadline.as_secs_f64());
        let how = format!("deadline_seconds={seconds}&idempotent=true&hedge=true");
        let call = self
            .http
            .post(format!("{url}/v1/services/{service}/{endpoint}?{how}"))
            .header("content-type", "application/json")
            .body(number.to_string())
            .timeout(deadline + CALL_TIMEOUT);
        let answer = async {
            let body = check(call.send().await?).await?.text().await?;
            serde_json::from_str(&body).with_context(|| format!("{service} answers {body}"))
        };
        answer.await.map_err(|error| CallError(format!("{error:#}")))
    }

    /// Adds a file of this machine as a blob, and gives its id.
    pub async fn add_blob(&self, path: &Path) -> Result<String> {
        let call = self.http.post(format!("{}/v1/blobs/add", self.url));
        let body = serde_json::json!({ "path": path }).to_string();
        let call = call.header("content-type", "application/json").body(body);
        let added = self.follow(call, |_| ()).await?;
        let id = added["id"].as_str().context("what was added has an id")?;
        Ok(id.to_owned())
    }

    /// Has a blob on the node, and hears how many bytes are there.
    pub async fn get_blob(&self, id: &str, progress: impl FnMut(u64)) -> Result<()> {
        let call = self.http.post(format!("{}/v1/blobs/{id}/get", self.url));
        self.follow(call, progress).await.map(drop)
    }

    /// Whether the node has all of a blob of this size.
    pub async fn has_blob(&self, id: &str, size: u64) -> Result<bool> {
        let held: Value = self.get("/v1/blobs").await?;
        let blobs = held["blobs"].as_array().context("the node lists blobs")?;
        let is_whole =
            |blob: &Value| blob["id"] == id && blob["is_whole"] == true && blob["size"] == size;
        Ok(blobs.iter().any(is_whole))
    }

    /// A counter of the node's metrics.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let call = self.http.get(format!("{}/metrics", self.url)).timeout(CALL_TIMEOUT);
        let text = check(call.send().await?).await?.text().await?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.with_context(|| format!("the node has no counter {name}"))
    }

    /// Reads the events of a transfer to its end, and gives what the last one says.
    async fn follow(
        &self,
        call: reqwest::RequestBuilder,
        mut progress: impl FnMut(u64),
    ) -> Result<Value> {
        let response = check(call.send().await?).await?;
        let mut events = Events { response, parser: SseParser::default(), ready: VecDeque::new() };
        while let Some(event) = events.next().await? {
            let data: Value = serde_json::from_str(&event.data)?;
            match event.event.as_str() {
                "progress" => progress(data["done"].as_u64().unwrap_or(0)),
                "added" => return Ok(data),
                _ => bail!("{} says {data}", self.url),
            }
        }
        bail!("{} has ended a transfer", self.url)
    }

    /// Publishes each of these as a message.
    pub async fn publish(&self, topic: &str, messages: &[String]) -> Result<()> {
        let mut body = String::new();
        for message in messages {
            body += &serde_json::to_string(message)?;
            body.push('\n');
        }
        let call = self
            .http
            .post(format!("{}/v1/topics/{topic}/messages", self.url))
            .header("content-type", "application/x-ndjson")
            .body(body)
            .timeout(CALL_TIMEOUT);
        check(call.send().await?).await.map(drop)
    }

    /// Subscribes to a topic. When this returns, the subscription stands.
    pub async fn subscribe(&self, topic: &str) -> Result<Events> {
        let call = self.http.get(format!("{}/v1/topics/{topic}/messages", self.url));
        let response = tokio::time::timeout(CALL_TIMEOUT, call.send()).await??;
        let response = check(response).await?;
        Ok(Events { response, parser: SseParser::default(), ready: VecDeque::new() })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let call = self.http.get(format!("{}{path}", self.url)).timeout(CALL_TIMEOUT);
        let body = check(call.send().await?).await?.text().await?;
        serde_json::from_str(&body).with_context(|| format!("{path} answers {body}"))
    }
}

async fn check(response: reqwest::Response) -> Result<reqwest::Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, path) = (response.status(), response.url().path().to_owned());
    bail!("{path} answers {status}: {}", response.text().await.unwrap_or_default());
}

/// The events of a subscription.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    parser: SseParser,
    ready: VecDeque<SseEvent>,
}

impl Events {
    /// The next event; `None` when the node ended the stream.
    pub async fn next(&mut self) -> Result<Option<SseEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.response.chunk().await? {
                Some(bytes) => self.ready.extend(self.parser.feed(&bytes)),
                None => return Ok(None),
            }
        }
    }
}
