//! `aether topic`.

use std::{io, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::Connected;
use crate::{
    api::TopicEvent,
    cli::{Common, NoNode, Output, TimedOut, Topic},
    client::Events,
    output,
};

pub(crate) async fn topic(common: &Common, command: Topic) -> anyhow::Result<()> {
    let work = async {
        match command {
            Topic::Publish { name, remote, wait, timeout } => {
                let node = Connected::new(common, &remote)?;
                publish(&node, common.output, &name, wait, timeout).await
            }
            Topic::Subscribe { name, remote, count, timeout } => {
                let node = Connected::new(common, &remote)?;
                subscribe(&node, common.output, &name, count, timeout).await
            }
        }
    };
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => Ok(()),
        result = work => result,
    }
}

async fn publish(
    node: &Connected,
    form: Output,
    name: &str,
    wait: usize,
    timeout: Duration,
) -> anyhow::Result<()> {
    let input = BufReader::new(tokio::io::stdin()).lines();
    let lines = stream::try_unfold(input, |mut input| async move {
        Ok::<_, io::Error>(input.next_line().await?.map(|line| (line, input)))
    });
    let published = node.explain(node.client.publish(name, lines, wait, timeout).await)?;
    if form == Output::Json {
        return Ok(output::json(&published)?);
    }
    match published.neighbours {
        0 => output::note(&format!(
            "{} published; nobody reads {name} yet, so the node keeps them until somebody does",
            published.published
        )),
        readers => {
            output::note(&format!("{} published to {readers} neighbours", published.published));
        }
    }
    Ok(())
}

async fn subscribe(
    node: &Connected,
    form: Output,
    name: &str,
    count: Option<u64>,
    timeout: Option<Duration>,
) -> anyhow::Result<()> {
    let events = node.explain(node.client.subscribe(name).await)?;
    output::note(&format!("subscribed to {name}"));
    let Some(timeout) = timeout else { return print(events, form, count).await };
    match tokio::time::timeout(timeout, print(events, form, count)).await {
        Ok(result) => result,
        Err(_) if count.is_none() => Ok(()),
        Err(_) => Err(TimedOut(format!("not all messages came within {timeout:?}")).into()),
    }
}

async fn print(
    mut events: Events<TopicEvent>,
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
            (event, Output::Json) => output::line(&serde_json::to_string(event)?)?,
            (TopicEvent::Message { value, .. }, _) => output::line(&output::plain(value))?,
            (TopicEvent::Missed { count }, _) => output::note(&format!("missed {count} messages")),
            (TopicEvent::Undecodable { author, error, .. }, _) => {
                let error = output::plain(error);
                output::note(&format!("a message of {author} is no text: {error}"));
            }
            (TopicEvent::Unpulled { author, blob, error, .. }, _) => {
                let (blob, error) = (output::plain(blob), output::plain(error));
                output::note(&format!("missed a message of {author}, the blob {blob}: {error}"));
            }
        }
        if matches!(event, TopicEvent::Message { .. }) {
            left = left.map(|left| left - 1);
        }
    }
    Ok(())
}
