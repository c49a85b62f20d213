//! Honest changes, spoilt in one place, with a checksum that is right again.
//!
//! Each is refused by rules A; or Automerge reads it as we do and writes it again byte for byte.
//! Then it is void by rules B, or applied to a document that is saved, loaded and read back.

use std::collections::BTreeMap;

use aether_crdt::proto::document::{ActorId, Change, DecodeError, Rule};
use automerge::{legacy, legacy::OpType};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha12Rng;

use crate::{
    chunks::{Parts, seal, signed},
    oracle::{actor_of, agree},
    past::{Past, judge, keep},
    script::World,
};

/// What became of the mutants.
#[derive(Debug, Default)]
struct Tally {
    refused: BTreeMap<Rule, usize>,
    accepted: usize,
    applied: usize,
}

/// All changes of a random history, each behind those it depends on.
fn history(seed: u64) -> Vec<automerge::Change> {
    let mut world = World::new(seed);
    (0..24).for_each(|_| drop(world.step()));
    world.merged().get_changes(&[])
}

/// Spoils a byte, or a few, of `bytes`.
fn spoil(rng: &mut ChaCha12Rng, bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..=bytes.len());
    let there = at < bytes.len();
    match rng.random_range(0..8) {
        0 if there => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if there => bytes[at] = bytes[at].wrapping_add(1),
        2 if there => bytes[at] = bytes[at].wrapping_sub(1),
        3 if there => drop(bytes.remove(at)),
        4 if at + 1 < bytes.len() => bytes.swap(at, at + 1),
        // An integer in a longer form.
        5 if there && bytes[at] < 0x80 => {
            bytes[at] |= 0x80;
            bytes.insert(at + 1, 0);
        }
        6 => bytes.insert(at, rng.random_range(0..4)),
        _ => bytes.insert(at, rng.random()),
    }
}

/// Splits the first run of a column in two, or writes it as a literal.
fn split(rng: &mut ChaCha12Rng, column: &mut Vec<u8>) {
    let Some([count @ 2..=0x3f, value @ 0..0x80]) = column.first_chunk::<2>().copied() else {
        return spoil(rng, column);
    };
    let mut head = Vec::new();
    if rng.random() {
        signed(-i64::from(count), &mut head);
        head.resize(head.len() + usize::from(count), value);
    } else {
        let first = rng.random_range(1..count);
        head.extend([first, value, count - first, value]);
    }
    column.splice(..2, head);
}

/// Spoils one part of a change.
fn mutate(rng: &mut ChaCha12Rng, bytes: &[u8]) -> Vec<u8> {
    let mut parts = Parts::parse(bytes);
    let column = rng.random_range(0..parts.columns.len());
    match rng.random_range(0..20) {
        0 => parts.seq = rng.random::<u64>() >> rng.random_range(0..64),
        1 => parts.start_op = rng.random::<u64>() >> rng.random_range(0..64),
        2 => parts.time = (0..rng.random_range(0..12)).map(|_| rng.random()).collect(),
        3 => spoil(rng, &mut parts.message),
        4 => parts.deps.push(rng.random()),
        5 => parts.deps.reverse(),
        6 => parts.others.push(vec![rng.random(); 16]),
        7 => parts.others.reverse(),
        8 => drop(parts.others.pop()),
        9 => parts.extra = vec![1, 0],
        10 => drop(parts.columns.remove(column)),
        11 => parts.columns.reverse(),
        12 => parts.columns[column].0 ^= 1 << rng.random_range(0..9),
        13 => parts.columns.push((0xb0 + rng.random_range(0..8), vec![2, 0])),
        14 => split(rng, &mut parts.columns[column].1),
        15 => parts.deps.extend_from_within(..),
        16 => {
            let mut body = parts.body();
            spoil(rng, &mut body);
            return seal(1, &body);
        }
        _ => spoil(rng, &mut parts.columns[column].1),
    }
    parts.bytes()
}

impl Tally {
    /// Checks bytes that were made out of an honest change behind `past`.
    fn check(&mut self, past: &Past, honest: &automerge::Change, bytes: &[u8]) {
        let rule = match Change::decode(bytes, &actor_of(honest)) {
            Err(error) => error.rule(),
            Ok(ours) => {
                let theirs = automerge::Change::try_from(bytes).unwrap();
                assert_eq!(theirs.raw_bytes(), bytes);
                agree(&ours, &theirs);
                self.accepted += 1;
                match judge(&past.index, bytes) {
                    Err(why) => why.rule(),
                    Ok(_) => {
                        keep(&past.document, bytes);
                        self.applied += 1;
                        return;
                    }
                }
            }
        };
        *self.refused.entry(rule).or_default() += 1;
    }
}

