use aether_core::merkle;

use super::*;

const FLAGS: usize = 1;
const SPACE: usize = 2;
const AUTHOR: usize = 34;
const NUMBER: usize = 74;
const PREVIOUS: usize = 82;
const BYTES: usize = 122;
const GROUPS: usize = 126;
const ROOT: usize = 128;
const ROWS: usize = 160;
const ROW: usize = 161;

/// The bytes with others in their place.
fn patched(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

fn refused(bytes: &[u8], why: HeaderError) {
    assert_eq!(Header::decode(bytes), Err(why));
}

fn with_rows(frontier: Vec<EntryId>) -> Result<Checked<Header>, HeaderError> {
    Header::sign(Body { frontier, ..body() }, &key(3))
}

#[test]
fn a_header_without_extras_has_225_bytes() {
    let first = signed(body());
    assert_eq!(first.encode().len(), 225 + 80);
    assert_eq!(signed(after(&first)).encode().len(), 225);
    assert_eq!(first.encode()[ROWS], 0);
}

#[test]
fn the_largest_header_is_within_the_bound() {
    let pins = (1..=128).map(|number| FeedPin { incarnation: 1, number, hash: hash(1) }).collect();
    let access = AccessOp::Remove { member: key(2).public(), pins, more: true };
    let frontier = (1..=64).map(|incarnation| citation(7, incarnation, 1)).collect();
    let body = Body { access: Some(access), frontier, ..body() };
    let bytes = signed(body).encode();
    assert_eq!(bytes.len(), 225 + 80 + 64 * 80 + 2 + 6_179);
    assert!(bytes.len() <= MAX_HEADER);
    assert!(Header::decode(&bytes).unwrap().verify().is_ok());
    let long = vec![1; MAX_HEADER + 1];
    refused(&long, HeaderError::TooLong { len: MAX_HEADER + 1 });
}

#[test]
fn versions_and_flags_of_later_releases_are_refused() {
    let bytes = signed(body()).encode();
    refused(&patched(&bytes, 0, &[2]), HeaderError::Version { version: 2 });
    refused(&patched(&bytes, 0, &[0]), HeaderError::Version { version: 0 });
    for bit in 3..8 {
        let flags = 1 | 1 << bit;
        refused(&patched(&bytes, FLAGS, &[flags]), HeaderError::Flags { flags });
    }
}

#[test]
fn numbers_begin_at_one_and_only_the_first_follows_none() {
    let first = signed(body()).encode();
    refused(&patched(&first, NUMBER, &[0; 8]), HeaderError::Number);
    refused(&patched(&first, PREVIOUS, &[1]), HeaderError::Previous);
    let second = signed(after(&signed(body()))).encode();
    refused(&patched(&second, PREVIOUS, &[0; 32]), HeaderError::Previous);
    refused(&patched(&second, NUMBER, &1u64.to_be_bytes()), HeaderError::Previous);
}

#[test]
fn an_authority_stands_in_the_first_header_only() {
    let first = signed(body());
    let without = Body { authority: None, ..body() };
    assert_eq!(Header::sign(without, &key(3)), Err(HeaderError::Authority));
    let extra = Body { authority: Some(GRANTED), ..after(&first) };
    assert_eq!(Header::sign(extra, &key(3)), Err(HeaderError::Authority));
    // The same of one that another signed.
    let [one, next] = [&first, &signed(after(&first))].map(|header| header.encode());
    let authority = ROW..ROW + EntryId::LEN;
    let none = [&patched(&one, FLAGS, &[0])[..ROW], &one[authority.end..]].concat();
    refused(&none, HeaderError::Authority);
    let two = [&patched(&next, FLAGS, &[1])[..ROW], &one[authority], &next[ROW..]].concat();
    refused(&two, HeaderError::Authority);
    // Numbers of entries begin at 1, those of grants as well.
    let nameless = Body { authority: Some(Authority::Grant(citation(9, 1, 0))), ..body() };
    assert_eq!(Header::sign(nameless, &key(3)), Err(HeaderError::Authority));
    refused(&patched(&first.encode(), ROW + 40, &[0; 8]), HeaderError::Authority);
}

#[test]
fn zeros_are_the_authority_of_the_genesis() {
    let bytes = signed(Body { authority: Some(Authority::Genesis), ..body() }).encode();
    assert_eq!(bytes[ROW..ROW + 80], [0; 80]);
    assert_eq!(Header::decode(&bytes).unwrap().authority(), Some(Authority::Genesis));
}

#[test]
fn what_is_said_of_a_payload_must_go_together() {
    let content = batch().sign(&key(3), first(3), wall(0)).unwrap().header().content();
    let bytes = signed(Body { content, ..body() }).encode();
    for (at, with) in [
        (BYTES, (MAX_PAYLOAD as u32 + 1).to_be_bytes().to_vec()),
        (BYTES, vec![0; 4]),
        (GROUPS, vec![0; 2]),
        (GROUPS, (MAX_GROUPS as u16 + 1).to_be_bytes().to_vec()),
        (BYTES, vec![0; 6]),
    ] {
        refused(&patched(&bytes, at, &with), HeaderError::Content);
    }
    for (at, with) in [
        (BYTES, (MAX_PAYLOAD as u32).to_be_bytes().to_vec()),
        (GROUPS, (MAX_GROUPS as u16).to_be_bytes().to_vec()),
    ] {
        assert!(Header::decode(&patched(&bytes, at, &with)).is_ok());
    }
    let empty = signed(body()).encode();
    assert_eq!(empty[ROOT..ROOT + 32], *merkle::root(&[]).as_bytes());
    refused(&patched(&empty, ROOT, &[1; 32]), HeaderError::Content);
}

#[test]
fn frontiers_are_ascending_rows_of_other_feeds() {
    let (one, two) = (citation(7, 1, 1), citation(7, 2, 1));
    assert!(with_rows(vec![one, two]).is_ok());
    assert_eq!(with_rows(vec![two, one]), Err(HeaderError::Frontier));
    assert_eq!(with_rows(vec![one, one]), Err(HeaderError::Frontier));
    assert_eq!(with_rows(vec![citation(7, 1, 0)]), Err(HeaderError::Frontier));
    let own = EntryId { feed: feed(3), ..one };
    assert_eq!(with_rows(vec![own]), Err(HeaderError::Frontier));
    let earlier = FeedId { incarnation: 1, ..feed(3) };
    assert!(with_rows(vec![EntryId { feed: earlier, ..one }]).is_ok(), "another incarnation is");

    let bytes = with_rows(vec![one, two]).unwrap().encode();
    let swapped = [&bytes[ROW + 80..ROW + 160], &bytes[ROW..ROW + 80]].concat();
    refused(&patched(&bytes, ROW, &swapped), HeaderError::Frontier);
    let own = [&bytes[AUTHOR..AUTHOR + 40], &bytes[ROW + 40..ROW + 80]].concat();
    refused(&patched(&bytes, ROW, &own), HeaderError::Frontier);
}

#[test]
fn a_feed_has_two_rows_of_a_frontier_at_most() {
    let rows: Vec<EntryId> = (1..=3).map(|number| citation(7, 1, number)).collect();
    let other = citation(7, 2, 1);
    assert!(with_rows(vec![rows[0], rows[1], other]).is_ok());
    assert_eq!(with_rows(rows.clone()), Err(HeaderError::Frontier));
    assert_eq!(with_rows([rows, vec![other]].concat()), Err(HeaderError::Frontier));
}

#[test]
fn a_frontier_has_64_rows_at_most() {
    let rows = |count| (1..=count).map(|incarnation| citation(7, incarnation, 1)).collect();
    let most = with_rows(rows(64)).unwrap().encode();
    assert!(Header::decode(&most).is_ok());
    assert_eq!(with_rows(rows(65)), Err(HeaderError::Frontier));
    refused(&patched(&most, ROWS, &[65]), HeaderError::Frontier);
}

#[test]
fn an_operation_on_access_is_bounded_and_fills_its_length() {
    let access = AccessOp::Grant { member: key(2).public(), role: Role::Writer, over: vec![] };
    let bytes = signed(Body { access: Some(access), ..body() }).encode();
    let at = ROW + 80;
    assert_eq!(bytes[at..at + 2], [0, 35]);
    assert!(matches!(
        Header::decode(&patched(&bytes, at, &6_401u16.to_be_bytes())),
        Err(HeaderError::Torn(_))
    ));
    let mut longer = patched(&bytes, at, &[0, 36]);
    longer.insert(at + 2 + 35, 0);
    assert!(matches!(Header::decode(&longer), Err(HeaderError::Access(_))));
}

#[test]
fn a_signature_is_the_authors_over_this_header() {
    let header = signed(body());
    let bytes = header.encode();
    assert!(Header::decode(&bytes).unwrap().verify().is_ok());
    // Another space, another author, another signature.
    for at in [SPACE, AUTHOR, bytes.len() - 64, bytes.len() - 1] {
        let forged = Header::decode(&patched(&bytes, at, &[bytes[at] ^ 1])).unwrap();
        assert!(forged.verify().is_err(), "at {at}");
    }
    // Under the identity point, without strictness this signature fits anything.
    let weak = [&[1][..], &[0; 31]].concat();
    let forged = patched(&patched(&bytes, AUTHOR, &weak), bytes.len() - 64, &[0; 64]);
    let forged = patched(&forged, bytes.len() - 64, &weak);
    assert!(Header::decode(&forged).unwrap().verify().is_err());
}

#[test]
fn the_hash_covers_all_but_the_signature() {
    let header = signed(body());
    let bytes = header.encode();
    let end = bytes.len() - 64;
    let other = Header::decode(&patched(&bytes, end, &[!bytes[end]])).unwrap();
    assert_eq!(other.hash(), header.hash(), "two signatures are no fork");
    for at in [SPACE, AUTHOR, AUTHOR + 32, PREVIOUS - 9, ROW, end - 1] {
        let Ok(other) = Header::decode(&patched(&bytes, at, &[bytes[at] ^ 1])) else { continue };
        assert_ne!(other.hash(), header.hash(), "at {at}");
    }
}

#[test]
fn a_header_follows_its_parent_alone() {
    let parent = signed(body());
    let follows = |body: Body| signed(body).follows(&parent);
    let next = || after(&parent);
    assert_eq!(follows(next()), Ok(()));

    let space = SpaceId::from_hash(hash(1));
    assert_eq!(follows(Body { space, ..next() }), Err(Broken::OtherFeed));
    let life = FeedId { incarnation: 1, ..feed(3) };
    assert_eq!(follows(Body { feed: life, ..next() }), Err(Broken::OtherFeed));
    let other = Header::sign(Body { feed: feed(4), ..next() }, &key(4)).unwrap();
    assert_eq!(other.follows(&parent), Err(Broken::OtherFeed));

    assert_eq!(follows(Body { number: 3, ..next() }), Err(Broken::Number));
    assert_eq!(follows(body()), Err(Broken::Number));
    assert_eq!(follows(Body { previous: hash(1), ..next() }), Err(Broken::Link));

    assert_eq!(follows(Body { time: parent.time(), ..next() }), Err(Broken::Time));
    let earlier = Hybrid::from_bits(parent.time().to_bits() - 1);
    assert_eq!(follows(Body { time: earlier, ..next() }), Err(Broken::Time));
}

#[test]
fn the_last_number_is_followed_by_none() {
    let last = signed(Body { number: u64::MAX, previous: hash(1), ..after(&signed(body())) });
    // Numbers don't begin anew.
    assert_eq!(signed(body()).follows(&last), Err(Broken::Number));
    assert_eq!(Place::after(&last, GRANTED), None);
}

#[test]
fn an_owners_own_feed_is_headers_alone() {
    let genesis = genesis();
    let owned = |change: fn(&mut Body)| {
        let mut body = Body { feed: feed(1), authority: Some(Authority::Genesis), ..body() };
        change(&mut body);
        Header::sign(body, &key(1)).unwrap()
    };
    let fits = |header: &Header, authority| header.fits(&genesis, authority);
    let bare = owned(|_| {});
    assert_eq!(fits(&bare, Authority::Genesis), Ok(()));
    let breakages: [fn(&mut Body); 2] = [
        |body| body.frontier = vec![citation(7, 1, 1)],
        |body| body.content = Content { bytes: 25, groups: 1, root: hash(1) },
    ];
    for breakage in breakages {
        let header = owned(breakage);
        assert_eq!(fits(&header, Authority::Genesis), Err(Misfit::OwnersFeed));
        // The same key may write by a grant like anybody.
        assert_eq!(fits(&header, GRANTED), Ok(()));
    }
    let others = signed(Body { frontier: vec![citation(7, 1, 1)], ..body() });
    assert_eq!(fits(&others, Authority::Genesis), Ok(()));
}

#[test]
fn only_an_owners_own_feed_discards() {
    let access = || Some(discard(feed(7), &[(1, 1)]));
    let own = signed(Body { access: access(), ..body() });
    assert_eq!(own.fits(&genesis(), GRANTED), Err(Misfit::Discard));
    assert_eq!(own.fits(&genesis(), Authority::Genesis), Err(Misfit::Discard));
    let owned = Body { feed: feed(1), access: access(), ..body() };
    let owned = Header::sign(owned, &key(1)).unwrap();
    assert_eq!(owned.fits(&genesis(), GRANTED), Err(Misfit::Discard));
    assert_eq!(owned.fits(&genesis(), Authority::Genesis), Ok(()));
}

#[test]
fn a_header_is_of_one_space() {
    let other = Genesis::new(Mode::Granted, [0; 16], "tests", [key(1).public()]).unwrap();
    assert_eq!(signed(body()).fits(&genesis(), GRANTED), Ok(()));
    assert_eq!(signed(body()).fits(&other, GRANTED), Err(Misfit::OtherSpace));
}

#[test]
fn every_truncation_is_refused() {
    for (name, entry) in examples() {
        let bytes = entry.header().encode();
        for cut in 0..bytes.len() {
            assert!(Header::decode(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(Header::decode(&longer), Err(HeaderError::Torn(_))), "{name}");
    }
}

#[test]
fn every_flipped_byte_is_refused_or_forged() {
    for (name, entry) in examples() {
        let bytes = entry.header().encode();
        for at in 0..bytes.len() {
            for by in [1, 0x80, 0xff] {
                let Ok(header) = Header::decode(&patched(&bytes, at, &[bytes[at] ^ by])) else {
                    continue;
                };
                assert!(header.verify().is_err(), "{name} at {at}");
            }
        }
    }
}
