//! Random histories: a few replicas that edit at once, and merge now and then.

use automerge::{
    ActorId, Automerge, AutomergeError, Change, ObjId, ObjType, ROOT, ReadDoc, ScalarValue,
    TextEncoding, Value,
    marks::{ExpandMark, Mark},
    transaction::{CommitOptions, Transactable, Transaction},
};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha12Rng;

const KEYS: [&str; 5] = ["", "a", "b", "title", "größe"];
const TEXTS: [&str; 6] = ["x", "hello", "ä€", "👩‍👩‍👧 ok", "aaaa", "\n"];
const NAMES: [&str; 3] = ["bold", "link", "comment:7"];
const EXPAND: [ExpandMark; 4] =
    [ExpandMark::Before, ExpandMark::After, ExpandMark::Both, ExpandMark::None];

/// Replicas of one document, and the objects that any of them has made.
pub(crate) struct World {
    pub(crate) rng: ChaCha12Rng,
    pub(crate) replicas: Vec<Automerge>,
    objects: Vec<ObjId>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let encodings = [
            TextEncoding::UnicodeCodePoint,
            TextEncoding::Utf16CodeUnit,
            TextEncoding::Utf8CodeUnit,
            TextEncoding::GraphemeCluster,
        ];
        let encoding = *encodings.choose(&mut rng).unwrap();
        let replicas = (0..rng.random_range(2..=5))
            .map(|_| {
                let actor = ActorId::from(rng.random::<[u8; 16]>());
                Automerge::new_with_encoding(encoding).with_actor(actor)
            })
            .collect();
        Self { rng, replicas, objects: vec![ROOT] }
    }

    /// A change by one replica, or a merge of two. Returns the change.
    pub(crate) fn step(&mut self) -> Option<Change> {
        let at = self.rng.random_range(0..self.replicas.len());
        if self.rng.random_ratio(2, 5) {
            let other = self.rng.random_range(0..self.replicas.len());
            let mut theirs = self.replicas[other].clone();
            self.replicas[at].merge(&mut theirs).unwrap();
            return None;
        }
        let many = if self.rng.random_ratio(1, 20) { 200 } else { 8 };
        let edits = self.rng.random_range(1..many);
        let mut tx = self.replicas[at].transaction();
        for _ in 0..edits {
            edit(&mut self.rng, &mut tx, &mut self.objects).unwrap();
        }
        let mut options = CommitOptions::default().with_time(self.rng.random_range(0..1 << 40));
        if self.rng.random_ratio(1, 3) {
            options.set_message("why");
        }
        let (hash, _) = tx.commit_with(options);
        self.replicas[at].get_change_by_hash(&hash?)
    }

    /// One replica that has everything.
    pub(crate) fn merged(&mut self) -> Automerge {
        let mut all = self.replicas[0].clone();
        for other in &mut self.replicas[1..] {
            all.merge(other).unwrap();
        }
        all
    }
}

fn scalar(rng: &mut ChaCha12Rng) -> ScalarValue {
    match rng.random_range(0..10) {
        0 => ScalarValue::Null,
        1 => ScalarValue::Boolean(rng.random()),
        2 => ScalarValue::Uint(rng.random::<u64>() >> rng.random_range(0..64)),
        3 => ScalarValue::Int(rng.random::<i64>() >> rng.random_range(0..64)),
        4 => ScalarValue::F64(rng.random::<f64>()),
        5 => ScalarValue::Str((*TEXTS.choose(rng).unwrap()).into()),
        6 => ScalarValue::Bytes(vec![rng.random(); rng.random_range(0..20)]),
        7 | 8 => ScalarValue::counter(rng.random_range(-100..100)),
        _ => ScalarValue::Timestamp(rng.random()),
    }
}

fn kind(rng: &mut ChaCha12Rng) -> ObjType {
    *[ObjType::Map, ObjType::List, ObjType::Text].choose(rng).unwrap()
}

