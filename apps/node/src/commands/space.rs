//! `aether space`.

mod archive;

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use comfy_table::{Cell, Color};
use indicatif::HumanBytes;

use super::Connected;
use crate::{
    api,
    cli::{Common, Output, Remote, Space},
    output,
};

pub(crate) async fn space(common: &Common, command: Space) -> anyhow::Result<()> {
    let copies = matches!(command, Space::Export { .. } | Space::Import { .. });
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => match copies {
            true => bail!("stopped"),
            false => Ok(()),
        },
        result = run(common, command) => result,
    }
}

async fn run(common: &Common, command: Space) -> anyhow::Result<()> {
    match command {
        Space::Create { name, access, remote } => {
            let node = Connected::new(common, &remote)?;
            let created = node.client.create_space_as(&name, access).await;
            founded(common, &node.explain(created)?)
        }
        Space::Join { ticket, remote } => {
            let ticket = ticket_of(ticket)?;
            let node = Connected::new(common, &remote)?;
            founded(common, &node.explain(node.client.join_space(&ticket).await)?)
        }
        Space::List(remote) => list(common, &remote).await,
        Space::Show { space, remote } => show(common, &remote, &space).await,
        Space::Members { space, remote } => members(common, &remote, &space).await,
        Space::Grant { space, peer, role, remote } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.grant_space(&space, &peer, role).await)
        }
        Space::Expel { space, peer, remote } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.expel_space(&space, &peer).await)
        }
        Space::Export { space, file, force, remote } => {
            archive::export(common, &remote, &space, &file, force).await
        }
        Space::Import { file, remote } => archive::import(common, &remote, &file).await,
        Space::Compact { space, dry_run, remote } => {
            compact(common, &remote, &space, dry_run).await
        }
        Space::Close { space, remote } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.close_space(&space).await)
        }
        Space::Open { space, remote } => {
            let node = Connected::new(common, &remote)?;
            founded(common, &node.explain(node.client.open_space(&space).await)?)
        }
        Space::Delete { space, yes, remote } => {
            let node = Connected::new(common, &remote)?;
            if !yes {
                confirm(&space)?;
            }
            node.explain(node.client.delete_space(&space).await)
        }
        Space::Ticket { space, remote } => {
            let node = Connected::new(common, &remote)?;
            let ticket = node.explain(node.client.space_ticket(&space).await)?;
            match common.output {
                Output::Json => Ok(output::json(&ticket)?),
                Output::Table => Ok(output::line(&ticket.ticket)?),
            }
        }
    }
}

/// The ticket that was given, or that comes by the input.
pub(super) fn ticket_of(mut text: String) -> anyhow::Result<String> {
    if text == "-" {
        text.clear();
        io::stdin().read_to_string(&mut text).context("can't read the ticket")?;
    }
    Ok(text.trim().to_owned())
}

/// Prints the id of a space that is here now.
fn founded(common: &Common, space: &api::Space) -> anyhow::Result<()> {
    match common.output {
        Output::Json => Ok(output::json(space)?),
        Output::Table => Ok(output::line(&space.id)?),
    }
}

async fn list(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let spaces = node.explain(node.client.spaces().await)?;
    if common.output == Output::Json {
        return Ok(output::json(&spaces)?);
    }
    if spaces.spaces.is_empty() && spaces.closed.is_empty() {
        output::note("no spaces yet; `aether space create NAME` founds one");
        return Ok(());
    }
    let mut table = output::table(&["NAME", "ENTRIES", "FEEDS", "PEERS", "ID"]);
    for space in &spaces.spaces {
        let status = &space.status;
        table.add_row([
            Cell::new(output::plain(&space.name)),
            Cell::new(status.entries),
            Cell::new(status.feeds),
            Cell::new(status.peers),
            Cell::new(&space.id),
        ]);
    }
    for space in &spaces.closed {
        let closed = Cell::new("closed").fg(Color::Yellow);
        let name = Cell::new(output::plain(&space.name));
        table.add_row([name, closed, Cell::new("-"), Cell::new("-"), Cell::new(&space.id)]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

async fn members(common: &Common, remote: &Remote, space: &str) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let members = node.explain(node.client.space_members(space).await)?;
    if common.output == Output::Json {
        return Ok(output::json(&members)?);
    }
    if members.members.is_empty() {
        output::note("nobody was given a role; `aether space grant` gives one");
        return Ok(());
    }
    let mut table = output::table(&["PEER ID", "ROLE"]);
    for member in &members.members {
        let role = match member.role {
            api::SpaceRole::Reader => "reader",
            api::SpaceRole::Writer => "writer",
            api::SpaceRole::Admin => "admin",
        };
        table.add_row([Cell::new(member.peer), Cell::new(role)]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

async fn compact(
    common: &Common,
    remote: &Remote,
    space: &str,
    dry_run: bool,
) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let bar = archive::spinner("{spinner} looking for what can go, {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(100));
    let compacted = node.client.compact_space(space, dry_run).await;
    bar.finish_and_clear();
    let compacted = node.explain(compacted)?;
    if common.output == Output::Json {
        return Ok(output::json(&compacted)?);
    }
    let api::SpaceCompacted { entries, bytes } = compacted;
    let goes = if dry_run { "would go" } else { "go" };
    output::note(&format!("the payloads of {entries} entries, {}, {goes}", HumanBytes(bytes)));
    Ok(())
}

/// Asks whether a space is meant that is to be deleted.
fn confirm(space: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("nobody is here to ask whether {space:?} is to be deleted; say --yes");
    }
    output::note(&format!(
        "What this node has of the space is deleted, and what only this node has is gone for \
         good.\nType {space} again to delete it:"
    ));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("can't read the answer")?;
    if answer.trim() != space {
        bail!("that isn't {space:?}: nothing is deleted");
    }
    Ok(())
}

async fn show(common: &Common, remote: &Remote, space: &str) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let space = node.explain(node.client.space(space, true).await)?;
    if common.output == Output::Json {
        return Ok(output::json(&space)?);
    }
    let status = &space.status;
    let disk = match status.has_failed {
        true => Cell::new("failed: nothing is written until a restart").fg(Color::Red),
        false => Cell::new("well").fg(Color::Green),
    };
    let mut table = output::table(&["SPACE", &output::plain(&space.name)]);
    for (name, value) in [
        ("id", Cell::new(&space.id)),
        ("entries", Cell::new(status.entries)),
        ("feeds", Cell::new(status.feeds)),
        ("forked", Cell::new(status.forked)),
        ("peers", Cell::new(status.peers)),
        ("role", Cell::new(status.role.as_deref().unwrap_or("none: ask an admin for one"))),
        ("compacting", Cell::new(if status.is_compacting { "still" } else { "no" })),
        ("disk", disk),
        ("digest", Cell::new(&status.digest)),
        ("state", Cell::new(space.state.as_deref().unwrap_or("-"))),
    ] {
        table.add_row([Cell::new(name), value]);
    }
    Ok(output::line(&table.trim_fmt())?)
}
