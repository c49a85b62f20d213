use aether_core::SecretKey;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::proto::space::Mode;

fn genesis() -> Genesis {
    let owner = SecretKey::from_bytes([1; 32]).public();
    Genesis::new(Mode::Open, [7; 16], "guests", [owner]).unwrap()
}

fn entry(header: &[u8], payload: &[u8]) -> Record {
    Record::Entry { header: header.to_vec(), payload: payload.to_vec() }
}

fn evidence(first: &[u8], second: &[u8]) -> Record {
    Record::Evidence { first: first.to_vec(), second: second.to_vec() }
}

/// The pieces of an archive: front, records, end.
fn pieces(records: &[Record]) -> Vec<Vec<u8>> {
    let (mut encoder, front) = Encoder::begin(&genesis());
    let mut pieces = vec![front];
    pieces.extend(records.iter().map(|record| encoder.record(record)));
    let (end, contents) = encoder.end();
    pieces.push(end);
    assert_eq!(contents.bytes, pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
    pieces
}

fn some() -> Vec<Record> {
    let credential = Record::Credential { header: b"void".to_vec() };
    vec![entry(b"first", b"hello"), evidence(b"one", b"other"), credential, entry(b"second", b"")]
}

/// Reads what is given in pieces of so many bytes.
fn read(bytes: &[u8], piece: usize) -> (Vec<Part>, Result<Contents, ArchiveError>) {
    let mut decoder = Decoder::default();
    let mut parts = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.poll() {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.poll(), Err(error.clone()), "it stays so");
                    assert_eq!(decoder.end(), Err(error.clone()));
                    return (parts, Err(error));
                }
            }
        }
    }
    (parts, decoder.end())
}

fn parts(records: Vec<Record>) -> Vec<Part> {
    let records = records.into_iter().map(Part::Record);
    [Part::Genesis(genesis())].into_iter().chain(records).collect()
}

/// Another language can check itself against these. A change of any is a change of the format:
/// archives of one release could no longer be read by another.
#[test]
fn golden_vectors() {
    let golden = include_str!("../../../tests/golden/archive-v1.txt");
    let expected: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let names = ["front", "entry", "evidence", "credential", "entry-without-payload", "end"];
    let found = names.iter().zip(pieces(&some()));
    let found: Vec<String> =
        found.map(|(name, bytes)| format!("{name} {}", HEXLOWER.encode(&bytes))).collect();
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}

#[test]
fn an_archive_that_is_cut_anywhere_gives_what_was_whole_and_says_where_it_ends() {
    let pieces = pieces(&some());
    let bytes = pieces.concat();
    let mut ends = Vec::new();
    for piece in &pieces {
        ends.push(ends.last().map_or(0, |end| *end) + piece.len());
    }
    for cut in 0..bytes.len() {
        let (found, end) = read(&bytes[..cut], 7);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(found, parts(some())[..whole], "{cut}");
        let torn = ArchiveError::Torn { record: whole as u64, at: cut as u64 };
        assert_eq!(end, Err(if cut == 0 { ArchiveError::Other } else { torn }), "{cut}");
    }
    let contents = Contents { entries: 2, evidence: 1, credentials: 1, bytes: bytes.len() as u64 };
    assert_eq!(read(&bytes, 7), (parts(some()), Ok(contents)));
}

#[test]
fn an_archive_that_was_changed_anywhere_gives_what_stands_before_and_says_where() {
    let pieces = pieces(&some());
    let bytes = pieces.concat();
    let mut end = 0;
    for (place, piece) in pieces.iter().enumerate() {
        let begin = end;
        end += piece.len();
        for at in begin..end {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let (found, why) = read(&changed, 64);
            assert_eq!(found, parts(some())[..place], "{at}");
            match why {
                Err(ArchiveError::Changed { record, from, to }) => {
                    assert_eq!(record, place as u64, "{at}");
                    assert!((from..to).contains(&(at as u64)), "{at}");
                }
                // A length that was changed may point behind the end.
                Err(ArchiveError::Torn { record, .. }) => assert_eq!(record, place as u64, "{at}"),
                Err(ArchiveError::Other) => assert!(at < MAGIC.len()),
                Err(ArchiveError::Version { .. }) => assert_eq!(at, MAGIC.len()),
                other => panic!("{at}: {other:?}"),
            }
        }
    }
}

