//! Partitioned maps, through a node.

use std::time::Duration;

use aether_mesh::PeerId;
use reqwest::{RequestBuilder, Url};
use serde_json::Value;

use super::{Client, ClientError, TIMEOUT};
use crate::api::{Level, NewPmap, Pmap, PmapMembers, PmapPage, PmapStatus, Pmaps, SpaceTicket};

/// How an operation on a partitioned map is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmapCall {
    /// How many owners of a key must have answered.
    pub level: Level,
    /// How long it may take.
    pub deadline: Duration,
}

/// At quorum, for ten seconds.
impl Default for PmapCall {
    fn default() -> Self {
        Self { level: Level::Quorum, deadline: Duration::from_secs(10) }
    }
}

impl PmapCall {
    fn write(self, url: &mut Url) {
        url.query_pairs_mut().append_pair("level", self.level.name());
        within(self.deadline, url);
    }
}

fn within(deadline: Duration, url: &mut Url) {
    url.query_pairs_mut().append_pair("deadline_seconds", &deadline.as_secs_f64().to_string());
}

impl Client {
    /// The partitioned maps that the node has.
    pub async fn pmaps(&self) -> Result<Pmaps, ClientError> {
        self.json(self.get("/v1/pmaps").timeout(TIMEOUT)).await
    }

    /// Founds a partitioned map.
    pub async fn create_pmap(&self, new: &NewPmap) -> Result<Pmap, ClientError> {
        let request = self.http.post(self.path(["v1", "pmaps"])?).json(new);
        self.json(request.timeout(TIMEOUT)).await
    }

    /// Takes part in the partitioned map of a ticket.
    pub async fn join_pmap(&self, ticket: &str) -> Result<Pmap, ClientError> {
        let body = SpaceTicket { ticket: ticket.to_owned() };
        let request = self.http.post(self.path(["v1", "pmaps", "join"])?).json(&body);
        self.json(request.timeout(TIMEOUT)).await
    }

    /// How it stands with a partitioned map on the node, by its id or name.
    pub async fn pmap_status(&self, map: &str) -> Result<PmapStatus, ClientError> {
        self.json(self.http.get(self.path(["v1", "pmaps", map])?).timeout(TIMEOUT)).await
    }

    /// What lets others into a partitioned map.
    pub async fn pmap_ticket(&self, map: &str) -> Result<SpaceTicket, ClientError> {
        let url = self.path(["v1", "pmaps", map, "ticket"])?;
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// The members of a partitioned map.
    pub async fn pmap_members(&self, map: &str) -> Result<PmapMembers, ClientError> {
        let url = self.path(["v1", "pmaps", map, "members"])?;
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// Makes the node a member of a partitioned map.
    pub async fn serve_pmap(&self, map: &str) -> Result<(), ClientError> {
        let request = self.http.post(self.path(["v1", "pmaps", map, "serve"])?);
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// Takes the node out of the members, once all that it holds is handed over.
    pub async fn retire_pmap(&self, map: &str, deadline: Duration) -> Result<(), ClientError> {
        let mut url = self.path(["v1", "pmaps", map, "retire"])?;
        within(deadline, &mut url);
        self.send(self.http.post(url).timeout(deadline + TIMEOUT)).await.map(drop)
    }

    /// Takes another node out of the members that won't come back.
    pub async fn expel_pmap(&self, map: &str, peer: &PeerId) -> Result<(), ClientError> {
        let url = self.path(["v1", "pmaps", map, "members", &peer.to_string()])?;
        self.send(self.http.delete(url).timeout(TIMEOUT)).await.map(drop)
    }

    /// The value of a key; with `all` an array of all values that were put at the same time. The
    /// key is a part of a URL, so it can't be empty, `.` or `..`; nor in what follows.
    pub async fn pmap_value(
        &self,
        map: &str,
        key: &str,
        all: bool,
        call: PmapCall,
    ) -> Result<Value, ClientError> {
        let mut url = self.item(map, key)?;
        url.query_pairs_mut().append_pair("all", &all.to_string());
        self.json(self.calling_pmap(url, call, |http, url| http.get(url))).await
    }

    /// Gives a key a value.
    pub async fn put_pmap(
        &self,
        map: &str,
        key: &str,
        value: &Value,
        call: PmapCall,
    ) -> Result<(), ClientError> {
        let put = self.calling_pmap(self.item(map, key)?, call, |http, url| http.put(url));
        self.send(put.json(value)).await.map(drop)
    }

    /// Removes what is at a key.
    pub async fn remove_pmap(
        &self,
        map: &str,
        key: &str,
        call: PmapCall,
    ) -> Result<(), ClientError> {
        let delete = self.calling_pmap(self.item(map, key)?, call, |http, url| http.delete(url));
        self.send(delete).await.map(drop)
    }

    /// Some keys of one partition, from `next` of the page before on, at most so many.
    pub async fn pmap_page(
        &self,
        map: &str,
        from: Option<&str>,
        limit: usize,
        call: PmapCall,
    ) -> Result<PmapPage, ClientError> {
        let mut url = self.path(["v1", "pmaps", map, "items"])?;
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        if let Some(from) = from {
            url.query_pairs_mut().append_pair("from", from);
        }
        self.json(self.calling_pmap(url, call, |http, url| http.get(url))).await
    }

    fn item(&self, map: &str, key: &str) -> Result<Url, ClientError> {
        self.path(["v1", "pmaps", map, "items", key])
    }

    /// The node answers by the deadline; whoever waits longer finds out that it is gone.
    fn calling_pmap(
        &self,
        mut url: Url,
        call: PmapCall,
        request: impl FnOnce(&reqwest::Client, Url) -> RequestBuilder,
    ) -> RequestBuilder {
        call.write(&mut url);
        request(&self.http, url).timeout(call.deadline + TIMEOUT)
    }
}
