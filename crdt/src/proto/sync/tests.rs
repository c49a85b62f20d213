use aether_core::{Hash, PublicKey};
use minicbor::bytes::{ByteArray, ByteVec};
use proptest::prelude::*;

use super::*;
use crate::proto::{
    feed::{Evidence, Feed, Node, Nodes, Tip},
    id::FeedId,
};

fn feed(author: u8) -> FeedId {
    FeedId { author: PublicKey::from_bytes([author; 32]), incarnation: 7 }
}

fn hash(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

fn chain(author: u8, len: u8) -> Row {
    let (mut state, mut kept) = (Feed::default(), Nodes::default());
    for number in 1..=len {
        let node = Node { number: number.into(), hash: hash(number), parent: hash(number - 1) };
        state.insert(node, &kept);
        kept.insert(node);
    }
    Row::of(feed(author), &state)
}

fn forked(author: u8) -> Row {
    let (mut state, kept) = (Feed::default(), Nodes::default());
    let tip = |byte| Tip { number: 3, hash: hash(byte) };
    state.insert(Node { number: 1, hash: hash(1), parent: Tip::ROOT.hash }, &kept);
    assert!(state.note(Evidence::of(tip(5), tip(4)).unwrap()));
    Row::of(feed(author), &state)
}

#[test]
fn rows_round_trip_and_are_refused_out_of_order() {
    let rows = vec![chain(1, 3), forked(2), Row::empty(feed(3))];
    assert_eq!(read_rows(&write_rows(&rows)), Ok(Some(rows.clone())));
    let swapped = vec![rows[1].clone(), rows[0].clone()];
    assert_eq!(read_rows(&write_rows(&swapped)), Ok(None));
    let doubled = vec![rows[0].clone(), rows[0].clone()];
    assert_eq!(read_rows(&write_rows(&doubled)), Ok(None));
    assert!(read_rows(&write_rows(&rows)[..50]).is_err());
    let many: Vec<Row> = (0..=255).map(|author| Row::empty(feed(author))).collect();
    assert!(read_rows(&write_rows(&many)).is_ok());
    let mut bytes = write_rows(&many);
    bytes.extend(write_rows(&many[..1]));
    assert!(read_rows(&bytes).is_err());
}

#[test]
fn a_digest_tells_rows_apart_and_not_their_order() {
    let rows = [chain(1, 3), forked(2), chain(9, 1)];
    let all = digest(&rows);
    assert_eq!(digest(rows.iter().rev()), all);
    assert_eq!(digest(rows.iter().chain([&Row::empty(feed(4))])), all);
    assert_ne!(digest(&rows[..2]), all);
    assert_ne!(digest(&[rows[0].clone(), chain(2, 1), rows[2].clone()]), all, "evidence counts");
}

#[test]
fn two_hellos_are_120_bytes_at_most() {
    let digest = ByteArray::from([255; 32]);
    let hello = |asks| Message::Hello { version: 255, asks, digest, feeds: u32::MAX };
    assert!(hello(true).encode().len() + hello(false).encode().len() <= 120);
}

#[test]
fn messages_of_later_releases_are_skipped_and_lists_are_bounded() {
    assert_eq!(Message::decode(&[0x82, 1, 0]), Ok(None));
    assert_eq!(Message::decode(&[0x82, 0x18, 99, 0]), Ok(None));
    assert!(Message::decode(&[0x81, 0]).is_err());
    assert!(Message::decode(&[]).is_err());
    assert!(Message::decode(&vec![0; MAX_MESSAGE + 1]).is_err());
    let ack = |len| Message::Ack { upto: 9, not: (0..len).collect() };
    assert!(Message::decode(&ack(MAX_NOT as u64).encode()).is_ok());
    assert!(Message::decode(&ack(MAX_NOT as u64 + 1).encode()).is_err());
    let long = ByteVec::from(vec![0; crate::proto::entry::MAX_HEADER + 1]);
    let message = Message::Entry { n: 1, header: long, payload: ByteVec::from(Vec::new()) };
    assert!(Message::decode(&message.encode()).is_err());
}

proptest! {
    #[test]
    fn messages_round_trip(
        n: u64,
        bytes: Vec<u8>,
        not in prop::collection::vec(any::<u64>(), 0..9),
    ) {
        let bytes = ByteVec::from(bytes);
        for message in [
            Message::Rows { differing: true, last: false, rows: bytes.clone() },
            Message::Entry { n, header: bytes.clone(), payload: bytes.clone() },
            Message::Ack { upto: n, not },
            Message::Evidence { first: bytes.clone(), second: bytes },
        ] {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(Some(message)));
        }
    }

    #[test]
    fn no_bytes_make_decoders_panic(bytes: Vec<u8>) {
        let _ = Message::decode(&bytes);
        let _ = read_rows(&bytes);
    }
}
