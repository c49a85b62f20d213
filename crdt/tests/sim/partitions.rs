//! Partitioned maps whose members come, go, crash and are cut off.

mod checks;
mod node;
mod operation;
mod packet;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use aether_core::{
    PublicKey, SecretKey, Time,
    wire::{Reader, Writer},
};
use aether_crdt::proto::{
    id::EntryId,
    partitions::{Level, Partitioning, Standing},
    replica::{Config, Replica},
    space::{Genesis, Mode},
    time::Wall,
};
use aether_sim::{At, Boot, Effects, Limits, NodeId, Runner, Scenario, Subject, World};

use self::{
    checks::{Model, check_end, is_settled, world},
    node::{Input, Node, Output, Place},
    packet::Packet,
};
use super::feeds::host::{Host, OWN, Rows};

/// What the true wall clock shows when the simulation begins.
const BEGIN: u64 = 1_800_000_000_000;

/// What a user wants.
#[derive(Clone, Debug)]
enum Command {
    /// Writes the settings.
    Found,
    /// Changes how the node stands among the members; none takes it from the list.
    Stand(Option<Standing>),
    /// Puts a key that nobody else puts.
    Put(u32, Level),
    /// Reads a key.
    Get(u32, Level),
}

/// What checkers see.
#[derive(Clone, Debug)]
enum Event {
    /// So many owners hold an entry of a partition, and its writer is told so.
    Held(u16, EntryId, usize),
    /// A user was told that a key is written; a hint, perhaps.
    Put(u32, Level),
    /// A user asked for a key, by this number of the node's operations.
    Asked(u64, u32),
    /// And was told whether it is there.
    Got(u64, u32, bool),
    /// A copy was dropped, of which these were the owners, with these entries.
    Dropped(u16, Vec<PublicKey>, Vec<EntryId>),
    Violated(String),
}

#[derive(Clone, Debug)]
struct Guests {
    genesis: Genesis,
    partitioning: Partitioning,
    keys: Vec<SecretKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    model: Rc<RefCell<Model>>,
}

impl Guests {
    fn new(nodes: usize, partitioning: Partitioning) -> Self {
        let keys = (1u8..).take(nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let keys: Vec<SecretKey> = keys.collect();
        // An owner's key writes no payloads.
        let owner = SecretKey::from_bytes([200; 32]).public();
        let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [owner]);
        Self {
            genesis: genesis.expect("a name and a key"),
            partitioning,
            ids: keys.iter().enumerate().map(|(n, key)| (key.public(), NodeId(n))).collect(),
            keys,
            model: Rc::default(),
        }
    }

    fn wall(at: At) -> Wall {
        Wall::from_millis(BEGIN + at.wall.as_micros() / 1000)
    }

    /// A host of a space over what a disk has of it.
    fn host(&self, at: At, seed: [u8; 32], place: Place, disk: Rows) -> Host {
        let key = self.keys[at.node.0].clone();
        let own = disk.get(&OWN[..]).map(|bytes| {
            EntryId::read(&mut Reader::new(bytes)).expect("what was put is read back")
        });
        let rows: Rows = disk.into_iter().filter(|(key, _)| *key != OWN).collect();
        let (genesis, public) = (place.genesis(&self.genesis), key.public());
        let replica = Replica::open(Config::default(), genesis, key.into(), seed, rows, own);
        let replica = replica.expect("rows in memory are read");
        Host::new(replica, public, at.now, Self::wall(at))
    }
}

impl Subject for Guests {
    type Node = Node;
    type Command = Command;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let at = boot.at;
        let mut disks: BTreeMap<Place, Rows> = BTreeMap::from([(Place::CONTROL, Rows::new())]);
        for (key, value) in boot.disk.iter() {
            let (place, row) = Place::split(key);
            let rows = disks.entry(place).or_default();
            // The mark that a space is open has no row.
            if !row.is_empty() {
                rows.insert(row.to_vec(), value.to_vec());
            }
        }
        let hosts = disks
            .into_iter()
            .map(|(place, rows)| (place, self.host(at, place.seed(boot.seed), place, rows)));
        let key = self.keys[at.node.0].clone();
        let mut node = Node::new(self.genesis.clone(), key, boot.seed, self.partitioning);
        node.begin(at.now, Self::wall(at), hosts.collect());
        node
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        let from = self.keys[from.0].public();
        Some(Input::Packet { from, packet: Packet::decode(bytes)? })
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, command: Command) -> Input {
        Input::Command(command)
    }

    fn connection(&self, _: At, peer: NodeId, up: bool) -> Option<Input> {
        let peer = self.keys[peer.0].public();
        Some(if up { Input::Up(peer) } else { Input::Down(peer) })
    }

    fn output(&self, _: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, packet } => effects.send(self.ids[&to], packet.encode()),
            Output::Persist { place, generation, changes, own } => {
                let mut all: Vec<_> =
                    changes.into_iter().map(|(row, value)| (place.key(&row), value)).collect();
                for own in own {
                    let mut writer = Writer::default();
                    own.write(&mut writer);
                    all.push((place.key(&OWN), Some(writer.finish())));
                }
                effects.write(all);
                effects.sync();
                effects.input(Input::Persisted(place, generation));
            }
            Output::Open(place) => {
                effects.put(place.key(&[]), []);
                effects.sync();
                effects.input(Input::Opened(place));
            }
            Output::Drop { place, rows } => {
                let gone = rows.into_iter().chain([Vec::new(), OWN.to_vec()]);
                effects.write(gone.map(|row| (place.key(&row), None)).collect());
                effects.sync();
                effects.input(Input::Dropped(place));
            }
            Output::Observed(event) => effects.observe(event),
            Output::Sometimes(name) => effects.sometimes(name),
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        Packet::decode(bytes).map_or_else(|| "torn".to_owned(), |packet| packet.describe())
    }
}

