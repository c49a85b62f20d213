//! Keeping: which partitions a node has copies of, and when one may go.
//!
//! # Rules
//!
//! 1. **Owned.** What a node owns it opens, and *fetches*: it compares with all other members until
//!    each has said that it has no copy or none of which something is missing here, or can't be
//!    reached; and a quorum of the owners, itself among them, must have said so. Then its copy is
//!    *whole*, and stays so while it is owned. Only whole copies count in reads above level one,
//!    and only their owners coordinate writes.
//! 2. **Not owned.** A copy of what a node doesn't own *parts*: one that was owned before, or a
//!    hint, which is a write that was taken because no owner could be reached. It is compared with
//!    all owners until each has said that it owns the partition and holds all of it.
//! 3. **Frozen.** Then the copy is frozen, so that nothing is added to it, and compared once more.
//!    When all owners hold just that, it is dropped. One that doesn't in time ends the frost.
//! 4. **A change of the list** of members begins all comparisons anew, and voids what was said.
//! 5. **Pace.** So many partitions are worked on at once. Each compares every other second or so,
//!    and anti-entropy is hastened with whoever lacks something.
//!
//! # Why nothing is lost
//!
//! An owner that says that it holds something has *custody* of it: it says so only while it owns
//! the partition, and drops its own copy by rules 2 and 3 alone. So whoever drops a copy leaves all
//! owners with custody of what was in it, as many as there are replicas, or all members.
//!
//! Those may drop theirs later, but not in a circle. Say several nodes dropped their copies of an
//! entry, and take the one that began last to part, at a time s. Each of its owners claimed the
//! entry after s, while it owned the partition. If one of them dropped its copy as well, it had
//! begun to part before s and not owned the partition from then until it dropped it; so its claim
//! came after it had dropped the copy, which it then didn't hold. Thus none of them did, and all
//! owners of the last to part hold the entry. That rule 4 is about lists which nodes hear of at
//! different times doesn't matter: nobody compares lists of two nodes.
//!
//! What is lost with a disk isn't covered, nor are liars: members trust each other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use aether_core::{Hash, Protocol, PublicKey, Time};

use super::placement::{Level, Placement};

/// How partitions are kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many partitions are opened, compared or handed over at once. 8 by default.
    pub width: usize,
    /// How long after a comparison came to nothing the next is made. 2 s.
    pub pace: Duration,
    /// The same while a copy is frozen. 200 ms.
    pub frozen_pace: Duration,
    /// How long a copy is frozen at most. 5 s.
    pub frost: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            width: 8,
            pace: Duration::from_secs(2),
            frozen_pace: Duration::from_millis(200),
            frost: Duration::from_secs(5),
        }
    }
}

/// What a member says when it is asked to compare its copy with this node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Whether it has the same list of members.
    pub same_view: bool,
    /// Whether it owns the partition, by its list, before and after it looked at its copy.
    pub owns: bool,
    /// Whether it has a copy.
    pub has_copy: bool,
    /// Whether it holds all that this node held.
    pub covers_ours: bool,
    /// Whether this node held all that it holds.
    pub covers_theirs: bool,
    /// The digest of what this node held.
    pub digest: Hash,
}

/// What happens to a keeper.
#[derive(Clone, Debug)]
pub enum Input {
    /// The list of members as it is now known here.
    View(Box<Placement>),
    /// A copy is here: as asked for, from before, or for a hint.
    Opened {
        /// Of which partition.
        partition: u16,
    },
    /// A copy couldn't be opened.
    NotOpened {
        /// Of which partition.
        partition: u16,
    },
    /// A member has compared.
    Said {
        /// Which partition.
        partition: u16,
        /// Who.
        from: PublicKey,
        /// That of [`Output::Ask`].
        epoch: u64,
        /// What came of it.
        said: Comparison,
    },
    /// A member couldn't be asked.
    Unreached {
        /// Which partition.
        partition: u16,
        /// Who.
        from: PublicKey,
        /// That of [`Output::Ask`].
        epoch: u64,
    },
    /// A copy is frozen: all that it holds is synced, and nothing is added.
    Frozen {
        /// Of which partition.
        partition: u16,
        /// The digest of what it holds.
        digest: Hash,
    },
    /// A copy was dropped.
    Dropped {
        /// Of which partition.
        partition: u16,
    },
    /// A copy couldn't be frozen, or dropped.
    Kept {
        /// Of which partition.
        partition: u16,
    },
    /// The deadline of `poll_timeout` has come.
    Timeout,
}

