//! The directory: which instances of which services are there, here and elsewhere in the mesh.
//!
//! Every node that serves something says so itself, in an *announcement* under its own signature;
//! there is no registry. The shape is that of soft state (Clark 1988, section 4; Raman and McCanne
//! 1999): what isn't repeated is forgotten. Rules:
//!
//! 1. **Announcements.** A node's instances are known by its [`Announcement`]. A newer one, by
//!    (life, revision), replaces what was known of the node; any other is ignored without a
//!    signature check. So each is verified once, and nobody speaks for another. What the node
//!    signed too long ago, or ahead, by our clock (`max_age`) is ignored, as in the
//!    [inbox](crate::proto::inbox).
//! 2. **Rhythm.** A node announces at once when anything but the load of its instances changes;
//!    when a load is more than a quarter from the announced one, at most once per `load_interval`;
//!    and otherwise, while it serves anything, every `refresh`, jittered.
//! 3. **End.** An announcement is gone after `ttl`, counted from its signing as far as that is
//!    known: whoever passes it on says how old it is. It is gone at once when the roster says that
//!    its node left or died, or lives a later life. Its (life, revision) is remembered, so that
//!    neither gossip nor neighbours revive it. Only something newer does: it shows that the node
//!    is alive after all, unless it had said farewell in that life.
//! 4. **Leaving.** A node that drains announces that first; one that stops announces an empty
//!    list, and nothing after it.
//! 5. **Asking.** A new neighbour is asked what it knows, and tells it in pages, its own first,
//!    then the last learnt first. An answer that doesn't come is asked for again. What nobody
//!    asked for isn't read, and who asks too much gets no answer.
//! 6. **Blame.** Whoever published or passed on something malformed or forged is charged: an
//!    honest node passes on only what it verified. The rest of its answer isn't read. What is
//!    merely old is no fault.
//! 7. **Bounds.** Nodes, bytes, instances of a service, remembered gone, questions, neighbours
//!    and searches are bounded. Over the bound a newcomer is left out and counted; a known node
//!    whose newer announcement doesn't fit is removed and counted, as the old one is wrong.
//! 8. **Reach.** A provider record (Kademlia; Maymounkov and Mazières 2002) stands for each
//!    service while at least one instance of ours is there. Whoever looks for a service of which
//!    no live instance is known has such records looked up, again and again with doubled waits,
//!    and some of those that they name are asked.
//! 9. **Answers.** [`instances`](Directory::instances) are live ones only: serving, by an
//!    announcement that holds. Each change is told once.
//!
//! The invariant: what is listed of another node is what that node last said, as far as it was
//! heard, and no older than `ttl` and the time that its gossip took.
//!
//! Cost: each node that serves sends a few hundred bytes every `refresh` to everyone, and a new
//! connection makes each end send the other its table once.

mod announcement;
mod asking;
mod message;
mod own;
mod search;
mod table;
mod types;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{MeshId, Protocol, PublicKey, SecretKey, Time};
use bytes::Bytes;
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub use self::{
    announcement::{
        Announcement, AnnouncementError, Health, Instance, Load, MAX_ANNOUNCEMENT, MAX_ENDPOINTS,
        MAX_INSTANCES, MAX_NAME,
    },
    message::{MAX_TOLD, Message, Told},
    types::{Config, Event, Input, Listed, Output, Refusal, Stats},
};
use self::{
    asking::{Allowance, Asking},
    own::Own,
    search::Search,
    table::Table,
};
use crate::proto::budget::Fault;

/// The name of the topic that carries announcements. It is the mesh's own: not for users.
pub const TOPIC: &str = "aether/services";

/// See the [module](self).
#[derive(Debug)]
pub struct Directory {
    config: Config,
    mesh: MeshId,
    key: SecretKey,
    me: PublicKey,
    life: u64,
    rng: ChaCha12Rng,
    own: Own,
    table: Table,
    /// What each neighbour may still ask.
    neighbours: BTreeMap<PublicKey, Allowance>,
    /// Questions of ours under way.
    asking: BTreeMap<PublicKey, Asking>,
    searches: BTreeMap<String, Search>,
    stats: Stats,
    now: Time,
    /// Our clock in milliseconds since the Unix epoch.
    wall: u64,
    outputs: VecDeque<Output>,
}

impl Directory {
    /// The directory of the node with this key, in this life, that serves and knows nothing.
    ///
    /// # Panics
    /// If a page has no room for an announcement, `ttl` is less than twice `refresh`, or no
    /// instance may be held.
    pub fn new(config: Config, mesh: MeshId, key: SecretKey, life: u64, seed: u64) -> Self {
        assert!(config.page >= MAX_ANNOUNCEMENT, "an announcement must fit into a page");
        assert!(config.ttl >= config.refresh * 2, "a single loss must not end an announcement");
        assert!(config.max_instances > 0, "bounds are positive");
        Self {
            config,
            mesh,
            me: key.public(),
            key,
            life,
            rng: ChaCha12Rng::seed_from_u64(seed),
            own: Own::default(),
            table: Table::default(),
            neighbours: BTreeMap::new(),
            asking: BTreeMap::new(),
            searches: BTreeMap::new(),
            stats: Stats::default(),
            now: Time::ZERO,
            wall: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The live instances of a service, our own first.
    pub fn instances<'a>(&'a self, service: &str) -> impl Iterator<Item = Listed<'a>> + use<'a> {
        self.known(service).filter(|listed| listed.instance.is_live())
    }

    /// All known instances of a service, whatever their health, our own first.
    pub fn known<'a>(&'a self, service: &str) -> impl Iterator<Item = Listed<'a>> + use<'a> {
        let listed = |instance| Listed { peer: self.me, life: self.life, instance };
        self.own.instances_of(service).map(listed).chain(self.table.instances(service))
    }

