//! Local writes: from what a user wants to the operations that say so.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    error::Error,
};

use crate::proto::{
    entry::{Collection, Kind, MAX_GROUPS, MAX_OPS, MAX_PAYLOAD},
    id::{Dot, FeedId},
    rows::Base,
};

use super::{
    counter,
    ops::{Change, MAX_KEY, MAX_VALUE, Op},
    read,
    rows::Entries,
};

/// Most feeds that the operations of one drafted entry name. A feed may need two rows of a
/// frontier, one for each lane, and of those there are twice as many.
pub const MAX_NAMED: usize = 32;

/// Bytes of a group beside its operations, and of an operation beside its own.
const GROUP: usize = 16 + 1 + 4;
const LENGTH: usize = 4;

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It has this value and no other: in a map, or a register under the empty key. In a set, whose
    /// values are empty, it is an element.
    ///
    /// It is written even if the value is there already: who removes it concurrently hasn't seen
    /// this one.
    Put(Vec<u8>),
    /// It is gone from a map or set, or the register has no value.
    Remove,
    /// A counter's value grows by so much, or shrinks.
    Add(i64),
    /// A counter has no value: 0.
    Reset,
}

/// A change that a user makes to one key of a map, set, counter or register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    collection: Collection,
    key: Vec<u8>,
    action: Action,
}

impl Edit {
    /// An edit that can be written.
    ///
    /// # Errors
    /// A limit, or a collection of another kind.
    pub fn new(
        collection: Collection,
        key: impl Into<Vec<u8>>,
        action: Action,
    ) -> Result<Self, EditError> {
        let key = key.into();
        if key.len() > MAX_KEY {
            return Err(EditError::Key { len: key.len() });
        }
        let kind = collection.kind();
        let fits = match &action {
            Action::Put(value) if value.len() > MAX_VALUE => {
                return Err(EditError::Value { len: value.len() });
            }
            Action::Put(value) => match kind {
                Kind::Map => true,
                Kind::Set => value.is_empty(),
                Kind::Register => key.is_empty(),
                _ => false,
            },
            Action::Remove => match kind {
                Kind::Map | Kind::Set => true,
                Kind::Register => key.is_empty(),
                _ => false,
            },
            Action::Add(_) | Action::Reset => kind == Kind::Counter,
        };
        if fits { Ok(Self { collection, key, action }) } else { Err(EditError::Kind { kind }) }
    }

    /// Of which collection.
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Which key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What becomes of it.
    pub const fn action(&self) -> &Action {
        &self.action
    }
}

/// Why there is no such edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A key that is too long.
    #[error("a key has at most 1,024 bytes, not {len}")]
    Key {
        /// Length in bytes.
        len: usize,
    },
    /// A value that is too large.
    #[error("a value has at most 1,040,384 bytes, not {len}")]
    Value {
        /// Length in bytes.
        len: usize,
    },
    /// An action of another kind of collection; or a set's element with a value, or a register's
    /// value under a key.
    #[error("a collection of kind {kind:?} takes no such edit")]
    Kind {
        /// The collection's.
        kind: Kind,
    },
}

/// What goes into one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drafted {
    /// The operations, ascending by collection and key, within all limits of an entry. None if the
    /// edits change nothing: then no entry is needed.
    pub ops: Vec<(Collection, Vec<u8>)>,
    /// The feeds that the operations name, ascending, at most [`MAX_NAMED`], without the author's
    /// own. The entry cites what the author holds of each, its tip or its two, unless an earlier
    /// entry of the author's feed has cited them.
    pub named: Vec<FeedId>,
    /// How many edits, from the first on, the operations amount to. The others belong into the next
    /// entry, and are drafted when this one is applied.
    pub taken: usize,
}

/// Turns edits, in their order, into the operations of one entry by `own`, a feed that isn't
/// forked. The rows hold all that `own` wrote before.
///
/// What the edits mean is what they would mean one after the other, each applied before the next:
///
/// - A put or removal names all that is alive at the key and was written by other feeds. What is
///   `own`'s follows and needn't be named. So it takes the place of all that its author can see,
///   and of nothing else. A removal where nothing is alive makes no operation.
/// - An addition states the new total of `own`: what stands of it, and what is added. It names
///   nothing. A reset is a removal of all totals.
/// - Of several edits of one key one operation is left.
///
/// It stops before the first edit that doesn't fit into the entry, and says how many it took. If
/// the very first names more than [`MAX_NAMED`] feeds, it takes none of the edits and makes a
/// removal of what so many of them wrote; the draft after that finds as many less. So who drafts,
/// applies and drafts what is left comes to an end.
///
/// Costs one look-up for each key, two for each value of others that is alive there, and memory for
/// what the entry will hold.
///
/// # Errors
/// Of the rows; or the total of a counter, in what would be this entry, is too large. Nothing is
/// drafted then.
pub fn draft<R, F>(
    edits: &[Edit],
    own: &FeedId,
    rows: &R,
    feeds: &F,
) -> Result<Drafted, WriteError<R::Error>>
where
    R: Base,
    F: Entries<R>,
{
    draft_within(&ENTRY, edits, own, rows, feeds)
}

