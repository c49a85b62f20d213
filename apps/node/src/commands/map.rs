//! `aether map`.

mod file;

use std::io::Read as _;

use anyhow::{Context as _, bail};
use comfy_table::{Cell, Table};
use futures::StreamExt as _;
use serde_json::Value;

use super::Connected;
use crate::{
    api::{MapBatch, MapEntry, MapEvent, MapPage},
    cli::{Common, Map, NoNode, Output, Place, Scanned, TimedOut, Watched},
    client::Events,
    output,
};

/// Most entries of a page.
const PAGE: usize = 1000;

pub(crate) async fn map(common: &Common, command: Map) -> anyhow::Result<()> {
    let copies = matches!(command, Map::Import(_) | Map::Export(_));
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => match copies {
            true => bail!("stopped; what is written stays"),
            false => Ok(()),
        },
        result = run(common, command) => result,
    }
}

async fn run(common: &Common, command: Map) -> anyhow::Result<()> {
    match command {
        Map::Get { place, key, all } => get(common, &place, &key, all).await,
        Map::Put { place, key, value, text } => {
            let value = parse(value, text)?;
            let batch = MapBatch { put: [(key, value)].into(), remove: Vec::new() };
            write(common, &place, &batch).await
        }
        Map::Remove { place, keys } => {
            let batch = MapBatch { remove: keys, ..MapBatch::default() };
            write(common, &place, &batch).await
        }
        Map::Scan(scanned) => scan(common, &scanned).await,
        Map::Watch(watched) => watch(common, &watched).await,
        Map::Import(imported) => file::import(common, &imported).await,
        Map::Export(exported) => file::export(common, &exported).await,
    }
}

pub(super) fn parse(mut text: String, is_text: bool) -> anyhow::Result<Value> {
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("can't read the value")?;
    }
    match is_text {
        true => Ok(Value::String(text)),
        false => serde_json::from_str(&text)
            .context("the value is no JSON; text needs quotes, '\"text\"', or the flag --text"),
    }
}

async fn get(common: &Common, place: &Place, key: &str, all: bool) -> anyhow::Result<()> {
    if matches!(key, "" | "." | "..") {
        bail!("the key {key:?} can't be in a URL; `aether map scan --prefix` shows it");
    }
    let node = Connected::new(common, &place.remote)?;
    let found = node.client.map_value(&place.space, &place.map, key, all).await;
    match node.explain(found)? {
        Value::Array(values) if all && common.output == Output::Table => {
            values.iter().try_for_each(|value| Ok(output::line(&value.to_string())?))
        }
        value => Ok(output::json(&value)?),
    }
}

async fn write(common: &Common, place: &Place, batch: &MapBatch) -> anyhow::Result<()> {
    let node = Connected::new(common, &place.remote)?;
    node.explain(node.client.write_map(&place.space, &place.map, batch).await)
}

/// The part of a map behind a key.
async fn page(
    node: &Connected,
    place: &Place,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> anyhow::Result<MapPage> {
    let page = node.client.map_page(&place.space, &place.map, prefix, after, limit);
    node.explain(page.await)
}

async fn scan(common: &Common, scanned: &Scanned) -> anyhow::Result<()> {
    let Scanned { place, prefix, limit } = scanned;
    let node = Connected::new(common, &place.remote)?;
    let (mut shown, mut after) = (Shown::new(common.output, *limit), None::<String>);
    while shown.left > 0 {
        let limit = shown.left.min(PAGE);
        let page = page(&node, place, prefix, after.as_deref(), limit).await?;
        shown.add(&page.entries, page.unreadable)?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    shown.end(after.is_some())
}

/// Keys and values on their way to whoever reads them.
pub(super) struct Shown {
    form: Output,
    /// Of all of them, for people.
    table: Table,
    limit: usize,
    /// How many more are to be shown.
    pub(super) left: usize,
    unreadable: u64,
}

impl Shown {
    pub(super) fn new(form: Output, limit: usize) -> Self {
        let table = output::table(&["KEY", "VALUE"]);
        Self { form, table, limit, left: limit, unreadable: 0 }
    }

    pub(super) fn add(&mut self, entries: &[MapEntry], unreadable: u64) -> anyhow::Result<()> {
        self.left -= entries.len().min(self.left);
        self.unreadable += unreadable;
        for entry in entries {
            if self.form == Output::Json {
                output::line(&serde_json::to_string(entry)?)?;
                continue;
            }
            let value = output::plain(&entry.value.to_string());
            self.table.add_row([Cell::new(output::plain(&entry.key)), Cell::new(value)]);
        }
        Ok(())
    }

    /// Shows the table, and says what it lacks.
    pub(super) fn end(self, is_more: bool) -> anyhow::Result<()> {
        let Self { form, table, limit, left, unreadable } = self;
        if form == Output::Table {
            match left == limit {
                true => output::note("no such keys"),
                false => output::line(&table.trim_fmt())?,
            }
        }
        if left == 0 && is_more {
            output::note(&format!("there may be more than {limit}; --limit says how many to show"));
        }
        warn_of(unreadable);
        Ok(())
    }
}

fn warn_of(unreadable: u64) {
    if unreadable > 0 {
        output::note(&format!("{unreadable} keys are no text, or their values can't be read"));
    }
}

async fn watch(common: &Common, watched: &Watched) -> anyhow::Result<()> {
    let Watched { place, after, count, timeout } = watched;
    let node = Connected::new(common, &place.remote)?;
    let events = node.client.watch_map(&place.space, &place.map, *after).await;
    let events = node.explain(events)?;
    let Some(timeout) = timeout else { return print(events, common.output, *count).await };
    match tokio::time::timeout(*timeout, print(events, common.output, *count)).await {
        Ok(result) => result,
        Err(_) if count.is_none() => Ok(()),
        Err(_) => Err(TimedOut(format!("not all changes came within {timeout:?}")).into()),
    }
}

async fn print(
    mut events: Events<MapEvent>,
    form: Output,
    count: Option<u64>,
) -> anyhow::Result<()> {
    let mut left = count;
    while left != Some(0) {
        let Some(event) = events.next().await else {
            return Err(NoNode("the node has stopped".to_owned()).into());
        };
        let event = event?;
        match (&event, form) {
            (MapEvent::Failed { error }, _) => bail!("the map can't be read: {error}"),
            (event, Output::Json) => output::line(&serde_json::to_string(event)?)?,
            (MapEvent::Begun { position }, _) => {
                output::note(&format!("watching from position {position} on"));
            }
            (MapEvent::Put { key, value, .. }, _) => {
                let (key, value) = (output::plain(key), output::plain(&value.to_string()));
                output::line(&format!("{key} {value}"))?;
            }
            (MapEvent::Removed { key, .. }, _) => {
                output::line(&format!("{} removed", output::plain(key)))?;
            }
            (MapEvent::Unreadable { key, error, .. }, _) => {
                let (key, error) = (output::plain(key), output::plain(error));
                output::note(&format!("the value of {key} can't be read: {error}"));
            }
            (MapEvent::Rebuilt, _) => output::note("any key may have changed: scan the map anew"),
        }
        if !matches!(event, MapEvent::Begun { .. } | MapEvent::Rebuilt) {
            left = left.map(|left| left - 1);
        }
    }
    Ok(())
}
