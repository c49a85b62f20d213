//! The history of a text that several people typed, apart and together, through feeds: each agent
//! types on a replica of its own, as of what it had seen then, and in the middle of it they are cut
//! off from each other. All replicas end with the same heads and the same text.
//!
//! Without a file a history is generated, and plain Automerge says what must come out. With
//! `AETHER_TRACE=FILE.json` it is one of the concurrent traces of
//! <https://github.com/josephg/editing-traces>, unpacked, and must end with its `endContent`:
//!
//! `AETHER_TRACE=FILE.json cargo test -p aether-crdt --no-default-features --test it trace`

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use aether_core::{Protocol as _, PublicKey, SecretKey, Time};
use aether_crdt::proto::{
    book,
    document::{
        ActorId, ChangeHash,
        body::{Body, Settings},
        content::{ObjId, TextUnit},
        edit::EditError,
        op::{read_op, write_op},
        state::{Config, Document},
        template::{self, TEXT, Template},
        weight::DEFAULT_LIMIT,
    },
    entry::{Collection, Draft},
    id::{FeedId, Position},
    replica::{self, Input, Output, Replica},
    space::{Genesis, Mode},
    time::Wall,
};
use automerge::{Automerge, ReadDoc as _, transaction::Transactable as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

/// Changes to an entry, at most.
const OPS: usize = 64;

/// What an agent did at once: positions are those of the text as its parents left it.
#[derive(Debug)]
struct Step {
    parents: Vec<usize>,
    agent: usize,
    splices: Vec<(usize, usize, String)>,
}

/// A history, parents before children, and what it ends with.
struct History {
    agents: usize,
    steps: Vec<Step>,
    end: String,
    heads: Option<Vec<ChangeHash>>,
}

fn read_trace(path: &str) -> History {
    let bytes = std::fs::read(path).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(trace["kind"], "concurrent", "{path} is no concurrent trace");
    let number = |value: &serde_json::Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let splice = |patch: &serde_json::Value| {
        (number(&patch[0]), number(&patch[1]), patch[2].as_str().unwrap().to_owned())
    };
    let step = |step: &serde_json::Value| Step {
        parents: step["parents"].as_array().unwrap().iter().map(number).collect(),
        agent: number(&step["agent"]),
        splices: step["patches"].as_array().unwrap().iter().map(splice).collect(),
    };
    History {
        agents: number(&trace["numAgents"]),
        steps: trace["txns"].as_array().unwrap().iter().map(step).collect(),
        end: trace["endContent"].as_str().unwrap().to_owned(),
        heads: None,
    }
}

/// What agents type who now and then see what another has typed.
fn generate(rng: &mut ChaCha12Rng, actors: &[ActorId], template: &[u8]) -> History {
    let new = |actor: &ActorId| {
        let mut document = Automerge::new().with_actor(actor.0.into());
        document.apply_changes([automerge::Change::try_from(template).unwrap()]).unwrap();
        document
    };
    let mut documents: Vec<Automerge> = actors.iter().map(new).collect();
    let (mut steps, mut hashes) = (Vec::new(), Vec::new());
    for _ in 0..rng.random_range(20..200) {
        let agent = rng.random_range(0..actors.len());
        if rng.random_bool(0.2) {
            let mut other = documents[rng.random_range(0..actors.len())].clone();
            documents[agent].merge(&mut other).unwrap();
        }
        let document = &mut documents[agent];
        let before = document.get_heads();
        let (_, text) = document.get(automerge::ROOT, TEXT).unwrap().unwrap();
        let length = document.length(&text);
        let at = rng.random_range(0..=length);
        let delete = rng.random_range(0..=(length - at).min(3));
        let insert = ["", "a", "bc", "def "][rng.random_range(usize::from(delete == 0)..4)];
        let done = document.transact(|tx| tx.splice_text(&text, at, delete.cast_signed(), insert));
        done.unwrap();
        hashes.push(document.get_heads()[0]);
        let is_parent = |(step, hash)| before.contains(hash).then_some(step);
        let parents = hashes.iter().enumerate().filter_map(is_parent).collect();
        steps.push(Step { parents, agent, splices: vec![(at, delete, insert.to_owned())] });
    }
    let mut all = documents.swap_remove(0);
    documents.iter_mut().for_each(|other| drop(all.merge(other).unwrap()));
    let (_, text) = all.get(automerge::ROOT, TEXT).unwrap().unwrap();
    let mut heads: Vec<_> = all.get_heads().iter().map(|head| ChangeHash(head.0)).collect();
    heads.sort_unstable();
    History { agents: actors.len(), steps, end: all.text(&text).unwrap(), heads: Some(heads) }
}

fn genesis() -> Genesis {
    let owner = SecretKey::from_bytes([200; 32]).public();
    Genesis::new(Mode::Open, [7; 16], "letters", [owner]).unwrap()
}

fn letter() -> Collection {
    Template::text().document("letter")
}

fn settings(actor: ActorId) -> Settings {
    Settings { actor, unit: TextUnit::CodePoint, limit: DEFAULT_LIMIT }
}

/// A replica on a disk that syncs at once, and the document that it shows.
struct Node {
    key: PublicKey,
    replica: Replica<Memory>,
    feed: FeedId,
    document: Document,
    /// Up to where its entries were given to the document, and the changes in them.
    at: Position,
    seen: BTreeSet<ChangeHash>,
}

impl Node {
    fn new(number: u8) -> Self {
        let key = SecretKey::from_bytes([number + 1; 32]);
        let public = key.public();
        let config = replica::Config::default();
        let opened =
            Replica::open(config, genesis(), key.into(), [number; 32], Memory::new(), None);
        let mut replica = opened.unwrap();
        replica.handle(Time::ZERO, Input::Wall(Wall::from_millis(1_800_000_000_000)));
        let feed = replica.own_feed(Time::ZERO);
        let actor = ActorId::of(&genesis().space_id(), &letter(), &feed, 0);
        let mut document = Document::new(Config::new(settings(actor)));
        let template = Template::text();
        let (_, chunk) = template.change().unwrap();
        document.receive(Time::ZERO, chunk, &template::ACTOR, |_| true).unwrap();
        document.settle();
        let (at, seen) = (Position::ZERO, BTreeSet::new());
        Self { key: public, replica, feed, document, at, seen }
    }

    fn actor(&self) -> ActorId {
        ActorId::of(&genesis().space_id(), &letter(), &self.feed, 0)
    }

    /// Gives the document what came since.
    fn read(&mut self) {
        let rows = self.replica.book().rows();
        let found: Vec<_> = book::changes(rows, &letter(), self.at).map(Result::unwrap).collect();
        for (at, local, tip) in found {
            self.at = at;
            let entry = book::entry(self.replica.book().rows(), local, tip).unwrap().unwrap();
            let feed = entry.header().feed();
            for (_, op) in entry.payload().ops() {
                let (lane, chunk) = read_op(op).unwrap();
                let actor = ActorId::of(&genesis().space_id(), &letter(), &feed, lane);
                self.document.receive(Time::ZERO, chunk, &actor, |_| true).unwrap();
                let change = aether_crdt::proto::document::Change::decode(chunk, &actor).unwrap();
                self.seen.insert(change.hash);
            }
        }
    }
}

/// Nodes and the links between them.
struct World {
    nodes: Vec<Node>,
    now: Time,
    linked: BTreeSet<(usize, usize)>,
    queue: VecDeque<(usize, usize, Vec<u8>)>,
}

impl World {
    fn new(nodes: usize) -> Self {
        let nodes = (0..u8::try_from(nodes).unwrap()).map(Node::new).collect();
        Self { nodes, now: Time::ZERO, linked: BTreeSet::new(), queue: VecDeque::new() }
    }

    fn handle(&mut self, node: usize, input: Input) {
        self.nodes[node].replica.handle(self.now, input);
        while let Some(output) = self.nodes[node].replica.poll_output() {
            match output {
                Output::Persist { generation, changes, .. } => {
                    let disk = self.nodes[node].replica.base_mut();
                    for (row, value) in Arc::unwrap_or_clone(changes) {
                        match value {
                            Some(value) => disk.insert(row, value),
                            None => disk.remove(&row),
                        };
                    }
                    let persisted = Input::Persisted { generation };
                    self.nodes[node].replica.handle(self.now, persisted);
                }
                Output::Send { to, message } => {
                    let to = self.nodes.iter().position(|other| other.key == to).unwrap();
                    if self.linked.contains(&(node, to)) {
                        self.queue.push_back((node, to, message.encode()));
                    }
                }
                Output::Close { fault, .. } => assert_eq!(fault, None, "nobody lies"),
                Output::Refused { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// Connects those whom `together` says, and cuts off the others.
    fn link(&mut self, together: impl Fn(usize, usize) -> bool) {
        for one in 0..self.nodes.len() {
            for other in (one + 1)..self.nodes.len() {
                let (is, will_be) = (self.linked.contains(&(one, other)), together(one, other));
                if is == will_be {
                    continue;
                }
                for (from, to) in [(one, other), (other, one)] {
                    let peer = self.nodes[to].key;
                    if will_be {
                        self.linked.insert((from, to));
                        self.handle(from, Input::Connected { peer, opens: from < to });
                    } else {
                        self.linked.remove(&(from, to));
                        self.queue.retain(|(a, b, _)| (*a, *b) != (from, to));
                        self.handle(from, Input::Disconnected { peer });
                    }
                }
            }
        }
    }

    /// Delivers all that is said.
    fn deliver(&mut self) {
        while let Some((from, to, bytes)) = self.queue.pop_front() {
            let from = self.nodes[from].key;
            self.handle(to, Input::Message { from, bytes });
        }
        self.nodes.iter_mut().for_each(Node::read);
    }

    /// Lets so many seconds go by.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            for node in 0..self.nodes.len() {
                let due = self.nodes[node].replica.poll_timeout();
                if due.is_some_and(|due| due <= self.now) {
                    self.handle(node, Input::Timeout);
                }
            }
            self.deliver();
        }
    }
}

/// Where an agent is, and its text as of what it had seen when it typed.
struct Agent {
    body: Body,
    has: BTreeSet<usize>,
    left: VecDeque<usize>,
}

/// The changes that the steps became, with their actors.
type Made = Vec<Option<(ActorId, ChangeHash, Vec<u8>)>>;

impl Agent {
    fn new(actor: ActorId, number: usize, steps: &[Step]) -> Self {
        let mut body = Body::new(settings(actor));
        let template = Template::text();
        body.take(template.change().unwrap().1, &template::ACTOR, |_| true).unwrap();
        body.apply().unwrap();
        let left = (0..steps.len()).filter(|step| steps[*step].agent == number).collect();
        Self { body, has: BTreeSet::new(), left }
    }

    /// Takes what a step builds on, and nothing else; says whether it is all at its node.
    fn catch_up(&mut self, step: usize, steps: &[Step], made: &Made, node: &Node) -> bool {
        let (mut open, mut needed) = (steps[step].parents.clone(), BTreeSet::new());
        while let Some(parent) = open.pop() {
            if !self.has.contains(&parent) && needed.insert(parent) {
                open.extend(&steps[parent].parents);
            }
        }
        let is_there = |step: &usize| {
            made[*step].as_ref().is_some_and(|(_, hash, _)| node.seen.contains(hash))
        };
        if !needed.iter().all(is_there) {
            return false;
        }
        for step in needed {
            let (actor, _, chunk) = made[step].as_ref().unwrap();
            self.body.take(chunk, actor, |_| true).unwrap();
            self.has.insert(step);
        }
        self.body.apply().unwrap();
        true
    }

    /// Types, as one change, and gives that for an entry.
    fn type_step(&mut self, step: usize, steps: &[Step], made: &mut Made) -> Vec<u8> {
        let done = self.body.edit(|edit| {
            let text = edit.view()?.get(ObjId::Root, TEXT)?.and_then(|node| node.object());
            let text = text.ok_or(EditError::NotFound)?;
            for (at, delete, insert) in &steps[step].splices {
                edit.splice_text(text, *at, *delete, insert)?;
            }
            Ok::<_, EditError>(())
        });
        done.unwrap();
        let change = self.body.commit(0).unwrap().unwrap();
        let op = write_op(0, &change.bytes);
        made[step] = Some((self.body.settings().actor, change.hash, change.bytes));
        self.has.insert(step);
        op
    }
}

/// Has all agents type what they typed; in the middle they are cut off from each other until nobody
/// can go on without what another typed.
fn replay(world: &mut World, history: &History) -> Made {
    let steps = &history.steps;
    let mut made: Made = (0..steps.len()).map(|_| None).collect();
    let new = |number: usize| Agent::new(world.nodes[number].actor(), number, steps);
    let mut agents: Vec<Agent> = (0..history.agents).map(new).collect();
    let (mut count, mut was_cut) = (0, false);
    world.link(|_, _| true);
    world.pass(3);
    while count < steps.len() {
        let mut went_on = false;
        for (number, agent) in agents.iter_mut().enumerate() {
            let mut draft = Draft::new();
            let mut ops = 0;
            while ops < OPS
                && let Some(step) = agent.left.front().copied()
                && agent.catch_up(step, steps, &made, &world.nodes[number])
            {
                agent.left.pop_front();
                draft.op(letter(), agent.type_step(step, steps, &mut made)).unwrap();
                ops += 1;
            }
            if ops > 0 {
                world.handle(number, Input::Write { token: 1, draft, cites: Vec::new() });
                (count, went_on) = (count + ops, true);
            }
        }
        if !was_cut && count >= steps.len() / 2 {
            was_cut = true;
            world.link(|one, other| one % history.agents == other % history.agents);
        }
        world.deliver();
        if !went_on {
            assert!(was_cut, "a step waits for what nobody typed");
            world.link(|_, _| true);
            world.pass(5);
        }
    }
    world.link(|_, _| true);
    world.pass(120);
    made
}

/// Replays a history on so many nodes, and holds all of them against what it must end with.
fn check(nodes: usize, history: impl FnOnce(&[ActorId]) -> History, what: &str) {
    let mut world = World::new(nodes);
    let actors: Vec<ActorId> = world.nodes.iter().map(Node::actor).collect();
    let history = history(&actors);
    assert!(history.agents <= nodes);
    let made = replay(&mut world, &history);
    let digest = world.nodes[0].replica.digest();
    let mut heads = None;
    for node in &mut world.nodes {
        assert_eq!(node.replica.digest(), digest, "{what}");
        assert_eq!(node.seen.len(), made.len(), "{what}");
        node.document.settle();
        let view = node.document.view().unwrap();
        let text = view.get(ObjId::Root, TEXT).unwrap().unwrap().object().unwrap();
        assert_eq!(view.text(text).unwrap(), history.end, "{what}");
        let now = node.document.body().unwrap().heads().unwrap();
        assert_eq!(heads.get_or_insert_with(|| now.clone()), &now, "{what}");
        assert!(history.heads.as_ref().is_none_or(|heads| *heads == now), "{what}");
    }
}

#[test]
fn all_replicas_end_with_what_plain_automerge_ends_with() {
    if let Ok(path) = std::env::var("AETHER_TRACE") {
        return check(5, |_| read_trace(&path), &path);
    }
    let template = Template::text();
    let (_, chunk) = template.change().unwrap();
    for seed in 0..12 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let agents = rng.random_range(2..5);
        let history = |actors: &[ActorId]| generate(&mut rng, &actors[..agents], chunk);
        check(5, history, &format!("seed {seed}"));
    }
}
