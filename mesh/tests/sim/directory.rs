//! The directory: nodes that serve, drain, end, die and come back, each with a roster, with and
//! without a liar among them.

mod checks;
mod liar;
mod member;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use aether_core::{Genesis, MeshId, Protocol, PublicKey, SecretKey, Time};
use aether_mesh::proto::service::directory::{
    Config, Event as Own, Health, Instance, Listed, Load,
};
use aether_sim::{
    At, Boot, Effects, Fault, Limits, Mixed, NodeId, Run, Runner, Scenario, Schedule, Subject,
    World,
};
use bytes::Bytes;

use self::{
    checks::{Said, is_genuine, memory_is_bounded},
    liar::Liar,
    member::{Input, Member, Output, Packet, What},
};

/// When virtual time began, in milliseconds since the Unix epoch.
const EPOCH: u64 = 1_700_000_000_000;

/// Longer than anything takes to travel once there are no faults, narrow links included.
const GOSSIP: Duration = Duration::from_secs(5);

const SERVICES: [&str; 3] = ["store", "cache", "queue"];

fn instance(service: usize, id: u64) -> Instance {
    Instance {
        service: SERVICES[service].into(),
        id,
        version: "1.0.0".into(),
        endpoints: vec!["get".into()],
        health: Health::Serving,
        load: Load { in_flight: 0, capacity: 64 },
    }
}

type Node = Mixed<Member, Liar>;

#[derive(Clone, Debug)]
enum Command {
    Serve(usize, u64, Health),
    Load(usize, u64, u32),
    End(usize, u64),
    Drain,
    Look(usize),
    Leave,
}

#[derive(Debug)]
enum Event {
    Announced(Bytes),
    Changed(String),
    Fault(NodeId),
}

#[derive(Clone, Debug)]
struct Services {
    mesh: MeshId,
    keys: Vec<SecretKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    config: Config,
    liar: Option<NodeId>,
    /// Milliseconds between two lies.
    pace: u64,
    /// Whether the world connects nodes; if not, all are connected from the start.
    connects: bool,
}

impl Services {
    fn new(scenario: &Scenario, config: Config, liar: Option<NodeId>, pace: u64) -> Self {
        let mesh = Genesis::open("sim").expect("a name").mesh_id();
        let keys = (1u8..).take(scenario.nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let keys: Vec<SecretKey> = keys.collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (key.public(), NodeId(n))).collect();
        Self { mesh, keys, ids, config, liar, pace, connects: scenario.connections.is_some() }
    }

    fn key(&self, node: NodeId) -> PublicKey {
        self.keys[node.0].public()
    }

    fn honest(&self) -> impl Iterator<Item = NodeId> {
        (0..self.keys.len()).map(NodeId).filter(|node| Some(*node) != self.liar)
    }

    /// What one node lists of another.
    fn listed<'a>(
        &self,
        world: &'a World<Self>,
        (on, of): (NodeId, NodeId),
    ) -> impl Iterator<Item = Listed<'a>> + use<'a> {
        let of = self.key(of);
        let member = world.node(on).and_then(Node::honest);
        let listed = member.into_iter().flat_map(|member| member.directory.all());
        listed.filter(move |listed| listed.peer == of)
    }

    /// Whether every node that is up lists exactly what the others that are up serve. Loads are
    /// announced when they differ much, and so aren't compared.
    fn all_agree(&self, world: &World<Self>) -> bool {
        let staying = |node: &NodeId| {
            world.node(*node).and_then(Node::honest).is_some_and(|member| !member.left)
        };
        let what = |listed: Listed<'_>| (listed.life, listed.instance.id, listed.instance.health);
        let same = |a: Listed<'_>, b: Listed<'_>| {
            what(a) == what(b) && a.instance.service == b.instance.service
        };
        self.honest().filter(staying).all(|on| {
            self.honest().all(|of| {
                let mut lists = self.listed(world, (on, of));
                let mut own = self.listed(world, (of, of));
                let all = own.by_ref().all(|own| lists.next().is_some_and(|it| same(own, it)));
                all && lists.next().is_none()
            })
        })
    }
}

fn input(at: At, what: What) -> Input {
    Input { wall: EPOCH + at.wall.as_micros() / 1000, what }
}

