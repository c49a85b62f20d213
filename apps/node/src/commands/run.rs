//! `aether run`.

mod interface;

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, IsTerminal as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use aether_crdt::Spaces;
use aether_mesh::{Node, access::wall_now, identity};
use aether_store::Ending;
use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use self::interface::{Told, bind, secure, url};
use crate::{
    admin::Admin,
    api::{self, Stopping},
    client::ApiFile,
    commands::repair,
    config::{Auth, Loaded, Log, LogFormat, Settings, default_data},
    interface::Interface,
    output,
};

/// How long the node may take to stop, beyond what it takes to flush.
const SHUTDOWN: Duration = Duration::from_secs(12);

/// How long the store may take to come to an orderly end after the node has.
const ENDING: Duration = Duration::from_secs(30);

/// Runs a node until it is told to stop. It has ended when its store has.
pub(crate) fn run(runtime: Runtime, loaded: &Loaded) -> anyhow::Result<()> {
    let ending = runtime.block_on(run_node(loaded))?;
    // What still runs, and is cut here, may have the store open.
    drop(runtime);
    if !ending.wait(ENDING) {
        tracing::warn!("the store did not end in time: the next start can't tell what is damaged");
    }
    Ok(())
}

async fn run_node(loaded: &Loaded) -> anyhow::Result<Ending> {
    let settings = &loaded.settings;
    start_log(&settings.log);
    let files = loaded.tls_files()?;
    prepare(&settings.data).with_context(|| {
        let data = settings.data.display();
        format!("can't use the data folder {data}; choose another with --data")
    })?;
    let listener = bind(settings).await?;
    let api = url(listener.local_addr()?, settings.api.is_tls());
    // Caught before the node starts, so that a stop is orderly from the first moment.
    let mut signals = Signals::catch()?;
    let node = spawn(settings).await.map_err(hint)?;
    let ending = node.store().ending();
    let spaces = Spaces::open(&node).await.context("can't open the spaces").map_err(hint)?;
    let key = identity::load(&settings.data.join("identity.key"))?;
    let interface = Interface::open(&settings.data, key.public(), wall_now())
        .context("it isn't known which tokens of the interface are revoked")?;
    let interface = Arc::new(interface);
    let (tls, certificate) = secure(settings, files, &node.id())?.unzip();
    let (stop, stopping) = Stopping::new();
    let (own, shared) = (node.clone(), interface.clone());
    let router = api::router(own, spaces, shared, &settings.api, stopping.clone());
    #[expect(clippy::disallowed_methods, reason = "joined below, once it was told to stop")]
    let server = tokio::spawn(api::serve(listener, router, tls, stopping));
    let (pid, peer) = (std::process::id(), node.id().to_string());
    let file = ApiFile { api, pid, peer, token: None, certificate };
    let key = (settings.api.auth == Auth::Token).then_some(key);
    let mut told = Told::write(file, settings.data.clone(), key)?;
    // A command that saw no file yet has written what it revoked to disk, and not told this node.
    interface.reload(wall_now())?;
    greet(&node, settings, told.file()).await?;

    tokio::select! {
        () = signals.next() => {}
        () = told.keep() => {}
    }
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
    told.remove();
    anyhow::ensure!(!again, "told to stop twice, so what was not sent yet is lost");
    Ok(ending)
}

/// Says so if a repair may help.
fn hint(error: anyhow::Error) -> anyhow::Error {
    match repair::may_help(&error) {
        true => error.context("the data folder is damaged; see `aether repair --help`"),
        false => error,
    }
}

async fn spawn(settings: &Settings) -> anyhow::Result<Node> {
    anyhow::ensure!(
        !repair::is_interrupted(&settings.data),
        "a repair was interrupted: run `aether repair` again to finish it"
    );
    let mut builder = settings.builder();
    if let Some(folder) = &settings.access.admin {
        let admin = Admin::open(folder)?;
        builder = builder.genesis(admin.genesis).admin_key(admin.key);
    }
    builder.spawn().await.context("can't start the node")
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
