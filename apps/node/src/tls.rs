//! Certificates and keys of the interface: files in PEM, and the certificate that a node makes
//! itself.
//!
//! That one is in the file `api-tls.pem` of the data folder, below a line with the names that it is
//! for; it may be handed out, to be trusted. Its key is in `api-tls.key`, for its owner only. It
//! has no end: who trusts it trusts that key.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aether_mesh::PeerId;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};

use crate::interface::replace;

/// Longest PEM file: a bundle of all public roots has a quarter of it.
const MAX_FILE: u64 = 1024 * 1024;
/// What the line with the names begins with.
const NAMES: &str = "# an Aether node made this for";

/// The cryptography of all TLS here: said where it is used, so that no other crate's choice counts.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Why a certificate or a key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file isn't PEM.
    #[error("{} is no whole PEM file; is it DER, or cut short?", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// There is something else in it.
    #[error("{} holds no {what} in PEM, -----BEGIN {begins}-----", path.display())]
    Lacking {
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
        /// How that begins.
        begins: &'static str,
    },
    /// What is in it can't be used.
    #[error("{} can't be used: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl TlsFileError {
    /// Which file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Pem { path }
            | Self::Lacking { path, .. }
            | Self::Unusable { path, .. } => path,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|source| TlsFileError::Read { path: path.to_path_buf(), source })?;
    Ok(bytes)
}

/// All certificates of a file, of which there is at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let found = certificates_of(&read(path)?);
    let found = found.map_err(|_| TlsFileError::Pem { path: path.to_path_buf() })?;
    if found.is_empty() {
        let (what, begins) = ("certificate", "CERTIFICATE");
        return Err(TlsFileError::Lacking { path: path.to_path_buf(), what, begins });
    }
    Ok(found)
}

fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// The first key of a file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsFileError::Lacking {
            path: path.to_path_buf(),
            what: "unencrypted private key",
            begins: "PRIVATE KEY",
        },
        _ => TlsFileError::Pem { path: path.to_path_buf() },
    })
}

/// The certificates of a file, to trust what they vouch for.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, error))?;
    }
    Ok(roots)
}

pub(crate) fn unusable(path: &Path, why: impl ToString) -> TlsFileError {
    TlsFileError::Unusable { path: path.to_path_buf(), why: why.to_string() }
}

