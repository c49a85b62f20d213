//! The roster: several nodes that watch each other, with and without a liar among them.

mod liar;

use std::{collections::BTreeMap, time::Duration};

use aether_core::{Genesis, MeshId, Protocol, PublicKey, SecretKey, Time};
use aether_mesh::proto::{
    link::Frame,
    roster::{Config, Input, Message, Output, Profile, Roster, Update},
};
use aether_sim::{
    At, Boot, Effects, Fault, Limits, Mixed, NodeId, Run, Runner, Scenario, Schedule, Subject,
    World,
};

use self::liar::Liar;

type Node = Mixed<Roster, Liar>;

#[derive(Clone, Debug)]
enum Command {
    /// Changes what the node says of itself.
    Update,
    Leave,
}

#[derive(Debug)]
enum Event {
    Left(NodeId, bool),
    Forged(NodeId),
}

#[derive(Clone, Debug)]
struct Members {
    mesh: MeshId,
    keys: Vec<SecretKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    liar: Option<NodeId>,
    /// Whether the world connects nodes; if not, all are connected from the start.
    connects: bool,
}

impl Members {
    fn new(scenario: &Scenario, liar: Option<NodeId>) -> Self {
        let mesh = Genesis::open("sim").expect("a name").mesh_id();
        let keys = (1u8..).take(scenario.nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let keys: Vec<SecretKey> = keys.collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (key.public(), NodeId(n))).collect();
        Self { mesh, keys, ids, liar, connects: scenario.connections.is_some() }
    }

    fn key(&self, node: NodeId) -> PublicKey {
        self.keys[node.0].public()
    }

    fn is_honest(&self, node: NodeId) -> bool {
        Some(node) != self.liar
    }
}

fn profile(at: At) -> Profile {
    let agent = format!("{} at {:?}", at.node, at.now);
    Profile { addresses: vec![format!("/memory/{}", at.node.0)], agent, roles: Vec::new() }
}

impl Subject for Members {
    type Node = Node;
    type Command = Command;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let (at, key) = (boot.at, self.keys[boot.at.node.0].clone());
        let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
        // A life's number only has to grow, however the clock stands.
        let life = u64::from(at.life);
        let config = Config::default();
        let roster = Roster::new(config, self.mesh, key.clone(), life, profile(at), seed);
        let mut node = if self.is_honest(at.node) {
            Node::Honest(Box::new(roster))
        } else {
            Node::Liar(Box::new(Liar::new(roster, self.mesh, key, at.now, seed)))
        };
        let others = (0..boot.nodes).map(NodeId).filter(|other| *other != at.node);
        for other in others.filter(|_| !self.connects) {
            node.handle(at.now, Input::Connected { peer: self.key(other) });
        }
        node
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        match Frame::decode(bytes) {
            Ok(Frame::Roster(message)) => Some(Input::Message { from: self.key(from), message }),
            _ => None,
        }
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, at: At, command: Command) -> Input {
        match command {
            Command::Update => Input::Profile(profile(at)),
            Command::Leave => Input::Leave,
        }
    }

    fn connection(&self, _: At, peer: NodeId, up: bool) -> Option<Input> {
        let peer = self.key(peer);
        Some(if up { Input::Connected { peer } } else { Input::Disconnected { peer } })
    }

    fn output(&self, _: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, message } => {
                effects.send(self.ids[&to], Frame::Roster(message).encode());
            }
            Output::Joined(_) => effects.sometimes("member joined"),
            // Nothing but a suspicion makes a node sign so many cards in one life.
            Output::Updated(card) if card.revision > 2 => effects.sometimes("suspicion refuted"),
            Output::Updated(_) => effects.sometimes("card updated"),
            Output::Left { peer, farewell } => {
                effects.observe(Event::Left(self.ids[&peer], farewell));
            }
            Output::Forged { from } => effects.observe(Event::Forged(self.ids[&from])),
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        let Ok(Frame::Roster(message)) = Frame::decode(bytes) else { return "nonsense".into() };
        let (kind, updates) = match &message {
            Message::Ping { number, updates } => (format!("ping {number:x}"), updates),
            Message::Ack { number, updates } => (format!("ack {number:x}"), updates),
            Message::PingFor { number, target, updates } => {
                let target = self.ids[&PublicKey::from_bytes((*target).into())];
                (format!("ping {target} for me {number:x}"), updates)
            }
            Message::Hello { updates } => ("hello".into(), updates),
        };
        let updates = updates.iter().map(|update| match update {
            Update::Card(card) => {
                let leaves = if card.is_leaving() { " leaves" } else { "" };
                format!(", {}/{}/{}{leaves}", self.ids[&card.peer()], card.life, card.revision)
            }
            Update::Suspect { peer, life, revision } => {
                let peer = self.ids[&PublicKey::from_bytes((*peer).into())];
                format!(", suspect {peer}/{life}/{revision}")
            }
        });
        kind + &updates.collect::<String>()
    }
}

/// A world of rosters whose members may only be forged by a liar, and never removed by another's
/// farewell.
fn world(mut run: Run, limits: &Limits, lying: bool) -> (World<Members>, Members) {
    let scenario = Scenario::draw(&mut run.draw, limits);
    let liar = lying.then(|| NodeId(run.draw.below(scenario.nodes)));
    let members = Members::new(&scenario, liar);
    let mut world = World::new(run, scenario, members.clone());
    let subject = members.clone();
    world.invariant("nobody is forged, and nobody made to say farewell", move |world| {
        subject.is_genuine(world)
    });
    (world, members)
}

