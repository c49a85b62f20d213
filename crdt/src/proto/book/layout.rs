//! How a book's rows are laid out.
//!
//! | first byte | rest of the key | value |
//! |---|---|---|
//! | 3 | local feed (4), number (8), hash (32) | position (8), header |
//! | 4 | position (8), page (2) | a page of the payload, if there is one |
//! | 5 | position (8) | local feed (4), number (8), hash (32) |
//! | 6 | local feed (4) | the feed: see [`write_feed`] |
//! | 7 | local feed (4), hash (32) | header of the feed's evidence |
//! | 8 | | the next position (8) |
//! | 9 | collection (16 + 1) | nothing: the collection has to be rebuilt |
//! | 10 | document (16), position (8) | local feed (4), number (8), hash (32) of an entry that changes it |
//! | 11 | document (16) | the document's file |
//! | 12 | local feed (4), number (8), hash (32) | nothing: the entry has an operation on access |
//! | 13 | the same | nothing: the entry is kept and doesn't count |
//! | 14 | feed (40) | the first header of a feed of which nothing is kept |
//! | 15 | feed (40), number (8), hash (32) | a staged entry: length of its header (4), header, payload |
//! | 17 | feed (40) | what was discarded of it: see [`discarded_value`] |
//!
//! Integers are big endian. A page has 4,096 bytes, and the last of a payload what is left, so that
//! a value in it is read without the rest. The bytes 1, 2 and 16 belong to
//! [maps](crate::proto::map).

use aether_core::{
    Hash,
    wire::{Reader, WireError, Writer},
};

use super::discarded::Discarded;
use crate::proto::{
    entry::{Authority, Collection, Kind, Run},
    feed::{Chains, Evidence, Feed, Lane, Lanes, Shape, Tip},
    id::{EntryId, FeedId, Position, Tag},
};

pub(super) const HEADERS: u8 = 3;
pub(super) const PAYLOADS: u8 = 4;
const ORDER: u8 = 5;
const FEEDS: u8 = 6;
pub(super) const WITNESSES: u8 = 7;
const NEXT: u8 = 8;
const STALE: u8 = 9;
const CHANGES: u8 = 10;
const FILES: u8 = 11;
const OPERATIONS: u8 = 12;
const UNCOUNTED: u8 = 13;
pub(super) const CREDENTIALS: u8 = 14;
pub(super) const STAGED: u8 = 15;
const DISCARDED: u8 = 17;

/// Length of a name within a replica: local feed, number, hash.
const NAME: usize = 4 + 8 + Hash::LEN;

fn name(first: u8, local: u32, tip: Tip) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + NAME);
    writer.u8(first).u32(local).u64(tip.number).array(tip.hash.as_bytes());
    writer.finish()
}

fn read_name(reader: &mut Reader<'_>) -> Result<(u32, Tip), WireError> {
    let local = reader.u32()?;
    let number = reader.u64()?;
    Ok((local, Tip { number, hash: Hash::from_bytes(reader.array()?) }))
}

/// The row of an entry's header.
pub(super) fn header(local: u32, tip: Tip) -> Vec<u8> {
    name(HEADERS, local, tip)
}

/// Where the headers of a feed with this number or a higher one begin.
pub(super) fn headers_from(local: u32, number: u64) -> Vec<u8> {
    let mut writer = Writer::with_capacity(13);
    writer.u8(HEADERS).u32(local).u64(number);
    writer.finish()
}

/// Where the headers begin that have this number and tag, and no others.
pub(super) fn headers_of(local: u32, number: u64, tag: Tag) -> Vec<u8> {
    [&headers_from(local, number)[..], tag.as_bytes()].concat()
}

/// Where the headers of a feed end that begin at [`headers_from`].
pub(super) fn headers_end(local: u32, above: u64) -> Vec<u8> {
    match (above.checked_add(1), local.checked_add(1)) {
        (Some(next), _) => headers_from(local, next),
        (None, Some(next)) => headers_from(next, 0),
        (None, None) => vec![PAYLOADS],
    }
}

/// What a header's row holds.
pub(super) fn header_value(position: Position, bytes: &[u8]) -> Vec<u8> {
    [&position.as_number().to_be_bytes(), bytes].concat()
}

