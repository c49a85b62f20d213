//! Peers that lie, in real swarms: what they send is counted, delivered to nobody, and costs them
//! the connection; honest peers keep theirs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aether_core::SecretKey;
use aether_mesh::{
    Event, Node,
    proto::envelope::{Envelope, Header, TopicId},
};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode},
    swarm::{NetworkBehaviour, SwarmEvent},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::support::{builder, nodes, shutdown, until, within};

/// A libp2p node that speaks gossipsub and nothing of Aether.
pub(crate) struct Attacker {
    peer: PeerId,
    publish: mpsc::Sender<Vec<u8>>,
    heard: mpsc::Receiver<Heard>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Heard {
    Envelope(Vec<u8>),
    Subscribed,
    Closed,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: gossipsub::Behaviour,
    identify: libp2p::identify::Behaviour,
}

impl Attacker {
    pub(crate) async fn start(target: &Node, topic: &str) -> Self {
        Self::start_over("/tcp/", target, topic).await
    }

    async fn start_over(transport: &str, target: &Node, topic: &str) -> Self {
        let topic = IdentTopic::new(TopicId::new(&target.mesh(), topic).gossip_name());
        let mut swarm = swarm();
        swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
        let addresses = target.addresses().await.unwrap();
        let address = addresses.iter().find(|address| address.to_string().contains(transport));
        let address: Multiaddr = address.unwrap().clone();
        swarm.dial(address).unwrap();
        let peer = *swarm.local_peer_id();
        let (publish, to_publish) = mpsc::channel(64);
        let (tell, heard) = mpsc::channel(1024);
        let task = tokio::spawn(run(swarm, topic, to_publish, tell));
        let mut attacker = Self { peer, publish, heard, task };
        within("the subscription", async {
            while !matches!(attacker.heard.recv().await, Some(Heard::Subscribed)) {}
        })
        .await;
        attacker
    }

    pub(crate) async fn send(&self, bytes: Vec<u8>) {
        let _ = self.publish.send(bytes).await;
    }

