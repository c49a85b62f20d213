//! A node: replicas of the control space and of partitions, a keeper and operations, wired as the
//! driver wires them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aether_core::{Hash, Protocol, PublicKey, SecretKey, Time};
use aether_crdt::proto::{
    id::{EntryId, Position},
    map::{Action, Edit, Element},
    partitions::{
        Ask, Comparison, Context, Declined, Keeper, Level, Partitioning, Placement, Role, Said,
        Standing, genesis_of, keeper,
        message::{named, read_all_rows, write_context, write_elements},
        placement::{config, items, members},
    },
    replica::Replica,
    rows::Changes,
    space::Genesis,
    sync::Row,
    time::Wall,
};
use minicbor::bytes::{ByteArray, ByteVec};

use super::{
    Command, Event,
    operation::{Coordinated, Operation, To},
    packet::Packet,
};
use crate::feeds::host::{self, Host, Rows};

/// How long a member may take to compare.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A space of a node: the control space, or that of a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u16);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.partition() {
            None => f.write_str("control"),
            Some(partition) => write!(f, "p{partition}"),
        }
    }
}

impl Place {
    pub(super) const CONTROL: Self = Self(0);

    pub(super) const fn of(partition: u16) -> Self {
        Self(partition + 1)
    }

    pub(super) const fn partition(self) -> Option<u16> {
        self.0.checked_sub(1)
    }

    pub(super) fn genesis(self, control: &Genesis) -> Genesis {
        self.partition().map_or_else(|| control.clone(), |n| genesis_of(control, n))
    }

    /// The key of a row on the node's disk.
    pub(super) fn key(self, row: &[u8]) -> Vec<u8> {
        [&self.0.to_be_bytes()[..], row].concat()
    }

    pub(super) fn split(key: &[u8]) -> (Self, &[u8]) {
        let (place, row) = key.split_first_chunk().expect("all keys begin with a place");
        (Self(u16::from_be_bytes(*place)), row)
    }

    pub(super) fn seed(self, mut seed: [u8; 32]) -> [u8; 32] {
        seed[0] ^= self.0.to_be_bytes()[1];
        seed
    }
}

#[derive(Debug)]
pub(super) enum Input {
    Up(PublicKey),
    Down(PublicKey),
    Packet { from: PublicKey, packet: Packet },
    Command(Command),
    Persisted(Place, u64),
    Opened(Place),
    Dropped(Place),
    Timeout,
}

#[derive(Debug)]
pub(super) enum Output {
    Send { to: PublicKey, packet: Packet },
    Persist { place: Place, generation: u64, changes: Changes, own: Vec<EntryId> },
    Open(Place),
    Drop { place: Place, rows: Vec<Vec<u8>> },
    Observed(Event),
    Sometimes(&'static str),
}

/// What a question to another node was for.
#[derive(Clone, Copy, Debug)]
enum For {
    Keeper { partition: u16, epoch: u64, digest: Hash },
    Operation(u64),
}

/// What follows once a write is synced here.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Nothing,
    Coordinate(Coordinated),
    /// A user is told that a key is written.
    Hint(u32),
}

#[derive(Debug)]
pub(super) struct Node {
    genesis: Genesis,
    key: SecretKey,
    pub(super) me: PublicKey,
    partitioning: Partitioning,
    seed: [u8; 32],
    wall: (Time, Wall),
    pub(super) hosts: BTreeMap<Place, Host>,
    /// Copies that are frozen, and whether that was said.
    frozen: BTreeMap<Place, bool>,
    peers: BTreeSet<PublicKey>,
    /// What peers have.
    offers: BTreeSet<(PublicKey, Place)>,
    pub(super) keeper: Keeper,
    questions: BTreeMap<u64, (PublicKey, Time, For)>,
    /// Writes that aren't synced here yet, by the order in which they were made.
    writing: BTreeMap<Place, VecDeque<Waiting>>,
    /// Writes that wait until others hold them.
    coordinated: Vec<Coordinated>,
    pub(super) operations: BTreeMap<u64, Operation>,
    last: u64,
    outputs: VecDeque<Output>,
}

