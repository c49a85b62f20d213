//! Finders: many nodes, of which some hold what one looks for; gossip that reaches everyone, or
//! nearly; and one that floods.

mod liar;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use aether_core::{BlobId, Protocol as _, PublicKey, Time, wire};
use aether_mesh::proto::blob::finder::{Config, Finder, Here, Input, Output};
use aether_sim::{
    At, Boot, Effects, Limits, Link, Mixed, NodeId, Runner, Scenario, Subject, World,
};
use bytes::Bytes;

use self::liar::Liar;

type Node = Mixed<Finder, Liar>;

#[derive(Debug)]
enum Event {
    Found(NodeId),
    /// Answered to this node.
    Answered(NodeId),
    Fault(NodeId),
}

#[derive(Clone, Debug)]
struct Finders {
    keys: Vec<PublicKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    /// Nodes from here on hold all blobs.
    first_holder: usize,
    liar: Option<NodeId>,
    config: Config,
}

impl Finders {
    fn new(nodes: usize, holders: usize, liar: Option<NodeId>) -> Self {
        let key = |n: usize| {
            let mut bytes = [1; 32];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            PublicKey::from_bytes(bytes)
        };
        let keys: Vec<PublicKey> = (0..nodes).map(key).collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (*key, NodeId(n))).collect();
        Self { keys, ids, first_holder: nodes - holders, liar, config: Config::default() }
    }
}

fn blob(n: u8) -> BlobId {
    BlobId::from_bytes([n; 32])
}

impl Subject for Finders {
    type Node = Node;
    type Command = (BlobId, u8);
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
        let key = self.keys[boot.at.node.0];
        let mut finder = Finder::new(self.config.clone(), key, seed);
        finder.handle(boot.at.now, Input::Nodes(boot.nodes));
        if self.liar == Some(boot.at.node) {
            let others = self.keys.clone();
            return Node::Liar(Box::new(Liar::new(others, seed, boot.at.now)));
        }
        Node::Honest(Box::new(finder))
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        let from = self.keys[from.0];
        let (kind, rest) = bytes.split_first()?;
        if *kind == 0 {
            return Some(Input::Heard { from, bytes: Bytes::copy_from_slice(rest) });
        }
        Some(Input::Here { from, here: wire::from_cbor(rest).ok()? })
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, (id, enough): (BlobId, u8)) -> Input {
        Input::Look { id, enough }
    }

    fn output(&self, at: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Publish(bytes) => {
                let others = (0..self.keys.len()).map(NodeId).filter(|node| *node != at.node);
                let message = [&[0][..], &bytes].concat();
                others.for_each(|to| effects.send(to, message.clone()));
            }
            Output::Send { to, here } => {
                let to = self.ids[&to];
                effects.send(to, [vec![1], wire::to_cbor::<Here>(&here)].concat());
                effects.observe(Event::Answered(to));
            }
            Output::Check { from, nonce, .. } => {
                let held = if at.node.0 >= self.first_holder { u16::MAX } else { 0 };
                effects.input(Input::Checked { from, nonce, held, whole: held });
            }
            Output::Found { peer, .. } => effects.observe(Event::Found(self.ids[&peer])),
            Output::Fault { peer, .. } => effects.observe(Event::Fault(self.ids[&peer])),
            Output::Find { .. } => effects.sometimes("searched for records"),
            Output::Provide { .. } | Output::StopProviding { .. } => {}
        }
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Found by the first node.
    found: Vec<NodeId>,
    answers: BTreeMap<NodeId, usize>,
}

fn watch(world: &mut World<Finders>, subject: &Finders) -> Rc<RefCell<Seen>> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let (noted, checked) = (seen.clone(), subject.clone());
    world.invariant("only holders are found, only liars are blamed", move |world| {
        let mut seen = noted.borrow_mut();
        for (node, event) in world.observed() {
            match event {
                Event::Found(by) if Some(*by) != checked.liar && by.0 < checked.first_holder => {
                    return Err(format!("{node} found {by}, which holds nothing"));
                }
                Event::Found(by) if *node == NodeId(0) => seen.found.push(*by),
                Event::Found(_) => {}
                Event::Answered(to) => *seen.answers.entry(*to).or_default() += 1,
                Event::Fault(by) if Some(*by) != checked.liar => {
                    return Err(format!("{node} blames {by}"));
                }
                Event::Fault(_) => world.sometimes("fault"),
            }
        }
        Ok(())
    });
    let config = subject.config.clone();
    world.invariant("memory is bounded", move |world| {
        let node = world.touched().and_then(|node| world.node(node)).and_then(Node::honest);
        let Some(finder) = node else { return Ok(()) };
        let Config { max_searches, max_blobs, max_askers, max_answers, max_own, .. } = config;
        let most = [max_searches, max_searches, max_blobs, max_askers, max_answers, max_own];
        let held = finder.sizes();
        let is_over = held.iter().zip(most).any(|(held, most)| *held > most);
        if is_over { Err(format!("{held:?} of {most:?}")) } else { Ok(()) }
    });
    seen
}

