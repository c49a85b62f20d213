//! What `aether run` does for its interface: sockets, certificates, and the file that tells the
//! same user's commands how to reach it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use aether_mesh::{
    PeerId,
    access::{MAX_TERM, Role, SecretKey, Wall, wall_now},
};
use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    client::ApiFile,
    config::{Settings, TlsFiles},
    interface,
    tls::{self, Identity},
};

/// How often it is looked whether the token of `api.json` is to be replaced.
const LOOK: Duration = Duration::from_secs(60);

/// The socket of the interface.
pub(super) async fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address = settings.api.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "can't listen for the interface on {address}; choose another address with --api, or \
             a free port with --api 127.0.0.1:0"
        )
    })?;
    if !address.ip().is_loopback() && !settings.api.is_tls() {
        tracing::warn!(
            %address,
            "the interface can be reached from other machines without TLS, so tokens travel in \
             the clear: whoever sees one can use it; set api.tls = true"
        );
    }
    Ok(listener)
}

/// The interface's TLS, and the certificate that it shows, in PEM.
pub(super) fn secure(
    settings: &Settings,
    files: TlsFiles,
    peer: &PeerId,
) -> anyhow::Result<Option<(TlsAcceptor, String)>> {
    if !settings.api.is_tls() {
        return Ok(None);
    }
    let identity = match files.identity {
        Some(identity) => identity,
        None => Identity::own(&settings.data, peer, &settings.api.names())
            .context("the interface has no certificate")?,
    };
    let certificate = identity.chain.first().context("there is a certificate")?;
    let certificate = tls::to_pem(certificate);
    let server = tls::server(identity, files.clients).context("the interface can't speak TLS")?;
    Ok(Some((TlsAcceptor::from(Arc::new(server)), certificate)))
}

/// The URL that this machine reaches the interface at.
pub(super) fn url(bound: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{}", reachable(bound))
}

/// An address that this machine reaches the interface at.
fn reachable(mut bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        bound.set_ip(match bound.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    bound
}

/// `api.json`, while the node runs.
pub(super) struct Told {
    file: ApiFile,
    data: PathBuf,
    /// What signs the token, if the interface asks for one.
    key: Option<SecretKey>,
    issued: Wall,
}

impl Told {
    /// Writes the file, with a fresh token if a key is given.
    pub(super) fn write(
        file: ApiFile,
        data: PathBuf,
        key: Option<SecretKey>,
    ) -> anyhow::Result<Self> {
        let mut told = Self { file, data, key, issued: Wall::default() };
        told.rewrite(wall_now()).context("can't write api.json into the data folder")?;
        Ok(told)
    }

    fn rewrite(&mut self, now: Wall) -> anyhow::Result<()> {
        let mut file = self.file.clone();
        if let Some(key) = &self.key {
            let token = interface::token(key, Role::Admin, now, now + MAX_TERM)?;
            file.token = Some(token.to_text());
        }
        file.write(&self.data)?;
        (self.file, self.issued) = (file, now);
        Ok(())
    }

    /// Whether half of the token's time is over, or the clock was put back behind its beginning.
    fn is_due(&self, now: Wall) -> bool {
        self.key.is_some() && (now < self.issued || now.since(self.issued) > MAX_TERM / 2)
    }

    /// Replaces the token in time, for ever.
    pub(super) async fn keep(&mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = wall_now();
            if !self.is_due(now) {
                continue;
            }
            match self.rewrite(now) {
                Ok(()) => tracing::info!("api.json has a new token"),
                Err(error) => tracing::warn!(%error, "the token of api.json isn't renewed"),
            }
        }
    }

    pub(super) const fn file(&self) -> &ApiFile {
        &self.file
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        self.file.remove(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_over_loopback() {
        let reached = |text: &str, tls| url(text.parse().unwrap(), tls);
        assert_eq!(reached("0.0.0.0:1", false), "http://127.0.0.1:1");
        assert_eq!(reached("[::]:1", true), "https://[::1]:1");
        assert_eq!(reached("10.0.0.1:1", false), "http://10.0.0.1:1");
    }

    #[test]
    fn the_token_of_the_file_is_replaced_in_time() {
        let data = tempfile::tempdir().unwrap();
        let (api, peer) = ("http://a".to_owned(), "p".to_owned());
        let file = ApiFile { api, pid: 1, peer, token: None, certificate: None };
        let key = SecretKey::from_bytes([1; 32]);
        let mut told = Told::write(file.clone(), data.path().into(), Some(key)).unwrap();
        let first = ApiFile::read(data.path()).unwrap().unwrap().token.unwrap();
        let now = told.issued;
        assert!(!told.is_due(now) && !told.is_due(now + MAX_TERM / 3));
        assert!(told.is_due(now - Duration::from_secs(1)) && told.is_due(now + MAX_TERM));
        let late = now + (MAX_TERM / 2 + Duration::from_secs(1));
        assert!(told.is_due(late));
        told.rewrite(late).unwrap();
        assert!(!told.is_due(late));
        assert_ne!(ApiFile::read(data.path()).unwrap().unwrap().token.unwrap(), first);
        told.remove();
        assert_eq!(ApiFile::read(data.path()).unwrap(), None);
        let open = Told::write(file, data.path().into(), None).unwrap();
        assert!(!open.is_due(late) && open.file().token.is_none());
    }
}
