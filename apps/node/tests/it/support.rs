//! What all tests here share: the real program in a folder of its own, on free ports.

use std::{
    future::Future,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use aether_node::{ApiFile, Client};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tempfile::TempDir;

/// A deadline that only a defect reaches.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a future, and says what was waited for if it doesn't come.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn until<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    within(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The program, in a home of its own and without the tester's variables.
pub(crate) fn aether(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aether"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AETHER_") || name.starts_with("XDG_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

/// A plain HTTP client that needs nothing of this machine, no certificates to trust either.
pub(crate) fn http() -> reqwest::Client {
    let provider = aws_lc_rs::default_provider().into();
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.expect("the versions are the provider's");
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let http = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls);
    http.build().expect("all of that can be had")
}

/// Runs the program to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the output is UTF-8")
}

/// Asserts that the program failed with this code and one plain message, and gives the message.
pub(crate) fn failure(output: &Output, code: i32) -> String {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.lines().any(|line| line.starts_with("error: ")), "{message}");
    assert!(!message.contains("panicked") && !message.contains("backtrace"), "{message}");
    message
}

/// A running program that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    /// Sends a signal by the system's own tool: the standard library has only the hardest one.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the program to end", async {
            loop {
                if let Some(status) = self.0.try_wait().expect("the program is ours") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Its standard output, line by line.
    pub(crate) fn lines(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("the output is piped"))
    }

    pub(crate) fn write(&mut self, text: &str) {
        let input = self.0.stdin.as_mut().expect("the input is piped");
        input.write_all(text.as_bytes()).expect("the program reads");
        input.flush().expect("the program reads");
    }
}

/// Reads one line of a program's output, away from the runtime.
pub(crate) async fn read_line(
    mut from: BufReader<ChildStdout>,
) -> (String, BufReader<ChildStdout>) {
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        from.read_line(&mut line).expect("the output is UTF-8");
        (line, from)
    });
    within("a line of output", reading).await.expect("reading does not panic")
}

/// A running node.
pub(crate) struct Node {
    pub(crate) program: Running,
    pub(crate) client: Client,
    pub(crate) home: TempDir,
}

impl Node {
    /// Starts a node of the mesh with this name, with more flags.
    pub(crate) async fn start(mesh: &str, flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("there is room"), mesh, flags).await
    }

    pub(crate) async fn start_in(home: TempDir, mesh: &str, flags: &[&str]) -> Self {
        let mut command = aether(home.path());
        command.args(["run", "--preset", "local", "--mesh", mesh, "--api", "127.0.0.1:0"]);
        command.args(flags).stderr(Stdio::piped());
        let mut program = Running::start(&mut command);
        let data = data(home.path());
        let file = within("the interface", async {
            loop {
                if let Ok(Some(file)) = ApiFile::read(&data) {
                    return file;
                }
                if let Some(status) = program.0.try_wait().expect("the program is ours") {
                    let mut log = String::new();
                    let _ = program.0.stderr.take().expect("piped").read_to_string(&mut log);
                    panic!("the node ended with {status}: {log}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        // What it logs from now on is read, so that it never waits for room in the pipe.
        let mut log = program.0.stderr.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let client = file.client().expect("the file names the interface");
        Self { program, client, home }
    }

    /// Two connected nodes, each listing the other as a member.
    pub(crate) async fn pair(mesh: &str) -> (Self, Self) {
        let first = Self::start(mesh, &[]).await;
        let seed = first.client.status().await.expect("it runs").addresses[0].to_string();
        let second = Self::start(mesh, &["--seed", &seed]).await;
        for node in [&first, &second] {
            until("the nodes to know each other", || async {
                let peers = node.client.peers().await.expect("it runs");
                peers.iter().any(|peer| peer.connected && peer.last_seen_seconds.is_some())
            })
            .await;
        }
        (first, second)
    }

    /// A command for this node.
    pub(crate) fn aether(&self, arguments: &[&str]) -> Command {
        let mut command = aether(self.home.path());
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn address(&self) -> &str {
        self.client.url().strip_prefix("http://").expect("it is an http URL")
    }

    pub(crate) fn data(&self) -> PathBuf {
        data(self.home.path())
    }
}

pub(crate) fn data(home: &Path) -> PathBuf {
    home.join(".local/share/aether")
}