/// Whether the totals of counters fit through all edits, in however many entries they are drafted.
///
/// Costs one look-up for each counter's key.
///
/// # Errors
/// As [`draft`].
pub fn check_totals<R, F>(
    edits: &[Edit],
    own: &FeedId,
    rows: &R,
    feeds: &F,
) -> Result<(), WriteError<R::Error>>
where
    R: Base,
    F: Entries<R>,
{
    let mut totals: BTreeMap<(Collection, &[u8]), Key> = BTreeMap::new();
    let counters =
        edits.iter().enumerate().filter(|(_, edit)| edit.collection.kind() == Kind::Counter);
    for (at, edit) in counters {
        let key = match totals.entry((edit.collection, &edit.key)) {
            btree_map::Entry::Occupied(key) => key.into_mut(),
            btree_map::Entry::Vacant(vacant) => {
                let found = Key::find(edit, own, rows, feeds);
                vacant.insert(found.map_err(WriteError::Rows)?)
            }
        };
        key.step = key.after(edit).ok_or(WriteError::Overflow { at })?;
    }
    Ok(())
}

/// Why edits aren't drafted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError<E: Error + 'static> {
    /// What the feed has added to a counter altogether doesn't fit 64 bits.
    #[error("edit {at} makes the feed's total too large")]
    Overflow {
        /// Which edit, from 0.
        at: usize,
    },
    /// The rows can't be read.
    #[error("the rows can't be read")]
    Rows(#[source] E),
}

/// What one entry holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) groups: usize,
    pub(super) ops: usize,
    pub(super) named: usize,
}

const ENTRY: Limits =
    Limits { bytes: MAX_PAYLOAD, groups: MAX_GROUPS, ops: MAX_OPS, named: MAX_NAMED };

pub(super) fn draft_within<R, F>(
    limits: &Limits,
    edits: &[Edit],
    own: &FeedId,
    rows: &R,
    feeds: &F,
) -> Result<Drafted, WriteError<R::Error>>
where
    R: Base,
    F: Entries<R>,
{
    let mut plan = Plan::default();
    for edit in looked_up_first(limits, edits) {
        let found = Key::find(edit, own, rows, feeds).map_err(WriteError::Rows)?;
        plan.keys.insert((edit.collection, edit.key.clone()), found);
    }
    for (at, edit) in edits.iter().enumerate() {
        let key = match plan.keys.entry((edit.collection, edit.key.clone())) {
            btree_map::Entry::Occupied(key) => key.into_mut(),
            btree_map::Entry::Vacant(vacant) => {
                let found = Key::find(edit, own, rows, feeds);
                vacant.insert(found.map_err(WriteError::Rows)?)
            }
        };
        let step = key.after(edit).ok_or(WriteError::Overflow { at })?;
        if !plan.take(limits, edit, step) {
            if at == 0 {
                plan.clear_some(limits, edit);
            }
            return Ok(plan.finish(at));
        }
    }
    Ok(plan.finish(edits.len()))
}

/// The edits whose keys are looked up before any is planned, one of each key, ascending: rows that
/// lie together are found at less cost. Those that surely don't fit into the entry aren't among
/// them.
fn looked_up_first<'a>(limits: &Limits, edits: &'a [Edit]) -> Vec<&'a Edit> {
    let mut bytes = 0;
    let mut first: Vec<&Edit> = edits
        .iter()
        .take_while(|edit| {
            let value = if let Action::Put(value) = &edit.action { value.len() } else { 0 };
            bytes += edit.key.len() + value;
            bytes <= limits.bytes
        })
        .take(limits.ops)
        .collect();
    first.sort_unstable_by(|one, other| {
        (one.collection, &one.key).cmp(&(other.collection, &other.key))
    });
    first.dedup_by(|one, other| one.collection == other.collection && one.key == other.key);
    first
}

/// One key: how it was found, and what the edits so far make of it.
#[derive(Clone, Debug, Default)]
struct Key {
    /// What other feeds wrote that is alive.
    others: Vec<Dot>,
    /// Whether anything is alive.
    alive: bool,
    step: Step,
    ops: Vec<Vec<u8>>,
}