/// Users put keys that nobody else puts, and read what was put.
fn draw_operations(world: &mut World<Guests>, guests: &Guests, from: Time, until: Time) {
    let levels = [Level::One, Level::Quorum, Level::Quorum, Level::All];
    for n in 0..30 + world.draw().below(30) {
        let key = u32::try_from(n).expect("few");
        let at = |draw: &mut aether_sim::Draw| {
            Time::from_micros(draw.number(from.as_micros()..=until.as_micros()))
        };
        let (puts, gets) = (at(world.draw()), at(world.draw()));
        let level = *world.draw().pick(&levels).expect("levels");
        let node = |world: &mut World<Guests>| NodeId(world.draw().below(guests.keys.len()));
        guests.model.borrow_mut().attempted.insert(key);
        let (writer, reader) = (node(world), node(world));
        world.command_at(puts, writer, Command::Put(key, level));
        world.command_at(gets, reader, Command::Get(key, Level::Quorum));
    }
}

fn scenario(run: &mut aether_sim::Run) -> (Scenario, Partitioning) {
    let limits = Limits { nodes: 3..=5, heals: Time::from_millis(60_000), ..Limits::streams() };
    let scenario = Scenario::draw(&mut run.draw, &limits);
    let replicas = [1, 2, 3, 3, 3];
    let replicas = *run.draw.pick(&replicas).expect("some");
    (scenario, Partitioning::new(4, replicas).expect("within the bounds"))
}

/// Members come and go while nodes crash and are cut off: nothing that was acknowledged is lost, no
/// copy goes before all owners have what is in it, and in the end all owners hold the same.
#[test]
fn nothing_is_lost_while_members_come_and_go() {
    let demanded = ["copy dropped", "hint taken", "frost ended", "write held by a quorum"];
    let name = "partitions::nothing_is_lost_while_members_come_and_go";
    let runner = Runner::new(env!("CARGO_PKG_NAME"), name);
    runner.seeds(12).sometimes(&demanded).run(|mut run| {
        let (scenario, partitioning) = scenario(&mut run);
        let guests = Guests::new(scenario.nodes, partitioning);
        let mut world = world(run, scenario, &guests);
        let heals = world.heals();
        found(&mut world, &guests, 1);
        draw_operations(&mut world, &guests, Time::from_millis(2000), heals);
        for _ in 0..world.draw().below(12) {
            let at = Time::from_micros(world.draw().number(0..=heals.as_micros()));
            let node = NodeId(world.draw().below(guests.keys.len()));
            let standing = [Some(Standing::Joined), Some(Standing::Leaving), None];
            let standing = *world.draw().pick(&standing).expect("some");
            world.command_at(at, node, Command::Stand(standing));
        }
        world.run_until(heals);
        // Somebody is left to own what there is.
        let last = NodeId(world.draw().below(guests.keys.len()));
        world.command(last, Command::Stand(Some(Standing::Joined)));
        world.eventually(
            "owners hold the same, and nobody else anything",
            Duration::from_secs(300),
            |world| is_settled(world, &guests),
        );
        check_end(&world, &guests);
        world.finish()
    });
}

/// While the list of members stays, a read at quorum shows what was acknowledged at quorum before
/// it began.
#[test]
fn quorums_meet_while_the_members_stay() {
    let demanded = ["read after a write", "read repaired", "read at quorum refused"];
    let name = "partitions::quorums_meet_while_the_members_stay";
    let runner = Runner::new(env!("CARGO_PKG_NAME"), name);
    runner.seeds(12).sometimes(&demanded[..1]).run(|mut run| {
        let (mut scenario, partitioning) = scenario(&mut run);
        // The members find each other before trouble begins.
        let begin = Duration::from_secs(20);
        let faults = std::mem::take(&mut scenario.faults);
        scenario.faults = faults.into_iter().filter(|(at, _)| *at > Time::ZERO + begin).collect();
        let guests = Guests::new(scenario.nodes, partitioning);
        guests.model.borrow_mut().is_strict = true;
        let mut world = world(run, scenario, &guests);
        let heals = world.heals();
        found(&mut world, &guests, guests.keys.len());
        draw_operations(&mut world, &guests, Time::ZERO + begin, heals);
        world.run_until(heals);
        world.eventually(
            "owners hold the same, and nobody else anything",
            Duration::from_secs(300),
            |world| is_settled(world, &guests),
        );
        check_end(&world, &guests);
        world.finish()
    });
}

/// Node 0 founds the map, and so many join it.
fn found(world: &mut World<Guests>, guests: &Guests, members: usize) {
    world.command_at(Time::from_millis(10), NodeId(0), Command::Found);
    for node in 0..guests.keys.len().min(members) {
        let join = Command::Stand(Some(Standing::Joined));
        world.command_at(Time::from_millis(20), NodeId(node), join);
    }
}
