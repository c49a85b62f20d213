//! A node's documents.

use reqwest::Url;

use super::{Client, ClientError, Events, TIMEOUT};
use crate::api::{
    Document, DocumentChange, DocumentCopy, DocumentEvent, DocumentSplice, DocumentTurn,
    DocumentVersion,
};

impl Client {
    /// A document, as it is or as it was at a version.
    pub async fn document(
        &self,
        space: &str,
        document: &str,
        at: Option<&[String]>,
    ) -> Result<Document, ClientError> {
        let mut url = self.document_url(space, document, None)?;
        if let Some(at) = at {
            url.query_pairs_mut().append_pair("at", &at.join(","));
        }
        self.json(self.http.get(url)).await
    }

    /// The text of a document, as it is or as it was at a version.
    pub async fn document_text(
        &self,
        space: &str,
        document: &str,
        at: Option<&[String]>,
    ) -> Result<String, ClientError> {
        let mut url = self.document_url(space, document, Some("text"))?;
        if let Some(at) = at {
            url.query_pairs_mut().append_pair("at", &at.join(","));
        }
        let response = self.send(self.http.get(url)).await?;
        let bytes = response.bytes().await.map_err(|source| self.broken(source))?;
        let text = String::from_utf8(bytes.into());
        text.map_err(|_| self.foreign("a text that is no UTF-8".to_owned()))
    }

    /// Makes the text of a document another one, durably; with `base`, the version that it was made
    /// of, it is merged with what was written since.
    pub async fn write_document(
        &self,
        space: &str,
        document: &str,
        base: Option<&[String]>,
        text: String,
    ) -> Result<DocumentVersion, ClientError> {
        let mut url = self.document_url(space, document, Some("text"))?;
        if let Some(base) = base {
            url.query_pairs_mut().append_pair("base", &base.join(","));
        }
        let request = self.http.put(url).header("content-type", "text/plain; charset=utf-8");
        // A large text takes its time.
        self.json(request.body(text)).await
    }

    /// Inserts into the text of a document and deletes from it, all or nothing, durably.
    pub async fn splice_document(
        &self,
        space: &str,
        document: &str,
        splices: &[DocumentSplice],
    ) -> Result<DocumentVersion, ClientError> {
        let url = self.document_url(space, document, Some("splices"))?;
        self.json(self.http.post(url).json(splices).timeout(TIMEOUT)).await
    }

    /// Takes back the last edit of a document at this node.
    pub async fn undo_document(
        &self,
        space: &str,
        document: &str,
    ) -> Result<DocumentTurn, ClientError> {
        let url = self.document_url(space, document, Some("undo"))?;
        self.json(self.http.post(url).timeout(TIMEOUT)).await
    }

    /// Takes back the last undo.
    pub async fn redo_document(
        &self,
        space: &str,
        document: &str,
    ) -> Result<DocumentTurn, ClientError> {
        let url = self.document_url(space, document, Some("redo"))?;
        self.json(self.http.post(url).timeout(TIMEOUT)).await
    }

    /// Copies what a document shows into a new one, without its history.
    pub async fn copy_document(
        &self,
        space: &str,
        document: &str,
        to: &str,
    ) -> Result<DocumentVersion, ClientError> {
        let url = self.document_url(space, document, Some("copy"))?;
        // A large one takes its time.
        self.json(self.http.post(url).json(&DocumentCopy { to: to.to_owned() })).await
    }

    /// All changes of a document, oldest first.
    pub async fn document_history(
        &self,
        space: &str,
        document: &str,
    ) -> Result<Vec<DocumentChange>, ClientError> {
        self.json(self.http.get(self.document_url(space, document, Some("history"))?)).await
    }

    /// What becomes different in a document: once this returns, nothing is missed unsaid.
    pub async fn watch_document(
        &self,
        space: &str,
        document: &str,
    ) -> Result<Events<DocumentEvent>, ClientError> {
        self.events(self.http.get(self.document_url(space, document, Some("events"))?)).await
    }

    /// A document's name is a part of a URL, so it can't be empty, `.` or `..`.
    fn document_url(
        &self,
        space: &str,
        document: &str,
        what: Option<&str>,
    ) -> Result<Url, ClientError> {
        self.path(["v1", "spaces", space, "documents", document].into_iter().chain(what))
    }
}
