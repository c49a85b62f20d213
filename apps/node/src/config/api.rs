//! What can be set about the local interface.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use rustls::RootCertStore;

use serde::{Deserialize, Serialize};

use super::{Loaded, SettingsError};
use crate::{
    output,
    tls::{self, Identity},
};

/// Where the interface listens when nothing else is said.
pub const DEFAULT_API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

/// Section `api`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where the interface listens; port 0 is any free one.
    #[serde(deserialize_with = "super::values::word")]
    pub listen: SocketAddr,
    /// Names, besides `localhost` and addresses, that requests may be made to.
    #[serde(deserialize_with = "super::values::words")]
    pub hosts: Vec<String>,
    /// Who may use it.
    #[serde(deserialize_with = "super::values::word")]
    pub auth: Auth,
    /// Whether it speaks TLS, with a certificate that the node makes itself.
    #[serde(deserialize_with = "super::values::word")]
    pub tls: bool,
    /// PEM file with the certificate, and those that lead up to it. Implies TLS.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's key.
    pub key: Option<PathBuf>,
    /// PEM file with the certificates of which clients must show one, or one that was issued by
    /// them.
    pub client_ca: Option<PathBuf>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: DEFAULT_API,
            hosts: Vec::new(),
            auth: Auth::None,
            tls: false,
            certificate: None,
            key: None,
            client_ca: None,
        }
    }
}

impl Api {
    /// Whether it speaks TLS: because it is told to, or has a certificate.
    pub const fn is_tls(&self) -> bool {
        self.tls || self.certificate.is_some()
    }

    /// What a certificate that the node makes itself is for.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let here = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let address = Some(self.listen.ip()).filter(|address| !address.is_unspecified());
        let hosts = self.hosts.iter().map(|host| host.to_ascii_lowercase());
        here.into_iter().chain(address.map(|address| address.to_string())).chain(hosts).collect()
    }
}

/// What the files of the interface's TLS hold.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    /// The certificate that is given, and its key.
    pub(crate) identity: Option<Identity>,
    /// What vouches for clients.
    pub(crate) clients: Option<RootCertStore>,
}

/// Who may use the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Whoever reaches it.
    #[default]
    None,
    /// Whoever sends a token, as far as its role goes.
    Token,
}

impl Loaded {
    /// Refuses an interface that would be open to others, or is secured by halves.
    pub(super) fn check_api(&self) -> Result<(), SettingsError> {
        let api = &self.settings.api;
        let together = "api.certificate and api.key go together: set both, or neither";
        match (&api.certificate, &api.key) {
            (Some(_), None) => return Err(self.wrong("api.certificate", together)),
            (None, Some(_)) => return Err(self.wrong("api.key", together)),
            _ => {}
        }
        if api.client_ca.is_some() && !api.is_tls() {
            let message = "certificates are shown over TLS only: set api.tls = true, or \
                           api.certificate and api.key";
            return Err(self.wrong("api.client_ca", message));
        }
        if !api.listen.ip().is_loopback() && api.auth == Auth::None {
            let message = format!(
                "other machines reach {}, and whoever reaches the interface controls the node: \
                 set api.auth = \"token\", best with api.tls = true, or listen on 127.0.0.1",
                api.listen
            );
            return Err(self.wrong("api.listen", message));
        }
        Ok(())
    }

    /// Reads the files that the interface's TLS needs, and that others made.
    pub(crate) fn tls_files(&self) -> Result<TlsFiles, SettingsError> {
        let api = &self.settings.api;
        let wrong = |key: &str, error| self.wrong(key, output::told(&error));
        let identity = match (&api.certificate, &api.key) {
            (Some(certificate), Some(key)) => {
                let read = Identity::read(certificate, key);
                Some(read.map_err(|error| {
                    let of = if error.path() == key { "api.key" } else { "api.certificate" };
                    wrong(of, error)
                })?)
            }
            _ => None,
        };
        let roots =
            |file: &PathBuf| tls::roots(file).map_err(|error| wrong("api.client_ca", error));
        let clients = api.client_ca.as_ref().map(roots).transpose()?;
        let is_own = api.is_tls() && identity.is_none();
        if is_own && let Some(host) = api.hosts.iter().find(|host| !tls::is_name(host)) {
            let message = format!("{host:?} is no name or address that a certificate can be for");
            return Err(self.wrong("api.hosts", message));
        }
        Ok(TlsFiles { identity, clients })
    }
}
