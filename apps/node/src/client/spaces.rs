//! A node's spaces and their maps.

use std::io;

use aether_mesh::PeerId;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::{Body, Url};
use serde_json::Value;

use super::{Client, ClientError, Events, TIMEOUT};
use crate::api::{
    MapBatch, MapEvent, MapPage, NewSpace, Space, SpaceAccess, SpaceCompacted, SpaceImported,
    SpaceMembers, SpaceRole, SpaceTicket, Spaces,
};

impl Client {
    /// The spaces that the node has.
    pub async fn spaces(&self) -> Result<Spaces, ClientError> {
        self.json(self.get("/v1/spaces").timeout(TIMEOUT)).await
    }

    /// Founds a space.
    pub async fn create_space(&self, name: &str) -> Result<Space, ClientError> {
        self.create_space_as(name, SpaceAccess::Open).await
    }

    /// Founds a space to which not everyone has access.
    pub async fn create_space_as(
        &self,
        name: &str,
        access: SpaceAccess,
    ) -> Result<Space, ClientError> {
        let body = NewSpace { name: name.to_owned(), access };
        let request = self.http.post(self.path(["v1", "spaces"])?).json(&body);
        self.json(request.timeout(TIMEOUT)).await
    }

    /// Takes part in the space of a ticket.
    pub async fn join_space(&self, ticket: &str) -> Result<Space, ClientError> {
        let body = SpaceTicket { ticket: ticket.to_owned() };
        let request = self.http.post(self.path(["v1", "spaces", "join"])?).json(&body);
        self.json(request.timeout(TIMEOUT)).await
    }

    /// A space, by its id or name; with a hash of what it shows, which reads all of it.
    pub async fn space(&self, space: &str, state: bool) -> Result<Space, ClientError> {
        let mut url = self.path(["v1", "spaces", space])?;
        url.query_pairs_mut().append_pair("state", &state.to_string());
        let request = self.http.get(url);
        self.json(if state { request } else { request.timeout(TIMEOUT) }).await
    }

    /// What lets others into a space.
    pub async fn space_ticket(&self, space: &str) -> Result<SpaceTicket, ClientError> {
        let url = self.path(["v1", "spaces", space, "ticket"])?;
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// An archive of a space, as it comes. It is whole if its last record says so.
    pub async fn export_space(&self, space: &str) -> Result<Events<Bytes>, ClientError> {
        let url = self.path(["v1", "spaces", space, "archive"])?;
        let response = self.send(self.http.get(url)).await?;
        let client = self.clone();
        let bytes = response.bytes_stream();
        Ok(Box::pin(bytes.map(move |piece| piece.map_err(|source| client.broken(source)))))
    }

    /// Takes in an archive, which is read as it is sent.
    pub async fn import_space<S>(&self, archive: S) -> Result<SpaceImported, ClientError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let request = self.http.post(self.path(["v1", "spaces", "import"])?);
        let request = request.header("content-type", "application/octet-stream");
        self.json(request.body(Body::wrap_stream(archive))).await
    }

    /// Discards what no longer does anything in a space; with `dry_run` tells what that is.
    pub async fn compact_space(
        &self,
        space: &str,
        dry_run: bool,
    ) -> Result<SpaceCompacted, ClientError> {
        let mut url = self.path(["v1", "spaces", space, "compact"])?;
        url.query_pairs_mut().append_pair("dry_run", &dry_run.to_string());
        self.json(self.http.post(url)).await
    }

    /// The members of a space.
    pub async fn space_members(&self, space: &str) -> Result<SpaceMembers, ClientError> {
        let url = self.path(["v1", "spaces", space, "members"])?;
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// Gives a node a role in a space.
    pub async fn grant_space(
        &self,
        space: &str,
        peer: &PeerId,
        role: SpaceRole,
    ) -> Result<(), ClientError> {
        let url = self.path(["v1", "spaces", space, "members", &peer.to_string()])?;
        self.send(self.http.put(url).json(&role).timeout(TIMEOUT)).await.map(drop)
    }

    /// Removes a node from a space.
    pub async fn expel_space(&self, space: &str, peer: &PeerId) -> Result<(), ClientError> {
        let url = self.path(["v1", "spaces", space, "members", &peer.to_string()])?;
        self.send(self.http.delete(url).timeout(TIMEOUT)).await.map(drop)
    }

    /// Has the node take no part in a space any more.
    pub async fn close_space(&self, space: &str) -> Result<(), ClientError> {
        let request = self.http.post(self.path(["v1", "spaces", space, "close"])?);
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// Has the node take part again in a space that was closed.
    pub async fn open_space(&self, space: &str) -> Result<Space, ClientError> {
        let request = self.http.post(self.path(["v1", "spaces", space, "open"])?);
        self.json(request.timeout(TIMEOUT)).await
    }

    /// Deletes what the node has of a space.
    pub async fn delete_space(&self, space: &str) -> Result<(), ClientError> {
        let request = self.http.delete(self.path(["v1", "spaces", space])?);
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// The value of a key; with `all` an array of all values that were put at the same time. The
    /// key is a part of a URL, so it can't be empty, `.` or `..`.
    pub async fn map_value(
        &self,
        space: &str,
        map: &str,
        key: &str,
        all: bool,
    ) -> Result<Value, ClientError> {
        let mut url = self.path(["v1", "spaces", space, "maps", map, key])?;
        url.query_pairs_mut().append_pair("all", &all.to_string());
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// Changes a map, all at once and durably.
    pub async fn write_map(
        &self,
        space: &str,
        map: &str,
        batch: &MapBatch,
    ) -> Result<(), ClientError> {
        let request = self.http.post(self.map(space, map)?).json(batch);
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// A part of a map: keys that begin so, behind `after`, at most so many.
    pub async fn map_page(
        &self,
        space: &str,
        map: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<MapPage, ClientError> {
        let mut url = self.map(space, map)?;
        let mut query = url.query_pairs_mut();
        query.append_pair("prefix", prefix).append_pair("limit", &limit.to_string());
        if let Some(after) = after {
            query.append_pair("after", after);
        }
        drop(query);
        self.json(self.http.get(url).timeout(TIMEOUT)).await
    }

    /// Changes of a map from now on, or behind a position that an earlier event named.
    pub async fn watch_map(
        &self,
        space: &str,
        map: &str,
        after: Option<u64>,
    ) -> Result<Events<MapEvent>, ClientError> {
        let request = self.http.get(self.path(["v1", "spaces", space, "events", map])?);
        self.events(match after {
            Some(after) => request.header("last-event-id", after),
            None => request,
        })
        .await
    }

    fn map(&self, space: &str, map: &str) -> Result<Url, ClientError> {
        self.path(["v1", "spaces", space, "maps", map])
    }
}