/// The position and the header of a header's row.
pub(super) fn read_header(value: &[u8]) -> (Position, &[u8]) {
    let mut reader = Reader::new(value);
    let position = reader.u64().expect("what was put is read back");
    (Position::from_number(position), reader.rest())
}

/// The row of a page of a payload.
pub(super) fn page(position: Position, page: usize) -> Vec<u8> {
    let page = u16::try_from(page).expect("a payload has at most 256 pages");
    let mut writer = Writer::with_capacity(1 + 8 + 2);
    writer.u8(PAYLOADS).u64(position.as_number()).u16(page);
    writer.finish()
}

/// The row that says which entry was taken in at a position.
pub(super) fn order(position: Position) -> Vec<u8> {
    let mut writer = Writer::with_capacity(9);
    writer.u8(ORDER).u64(position.as_number());
    writer.finish()
}

/// Behind all rows of [`order`].
pub(super) const fn order_end() -> [u8; 1] {
    [ORDER + 1]
}

/// What a row of the order holds.
pub(super) fn order_value(local: u32, tip: Tip) -> Vec<u8> {
    name(0, local, tip).split_off(1)
}

/// The position and the entry of a row of the order.
pub(super) fn read_order(row: &[u8], value: &[u8]) -> (Position, u32, Tip) {
    let mut key = Reader::new(row.get(1..).unwrap_or_default());
    let mut value = Reader::new(value);
    let position = key.u64().expect("what was put is read back");
    let (local, tip) = read_name(&mut value).expect("what was put is read back");
    (Position::from_number(position), local, tip)
}

/// The row of a feed.
pub(super) fn feed(local: u32) -> Vec<u8> {
    let mut writer = Writer::with_capacity(5);
    writer.u8(FEEDS).u32(local);
    writer.finish()
}

/// Where the rows of feeds begin, and where they end.
pub(super) const fn feeds() -> ([u8; 1], [u8; 1]) {
    ([FEEDS], [FEEDS + 1])
}

/// The row of a header that evidence names.
pub(super) fn witness(local: u32, hash: &Hash) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + 4 + Hash::LEN);
    writer.u8(WITNESSES).u32(local).array(hash.as_bytes());
    writer.finish()
}

/// The row of the next position.
pub(super) const fn next() -> [u8; 1] {
    [NEXT]
}

/// The row that says that a collection has to be rebuilt.
pub(super) fn stale(collection: &Collection) -> Vec<u8> {
    let mut writer = Writer::with_capacity(18);
    writer.u8(STALE).array(collection.id()).u8(collection.kind().to_byte());
    writer.finish()
}

/// Where the rows of [`stale`] begin, and where they end.
pub(super) const fn all_stale() -> ([u8; 1], [u8; 1]) {
    ([STALE], [STALE + 1])
}

/// Which collection a row of [`stale`] names.
pub(super) fn read_stale(row: &[u8]) -> Collection {
    let mut reader = Reader::new(row.get(1..).unwrap_or_default());
    let id = reader.array().expect("what was put is read back");
    let kind = reader.u8().ok().and_then(Kind::from_byte).expect("what was put is read back");
    Collection::from_parts(id, kind)
}

/// The row that says that the entry at a position changes a document.
pub(super) fn change(document: &Collection, at: Position) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + 16 + 8);
    writer.u8(CHANGES).array(document.id()).u64(at.as_number());
    writer.finish()
}

/// Where the rows of [`change`] begin from a position on, and where they end.
pub(super) fn changes(document: &Collection, from: Position) -> (Vec<u8>, Vec<u8>) {
    (
        change(document, from),
        [&change(document, Position::from_number(u64::MAX))[..], &[0]].concat(),
    )
}

/// The position and the entry of a row of [`change`].
pub(super) fn read_change(row: &[u8], value: &[u8]) -> (Position, u32, Tip) {
    let mut key = Reader::new(row.get(17..).unwrap_or_default());
    let mut value = Reader::new(value);
    let position = key.u64().expect("what was put is read back");
    let (local, tip) = read_name(&mut value).expect("what was put is read back");
    (Position::from_number(position), local, tip)
}

