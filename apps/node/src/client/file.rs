//! What a running node tells its user's other programs.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Client, ClientError, ClientOptions};
use crate::interface::replace;

/// Where a running node says how it is reached: `api.json` in its data folder, for its owner only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiFile {
    /// The interface's URL.
    pub api: String,
    /// The process.
    pub pid: u32,
    /// The node's peer id.
    pub peer: String,
    /// An admin's token of the interface, if that asks for one. A secret: [`Debug`](fmt::Debug)
    /// doesn't show it. The node replaces it in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The certificate, in PEM, that the interface shows, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl fmt::Debug for ApiFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, pid, peer, token, certificate } = self;
        f.debug_struct("ApiFile")
            .field("api", api)
            .field("pid", pid)
            .field("peer", peer)
            .field("token", &token.as_ref().map(|_| "(hidden)"))
            .field("certificate", certificate)
            .finish()
    }
}

impl ApiFile {
    /// Its path in a data folder.
    pub fn path(data: &Path) -> PathBuf {
        data.join("api.json")
    }

    /// Reads it; `None` if there is none.
    pub fn read(data: &Path) -> Result<Option<Self>, io::Error> {
        match std::fs::read(Self::path(data)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A client of the node.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::with(&self.api, &self.options())
    }

    /// What a client of the node needs, as far as the file says; a certificate of its own isn't in
    /// it.
    pub fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::default();
        if let Some(token) = &self.token {
            options = options.token(token);
        }
        match &self.certificate {
            Some(certificate) => options.exactly(certificate),
            None => options,
        }
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, data: &Path) -> Result<(), io::Error> {
        replace(&Self::path(data), &serde_json::to_vec(self)?, 0o600)
    }

    /// Removes it, if it is still this process's.
    pub(crate) fn remove(&self, data: &Path) {
        let is_mine = |found: Self| found.pid == self.pid && found.api == self.api;
        if Self::read(data).is_ok_and(|found| found.is_some_and(is_mine)) {
            let _ = std::fs::remove_file(Self::path(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file() -> ApiFile {
        let (api, peer) = ("http://a".into(), "p".into());
        ApiFile { api, pid: 1, peer, token: Some("secret".into()), certificate: None }
    }

    #[test]
    fn the_file_is_its_owners_and_removed_by_its_writer_only() {
        let data = tempfile::tempdir().unwrap();
        let mine = file();
        mine.write(data.path()).unwrap();
        let mode = std::fs::metadata(ApiFile::path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = ApiFile { pid: 2, ..mine.clone() };
        other.remove(data.path());
        assert_eq!(ApiFile::read(data.path()).unwrap(), Some(mine.clone()));
        let renewed = ApiFile { token: Some("renewed".into()), ..mine.clone() };
        renewed.write(data.path()).unwrap();
        mine.remove(data.path());
        assert_eq!(ApiFile::read(data.path()).unwrap(), None);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_before_has_neither_token_nor_certificate() {
        let old: ApiFile =
            serde_json::from_str(r#"{"api":"http://a","pid":1,"peer":"p"}"#).unwrap();
        assert_eq!(old, ApiFile { token: None, ..file() });
        assert!(serde_json::to_string(&old).unwrap().find("token").is_none());
    }

    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", file());
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
    }
}
