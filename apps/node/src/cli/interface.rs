//! What the command line says about a node's interface: which one, how a command proves who it is,
//! and who else may use it.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, time::Duration};

use aether_mesh::access::Role;
use clap::{Args, Subcommand};

use super::time;
use crate::client::ClientOptions;

/// Which running node is meant, and how the command proves who it is.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// URL of the node's interface [default: as api.json in the data folder says]
    #[arg(long, value_name = "URL", env = "AETHER_API")]
    pub(crate) api: Option<String>,
    /// Token for the interface, as `aether api token` prints it [default: api.json's]
    ///
    /// Others on this machine see a flag: AETHER_TOKEN is more discreet.
    #[arg(long, value_name = "TOKEN", env = "AETHER_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// PEM file of certificates to trust [default: api.json's, or the system's]
    #[arg(long, value_name = "FILE", env = "AETHER_CA")]
    ca: Option<PathBuf>,
    /// PEM file of a certificate to show to the node
    #[arg(long, value_name = "FILE", env = "AETHER_CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of that certificate's key
    #[arg(long, value_name = "FILE", env = "AETHER_KEY", requires = "cert")]
    key: Option<PathBuf>,
}

impl Remote {
    /// What flags and variables say, over what else is known.
    pub(crate) fn over(&self, mut options: ClientOptions) -> ClientOptions {
        if let Some(Secret(token)) = &self.token {
            options = options.token(token);
        }
        if let Some(file) = &self.ca {
            options = options.ca(file);
        }
        match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => options.identity(certificate, key),
            _ => options,
        }
    }
}

/// A text that isn't shown.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Commands of `aether api`.
#[derive(Debug, Subcommand)]
pub(crate) enum Api {
    /// Print a token for this node's interface, signed with its key; the node need not run
    Token {
        /// reader, writer, validator or admin
        #[arg(long, default_value = "reader")]
        role: Role,
        /// How long it lasts, at most 366d
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
        expires: Duration,
    },
    /// Take a token of this node's interface back, for ever
    Revoke {
        /// The token, or its id
        what: Secret,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Flags of `aether run` about its interface. Each stands for the key that its help names.
#[derive(Debug, Args)]
pub(crate) struct Interface {
    /// Where the HTTP interface listens; port 0 is any free one (api.listen)
    #[arg(long, value_name = "ADDR")]
    pub(super) api: Option<String>,
    /// Who may use it: none (whoever reaches it) or token (api.auth)
    #[arg(long, value_name = "WHO")]
    pub(super) api_auth: Option<String>,
    /// Speak TLS, with a certificate that the node makes itself (api.tls)
    #[arg(long)]
    pub(super) api_tls: bool,
    /// PEM file of a certificate to use instead (api.certificate)
    #[arg(long, value_name = "FILE")]
    pub(super) api_certificate: Option<String>,
    /// PEM file of its key (api.key)
    #[arg(long, value_name = "FILE")]
    pub(super) api_key: Option<String>,
    /// PEM file of what vouches for clients' certificates, which they must show (api.client_ca)
    #[arg(long, value_name = "FILE")]
    pub(super) api_client_ca: Option<String>,
}
