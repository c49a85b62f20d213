//! Topics: outbox, inbox and budget of several nodes, with and without a liar among them.

mod checks;
mod liar;
mod peer;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use aether_core::{Genesis, Protocol, PublicKey, SecretKey, Time};
use aether_mesh::proto::{
    budget::{self, Rate},
    envelope::{Envelope, TopicId},
    inbox, outbox,
};
use aether_sim::{
    At, Boot, Draw, Effects, Limits, Mixed, NodeId, Run, Runner, Scenario, Schedule, Subject, World,
};

use self::{
    checks::{Book, Told},
    liar::Liar,
    peer::{Input, Output, Peer, Setup},
};

/// When virtual time began, in milliseconds since the Unix epoch.
const EPOCH: u64 = 1_700_000_000_000;

/// Clocks may disagree by this much at most, so nothing that is published later can seem to be from
/// before a subscription at the start.
const SETTLED: Duration = Duration::from_secs(3);

type Node = Mixed<Peer, Liar>;

/// A message of so many bytes on the first or second topic.
#[derive(Clone, Debug)]
struct Publish {
    topic: usize,
    len: usize,
    express: bool,
}

#[derive(Debug)]
enum Event {
    Published(Told),
    Delivered(Told, u64),
    Banned(NodeId),
}

#[derive(Clone, Debug)]
struct Topics {
    /// The nodes' setups, which differ in the key.
    setups: Vec<Setup>,
    ids: BTreeMap<PublicKey, NodeId>,
    liar: Option<NodeId>,
    /// Whether the world connects nodes; if not, neighbours are set at the start.
    connects: bool,
}

impl Topics {
    fn new(draw: &mut Draw, scenario: &Scenario, tight: bool, lying: bool) -> Self {
        let mesh = Genesis::open("sim").expect("a name").mesh_id();
        let base = Setup {
            key: SecretKey::from_bytes([0; 32]),
            mesh,
            topics: ["greetings", "farewells"].map(|name| TopicId::new(&mesh, name)),
            inbox: inbox::Config::default(),
            outbox: outbox::Config::default(),
            budget: budget::Config::default(),
        };
        let base = if tight { tightened(base) } else { base };
        let keys = (1u8..).take(scenario.nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let setups: Vec<Setup> = keys.map(|key| Setup { key, ..base.clone() }).collect();
        let ids = setups.iter().enumerate().map(|(n, setup)| (setup.key.public(), NodeId(n)));
        let ids = ids.collect();
        let liar = lying.then(|| NodeId(draw.below(scenario.nodes)));
        Self { setups, ids, liar, connects: scenario.connections.is_some() }
    }

    fn key(&self, node: NodeId) -> PublicKey {
        self.setups[node.0].key.public()
    }

    /// A ring with shortcuts over one: no single liar can cut it.
    fn are_neighbours(&self, a: NodeId, b: NodeId) -> bool {
        let (nodes, distance) = (self.setups.len(), a.0.abs_diff(b.0));
        a != b && distance.min(nodes - distance) <= 2
    }

    fn told(&self, topic: TopicId, envelope: &Envelope) -> Told {
        let topic = usize::from(topic == self.setups[0].topics[1]);
        Told::new(topic, self.ids[&envelope.author], envelope)
    }
}

/// Bounds so low that a small simulation reaches them.
fn tightened(mut setup: Setup) -> Setup {
    setup.inbox.max_held = 16 * 1024;
    setup.inbox.max_recent = 48 * 1024;
    setup.inbox.report_bytes = 2 * 1024;
    setup.outbox.window = 8 * 1024;
    setup.outbox.max_batch = 4 * 1024;
    setup.outbox.max_handing = 2;
    setup.budget.gossip = Rate { messages: 20, bytes: 256 * 1024, burst: 1.5 };
    setup.budget.link = Rate { messages: 20, bytes: 256 * 1024, burst: 1.0 };
    setup.budget.max_points = 30.0;
    setup.budget.max_peers = 3;
    setup.budget.ban = Duration::from_secs(10);
    setup
}

fn wall(at: At) -> u64 {
    EPOCH + at.wall.as_micros() / 1000
}

impl Subject for Topics {
    type Node = Node;
    type Command = Publish;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let at = boot.at;
        let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
        let setup = self.setups[at.node.0].clone();
        let mut node = if self.liar == Some(at.node) {
            Node::Liar(Box::new(Liar::new(setup, at.now, wall(at), seed)))
        } else {
            let incarnation = wall(at) + u64::from(at.life);
            Node::Honest(Box::new(Peer::new(setup, incarnation, at.now, wall(at), seed)))
        };
        let others = (0..boot.nodes).map(NodeId);
        for other in others.filter(|other| !self.connects && self.are_neighbours(at.node, *other)) {
            node.handle(at.now, Input::Connected(self.key(other)));
        }
        node
    }

