//! Spaces and their maps, of one node.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, CALL_TIMEOUT, check};

/// `GET /v1/spaces/{space}?state=true`, as far as a lab compares it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SpaceState {
    /// A hash of what all collections show.
    pub state: String,
    /// How it stands with the space.
    pub status: SpaceStatus,
}

/// How it stands with a space, in a [`SpaceState`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SpaceStatus {
    /// A hash of all that is held.
    pub digest: String,
    /// Feeds whose authors signed two entries of one number.
    pub forked: usize,
}

/// `GET /v1/spaces/{space}/maps/{map}`.
#[derive(Clone, Debug, Deserialize)]
pub struct MapPage {
    /// Keys and values.
    pub entries: Vec<MapEntry>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A key and its value, in a [`MapPage`].
#[derive(Clone, Debug, Deserialize)]
pub struct MapEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
}

impl Api {
    /// Founds a space, and gives its id and its ticket.
    pub async fn create_space(&self, name: &str) -> Result<(String, String)> {
        let space = self.post("/v1/spaces", &json!({ "name": name })).await?;
        let id = space["id"].as_str().context("a space has an id")?.to_owned();
        let ticket: Value = self.get(&format!("/v1/spaces/{id}/ticket")).await?;
        let ticket = ticket["ticket"].as_str().context("a space has a ticket")?.to_owned();
        Ok((id, ticket))
    }

    /// Joins a space.
    pub async fn join_space(&self, ticket: &str) -> Result<()> {
        self.post("/v1/spaces/join", &json!({ "ticket": ticket })).await.map(drop)
    }

    /// A space's hashes.
    pub async fn space_state(&self, space: &str) -> Result<SpaceState> {
        self.get(&format!("/v1/spaces/{space}?state=true")).await
    }

    /// Puts all of this into a map at once.
    pub async fn put_all(&self, space: &str, map: &str, put: &Value) -> Result<()> {
        let path = format!("/v1/spaces/{space}/maps/{map}");
        self.post(&path, &json!({ "put": put })).await.map(drop)
    }

    /// A page of a map.
    pub async fn map_page(&self, space: &str, map: &str, after: Option<&str>) -> Result<MapPage> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.get(&format!("/v1/spaces/{space}/maps/{map}?limit=1000{after}")).await
    }

    /// All values of a key.
    pub async fn map_values(&self, space: &str, map: &str, key: &str) -> Result<Vec<Value>> {
        self.get(&format!("/v1/spaces/{space}/maps/{map}/{key}?all=true")).await
    }

    /// Posts JSON, and gives what is answered; nothing is `null`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let call = self.http.post(format!("{}{path}", self.url)).timeout(CALL_TIMEOUT);
        let call = call.header("content-type", "application/json").body(body.to_string());
        let text = check(call.send().await?).await?.text().await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{path} answers {text}"))
    }
}
