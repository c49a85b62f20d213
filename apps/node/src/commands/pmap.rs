//! `aether pmap`.

use anyhow::bail;
use comfy_table::{Cell, Color};
use serde_json::Value;

use super::{
    Connected,
    map::{Shown, parse},
    space::ticket_of,
};
use crate::{
    api::{self, NewPmap, PmapStatus},
    cli::{Common, Output, Pmap, Sheet, Used},
    output,
};

/// Most entries of a page.
const PAGE: usize = 1000;

pub(crate) async fn pmap(common: &Common, command: Pmap) -> anyhow::Result<()> {
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => Ok(()),
        result = run(common, command) => result,
    }
}

async fn run(common: &Common, command: Pmap) -> anyhow::Result<()> {
    match command {
        Pmap::Create { name, partitions, replicas, remote } => {
            let node = Connected::new(common, &remote)?;
            let new = NewPmap { name, partitions, replicas };
            let map = node.explain(node.client.create_pmap(&new).await)?;
            let name = output::plain(&map.name);
            output::note(&format!("no node holds it yet; `aether pmap serve {name}` has this one"));
            founded(common, &map)
        }
        Pmap::Join { ticket, remote } => {
            let node = Connected::new(common, &remote)?;
            let ticket = ticket_of(ticket)?;
            founded(common, &node.explain(node.client.join_pmap(&ticket).await)?)
        }
        Pmap::List(remote) => {
            let node = Connected::new(common, &remote)?;
            list(common, &node.explain(node.client.pmaps().await)?)
        }
        Pmap::Ticket(Sheet { map, remote }) => {
            let node = Connected::new(common, &remote)?;
            let ticket = node.explain(node.client.pmap_ticket(&map).await)?;
            match common.output {
                Output::Json => Ok(output::json(&ticket)?),
                Output::Table => Ok(output::line(&ticket.ticket)?),
            }
        }
        Pmap::Status(Sheet { map, remote }) => {
            let node = Connected::new(common, &remote)?;
            status(common, &node.explain(node.client.pmap_status(&map).await)?)
        }
        Pmap::Members(Sheet { map, remote }) => {
            let node = Connected::new(common, &remote)?;
            members(common, &node.explain(node.client.pmap_members(&map).await)?)
        }
        Pmap::Serve(Sheet { map, remote }) => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.serve_pmap(&map).await)
        }
        Pmap::Retire { sheet: Sheet { map, remote }, deadline } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.retire_pmap(&map, deadline).await)
        }
        Pmap::Expel { sheet: Sheet { map, remote }, peer } => {
            let node = Connected::new(common, &remote)?;
            node.explain(node.client.expel_pmap(&map, &peer).await)
        }
        Pmap::Get { used, key, all } => get(common, &used, &key, all).await,
        Pmap::Put { used, key, value, text } => {
            let value = parse(value, text)?;
            check(&key)?;
            let node = Connected::new(common, &used.sheet.remote)?;
            let put = node.client.put_pmap(&used.sheet.map, &key, &value, used.call());
            node.explain(put.await)
        }
        Pmap::Remove { used, keys } => {
            keys.iter().try_for_each(|key| check(key))?;
            let node = Connected::new(common, &used.sheet.remote)?;
            for key in &keys {
                let removed = node.client.remove_pmap(&used.sheet.map, key, used.call());
                node.explain(removed.await)?;
            }
            Ok(())
        }
        Pmap::Scan { used, limit } => scan(common, &used, limit).await,
    }
}

/// A key is a part of a URL here.
fn check(key: &str) -> anyhow::Result<()> {
    if matches!(key, "" | "." | "..") {
        bail!("the key {key:?} can't be in a URL; take another");
    }
    Ok(())
}

/// Prints the id of a map that is here now.
fn founded(common: &Common, map: &api::Pmap) -> anyhow::Result<()> {
    match common.output {
        Output::Json => Ok(output::json(map)?),
        Output::Table => Ok(output::line(&map.id)?),
    }
}

