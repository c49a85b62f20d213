use std::collections::BTreeSet;

use aether_core::Genesis;

use super::*;

mod asking;
mod bounds;
mod rhythm;

const ME: u8 = 1;
const LIFE: u64 = 1_700_000_000_000;
/// The wall clock when a fixture's time begins.
const WALL: u64 = 1_700_000_500_000;

fn mesh() -> MeshId {
    Genesis::open("aether").unwrap().mesh_id()
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn peer(n: u8) -> PublicKey {
    key(n).public()
}

fn instance(service: &str, id: u64) -> Instance {
    Instance {
        service: service.into(),
        id,
        version: "1.0.0".into(),
        endpoints: vec!["get".into()],
        health: Health::Serving,
        load: Load { in_flight: 0, capacity: 8 },
    }
}

fn unwell(service: &str, id: u64, health: Health) -> Instance {
    Instance { health, ..instance(service, id) }
}

fn loaded(service: &str, id: u64, in_flight: u32) -> Instance {
    Instance { load: Load { in_flight, capacity: 8 }, ..instance(service, id) }
}

/// A directory, its clocks, and what it put out and nobody took yet.
struct Fixture {
    directory: Directory,
    now: Time,
    outputs: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let directory = Directory::new(config, mesh(), key(ME), LIFE, 7);
        // Near the origin of the clock, where what came before it can't be told.
        Self { directory, now: Time::from_millis(10), outputs: Vec::new() }
    }

    fn wall(&self) -> u64 {
        WALL + self.now.as_micros() / 1000
    }

    fn handle(&mut self, event: Event) {
        let input = Input { wall: self.wall(), event };
        self.directory.handle(self.now, input);
        self.outputs.extend(std::iter::from_fn(|| self.directory.poll_output()));
    }

    /// Lets time pass, with a timeout whenever one is due.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(due) = self.directory.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Event::Timeout);
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    fn sign(&self, n: u8, (life, revision): (u64, u64), instances: &[Instance]) -> Announcement {
        let version = (life, revision, self.wall());
        Announcement::sign(&key(n), &mesh(), version, instances.to_vec()).unwrap()
    }

    fn hears(&mut self, from: u8, announcement: &Announcement) {
        let bytes = announcement.bytes().clone();
        self.handle(Event::Announced { from: peer(from), bytes });
    }

    /// Node `n` says of itself, in its first life.
    fn says(&mut self, n: u8, revision: u64, instances: &[Instance]) {
        let announcement = self.sign(n, (1, revision), instances);
        self.hears(n, &announcement);
    }

    fn connected(&mut self, n: u8) {
        self.handle(Event::Connected { peer: peer(n) });
    }

    /// Who serves a service: node and id.
    fn live(&self, service: &str) -> Vec<(PublicKey, u64)> {
        let listed = self.directory.instances(service);
        listed.map(|listed| (listed.peer, listed.instance.id)).collect()
    }

    fn is_live(&self, n: u8) -> bool {
        self.live("store").iter().any(|(at, _)| *at == peer(n))
    }

    fn take<T>(&mut self, choose: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for output in self.outputs.drain(..) {
            match choose(&output) {
                Some(found) => taken.push(found),
                None => rest.push(output),
            }
        }
        self.outputs = rest;
        taken
    }

    fn announced(&mut self) -> Vec<Announcement> {
        self.take(|output| match output {
            Output::Announce(bytes) => Some(Announcement::decode(bytes.clone()).unwrap()),
            _ => None,
        })
    }

    fn changed(&mut self) -> Vec<String> {
        self.take(|output| match output {
            Output::Changed { service } => Some(service.clone()),
            _ => None,
        })
    }

    fn faults(&mut self) -> Vec<(PublicKey, Fault)> {
        self.take(|output| match output {
            Output::Fault { peer, fault } => Some((*peer, *fault)),
            _ => None,
        })
    }

    fn sent(&mut self) -> Vec<(PublicKey, Message)> {
        self.take(|output| match output {
            Output::Send { to, message } => Some((*to, message.clone())),
            _ => None,
        })
    }

    fn found(&mut self) -> Vec<String> {
        self.take(|output| match output {
            Output::Find { service } => Some(service.clone()),
            _ => None,
        })
    }
}

