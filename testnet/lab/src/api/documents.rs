//! Documents of spaces, which begin with an empty text, of one node.

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use super::{Api, CALL_TIMEOUT, check};

/// `GET /v1/spaces/{space}/documents/{document}`, as far as a lab reads it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Document {
    /// Hashes of the changes on which no other builds.
    pub version: Vec<String>,
    /// What is in it.
    pub content: DocumentContent,
}

/// What is in a [`Document`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct DocumentContent {
    /// The text that it began with.
    pub text: String,
}

impl Api {
    /// A document, and its version.
    pub async fn document(&self, space: &str, document: &str) -> Result<Document> {
        let found: Document = self.get(&path(space, document)).await?;
        let mut version = found.version;
        version.sort_unstable();
        Ok(Document { version, ..found })
    }

    /// Inserts into the text of a document. Durable when it returns.
    pub async fn insert_text(
        &self,
        space: &str,
        document: &str,
        at: usize,
        insert: &str,
    ) -> Result<()> {
        let splices = json!([{ "at": at, "delete": 0, "insert": insert }]);
        self.post(&format!("{}/splices", path(space, document)), &splices).await.map(drop)
    }

    /// Does to the text of a document what makes `text` of the one at a version. Durable when it
    /// returns.
    pub async fn merge_text(
        &self,
        space: &str,
        document: &str,
        base: &[String],
        text: String,
    ) -> Result<()> {
        let (url, base) = (&self.url, base.join(","));
        let call = self.http.put(format!("{url}{}/text?base={base}", path(space, document)));
        let call = call.header("content-type", "text/plain").body(text).timeout(CALL_TIMEOUT);
        check(call.send().await?).await.map(drop)
    }
}

fn path(space: &str, document: &str) -> String {
    format!("/v1/spaces/{space}/documents/{document}")
}
