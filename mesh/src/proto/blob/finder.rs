//! The finder: who holds what, and how others learn what we hold.
//!
//! Nobody keeps a list of all blobs. Whoever lacks one asks: those it knows to hold it, everyone by
//! gossip, and the mesh's routing table (Kademlia; Maymounkov and Mazières 2002). Rules:
//!
//! 1. **Memory first.** Nodes named by the user, and those that said within `ttl` that they hold
//!    the blob, are told at once. Only if they aren't enough, or were told before in this search,
//!    others are asked.
//! 2. **Looks.** What is looked for is gathered for `batch` and asked for in one message of up to
//!    16 blobs, at most one every `look_interval`.
//! 3. **Answers in slots.** A holder answers the asker directly, after a delay that it draws: in
//!    slot `k` (from 0) of length `slot` with probability `2 e 4^k / n`, less those of the slots
//!    before, where `e` is how many holders are wanted and `n` the number of nodes; in the last one
//!    at the latest. So of `n` holders about `2 e` answer in the first slot, and a single one
//!    waits for log4(n / 2e) slots at most: two seconds among ten thousand nodes. (Exponentially
//!    distributed timers; Nonnenmacher and Biersack, "Scalable Feedback for Large Groups", 1999.)
//! 4. **Enough.** Once the asker has enough for each blob, it says so to everyone, and who hasn't
//!    answered yet is silent. Whether it holds a blob a node checks only when its slot comes.
//! 5. **Limits.** Looks of one asker are limited, and so are answers that wait. The asker is who
//!    signed the look, so nobody can have others answer a third. An answer that nobody asked for
//!    isn't read.
//! 6. **Records.** Of the blobs that we hold whole, `max_records` have a provider record, pinned
//!    ones first, then those added last. Each is put again every `refresh`, one at a time.
//! 7. **Searches in the routing table** are made beside each look, at most one every
//!    `find_interval` for one blob, and some of those found are told.
//! 8. **Bounds.** Searches, holders, askers, answers and blobs of our own are bounded; over the
//!    bound the oldest or least useful goes, or the newcomer.
//!
//! A holder that is told is a claim. The [fetch](super::fetch) finds out, and says
//! [`Input::Useless`].
//!
//! Cost: a look is one message of gossip, with a second one if more holders wait than are wanted.
//!
//! # The driver
//!
//! It follows the contract of [`Protocol`], one for each node, and
//!
//! - has the topic [`TOPIC`], which isn't for users, deliver to [`Input::Heard`], with the author
//!   whose signature was checked; what is ours isn't delivered, or is ignored. Publishes without
//!   batching (`express`), and without repair of gaps: an old look is of no use;
//! - carries [`Here`] on the link as a frame of its own kind, and answers [`Output::Check`] from
//!   the store's index, without reading content. Of a part that doesn't include the last group it
//!   says that it isn't held;
//! - says [`Input::Nodes`] when the roster's count changes;
//! - says [`Input::Look`] for each
//!   [`WantProviders`](super::fetch::Output::WantProviders) of a fetch, takes each
//!   [`Output::Found`] of its blob to it, and says [`Input::Stop`] when it has ended;
//! - says [`Input::Hold`] for each whole blob at start and when one becomes whole, and
//!   [`Input::Release`] when one is deleted; has Kademlia's own republishing off, or lets it run,
//!   which costs more and harms nothing.

mod answers;
mod holders;
mod message;
mod records;
mod searches;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use aether_core::{BlobId, Protocol, PublicKey, Time};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use self::{
    answers::{Allowance, Answer},
    holders::Holders,
    records::Records,
    searches::{Round, Search},
};
pub use self::{
    message::{Here, MAX_ENOUGH, MAX_IDS, MAX_SHOUT, Shout},
    types::{Config, Input, Output, Stats},
};
use crate::proto::budget::Fault;

/// The name of the topic that carries looks. It is the mesh's own: not for users.
pub const TOPIC: &str = "aether/blobs";

