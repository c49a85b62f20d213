//! Aether's topics, with the settings of `Preset::Local`.

use std::sync::Arc;

use aether_mesh::{Event, Node, Preset, Subscription, Topic};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::task::JoinSet;

use super::{Cluster, State, Tracker, Transport, enough_neighbours, outbound_bytes, until};

/// Topics that each node reads: the bench's, and Aether's own for services and for blobs.
const TOPICS: usize = 3;

/// A message that is a byte string in CBOR too: 64 bytes take 66.
#[derive(Debug)]
pub(crate) struct Payload(pub(crate) Vec<u8>);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }
}

struct Bytes;

impl de::Visitor<'_> for Bytes {
    type Value = Payload;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Payload, E> {
        Ok(Payload(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
        Ok(Payload(bytes))
    }
}

pub(crate) struct Aether {
    nodes: Vec<Node>,
    topics: Vec<Topic<Payload>>,
    express: Topic<Payload>,
    readers: JoinSet<()>,
}

impl Cluster for Aether {
    async fn start(
        count: usize,
        transport: Transport,
        tracker: Arc<Tracker>,
    ) -> anyhow::Result<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        for _ in 0..count {
            let seeds = match nodes.first() {
                Some(first) => first.addresses().await?,
                None => Vec::new(),
            };
            let builder = Node::builder(Preset::Local).mesh("bench").listen([transport.listen()]);
            let all_to_all = |config: &mut aether_mesh::Config| config.limits.target_peers = count;
            nodes.push(builder.seeds(seeds).configure(all_to_all).spawn().await?);
        }
        let mut topics = Vec::new();
        for node in &nodes {
            topics.push(node.topic("bench").await?);
        }
        let mut readers = JoinSet::new();
        for (receiver, topic) in topics.iter().skip(1).enumerate() {
            readers.spawn(read(topic.subscribe().await?, receiver, tracker.clone()));
        }
        let express = topics[0].clone().express();
        let cluster = Self { nodes, topics, express, readers };
        until("Aether's nodes to form their mesh", async || cluster.has_formed().await).await?;
        Ok(cluster)
    }

    async fn publish(&self, payload: Vec<u8>, express: bool) -> anyhow::Result<()> {
        let topic = if express { &self.express } else { &self.topics[0] };
        topic.publish(&Payload(payload)).await?;
        Ok(())
    }

    async fn state(&self) -> anyhow::Result<State> {
        let (mut sent_bytes, mut edges) = (0, 0);
        for node in &self.nodes {
            sent_bytes += outbound_bytes(&node.metrics().encode());
            edges += neighbours(node).await?;
        }
        Ok(State { sent_bytes, mesh_degree: edges as f64 / (self.nodes.len() * TOPICS) as f64 })
    }

    async fn stop(mut self) {
        self.readers.shutdown().await;
        drop((self.topics, self.express));
        for node in self.nodes {
            node.shutdown().await;
        }
    }
}

impl Aether {
    async fn has_formed(&self) -> anyhow::Result<bool> {
        let others = self.nodes.len() - 1;
        for (node, topic) in self.nodes.iter().zip(&self.topics) {
            let connected = node.status().await?.connections.iter().filter(|c| c.member).count();
            let enough = neighbours(node).await? >= TOPICS * enough_neighbours(self.nodes.len());
            if connected < others || topic.neighbours() < others || !enough {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How many neighbours a node has in the gossip meshes of all its topics together.
async fn neighbours(node: &Node) -> anyhow::Result<usize> {
    Ok(node.status().await?.connections.iter().map(|connection| connection.meshes).sum())
}

async fn read(mut subscription: Subscription<Payload>, receiver: usize, tracker: Arc<Tracker>) {
    while let Some(event) = subscription.next_event().await {
        match event {
            Event::Message(message) => tracker.delivered(receiver, &message.value.0),
            other => eprintln!("receiver {receiver}: {other:?}"),
        }
    }
}
