//! Bytes on the wire.

use minicbor::bytes::{ByteArray, ByteVec};
use proptest::prelude::*;

use super::*;
use crate::proto::{
    id::{EntryId, FeedId},
    map::{Element, MAX_KEY, MAX_VALUE},
    partitions::message::{MAX_MESSAGE, read_all_rows, write_context, write_elements},
    sync::Row,
    time::{Hybrid, Wall},
};

fn feed(n: u8) -> FeedId {
    FeedId { author: PublicKey::from_bytes([n; 32]), incarnation: 3 }
}

fn element(value: Vec<u8>) -> Element {
    let entry = EntryId { feed: feed(1), number: 2, hash: Hash::from_bytes([4; 32]) };
    Element { entry, index: 5, time: Hybrid::from_wall(Wall::from_millis(6)), value }
}

fn bytes(bytes: &[u8]) -> ByteVec {
    ByteVec::from(bytes.to_vec())
}

fn asks() -> Vec<Ask> {
    let key = bytes(b"key");
    vec![
        Ask::Write { partition: 7, key: key.clone(), value: Some(bytes(b"value")), level: 2 },
        Ask::Write { partition: 7, key: key.clone(), value: None, level: 1 },
        Ask::Get { partition: 7, key: key.clone() },
        Ask::Scan { partition: 7, from: key, limit: 9 },
        Ask::compare(7, &Hash::from_bytes([8; 32]), &[Row::empty(feed(1))]),
        Ask::Hasten { partition: 7, peer: ByteArray::from([9; 32]) },
    ]
}

fn answers() -> Vec<Said> {
    let view = ByteArray::from([8; 32]);
    let context = ByteVec::from(write_context(&[(feed(1), 2)].into()));
    let elements = ByteVec::from(write_elements(&[element(b"value".to_vec())]));
    let keys = vec![(bytes(b"key"), elements.clone())];
    vec![
        Declined::NotWhole.into(),
        Said::Written { held: 2 },
        Said::Answer { view, owns: true, context: context.clone(), elements },
        Said::Page { view, owns: true, context, keys, more: false },
        Said::Compared {
            same_view: true,
            owns: false,
            has_copy: true,
            covers_yours: false,
            covers_mine: true,
        },
        Said::Hastened {},
    ]
}

fn hex(all: impl IntoIterator<Item = Vec<u8>>) -> String {
    all.into_iter().map(|bytes| data_encoding::HEXLOWER.encode(&bytes) + "\n").collect()
}

#[test]
fn bytes_are_as_pinned() {
    let found = hex(asks().iter().map(Ask::encode)) + &hex(answers().iter().map(Said::encode));
    assert_eq!(found, include_str!("golden.txt"), "{found}");
}

#[test]
fn what_is_said_is_read_back() {
    for ask in asks() {
        assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
    }
    for said in answers() {
        assert_eq!(Said::decode(&said.encode()), Ok(said));
    }
    let (view, owns, answer) = answers()[2].answer().unwrap();
    assert_eq!((view, owns), (Hash::from_bytes([8; 32]), true));
    assert_eq!(answer.context, [(feed(1), 2)].into());
    assert_eq!(answer.elements, [element(b"value".to_vec())]);
    let (_, _, page) = answers()[3].page().unwrap();
    assert_eq!(page.keys, [(b"key".to_vec(), vec![element(b"value".to_vec())])]);
    assert_eq!(answers()[3].answer(), None);
    for why in [
        Declined::NotOwner,
        Declined::NotWhole,
        Declined::Failed,
        Declined::Short,
        Declined::TooLarge,
    ] {
        assert_eq!(Declined::from_byte(why.to_byte()), why);
    }
}

#[test]
fn bounds_are_kept() {
    let write = |key: usize, value: usize| {
        let (key, value) = (bytes(&vec![0; key]), Some(bytes(&vec![0; value])));
        Ask::decode(&Ask::Write { partition: 0, key, value, level: 1 }.encode())
    };
    assert!(write(MAX_KEY, MAX_VALUE).is_ok());
    assert!(write(MAX_KEY + 1, 0).is_err() && write(0, MAX_VALUE + 1).is_err());
    let large = ByteVec::from(write_elements(&[element(vec![0; MAX_MESSAGE])]));
    let view = ByteArray::from([8; 32]);
    let said = Said::Answer { view, owns: true, context: bytes(&[]), elements: large };
    let declined = Said::decode(&said.encode());
    assert_eq!(declined, Ok(Declined::TooLarge.into()), "a caller is told why");
}

#[test]
fn pages_and_rows_are_in_order() {
    let page = |keys: &[&[u8]], more| {
        let keys = keys.iter().map(|key| (bytes(key), bytes(&[]))).collect();
        let view = ByteArray::from([8; 32]);
        Said::Page { view, owns: true, context: bytes(&[]), keys, more }.page()
    };
    assert!(page(&[b"a", b"b"], true).is_some() && page(&[], false).is_some());
    assert!(page(&[b"b", b"a"], true).is_none() && page(&[b"a", b"a"], false).is_none());
    assert!(page(&[], true).is_none(), "whoever goes on would never end");
    let Ask::Compare { rows, .. } = &asks()[4] else { panic!("a comparison") };
    assert_eq!(read_all_rows(rows).unwrap().len(), 1);
    assert_eq!(read_all_rows(&[rows[0].clone(), rows[0].clone()]), None);
    let many: Vec<Row> = (0..200)
        .flat_map(|n| {
            [1, 2].map(|i| {
                Row::empty(FeedId { author: PublicKey::from_bytes([n; 32]), incarnation: i })
            })
        })
        .collect();
    let Ask::Compare { rows, .. } = Ask::compare(7, &Hash::from_bytes([8; 32]), &many) else {
        panic!("a comparison")
    };
    assert_eq!((rows.len(), read_all_rows(&rows)), (2, Some(many)));
}

proptest! {
    #[test]
    fn no_bytes_make_decoders_panic(bytes: Vec<u8>, kind in 0..6u8) {
        let _ = Ask::decode(&bytes);
        for bytes in [bytes.clone(), [vec![0x85, kind], bytes].concat()] {
            if let Ok(said) = Said::decode(&bytes) {
                let _ = (said.answer(), said.page());
            }
        }
    }
}