#[test]
fn a_spoilt_change_is_refused_or_is_just_what_automerge_writes() {
    let mut tally = Tally::default();
    for seed in 0..60 {
        let history = history(seed);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut past = Past::default();
        for change in &history {
            for _ in 0..20 {
                let bytes = mutate(&mut rng, change.raw_bytes());
                tally.check(&past, change, &bytes);
            }
            past.follow(change);
        }
    }
    assert!(tally.accepted > 1_000 && tally.applied > 300, "{tally:?}");
    for rule in
        [Rule::A1, Rule::A4, Rule::A5, Rule::A6, Rule::A7, Rule::A9, Rule::B1, Rule::B2, Rule::B3]
    {
        assert!(tally.refused.contains_key(&rule), "nothing broke {rule:?}: {tally:?}");
    }
}

/// Gives an operation another field, as a liar might whose encoder is right.
fn lie(rng: &mut ChaCha12Rng, ops: &mut Vec<legacy::Op>) {
    let other = ops.choose(rng).unwrap().clone();
    let at = rng.random_range(0..ops.len());
    let number = rng.random::<i64>() >> rng.random_range(0..64);
    match rng.random_range(0..9) {
        0 => ops[at].action = other.action,
        1 => ops[at].key = other.key,
        2 => ops[at].obj = other.obj,
        3 => ops[at].pred = other.pred,
        4 => ops[at].insert = !ops[at].insert,
        5 => drop(ops.remove(at)),
        6 => ops.insert(at, other),
        7 => ops[at].action = OpType::Increment(number),
        _ => ops[at].action = OpType::Put(automerge::ScalarValue::counter(number)),
    }
}

#[test]
fn a_lie_in_the_right_encoding_is_never_refused_for_its_encoding() {
    let mut tally = Tally::default();
    for seed in 100..140 {
        let history = history(seed);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut past = Past::default();
        for change in &history {
            for _ in 0..20 {
                let mut expanded = change.decode();
                lie(&mut rng, &mut expanded.operations);
                let lie = automerge::Change::from(expanded);
                if let Err(error) = Change::decode(lie.raw_bytes(), &actor_of(change)) {
                    assert_ne!(error.rule(), Rule::A1, "{error}: {lie:?}");
                }
                tally.check(&past, change, lie.raw_bytes());
            }
            past.follow(change);
        }
    }
    assert!(tally.accepted > 1_000, "{tally:?}");
    use Rule::{A2, A7, A8, A10, B4, B5, B6, B7};
    for rule in [A2, A7, A8, A10, B4, B5, B6, B7] {
        assert!(tally.refused.contains_key(&rule), "nothing broke {rule:?}: {tally:?}");
    }
}

#[test]
fn any_bytes_are_refused_without_a_panic() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let actor = ActorId([0; 16]);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.random_range(0..64)).map(|_| rng.random()).collect();
        assert!(Change::decode(&bytes, &actor).is_err());
        assert!(Change::decode(&seal(1, &bytes), &actor).is_err());
    }
}

#[test]
fn a_cut_change_is_refused_wherever_it_is_cut() {
    for change in history(7) {
        let bytes = change.raw_bytes();
        for len in 0..bytes.len() {
            let error = Change::decode(&bytes[..len], &actor_of(&change)).unwrap_err();
            assert_eq!(error.rule(), Rule::A1);
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Change::decode(&longer, &actor_of(&change)), Err(DecodeError::Length));
    }
}

#[test]
fn a_field_in_a_longer_form_is_refused() {
    for change in history(11) {
        let parts = Parts::parse(change.raw_bytes());
        let body = parts.body();
        // The number of dependencies is the body's first byte.
        let mut longer = body.clone();
        longer[0] |= 0x80;
        longer.insert(1, 0);
        let error = Change::decode(&seal(1, &longer), &actor_of(&change)).unwrap_err();
        assert_eq!(error.rule(), Rule::A1);
        let mut time = parts.clone();
        let last = time.time.len() - 1;
        let sign = if time.time[last] & 0x40 == 0 { 0 } else { 0x7f };
        time.time[last] |= 0x80;
        time.time.push(sign);
        let error = Change::decode(&time.bytes(), &actor_of(&change)).unwrap_err();
        assert_eq!(error.rule(), Rule::A1);
    }
}
