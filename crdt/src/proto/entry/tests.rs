use aether_core::{Hash, PublicKey, SecretKey};

use super::{body::Body, *};
use crate::proto::{
    id::{EntryId, FeedId, SpaceId},
    space::{Genesis, Mode, Role},
    time::{Hybrid, Wall},
};

mod access;
mod draft;
mod golden;
mod header;
mod laws;
mod payload;

/// Milliseconds since the epoch, of the first entry.
const START: u64 = 1_800_000_000_000;
const GRANTED: Authority = Authority::Grant(citation(9, 1, 7));

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn hash(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

/// The entry of somebody who needn't have a key.
const fn citation(author: u8, incarnation: u64, number: u64) -> EntryId {
    let feed = FeedId { author: PublicKey::from_bytes([author; 32]), incarnation };
    EntryId { feed, number, hash: Hash::from_bytes([author ^ 0xff; 32]) }
}

fn discard(feed: FeedId, runs: &[(u64, u64)]) -> AccessOp {
    let runs = runs.iter().map(|&(first, last)| Run { first, last }).collect();
    AccessOp::Discard { feed, runs }
}

fn genesis() -> Genesis {
    Genesis::new(Mode::Granted, [0x5a; 16], "tests", [key(1).public()]).unwrap()
}

fn feed(seed: u8) -> FeedId {
    FeedId::begin(key(seed).public(), Wall::from_millis(START), 0xbeef)
}

fn first(seed: u8) -> Place {
    Place::first(genesis().space_id(), feed(seed), GRANTED)
}

fn wall(millis: u64) -> Wall {
    Wall::from_millis(START + millis)
}

/// Two groups: two operations on a map, three on a set, one of which is empty.
fn batch() -> Draft {
    let (map, set) = (Collection::new(Kind::Map, "m"), Collection::new(Kind::Set, "s"));
    let mut draft = Draft::new();
    for (collection, op) in
        [(map, "put a"), (set, "add x"), (map, "put b"), (set, ""), (set, "add y")]
    {
        draft.op(collection, op.into()).unwrap();
    }
    draft
}

/// What author 3 might sign first.
fn body() -> Body {
    Body {
        space: genesis().space_id(),
        feed: feed(3),
        number: 1,
        previous: hash(0),
        time: Hybrid::from_wall(wall(0)),
        content: Payload::default().content(),
        frontier: vec![],
        authority: Some(GRANTED),
        access: None,
    }
}

/// What author 3 might sign next.
fn after(parent: &Header) -> Body {
    Body {
        number: parent.number() + 1,
        previous: parent.hash(),
        time: Hybrid::from_bits(parent.time().to_bits() + 1),
        authority: None,
        ..body()
    }
}

fn signed(body: Body) -> Checked<Header> {
    Header::sign(body, &key(3)).unwrap()
}

/// One entry of each shape, named as in the golden vectors.
fn examples() -> Vec<(&'static str, Entry)> {
    let (member, owner) = (key(3), key(1));
    let first = batch().sign(&member, first(3), wall(0)).unwrap();

    let mut second = batch();
    let forked = EntryId { hash: hash(1), ..citation(5, 2, 8) };
    for cited in [citation(5, 2, 8), forked, citation(4, 6, 2)] {
        second.cite(cited, Hybrid::from_wall(wall(500))).unwrap();
    }
    let place = Place::after(first.header(), GRANTED).unwrap();
    let second = second.sign(&member, place, wall(400)).unwrap();

    let member = member.public();
    let mut owned = Vec::new();
    let mut place = Place::first(genesis().space_id(), feed(1), Authority::Genesis);
    let over = vec![hash(1), hash(2)];
    let pins = [(1, 4), (2, 3)];
    let pins = pins.map(|(incarnation, number)| FeedPin { incarnation, number, hash: hash(4) });
    for op in [
        AccessOp::Grant { member, role: Role::Writer, over },
        AccessOp::Remove { member, pins: pins.into(), more: true },
        AccessOp::Remove { member, pins: vec![], more: false },
        discard(second.header().feed(), &[(1, 1), (3, 7)]),
    ] {
        let mut draft = Draft::new();
        draft.access(op);
        let entry = draft.sign(&owner, place, wall(0)).unwrap();
        place = Place::after(entry.header(), Authority::Genesis).unwrap();
        owned.push(entry);
    }
    let names = ["first", "second", "grant", "remove-more", "remove", "discard"];
    names.into_iter().zip([first, second].into_iter().chain(owned)).collect()
}

fn example(name: &str) -> Entry {
    examples().into_iter().find(|(other, _)| *other == name).unwrap().1
}

#[test]
fn an_entry_is_a_header_with_its_own_payload() {
    let (first, second) = (example("first"), example("second"));
    for (name, entry) in examples() {
        let (header, payload) = (entry.header().clone(), entry.payload().clone());
        assert_eq!(Entry::new(header, payload), Ok(entry), "{name}");
    }
    assert_eq!(first.payload(), second.payload(), "one payload may be two headers'");

    let other = |change: fn(&mut Vec<u8>)| {
        let mut bytes = first.payload().as_bytes().to_vec();
        change(&mut bytes);
        Payload::decode(bytes).unwrap()
    };
    let changed = other(|bytes| *bytes.last_mut().unwrap() ^= 1);
    let empty = other(Vec::clear);
    for payload in [changed, empty] {
        assert_eq!(Entry::new(first.header().clone(), payload), Err(PayloadError::OtherHeader));
    }
}

#[test]
fn what_examples_say_follows_and_fits() {
    let genesis = genesis();
    let all = examples();
    for (_, entry) in &all {
        let authority = match entry.header().author() == key(1).public() {
            true => Authority::Genesis,
            false => GRANTED,
        };
        assert_eq!(entry.header().fits(&genesis, authority), Ok(()));
        let Some(parent) = entry.header().parent() else { continue };
        let parent = all.iter().find(|(_, entry)| entry.header().id() == parent).unwrap();
        assert_eq!(entry.header().follows(parent.1.header()), Ok(()));
    }
}
