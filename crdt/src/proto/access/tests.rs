//! Tests of the rules of the [module](super): against a specification, as laws, and scripted.

mod authoring;
mod bounds;
mod incarnations;
mod laws;
mod replica;
mod rules;
mod scripts;
mod spec;
mod world;

use aether_core::SecretKey;
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;

use self::{replica::Replica, spec::Spec, world::World};
use super::*;
use crate::proto::{
    entry::{Draft, FeedPin, Place, Run},
    feed::Node,
    time::Wall,
};

/// The seeds of the owners' keys.
const OWNERS: [u8; 2] = [1, 2];
/// The seeds of everybody else's.
const MEMBERS: std::ops::RangeInclusive<u8> = 3..=9;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

fn feed(seed: u8, incarnation: u64) -> FeedId {
    FeedId { author: public(seed), incarnation }
}

fn granted(grant: &Signed) -> Authority {
    Authority::Grant(grant.id())
}

fn to(seed: u8, role: Role, over: &[&Signed]) -> AccessOp {
    let mut over: Vec<Hash> = over.iter().map(|removal| removal.header.hash()).collect();
    over.sort();
    AccessOp::Grant { member: public(seed), role, over }
}

fn from(seed: u8, tips: &[&Signed]) -> AccessOp {
    let mut pins: Vec<FeedPin> = tips.iter().map(|tip| tip.pin()).collect();
    pins.sort();
    AccessOp::Remove { member: public(seed), pins, more: false }
}

fn discard(of: EntryId) -> AccessOp {
    let run = Run { first: of.number, last: of.number };
    AccessOp::Discard { feed: of.feed, runs: vec![run] }
}

fn goes_on(change: AccessOp) -> AccessOp {
    let AccessOp::Remove { member, pins, .. } = change else { return change };
    AccessOp::Remove { member, pins, more: true }
}

/// A header with what its feed's first one states.
#[derive(Clone, Debug)]
struct Signed {
    seed: u8,
    header: Checked<Header>,
    authority: Authority,
}

impl Signed {
    fn id(&self) -> EntryId {
        self.header.id()
    }

    fn feed(&self) -> FeedId {
        self.header.feed()
    }

    fn tip(&self) -> Tip {
        Tip { number: self.header.number(), hash: self.header.hash() }
    }

    /// What it links to.
    fn parent(&self) -> Tip {
        match self.header.parent() {
            Some(parent) => Tip { number: parent.number, hash: parent.hash },
            None => Tip::ROOT,
        }
    }

    fn node(&self) -> Node {
        let Tip { number, hash } = self.tip();
        Node { number, hash, parent: self.parent().hash }
    }

    fn pin(&self) -> FeedPin {
        let Tip { number, hash } = self.tip();
        FeedPin { incarnation: self.feed().incarnation, number, hash }
    }
}

/// A space, and everyone's pen.
#[derive(Clone, Debug)]
struct Scene {
    genesis: Genesis,
    millis: u64,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        let genesis = Genesis::new(mode, [7; 16], "tests", OWNERS.map(public)).unwrap();
        Self { genesis, millis: 1_800_000_000_000 }
    }

    fn access(&self) -> Access {
        Access::new(self.genesis.clone()).unwrap()
    }

    fn begin(
        &mut self,
        seed: u8,
        incarnation: u64,
        authority: Authority,
        change: impl Into<Option<AccessOp>>,
    ) -> Signed {
        let place = Place::first(self.genesis.space_id(), feed(seed, incarnation), authority);
        self.sign(seed, place, authority, change.into())
    }

    fn after(&mut self, parent: &Signed, change: impl Into<Option<AccessOp>>) -> Signed {
        let place = Place::after(&parent.header, parent.authority).unwrap();
        self.sign(parent.seed, place, parent.authority, change.into())
    }

    fn sign(
        &mut self,
        seed: u8,
        place: Place,
        authority: Authority,
        change: Option<AccessOp>,
    ) -> Signed {
        // No two headers are the same.
        self.millis += 1;
        let mut draft = Draft::new();
        change.map(|change| draft.access(change));
        let entry = draft.sign(&key(seed), place, Wall::from_millis(self.millis)).unwrap();
        Signed { seed, header: entry.header().clone(), authority }
    }

    /// An owner's feed that grants these roles, an entry each.
    fn grants(&mut self, roles: &[(u8, Role)]) -> Vec<Signed> {
        let mut entries: Vec<Signed> = Vec::new();
        for (seed, role) in roles {
            let change = to(*seed, *role, &[]);
            entries.push(match entries.last() {
                Some(last) => self.after(last, change),
                None => self.begin(1, 1, Authority::Genesis, change),
            });
        }
        entries
    }

    /// A feed of plain entries.
    fn plain(&mut self, seed: u8, incarnation: u64, grant: &Signed, count: usize) -> Vec<Signed> {
        let mut entries = vec![self.begin(seed, incarnation, granted(grant), None)];
        while entries.len() < count {
            let next = self.after(&entries[entries.len() - 1].clone(), None);
            entries.push(next);
        }
        entries
    }
}

/// Runs a property with many seeds, and names the one it fails with.
fn for_seeds(count: u64, mut property: impl FnMut(&mut ChaCha12Rng)) {
    for seed in 0..count {
        let named = Seed(seed);
        property(&mut ChaCha12Rng::seed_from_u64(seed));
        drop(named);
    }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}