/// The same announcement under a signature that isn't good.
fn forged(announcement: &Announcement) -> Announcement {
    let mut bytes = announcement.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Announcement::decode(bytes.into()).unwrap()
}

// Rule 1.

#[test]
fn the_newer_announcement_counts() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 5, &[instance("store", 1)]);
    assert_eq!(f.live("store"), [(peer(2), 1)]);
    f.says(2, 6, &[instance("store", 2)]);
    assert_eq!(f.live("store"), [(peer(2), 2)]);
    f.says(2, 4, &[instance("store", 3)]);
    assert_eq!(f.live("store"), [(peer(2), 2)], "older");
    let later = f.sign(2, (2, 1), &[instance("store", 4)]);
    f.hears(2, &later);
    assert_eq!(f.live("store"), [(peer(2), 4)], "a later life begins to count again");
    assert_eq!(f.faults(), []);
    assert_eq!((f.directory.stats().accepted, f.directory.stats().known), (3, 1));
}

/// A forged copy of what is known is ignored like any copy, so its signature wasn't looked at.
#[test]
fn what_is_known_costs_no_signature_check() {
    let mut f = Fixture::new(Config::default());
    let announcement = f.sign(2, (1, 5), &[instance("store", 1)]);
    f.hears(2, &announcement);
    for copy in [forged(&announcement), forged(&f.sign(2, (1, 4), &[]))] {
        f.hears(3, &copy);
    }
    assert_eq!(f.faults(), []);
    assert_eq!(f.directory.stats().known, 2);
}

#[test]
fn nobody_speaks_for_us() {
    let mut f = Fixture::new(Config::default());
    f.handle(Event::Serve(instance("store", 1)));
    let other = f.sign(ME, (LIFE + 1, 9), &[instance("store", 7)]);
    f.hears(2, &other);
    assert_eq!(f.live("store"), [(peer(ME), 1)]);
    assert!(f.directory.is_empty());
}

#[test]
fn what_was_signed_too_long_ago_or_ahead_is_ignored() {
    let mut f = Fixture::new(Config::default());
    let max_age = f.directory.config.max_age;
    let wall = f.wall();
    let times = [(2, wall - max_age), (3, wall + max_age)];
    for (n, time) in times.into_iter().chain([(4, wall - max_age - 1), (5, wall + max_age + 1)]) {
        let instances = vec![instance("store", 1)];
        let announcement = Announcement::sign(&key(n), &mesh(), (1, 1, time), instances).unwrap();
        f.hears(9, &announcement);
    }
    let live: BTreeSet<_> = f.live("store").into_iter().collect();
    assert_eq!(live, BTreeSet::from([(peer(2), 1), (peer(3), 1)]));
    assert_eq!((f.directory.stats().stale, f.faults()), (2, vec![]));
}

// Rule 3.

#[test]
fn an_announcement_that_is_not_repeated_ends() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 1, &[instance("store", 1)]);
    f.pass_ms(20_000);
    f.says(2, 2, &[instance("store", 1)]);
    f.changed();
    f.pass_ms(34_999);
    assert!(f.is_live(2), "the second one holds");
    f.pass_ms(1);
    assert!(!f.is_live(2));
    assert_eq!(f.changed(), ["store"]);
    f.says(2, 2, &[instance("store", 1)]);
    assert!(!f.is_live(2), "it doesn't come back by itself");
    f.says(2, 3, &[instance("store", 1)]);
    assert!(f.is_live(2));
}

#[test]
fn a_member_that_left_serves_nothing_until_it_says_something_new() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 5, &[instance("store", 1)]);
    f.changed();
    f.handle(Event::MemberLeft { peer: peer(2), farewell: false });
    assert!(!f.is_live(2));
    assert_eq!(f.changed(), ["store"]);
    f.says(2, 5, &[instance("store", 1)]);
    assert!(!f.is_live(2), "old gossip");
    f.says(2, 6, &[instance("store", 1)]);
    assert!(f.is_live(2), "it was alive all the time");
}

