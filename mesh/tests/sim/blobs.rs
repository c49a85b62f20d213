//! Blobs: nodes that fetch one blob from each other, over connections that break, with crashes,
//! partial holders, slow links and liars. Hashes are modelled: a group's bytes say which it is.

mod checks;
mod host;
mod liar;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use aether_core::{PublicKey, Time};
use aether_mesh::proto::blob::{Ranges, fetch, last_group, serve};
use aether_sim::{
    At, Boot, Effects, Fault, Limits, Mixed, NodeId, Run, Runner, Scenario, Subject, World,
};

use self::{
    host::{Host, Input, Output},
    liar::{Liar, Lie},
    wire::Blob,
};

type Node = Mixed<Host, Liar>;

/// What a node is at its start.
#[derive(Clone, Debug)]
enum Role {
    /// It holds all.
    Seed,
    /// It holds these groups, the last among them, and gains none.
    Partial(Ranges),
    /// It holds what its disk holds, and wants all.
    Leech,
    Liar(Lie),
}

#[derive(Clone, Debug)]
enum Command {
    Want(u64),
}

#[derive(Debug)]
enum Event {
    /// Bytes of this node didn't verify.
    Wrong(NodeId),
    Blamed(NodeId, fetch::Blame),
    Done,
    Failed(fetch::Reason),
}

#[derive(Clone, Debug)]
struct Blobs {
    blob: Blob,
    roles: Vec<Role>,
    keys: Vec<PublicKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    fetch: fetch::Config,
    serve: serve::Config,
}

impl Blobs {
    fn new(blob: Blob, roles: Vec<Role>) -> Self {
        let keys = (1u8..).take(roles.len()).map(|n| PublicKey::from_bytes([n; 32]));
        let keys: Vec<PublicKey> = keys.collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (*key, NodeId(n))).collect();
        // Nobody gives up while the network is broken.
        let patience = Duration::from_secs(3600);
        let fetch = fetch::Config { patience, ..fetch::Config::default() };
        Self { blob, roles, keys, ids, fetch, serve: serve::Config::default() }
    }

    fn leeches(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        let is_leech = |node: &NodeId| matches!(self.roles[node.0], Role::Leech);
        (0..self.roles.len()).map(NodeId).filter(is_leech)
    }

    fn is_liar(&self, node: NodeId) -> bool {
        matches!(self.roles[node.0], Role::Liar(_))
    }

    fn all_have_it(&self, world: &World<Self>) -> bool {
        self.leeches()
            .all(|node| world.node(node).and_then(Node::honest).is_some_and(|host| host.is_whole()))
    }
}

impl Subject for Blobs {
    type Node = Node;
    type Command = Command;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let others = self.keys.iter().copied().filter(|key| *key != self.keys[boot.at.node.0]);
        let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
        let (whole, life) = (0..self.blob.groups(), boot.at.life);
        let held = match &self.roles[boot.at.node.0] {
            Role::Liar(lie) => {
                return Node::Liar(Box::new(Liar::new(self.blob, *lie, seed)));
            }
            Role::Seed => Ranges::from(whole),
            Role::Partial(groups) => groups.clone(),
            Role::Leech => host::read_disk(boot.disk),
        };
        let is_leech = matches!(self.roles[boot.at.node.0], Role::Leech);
        let configs = (self.fetch.clone(), self.serve.clone());
        let others: Vec<PublicKey> = others.collect();
        let mut host = Host::new(self.blob, held, others, life, configs);
        if is_leech {
            host.begin(boot.at.now);
        }
        Node::Honest(Box::new(host))
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        let packet = wire::Packet::decode(bytes)?;
        Some(Input::Arrived { from: self.keys[from.0], packet })
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, command: Command) -> Input {
        let Command::Want(group) = command;
        Input::Want(group)
    }

    fn connection(&self, _: At, peer: NodeId, up: bool) -> Option<Input> {
        let key = self.keys[peer.0];
        Some(if up { Input::Connected(key) } else { Input::Disconnected(key) })
    }

    fn output(&self, _: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, packet } => effects.send(self.ids[&to], packet.encode()),
            Output::Write(groups) => {
                let change = |group: u64| (group.to_be_bytes().to_vec(), Some(vec![]));
                effects.write(groups.map(change).collect());
            }
            Output::Sync => effects.sync(),
            Output::Search => effects.input(Input::Found),
            Output::Wrong(peer) => effects.observe(Event::Wrong(self.ids[&peer])),
            Output::Blamed(peer, blame) => {
                effects.observe(Event::Blamed(self.ids[&peer], blame));
            }
            Output::Done => effects.observe(Event::Done),
            Output::Failed(failure) => effects.observe(Event::Failed(failure.reason)),
            Output::Sometimes(name) => effects.sometimes(name),
        }
    }
}

