//! `aether doc presence`.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;

use super::connected;
use crate::{
    api::PresenceEvent,
    cli::{Attending, Common, NoNode, Output, TimedOut},
    commands::Connected,
    output,
};

/// How often is said again what the node says: it forgets it after 45 seconds.
const BEAT: Duration = Duration::from_secs(15);

pub(super) async fn presence(common: &Common, attending: &Attending) -> anyhow::Result<()> {
    let Attending { paper, say, count, timeout } = attending;
    let node = connected(common, paper)?;
    let value = say
        .as_deref()
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())));
    let work = async {
        tokio::select! {
            // The signal comes first, so that it is caught before the work begins.
            biased;
            _ = tokio::signal::ctrl_c() => Ok(()),
            result = attend(common.output, &node, attending, value.as_ref()) => result,
        }
    };
    let done = match timeout {
        None => work.await,
        Some(timeout) => match tokio::time::timeout(*timeout, work).await {
            Ok(result) => result,
            Err(_) if count.is_none() => Ok(()),
            Err(_) => Err(TimedOut(format!("nobody else came within {timeout:?}")).into()),
        },
    };
    if value.is_some() {
        // It would be forgotten anyway.
        let _ = node.client.clear_presence(&paper.space, &paper.name).await;
    }
    done
}

async fn attend(
    form: Output,
    node: &Connected,
    Attending { paper, count, .. }: &Attending,
    value: Option<&Value>,
) -> anyhow::Result<()> {
    let events = node.client.watch_presence(&paper.space, &paper.name).await;
    let mut events = node.explain(events)?;
    output::note(&format!("who is at {}", output::plain(&paper.name)));
    let mut beat = tokio::time::interval(BEAT);
    let mut left = *count;
    while left != Some(0) {
        let event = tokio::select! {
            event = events.next() => event,
            _ = beat.tick() => {
                if let Some(value) = value {
                    let said = node.client.say_presence(&paper.space, &paper.name, value).await;
                    node.explain(said)?;
                }
                continue;
            }
        };
        let event = event.ok_or_else(|| NoNode("the node has stopped".to_owned()))??;
        match form {
            Output::Json => output::line(&serde_json::to_string(&event)?)?,
            Output::Table => output::line(&shown(&event))?,
        }
        left = left.map(|left| left - 1);
    }
    Ok(())
}

fn shown(event: &PresenceEvent) -> String {
    match event {
        PresenceEvent::Says(said) => {
            let text = match &said.value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            format!("{} {}", said.peer, output::plain(&text))
        }
        PresenceEvent::Gone { peer } => format!("{peer} is gone"),
        PresenceEvent::Missed => "some was missed".to_owned(),
    }
}
