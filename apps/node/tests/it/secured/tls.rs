//! TLS: the node's own certificate, given ones, and clients that must show theirs.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use aether_node::{ApiFile, Client, ClientError, ClientOptions};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::{elsewhere, own_certificate, token};
use crate::support::{DEADLINE, Node, aether, failure, http, output, stderr, within};

/// Somebody who vouches for others, and a folder of what they made.
struct Authority {
    certificate: Certificate,
    key: KeyPair,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("there is randomness");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it is sound");
        let folder = tempfile::tempdir().expect("there is room");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("there is room");
        Self { certificate, key, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Files with a certificate for this name, and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("there is randomness");
        let mut params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.certificate, &self.key);
        let at = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        fs::write(at("pem"), certificate.expect("it is sound").pem()).expect("there is room");
        fs::write(at("key"), key.serialize_pem()).expect("there is room");
        (at("pem"), at("key"))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_own_certificate_is_trusted_through_its_files() {
    let flags = ["--api-tls", "--api-auth", "token"];
    let node = Node::start("own", &flags).await;
    let url = node.client.url().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    assert!(output(&mut node.aether(&["status"])).status.success());
    let certificate = own_certificate(node.home.path());
    let reader = token(node.home.path(), "reader");
    let trusting = ["status", "--api", &url, "--token", &reader, "--ca", text(&certificate)];
    let shown = elsewhere(&trusting);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let localhost = url.replace("127.0.0.1", "localhost");
    let named = ["status", "--api", &localhost, "--token", &reader, "--ca", text(&certificate)];
    let shown = elsewhere(&named);
    assert!(shown.status.success(), "{}", stderr(&shown));
    // Neither the system nor another authority vouches for it.
    let message = failure(&elsewhere(&["status", "--api", &url, "--token", &reader]), 3);
    assert!(message.contains("--ca"), "{message}");
    let other = Authority::new("other");
    let ca = other.ca();
    let wrong = ["status", "--api", &url, "--token", &reader, "--ca", text(&ca)];
    let message = failure(&elsewhere(&wrong), 3);
    assert!(message.contains("isn't trusted") && message.contains("api-tls.pem"), "{message}");

    let first = ApiFile::read(&node.data()).unwrap().unwrap().certificate;
    let Node { mut program, home, .. } = node;
    program.signal("TERM");
    assert!(program.ended().await.success());
    let node = Node::start_in(home, "own", &flags).await;
    assert_eq!(ApiFile::read(&node.data()).unwrap().unwrap().certificate, first, "it is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_with_the_wrong_scheme_is_told_so() {
    let (open, secret) = (Node::start("a", &[]).await, Node::start("b", &["--api-tls"]).await);
    let clear = secret.client.url().replace("https://", "http://");
    let message = failure(&elsewhere(&["status", "--api", &clear]), 1);
    assert!(message.contains("begins with https://"), "{message}");
    let response = http().get(format!("{clear}/v1/status")).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let wrapped = open.client.url().replace("http://", "https://");
    let ca = own_certificate(secret.home.path());
    let message = failure(&elsewhere(&["status", "--api", &wrapped, "--ca", text(&ca)]), 3);
    assert!(message.contains("begin with http://"), "{message}");
    // Whoever says nothing at all keeps nobody else waiting, and is put off in the end.
    let address = secret.client.url().strip_prefix("https://").unwrap();
    let silent: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    within("an answer", secret.client.status()).await.unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        for mut stream in silent {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            match stream.read(&mut [0; 16]) {
                Ok(read) => assert_eq!(read, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
    });
    within("the silent ones to be put off", reading).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_certificate_is_shown_whatever_its_name() {
    let authority = Authority::new("authority");
    let (certificate, key) = authority.issue("localhost");
    let flags = ["--api-certificate", text(&certificate), "--api-key", text(&key)];
    let node = Node::start("given", &flags).await;
    assert!(!own_certificate(node.home.path()).exists());
    // The file says which certificate it is, so its names don't matter here; elsewhere they do.
    assert!(node.client.url().starts_with("https://127.0.0.1:"));
    node.client.status().await.unwrap();
    let ca = authority.ca();
    let localhost = node.client.url().replace("127.0.0.1", "localhost");
    let shown = elsewhere(&["status", "--api", &localhost, "--ca", text(&ca)]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let message =
        failure(&elsewhere(&["status", "--api", node.client.url(), "--ca", text(&ca)]), 3);
    assert!(message.contains("not valid for name"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_certificates_where_they_must() {
    let (authority, stranger) = (Authority::new("clients"), Authority::new("strangers"));
    let ca = authority.ca();
    let node = Node::start("mutual", &["--api-tls", "--api-client-ca", text(&ca)]).await;
    let message = failure(&output(&mut node.aether(&["status"])), 3);
    assert!(message.contains("none was shown"), "{message}");
    assert!(message.contains("--cert FILE") && message.contains("--key FILE"), "{message}");
    let (certificate, key) = authority.issue("alice");
    let shown = ["status", "--cert", text(&certificate), "--key", text(&key)];
    let shown = output(&mut node.aether(&shown));
    assert!(shown.status.success(), "{}", stderr(&shown));
    let (other, other_key) = stranger.issue("mallory");
    let unknown = ["status", "--cert", text(&other), "--key", text(&other_key)];
    let message = failure(&output(&mut node.aether(&unknown)), 3);
    assert!(message.contains("not trusted there"), "{message}");
    let mixed = ["status", "--cert", text(&certificate), "--key", text(&other_key)];
    let message = failure(&output(&mut node.aether(&mixed)), 2);
    assert!(message.contains("isn't the key of"), "{message}");
    // The same from Rust, many times: that the answer is read is no luck.
    let trusting = ClientOptions::default().ca(own_certificate(node.home.path()));
    let known = trusting.clone().identity(&certificate, &key);
    Client::with(node.client.url(), &known).unwrap().status().await.unwrap();
    for _ in 0..20 {
        let unknown = Client::with(node.client.url(), &trusting).unwrap();
        let error = unknown.status().await.unwrap_err();
        assert!(matches!(error, ClientError::Certificate { .. }), "{error:?}");
    }
}

#[test]
fn what_can_not_be_secured_is_refused_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let run = |flags: &[&str]| {
        let mut command = aether(home.path());
        failure(&output(command.args(["run", "--preset", "local"]).args(flags)), 2)
    };
    let message = run(&["--api", "0.0.0.0:0"]);
    assert!(message.contains("--api: `api.listen`"), "{message}");
    assert!(message.contains("api.auth = \"token\"") && message.contains("127.0.0.1"), "{message}");
    let message = run(&["--api", "[::]:0", "--api-tls"]);
    assert!(message.contains("api.auth"), "{message}");
    let message = run(&["--api-certificate", "c.pem"]);
    assert!(message.contains("api.key"), "{message}");
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let ((certificate, key), (_, other)) = (one.issue("localhost"), two.issue("localhost"));
    let junk = home.path().join("junk");
    fs::write(&junk, "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n").unwrap();
    let nowhere = home.path().join("nowhere");
    for (certificate, key, of, words) in [
        (&nowhere, &key, "api.certificate", "No such file"),
        (&certificate, &nowhere, "api.key", "No such file"),
        (&key, &key, "api.", "BEGIN CERTIFICATE"),
        (&certificate, &certificate, "api.", "private key"),
        (&junk, &key, "api.certificate", "PEM"),
        (&certificate, &other, "api.key", "isn't the key of the certificate in"),
    ] {
        let flags = ["--api-certificate", text(certificate), "--api-key", text(key)];
        let message = run(&flags);
        assert!(message.contains(of) && message.contains(words), "{message}");
        let mut check = aether(home.path());
        check.args(["config", "check"]).env("AETHER_API__CERTIFICATE", certificate);
        let message = failure(&output(check.env("AETHER_API__KEY", key)), 2);
        assert!(message.contains(words), "{message}");
    }
    let message = run(&["--api-tls", "--api-client-ca", text(&junk)]);
    assert!(message.contains("--api-client-ca: `api.client_ca`"), "{message}");
    fs::write(home.path().join("c.toml"), "[api]\ntls = true\nhosts = ['a/b']\n").unwrap();
    let message = run(&["--config", "c.toml"]);
    assert!(message.contains("`api.hosts`") && message.contains("a/b"), "{message}");
    assert!(!crate::support::data(home.path()).exists(), "nothing was begun");
}
