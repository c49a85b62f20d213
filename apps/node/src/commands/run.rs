//! `aether run`.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, IsTerminal as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    time::Duration,
};

use aether_mesh::Node;
use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{
    admin::Admin,
    api::{self, Stopping},
    client::ApiFile,
    config::{Log, LogFormat, Settings, default_data},
    output,
};

/// How long the node may take to stop, beyond what it takes to flush.
const SHUTDOWN: Duration = Duration::from_secs(12);

pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    start_log(&settings.log);
    prepare(&settings.data).with_context(|| {
        let data = settings.data.display();
        format!("can't use the data folder {data}; choose another with --data")
    })?;
    let listener = bind(settings.api.listen).await?;
    let url = format!("http://{}", reachable(listener.local_addr()?));
    // Caught before the node starts, so that a stop is orderly from the first moment.
    let mut signals = Signals::catch()?;
    let mut builder = settings.builder();
    if let Some(folder) = &settings.access.admin {
        let admin = Admin::open(folder)?;
        builder = builder.genesis(admin.genesis).admin_key(admin.key);
    }
    let node = builder.spawn().await.context("can't start the node")?;
    let (stop, stopping) = Stopping::new();
    let router = api::router(node.clone(), settings.api.hosts.clone(), stopping.clone());
    #[expect(clippy::disallowed_methods, reason = "joined below, once it was told to stop")]
    let server = tokio::spawn(api::serve(listener, router, stopping));
    let file = ApiFile { api: url, pid: std::process::id(), peer: node.id().to_string() };
    file.write(&settings.data).context("can't write api.json into the data folder")?;
    greet(&node, &settings, &file).await?;

    signals.next().await;
    tracing::info!("stopping");
    let _ = stop.send(true);
    let stopped = async {
        let _ = server.await;
        if tokio::time::timeout(SHUTDOWN, node.shutdown()).await.is_err() {
            tracing::warn!("the node did not stop in time");
        }
    };
    let again = tokio::select! {
        () = stopped => false,
        () = signals.next() => true,
    };
    file.remove(&settings.data);
    anyhow::ensure!(!again, "told to stop twice, so what was not sent yet is lost");
    Ok(())
}

/// The signals that ask for a stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn start_log(log: &Log) {
    let log_lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.filter))
        .with_writer(io::stderr)
        // Said on the very stream that failed: it would end the program.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && !output::no_color());
    match log.format {
        LogFormat::Human => log_lines.init(),
        LogFormat::Json => log_lines.json().init(),
    }
}

/// Makes the folder, for its owner only, and tries to write into it: all that is to come needs it.
fn prepare(data: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let trial = data.join(format!(".trial-{}", std::process::id()));
    OpenOptions::new().write(true).create(true).truncate(true).open(&trial)?;
    fs::remove_file(&trial)
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "can't listen for the interface on {address}; choose another address with --api, or \
             a free port with --api 127.0.0.1:0"
        )
    })?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "the interface can be reached from other machines, and has no authentication: whoever \
             reaches it controls this node"
        );
    }
    Ok(listener)
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

/// Says that the node is up, where it is, and what to do next.
async fn greet(node: &Node, settings: &Settings, file: &ApiFile) -> anyhow::Result<()> {
    let addresses = node.addresses().await?;
    let mesh = match node.access() {
        Some(own) => format!("{}, closed, as {}", node.config().genesis.name(), own.role),
        None => node.config().genesis.name().to_owned(),
    };
    if settings.log.format == LogFormat::Json {
        tracing::info!(
            peer = %node.id(), mesh, ?addresses, api = file.api, "node is up"
        );
        return Ok(());
    }
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let addresses = addresses.join("\n           ");
    let (peer, api, data) = (node.id(), &file.api, settings.data.display());
    let program = match default_data().is_some_and(|default| default == settings.data) {
        true => "aether".to_owned(),
        false => format!("aether --data {data}"),
    };
    output::note(&format!(
        "\n\
         peer       {peer}\n\
         mesh       {mesh}\n\
         addresses  {addresses}\n\
         interface  {api}\n\
         data       {data}\n\
         \n\
         try        {program} status\n\
         \x20          {program} topic subscribe greetings\n\
         \x20          echo hello | {program} topic publish greetings\n\
         stop       Ctrl-C\n"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_over_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn a_folder_is_made_for_its_owner_and_left_clean() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        prepare(&data).unwrap();
        prepare(&data).unwrap();
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    }
}
