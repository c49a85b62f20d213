//! How a client proves who it is, and whom it trusts.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aether_mesh::access::Invite;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::TlsConnector;

use super::ClientError;
use crate::tls::{self, Identity, unusable};

/// How long a server may take to say what is wrong with a handshake.
const SAID: Duration = Duration::from_secs(5);

/// How a [`Client`](super::Client) proves who it is, and whom it trusts.
#[derive(Clone, Default)]
pub struct ClientOptions {
    token: Option<String>,
    trust: Trust,
    identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Debug, Default)]
enum Trust {
    #[default]
    System,
    /// What the certificates of a file vouch for.
    File(PathBuf),
    /// One certificate in PEM, whatever it says of itself.
    Exactly(String),
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("trust", &self.trust)
            .field("identity", &self.identity)
            .finish()
    }
}

impl ClientOptions {
    /// Sends this token, which `aether api token` printed, or an invite to the node's closed mesh.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Trusts what the certificates of this PEM file vouch for, and nothing else.
    #[must_use]
    pub fn ca(mut self, file: impl AsRef<Path>) -> Self {
        self.trust = Trust::File(file.as_ref().to_path_buf());
        self
    }

    /// Shows this certificate to a node that asks for one. Both are PEM files.
    #[must_use]
    pub fn identity(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        self.identity = Some((certificate.to_path_buf(), key.to_path_buf()));
        self
    }

    /// Trusts this very certificate, and no other, whatever names or times stand in it: it came
    /// from the node itself, by a file that the node alone can write.
    pub(super) fn exactly(mut self, certificate: &str) -> Self {
        self.trust = Trust::Exactly(certificate.to_owned());
        self
    }

    /// The headers of each request.
    pub(super) fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            // Read here, so that a torn one is found without a node; and as it was meant, white
            // space aside.
            let bearer = format!("Bearer {}", Invite::parse(token)?.to_text());
            let mut bearer = HeaderValue::from_str(&bearer).expect("base64 is visible ASCII");
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(headers)
    }

    /// The client's side of TLS; without TLS one that trusts nobody, so that nothing is read.
    pub(super) fn tls(&self, is_used: bool) -> Result<ClientConfig, ClientError> {
        let provider = tls::provider();
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has what the versions need");
        if !is_used {
            return Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        }
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            Trust::System => {
                let verifier = Verifier::new(provider);
                Arc::new(verifier.map_err(|error| ClientError::NoRoots(error.into()))?)
            }
            Trust::File(file) => {
                let roots = Arc::new(tls::roots(file)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
                verifier.build().map_err(|error| unusable(file, error))?
            }
            Trust::Exactly(certificate) => Arc::new(Exactly(tls::from_pem(certificate))),
        };
        // Not the library's own roots and nothing else: the verifiers above are as strict, but for
        // the last, which knows the one certificate that is right.
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let Some((certificate, key)) = &self.identity else {
            return Ok(config.with_no_client_auth());
        };
        let identity = Identity::read(certificate, key)?;
        let config = config.with_client_auth_cert(identity.chain, identity.key);
        config.map_err(|error| unusable(certificate, error).into())
    }
}

/// Trusts one certificate; that the other holds its key is checked as ever.
#[derive(Debug)]
struct Exactly(Option<CertificateDer<'static>>);

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.as_ref() == Some(end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How TLS came to nothing.
pub(super) enum TlsFailure {
    /// The node's certificate isn't trusted.
    Untrusted(String),
    /// The client's own certificate is missing or isn't trusted.
    Certificate(&'static str),
    /// The other speaks something else.
    Foreign,
}

impl TlsFailure {
    /// Tries once more, without HTTP: a server says only after the handshake that it doesn't take
    /// the client's certificate (RFC 8446, section 4.4.2.4), and HTTP's client may find the
    /// connection closed and ask no further.
    pub(super) async fn found(url: &str, tls: &Arc<ClientConfig>) -> Option<Self> {
        let url = reqwest::Url::parse(url).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default()?;
        let name = ServerName::try_from(host.clone()).ok()?;
        let said = async {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            let mut stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
            stream.read_u8().await
        };
        match tokio::time::timeout(SAID, said).await {
            Ok(Err(error)) => Self::of(&error),
            _ => None,
        }
    }

    /// What an error tells of it.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            // An I/O error shows what it holds as itself, and not as its source.
            let held = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
            let found = match held {
                Some(held) => held.downcast_ref::<rustls::Error>(),
                None => error.downcast_ref::<rustls::Error>(),
            };
            if let Some(failure) = found.and_then(Self::of_tls) {
                return Some(failure);
            }
            cause = match held {
                Some(held) => Some(held as &(dyn Error + 'static)),
                None => error.source(),
            };
        }
        None
    }

    fn of_tls(error: &rustls::Error) -> Option<Self> {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(why) => Some(Self::Untrusted(why.to_string())),
            rustls::Error::AlertReceived(Alert::CertificateRequired) => {
                Some(Self::Certificate("none was shown"))
            }
            rustls::Error::AlertReceived(
                Alert::UnknownCA
                | Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::UnsupportedCertificate
                | Alert::DecryptError
                | Alert::AccessDenied,
            ) => Some(Self::Certificate("the one that was shown is not trusted there")),
            rustls::Error::InvalidMessage(_) => Some(Self::Foreign),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use aether_mesh::access::TokenError;

    use super::*;

    #[test]
    fn tokens_are_read_before_they_are_sent_and_never_shown() {
        let key = aether_mesh::access::SecretKey::from_bytes([1; 32]);
        let now = aether_mesh::access::wall_now();
        let until = now + Duration::from_secs(60);
        let role = aether_mesh::access::Role::Reader;
        let token = crate::interface::token(&key, role, now, until).unwrap().to_text();
        let folded = format!(" {}\n{}\n", &token[..50], &token[50..]);
        let options = ClientOptions::default().token(&folded);
        let headers = options.headers().unwrap();
        assert_eq!(headers[AUTHORIZATION], format!("Bearer {token}"));
        assert!(headers[AUTHORIZATION].is_sensitive());
        let client = super::super::Client::with("http://127.0.0.1:1", &options).unwrap();
        for shown in [format!("{options:?}"), format!("{headers:?}"), format!("{client:?}")] {
            assert!(!shown.contains(&token[..50]) && !shown.contains(&token[50..]), "{shown}");
        }
        let torn = ClientOptions::default().token(&token[..60]).headers().unwrap_err();
        assert!(matches!(torn, ClientError::Token(TokenError::Torn { .. })), "{torn}");
    }

    #[test]
    fn files_are_read_only_if_they_matter() {
        let options = ClientOptions::default().ca("nowhere").identity("nowhere", "nowhere");
        assert!(options.tls(false).is_ok());
        assert!(matches!(options.tls(true), Err(ClientError::Tls(_))));
    }
}