fn edit(
    rng: &mut ChaCha12Rng,
    tx: &mut Transaction<'_>,
    objects: &mut Vec<ObjId>,
) -> Result<(), AutomergeError> {
    let known: Vec<&ObjId> = objects.iter().filter(|id| tx.object_type(id).is_ok()).collect();
    let object = (*known.choose(rng).unwrap()).clone();
    match tx.object_type(&object)? {
        ObjType::Map | ObjType::Table => edit_map(rng, tx, objects, &object),
        ObjType::List => edit_list(rng, tx, objects, &object),
        ObjType::Text => edit_text(rng, tx, objects, &object),
    }
}

/// Whether all values there are counters, so that no increment names another.
fn counts(values: &[(Value<'_>, ObjId)]) -> bool {
    let counter = |value: &Value<'_>| match value {
        Value::Scalar(value) => matches!(**value, ScalarValue::Counter(_)),
        Value::Object(_) => false,
    };
    !values.is_empty() && values.iter().all(|(value, _)| counter(value))
}

fn edit_map(
    rng: &mut ChaCha12Rng,
    tx: &mut Transaction<'_>,
    objects: &mut Vec<ObjId>,
    object: &ObjId,
) -> Result<(), AutomergeError> {
    let key = *KEYS.choose(rng).unwrap();
    match rng.random_range(0..7) {
        0 => objects.push(tx.put_object(object, key, kind(rng))?),
        1 if tx.get(object, key)?.is_some() => tx.delete(object, key)?,
        2 | 3 if counts(&tx.get_all(object, key)?) => {
            tx.increment(object, key, rng.random_range(-5..5))?;
        }
        _ => tx.put(object, key, scalar(rng))?,
    }
    Ok(())
}

fn edit_list(
    rng: &mut ChaCha12Rng,
    tx: &mut Transaction<'_>,
    objects: &mut Vec<ObjId>,
    object: &ObjId,
) -> Result<(), AutomergeError> {
    let len = tx.length(object);
    let index = rng.random_range(0..=len);
    let there = index < len;
    match rng.random_range(0..8) {
        0 => objects.push(tx.insert_object(object, index, kind(rng))?),
        1 if there => objects.push(tx.put_object(object, index, kind(rng))?),
        2 if there => tx.put(object, index, scalar(rng))?,
        3 if there => tx.delete(object, index)?,
        4 | 5 if there && counts(&tx.get_all(object, index)?) => {
            tx.increment(object, index, rng.random_range(-5..5))?;
        }
        6 => {
            let deleted = rng.random_range(0..=(len - index).min(3)) as isize;
            let values: Vec<_> = (0..rng.random_range(0..4)).map(|_| scalar(rng)).collect();
            tx.splice(object, index, deleted, values)?;
        }
        _ => tx.insert(object, index, scalar(rng))?,
    }
    Ok(())
}

fn edit_text(
    rng: &mut ChaCha12Rng,
    tx: &mut Transaction<'_>,
    objects: &mut Vec<ObjId>,
    object: &ObjId,
) -> Result<(), AutomergeError> {
    let len = tx.length(object);
    let index = rng.random_range(0..=len);
    let end = rng.random_range(index..=len);
    let name = *NAMES.choose(rng).unwrap();
    let expand = *EXPAND.choose(rng).unwrap();
    match rng.random_range(0..9) {
        0 | 1 => {
            let mark = Mark::new(name.into(), scalar(rng), index, end);
            tx.mark(object, mark, expand)?;
        }
        2 => tx.unmark(object, name, index, end, expand)?,
        3 => objects.push(tx.split_block(object, index)?),
        4 => {
            let text = tx.text(object)?;
            tx.update_text(object, text.replace('a', "bé") + "!")?;
        }
        5 => tx.splice_text(object, index, (end - index).min(4) as isize, "")?,
        _ => {
            let deleted = (end - index).min(2) as isize;
            tx.splice_text(object, index, deleted, TEXTS.choose(rng).unwrap())?;
        }
    }
    Ok(())
}
