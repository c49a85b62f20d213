//! Replicas of a space whose writers write, crash, are cut off, and lie.

mod checks;
mod flood;
pub(crate) mod host;
mod liar;
mod members;
mod restored;
mod workload;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use aether_core::{
    PublicKey, SecretKey,
    wire::{Reader, Writer},
};
use aether_crdt::proto::{
    entry::{Collection, Draft, Kind},
    feed::Evidence,
    id::{EntryId, FeedId},
    map::Edit,
    replica::{Change, Config, Fault, Keys, Replica, WriteError},
    space::{Genesis, Mode},
    sync::Message,
    time::Wall,
};
use aether_sim::{At, Boot, Effects, Limits, Mixed, NodeId, Runner, Scenario, Subject, World};

use self::{
    checks::{Model, all_agree, check_state, check_written, world},
    host::{Host, Input, OWN, OWNER, Output, Packet, Rows, What},
    liar::Liar,
    workload::draw_writes,
};

/// What the true wall clock shows when the simulation begins.
const BEGIN: u64 = 1_800_000_000_000;

#[derive(Clone, Debug)]
enum Command {
    /// A user writes an entry of so many bytes.
    Write(usize),
    /// A user changes collections.
    Edit(Vec<Edit>),
    /// A user changes a member's access.
    Change(PublicKey, Change),
    /// The owner discards payloads: those that are dead, or else anything.
    Discard(Option<u64>),
}

#[derive(Debug)]
enum Event {
    /// An entry is synced, and with it these keys are added to the log.
    Written(EntryId, Vec<Vec<u8>>),
    Forked(FeedId, Evidence),
    Faulted(NodeId, Fault),
    Violated(String),
    Outrun,
}

/// The key of the space's owner.
fn owner() -> SecretKey {
    SecretKey::from_bytes([200; 32])
}

#[derive(Clone, Debug)]
struct Guests {
    genesis: Genesis,
    keys: Vec<SecretKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    liar: Option<NodeId>,
    /// How many branches the liar signs at once, if that is all it does.
    branches: usize,
    model: Rc<RefCell<Model>>,
}

impl Guests {
    fn new(nodes: usize, liar: Option<NodeId>) -> Self {
        Self::in_space(Mode::Open, nodes, liar)
    }

    /// Of a space whose owner's key the first node has.
    fn granted(nodes: usize, liar: Option<NodeId>) -> Self {
        Self::in_space(Mode::Granted, nodes, liar)
    }

    fn in_space(mode: Mode, nodes: usize, liar: Option<NodeId>) -> Self {
        let genesis = Genesis::new(mode, [7; 16], "guests", [owner().public()]);
        let keys = (1u8..).take(nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let keys: Vec<SecretKey> = keys.collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (key.public(), NodeId(n))).collect();
        Self {
            genesis: genesis.expect("a name and a key"),
            keys,
            ids,
            liar,
            branches: 0,
            model: Rc::default(),
        }
    }

    fn key(&self, node: NodeId) -> PublicKey {
        self.keys[node.0].public()
    }

    fn wall(at: At) -> Wall {
        Wall::from_millis(BEGIN + at.wall.as_micros() / 1000)
    }

    fn honest<'a>(&self, world: &'a World<Self>) -> impl Iterator<Item = &'a Host> {
        (0..self.keys.len()).map(NodeId).filter_map(|node| world.node(node)?.honest())
    }
}

impl Subject for Guests {
    type Node = Mixed<Host, Liar>;
    type Command = Command;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Self::Node {
        let (at, key) = (boot.at, self.keys[boot.at.node.0].clone());
        if self.liar == Some(at.node) {
            let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
            let space = self.genesis.space_id();
            let is_open = self.genesis.mode() == Mode::Open;
            let mut liar = Liar::new(space, key, at.now, Self::wall(at), seed, is_open);
            liar.flood(self.branches);
            return Mixed::Liar(Box::new(liar));
        }
        let own = [OWN, OWNER].into_iter().filter_map(|of| boot.disk.get(&of)).map(|bytes| {
            EntryId::read(&mut Reader::new(bytes)).expect("what was put is read back")
        });
        let own: Vec<EntryId> = own.collect();
        let rows = boot.disk.iter().filter(|(key, _)| *key != OWN && *key != OWNER);
        let rows: Rows = rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let (genesis, public) = (self.genesis.clone(), key.public());
        let is_owners = at.node == NodeId(0) && genesis.mode() != Mode::Open;
        let keys = Keys { own: key, owner: is_owners.then(owner) };
        let replica = Replica::open(Config::default(), genesis, keys, boot.seed, rows, own);
        let replica = replica.expect("rows in memory are read");
        Mixed::Honest(Box::new(Host::new(replica, public, at.now, Self::wall(at))))
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        Some(Input::Packet { from: self.key(from), packet: Packet::decode(bytes)? })
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, at: At, command: Command) -> Input {
        let bytes = match command {
            Command::Write(bytes) => bytes,
            Command::Edit(edits) => return Input::Edit(edits),
            Command::Change(member, change) => return Input::Change(member, change),
            Command::Discard(lie) => return Input::Discard(lie),
        };
        let mut draft = Draft::new();
        // No version of a change, so it is kept unread.
        let op = vec![0x80 + u8::try_from(at.node.0).expect("few nodes"); bytes];
        draft.op(Collection::new(Kind::Document, "notes"), op).expect("there is room");
        Input::Write { draft, cites: Vec::new() }
    }

