//! Replicas of an open space whose writers write, crash, are cut off, and lie.

mod host;
mod liar;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use aether_core::{
    Hash, PublicKey, SecretKey, Time,
    wire::{Reader, Writer},
};
use aether_crdt::proto::{
    book::Book,
    entry::{Collection, Draft, Kind},
    feed::Evidence,
    id::{EntryId, FeedId, Position},
    map::{self, Action, Edit},
    replica::{Config, Fault, Replica},
    space::{Genesis, Mode},
    sync::{Message, digest},
    time::Wall,
};
use aether_sim::{
    At, Boot, Draw, Effects, Limits, Mixed, NodeId, Run, Runner, Scenario, Subject, World,
};

use self::{
    host::{Host, Input, OWN, Output, Packet, Rows, What},
    liar::Liar,
};

/// What the true wall clock shows when the simulation begins.
const BEGIN: u64 = 1_800_000_000_000;

#[derive(Clone, Debug)]
enum Command {
    /// A user writes an entry of so many bytes.
    Write(usize),
    /// A user changes collections.
    Edit(Vec<Edit>),
}

#[derive(Debug)]
enum Event {
    Written(EntryId),
    Forked(FeedId, Evidence),
    Faulted(NodeId, Fault),
    Violated(String),
    Outrun,
}

#[derive(Clone, Debug)]
struct Guests {
    genesis: Genesis,
    keys: Vec<SecretKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    liar: Option<NodeId>,
    /// What users were told is written.
    written: Rc<RefCell<Vec<(NodeId, EntryId)>>>,
}

impl Guests {
    fn new(nodes: usize, liar: Option<NodeId>) -> Self {
        let owner = SecretKey::from_bytes([200; 32]);
        let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [owner.public()]);
        let keys = (1u8..).take(nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let keys: Vec<SecretKey> = keys.collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (key.public(), NodeId(n))).collect();
        Self {
            genesis: genesis.expect("a name and a key"),
            keys,
            ids,
            liar,
            written: Rc::default(),
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
            return Mixed::Liar(Box::new(Liar::new(space, key, at.now, Self::wall(at), seed)));
        }
        let own = boot.disk.get(&OWN).map(|bytes| {
            EntryId::read(&mut Reader::new(bytes)).expect("what was put is read back")
        });
        let rows = boot.disk.iter().filter(|(key, _)| *key != OWN);
        let rows: Rows = rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let (genesis, public) = (self.genesis.clone(), key.public());
        let replica = Replica::open(Config::default(), genesis, key, boot.seed, rows, own);
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
        };
        let mut draft = Draft::new();
        let op = vec![u8::try_from(at.node.0).expect("few nodes"); bytes];
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
                if let Some(own) = own {
                    let mut writer = Writer::default();
                    own.write(&mut writer);
                    changes.push((OWN.to_vec(), Some(writer.finish())));
                }
                effects.write(changes);
                effects.sync();
                effects.input(Input::Persisted(generation));
            }
            Output::Written(Some(id)) => effects.observe(Event::Written(id)),
            Output::Written(None) => effects.sometimes("nothing to write"),
            Output::Refused(_) => effects.sometimes("write refused"),
            Output::Forked(feed, evidence) => effects.observe(Event::Forked(feed, evidence)),
            Output::Outrun(_) => effects.observe(Event::Outrun),
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
                Ok(None) | Err(_) => "nonsense".into(),
            },
        };
        format!("{stream}: {what}")
    }
}

/// A world in which nobody honest is blamed or framed, and nothing is said that isn't synced.
fn world(run: Run, scenario: Scenario, guests: &Guests) -> World<Guests> {
    let mut world = World::new(run, scenario, guests.clone());
    let (subject, written) = (guests.clone(), Rc::clone(&guests.written));
    world.invariant("nobody honest is blamed, and what is said is synced", move |world| {
        for (node, event) in world.observed() {
            match event {
                Event::Violated(what) => return Err(format!("{node}: {what}, which isn't synced")),
                Event::Faulted(by, fault) if subject.liar != Some(*by) => {
                    return Err(format!("{node} blames {by} for {fault:?}"));
                }
                Event::Faulted(..) => world.sometimes("liar found out"),
                Event::Forked(feed, _) => {
                    let author = subject.ids[&feed.author];
                    if subject.liar != Some(author) {
                        return Err(format!("{node} says that {author} forked its feed"));
                    }
                    world.sometimes("fork seen");
                }
                Event::Outrun => return Err(format!("{node} takes its disk for an old copy")),
                Event::Written(id) => written.borrow_mut().push((*node, *id)),
            }
        }
        Ok(())
    });
    // What each node held when it had synced something, by its digest.
    let mut known: BTreeMap<Hash, BTreeSet<EntryId>> = BTreeMap::new();
    let mut last: BTreeMap<NodeId, Position> = BTreeMap::new();
    world.invariant("equal digests mean equal entries", move |world| {
        let Some(node) = world.touched() else { return Ok(()) };
        let Some(host) = world.node(node).and_then(Mixed::honest) else { return Ok(()) };
        let synced = host.replica.synced();
        let is_still = synced == host.replica.book().last();
        if !is_still || last.insert(node, synced) == Some(synced) {
            return Ok(());
        }
        let (digest, entries) = (digest(host.replica.rows().values()), entries(host));
        let first = known.entry(digest).or_insert_with(|| entries.clone());
        if *first == entries { Ok(()) } else { Err("one digest, and different entries".into()) }
    });
    world
}