/// What edits make of a key.
#[derive(Clone, Debug, Default)]
struct Step {
    /// The feed's total after them.
    total: i64,
    /// Whether what others wrote is removed.
    over: bool,
    change: Option<Change>,
}

impl Key {
    fn find<R, F>(edit: &Edit, own: &FeedId, rows: &R, feeds: &F) -> Result<Self, R::Error>
    where
        R: Base,
        F: Entries<R>,
    {
        let alive = read::find(&edit.collection, &edit.key, rows)?;
        let (local, mut others) = (feeds.local(own), Vec::new());
        for slot in alive.slots().iter().filter(|slot| Some(slot.local) != local) {
            let name = feeds.name(rows, slot.position)?;
            others.extend(name.map(|(entry, _)| entry.dot(slot.index)));
        }
        others.sort_unstable();
        let step = Step { total: counter::total_of(local, &alive), ..Step::default() };
        Ok(Self { others, alive: !alive.is_empty(), step, ops: Vec::new() })
    }

    /// What one more edit makes of it; `None` if the total is too large.
    fn after(&self, edit: &Edit) -> Option<Step> {
        Some(match &edit.action {
            Action::Put(value) => {
                Step { total: 0, over: true, change: Some(Change::Put(value.clone())) }
            }
            Action::Remove | Action::Reset => {
                Step { total: 0, over: true, change: Some(Change::Remove) }
            }
            Action::Add(more) => {
                let total = self.step.total.checked_add(*more)?;
                Step { total, over: self.step.over, change: Some(Change::Count(total)) }
            }
        })
    }

    /// The operations that say so.
    fn ops(&self, key: &[u8], step: &Step) -> Vec<Vec<u8>> {
        let Some(change) = &step.change else { return Vec::new() };
        if *change == Change::Remove && !self.alive {
            return Vec::new();
        }
        let over = if step.over { &self.others[..] } else { &[] };
        let ops = Op::all(key, over, change.clone()).expect("an edit keeps the limits of keys");
        ops.iter().map(Op::encode).collect()
    }
}

/// An entry in the making.
#[derive(Debug, Default)]
struct Plan {
    keys: BTreeMap<(Collection, Vec<u8>), Key>,
    groups: BTreeSet<Collection>,
    named: BTreeSet<FeedId>,
    /// Bytes and number of the operations.
    bytes: usize,
    ops: usize,
}

impl Plan {
    /// Takes one edit, if it fits.
    fn take(&mut self, limits: &Limits, edit: &Edit, step: Step) -> bool {
        let at = (edit.collection, edit.key.clone());
        let key = self.keys.get_mut(&at).expect("the key was looked up");
        let ops = key.ops(&edit.key, &step);
        let size = |ops: &[Vec<u8>]| ops.iter().map(|op| op.len() + LENGTH).sum::<usize>();
        let bytes = self.bytes - size(&key.ops) + size(&ops);
        let count = self.ops - key.ops.len() + ops.len();
        let mut groups = self.groups.len();
        if !ops.is_empty() && !self.groups.contains(&edit.collection) {
            groups += 1;
        }
        let over = if step.over { &key.others[..] } else { &[] };
        let more: BTreeSet<FeedId> =
            over.iter().map(|dot| dot.feed).filter(|feed| !self.named.contains(feed)).collect();
        if bytes + groups * GROUP > limits.bytes
            || groups > limits.groups
            || count > limits.ops
            || self.named.len() + more.len() > limits.named
        {
            return false;
        }
        if !ops.is_empty() {
            self.groups.insert(edit.collection);
        }
        self.named.extend(more);
        (self.bytes, self.ops) = (bytes, count);
        (key.step, key.ops) = (step, ops);
        true
    }

    /// Of a first edit that names too many feeds: removes what as many wrote as there may be.
    fn clear_some(&mut self, limits: &Limits, edit: &Edit) {
        let at = (edit.collection, edit.key.clone());
        let key = self.keys.get_mut(&at).expect("the key was looked up");
        let all: BTreeSet<FeedId> = key.others.iter().map(|dot| dot.feed).collect();
        assert!(all.len() > limits.named, "any other edit fits an entry of its own");
        self.named = all.into_iter().take(limits.named).collect();
        key.others.retain(|dot| self.named.contains(&dot.feed));
        let step = Step { total: 0, over: true, change: Some(Change::Remove) };
        key.ops = key.ops(&edit.key, &step);
    }

    fn finish(self, taken: usize) -> Drafted {
        let ops = self
            .keys
            .into_iter()
            .flat_map(|((collection, _), key)| key.ops.into_iter().map(move |op| (collection, op)));
        Drafted { ops: ops.collect(), named: self.named.into_iter().collect(), taken }
    }
}