impl Subject for Services {
    type Node = Node;
    type Command = Command;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let (at, key) = (boot.at, &self.keys[boot.at.node.0]);
        let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
        // A life's number only has to grow, however the clock stands.
        let member = Member::new(self.config.clone(), self.mesh, key, at.life.into(), seed);
        let others = || (0..boot.nodes).map(NodeId).filter(|other| *other != at.node);
        let mut node = if self.liar == Some(at.node) {
            let peers = others().map(|other| self.key(other)).collect();
            let whose = (self.mesh, key.public());
            Node::Liar(Box::new(Liar::new(member, whose, peers, (self.pace, seed), at.now)))
        } else {
            Node::Honest(Box::new(member))
        };
        for other in others().filter(|_| !self.connects) {
            node.handle(at.now, input(at, What::Connected(self.key(other))));
        }
        let first = Own::Serve(instance(at.node.0 % 3, 0));
        node.handle(at.now, input(at, What::User(first)));
        node
    }

    fn message(&self, at: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        let packet = Packet::decode(bytes)?;
        Some(input(at, What::Arrived { from: self.key(from), packet }))
    }

    fn timeout(&self, at: At) -> Input {
        input(at, What::Timeout)
    }

    fn command(&self, at: At, command: Command) -> Input {
        let service = |service: usize| SERVICES[service].to_owned();
        input(
            at,
            match command {
                Command::Serve(service, id, health) => {
                    What::User(Own::Serve(Instance { health, ..instance(service, id) }))
                }
                Command::Load(which, id, in_flight) => {
                    let load = Load { in_flight, capacity: 64 };
                    What::User(Own::Load { service: service(which), id, load })
                }
                Command::End(which, id) => What::User(Own::End { service: service(which), id }),
                Command::Drain => What::User(Own::Drain),
                Command::Look(which) => What::User(Own::Look { service: service(which) }),
                Command::Leave => What::Leave,
            },
        )
    }

    fn connection(&self, at: At, peer: NodeId, up: bool) -> Option<Input> {
        let key = self.key(peer);
        Some(input(at, if up { What::Connected(key) } else { What::Disconnected(key) }))
    }

    fn output(&self, at: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, packet } => {
                // Records may name nodes that aren't there; nothing needs to be said.
                if let Some(to) = self.ids.get(&to) {
                    effects.send(*to, packet.encode());
                }
            }
            Output::Announced(bytes) => effects.observe(Event::Announced(bytes)),
            Output::Changed(service) => effects.observe(Event::Changed(service)),
            Output::Find(service) => {
                effects.sometimes("service searched for");
                let peers = self.ids.keys().copied().collect();
                effects.input(input(at, What::User(Own::Found { service, peers })));
            }
            Output::Fault(peer, fault) => {
                effects.sometimes(fault.name());
                effects.observe(Event::Fault(self.ids[&peer]));
            }
        }
    }
}

fn world(
    mut run: Run,
    limits: &Limits,
    config: Config,
    pace: Option<u64>,
) -> (World<Services>, Services) {
    let scenario = Scenario::draw(&mut run.draw, limits);
    let liar = pace.map(|_| NodeId(run.draw.below(scenario.nodes)));
    let subject = Services::new(&scenario, config, liar, pace.unwrap_or(1));
    let mut world = World::new(run, scenario, subject.clone());
    let (checked, said) = (subject.clone(), Rc::new(RefCell::new(Said::new())));
    world.invariant("what is listed was said, and only liars are blamed", move |world| {
        is_genuine(world, &checked, &said)
    });
    world.invariant("memory is bounded", memory_is_bounded);
    (world, subject)
}

/// Users that serve and end at drawn times.
fn workload(world: &mut World<Services>, subject: &Services, until: Time) {
    let honest: Vec<NodeId> = subject.honest().collect();
    for _ in 0..world.draw().number(10..=60) {
        let at = Time::ZERO + world.draw().duration(Duration::ZERO..=until.since(Time::ZERO));
        let node = *world.draw().pick(&honest).expect("most nodes are honest");
        let service = world.draw().below(SERVICES.len());
        let id = world.draw().number(0..=2);
        let command = match world.draw().below(10) {
            0..=2 => Command::Serve(service, id, Health::Serving),
            3 => Command::Serve(service, id, Health::Unhealthy),
            4 | 5 => Command::Load(service, id, u32::try_from(id).expect("it is small") * 30),
            6 | 7 => Command::End(service, id),
            8 => Command::Drain,
            _ => Command::Look(service),
        };
        world.command_at(at, node, command);
    }
}