/// What a keeper wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a copy, and say whether it is.
    Open {
        /// Of which partition.
        partition: u16,
    },
    /// Ask a member to compare its copy with what is synced here, and say what came of it.
    Ask {
        /// Which partition.
        partition: u16,
        /// Whom.
        peer: PublicKey,
        /// What tells the answer from older ones.
        epoch: u64,
    },
    /// Begin anti-entropy with a member now.
    Compare {
        /// Which partition.
        partition: u16,
        /// With whom.
        peer: PublicKey,
    },
    /// Let nothing be added to a copy any more, sync what was, and say when that is so.
    Freeze {
        /// Of which partition.
        partition: u16,
    },
    /// Let things be added to a copy again.
    Thaw {
        /// Of which partition.
        partition: u16,
    },
    /// Drop a copy if it holds just this, and say whether that is done.
    Drop {
        /// Of which partition.
        partition: u16,
        /// The digest of what it is to hold.
        digest: Hash,
    },
}

/// What a node is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It owns it. Its copy may not be whole yet, or not even open.
    Owner {
        /// Whether it is.
        is_whole: bool,
    },
    /// It doesn't own it, and has a copy still.
    Former {
        /// Whether that was whole when it was owned.
        was_whole: bool,
    },
    /// It has nothing of it.
    Stranger,
}

/// How far keeping has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Partitions that this node owns.
    pub owned: usize,
    /// Those of them whose copies are whole.
    pub whole: usize,
    /// Copies of partitions that it doesn't own, which are to be handed over.
    pub parting: usize,
    /// Copies that it has handed over and dropped since it was started.
    pub parted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is here.
    Absent,
    Opening,
    Fetching,
    Whole,
    Parting,
    Freezing,
    Frozen(Hash, Time),
    Dropping,
}

/// A copy, or what is to be one.
#[derive(Clone, Debug)]
struct Held {
    stage: Stage,
    /// Whether it was whole when it was last owned.
    was_whole: bool,
    /// Who was asked and hasn't answered.
    asked: BTreeSet<PublicKey>,
    /// Who said what is wanted.
    told: BTreeSet<PublicKey>,
    /// Who wasn't reached in this round.
    unreached: BTreeSet<PublicKey>,
    /// When to go on.
    next: Time,
}

impl Held {
    fn new(stage: Stage, next: Time) -> Self {
        let (asked, told, unreached) = Default::default();
        Self { stage, was_whole: false, asked, told, unreached, next }
    }

    fn begin(&mut self, stage: Stage, next: Time) {
        let was_whole = self.was_whole;
        *self = Self { was_whole, ..Self::new(stage, next) };
    }

    /// Whether it counts among those that are worked on.
    fn is_busy(&self) -> bool {
        match self.stage {
            Stage::Absent | Stage::Whole => false,
            Stage::Opening | Stage::Freezing | Stage::Frozen(..) | Stage::Dropping => true,
            Stage::Fetching | Stage::Parting => !self.asked.is_empty(),
        }
    }

    /// Whether it waits for its turn.
    fn is_waiting(&self) -> bool {
        let is_its_turn = matches!(self.stage, Stage::Absent | Stage::Fetching | Stage::Parting);
        is_its_turn && self.asked.is_empty()
    }

    /// Whether a copy is here that may be read.
    const fn is_here(&self) -> bool {
        !matches!(self.stage, Stage::Absent | Stage::Opening | Stage::Dropping)
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Keeper {
    config: Config,
    me: PublicKey,
    placement: Option<Placement>,
    /// How often the list of members changed.
    epoch: u64,
    held: BTreeMap<u16, Held>,
    parted: u64,
    outputs: VecDeque<Output>,
}

impl Keeper {
    /// The keeper of a node of this key, without any copy.
    pub fn new(config: Config, me: PublicKey) -> Self {
        let (held, outputs) = (BTreeMap::new(), VecDeque::new());
        Self { config, me, placement: None, epoch: 0, held, parted: 0, outputs }
    }

    /// The placement as it is known here; none until the control space's settings have come.
    pub const fn placement(&self) -> Option<&Placement> {
        self.placement.as_ref()
    }

    /// What this node is to a partition.
    pub fn role(&self, partition: u16) -> Role {
        let held = self.held.get(&partition).filter(|held| held.is_here());
        let stage = held.map(|held| held.stage);
        match held {
            _ if self.owns(partition) => Role::Owner { is_whole: stage == Some(Stage::Whole) },
            Some(held) => Role::Former { was_whole: held.was_whole },
            None => Role::Stranger,
        }
    }

    /// Whether a copy is here.
    pub fn is_here(&self, partition: u16) -> bool {
        self.held.get(&partition).is_some_and(Held::is_here)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress { parted: self.parted, ..Progress::default() };
        for (partition, held) in &self.held {
            match (self.owns(*partition), held.stage) {
                (true, stage) => {
                    progress.owned += 1;
                    progress.whole += usize::from(stage == Stage::Whole);
                }
                (false, Stage::Absent) => {}
                (false, _) => progress.parting += 1,
            }
        }
        progress
    }

    fn owns(&self, partition: u16) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.owns(&self.me, partition))
    }

