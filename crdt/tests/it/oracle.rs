//! Automerge itself as the oracle: what it writes is accepted, and means the same.

use aether_crdt::proto::document::{
    Action, ActorId, Change, DecodeError, Key, Kind, MAX_OPERATIONS, ObjectId, OpId, Row, Value,
};
use automerge::{
    Automerge, ObjType, ROOT, ReadDoc, ScalarValue,
    legacy::{self, ElementId, MarkData, Op, OpType},
    transaction::Transactable,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{chunks::Parts, script::World};

pub(crate) fn actor_of(change: &automerge::Change) -> ActorId {
    ActorId(change.actor_id().to_bytes().try_into().unwrap())
}

fn id(change: &Change<'_>, id: OpId) -> legacy::OpId {
    let actor = automerge::ActorId::from(change.actor_of(id).0);
    legacy::OpId::new(id.counter.into(), &actor)
}

fn scalar(value: Value<'_>) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Boolean(value) => ScalarValue::Boolean(value),
        Value::Uint(value) => ScalarValue::Uint(value),
        Value::Int(value) => ScalarValue::Int(value),
        Value::F64(value) => ScalarValue::F64(value),
        Value::Str(value) => ScalarValue::Str(value.into()),
        Value::Bytes(value) => ScalarValue::Bytes(value.into()),
        Value::Counter(value) => ScalarValue::counter(value),
        Value::Timestamp(value) => ScalarValue::Timestamp(value),
    }
}

/// A row in Automerge's terms.
fn op(change: &Change<'_>, row: &Row<'_>) -> Op {
    let action = match row.action {
        Action::Make(Kind::Map) => OpType::Make(ObjType::Map),
        Action::Make(Kind::List) => OpType::Make(ObjType::List),
        Action::Make(Kind::Text) => OpType::Make(ObjType::Text),
        Action::Set(value) => OpType::Put(scalar(value)),
        Action::Delete => OpType::Delete,
        Action::Increment(by) => OpType::Increment(by),
        Action::MarkBegin { name, value, expand } => {
            OpType::MarkBegin(MarkData { name: name.into(), value: scalar(value), expand })
        }
        Action::MarkEnd { expand } => OpType::MarkEnd(expand),
    };
    let key = match row.key {
        Key::Map(key) => legacy::Key::Map(key.into()),
        Key::Head => legacy::Key::Seq(ElementId::Head),
        Key::Element(element) => legacy::Key::Seq(ElementId::Id(id(change, element))),
    };
    let obj = match row.object {
        ObjectId::Root => legacy::ObjectId::Root,
        ObjectId::Made(object) => legacy::ObjectId::Id(id(change, object)),
    };
    let pred = change.preds(row).iter().map(|pred| id(change, *pred)).collect();
    Op { action, obj, key, pred, insert: row.insert }
}

/// Asserts that both readers read the same out of the same bytes, and that Automerge writes these
/// bytes for what was read.
pub(crate) fn agree(ours: &Change<'_>, theirs: &automerge::Change) {
    let expanded = theirs.decode();
    let ops: Vec<Op> = ours.rows.iter().map(|row| op(ours, row)).collect();
    // As text: a float that is no number equals nothing.
    assert_eq!(format!("{ops:?}"), format!("{:?}", expanded.operations));
    assert_eq!(&ours.hash.0, &theirs.hash().0);
    assert_eq!(&ours.actor().0[..], theirs.actor_id().to_bytes());
    assert_eq!((ours.seq, ours.time), (theirs.seq(), theirs.timestamp()));
    assert_eq!(u64::from(ours.start_op), theirs.start_op().get());
    assert_eq!(ours.message, theirs.message());
    let deps: Vec<[u8; 32]> = ours.deps.iter().map(|dep| dep.0).collect();
    assert_eq!(deps, theirs.deps().iter().map(|dep| dep.0).collect::<Vec<_>>());
    assert!(theirs.extra_bytes().is_empty());
    let again = automerge::Change::from(expanded);
    assert_eq!(again.raw_bytes(), theirs.raw_bytes(), "Automerge writes it otherwise");
}

#[test]
fn every_change_that_automerge_writes_is_accepted_and_means_the_same() {
    let mut changes = 0;
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..40 {
            let Some(theirs) = world.step() else { continue };
            let ours = Change::decode(theirs.raw_bytes(), &actor_of(&theirs));
            let ours = ours.unwrap_or_else(|error| panic!("seed {seed}: {error}: {theirs:?}"));
            agree(&ours, &theirs);
            assert_eq!(Parts::parse(theirs.raw_bytes()).bytes(), theirs.raw_bytes());
            changes += 1;
        }
        let all = world.merged();
        let loaded = Automerge::load(&all.save()).unwrap();
        assert_eq!(loaded.get_heads(), all.get_heads());
        for theirs in loaded.get_changes(&[]) {
            let ours = Change::decode(theirs.raw_bytes(), &actor_of(&theirs)).unwrap();
            agree(&ours, &theirs);
        }
    }
    assert!(changes > 2_000, "only {changes}");
}

/// The change in which one actor writes a text of so many letters.
fn typed(letters: usize) -> automerge::Change {
    let mut document = Automerge::new().with_actor(automerge::ActorId::from([7; 16]));
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    let letters: String = (0..letters).map(|_| rng.random_range('a'..='d')).collect();
    let mut tx = document.transaction();
    let text = tx.put_object(ROOT, "text", ObjType::Text).unwrap();
    tx.splice_text(&text, 0, 0, &letters).unwrap();
    tx.commit();
    document.get_last_local_change().unwrap()
}

#[test]
fn a_change_of_as_many_operations_as_may_be_is_accepted_and_one_more_is_not() {
    let theirs = typed(MAX_OPERATIONS - 1);
    agree(&Change::decode(theirs.raw_bytes(), &actor_of(&theirs)).unwrap(), &theirs);
    let theirs = typed(MAX_OPERATIONS);
    let refused = Change::decode(theirs.raw_bytes(), &actor_of(&theirs));
    assert_eq!(refused, Err(DecodeError::Operations));
}

#[test]
fn deleting_a_whole_text_is_a_small_change_that_is_accepted() {
    let mut document = Automerge::new().with_actor(automerge::ActorId::from([8; 16]));
    document.apply_changes([typed(50_000)]).unwrap();
    let (_, text) = document.get(ROOT, "text").unwrap().unwrap();
    let mut tx = document.transaction();
    tx.splice_text(&text, 0, 50_000, "").unwrap();
    tx.commit();
    let theirs = document.get_last_local_change().unwrap();
    assert!(theirs.raw_bytes().len() < 200);
    agree(&Change::decode(theirs.raw_bytes(), &actor_of(&theirs)).unwrap(), &theirs);
}