    /// Sends what `next` makes until the connection is closed; how many it took.
    async fn until_closed(&mut self, mut next: impl FnMut(u64) -> Vec<u8>) -> u64 {
        within("the connection to be closed", async {
            let mut sent = 0;
            loop {
                self.send(next(sent)).await;
                sent += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                while let Ok(heard) = self.heard.try_recv() {
                    if matches!(heard, Heard::Closed) {
                        return sent;
                    }
                }
            }
        })
        .await
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn swarm() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default().nodelay(true),
            libp2p::noise::Config::new,
            libp2p::yamux::Config::default,
        )
        .unwrap()
        .with_quic()
        .with_behaviour(|key| {
            let config = gossipsub::ConfigBuilder::default()
                .validation_mode(ValidationMode::Anonymous)
                // An id of its own for each copy, so that it may say the same twice.
                .message_id_fn(|_| {
                    static COPIES: AtomicU64 = AtomicU64::new(0);
                    MessageId::from(COPIES.fetch_add(1, Ordering::Relaxed).to_string())
                })
                .max_transmit_size(1 << 20)
                .heartbeat_interval(Duration::from_millis(200))
                .build()
                .unwrap();
            let gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
            let identify = libp2p::identify::Config::new("/plain/1".into(), key.public());
            Behaviour { gossip, identify: libp2p::identify::Behaviour::new(identify) }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build()
}

/// Publishes what comes, and tells what is heard, while its attacker is there.
async fn run(
    mut swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    mut to_publish: mpsc::Receiver<Vec<u8>>,
    tell: mpsc::Sender<Heard>,
) {
    loop {
        let heard = tokio::select! {
            bytes = to_publish.recv() => {
                let Some(bytes) = bytes else { return };
                // Fails once nobody listens to it any more, which is the point.
                let _ = swarm.behaviour_mut().gossip.publish(topic.clone(), bytes);
                continue;
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => match event {
                    gossipsub::Event::Message { message, .. } => Heard::Envelope(message.data),
                    gossipsub::Event::Subscribed { .. } => Heard::Subscribed,
                    _ => continue,
                },
                SwarmEvent::ConnectionClosed { .. } => Heard::Closed,
                _ => continue,
            },
        };
        if tell.send(heard).await.is_err() {
            return;
        }
    }
}

pub(crate) fn header(number: u64) -> Header {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    let time = u64::try_from(since.as_millis()).unwrap();
    Header { incarnation: time, number, first: number, time }
}

/// An envelope that its author never signed.
fn forged(node: &Node, author: u8, number: u64) -> Vec<u8> {
    let topic = TopicId::new(&node.mesh(), "t");
    let key = SecretKey::from_bytes([author; 32]);
    let envelope = Envelope::seal(&key, &node.mesh(), &topic, header(number), b"\x66forged");
    let mut bytes = envelope.bytes().to_vec();
    let end = bytes.len();
    bytes[end - 70] ^= 0x01;
    bytes
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
}

fn faults(node: &Node, kind: &str) -> u64 {
    metric(node, &format!("aether_mesh_faults_total{{reason=\"{kind}\"}}"))
}

/// An attacker sends what `next` makes until it is shown out. Afterwards the victim still talks
/// with an honest node, and has delivered nothing but that.
async fn attack(mesh: &str, fault: &str, next: impl Fn(&Node, u64) -> Vec<u8>) {
    let nodes = nodes(mesh, 2).await;
    let topic = nodes[1].topic::<String>("t").await.unwrap();
    let victim = nodes[0].clone();
    let mut reader = victim.topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    within("a reader", topic.wait_for_neighbours(1)).await;
    let mut attacker = Attacker::start(&victim, "t").await;

    let sent = attacker.until_closed(|n| next(&victim, n)).await;
    let counted = faults(&victim, fault);
    assert!(counted <= sent, "{counted} {fault} of {sent} sent");
    assert!(counted >= 10, "a ban takes ten clear faults, not {counted}");

    topic.publish(&"honest".to_owned()).await.unwrap();
    match within("the honest message", reader.next_event()).await {
        Some(Event::Message(message)) => assert_eq!(message.value, "honest"),
        event => panic!("{event:?}"),
    }
    let status = victim.status().await.unwrap();
    assert!(status.connections.iter().any(|c| c.peer == nodes[1].id() && c.score >= 0.0));
    assert!(!status.connections.iter().any(|c| c.peer == attacker.peer));
    drop(attacker);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forger_is_shown_out() {
    attack("forger", "forged", |node, n| forged(node, 9, n + 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_babbler_is_shown_out() {
    attack("babbler", "malformed", |_, n| format!("\u{1}no envelope {n}").into_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_over_the_limit_is_a_fault() {
    attack("large", "oversized", |node, n| {
        let mut bytes = forged(node, 9, n + 1);
        let end = bytes.len() - 64;
        bytes.splice(end..end, std::iter::repeat_n(0, 70_000));
        bytes
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_far_over_the_limit_are_a_fault_whatever_they_claim_to_be() {
    attack("larger", "oversized", |_, n| vec![n.to_be_bytes()[7]; 200_000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_every_limit_is_never_read() {
    let nodes = nodes("huge", 2).await;
    let topic = nodes[1].topic::<String>("t").await.unwrap();
    let mut reader = nodes[0].topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    for transport in ["/tcp/", "/quic-v1"] {
        let attacker = Attacker::start_over(transport, &nodes[0], "t").await;
        for n in 0..10 {
            attacker.send(vec![n; 900_000]).await;
        }
        topic.publish(&transport.to_owned()).await.unwrap();
        match within("the honest message", reader.next_event()).await {
            Some(Event::Message(message)) => assert_eq!(message.value, transport),
            event => panic!("{event:?}"),
        }
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_ignored_and_its_forwarder_keeps_its_score() {
    let nodes = nodes("replay", 2).await;
    let topic = nodes[1].topic::<String>("t").await.unwrap();
    let victim = &nodes[0];
    let mut reader = victim.topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    let mut forwarder = Attacker::start(victim, "t").await;
    within("two readers", topic.wait_for_neighbours(1)).await;
    let mut captured = Vec::new();
    for n in 0..20 {
        topic.publish(&format!("message {n}")).await.unwrap();
        assert_eq!(within("a message", reader.next()).await.unwrap().value, format!("message {n}"));
        captured.push(
            within("the copy", async {
                loop {
                    if let Some(Heard::Envelope(bytes)) = forwarder.heard.recv().await {
                        return bytes;
                    }
                }
            })
            .await,
        );
    }
    for _ in 0..10 {
        for envelope in &captured {
            forwarder.send(envelope.clone()).await;
        }
    }
    topic.publish(&"after".to_owned()).await.unwrap();
    let next = within("what comes after", reader.next_event()).await;
    assert!(matches!(next, Some(Event::Message(message)) if message.value == "after"));
    let status = victim.status().await.unwrap();
    let seen = status.connections.iter().find(|c| c.peer == forwarder.peer).unwrap();
    assert!(seen.score >= 0.0, "{}", seen.score);
    for kind in ["forged", "malformed", "oversized"] {
        assert_eq!(faults(victim, kind), 0, "{kind}");
    }
    drop(forwarder);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgery_that_comes_first_does_not_suppress_the_original() {
    let nodes = nodes("first", 2).await;
    let topic = nodes[1].topic::<String>("t").await.unwrap();
    let victim = &nodes[0];
    let mut reader = victim.topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    let mut attacker = Attacker::start(victim, "t").await;
    within("a reader", topic.wait_for_neighbours(1)).await;
    topic.publish(&"one".to_owned()).await.unwrap();
    assert_eq!(within("one", reader.next()).await.unwrap().value, "one");
    let copy = within("a copy", async {
        loop {
            if let Some(Heard::Envelope(bytes)) = attacker.heard.recv().await {
                return bytes;
            }
        }
    })
    .await;
    // The author's next number, with words of the attacker's.
    let mut forged = copy;
    forged[48] += 1;
    forged[56] += 1;
    let end = forged.len() - 64;
    forged.splice(65..end, *b"\x63two");
    attacker.send(forged).await;
    until("the forgery to be refused", || async { faults(victim, "forged") == 1 }).await;
    topic.publish(&"two, truly".to_owned()).await.unwrap();
    let message = within("two", reader.next()).await.unwrap();
    assert_eq!((message.value.as_str(), message.number), ("two, truly", 2));
    drop(attacker);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_is_bounded() {
    let victim = builder("flood")
        .configure(|config| config.limits.max_connections = 8)
        .spawn()
        .await
        .unwrap();
    let _topic = victim.topic::<String>("t").await.unwrap();
    let mut attackers = Vec::new();
    for _ in 0..8 {
        attackers.push(Attacker::start(&victim, "t").await);
    }
    // The ninth is refused: it never hears that we subscribe.
    let ninth = tokio::time::timeout(Duration::from_secs(2), Attacker::start(&victim, "t")).await;
    assert!(ninth.is_err());
    assert_eq!(victim.status().await.unwrap().connections.len(), 8);
    drop(attackers);
    victim.shutdown().await;
}
