//! A node's blobs.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt as _;

use super::{Client, ClientError, Events, TIMEOUT};
use crate::api::{BlobEvent, BlobPin, BlobsHeld};

impl Client {
    /// What the node holds of blobs.
    pub async fn blobs(&self) -> Result<BlobsHeld, ClientError> {
        self.json(self.get("/v1/blobs").timeout(TIMEOUT)).await
    }

    /// Adds a file or folder of the node's machine.
    pub async fn add_blob(
        &self,
        path: &Path,
        pin: Option<&str>,
    ) -> Result<Events<BlobEvent>, ClientError> {
        let at = serde_json::json!({ "path": path, "pin": pin });
        let url = self.path(["v1", "blobs", "add"])?;
        self.events(self.http.post(url).json(&at)).await
    }

    /// Has a blob on the node, with the files of a collection.
    pub async fn get_blob(
        &self,
        id: &str,
        from: Option<&str>,
    ) -> Result<Events<BlobEvent>, ClientError> {
        let mut url = self.path(["v1", "blobs", id, "get"])?;
        url.query_pairs_mut().append_pair("content", "true");
        if let Some(from) = from {
            url.query_pairs_mut().append_pair("from", from);
        }
        self.events(self.http.post(url)).await
    }

    /// Has the node write a blob to a path of its machine.
    pub async fn export_blob(&self, id: &str, path: &Path) -> Result<(), ClientError> {
        let at = serde_json::json!({ "path": path });
        let url = self.path(["v1", "blobs", id, "export"])?;
        self.send(self.http.post(url).json(&at)).await.map(drop)
    }

    /// The content of a blob.
    pub async fn read_blob(&self, id: &str) -> Result<Events<Bytes>, ClientError> {
        let response = self.send(self.http.get(self.path(["v1", "blobs", id])?)).await?;
        let client = self.clone();
        let bytes = response.bytes_stream();
        Ok(Box::pin(bytes.map(move |piece| piece.map_err(|source| client.broken(source)))))
    }

    /// Keeps a blob from being evicted; of a collection, with `content`, its files too.
    pub async fn pin_blob(&self, id: &str, name: &str, content: bool) -> Result<(), ClientError> {
        let url = self.path(["v1", "blobs", id, "pins", name])?;
        let request = self.http.put(url).json(&BlobPin { content });
        self.send(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// Takes a pin away.
    pub async fn unpin_blob(&self, id: &str, name: &str) -> Result<(), ClientError> {
        let url = self.path(["v1", "blobs", id, "pins", name])?;
        self.send(self.http.delete(url).timeout(TIMEOUT)).await.map(drop)
    }

    /// Removes a blob from the node.
    pub async fn remove_blob(&self, id: &str) -> Result<(), ClientError> {
        let url = self.path(["v1", "blobs", id])?;
        self.send(self.http.delete(url).timeout(TIMEOUT)).await.map(drop)
    }
}
