//! `aether status` and `aether peers`.

use aether_mesh::{Direction, access::Wall};
use comfy_table::{Cell, Color};

use super::Connected;
use crate::{
    api::{Access, Peer, PeerState},
    cli::{Common, Output, Remote},
    output,
};

pub(crate) async fn status(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let status = node.explain(node.client.status().await)?;
    if common.output == Output::Json {
        return Ok(output::json(&status)?);
    }
    let lines = |texts: Vec<String>| match texts.is_empty() {
        true => "-".to_owned(),
        false => texts.iter().map(|text| output::plain(text)).collect::<Vec<_>>().join("\n"),
    };
    let mut table = output::table(&["NODE", &status.peer.to_string()]);
    let addresses = status.addresses.iter().map(ToString::to_string).collect();
    for (name, value) in [
        ("mesh", format!("{} ({})", output::plain(&status.mesh.name), &status.mesh.id)),
        ("access", access(status.access.as_ref())),
        ("version", status.version),
        ("up for", output::duration(status.uptime_seconds)),
        ("interface", node.client.url().to_owned()),
        ("peers", format!("{} connected, {} members", status.connections, status.members)),
        ("roles", lines(status.roles)),
        ("topics", lines(status.topics)),
        ("addresses", lines(addresses)),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

fn access(access: Option<&Access>) -> String {
    let Some(access) = access else { return "open to everybody".to_owned() };
    let until = Wall::from_secs(access.expires);
    let mut text = format!("closed; this node is {} until {until}", access.role);
    if access.provisional {
        text.push_str(", as no admin's node has made it a full member yet");
    }
    if let Some(why) = &access.refused {
        text.push_str(&format!("\nlast refused: {}", output::plain(why)));
    }
    text
}

pub(crate) async fn peers(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let peers = node.explain(node.client.peers().await)?;
    if common.output == Output::Json {
        return Ok(output::json(&peers)?);
    }
    if peers.is_empty() {
        output::note("no peers yet");
        return Ok(());
    }
    let header = ["PEER", "STATE", "LINK", "LATENCY", "SEEN", "SCORE", "ROLES", "AGENT", "ADDRESS"];
    let mut table = output::table(&header);
    for peer in &peers {
        table.add_row(row(peer));
    }
    Ok(output::line(&table.trim_fmt())?)
}

fn row(peer: &Peer) -> Vec<Cell> {
    let (state, color) = match peer.state {
        PeerState::Alive => ("alive", Color::Green),
        PeerState::Suspect => ("suspect", Color::Red),
        PeerState::Connected => ("connected", Color::Yellow),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        Cell::new(peer.peer),
        Cell::new(state).fg(color),
        Cell::new(link(peer)),
        Cell::new(or_dash(peer.latency_ms.map(|latency| format!("{latency:.1} ms")))),
        Cell::new(or_dash(peer.last_seen_seconds.map(output::duration))),
        Cell::new(or_dash(peer.score.map(|score| format!("{score:.1}")))),
        Cell::new(output::plain(&peer.roles.join(","))),
        Cell::new(output::plain(&peer.agent)),
        Cell::new(or_dash(peer.addresses.first().map(ToString::to_string))),
    ]
}

fn link(peer: &Peer) -> &'static str {
    match (peer.direction, peer.relayed) {
        (None, _) => "-",
        (Some(Direction::Inbound), Some(true)) => "in, relayed",
        (Some(Direction::Inbound), _) => "in",
        (Some(Direction::Outbound), Some(true)) => "out, relayed",
        (Some(Direction::Outbound), _) => "out",
    }
}