    /// All known instances of all services, whatever their health, our own first.
    pub fn all(&self) -> impl Iterator<Item = Listed<'_>> {
        let listed = |instance| Listed { peer: self.me, life: self.life, instance };
        self.own.instances().map(listed).chain(self.table.all())
    }

    /// The names of the services that have a live instance, in order.
    pub fn services(&self) -> Vec<&str> {
        let own = self.own.instances().map(|instance| instance.service.as_str());
        let mut services: Vec<&str> = own.chain(self.table.services()).collect();
        services.sort_unstable();
        services.dedup();
        services.retain(|service| self.instances(service).next().is_some());
        services
    }

    /// How many other nodes' announcements are held.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no other node's announcement is held.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Bytes of other nodes' announcements that are held.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// How many nodes are remembered whose announcements are gone.
    pub fn gone(&self) -> usize {
        self.table.gone()
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Takes in an announcement of this age that `from` published or passed on. False if that is
    /// a fault.
    fn receive(&mut self, from: PublicKey, bytes: Bytes, age: Duration) -> bool {
        let Ok(announcement) = Announcement::decode(bytes) else {
            return self.blame(from, Fault::Malformed);
        };
        let peer = announcement.peer();
        // What we said ourselves, in this life or an earlier one.
        if peer == self.me {
            return true;
        }
        if !self.table.is_news(&announcement) {
            self.stats.known += 1;
            return true;
        }
        if announcement.time.abs_diff(self.wall) > self.config.max_age || age >= self.config.ttl {
            self.stats.stale += 1;
            return true;
        }
        let fits = self.table.has_room(&announcement, &self.config);
        if !fits && !self.table.contains(&peer) {
            self.stats.left_out += 1;
            return true;
        }
        if announcement.verify(&self.mesh).is_err() {
            return self.blame(from, Fault::Forged);
        }
        let left_out = if fits {
            self.stats.accepted += 1;
            self.table.insert(self.now, announcement, age, &self.config)
        } else {
            let version = announcement.version();
            self.table.remove(self.now, &peer, version, self.config.max_gone);
            1
        };
        self.stats.left_out += left_out as u64;
        true
    }

    fn blame(&mut self, peer: PublicKey, fault: Fault) -> bool {
        self.stats.faults += 1;
        self.outputs.push_back(Output::Fault { peer, fault });
        false
    }

    fn on_member(&mut self, peer: PublicKey, life: u64) {
        let earlier = self.table.life(&peer).is_none_or(|known| known < life);
        if earlier && peer != self.me {
            self.table.remove(self.now, &peer, (life, 0), self.config.max_gone);
        }
    }

    fn on_member_left(&mut self, peer: PublicKey, farewell: bool) {
        let life = self.table.life(&peer).filter(|_| farewell);
        let floor = life.map_or((0, 0), |life| (life, u64::MAX));
        self.table.remove(self.now, &peer, floor, self.config.max_gone);
    }

    fn on_timeout(&mut self) {
        self.table.remove_expired(self.now, self.config.max_gone);
        self.announce_if_due();
        self.ask_again();
        self.search_again();
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Serve(instance) => self.serve(instance),
            Event::Load { service, id, load } => self.on_load(service, id, load),
            Event::End { service, id } => self.end(service, id),
            Event::Drain => self.drain(),
            Event::Stop => self.stop(),
            Event::Announced { from, bytes } => {
                self.receive(from, bytes, Duration::ZERO);
            }
            Event::Message { from, message } => self.on_message(from, message),
            Event::Connected { peer } => self.on_connected(peer),
            Event::Disconnected { peer } => {
                self.neighbours.remove(&peer);
                self.asking.remove(&peer);
            }
            Event::Member { peer, life } => self.on_member(peer, life),
            Event::MemberLeft { peer, farewell } => self.on_member_left(peer, farewell),
            Event::Look { service } => self.look(service),
            Event::Found { service, peers } => self.on_found(&service, peers),
            Event::Timeout => self.on_timeout(),
        }
    }

    /// A duration less a drawn part of up to a fifth.
    fn jittered(&mut self, duration: Duration) -> Duration {
        let part = u64::try_from((duration / 5).as_micros()).unwrap_or(u64::MAX);
        duration - Duration::from_micros(self.rng.next_u64() % part.max(1))
    }
}

impl Protocol for Directory {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        self.wall = input.wall;
        self.on_event(input.event);
        for service in self.table.take_changed() {
            self.outputs.push_back(Output::Changed { service });
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let asking = self.asking.values().map(|asking| asking.deadline).min();
        let searches = self.searches.values().map(|search| search.next).min();
        let announce = self.own.timeout(&self.config);
        [self.table.next_expiry(), announce, asking, searches].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
