//! Rows: what a replica keeps of each feed, in few bytes.

use aether_core::{
    Domain, Hash,
    wire::{Reader, WireError, Writer},
};

use super::MAX_ROWS;
use crate::proto::{
    feed::{Evidence, Feed, Tip},
    id::FeedId,
};

const ROWS: Domain = Domain::new("aether 2026-11 sync rows v1");

/// What a replica keeps of one feed. Two replicas whose rows of a feed are equal keep the same
/// entries of it, and the same evidence.
///
/// | bytes | field |
/// |---|---|
/// | 40 | feed |
/// | 1 | number of tips, at most 2, and 128 if there is evidence |
/// | 40 each | tips: number, hash of the header; strictly ascending |
/// | 8 | number of the evidence, if there is any |
/// | 32 | BLAKE3, context `aether 2026-11 sync rows v1`, of the two hashes of its pair |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    feed: FeedId,
    tips: Vec<Tip>,
    evidence: Option<(u64, Hash)>,
}

impl Row {
    /// Largest encoding, in bytes.
    pub const MAX: usize = FeedId::LEN + 1 + Self::MAX_TIPS * 40 + 40;

    const MAX_TIPS: usize = 2;
    const EVIDENCE: u8 = 128;

    /// The row of a feed of which nothing is kept.
    pub const fn empty(feed: FeedId) -> Self {
        Self { feed, tips: Vec::new(), evidence: None }
    }

    /// The row of a feed that isn't pinned: two tips at most.
    pub fn of(id: FeedId, feed: &Feed) -> Self {
        let mut tips = feed.tips();
        tips.sort_unstable();
        let pair = |evidence: Evidence| {
            let [first, second] = evidence.pair();
            ROWS.hash(&[*first.as_bytes(), *second.as_bytes()].concat())
        };
        let evidence = feed.evidence().map(|evidence| (evidence.number(), pair(evidence)));
        Self { feed: id, tips, evidence }
    }

    /// Which feed.
    pub const fn feed(&self) -> FeedId {
        self.feed
    }

    /// Where it ends: nowhere if nothing is kept, twice if it is forked. Ascending.
    pub fn tips(&self) -> &[Tip] {
        &self.tips
    }

    /// The number of the evidence against its author, and a hash of the pair.
    pub const fn evidence(&self) -> Option<(u64, Hash)> {
        self.evidence
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.tips.is_empty() && self.evidence.is_none()
    }

    /// The highest number that is kept; 0 if nothing is.
    pub fn top(&self) -> u64 {
        self.tips.iter().map(|tip| tip.number).max().unwrap_or(0)
    }

    fn write(&self, writer: &mut Writer) {
        self.feed.write(writer);
        let tips = u8::try_from(self.tips.len()).expect("two tips at most");
        writer.u8(tips | if self.evidence.is_some() { Self::EVIDENCE } else { 0 });
        let pairs = self.tips.iter().map(|tip| (tip.number, tip.hash)).chain(self.evidence);
        for (number, hash) in pairs {
            writer.u64(number).array(hash.as_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let feed = FeedId::read(reader)?;
        let flags = reader.u8()?;
        let count = usize::from(flags & !Self::EVIDENCE);
        if count > Self::MAX_TIPS {
            return Err(WireError::TooLong { len: count, max: Self::MAX_TIPS });
        }
        let mut pair = || Ok((reader.u64()?, Hash::from_bytes(reader.array()?)));
        let mut tips = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, hash) = pair()?;
            tips.push(Tip { number, hash });
        }
        let evidence = if flags & Self::EVIDENCE == 0 { None } else { Some(pair()?) };
        Ok(Self { feed, tips, evidence })
    }

    fn is_sound(&self) -> bool {
        let numbers = self.tips.iter().map(|tip| tip.number);
        self.tips.is_sorted_by(|one, next| one < next)
            && numbers.chain(self.evidence.map(|(number, _)| number)).all(|number| number > 0)
    }
}

/// The bytes of rows, one behind the other.
pub fn write_rows(rows: &[Row]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(rows.len().saturating_mul(Row::MAX));
    rows.iter().for_each(|row| row.write(&mut writer));
    writer.finish()
}

/// Reads what [`write_rows`] wrote of at most [`MAX_ROWS`] rows. `None` inside says that they
/// break a rule: feeds and tips are strictly ascending, and numbers begin at 1.
pub fn read_rows(bytes: &[u8]) -> Result<Option<Vec<Row>>, WireError> {
    let max = MAX_ROWS * Row::MAX;
    if bytes.len() > max {
        return Err(WireError::TooLong { len: bytes.len(), max });
    }
    let mut rest = bytes;
    let mut rows: Vec<Row> = Vec::new();
    while !rest.is_empty() {
        if rows.len() == MAX_ROWS {
            return Err(WireError::TooLong { len: rows.len() + 1, max: MAX_ROWS });
        }
        let mut reader = Reader::new(rest);
        rows.push(Row::read(&mut reader)?);
        rest = reader.rest();
    }
    let ascending = rows.is_sorted_by(|one, next| one.feed < next.feed);
    Ok((ascending && rows.iter().all(Row::is_sound)).then_some(rows))
}

/// The digest of all rows, given in any order: equal exactly if the rows are. Empty rows count for
/// nothing.
///
/// BLAKE3, context `aether 2026-11 sync rows v1`, of 256 hashes in that context, each of the rows,
/// ascending, of the feeds whose [digest](FeedId::digest) begins with the hash's place. Costs two
/// hashes for each feed.
pub fn digest<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Hash {
    let mut buckets: Vec<Vec<&Row>> = vec![Vec::new(); 256];
    for row in rows.into_iter().filter(|row| !row.is_empty()) {
        buckets[usize::from(row.feed.digest().as_bytes()[0])].push(row);
    }
    let mut all = Vec::with_capacity(256 * Hash::LEN);
    let empty = ROWS.hash(&[]);
    for bucket in &mut buckets {
        if bucket.is_empty() {
            // Most are, in a small space.
            all.extend_from_slice(empty.as_bytes());
            continue;
        }
        bucket.sort_unstable_by_key(|row| row.feed);
        let mut writer = Writer::with_capacity(bucket.len().saturating_mul(Row::MAX));
        bucket.iter().for_each(|row| row.write(&mut writer));
        all.extend_from_slice(ROWS.hash(&writer.finish()).as_bytes());
    }
    ROWS.hash(&all)
}
