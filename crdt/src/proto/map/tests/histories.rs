//! Histories that authors might write, honest and lying ones.

use proptest::prelude::*;

use super::*;

/// One entry in the making. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) struct Step {
    who: usize,
    lane: u8,
    seen: usize,
    ops: Vec<Act>,
}

#[derive(Clone, Debug)]
struct Act {
    collection: usize,
    key: usize,
    change: u8,
    value: i8,
    refs: Vec<u16>,
}

const KEYS: [&[u8]; 3] = [b"", b"\0k", b"k"];

prop_compose! {
    fn act()(
        collection in 0..4usize,
        key in 0..3usize,
        change in 0..8u8,
        value: i8,
        refs in prop::collection::vec(any::<u16>(), 0..3),
    ) -> Act {
        Act { collection, key, change, value, refs }
    }
}

prop_compose! {
    fn step()(
        who in 0..5usize,
        lane in 0..2u8,
        seen: usize,
        ops in prop::collection::vec(act(), 0..4),
    ) -> Step {
        Step { who, lane, seen, ops }
    }
}

/// Authors 1 and 2 are honest; 1 has two incarnations. Author 3 forks after its first entry, and
/// author 4 does so with twins.
pub(super) fn history() -> impl Strategy<Value = Vec<Said>> {
    prop::collection::vec(step(), 1..24).prop_map(|steps| {
        let mut all: Vec<Said> = Vec::new();
        for step in &steps {
            let said = next(&all, step);
            all.push(said);
        }
        all
    })
}

/// A history of honest authors alone.
pub(super) fn honest_history() -> impl Strategy<Value = Vec<Said>> {
    prop::collection::vec(step(), 1..24).prop_map(|mut steps| {
        let mut all: Vec<Said> = Vec::new();
        for step in &mut steps {
            step.who %= 3;
            let said = next(&all, step);
            all.push(said);
        }
        all
    })
}

fn next(all: &[Said], step: &Step) -> Said {
    let feed = [feed(1, 1), feed(1, 2), feed(2, 1), feed(3, 1), feed(4, 1)][step.who];
    let own = all.iter().filter(|said| said.id.feed == feed);
    let trunk = own.clone().find(|said| said.id.number == 1);
    let lane = match (trunk, step.who) {
        (Some(_), 3) => step.lane,
        (Some(_), 4) => 8 + step.lane,
        _ => 0,
    };
    let mut last = own.filter(|said| said.id.hash.as_ref()[31] == lane);
    let parent = last.next_back().or(trunk);
    let number = parent.map_or(1, |parent| parent.id.number + 1);
    let id = id(feed, number, lane);

    // What an honest author saw: all up to some time, and its own.
    let past = step.seen % (all.len() + 1);
    let seen = (0..).zip(all).filter(|(at, said)| *at < past || said.id.feed == feed);
    let seen: Vec<Said> = seen.map(|(_, said)| said.clone()).collect();
    let state = model::state(&seen);
    let mut ops: Vec<_> = step.ops.iter().map(|act| op(act, step, all, &state, &id)).collect();
    ops.sort_by_key(|(collection, ..)| *collection);
    let time = at(all.len() as u64 / 3 + number);
    Said { id, parent: parent.map(|parent| parent.id), time, ops }
}

fn op(
    act: &Act,
    step: &Step,
    all: &[Said],
    state: &BTreeSet<model::Line>,
    id: &EntryId,
) -> (Collection, Vec<u8>) {
    let collection = collections()[act.collection];
    let key = if collection.kind() == Kind::Register { b"" } else { KEYS[act.key] };
    let over: Vec<Dot> = if step.who < 3 {
        let same = |line: &&model::Line| line.0 == *collection.id() && line.2 == key;
        state.iter().filter(same).map(|line| line.3.dot(line.4)).collect()
    } else {
        // A liar names what it likes: what is, what it hasn't seen, itself, and what never was.
        let named = act.refs.iter().map(|pick| {
            let pick = usize::from(*pick);
            let said = all.get(pick % (all.len() + 2)).map_or(*id, |said| said.id);
            let number = said.number + u64::from(pick % 7 == 0);
            EntryId { number, ..said }.dot(u32::try_from(pick / 7 % 4).unwrap())
        });
        named.collect()
    };
    let counts = collection.kind() == Kind::Counter;
    let change = match act.change {
        0 | 1 => Change::Remove,
        _ if counts => Change::Count(act.value.into()),
        _ if collection.kind() == Kind::Set => Change::Put(vec![]),
        // Some are too long to lie beside their key.
        _ => Change::Put(vec![act.value.unsigned_abs(); if act.value % 3 == 0 { 40 } else { 1 }]),
    };
    // Of a counter's increments an honest author names none but its own, which follow anyway.
    let over = if step.who < 3 && matches!(change, Change::Count(_)) { vec![] } else { over };
    let mut bytes = Op::new(key, over, change).unwrap().encode();
    if step.who > 2 && act.value == 0 {
        bytes.push(0);
    }
    (collection, bytes)
}

/// An order that puts parents first, and is any order beside.
pub(super) fn shuffled(set: &[Said], seed: &[u16]) -> Vec<Said> {
    let mut left = set.to_vec();
    let mut order: Vec<Said> = Vec::new();
    let mut seed = seed.iter().cycle();
    while !left.is_empty() {
        let waits = |said: &Said| left.iter().any(|other| Some(other.id) == said.parent);
        let ready: Vec<usize> = (0..left.len()).filter(|at| !waits(&left[*at])).collect();
        let pick = usize::from(*seed.next().unwrap_or(&0)) % ready.len();
        order.push(left.remove(ready[pick]));
    }
    order
}

/// The entries of a set that aren't this one and don't descend from it, and those that do.
pub(super) fn without(set: &[Said], root: &EntryId) -> (Vec<Said>, Vec<Said>) {
    let mut gone: Vec<Said> = Vec::new();
    for said in set {
        let below = gone.iter().any(|other| Some(other.id) == said.parent);
        if said.id == *root || below {
            gone.push(said.clone());
        }
    }
    let stay = set.iter().filter(|said| !gone.contains(said)).cloned().collect();
    (stay, gone)
}
