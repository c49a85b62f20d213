//! `aether service`.

use std::io::Read as _;

use anyhow::Context as _;
use comfy_table::{Cell, Color};
use futures::StreamExt as _;

use super::Connected;
use crate::{
    api::{Instance, Item, NodeReply},
    cli::{Common, NoNode, Output, Remote, Service, ServiceCall},
    client, output,
};

pub(crate) async fn service(common: &Common, command: Service) -> anyhow::Result<()> {
    let work = async {
        match command {
            Service::List(remote) => list(common, &remote).await,
            Service::Call(call) => run(common, *call).await,
        }
    };
    tokio::select! {
        // The signal comes first, so that it is caught before the work begins.
        biased;
        _ = tokio::signal::ctrl_c() => Ok(()),
        result = work => result,
    }
}

async fn list(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let services = node.explain(node.client.services().await)?;
    if common.output == Output::Json {
        return Ok(output::json(&services)?);
    }
    if services.instances.is_empty() {
        output::note("no services yet");
        return Ok(());
    }
    let mut table = output::table(&["SERVICE", "VERSION", "HEALTH", "LOAD", "ENDPOINTS", "PEER"]);
    for instance in &services.instances {
        table.add_row(row(instance));
    }
    Ok(output::line(&table.trim_fmt())?)
}

fn row(instance: &Instance) -> Vec<Cell> {
    let color = match instance.health.as_str() {
        "serving" => Color::Green,
        "draining" => Color::Yellow,
        _ => Color::Red,
    };
    let load = match instance.capacity {
        0 => instance.in_flight.to_string(),
        capacity => format!("{} of {capacity}", instance.in_flight),
    };
    vec![
        Cell::new(output::plain(&instance.service)),
        Cell::new(output::plain(&instance.version)),
        Cell::new(output::plain(&instance.health)).fg(color),
        Cell::new(load),
        Cell::new(output::plain(&instance.endpoints.join(" "))),
        Cell::new(instance.peer),
    ]
}

async fn run(common: &Common, given: ServiceCall) -> anyhow::Result<()> {
    let mut text = given.arguments;
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("can't read the arguments")?;
    }
    let arguments = serde_json::from_str(&text)
        .context("the arguments are no JSON; text needs quotes: '\"text\"'")?;
    let node = Connected::new(common, &given.remote)?;
    let call = client::ServiceCall {
        service: given.service,
        endpoint: given.endpoint,
        arguments,
        deadline: given.deadline,
        idempotent: given.idempotent,
        owner: given.owner,
    };
    if given.every {
        let replies = node.explain(node.client.call_every(&call).await)?;
        return every(common.output, &replies);
    }
    if given.items {
        return items(&node, &call).await;
    }
    Ok(output::json(&node.explain(node.client.call(&call).await)?)?)
}

fn every(form: Output, replies: &[NodeReply]) -> anyhow::Result<()> {
    if form == Output::Json {
        return Ok(output::json(&replies)?);
    }
    let mut table = output::table(&["PEER", "REPLY"]);
    for NodeReply { peer, reply, error } in replies {
        let cell = match (reply, error) {
            (Some(reply), _) => Cell::new(output::plain(&reply.to_string())),
            (None, error) => {
                Cell::new(output::plain(error.as_deref().unwrap_or_default())).fg(Color::Red)
            }
        };
        table.add_row([Cell::new(peer), cell]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

async fn items(node: &Connected, call: &client::ServiceCall) -> anyhow::Result<()> {
    let mut items = node.explain(node.client.call_items(call).await)?;
    while let Some(item) = items.next().await {
        match item? {
            Item::Item { value } => output::line(&value.to_string())?,
            Item::End => return Ok(()),
            Item::Failed { error } => anyhow::bail!("the call failed: {error}"),
        }
    }
    Err(NoNode("the node has stopped".to_owned()).into())
}