/// Anything goes wrong, then everything heals: all list what all serve, and who leaves or dies is
/// gone in time.
#[test]
fn hostile() {
    let demanded = ["forged", "malformed", "service searched for", "sim: restart"];
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "directory::hostile");
    runner.seeds(24).sometimes(&demanded).run(|mut run| {
        let base = if run.draw.chance(0.5) { Limits::streams() } else { Limits::default() };
        let heals = Time::from_millis(45_000);
        let limits = Limits { nodes: 2..=7, heals, ..base };
        let config = Config::default();
        let pace = run.draw.chance(0.5).then_some(200);
        let (mut world, subject) = world(run, &limits, config.clone(), pace);
        workload(&mut world, &subject, heals);
        world.run_until(heals);
        let within = config.ttl + config.refresh;
        world.eventually("all agree", within, |world| subject.all_agree(world));
        world.run_for(Duration::from_secs(20));
        assert!(subject.all_agree(&world), "and go on agreeing");
        let (leaves, dies) = two(&mut world, &subject);
        world.command(leaves, Command::Leave);
        if let Some(dies) = dies {
            world.fault(Fault::Crash(dies));
        }
        let gone = world.now();
        // Connections that break and form again make neighbours ask, and none may revive the dead.
        for _ in 0..6 {
            flap(&mut world);
        }
        // A liar can repeat the last words of the dead once to whoever missed them.
        let within = if pace.is_some() { config.ttl * 2 } else { config.ttl };
        let within = (gone + within + GOSSIP).since(world.now());
        world.eventually("they are gone", within, |world| subject.all_agree(world));
        world.finish()
    });
}

/// Cuts one node off for a moment.
fn flap(world: &mut World<Services>) {
    let nodes = world.ids().len();
    let alone = NodeId(world.draw().below(nodes));
    let all = || (0..nodes).map(NodeId);
    world.fault(Fault::Partition(vec![all().filter(|node| *node != alone).collect()]));
    world.run_for(Duration::from_secs(2));
    world.fault(Fault::Partition(vec![all().collect()]));
    world.run_for(Duration::from_secs(3));
}

/// An honest node, and another if there is one.
fn two(world: &mut World<Services>, subject: &Services) -> (NodeId, Option<NodeId>) {
    let mut honest: Vec<NodeId> = subject.honest().collect();
    world.draw().shuffle(&mut honest);
    (honest[0], honest.get(1).copied())
}

/// In a network that is merely bad, what ended, was killed or drains is gone everywhere within
/// the lifetime of an announcement; where nothing is lost, what is said is heard at once.
#[test]
fn ends_in_time() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "directory::ends_in_time");
    let demanded =
        ["sim: message lost", "killed", "drained", "ended", "death noticed by the roster"];
    runner.seeds(24).sometimes(&demanded).run(|mut run| {
        let lossy = run.draw.chance(0.5);
        let base = Limits::default();
        let max_loss = if lossy { base.max_loss } else { 0.0 };
        let heals = Time::from_millis(600_000);
        let schedules = Vec::<Schedule>::new();
        let limits = Limits { nodes: 3..=7, max_loss, heals, schedules, ..base };
        let config = Config::default();
        let (mut world, subject) = world(run, &limits, config.clone(), None);
        let soon = if lossy { config.ttl + GOSSIP } else { GOSSIP };
        world.eventually("all agree", soon, |world| subject.all_agree(world));
        for _ in 0..4 {
            let (node, _) = two(&mut world, &subject);
            let what = world.draw().below(3);
            let within = match what {
                0 => {
                    world.sometimes("ended");
                    world.command(node, Command::End(node.0 % 3, 0));
                    soon
                }
                1 => {
                    world.sometimes("drained");
                    world.command(node, Command::Drain);
                    soon
                }
                _ => {
                    world.sometimes("killed");
                    world.fault(Fault::Crash(node));
                    config.ttl + GOSSIP
                }
            };
            let from = world.now();
            world.eventually("it is gone", within, |world| subject.all_agree(world));
            // By itself its last announcement holds for longer.
            if what > 1 && world.now().since(from) < config.ttl / 2 {
                world.sometimes("death noticed by the roster");
            }
            world.fault(Fault::Start { node, wiped: false });
            world.command(node, Command::Serve(node.0 % 3, 0, Health::Serving));
            world.eventually("it is back", soon, |world| subject.all_agree(world));
        }
        world.finish()
    });
}

/// Bounds so low that honest nodes alone come near them, and a liar that invents nodes.
#[test]
fn bounds() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "directory::bounds");
    runner.seeds(16).sometimes(&["announcement left out", "forged"]).run(|run| {
        let heals = Time::from_millis(30_000);
        let limits = Limits { nodes: 3..=7, heals, ..Limits::streams() };
        let config = Config {
            max_nodes: 5,
            max_bytes: 2000,
            max_instances: 4,
            max_gone: 6,
            max_asking: 2,
            max_neighbours: 3,
            page: 4096,
            max_pages: 3,
            ..Config::default()
        };
        let (mut world, subject) = world(run, &limits, config, Some(40));
        workload(&mut world, &subject, heals);
        world.run_until(heals + Duration::from_secs(30));
        world.finish()
    });
}