    fn owners(&self, partition: u16) -> BTreeSet<PublicKey> {
        let owners = self.placement.as_ref().map_or(&[][..], |all| all.owners(partition));
        owners.iter().copied().collect()
    }

    fn on_view(&mut self, now: Time, placement: Placement) {
        if self.placement.as_ref() == Some(&placement) {
            return;
        }
        self.epoch += 1;
        let owned = placement.partitions().filter(|n| placement.owns(&self.me, *n));
        for partition in owned {
            self.held.entry(partition).or_insert(Held::new(Stage::Absent, now));
        }
        self.placement = Some(placement);
        for partition in self.held.keys().copied().collect::<Vec<_>>() {
            self.judge(now, partition);
        }
        let owns: BTreeSet<u16> =
            self.held.keys().copied().filter(|partition| self.owns(*partition)).collect();
        self.held.retain(|partition, held| held.stage != Stage::Absent || owns.contains(partition));
    }

    /// The list of members has changed: what becomes of a copy.
    fn judge(&mut self, now: Time, partition: u16) {
        let owns = self.owns(partition);
        let Some(held) = self.held.get_mut(&partition) else { return };
        match held.stage {
            // Whoever is at it says how it went.
            Stage::Absent | Stage::Opening | Stage::Dropping => {}
            Stage::Whole if owns => {}
            stage => {
                if matches!(stage, Stage::Freezing | Stage::Frozen(..)) {
                    self.outputs.push_back(Output::Thaw { partition });
                }
                held.was_whole |= stage == Stage::Whole;
                held.begin(if owns { Stage::Fetching } else { Stage::Parting }, now);
            }
        }
    }

    fn on_opened(&mut self, now: Time, partition: u16) {
        let stage = if self.owns(partition) { Stage::Fetching } else { Stage::Parting };
        let held = self.held.entry(partition).or_insert(Held::new(stage, now));
        if matches!(held.stage, Stage::Absent | Stage::Opening) {
            held.begin(stage, now);
        }
    }