impl Node {
    pub(super) fn new(
        genesis: Genesis,
        key: SecretKey,
        seed: [u8; 32],
        partitioning: Partitioning,
    ) -> Self {
        let me = key.public();
        Self {
            keeper: Keeper::new(keeper::Config::default(), me),
            genesis,
            key,
            me,
            partitioning,
            seed,
            wall: (Time::ZERO, Wall::default()),
            hosts: BTreeMap::new(),
            frozen: BTreeMap::new(),
            peers: BTreeSet::new(),
            offers: BTreeSet::new(),
            questions: BTreeMap::new(),
            writing: BTreeMap::new(),
            coordinated: Vec::new(),
            operations: BTreeMap::new(),
            last: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Begins with what the disk has.
    pub(super) fn begin(&mut self, now: Time, wall: Wall, hosts: BTreeMap<Place, Host>) {
        self.wall = (now, wall);
        for partition in hosts.keys().filter_map(|place| place.partition()) {
            self.keeper.handle(now, keeper::Input::Opened { partition });
        }
        self.hosts = hosts;
        self.settle(now);
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn is_frozen(&self, place: Place) -> bool {
        self.frozen.contains_key(&place)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn send(&mut self, to: PublicKey, packet: Packet) {
        self.outputs.push_back(Output::Send { to, packet });
    }

    fn placement(&self) -> Option<&Placement> {
        self.keeper.placement()
    }

    fn host(&mut self, now: Time, place: Place, input: host::Input) {
        if let Some(host) = self.hosts.get_mut(&place) {
            host.handle(now, input);
            self.drain(place);
        }
    }

    fn drain(&mut self, place: Place) {
        while let Some(output) = self.hosts.get_mut(&place).and_then(Protocol::poll_output) {
            match output {
                host::Output::Send { to, packet } => self.send(to, Packet::Space(place, packet)),
                host::Output::Persist { generation, changes, own } => {
                    self.outputs.push_back(Output::Persist { place, generation, changes, own });
                }
                host::Output::Written(entry, _) => self.written(place, entry),
                host::Output::Sometimes(name) => self.outputs.push_back(Output::Sometimes(name)),
                host::Output::Refused(why) => self.violated(format!("a write is refused: {why}")),
                host::Output::Forked(feed, _) => self.violated(format!("{feed:?} is forked")),
                host::Output::Faulted(peer, fault) => {
                    self.violated(format!("{peer} is blamed for {fault:?}"));
                }
                host::Output::Violated(what) => self.violated(what),
                host::Output::Outrun => self.violated("the disk is an old copy".to_owned()),
            }
        }
    }

    fn violated(&mut self, what: String) {
        self.outputs.push_back(Output::Observed(Event::Violated(what)));
    }

    /// Tells peers of a space, and begins sessions with those who have it.
    fn offer(&mut self, now: Time, place: Place) {
        for peer in self.peers.clone() {
            self.send(peer, Packet::Offer(place));
        }
        for peer in self.peers.clone() {
            if self.offers.contains(&(peer, place)) {
                self.host(now, place, host::Input::Up(peer));
            }
        }
    }

    fn withdraw(&mut self, now: Time, place: Place) {
        for peer in self.peers.clone() {
            self.send(peer, Packet::Withdraw(place));
            self.host(now, place, host::Input::Down(peer));
        }
    }

    fn on_packet(&mut self, now: Time, from: PublicKey, packet: Packet) {
        match packet {
            Packet::Offer(place) => {
                self.offers.insert((from, place));
                if !self.frozen.contains_key(&place) {
                    self.host(now, place, host::Input::Down(from));
                    self.host(now, place, host::Input::Up(from));
                }
            }
            Packet::Withdraw(place) => {
                self.offers.remove(&(from, place));
                self.host(now, place, host::Input::Down(from));
            }
            Packet::Space(place, packet) => {
                if !self.frozen.contains_key(&place) {
                    self.host(now, place, host::Input::Packet { from, packet });
                }
            }
            Packet::Ask(id, ask) => {
                if let Some(said) = self.answer(now, From(from), ask, To::Peer(from, id)) {
                    self.send(from, Packet::Said(id, said));
                }
            }
            Packet::Said(id, said) => {
                if let Some((peer, _, what)) = self.questions.remove(&id) {
                    self.heard(now, peer, what, Some(said));
                }
            }
        }
    }

    /// A question was answered, or can't be any more.
    fn heard(&mut self, now: Time, from: PublicKey, what: For, said: Option<Said>) {
        match what {
            For::Operation(id) => self.operation_heard(now, id, from, said),
            For::Keeper { partition, epoch, digest } => {
                let input = match said {
                    Some(Said::Compared {
                        same_view,
                        owns,
                        has_copy,
                        covers_yours: covers_ours,
                        covers_mine: covers_theirs,
                    }) => {
                        let said = Comparison {
                            same_view,
                            owns,
                            has_copy,
                            covers_ours,
                            covers_theirs,
                            digest,
                        };
                        keeper::Input::Said { partition, from, epoch, said }
                    }
                    _ => keeper::Input::Unreached { partition, from, epoch },
                };
                self.keeper.handle(now, input);
            }
        }
    }

    pub(super) fn ask(&mut self, until: Time, peer: PublicKey, ask: Ask, operation: u64) {
        let id = self.number();
        self.questions.insert(id, (peer, until, For::Operation(operation)));
        self.send(peer, Packet::Ask(id, ask));
    }

    /// Answers a question, now or, if nothing is given, later.
    pub(super) fn answer(&mut self, now: Time, from: From, ask: Ask, to: To) -> Option<Said> {
        match ask {
            Ask::Write { partition, key, value, level } => {
                let role = self.keeper.role(partition);
                if role != (Role::Owner { is_whole: true }) {
                    return Some(Declined::NotOwner.into());
                }
                let level = Level::from_byte(level)?;
                let write =
                    Coordinated { partition, level, entry: None, held: BTreeSet::new(), to };
                let write = Waiting::Coordinate(write);
                self.edit(now, partition, key.into(), value.map(Into::into), write);
                None
            }
            Ask::Get { partition, key } => Some(self.get(partition, &key)),
            Ask::Compare { partition, view, rows } => {
                let rows = read_all_rows(&rows).expect("honest rows are in order");
                Some(self.compare(now, from, partition, Hash::from_bytes(view.into()), &rows))
            }
            Ask::Hasten { partition, peer } => {
                self.host(now, Place::of(partition), host::Input::Compare(named(&peer)));
                Some(Said::Hastened {})
            }
            Ask::Scan { .. } => Some(Declined::Failed.into()),
        }
    }

    /// Writes to a copy.
    pub(super) fn edit(
        &mut self,
        now: Time,
        partition: u16,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        write: Waiting,
    ) {
        let place = Place::of(partition);
        self.writing.entry(place).or_default().push_back(write);
        let action = value.map_or(Action::Remove, Action::Put);
        let edit = Edit::new(items(), key, action).expect("within the limits");
        self.host(now, place, host::Input::Edit(vec![edit]));
    }

    fn written(&mut self, place: Place, entry: Option<EntryId>) {
        match self.writing.get_mut(&place).and_then(VecDeque::pop_front) {
            Some(Waiting::Coordinate(write)) => {
                self.coordinated.push(Coordinated { entry, ..write });
            }
            Some(Waiting::Hint(key)) => {
                self.push(Output::Sometimes("hint taken"));
                self.push(Output::Observed(Event::Put(key, Level::One)));
            }
            Some(Waiting::Nothing) | None => {}
        }
    }

    /// What is synced of a copy, its context first.
    fn synced(&mut self, partition: u16, key: &[u8]) -> Option<(Context, Vec<Element>)> {
        let host = self.hosts.get_mut(&Place::of(partition))?;
        let rows: Rows = host.replica.base_mut().clone();
        let context = host.replica.held().collect();
        let Ok(elements) =
            aether_crdt::proto::map::get(&items(), key, &rows, host.replica.book().catalog());
        Some((context, elements))
    }

    fn get(&mut self, partition: u16, key: &[u8]) -> Said {
        let owns = match self.keeper.role(partition) {
            Role::Owner { is_whole: true } => true,
            Role::Former { was_whole: true } => false,
            _ => return Declined::NotWhole.into(),
        };
        let Some(view) = self.placement().map(Placement::view) else {
            return Declined::Failed.into();
        };
        let Some((context, elements)) = self.synced(partition, key) else {
            return Declined::Failed.into();
        };
        Said::Answer {
            view: ByteArray::from(*view.as_bytes()),
            owns,
            context: ByteVec::from(write_context(&context)),
            elements: ByteVec::from(write_elements(&elements)),
        }
    }

    fn compare(&mut self, now: Time, from: From, partition: u16, view: Hash, rows: &[Row]) -> Said {
        let owns = matches!(self.keeper.role(partition), Role::Owner { .. });
        let same_view = self.placement().is_some_and(|placement| placement.view() == view);
        let place = Place::of(partition);
        let Some(host) = self.hosts.get_mut(&place) else {
            let (has_copy, covers_yours, covers_mine) = (false, false, false);
            return Said::Compared { same_view, owns, has_copy, covers_yours, covers_mine };
        };
        let Ok(covers_yours) = host.replica.covers(rows);
        let covers_mine = is_covered(&host.replica, rows);
        if !covers_yours {
            self.host(now, place, host::Input::Compare(from.0));
        }
        Said::Compared { same_view, owns, has_copy: true, covers_yours, covers_mine }
    }

    fn on_command(&mut self, now: Time, command: Command) {
        let edit = match command {
            Command::Found => Edit::new(config(), [], Action::Put(self.partitioning.encode())),
            Command::Stand(standing) => {
                let is_last = self.placement().is_none_or(|placement| {
                    let others = placement.members().iter().filter(|(peer, _)| **peer != self.me);
                    others.filter(|(_, standing)| **standing == Standing::Joined).count() == 0
                });
                if standing != Some(Standing::Joined) && is_last {
                    return;
                }
                let to_byte = |standing: Standing| Action::Put(vec![standing.to_byte()]);
                let action = standing.map_or(Action::Remove, to_byte);
                Edit::new(members(), *self.me.as_bytes(), action)
            }
            Command::Put(key, level) => return self.put(now, key, level),
            Command::Get(key, level) => return self.read(now, key, level),
        };
        let edit = edit.expect("within the limits");
        self.writing.entry(Place::CONTROL).or_default().push_back(Waiting::Nothing);
        self.host(now, Place::CONTROL, host::Input::Edit(vec![edit]));
    }

    /// Looks at the list of members as it is synced.
    fn look(&mut self, now: Time) {
        let control = self.hosts.get_mut(&Place::CONTROL).expect("it is always there");
        let rows: Rows = control.replica.base_mut().clone();
        let catalog = control.replica.book().catalog();
        let Ok(read) = Placement::read(self.genesis.space_id(), &rows, catalog);
        if let Some(placement) = read.filter(|placement| Some(placement) != self.placement()) {
            self.keeper.handle(now, keeper::Input::View(Box::new(placement)));
        }
    }

    fn keep(&mut self, now: Time, output: keeper::Output) {
        match output {
            keeper::Output::Open { partition } => {
                self.outputs.push_back(Output::Open(Place::of(partition)));
            }
            keeper::Output::Ask { partition, peer, epoch } => {
                let view = self.placement().map(Placement::view).expect("it has one");
                let Some(host) = self.hosts.get_mut(&Place::of(partition)) else { return };
                let digest = host.replica.digest();
                let rows: Vec<Row> = host.replica.rows().values().cloned().collect();
                let (id, what) = (self.number(), For::Keeper { partition, epoch, digest });
                let is_there = self.peers.contains(&peer);
                let until = if is_there { now + PATIENCE } else { now };
                self.questions.insert(id, (peer, until, what));
                self.send(peer, Packet::Ask(id, Ask::compare(partition, &view, &rows)));
            }
            keeper::Output::Compare { partition, peer } => {
                self.host(now, Place::of(partition), host::Input::Compare(peer));
            }
            keeper::Output::Freeze { partition } => {
                self.frozen.insert(Place::of(partition), false);
                self.withdraw(now, Place::of(partition));
            }
            keeper::Output::Thaw { partition } => {
                self.outputs.push_back(Output::Sometimes("frost ended"));
                if self.frozen.remove(&Place::of(partition)).is_some() {
                    self.offer(now, Place::of(partition));
                }
            }
            keeper::Output::Drop { partition, digest } => self.drop_copy(now, partition, digest),
        }
    }

    fn drop_copy(&mut self, now: Time, partition: u16, digest: Hash) {
        let place = Place::of(partition);
        let owners = self.placement().map(|placement| placement.owners(partition).to_vec());
        let is_just = self.frozen.contains_key(&place)
            && self.hosts.get_mut(&place).is_some_and(|host| host.replica.digest() == digest);
        if !is_just {
            self.violated("what is frozen has changed".to_owned());
            return self.keeper.handle(now, keeper::Input::Kept { partition });
        }
        let Some(mut host) = self.hosts.remove(&place) else { return };
        let entries = entries(&host.replica);
        let rows = host.replica.base_mut().keys().cloned().collect();
        self.outputs.push_back(Output::Sometimes("copy dropped"));
        let dropped = Event::Dropped(partition, owners.unwrap_or_default(), entries);
        self.outputs.push_back(Output::Observed(dropped));
        self.outputs.push_back(Output::Drop { place, rows });
    }

    /// Says of copies that are to be frozen that they are.
    fn freeze(&mut self, now: Time) {
        for (place, is_said) in &mut self.frozen {
            let Some(host) = self.hosts.get_mut(place) else { continue };
            let is_idle = self.writing.get(place).is_none_or(VecDeque::is_empty);
            if !*is_said && is_idle && host.replica.is_synced() {
                *is_said = true;
                let partition = place.partition().expect("the control space isn't frozen");
                let digest = host.replica.digest();
                self.keeper.handle(now, keeper::Input::Frozen { partition, digest });
            }
        }
    }

    /// Answers for writes that enough owners hold by now.
    fn count(&mut self, now: Time) {
        let Some(placement) = self.keeper.placement().cloned() else { return };
        let mut waiting = Vec::new();
        for mut write in std::mem::take(&mut self.coordinated) {
            let (partition, entry) = (write.partition, write.entry.expect("a put is an entry"));
            let owners = placement.owners(partition);
            if let Some(host) = self.hosts.get(&Place::of(partition)) {
                let holds = |owner: &&PublicKey| host.replica.is_held_by(owner, &entry);
                write.held.extend(owners.iter().filter(holds).copied());
                write.held.insert(self.me);
            }
            let held = owners.iter().filter(|owner| write.held.contains(*owner)).count();
            if held < placement.need(partition, write.level) {
                waiting.push(write);
                continue;
            }
            if held > 1 {
                self.outputs.push_back(Output::Sometimes("write held by a quorum"));
            }
            self.outputs.push_back(Output::Observed(Event::Held(partition, entry, held)));
            let said = Said::Written { held: u16::try_from(held).expect("few") };
            match write.to {
                To::Peer(peer, id) => self.send(peer, Packet::Said(id, said)),
                To::Own(id) => self.operation_heard(now, id, self.me, Some(said)),
            }
        }
        self.coordinated.extend(waiting);
    }

    /// Does all that follows from what has happened.
    fn settle(&mut self, now: Time) {
        self.look(now);
        self.count(now);
        loop {
            self.freeze(now);
            match self.keeper.poll_output() {
                Some(output) => self.keep(now, output),
                None => break,
            }
        }
        let is_leaving = self.placement().and_then(|all| all.members().get(&self.me));
        let progress = self.keeper.progress();
        let control = self.writing.get(&Place::CONTROL).is_none_or(VecDeque::is_empty);
        if is_leaving == Some(&Standing::Leaving)
            && progress.owned + progress.parting == 0
            && control
        {
            self.on_command(now, Command::Stand(None));
        }
    }

    fn on_timeout(&mut self, now: Time) {
        let due =
            self.hosts.iter().filter(|(_, host)| host.poll_timeout().is_some_and(|at| at <= now));
        for place in due.map(|(place, _)| *place).collect::<Vec<_>>() {
            self.host(now, place, host::Input::Timeout);
        }
        let late = self.questions.iter().filter(|(_, (_, until, _))| *until <= now);
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some((peer, _, what)) = self.questions.remove(&id) {
                self.heard(now, peer, what, None);
            }
        }
        self.tick_operations(now);
        self.keeper.handle(now, keeper::Input::Timeout);
    }

    fn on_down(&mut self, now: Time, peer: PublicKey) {
        self.peers.remove(&peer);
        self.offers.retain(|(of, _)| *of != peer);
        for place in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.host(now, place, host::Input::Down(peer));
        }
        let lost = self.questions.iter().filter(|(_, (of, ..))| *of == peer);
        for id in lost.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some((peer, _, what)) = self.questions.remove(&id) {
                self.heard(now, peer, what, None);
            }
        }
    }

    fn on_opened(&mut self, now: Time, place: Place) {
        let wall = self.wall.1.as_millis() + now.since(self.wall.0).as_millis() as u64;
        self.last += 1;
        let mut seed = place.seed(self.seed);
        seed[8..16].copy_from_slice(&self.last.to_be_bytes());
        let genesis = place.genesis(&self.genesis);
        let keys = self.key.clone().into();
        let replica = Replica::open(Default::default(), genesis, keys, seed, Rows::new(), None);
        let replica = replica.expect("rows in memory are read");
        let partition = place.partition().expect("the control space is open");
        if !self.hosts.contains_key(&place) {
            let host = Host::new(replica, self.me, now, Wall::from_millis(wall));
            self.hosts.insert(place, host);
            self.offer(now, place);
        }
        self.keeper.handle(now, keeper::Input::Opened { partition });
        self.take_hints(now, partition);
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub(super) PublicKey);

/// All that is synced of a replica, by name.
pub(super) fn entries(replica: &Replica<Rows>) -> Vec<EntryId> {
    let book = replica.book();
    let all = book.order(Position::ZERO).filter_map(|row| {
        let Ok((position, local, tip)) = row;
        let id =
            EntryId { feed: book.catalog().at(local).id(), number: tip.number, hash: tip.hash };
        (position <= replica.synced()).then_some(id)
    });
    all.collect()
}

/// Whether rows say all that a replica holds.
fn is_covered(replica: &Replica<Rows>, rows: &[Row]) -> bool {
    let theirs = |row: &Row| rows.iter().find(|theirs| theirs.feed() == row.feed());
    replica
        .rows()
        .values()
        .all(|ours| theirs(ours).is_some_and(|theirs| theirs == ours || theirs.top() > ours.top()))
}

impl Protocol for Node {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Up(peer) => {
                self.peers.insert(peer);
                for place in self.hosts.keys().copied().collect::<Vec<_>>() {
                    if !self.frozen.contains_key(&place) {
                        self.send(peer, Packet::Offer(place));
                    }
                }
            }
            Input::Down(peer) => self.on_down(now, peer),
            Input::Packet { from, packet } => self.on_packet(now, from, packet),
            Input::Command(command) => self.on_command(now, command),
            Input::Persisted(place, generation) => {
                self.host(now, place, host::Input::Persisted(generation));
            }
            Input::Opened(place) => self.on_opened(now, place),
            Input::Dropped(place) => {
                self.frozen.remove(&place);
                let partition = place.partition().expect("the control space isn't dropped");
                self.keeper.handle(now, keeper::Input::Dropped { partition });
            }
            Input::Timeout => self.on_timeout(now),
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let hosts = self.hosts.values().filter_map(Protocol::poll_timeout);
        let questions = self.questions.values().map(|(_, until, _)| *until);
        let operations = self.operations.values().filter_map(Operation::poll_timeout);
        hosts.chain(questions).chain(operations).chain(self.keeper.poll_timeout()).min()
    }
}