/// All that a replica keeps.
fn entries(host: &Host) -> BTreeSet<EntryId> {
    let book = host.replica.book();
    let all = book.order(Position::ZERO).map(|row| {
        let Ok((_, local, tip)) = row;
        EntryId { feed: book.catalog().at(local).id(), number: tip.number, hash: tip.hash }
    });
    all.collect()
}

fn draw_writes(world: &mut World<Guests>, guests: &Guests, until: Time) {
    let count = world.draw().below(60);
    for _ in 0..count {
        let at = Time::from_micros(world.draw().number(0..=until.as_micros()));
        let node = NodeId(world.draw().below(guests.keys.len()));
        let command = if world.draw().chance(0.3) {
            Command::Write(1 + world.draw().below(2000))
        } else {
            let edits = 1 + world.draw().below(8);
            Command::Edit((0..edits).map(|_| draw_edit(world.draw())).collect())
        };
        world.command_at(at, node, command);
    }
}

/// Few keys, so that writers meet.
fn draw_edit(draw: &mut Draw) -> Edit {
    let key = vec![b'a' + u8::try_from(draw.below(6)).expect("a letter")];
    let value = draw.number(0..=u64::MAX).to_be_bytes().to_vec();
    let (kind, key, action) = match draw.below(8) {
        0 | 1 => (Kind::Map, key, Action::Put(value)),
        2 => (Kind::Map, key, Action::Remove),
        3 => (Kind::Set, key, Action::Put(Vec::new())),
        4 => (Kind::Set, key, Action::Remove),
        5 => (Kind::Counter, key, Action::Add(i64::from(value[0]) - 100)),
        6 => (Kind::Counter, key, Action::Reset),
        _ => (Kind::Register, Vec::new(), Action::Put(value)),
    };
    Edit::new(Collection::new(kind, "all"), key, action).expect("within the limits")
}

fn all_agree(world: &World<Guests>, guests: &Guests) -> bool {
    let mut all = guests.honest(world).map(|host| &host.replica);
    let Some(first) = all.next() else { return true };
    all.all(|other| other.rows() == first.rows() && other.book().stale().is_empty())
}

/// What a replica's collections show.
fn state(host: &Host) -> Hash {
    let book = host.replica.book();
    let Ok(hash) = map::state_hash(book.rows(), book.catalog());
    hash
}

/// Collections are a function of which entries are kept: the same on all, and the same as on one
/// that takes them in one after the other.
fn check_state(world: &World<Guests>, guests: &Guests) {
    let states: BTreeSet<Hash> = guests.honest(world).map(state).collect();
    assert_eq!(states.len(), 1, "replicas with the same entries show different collections");
    for host in guests.honest(world) {
        let Ok(mut fresh) = Book::open(Rows::new());
        let book = host.replica.book();
        for row in book.order(Position::ZERO) {
            let Ok((_, local, tip)) = row;
            let Ok(entry) = book.entry(local, tip);
            let entry = entry.expect("what has a place is kept");
            let Ok(taken) = fresh.take(&entry, book.catalog().at(local).authority());
            assert!(taken.placed.is_kept(), "{:?} is {:?}", entry.header().id(), taken.placed);
        }
        for collection in fresh.stale().clone() {
            let Ok(()) = fresh.rebuild(&collection);
        }
        let Ok(hash) = map::state_hash(fresh.rows(), fresh.catalog());
        assert!(states.contains(&hash), "a fresh replica shows other collections");
    }
}

fn check_written(world: &World<Guests>, guests: &Guests) {
    let held: Vec<BTreeSet<EntryId>> = guests.honest(world).map(entries).collect();
    for (node, id) in guests.written.borrow().iter() {
        assert!(held.iter().all(|held| held.contains(id)), "{node} wrote {id:?}, which is lost");
    }
    for host in guests.honest(world) {
        for known in host.replica.book().catalog().feeds() {
            // A liar's forks are known to all: that is part of the rows, and so of the digest.
            if known.feed().tips().len() > 1 {
                world.sometimes("both lanes of a fork kept");
            }
        }
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