/// A blob and who holds what of it: one seed at least, one that lacks it at least.
fn draw_roles(run: &mut Run, nodes: usize, lies: bool) -> (Blob, Vec<Role>) {
    let blob = Blob::draw(&mut run.draw);
    let mut roles = vec![Role::Seed, Role::Leech];
    while roles.len() < nodes {
        roles.push(match run.draw.below(if lies { 8 } else { 5 }) {
            0 => Role::Seed,
            1 | 2 => Role::Partial(draw_part(run, blob)),
            3 | 4 => Role::Leech,
            _ => Role::Liar(Lie::draw(&mut run.draw)),
        });
    }
    (blob, roles)
}

fn draw_part(run: &mut Run, blob: Blob) -> Ranges {
    let mut part = Ranges::new();
    for _ in 0..run.draw.below(6) {
        let start = run.draw.number(0..=blob.groups() - 1);
        part.insert(start..run.draw.number(start..=blob.groups()));
    }
    let last = last_group(blob.size);
    part.insert(last..last + 1);
    part
}

fn world(mut run: Run, limits: &Limits, lies: bool) -> (World<Blobs>, Blobs) {
    let scenario = Scenario::draw(&mut run.draw, limits);
    let (blob, roles) = draw_roles(&mut run, scenario.nodes, lies);
    let subject = Blobs::new(blob, roles);
    let mut world = World::new(run, scenario, subject.clone());
    checks::add(&mut world, &subject);
    (world, subject)
}

fn readers(world: &mut World<Blobs>, subject: &Blobs, until: Time) {
    let leeches: Vec<NodeId> = subject.leeches().collect();
    for _ in 0..world.draw().below(10) {
        let at = Time::ZERO + world.draw().duration(Duration::ZERO..=until.since(Time::ZERO));
        let node = *world.draw().pick(&leeches).expect("somebody lacks it");
        let group = world.draw().number(0..=subject.blob.groups() - 1);
        world.command_at(at, node, Command::Want(group));
    }
}

/// Anything goes wrong, then everything heals: whoever wants the blob has it, liars or not.
#[test]
fn hostile() {
    let demanded = [
        "wrong bytes",
        "blamed: claimed a false size",
        "blamed: claimed to hold what it does not",
        "blamed: broke the protocol",
        "resumed",
        "group doubled",
        "served by one that fetches",
        "sim: connection broken",
        "sim: restart",
    ];
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "blobs::hostile");
    runner.seeds(40).sometimes(&demanded).run(|run| {
        let heals = Time::from_millis(20_000);
        let limits = Limits { nodes: 2..=9, heals, ..Limits::streams() };
        let (mut world, subject) = world(run, &limits, true);
        readers(&mut world, &subject, heals);
        world.run_until(heals);
        let within = Duration::from_secs(180);
        world.eventually("all have it", within, |world| subject.all_have_it(world));
        world.finish()
    });
}

/// Where nothing fails and nobody lies, nothing is asked twice but for the endgame, nobody is
/// blamed, and several providers take a share each.
#[test]
fn calm() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "blobs::calm");
    runner.seeds(16).sometimes(&["shared the work"]).run(|run| {
        let schedules = Vec::new();
        let heals = Time::from_millis(1);
        let limits = Limits { nodes: 3..=9, heals, schedules, ..Limits::streams() };
        let (mut world, subject) = world(run, &limits, false);
        let within = Duration::from_secs(90);
        world.eventually("all have it", within, |world| subject.all_have_it(world));
        for node in subject.leeches() {
            let host = world.node(node).and_then(Node::honest).expect("nothing crashes");
            let stats = host.fetch_stats();
            assert_eq!(stats.verified, subject.blob.groups(), "{node}");
            assert_eq!(stats.stalls, 0, "{node}");
        }
        let served = |(_, node): (NodeId, &Node)| {
            node.honest().is_some_and(|host| host.serve.stats().pieces > 0)
        };
        if world.nodes().filter(|node| served(*node)).count() > 1 {
            world.sometimes("shared the work");
        }
        world.finish()
    });
}

/// A node that dies again and again resumes, and asks for nothing that its disk holds.
#[test]
fn resumed() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "blobs::resumed");
    runner.seeds(16).sometimes(&["resumed", "sim: unsynced write lost"]).run(|mut run| {
        let schedules = Vec::new();
        let heals = Time::from_millis(1);
        let limits = Limits { nodes: 3..=3, heals, schedules, ..Limits::streams() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let blob = Blob { size: 3000 * aether_mesh::proto::blob::GROUP - 7 };
        let subject = Blobs::new(blob, vec![Role::Seed, Role::Leech, Role::Seed]);
        let mut world = World::new(run, scenario, subject.clone());
        checks::add(&mut world, &subject);
        for _ in 0..6 {
            let wait = world.draw().duration(Duration::from_millis(200)..=Duration::from_secs(4));
            world.run_for(wait);
            world.fault(Fault::Crash(NodeId(1)));
            world.run_for(Duration::from_millis(500));
            world.fault(Fault::Start { node: NodeId(1), wiped: false });
        }
        let within = Duration::from_secs(90);
        world.eventually("it has it", within, |world| subject.all_have_it(world));
        world.finish()
    });
}