    fn message(&self, at: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        Some(Input::Arrived { from: self.key(from), bytes: bytes.to_vec(), wall: wall(at) })
    }

    fn timeout(&self, at: At) -> Input {
        Input::Timeout { wall: wall(at) }
    }

    fn command(&self, at: At, command: Publish) -> Input {
        let Publish { topic, len, express } = command;
        Input::Publish { topic, len, express, wall: wall(at) }
    }

    fn connection(&self, at: At, peer: NodeId, up: bool) -> Option<Input> {
        let key = self.key(peer);
        let input = if up { Input::Connected(key) } else { Input::Disconnected(key) };
        self.are_neighbours(at.node, peer).then_some(input)
    }

    fn output(&self, _: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, bytes } => effects.send(self.ids[&to], bytes),
            Output::Published { topic, envelope } => {
                effects.observe(Event::Published(self.told(topic, &envelope)));
            }
            Output::Delivered { topic, envelope, missed } => {
                effects.observe(Event::Delivered(self.told(topic, &envelope), missed));
            }
            Output::Banned(peer) => effects.observe(Event::Banned(self.ids[&peer])),
            Output::Happened(what) => effects.sometimes(what),
        }
    }
}

/// A world of topics, and the book that its invariants keep.
fn world(mut run: Run, limits: &Limits, tight: bool, lying: bool) -> (World<Topics>, Ledger) {
    let scenario = Scenario::draw(&mut run.draw, limits);
    let subject = Topics::new(&mut run.draw, &scenario, tight, lying);
    let mut world = World::new(run, scenario, subject.clone());
    let liar = subject.liar;
    let ledger = Ledger { subject, book: Rc::new(RefCell::new(Book::new(liar))) };
    let book = Rc::clone(&ledger.book);
    world.invariant("deliveries are genuine, once, in order and counted", move |world| {
        book.borrow_mut().read(world)
    });
    world.invariant("only liars are banned", move |world| only_liars_banned(world, liar));
    world.invariant("memory is bounded", memory_is_bounded);
    (world, ledger)
}

fn only_liars_banned(world: &World<Topics>, liar: Option<NodeId>) -> Result<(), String> {
    for (node, event) in world.observed() {
        if let Event::Banned(peer) = event {
            world.sometimes("liar banned");
            if Some(*peer) != liar {
                return Err(format!("{node} bans {peer}"));
            }
        }
    }
    Ok(())
}

/// A liar may skip numbers of its own.
fn nothing_missed(world: &World<Topics>, liar: Option<NodeId>) -> Result<(), String> {
    for (node, event) in world.observed() {
        if let Event::Delivered(told, 1..) = event
            && Some(told.author()) != liar
        {
            return Err(format!("{node} misses some before {told:?}"));
        }
    }
    Ok(())
}

fn memory_is_bounded(world: &World<Topics>) -> Result<(), String> {
    let node = world.touched().and_then(|node| world.node(node)).and_then(Node::honest);
    node.map_or(Ok(()), Peer::check_bounds)
}

#[derive(Debug)]
struct Ledger {
    subject: Topics,
    book: Rc<RefCell<Book>>,
}

impl Ledger {
    fn honest(&self) -> Vec<NodeId> {
        let nodes = (0..self.subject.setups.len()).map(NodeId);
        nodes.filter(|node| Some(*node) != self.subject.liar).collect()
    }

