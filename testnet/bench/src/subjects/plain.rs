//! libp2p's gossipsub as it comes: its defaults, signed messages, `ValidationMode::Strict`, on a
//! swarm that does nothing else. Every node dials all before it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    gossipsub::{self, Behaviour, IdentTopic, MessageAuthenticity},
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::SwarmEvent,
    tcp, yamux,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{Cluster, State, Tracker, Transport, enough_neighbours, outbound_bytes, until};

const TOPIC: &str = "bench";

/// Payloads and questions that wait for a node. A payload waits here, not in gossipsub, which has
/// no way to make its user wait.
const QUEUE: usize = 64;

enum Command {
    Publish(Vec<u8>),
    Look(oneshot::Sender<Look>),
}

/// A node's view of the others.
struct Look {
    readers: usize,
    neighbours: usize,
}

pub(crate) struct Plain {
    nodes: Vec<mpsc::Sender<Command>>,
    registry: Registry,
    drivers: JoinSet<()>,
}

impl Cluster for Plain {
    async fn start(
        count: usize,
        transport: Transport,
        tracker: Arc<Tracker>,
    ) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        let (mut nodes, mut drivers, mut before) = (Vec::new(), JoinSet::new(), Vec::new());
        for number in 0..count {
            let mut swarm = swarm(&mut registry)?;
            let address = listen(&mut swarm, transport).await?;
            for other in &before {
                swarm.dial(Multiaddr::clone(other))?;
            }
            before.push(address);
            let (commands, queue) = mpsc::channel(QUEUE);
            let report = number.checked_sub(1).map(|receiver| (receiver, tracker.clone()));
            drivers.spawn(drive(swarm, queue, report));
            nodes.push(commands);
        }
        let cluster = Self { nodes, registry, drivers };
        until("the plain nodes to form their mesh", async || cluster.has_formed().await).await?;
        Ok(cluster)
    }

    async fn publish(&self, payload: Vec<u8>, _express: bool) -> anyhow::Result<()> {
        self.nodes[0].send(Command::Publish(payload)).await.context("the node has stopped")
    }

    async fn state(&self) -> anyhow::Result<State> {
        let mut edges = 0;
        for node in &self.nodes {
            edges += look(node).await?.neighbours;
        }
        // All nodes count in one registry, by address, so the sum is theirs.
        let mut metrics = String::new();
        encode(&mut metrics, &self.registry)?;
        let mesh_degree = edges as f64 / self.nodes.len() as f64;
        Ok(State { sent_bytes: outbound_bytes(&metrics), mesh_degree })
    }

    async fn stop(mut self) {
        self.drivers.shutdown().await;
    }
}

impl Plain {
    async fn has_formed(&self) -> anyhow::Result<bool> {
        let others = self.nodes.len() - 1;
        for node in &self.nodes {
            let look = look(node).await?;
            if look.readers < others || look.neighbours < enough_neighbours(self.nodes.len()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn swarm(registry: &mut Registry) -> anyhow::Result<Swarm<Behaviour>> {
    let swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_bandwidth_metrics(registry)
        .with_behaviour(|key| {
            let authenticity = MessageAuthenticity::Signed(key.clone());
            let mut behaviour = Behaviour::new(authenticity, gossipsub::Config::default())?;
            behaviour.subscribe(&IdentTopic::new(TOPIC))?;
            Ok(behaviour)
        })
        .map_err(|error| anyhow::anyhow!("{error}"))?
        // Gossipsub keeps a connection for as long as it is in the mesh; the others stay too.
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    Ok(swarm)
}

async fn listen(swarm: &mut Swarm<Behaviour>, transport: Transport) -> anyhow::Result<Multiaddr> {
    swarm.listen_on(transport.listen().parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address.with(Protocol::P2p(*swarm.local_peer_id())));
        }
    }
}

async fn look(node: &mpsc::Sender<Command>) -> anyhow::Result<Look> {
    let (reply, answer) = oneshot::channel();
    node.send(Command::Look(reply)).await.context("the node has stopped")?;
    answer.await.context("the node has stopped")
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut commands: mpsc::Receiver<Command>,
    report: Option<(usize, Arc<Tracker>)>,
) {
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => act(swarm.behaviour_mut(), command),
                None => return,
            },
            event = swarm.select_next_some() => {
                if let SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) = event
                    && let Some((receiver, tracker)) = &report
                {
                    tracker.delivered(*receiver, &message.data);
                }
            }
        }
    }
}

fn act(gossip: &mut Behaviour, command: Command) {
    let topic = IdentTopic::new(TOPIC).hash();
    match command {
        Command::Publish(payload) => {
            // What gossipsub refuses is a loss, and the run doesn't count.
            if let Err(error) = gossip.publish(topic, payload) {
                eprintln!("gossipsub refused a message: {error}");
            }
        }
        Command::Look(reply) => {
            let readers = gossip.all_peers().filter(|(_, read)| read.contains(&&topic)).count();
            let neighbours = gossip.mesh_peers(&topic).count();
            // Who asked may have gone.
            let _ = reply.send(Look { readers, neighbours });
        }
    }
}