/// The row of a document's file.
pub(super) fn file(document: &Collection) -> Vec<u8> {
    [&[FILES][..], document.id()].concat()
}

/// The row of an entry that has an operation on access.
pub(super) fn operation(local: u32, tip: Tip) -> Vec<u8> {
    name(OPERATIONS, local, tip)
}

/// Where the rows of [`operation`] begin, and where they end.
pub(super) const fn operations() -> ([u8; 1], [u8; 1]) {
    ([OPERATIONS], [OPERATIONS + 1])
}

/// Whether a feed has rows of [`operation`]: what they begin with.
pub(super) fn operations_of(local: u32) -> Vec<u8> {
    [&[OPERATIONS][..], &local.to_be_bytes()].concat()
}

/// The row of an entry that is kept and doesn't count.
pub(super) fn uncounted(local: u32, tip: Tip) -> Vec<u8> {
    name(UNCOUNTED, local, tip)
}

/// What the rows of [`uncounted`] of a feed begin with.
pub(super) fn uncounted_of(local: u32) -> Vec<u8> {
    [&[UNCOUNTED][..], &local.to_be_bytes()].concat()
}

/// The entry of a row of [`operation`] or [`uncounted`].
pub(super) fn read_entry(row: &[u8]) -> (u32, Tip) {
    let mut reader = Reader::new(row.get(1..).unwrap_or_default());
    read_name(&mut reader).expect("what was put is read back")
}

/// What the rows of [`credential`] begin with.
pub(super) const fn credentials() -> [u8; 1] {
    [CREDENTIALS]
}

/// The row of a feed's credential.
pub(super) fn credential(feed: &FeedId) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + FeedId::LEN);
    writer.u8(CREDENTIALS);
    feed.write(&mut writer);
    writer.finish()
}

/// The row of a staged entry.
pub(super) fn staged(id: &EntryId) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + EntryId::LEN);
    writer.u8(STAGED);
    id.write(&mut writer);
    writer.finish()
}

/// The entry of a row of [`staged`].
pub(super) fn read_staged(row: &[u8]) -> EntryId {
    let mut reader = Reader::new(row.get(1..).unwrap_or_default());
    EntryId::read(&mut reader).expect("what was put is read back")
}

/// What the rows of [`staged`] of a feed begin with.
pub(super) fn staged_of(feed: &FeedId) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + FeedId::LEN);
    writer.u8(STAGED);
    feed.write(&mut writer);
    writer.finish()
}

/// The row of what was discarded of a feed.
pub(super) fn discarded(feed: &FeedId) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + FeedId::LEN);
    writer.u8(DISCARDED);
    feed.write(&mut writer);
    writer.finish()
}

/// Where the rows of [`discarded`] begin, and where they end.
pub(super) const fn all_discarded() -> ([u8; 1], [u8; 1]) {
    ([DISCARDED], [DISCARDED + 1])
}

/// What such a row holds: 1 if payloads of it may still be held, else 0 (1); and runs: numbers of
/// the first entry (8) and of the last (8).
pub(super) fn discarded_value(discarded: &Discarded) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + 16 * discarded.runs.len());
    writer.u8(discarded.is_due.into());
    for run in &discarded.runs {
        writer.u64(run.first).u64(run.last);
    }
    writer.finish()
}

/// Reads a row of [`discarded`].
pub(super) fn read_discarded(row: &[u8], value: &[u8]) -> (FeedId, Discarded) {
    try_read_discarded(row, value).expect("what was put is read back")
}

fn try_read_discarded(row: &[u8], value: &[u8]) -> Result<(FeedId, Discarded), WireError> {
    let feed = FeedId::read(&mut Reader::new(row.get(1..).unwrap_or_default()))?;
    let mut reader = Reader::new(value);
    let (is_due, mut runs) = (reader.u8()? != 0, Vec::new());
    for _ in 0..value.len().saturating_sub(1) / 16 {
        runs.push(Run { first: reader.u64()?, last: reader.u64()? });
    }
    reader.end()?;
    Ok((feed, Discarded { runs, is_due }))
}

const OPEN: u8 = 0;
const PINNED: u8 = 1;

fn write_tip(writer: &mut Writer, tip: Tip) {
    writer.u64(tip.number).array(tip.hash.as_bytes());
}