    /// Messages at drawn times, some of them in bursts.
    fn publish(&self, world: &mut World<Topics>, from: Time, until: Time) {
        let honest = self.honest();
        for _ in 0..world.draw().number(5..=40) {
            let at = from + world.draw().duration(Duration::ZERO..=until.since(from));
            let node = *world.draw().pick(&honest).expect("most nodes are honest");
            let burst = if world.draw().chance(0.2) { world.draw().number(5..=60) } else { 1 };
            let topic = world.draw().below(2);
            for _ in 0..burst {
                let longest = if world.draw().chance(0.05) { 8000 } else { 400 };
                let len = 3 + world.draw().below(longest);
                let express = world.draw().chance(0.3);
                world.command_at(at, node, Publish { topic, len, express });
            }
        }
    }

    /// One small message a second by everyone on both topics, three times.
    fn publish_calmly(&self, world: &mut World<Topics>) {
        for _ in 0..3 {
            for node in self.honest() {
                for topic in 0..2 {
                    world.command(node, Publish { topic, len: 20, express: false });
                }
            }
            world.run_for(Duration::from_secs(1));
        }
    }

    /// Whether nothing waits, and every honest node has settled all that every other has sent.
    fn is_settled(&self, world: &World<Topics>) -> bool {
        let nodes = || world.nodes().filter_map(|(id, node)| Some((id, node.honest()?)));
        let topics = self.subject.setups[0].topics;
        nodes().flat_map(|author| topics.map(|topic| (author, topic))).all(
            |((author, node), topic)| {
                let key = self.subject.key(author);
                let sent = node.inbox.next(&topic, &key);
                let settled = |reader: &Peer| reader.inbox.next(&topic, &key) == sent;
                let neighbours = nodes().all(|(_, reader)| sent.is_none() || settled(reader));
                node.outbox.waiting_bytes(&topic) == 0 && neighbours
            },
        )
    }
}

/// Anything goes wrong, then everything heals: nothing false is ever delivered, and all that is
/// sent after the heal arrives.
#[test]
fn hostile() {
    let demanded = [
        "banned peer pardoned",
        "duplicate ignored",
        "envelope given up",
        "envelope repaired by the link",
        "forgery refused",
        "liar banned",
        "message over budget dropped",
        "publisher held back",
        "stale envelope ignored",
        "stalled reader passed over",
        "tip asked about",
        "topic waited for a reader",
    ];
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "topics::hostile");
    runner.seeds(40).sometimes(&demanded).run(|mut run| {
        let limits = if run.draw.chance(0.3) { Limits::streams() } else { Limits::default() };
        let heals = Time::from_millis(20_000);
        let limits = Limits { heals, ..limits };
        let (tight, lying) = (run.draw.chance(0.5), run.draw.chance(0.5));
        let (mut world, ledger) = world(run, &limits, tight, lying);
        ledger.publish(&mut world, Time::ZERO + SETTLED, heals);
        world.run_until(heals + Duration::from_secs(10));
        let calm = world.now();
        ledger.publish_calmly(&mut world);
        let patience = Duration::from_secs(120);
        world.eventually("all is settled", patience, |world| ledger.is_settled(world));
        let lost = ledger.book.borrow().lost(calm, &ledger.honest());
        assert_eq!(lost, [] as [String; 0], "sent after the heal and not delivered");
        world.finish()
    });
}

/// A network that is merely bad loses nothing.
#[test]
fn bad_network() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "topics::bad_network");
    runner.seeds(20).sometimes(&["envelope repaired by the link"]).run(|mut run| {
        let heals = Time::from_millis(15_000);
        let limits = Limits { heals, schedules: Vec::<Schedule>::new(), ..Limits::default() };
        let lying = run.draw.chance(0.3);
        let (mut world, ledger) = world(run, &limits, false, lying);
        let liar = ledger.subject.liar;
        world.invariant("nothing is missed", move |world| nothing_missed(world, liar));
        ledger.publish(&mut world, Time::ZERO + SETTLED, heals);
        world.run_until(heals);
        let patience = Duration::from_secs(60);
        world.eventually("all is settled", patience, |world| ledger.is_settled(world));
        let lost = ledger.book.borrow().lost(Time::ZERO, &ledger.honest());
        assert_eq!(lost, [] as [String; 0]);
        world.finish()
    });
}
