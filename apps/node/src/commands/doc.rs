//! `aether doc`.

mod difference;
mod edit;
mod presence;
mod version;
mod watch;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use comfy_table::{Cell, Color};

use self::difference::difference;
use super::Connected;
use crate::{
    api::DocumentTurn,
    cli::{Common, Doc, Output, Paper},
    output,
};

/// Digits of a change's hash that people see.
const DIGITS: usize = 16;

pub(crate) async fn doc(common: &Common, command: Doc) -> anyhow::Result<()> {
    // While an editor runs, Ctrl-C is the editor's.
    if let Doc::Edit(paper) = &command {
        return edit::edit(common, paper).await;
    }
    // What is said while this runs is taken back when it is stopped.
    if let Doc::Presence(attending) = &command {
        return presence::presence(common, attending).await;
    }
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => Ok(()),
        result = run(common, command) => result,
    }
}

async fn run(common: &Common, command: Doc) -> anyhow::Result<()> {
    match command {
        Doc::Show { paper, at } => show(common, &paper, at.as_deref()).await,
        Doc::Edit(paper) => edit::edit(common, &paper).await,
        Doc::Write { paper, file } => write(common, &paper, &file).await,
        Doc::Watch(watching) => watch::watch(common, &watching).await,
        Doc::History(paper) => history(common, &paper).await,
        Doc::Diff { paper, from, to } => diff(common, &paper, &from, to.as_deref()).await,
        Doc::Undo(paper) => {
            let node = connected(common, &paper)?;
            let turn = node.client.undo_document(&paper.space, &paper.name).await;
            let none = "nothing to take back: no edit of this node is remembered; `aether doc \
                        history` names what was before, and `aether doc show --at` prints it";
            turned(common, node.explain(turn)?, none)
        }
        Doc::Redo(paper) => {
            let node = connected(common, &paper)?;
            let turn = node.client.redo_document(&paper.space, &paper.name).await;
            let none = "nothing to do again: no undo is remembered, or something was edited since";
            turned(common, node.explain(turn)?, none)
        }
        Doc::Copy { paper, to } => copy(common, &paper, &to).await,
        Doc::Presence(attending) => presence::presence(common, &attending).await,
    }
}

async fn copy(common: &Common, paper: &Paper, to: &str) -> anyhow::Result<()> {
    if matches!(to, "" | "." | "..") {
        bail!("the name {to:?} can't be in a URL; take another for the copy");
    }
    let node = connected(common, paper)?;
    let copied = node.client.copy_document(&paper.space, &paper.name, to).await;
    let copied = node.explain(copied)?;
    match common.output {
        Output::Json => output::json(&copied)?,
        Output::Table => {
            let (from, to) = (output::plain(&paper.name), output::plain(to));
            output::note(&format!("{to} has what {from} shows; tell everybody to go on there"));
        }
    }
    Ok(())
}

/// The node, for a document that a URL can name.
fn connected(common: &Common, paper: &Paper) -> anyhow::Result<Connected> {
    if matches!(paper.name.as_str(), "" | "." | "..") {
        bail!("the name {:?} can't be in a URL; take another for the document", paper.name);
    }
    Connected::new(common, &paper.remote)
}

fn turned(common: &Common, turn: DocumentTurn, none: &str) -> anyhow::Result<()> {
    match (common.output, turn.done) {
        (Output::Json, _) => output::json(&turn)?,
        (Output::Table, true) => output::note("done"),
        (Output::Table, false) => output::note(none),
    }
    Ok(())
}

async fn show(common: &Common, paper: &Paper, at: Option<&str>) -> anyhow::Result<()> {
    let node = connected(common, paper)?;
    let at = version::found(&node, paper, at).await?;
    if common.output == Output::Json {
        let found = node.client.document(&paper.space, &paper.name, at.as_deref()).await;
        return Ok(output::json(&node.explain(found)?)?);
    }
    let text = node.client.document_text(&paper.space, &paper.name, at.as_deref()).await;
    let text = node.explain(text)?;
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        out.write_all(text.as_bytes())?;
        return Ok(out.flush()?);
    }
    text.lines().try_for_each(|line| writeln!(out, "{}", output::plain(line)))?;
    Ok(out.flush()?)
}

async fn write(common: &Common, paper: &Paper, file: &Path) -> anyhow::Result<()> {
    let node = connected(common, paper)?;
    let source = file.to_owned();
    // Where it may take as long as it likes, and Ctrl-C ends it.
    let text = tokio::task::spawn_blocking(move || match source.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(source),
    });
    let text =
        text.await?.with_context(|| format!("can't read the text from {}", file.display()))?;
    let written = node.client.write_document(&paper.space, &paper.name, None, text).await;
    let written = node.explain(written)?;
    if common.output == Output::Json {
        output::json(&written)?;
    }
    Ok(())
}

async fn history(common: &Common, paper: &Paper) -> anyhow::Result<()> {
    let node = connected(common, paper)?;
    let changes = node.client.document_history(&paper.space, &paper.name).await;
    let changes = node.explain(changes)?;
    if common.output == Output::Json {
        return Ok(output::json(&changes)?);
    }
    if changes.is_empty() {
        output::note("no changes yet; `aether doc edit` or `aether doc write` makes the first");
        return Ok(());
    }
    let mut table = output::table(&["TIME", "AUTHOR", "OPERATIONS", "CHANGE"]);
    for change in &changes {
        let hash = change.change.get(..DIGITS).unwrap_or(&change.change);
        let hash = match change.counts {
            true => Cell::new(hash),
            false => Cell::new(format!("{hash} set aside, as its author forked")).fg(Color::Red),
        };
        table.add_row([
            Cell::new(output::plain(&change.time)),
            Cell::new(change.author),
            Cell::new(change.operations),
            hash,
        ]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

async fn diff(common: &Common, paper: &Paper, from: &str, to: Option<&str>) -> anyhow::Result<()> {
    let node = connected(common, paper)?;
    let names = (from, to.unwrap_or("now"));
    let from = version::found(&node, paper, Some(from)).await?;
    let to = version::found(&node, paper, to).await?;
    let text = async |at: Option<Vec<String>>| {
        let text = node.client.document_text(&paper.space, &paper.name, at.as_deref()).await;
        node.explain(text)
    };
    let (from, to) = (text(from).await?, text(to).await?);
    if common.output == Output::Json {
        let texts = serde_json::json!({ "from": from, "to": to });
        return Ok(output::json(&texts)?);
    }
    let mut out = io::stdout().lock();
    let difference = difference(&from, &to, 3, output::is_coloured());
    if difference.is_empty() {
        output::note("no difference");
        return Ok(());
    }
    let name = output::plain(&paper.name);
    writeln!(out, "--- {name} {}\n+++ {name} {}", names.0, names.1)?;
    out.write_all(difference.as_bytes())?;
    Ok(out.flush()?)
}