    fn connection(&self, _: At, peer: NodeId, up: bool) -> Option<Input> {
        let peer = self.key(peer);
        Some(if up { Input::Up(peer) } else { Input::Down(peer) })
    }

    fn output(&self, _: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, packet } => effects.send(self.ids[&to], packet.encode()),
            Output::Persist { generation, changes, own } => {
                let mut changes: Vec<_> = changes.into_iter().collect();
                for own in own {
                    let mut writer = Writer::default();
                    own.write(&mut writer);
                    let is_owners = own.feed.author == owner().public();
                    let key = if is_owners { OWNER } else { OWN };
                    changes.push((key.to_vec(), Some(writer.finish())));
                }
                effects.write(changes);
                effects.sync();
                effects.input(Input::Persisted(generation));
            }
            Output::Written(Some(id), keys) => effects.observe(Event::Written(id, keys)),
            Output::Written(None, _) => effects.sometimes("nothing to write"),
            Output::Refused(WriteError::Busy) => effects.sometimes("write refused"),
            Output::Refused(WriteError::NotGranted) if self.genesis.mode() != Mode::Open => {
                effects.sometimes("writer without a grant");
            }
            Output::Refused(WriteError::Access(_)) => effects.sometimes("change refused"),
            Output::Refused(why) => effects.observe(Event::Violated(format!("refused: {why}"))),
            Output::Forked(feed, evidence) => effects.observe(Event::Forked(feed, evidence)),
            Output::Outrun => effects.observe(Event::Outrun),
            Output::Faulted(peer, fault) => {
                effects.observe(Event::Faulted(self.ids[&peer], fault));
            }
            Output::Violated(what) => effects.observe(Event::Violated(what)),
            Output::Sometimes(name) => effects.sometimes(name),
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        let Some(Packet { stream, what }) = Packet::decode(bytes) else { return "torn".into() };
        let what = match what {
            What::Begin => "begin".into(),
            What::End => "end".into(),
            What::Message(bytes) => match Message::decode(&bytes) {
                Ok(Some(Message::Hello { asks, digest, .. })) => {
                    format!("hello {asks} {:02x?}", &digest[..4])
                }
                Ok(Some(Message::Rows { differing, rows, .. })) => {
                    format!("rows {differing} {} bytes", rows.len())
                }
                Ok(Some(Message::Entry { n, payload, .. })) => {
                    format!("entry {n} {} bytes", payload.len())
                }
                Ok(Some(Message::Ack { upto, not })) => format!("ack {upto} not {not:?}"),
                Ok(Some(Message::Evidence { .. })) => "evidence".into(),
                Ok(Some(Message::Ask { entry, floor })) => {
                    format!("ask {:?} above {floor}", EntryId::from(entry))
                }
                Ok(Some(Message::Credential { .. })) => "credential".into(),
                Ok(None) | Err(_) => "nonsense".into(),
            },
        };
        format!("{stream}: {what}")
    }
}

/// Crashes with lost tails, partitions, streams that break and clocks that err: in the end all hold
/// all that anybody was told is written.
#[test]
fn what_was_written_is_held_by_all() {
    let demanded = ["entry refused", "session ended in peace"];
    let runner = Runner::new(env!("CARGO_PKG_NAME"), "feeds::what_was_written_is_held_by_all");
    runner.seeds(24).sometimes(&demanded[..1]).run(|mut run| {
        let limits = Limits { nodes: 2..=6, ..Limits::streams() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let guests = Guests::new(scenario.nodes, None);
        let mut world = world(run, scenario, &guests);
        let heals = world.heals();
        draw_writes(&mut world, &guests, heals);
        world.run_until(heals);
        world.eventually("all hold the same", Duration::from_secs(120), |world| {
            all_agree(world, &guests)
        });
        check_written(&world, &guests);
        check_state(&world, &guests);
        world.finish()
    });
}

/// And with a liar among them who signs a tree and shows everybody another branch of it.
#[test]
fn honest_replicas_agree_though_a_writer_forks_and_lies() {
    let demanded = ["fork seen", "both lanes of a fork kept", "evidence sent", "liar found out"];
    let runner = Runner::new(
        env!("CARGO_PKG_NAME"),
        "feeds::honest_replicas_agree_though_a_writer_forks_and_lies",
    );
    runner.seeds(24).sometimes(&demanded).run(|mut run| {
        let limits = Limits { nodes: 3..=6, ..Limits::streams() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let liar = NodeId(run.draw.below(scenario.nodes));
        let guests = Guests::new(scenario.nodes, Some(liar));
        let mut world = world(run, scenario, &guests);
        let heals = world.heals();
        draw_writes(&mut world, &guests, heals);
        world.run_until(heals + Duration::from_secs(30));
        world.eventually("all hold the same", Duration::from_secs(300), |world| {
            all_agree(world, &guests)
        });
        check_written(&world, &guests);
        check_state(&world, &guests);
        world.finish()
    });
}