/// What a server or a client proves who it is with.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Its own certificate, and those that lead up to it.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both files.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let identity = Self { chain: certificates(certificate)?, key: private_key(key)? };
        identity.check().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let other = certificate.display();
                unusable(key, format!("it isn't the key of the certificate in {other}"))
            }
            error @ rustls::Error::InvalidCertificate(_) => unusable(certificate, error),
            error => unusable(key, error),
        })?;
        Ok(identity)
    }

    /// Whether the key is the certificate's.
    fn check(&self) -> Result<(), rustls::Error> {
        let (chain, key) = (self.chain.clone(), self.key.clone_key());
        rustls::sign::CertifiedKey::from_der(chain, key, &provider()).map(drop)
    }

    /// The node's own certificate: the one that is kept, if it is for these names, or a new one.
    pub(crate) fn own(
        data: &Path,
        peer: &PeerId,
        names: &BTreeSet<String>,
    ) -> Result<Self, TlsFileError> {
        let (path, key) = own_files(data);
        let names: Vec<String> = names.iter().cloned().collect();
        let title = format!("{NAMES} {}\n", names.join(" "));
        match read(&path) {
            Ok(kept) if kept.starts_with(title.as_bytes()) => match Self::read(&path, &key) {
                Ok(identity) => return Ok(identity),
                Err(error) => tracing::warn!(%error, "the interface gets a new certificate"),
            },
            Ok(_) => tracing::info!("the interface gets a new certificate, as its names changed"),
            Err(TlsFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let made = make(peer, names).map_err(|error| unusable(&path, error))?;
        // One without the other doesn't fit, and is made anew.
        let certificate = format!("{title}{}", made.certificate);
        for (file, text, mode) in [(&key, made.key, 0o600), (&path, certificate, 0o644)] {
            let written = replace(file, text.as_bytes(), mode);
            written.map_err(|error| unusable(file, format!("it can't be written: {error}")))?;
        }
        Self::read(&path, &key)
    }
}

/// Where a node keeps the certificate that it made, and its key.
fn own_files(data: &Path) -> (PathBuf, PathBuf) {
    (data.join("api-tls.pem"), data.join("api-tls.key"))
}

/// Whether a certificate can be for this name.
pub(crate) fn is_name(name: &str) -> bool {
    rustls::pki_types::ServerName::try_from(name).is_ok()
}

/// A certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

fn make(peer: &PeerId, names: Vec<String>) -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, format!("aether {peer}"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate as text.
pub(crate) fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let body = data_encoding::BASE64.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// The first certificate of a text.
pub(crate) fn from_pem(text: &str) -> Option<CertificateDer<'static>> {
    certificates_of(text.as_bytes()).ok()?.into_iter().next()
}

/// What the interface's side of TLS is: version 1.3, and HTTP/1.1 over it.
pub(crate) fn server(
    identity: Identity,
    clients: Option<RootCertStore>,
) -> Result<ServerConfig, ServerError> {
    let config =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let mut config = config.with_single_cert(identity.chain, identity.key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Clients(#[from] VerifierBuilderError),
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn own(data: &Path, given: &[&str]) -> CertificateDer<'static> {
        let identity = Identity::own(data, &PeerId::random(), &names(given)).unwrap();
        identity.chain.into_iter().next().unwrap()
    }

    #[test]
    fn the_nodes_certificate_is_made_once_for_each_list_of_names() {
        let data = tempfile::tempdir().unwrap();
        let first = own(data.path(), &["localhost", "127.0.0.1"]);
        let (certificate, key) = own_files(data.path());
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&certificate).unwrap().contains("PRIVATE"));
        assert_eq!(own(data.path(), &["127.0.0.1", "localhost"]), first);
        let many = ["localhost", "127.0.0.1", "::1", "node1.example"];
        let second = own(data.path(), &many);
        assert_ne!(second, first);
        for file in [&certificate, &key] {
            let (before, whole) = (own(data.path(), &many), fs::read(file).unwrap());
            fs::write(file, &whole[..whole.len() / 2]).unwrap();
            assert_ne!(own(data.path(), &many), before, "a new one takes a torn one's place");
        }
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_certificate_survives_as_text() {
        let data = tempfile::tempdir().unwrap();
        let certificate = own(data.path(), &["localhost"]);
        assert_eq!(from_pem(&to_pem(&certificate)).unwrap(), certificate);
        assert!(to_pem(&certificate).lines().all(|line| line.len() <= 64));
        assert_eq!(from_pem("nonsense"), None);
    }

    #[test]
    fn files_that_can_not_be_used_are_named() {
        let data = tempfile::tempdir().unwrap();
        own(data.path(), &["localhost"]);
        let (good, good_key) = own_files(data.path());
        let file = data.path().join("file");
        let other = tempfile::tempdir().unwrap();
        own(other.path(), &["localhost"]);
        let error = |text: &str| {
            fs::write(&file, text).unwrap();
            let certificate = Identity::read(&file, &good_key).unwrap_err().to_string();
            let key = Identity::read(&good, &file).unwrap_err().to_string();
            assert!(certificate.contains("file") && key.contains("file"), "{certificate} {key}");
            (certificate, key)
        };
        let (certificate, key) = error("");
        assert!(certificate.contains("BEGIN CERTIFICATE"), "{certificate}");
        assert!(key.contains("private key"), "{key}");
        error("-----BEGIN CERTIFICATE-----\nAAAA\n");
        error("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n");
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        error(junk);
        let error = Identity::read(&good, &own_files(other.path()).1).unwrap_err().to_string();
        assert!(error.contains("isn't the key of the certificate in"), "{error}");
        fs::write(&file, junk).unwrap();
        assert!(roots(&file).unwrap_err().to_string().contains("can't be used"));
        let error = certificates(&data.path().join("nowhere")).unwrap_err();
        assert!(matches!(error, TlsFileError::Read { .. }));
        let secret = fs::read_to_string(&good_key).unwrap();
        let shown = format!("{:?}", Identity::read(&good, &good_key).unwrap());
        assert!(!shown.contains(secret.lines().nth(1).unwrap()), "{shown}");
    }

    #[test]
    fn names_are_of_hosts_or_addresses() {
        for name in ["localhost", "node1.example", "192.0.2.1", "::1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "ä.example", "a/b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