/// See the [module](self).
#[derive(Debug)]
pub struct Finder {
    config: Config,
    me: PublicKey,
    rng: ChaCha12Rng,
    nodes: usize,
    searches: BTreeMap<BlobId, Search>,
    /// What the next look asks for.
    wanted: BTreeSet<BlobId>,
    next_look: Time,
    rounds: BTreeMap<u64, Round>,
    holders: Holders,
    /// What each asker may still ask.
    askers: BTreeMap<PublicKey, Allowance>,
    answers: BTreeMap<(PublicKey, u64), Answer>,
    records: Records,
    stats: Stats,
    now: Time,
    outputs: VecDeque<Output>,
}

impl Finder {
    /// The finder of a node that knows nothing and holds nothing.
    pub fn new(config: Config, me: PublicKey, seed: u64) -> Self {
        Self {
            config,
            me,
            rng: ChaCha12Rng::seed_from_u64(seed),
            nodes: 1,
            searches: BTreeMap::new(),
            wanted: BTreeSet::new(),
            next_look: Time::ZERO,
            rounds: BTreeMap::new(),
            holders: Holders::default(),
            askers: BTreeMap::new(),
            answers: BTreeMap::new(),
            records: Records::default(),
            stats: Stats::default(),
            now: Time::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Who was remembered as a holder of a blob at the last input, those named by the user first.
    pub fn holders(&self, id: &BlobId) -> impl Iterator<Item = PublicKey> + use<'_> {
        self.holders.of(id, self.now).map(|(peer, _)| peer)
    }

    /// How much is remembered: searches, rounds, blobs with holders, askers, waiting answers, and
    /// blobs of our own.
    pub fn sizes(&self) -> [usize; 6] {
        let Self { searches, rounds, holders, askers, answers, records, .. } = self;
        let (searches, rounds) = (searches.len(), rounds.len());
        [searches, rounds, holders.len(), askers.len(), answers.len(), records.len()]
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn on_heard(&mut self, from: PublicKey, bytes: &[u8]) {
        if from == self.me {
            return;
        }
        match Shout::decode(bytes) {
            Ok(Shout::Look { nonce, ids, enough }) => self.on_look(from, nonce, ids, enough),
            Ok(Shout::Enough { nonce }) => {
                let suppressed = self.answers.remove(&(from, nonce)).is_some();
                self.stats.suppressed += u64::from(suppressed);
            }
            Err(_) => self.blame(from),
        }
    }

    fn blame(&mut self, peer: PublicKey) {
        self.stats.faults += 1;
        self.outputs.push_back(Output::Fault { peer, fault: Fault::Malformed });
    }

    /// A number below a bound, which isn't zero.
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    fn on_timeout(&mut self) {
        self.end_rounds();
        self.check_due();
    }
}

impl Protocol for Finder {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Look { id, enough } => self.look(id, enough),
            Input::Stop { id } => {
                self.searches.remove(&id);
                self.wanted.remove(&id);
            }
            Input::Hint { id, peer } => self.on_hint(id, peer),
            Input::Useless { id, peer } => self.holders.remove(&id, &peer),
            Input::Hold { id, pinned } => self.records.hold(id, pinned, self.config.max_own),
            Input::Release { id } => {
                if self.records.release(&id) {
                    self.outputs.push_back(Output::StopProviding { id });
                }
            }
            Input::Heard { from, bytes } => self.on_heard(from, &bytes),
            Input::Here { from, here } => self.on_here(from, here),
            Input::Checked { from, nonce, held, whole } => {
                self.on_checked(from, nonce, (held, whole));
            }
            Input::Found { id, peers } => self.on_found(id, peers),
            Input::Nodes(nodes) => self.nodes = nodes.max(1),
            Input::Timeout => self.on_timeout(),
        }
        self.publish_if_due();
        self.put_records();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let look = (!self.wanted.is_empty()).then_some(self.next_look);
        let answers = self.answers.values().filter(|answer| !answer.is_checked);
        let answers = answers.map(|answer| answer.at).min();
        let rounds = self.rounds.values().map(|round| round.end).min();
        let searches = self.searches.values().map(|search| search.until).min();
        let records = self.records.timeout();
        [look, answers, rounds, searches, records].into_iter().flatten().min()
    }
}

/// How long the slots of a look last in which so many holders are wanted of so many nodes.
fn slots(nodes: usize, enough: u8) -> u32 {
    let (mut reached, mut slots) = (2 * usize::from(enough), 1);
    while reached < nodes {
        reached = reached.saturating_mul(4);
        slots += 1;
    }
    slots
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