impl Members {
    fn honest(&self) -> impl Iterator<Item = NodeId> {
        let nodes = (0..self.keys.len()).map(NodeId);
        nodes.filter(|node| self.is_honest(*node))
    }

    fn is_genuine(&self, world: &World<Self>) -> Result<(), String> {
        for (node, event) in world.observed() {
            match event {
                Event::Forged(by) if self.is_honest(*by) => {
                    return Err(format!("{node} takes {by} for a forger"));
                }
                Event::Forged(_) => world.sometimes("forged card refused"),
                Event::Left(_, false) => world.sometimes("member removed"),
                Event::Left(peer, true) => {
                    world.sometimes("member said farewell");
                    let left = world.node(*peer).and_then(Node::honest);
                    if left.is_some_and(|roster| !roster.card().is_leaving()) {
                        return Err(format!("{node} believes that {peer} said farewell"));
                    }
                }
            }
        }
        let doubt = world.touched().and_then(|node| world.node(node)?.honest());
        if doubt.is_some_and(|roster| roster.doubt() > 0) {
            world.sometimes("node in doubt of itself");
        }
        Ok(())
    }

    /// Whether every honest node that is up and stays knows exactly the others, the liar aside.
    fn all_know_all(&self, world: &World<Self>) -> bool {
        let staying = |node: &NodeId| {
            let roster = world.node(*node).and_then(Node::honest);
            roster.is_some_and(|roster| !roster.card().is_leaving())
        };
        let alive: Vec<NodeId> = self.honest().filter(staying).collect();
        alive.iter().all(|node| {
            let roster = world.node(*node).and_then(Node::honest).expect("it is alive");
            let known = roster.members().keys().map(|peer| self.ids[peer]);
            let mut known: Vec<NodeId> = known.filter(|peer| self.is_honest(*peer)).collect();
            known.sort_unstable();
            known.into_iter().eq(alive.iter().copied().filter(|peer| peer != node))
        })
    }

    /// Whether every honest node holds the last card of every other.
    fn all_cards_are_last(&self, world: &World<Self>) -> bool {
        let rosters = || self.honest().filter_map(|node| world.node(node)?.honest());
        rosters().all(|roster| {
            rosters().all(|other| {
                let held = roster.members().get(&other.card().peer());
                std::ptr::eq(roster, other) || held.is_some_and(|held| held.card == *other.card())
            })
        })
    }
}

/// Nobody honest is removed; added where nothing is wrong that could excuse it.
fn nobody_removed(world: &World<Members>, members: &Members) -> Result<(), String> {
    let removed = world.observed().iter().find(|(node, event)| {
        let Event::Left(peer, false) = event else { return false };
        members.is_honest(*node) && members.is_honest(*peer) && world.node(*peer).is_some()
    });
    removed.map_or(Ok(()), |(node, event)| Err(format!("{node} observes {event:?}")))
}

/// A second for connections to break and another to form, the probes' own time, and Lifeguard's
/// patience of a node that thinks it is cut off.
const NOTICED: Duration = Duration::from_secs(90);

/// As long as latency and loss are within bounds nobody alive is removed, whatever a liar says.
#[test]
fn steady() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "roster::steady");
    runner.seeds(16).regressions(&[950]).sometimes(&["suspicion refuted"]).run(|mut run| {
        let base = if run.draw.chance(0.5) { Limits::streams() } else { Limits::default() };
        let heals = Time::from_millis(120_000);
        let schedules = Vec::<Schedule>::new();
        let limits = Limits { nodes: 4..=9, max_loss: base.max_loss.min(0.02), ..base };
        let limits = Limits { heals, schedules, ..limits };
        let lying = run.draw.chance(0.5);
        let (mut world, members) = world(run, &limits, lying);
        let subject = members.clone();
        world.invariant("nobody alive is removed", move |world| nobody_removed(world, &subject));
        world.eventually("all know all", NOTICED, |world| members.all_know_all(world));
        world.run_until(heals);
        let node = members.honest().next().expect("most nodes are honest");
        world.command(node, Command::Update);
        if !lying {
            world.eventually("a new card is everywhere", NOTICED, |world| {
                members.all_cards_are_last(world)
            });
        }
        world.finish()
    });
}

/// Anything goes wrong, then everything heals: all know all again and stay so, the dead and those
/// who left are found out.
#[test]
fn hostile() {
    let demanded = [
        "card updated",
        "forged card refused",
        "member removed",
        "member said farewell",
        "node in doubt of itself",
        "suspicion refuted",
    ];
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "roster::hostile");
    runner.seeds(24).regressions(&[134, 165]).sometimes(&demanded).run(|mut run| {
        let heals = Time::from_millis(60_000);
        let limits = Limits { nodes: 2..=8, heals, ..Limits::streams() };
        let lying = run.draw.chance(0.3);
        let (mut world, members) = world(run, &limits, lying);
        // Whoever was cut off may be given up until it is connected again.
        world.run_until(heals + Duration::from_secs(10));
        world.eventually("all know all", NOTICED, |world| members.all_know_all(world));
        if !lying {
            world.eventually("all hold the last cards", NOTICED, |world| {
                members.all_cards_are_last(world)
            });
        }
        let subject = members.clone();
        world.invariant("nobody alive is removed", move |world| nobody_removed(world, &subject));
        world.run_for(Duration::from_secs(30));
        let mut honest = members.honest();
        let (leaves, dies) = (honest.next(), honest.next());
        world.command(leaves.expect("most nodes are honest"), Command::Leave);
        if let Some(dies) = dies {
            world.run_for(Duration::from_secs(5));
            world.fault(Fault::Crash(dies));
        }
        world.eventually("they are gone", NOTICED, |world| members.all_know_all(world));
        world.finish()
    });
}