/// Whatever the share of holders, enough are found in time, and few more answer than are wanted.
#[test]
fn few_of_many_answer() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "finder::few_of_many_answer");
    let demanded = ["many holders", "one holder", "nobody holds it"];
    runner.seeds(16).sometimes(&demanded).run(|mut run| {
        let nodes = 2 + run.draw.below(298);
        let holders = match run.draw.below(4) {
            0 => 0,
            1 => 1,
            2 => run.draw.below(nodes),
            _ => nodes - 1,
        };
        let enough = u8::try_from(run.draw.number(1..=8)).expect("it is small");
        let latency = run.draw.duration(Duration::from_millis(1)..=Duration::from_millis(120));
        let mut scenario = Scenario::calm(nodes);
        scenario.link = Link { latency, ..Link::GOOD };
        let subject = Finders::new(nodes, holders, None);
        let mut world = World::new(run, scenario, subject.clone());
        let seen = watch(&mut world, &subject);
        world.sometimes(match holders {
            0 => "nobody holds it",
            1 => "one holder",
            _ => "many holders",
        });
        world.command(NodeId(0), (blob(1), enough));
        // Five slots at most among so few nodes, and there and back.
        world.run_for(subject.config.slot * 5 + Duration::from_millis(300));
        let seen = seen.borrow();
        let wanted = usize::from(enough).min(holders);
        assert!(seen.found.len() >= wanted, "{} of {holders} found", seen.found.len());
        let answers = seen.answers.get(&NodeId(0)).copied().unwrap_or(0);
        let most = 12 * usize::from(enough) + 8;
        assert!(answers <= most, "{answers} of {holders} answer, {enough} are enough");
        drop(seen);
        world.finish()
    });
}

/// On a bad network and with one that floods, nobody is blamed wrongly, memory is bounded, the
/// liar gets no more answers than it may, and after the heal holders are found.
#[test]
fn hostile() {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "finder::hostile");
    let demanded = ["fault", "searched for records", "sim: message lost"];
    runner.seeds(12).sometimes(&demanded).run(|mut run| {
        let limits = Limits { nodes: 4..=12, ..Limits::default() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let (nodes, heals) = (scenario.nodes, scenario.heals);
        let holders = 1 + run.draw.below(nodes - 2);
        let liar = Some(NodeId(1));
        let subject = Finders::new(nodes, holders.min(nodes - 2), liar);
        let mut world = World::new(run, scenario, subject.clone());
        let seen = watch(&mut world, &subject);
        for n in 0..20 {
            let at = Time::ZERO + world.draw().duration(Duration::ZERO..=Duration::from_secs(30));
            let node = NodeId(world.draw().below(nodes));
            world.command_at(at, node, (blob(n), 3));
        }
        world.run_until(heals);
        let answers = seen.borrow().answers.get(&NodeId(1)).copied().unwrap_or(0);
        let Config { max_looks, allowance, .. } = subject.config;
        let windows = heals.since(Time::ZERO).as_secs() / allowance.as_secs() + 2;
        // A node that crashed counts anew.
        let lives: u64 = world.ids().map(|node| u64::from(world.life(node))).sum();
        let most = u64::from(max_looks) * (windows * nodes as u64 + lives);
        assert!(answers as u64 <= most, "{answers} answers to the liar");
        seen.borrow_mut().found.clear();
        world.run_for(Duration::from_secs(1));
        world.command(NodeId(0), (blob(200), 1));
        let found = |_: &World<Finders>| {
            let seen = seen.borrow();
            seen.found.iter().any(|by| by.0 >= subject.first_holder)
        };
        world.eventually("a holder is found", Duration::from_secs(5), found);
        world.finish()
    });
}