fn read_tip(reader: &mut Reader<'_>) -> Result<Tip, WireError> {
    Ok(Tip { number: reader.u64()?, hash: Hash::from_bytes(reader.array()?) })
}

/// What a feed's row holds: version 1.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 40 | feed |
/// | 1, or 1 + 80 | authority: 0 the genesis; 1 and a grant's entry |
/// | 1 | 0 open, 1 pinned |
/// | 40 | base: number, hash |
/// | 40 and 1 | if it is open: the trunk's end; 1 if it is forked |
/// | 72 twice | if it is forked: head and tip of each lane |
/// | 4 and 40 each | if it is pinned: how many tips, and the tips |
/// | 1, and 72 if it is 1 | whether there is evidence: its number and pair |
pub(super) fn write_feed(id: &FeedId, authority: Authority, feed: &Feed) -> Vec<u8> {
    let mut writer = Writer::with_capacity(200);
    writer.u8(1);
    id.write(&mut writer);
    match authority {
        Authority::Genesis => writer.u8(0),
        Authority::Grant(grant) => {
            writer.u8(1);
            grant.write(&mut writer);
            &mut writer
        }
    };
    match feed.shape() {
        Shape::Open(lanes) => {
            writer.u8(OPEN);
            write_tip(&mut writer, lanes.base());
            write_tip(&mut writer, lanes.trunk());
            writer.u8(u8::from(lanes.fork().is_some()));
            for lane in lanes.fork().into_iter().flatten() {
                writer.array(lane.head.as_bytes());
                write_tip(&mut writer, lane.tip);
            }
        }
        Shape::Pinned(chains) => {
            writer.u8(PINNED);
            write_tip(&mut writer, chains.base());
            let tips: Vec<Tip> = chains.pinned().collect();
            writer.u32(u32::try_from(tips.len()).expect("removals pin few tips"));
            tips.into_iter().for_each(|tip| write_tip(&mut writer, tip));
        }
    }
    writer.u8(u8::from(feed.evidence().is_some()));
    if let Some(evidence) = feed.evidence() {
        writer.u64(evidence.number());
        let [first, second] = evidence.pair();
        writer.array(first.as_bytes()).array(second.as_bytes());
    }
    writer.finish()
}

/// Reads what [`write_feed`] wrote.
pub(super) fn read_feed(row: &[u8], value: &[u8]) -> (u32, FeedId, Authority, Feed) {
    try_read_feed(row, value).expect("what was put is read back")
}

fn try_read_feed(row: &[u8], value: &[u8]) -> Result<(u32, FeedId, Authority, Feed), WireError> {
    let local = Reader::new(row.get(1..).unwrap_or_default()).u32()?;
    let mut reader = Reader::new(value);
    reader.u8()?;
    let id = FeedId::read(&mut reader)?;
    let authority = match reader.u8()? {
        0 => Authority::Genesis,
        _ => Authority::Grant(EntryId::read(&mut reader)?),
    };
    let shape = read_shape(&mut reader)?;
    let evidence = match reader.u8()? {
        0 => None,
        _ => {
            let number = reader.u64()?;
            let [a, b] = [reader.array()?, reader.array()?].map(Hash::from_bytes);
            Evidence::of(Tip { number, hash: a }, Tip { number, hash: b })
        }
    };
    reader.end()?;
    Ok((local, id, authority, Feed::restore(shape, evidence)))
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Shape, WireError> {
    if reader.u8()? == PINNED {
        let base = read_tip(reader)?;
        let tips = (0..reader.u32()?).map(|_| read_tip(reader)).collect::<Result<_, _>>()?;
        return Ok(Shape::Pinned(Chains::restore(base, tips)));
    }
    let (base, trunk) = (read_tip(reader)?, read_tip(reader)?);
    let fork = match reader.u8()? {
        0 => None,
        _ => Some([read_lane(reader)?, read_lane(reader)?]),
    };
    Lanes::restore(base, trunk, fork).map(Shape::Open).ok_or(WireError::TooShort)
}

fn read_lane(reader: &mut Reader<'_>) -> Result<Lane, WireError> {
    Ok(Lane { head: Hash::from_bytes(reader.array()?), tip: read_tip(reader)? })
}
