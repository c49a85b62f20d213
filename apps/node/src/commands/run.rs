//! `aether run`.

use std::{
    io::{self, IsTerminal as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use aether_mesh::{Multiaddr, Node};
use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{
    api::{self, Stopping},
    client::ApiFile,
    config::{Log, LogFormat, Settings},
    output,
};

/// How long the node may take to stop, beyond what it takes to flush.
const SHUTDOWN: Duration = Duration::from_secs(8);

pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    start_log(&settings.log);
    prepare(&settings.data).with_context(|| {
        let data = settings.data.display();
        format!("can't use the data folder {data}; choose another with --data")
    })?;
    let listener = bind(&settings).await?;
    let url = format!("http://{}", listener.local_addr()?);
    // Caught before the node starts, so that a stop is orderly from the first moment.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let node = settings.builder().spawn().await.context("can't start the node")?;
    let (stop, stopping) = Stopping::new();
    let router = api::router(node.clone(), settings.api.hosts.clone(), stopping.clone());
    #[expect(clippy::disallowed_methods, reason = "joined below, once it was told to stop")]
    let server = tokio::spawn(api::serve(listener, router, stopping));
    let peer = node.id().to_string();
    let file = ApiFile { api: url.clone(), pid: std::process::id(), peer };
    file.write(&settings.data).context("can't write api.json into the data folder")?;
    greet(&node, &settings, &url).await?;

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    let _ = stop.send(true);
    let stopped = async {
        let _ = server.await;
        tokio::time::timeout(SHUTDOWN, node.shutdown()).await
    };
    tokio::select! {
        stopped = stopped => if stopped.is_err() {
            tracing::warn!("the node did not stop in time");
        },
        // Whoever asks twice doesn't want to wait.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    file.remove(&settings.data);
    Ok(())
}