    fn on_said(&mut self, now: Time, partition: u16, from: PublicKey, said: Comparison) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if !held.asked.remove(&from) {
            return;
        }
        let is_told = match held.stage {
            Stage::Fetching => said.same_view && (!said.has_copy || said.covers_theirs),
            Stage::Parting => said.owns && said.has_copy && said.covers_ours,
            Stage::Frozen(digest, _) => {
                said.owns && said.has_copy && said.covers_ours && said.digest == digest
            }
            _ => return,
        };
        if is_told {
            held.told.insert(from);
        } else if said.has_copy {
            self.outputs.push_back(Output::Compare { partition, peer: from });
        }
        self.end_round(now, partition);
    }

    fn on_unreached(&mut self, now: Time, partition: u16, from: PublicKey) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if held.asked.remove(&from) {
            held.unreached.insert(from);
            self.end_round(now, partition);
        }
    }

    /// Once all have answered: whether it was enough.
    fn end_round(&mut self, now: Time, partition: u16) {
        let is_enough = self.is_enough(partition);
        let Config { pace, frozen_pace, .. } = self.config;
        let Some(held) = self.held.get_mut(&partition) else { return };
        if !held.asked.is_empty() {
            return;
        }
        match held.stage {
            Stage::Fetching if is_enough => held.begin(Stage::Whole, Time::MAX),
            Stage::Parting if is_enough => {
                held.begin(Stage::Freezing, Time::MAX);
                self.outputs.push_back(Output::Freeze { partition });
            }
            Stage::Frozen(digest, _) if is_enough => {
                held.begin(Stage::Dropping, Time::MAX);
                self.outputs.push_back(Output::Drop { partition, digest });
            }
            Stage::Frozen(..) => held.next = now + frozen_pace,
            _ => held.next = now + pace,
        }
    }

    /// Whether those who said what is wanted are all that are needed.
    fn is_enough(&self, partition: u16) -> bool {
        let (Some(held), Some(placement)) = (self.held.get(&partition), &self.placement) else {
            return false;
        };
        let owners = self.owners(partition);
        if held.stage != Stage::Fetching {
            return !owners.is_empty() && owners.is_subset(&held.told);
        }
        let others = placement.members().keys().filter(|member| **member != self.me);
        let mut open = others.filter(|member| !held.told.contains(*member));
        let with_us = 1 + owners.intersection(&held.told).count();
        let is_quorum = with_us >= placement.need(partition, Level::Quorum);
        is_quorum && open.all(|member| held.unreached.contains(member))
    }

    /// Asks whoever hasn't said what is wanted.
    fn ask(&mut self, now: Time, partition: u16) {
        let Some(placement) = &self.placement else { return };
        let whom: BTreeSet<PublicKey> = match self.held.get(&partition).map(|held| held.stage) {
            Some(Stage::Fetching) => placement.members().keys().copied().collect(),
            _ => self.owners(partition),
        };
        let epoch = self.epoch;
        let Some(held) = self.held.get_mut(&partition) else { return };
        held.unreached.clear();
        held.asked = whom.difference(&held.told).copied().collect();
        held.asked.remove(&self.me);
        let all = held.asked.iter().map(|peer| Output::Ask { partition, peer: *peer, epoch });
        self.outputs.extend(all);
        self.end_round(now, partition);
    }

    fn on_frozen(&mut self, now: Time, partition: u16, digest: Hash) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if held.stage == Stage::Freezing {
            held.begin(Stage::Frozen(digest, now + self.config.frost), now);
            self.ask(now, partition);
        }
    }

    fn on_dropped(&mut self, now: Time, partition: u16) {
        self.parted += 1;
        self.held.remove(&partition);
        if self.owns(partition) {
            self.held.insert(partition, Held::new(Stage::Absent, now));
        }
    }

    fn on_kept(&mut self, now: Time, partition: u16) {
        let owns = self.owns(partition);
        let Some(held) = self.held.get_mut(&partition) else { return };
        if matches!(held.stage, Stage::Freezing | Stage::Frozen(..) | Stage::Dropping) {
            let stage = if owns { Stage::Fetching } else { Stage::Parting };
            held.begin(stage, now + self.config.pace);
            self.outputs.push_back(Output::Thaw { partition });
        }
    }

    /// Does what is due, as far as there is room.
    fn go_on(&mut self, now: Time) {
        let frozen = self.held.iter().filter_map(|(partition, held)| match held.stage {
            Stage::Frozen(_, until) => Some((*partition, until, held.next, held.asked.is_empty())),
            _ => None,
        });
        for (partition, until, next, is_idle) in frozen.collect::<Vec<_>>() {
            if until <= now {
                self.on_kept(now, partition);
            } else if is_idle && next <= now {
                self.ask(now, partition);
            }
        }
        if self.placement.is_none() {
            return;
        }
        let busy = self.held.values().filter(|held| held.is_busy()).count();
        let due = self.held.iter().filter(|(_, held)| held.is_waiting() && held.next <= now);
        let mut due: Vec<(Time, u16)> =
            due.map(|(partition, held)| (held.next, *partition)).collect();
        due.sort_unstable();
        due.truncate(self.config.width.saturating_sub(busy));
        for (_, partition) in due {
            match self.held.get_mut(&partition) {
                Some(held) if held.stage == Stage::Absent => {
                    held.begin(Stage::Opening, Time::MAX);
                    self.outputs.push_back(Output::Open { partition });
                }
                _ => self.ask(now, partition),
            }
        }
    }
}

impl Protocol for Keeper {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::View(placement) => self.on_view(now, *placement),
            Input::Opened { partition } => self.on_opened(now, partition),
            Input::NotOpened { partition } => {
                if let Some(held) = self.held.get_mut(&partition)
                    && held.stage == Stage::Opening
                {
                    held.begin(Stage::Absent, now + self.config.pace);
                }
            }
            Input::Said { partition, from, epoch, said } if epoch == self.epoch => {
                self.on_said(now, partition, from, said);
            }
            Input::Unreached { partition, from, epoch } if epoch == self.epoch => {
                self.on_unreached(now, partition, from);
            }
            Input::Frozen { partition, digest } => self.on_frozen(now, partition, digest),
            Input::Dropped { partition } => self.on_dropped(now, partition),
            Input::Kept { partition } => self.on_kept(now, partition),
            Input::Said { .. } | Input::Unreached { .. } | Input::Timeout => {}
        }
        self.go_on(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.placement.as_ref()?;
        let busy = self.held.values().filter(|held| held.is_busy()).count();
        let has_room = busy < self.config.width;
        let due = self.held.values().filter_map(|held| match held.stage {
            Stage::Frozen(_, until) if held.asked.is_empty() => Some(held.next.min(until)),
            Stage::Frozen(_, until) => Some(until),
            _ if held.is_waiting() && has_room => Some(held.next),
            _ => None,
        });
        due.min()
    }
}