fn list(common: &Common, maps: &api::Pmaps) -> anyhow::Result<()> {
    if common.output == Output::Json {
        return Ok(output::json(maps)?);
    }
    if maps.maps.is_empty() {
        output::note("no partitioned maps yet; `aether pmap create NAME` founds one");
        return Ok(());
    }
    let mut table = output::table(&["NAME", "ID"]);
    for map in &maps.maps {
        table.add_row([Cell::new(output::plain(&map.name)), Cell::new(&map.id)]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

fn status(common: &Common, status: &PmapStatus) -> anyhow::Result<()> {
    if common.output == Output::Json {
        return Ok(output::json(status)?);
    }
    let node = match (status.is_member, status.is_leaving) {
        (true, false) => Cell::new("is a member"),
        (true, true) => Cell::new("hands over what it has").fg(Color::Yellow),
        (false, _) => Cell::new("is no member: `aether pmap serve` makes it one"),
    };
    let fetched = Cell::new(format!("{}/{}", status.whole.len(), status.owned));
    let fetched = fetched.fg(match status.fetching.is_empty() {
        true => Color::Green,
        false => Color::Yellow,
    });
    let split = format!("{} partitions, {} owners each", status.partitions, status.replicas);
    let mut table = output::table(&["MAP", &output::plain(&status.name)]);
    for (name, value) in [
        ("id", Cell::new(&status.id)),
        ("split", Cell::new(split)),
        ("members", Cell::new(status.members)),
        ("this node", node),
        ("fetched", fetched),
        ("holds", Cell::new(ranges(&status.whole))),
        ("fetching", Cell::new(ranges(&status.fetching))),
        ("handing over", Cell::new(ranges(&status.parting))),
        ("handed over", Cell::new(status.parted)),
        ("view", Cell::new(&status.view)),
    ] {
        table.add_row([Cell::new(name), value]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

/// Numbers that ascend, as people write them: `0-3, 7`.
fn ranges(numbers: &[u16]) -> String {
    let runs = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let runs: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [only] => only.to_string(),
            [] => String::new(),
        })
        .collect();
    if runs.is_empty() { "-".to_owned() } else { runs.join(", ") }
}

fn members(common: &Common, members: &api::PmapMembers) -> anyhow::Result<()> {
    if common.output == Output::Json {
        return Ok(output::json(members)?);
    }
    if members.members.is_empty() {
        output::note("no node holds it yet; `aether pmap serve` has this one");
        return Ok(());
    }
    let mut table = output::table(&["PEER ID", "OWNS", "STANDING"]);
    for member in &members.members {
        let standing = match member.is_leaving {
            true => Cell::new("hands over").fg(Color::Yellow),
            false => Cell::new("serves"),
        };
        table.add_row([Cell::new(member.peer), Cell::new(member.owns), standing]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

async fn get(common: &Common, used: &Used, key: &str, all: bool) -> anyhow::Result<()> {
    check(key)?;
    let node = Connected::new(common, &used.sheet.remote)?;
    let found = node.client.pmap_value(&used.sheet.map, key, all, used.call()).await;
    match node.explain(found)? {
        Value::Array(values) if all && common.output == Output::Table => {
            values.iter().try_for_each(|value| Ok(output::line(&value.to_string())?))
        }
        value => Ok(output::json(&value)?),
    }
}

async fn scan(common: &Common, used: &Used, limit: usize) -> anyhow::Result<()> {
    let node = Connected::new(common, &used.sheet.remote)?;
    let (mut shown, mut from) = (Shown::new(common.output, limit), None::<String>);
    while shown.left > 0 {
        let (map, limit) = (&used.sheet.map, shown.left.min(PAGE));
        let page = node.client.pmap_page(map, from.as_deref(), limit, used.call());
        let page = node.explain(page.await)?;
        shown.add(&page.entries, page.unreadable)?;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    shown.end(from.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shown_by_ranges() {
        assert_eq!(ranges(&[]), "-");
        assert_eq!(ranges(&[5]), "5");
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(ranges(&[65534, 65535]), "65534-65535");
    }
}
