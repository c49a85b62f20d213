//! `aether blob`.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use comfy_table::{Cell, Color};
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::AsyncWriteExt as _;

use super::Connected;
use crate::{
    api::{Blob as Held, BlobAdded, BlobEvent},
    cli::{Blob, Common, NoNode, Output, Remote},
    client::Events,
    output,
};

pub(crate) async fn blob(common: &Common, command: Blob) -> anyhow::Result<()> {
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => bail!("stopped; what has come is kept"),
        result = run(common, command) => result,
    }
}

async fn run(common: &Common, command: Blob) -> anyhow::Result<()> {
    match command {
        Blob::Add { path, pin, remote } => add(common, &remote, &path, pin.as_deref()).await,
        Blob::Get { id, path, from, remote } => {
            get(common, &remote, &id, path.as_deref(), from.as_deref()).await
        }
        Blob::Cat { id, remote } => cat(common, &remote, &id).await,
        Blob::List { remote } => list(common, &remote).await,
        Blob::Pin { id, name, content, remote } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.pin_blob(&id, &name, content).await)
        }
        Blob::Unpin { id, name, remote } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.unpin_blob(&id, &name).await)
        }
        Blob::Remove { id, remote } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.remove_blob(&id).await)
        }
    }
}

async fn add(
    common: &Common,
    remote: &Remote,
    path: &Path,
    pin: Option<&str>,
) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let path = path.canonicalize().with_context(|| format!("can't add {}", path.display()))?;
    let events = node.explain(node.client.add_blob(&path, pin).await)?;
    let added = follow(events, "adding").await?;
    if common.output == Output::Json {
        return Ok(output::json(&added)?);
    }
    Ok(output::line(&added.id)?)
}

async fn get(
    common: &Common,
    remote: &Remote,
    id: &str,
    path: Option<&Path>,
    from: Option<&str>,
) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    // Said before the work, not after it.
    let path: Option<PathBuf> = path.map(std::path::absolute).transpose()?;
    if let Some(path) = path.as_ref().filter(|path| path.exists()) {
        bail!("{} is there already; choose a new name", path.display());
    }
    let events = node.explain(node.client.get_blob(id, from).await)?;
    let got = follow(events, "getting").await?;
    if let Some(path) = &path {
        node.explain(node.client.export_blob(id, path).await)?;
        output::note(&format!("written to {}", path.display()));
    }
    if common.output == Output::Json {
        return Ok(output::json(&got)?);
    }
    Ok(())
}

async fn cat(common: &Common, remote: &Remote, id: &str) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let mut bytes = node.explain(node.client.read_blob(id).await)?;
    let mut out = tokio::io::stdout();
    while let Some(piece) = bytes.next().await {
        out.write_all(&piece?).await?;
    }
    Ok(out.flush().await?)
}

/// Shows how far it is, until it is done.
async fn follow(mut events: Events<BlobEvent>, what: &'static str) -> anyhow::Result<BlobAdded> {
    let bar = bar(what);
    while let Some(event) = events.next().await {
        match event? {
            BlobEvent::Progress { done, of } => {
                if let Some(of) = of {
                    bar.set_length(of);
                }
                bar.set_position(done);
            }
            BlobEvent::Added(added) => {
                bar.finish_and_clear();
                return Ok(added);
            }
            BlobEvent::Failed { error } => {
                bar.abandon();
                bail!("{error}");
            }
        }
    }
    Err(NoNode("the node has stopped".to_owned()).into())
}

/// A bar on a terminal, and nothing elsewhere.
fn bar(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    const STYLE: &str = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(STYLE).expect("the template is sound");
    ProgressBar::new(0).with_style(style).with_message(what)
}

async fn list(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let held = node.explain(node.client.blobs().await)?;
    if common.output == Output::Json {
        return Ok(output::json(&held)?);
    }
    if held.blobs.is_empty() {
        output::note("no blobs yet; `aether blob add PATH` adds one");
        return Ok(());
    }
    let mut table = output::table(&["BLOB", "SIZE", "HELD", "PINS"]);
    for blob in &held.blobs {
        table.add_row(row(blob));
    }
    output::line(&table.trim_fmt())?;
    let used = indicatif::HumanBytes(held.used);
    output::note(&format!("{used} on disk"));
    Ok(())
}

fn row(blob: &Held) -> Vec<Cell> {
    let held = match blob.is_whole {
        true => Cell::new("all").fg(Color::Green),
        false => {
            let percent = 100.0 * blob.held as f64 / blob.size.max(1) as f64;
            Cell::new(format!("{percent:.0} %")).fg(Color::Yellow)
        }
    };
    let pins = match (blob.pins.is_empty(), blob.kept) {
        (false, _) => blob.pins.join(" "),
        (true, true) => "(by a collection)".to_owned(),
        (true, false) => "-".to_owned(),
    };
    let size = indicatif::HumanBytes(blob.size).to_string();
    vec![Cell::new(&blob.id), Cell::new(size), held, Cell::new(output::plain(&pins))]
}
