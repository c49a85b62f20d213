//! What the commands do.

pub(crate) mod api;
pub(crate) mod blob;
pub(crate) mod config;
pub(crate) mod doc;
pub(crate) mod key;
pub(crate) mod map;
pub(crate) mod mesh;
pub(crate) mod pmap;
pub(crate) mod repair;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod space;
pub(crate) mod status;
pub(crate) mod topic;

use anyhow::Context as _;

use crate::{
    cli::{Common, NoNode, Remote},
    client::{ApiFile, Client, ClientError, ClientOptions},
};

/// A running node, and what to say when it isn't.
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// How the URL was found.
    found: String,
}

impl Connected {
    /// The node that `--api`, `AETHER_API` or the data folder leads to.
    pub(crate) fn new(common: &Common, remote: &Remote) -> anyhow::Result<Self> {
        if let Some(url) = &remote.api {
            return Ok(Self {
                client: Client::with(url, &remote.over(ClientOptions::default()))?,
                found: "as --api or AETHER_API says".into(),
            });
        }
        let data = common.settings()?.settings.data;
        let path = ApiFile::path(&data);
        let file =
            ApiFile::read(&data).with_context(|| format!("can't read {}", path.display()))?;
        let Some(file) = file else {
            let message = format!(
                "no node runs on {}; start it with `aether run`, or point to another with --data \
                 or --api",
                data.display()
            );
            return Err(NoNode(message).into());
        };
        let found = format!("where process {} ran, by {}", file.pid, path.display());
        Ok(Self { client: Client::with(&file.api, &remote.over(file.options()))?, found })
    }

    /// Says what to do when nobody answers.
    pub(crate) fn explain<T>(&self, result: Result<T, ClientError>) -> anyhow::Result<T> {
        result.map_err(|error| match error {
            ClientError::Unreachable { .. } => NoNode(format!(
                "no node answers at {}, {}; start it with `aether run`",
                self.client.url(),
                self.found
            ))
            .into(),
            error => error.into(),
        })
    }
}