/// Puts a check behind bytes that follow others.
fn checked(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    let check = check(ARCHIVE.hasher().update(before).update(bytes));
    [before, bytes, &check].concat()
}

#[test]
fn what_was_written_against_the_rules_is_named() {
    let front = pieces(&[]).swap_remove(0);
    let body = |kind: u8, body: &[u8]| {
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        checked(&front, &[&[kind][..], &len, body].concat())
    };
    let malformed = ArchiveError::Malformed { record: 1 };
    let far = [&[0xff, 0xff][..], b"header"].concat();
    let long = [&[0, 0][..], &vec![0; MAX_HEADER + 1]].concat();
    for (what, bytes, expected) in [
        ("a kind that isn't known", body(9, b""), ArchiveError::Unknown { record: 1, kind: 9 }),
        ("a header that isn't there", body(ENTRY, &far), malformed.clone()),
        ("no length of a header", body(ENTRY, b"1"), malformed.clone()),
        ("evidence that is too long", body(EVIDENCE, &long), malformed.clone()),
        ("a credential that is too long", body(CREDENTIAL, &long), malformed.clone()),
        ("an end without a hash", body(END, b""), malformed.clone()),
        ("an end with another hash", body(END, &[0; 40]), malformed),
    ] {
        assert_eq!(read(&bytes, 9).1, Err(expected), "{what}");
    }
    let huge = [&front[..], &[ENTRY, 0xff, 0xff, 0xff, 0xff]].concat();
    let from = front.len() as u64;
    let changed = ArchiveError::Changed { record: 1, from, to: from + 5 };
    assert_eq!(read(&huge, 100).1, Err(changed), "nothing is waited for that can't come");
    let whole = pieces(&[]).concat();
    let behind = ArchiveError::Behind { at: whole.len() as u64 };
    assert_eq!(read(&[&whole[..], b"x"].concat(), 1000).1, Err(behind.clone()));
    assert_eq!(read(&[&whole[..], b"x"].concat(), 1).1, Err(behind));
}

#[test]
fn what_is_no_archive_is_told_at_its_first_byte() {
    for other in [&b"PK\x03\x04"[..], b"{", b"\x89PNG\r\n\x1a\n"] {
        assert_eq!(read(other, 100), (Vec::new(), Err(ArchiveError::Other)));
    }
    let mut later = pieces(&[]).concat();
    later[MAGIC.len()] = 2;
    assert_eq!(read(&later, 100).1, Err(ArchiveError::Version { version: 2 }));
    let bare = [&MAGIC[..], &[1, 0, 1, 9]].concat();
    let why = read(&checked(&[], &bare), 100).1;
    assert!(matches!(why, Err(ArchiveError::Genesis(_))), "{why:?}");
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (bytes(300), bytes(2000)).prop_map(|(header, payload)| Record::Entry { header, payload }),
        bytes(300).prop_map(|header| Record::Credential { header }),
        (bytes(300), bytes(300)).prop_map(|(first, second)| Record::Evidence { first, second }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_pieces_of_any_length(
        records in proptest::collection::vec(record(), 0..12),
        piece in 1..3000_usize,
    ) {
        let bytes = pieces(&records).concat();
        let (found, end) = read(&bytes, piece);
        prop_assert_eq!(found, parts(records.clone()));
        let contents = end.unwrap();
        prop_assert_eq!(contents.records(), records.len() as u64);
        prop_assert_eq!(contents.bytes, bytes.len() as u64);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        begins_well in any::<bool>(),
        rest in bytes(400),
        piece in 1..50_usize,
    ) {
        let front = if begins_well { pieces(&[]).swap_remove(0) } else { Vec::new() };
        prop_assert!(read(&[front, rest].concat(), piece).1.is_err());
    }
}