#[test]
fn after_a_farewell_nothing_of_that_life_counts() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 5, &[instance("store", 1)]);
    // Of the other only the roster spoke so far.
    f.handle(Event::Member { peer: peer(3), life: 1 });
    for n in [2, 3] {
        f.handle(Event::MemberLeft { peer: peer(n), farewell: true });
        f.says(n, 6, &[instance("store", 1)]);
        assert!(!f.is_live(n), "{n}");
        let later = f.sign(n, (2, 1), &[instance("store", 1)]);
        f.hears(n, &later);
        assert!(f.is_live(n), "{n} in its next life");
    }
}

#[test]
fn a_later_life_ends_what_the_earlier_one_served() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 5, &[instance("store", 1)]);
    f.handle(Event::Member { peer: peer(2), life: 1 });
    assert!(f.is_live(2));
    f.handle(Event::Member { peer: peer(2), life: 2 });
    assert!(!f.is_live(2));
    f.says(2, 6, &[instance("store", 1)]);
    assert!(!f.is_live(2), "what the earlier life still said");
    let later = f.sign(2, (2, 1), &[instance("store", 1)]);
    f.hears(2, &later);
    assert!(f.is_live(2));
}

// Rule 6.

#[test]
fn a_forged_announcement_changes_nothing_and_blames_who_brought_it() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 1, &[instance("store", 1)]);
    f.changed();
    let newer = forged(&f.sign(2, (1, 2), &[]));
    f.hears(3, &newer);
    f.handle(Event::Announced { from: peer(4), bytes: Bytes::from_static(b"nonsense") });
    assert_eq!(f.faults(), [(peer(3), Fault::Forged), (peer(4), Fault::Malformed)]);
    assert_eq!((f.live("store"), f.changed()), (vec![(peer(2), 1)], vec![]));
    assert_eq!(f.directory.stats().faults, 2);
    f.says(2, 2, &[]);
    assert!(!f.is_live(2), "a forgery that comes first can't suppress the original");
}

// Rule 9.

#[test]
fn only_live_instances_are_answered() {
    let mut f = Fixture::new(Config::default());
    let draining = unwell("store", 2, Health::Draining);
    let unhealthy = unwell("other", 3, Health::Unhealthy);
    f.says(2, 1, &[instance("store", 1), draining.clone(), unhealthy]);
    f.handle(Event::Serve(instance("mine", 4)));
    f.handle(Event::Serve(unwell("store", 5, Health::Draining)));
    assert_eq!(f.live("store"), [(peer(2), 1)]);
    assert_eq!(f.live("other"), []);
    assert_eq!(f.directory.services(), ["mine", "store"]);
    assert_eq!(f.directory.all().count(), 5, "all are known");
    let listed = f.directory.all().find(|listed| *listed.instance == draining).unwrap();
    assert_eq!((listed.peer, listed.life), (peer(2), 1));
}

#[test]
fn each_change_is_told_once() {
    let mut f = Fixture::new(Config::default());
    f.says(2, 1, &[instance("a", 1), instance("b", 1), instance("b", 2)]);
    assert_eq!(f.changed(), ["a", "b"]);
    f.says(2, 2, &[instance("a", 1), instance("b", 1), instance("b", 2)]);
    assert_eq!(f.changed(), [] as [&str; 0], "only repeated");
    f.says(2, 3, &[instance("a", 1), loaded("b", 1, 4), instance("b", 2)]);
    assert_eq!(f.changed(), ["b"]);
    f.says(2, 4, &[loaded("b", 1, 4), instance("b", 2)]);
    assert_eq!(f.changed(), ["a"]);
    f.handle(Event::Serve(instance("b", 1)));
    f.handle(Event::Load { service: "b".into(), id: 1, load: Load { in_flight: 8, capacity: 8 } });
    assert_eq!(f.changed(), ["b"], "our own load is ours to know");
    f.handle(Event::End { service: "b".into(), id: 1 });
    f.handle(Event::End { service: "b".into(), id: 1 });
    assert_eq!(f.changed(), ["b"]);
}
