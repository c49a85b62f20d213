//! `aether doc watch`.

use futures::{FutureExt as _, StreamExt as _};

use super::{connected, difference};
use crate::{
    api::DocumentEvent,
    cli::{Common, NoNode, Output, Paper, TimedOut, Watching},
    client::Events,
    commands::Connected,
    output,
};

pub(super) async fn watch(common: &Common, watching: &Watching) -> anyhow::Result<()> {
    let Watching { paper, count, timeout } = watching;
    let node = connected(common, paper)?;
    let events = node.client.watch_document(&paper.space, &paper.name).await;
    let events = node.explain(events)?;
    let work = print(common.output, &node, paper, events, *count);
    let Some(timeout) = timeout else { return work.await };
    match tokio::time::timeout(*timeout, work).await {
        Ok(result) => result,
        Err(_) if count.is_none() => Ok(()),
        Err(_) => Err(TimedOut(format!("not all changes came within {timeout:?}")).into()),
    }
}

async fn print(
    form: Output,
    node: &Connected,
    paper: &Paper,
    mut events: Events<DocumentEvent>,
    count: Option<u64>,
) -> anyhow::Result<()> {
    let text = async || {
        let text = node.client.document_text(&paper.space, &paper.name, None).await;
        node.explain(text)
    };
    let (mut left, mut shown) = (count, String::new());
    if form == Output::Table {
        // What came since the events began is shown with the first of them, or not at all.
        shown = text().await?;
    }
    output::note(&format!("watching {}", output::plain(&paper.name)));
    while left != Some(0) {
        let event = next(&mut events).await?;
        if form == Output::Json {
            output::line(&serde_json::to_string(&event)?)?;
        } else {
            // Those that wait already are in what is read next.
            while let Some(event) = next(&mut events).now_or_never() {
                event?;
            }
            let now = text().await?;
            let difference = difference(&shown, &now, 0, output::is_coloured());
            shown = now;
            if difference.is_empty() {
                continue;
            }
            output::line(difference.trim_end())?;
        }
        if event != DocumentEvent::Missed {
            left = left.map(|left| left - 1);
        }
    }
    Ok(())
}

async fn next(events: &mut Events<DocumentEvent>) -> anyhow::Result<DocumentEvent> {
    match events.next().await {
        Some(event) => Ok(event?),
        None => Err(NoNode("the node has stopped".to_owned()).into()),
    }
}
