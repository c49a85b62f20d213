//! What nodes say of themselves in a space.

use reqwest::Url;
use serde_json::Value;

use super::{Client, ClientError, Events, TIMEOUT};
use crate::api::{PresenceEvent, Present};

impl Client {
    /// What other nodes say under a name. The first request for a name begins to listen.
    pub async fn presence(&self, space: &str, name: &str) -> Result<Vec<Present>, ClientError> {
        let url = self.presence_url(space, name, None)?;
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// Says something under a name in the node's name, for 45 seconds.
    pub async fn say_presence(
        &self,
        space: &str,
        name: &str,
        value: &Value,
    ) -> Result<(), ClientError> {
        let url = self.presence_url(space, name, None)?;
        self.send(self.http.put(url).json(value).timeout(TIMEOUT)).await.map(drop)
    }

    /// Says nothing under a name any more.
    pub async fn clear_presence(&self, space: &str, name: &str) -> Result<(), ClientError> {
        let url = self.presence_url(space, name, None)?;
        self.send(self.http.delete(url).timeout(TIMEOUT)).await.map(drop)
    }

    /// What other nodes say under a name, and what becomes of it.
    pub async fn watch_presence(
        &self,
        space: &str,
        name: &str,
    ) -> Result<Events<PresenceEvent>, ClientError> {
        self.events(self.http.get(self.presence_url(space, name, Some("events"))?)).await
    }

    fn presence_url(
        &self,
        space: &str,
        name: &str,
        what: Option<&str>,
    ) -> Result<Url, ClientError> {
        self.path(["v1", "spaces", space, "presence", name].into_iter().chain(what))
    }
}
