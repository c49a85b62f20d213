//! Changes that would take Automerge down, or make a file that never loads: each built by hand,
//! each refused by its rule before Automerge sees it.

mod bombs;
mod frame;
mod rows;

use aether_crdt::proto::document::{ActorId, Change, DecodeError};

use crate::chunks::{AUTHOR, Id, Key, Op, Parts, signed};

const OBJECT: Id = (1, 0);

fn decode(bytes: &[u8]) -> Result<(), DecodeError> {
    Change::decode(bytes, &ActorId(AUTHOR)).map(|_| ())
}

fn refused(parts: &Parts) -> DecodeError {
    decode(&parts.bytes()).unwrap_err()
}

fn refused_ops(ops: &[Op]) -> DecodeError {
    refused(&Parts::of(ops))
}

fn accepted(ops: &[Op]) {
    let bytes = Parts::of(ops).bytes();
    assert_eq!(decode(&bytes), Ok(()));
    let theirs = automerge::Change::try_from(&bytes[..]).unwrap();
    assert_eq!(automerge::Change::from(theirs.decode()).raw_bytes(), bytes, "the builder is off");
}

fn leb(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    signed(value, &mut out);
    out
}

#[test]
fn honest_changes_of_the_builder_are_accepted() {
    accepted(&[Op::put("a")]);
    accepted(&[Op::put("a").does(2), Op::insert(OBJECT), Op::insert(OBJECT).value(6, b"text")]);
    accepted(&[Op::put("a").does(3).over(&[(1, 0)])]);
    accepted(&[Op::put("a").does(5).value(4, &leb(-3)).over(&[(1, 0)])]);
    accepted(&[Op::insert(OBJECT).does(7).value(2, &[]).named("bold"), Op::insert(OBJECT).does(7)]);
    let element = Op { insert: false, key: Key::Element((2, 0)), ..Op::insert(OBJECT) };
    accepted(&[element.over(&[(2, 0), (3, 0)])]);
}
