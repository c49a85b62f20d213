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
/// | 1 | number of tips, or 3 if there are more than 2; and 128 if there is evidence |
/// | 40 each | tips: number, hash of the header; strictly ascending |
/// | 40 | if there are more than 2: the highest number, and BLAKE3 of them all as above |
/// | 8 | number of the evidence, if there is any |
/// | 32 | BLAKE3 of the two hashes of its pair |
///
/// BLAKE3 has the context `aether 2026-11 sync rows v1`. More than two tips has a feed whose author
/// was removed and had forked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    feed: FeedId,
    tips: Vec<Tip>,
    /// Of more tips than a row says: the highest number, and a hash of all.
    many: Option<(u64, Hash)>,
    evidence: Option<(u64, Hash)>,
}

impl Row {
    /// Largest encoding, in bytes.
    pub const MAX: usize = FeedId::LEN + 1 + Self::MAX_TIPS * 40 + 40;

    const MAX_TIPS: usize = 2;
    const MANY: usize = 3;
    const EVIDENCE: u8 = 128;

    /// The row of a feed of which nothing is kept.
    pub const fn empty(feed: FeedId) -> Self {
        Self { feed, tips: Vec::new(), many: None, evidence: None }
    }

    /// The row of a feed. One of which nothing is kept says nothing, though there be evidence: who
    /// never kept anything of it has none.
    pub fn of(id: FeedId, feed: &Feed) -> Self {
        let mut tips = feed.tips();
        tips.sort_unstable();
        let Some(top) = tips.last().map(|tip| tip.number) else { return Self::empty(id) };
        let many = (tips.len() > Self::MAX_TIPS).then(|| (top, hash_of(&tips)));
        if many.is_some() {
            tips.clear();
        }
        let pair = |evidence: Evidence| {
            let [first, second] = evidence.pair();
            ROWS.hash(&[*first.as_bytes(), *second.as_bytes()].concat())
        };
        let evidence = feed.evidence().map(|evidence| (evidence.number(), pair(evidence)));
        Self { feed: id, tips, many, evidence }
    }

    /// Which feed.
    pub const fn feed(&self) -> FeedId {
        self.feed
    }

    /// Where it ends: nowhere if nothing is kept, or there are more than two ends; twice if it is
    /// forked. Ascending.
    pub fn tips(&self) -> &[Tip] {
        &self.tips
    }

    /// The number of the evidence against its author, and a hash of the pair.
    pub const fn evidence(&self) -> Option<(u64, Hash)> {
        self.evidence
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.tips.is_empty() && self.many.is_none() && self.evidence.is_none()
    }

    /// The highest number that is kept; 0 if nothing is.
    pub fn top(&self) -> u64 {
        let numbers = self.tips.iter().map(|tip| tip.number);
        numbers.chain(self.many.map(|(number, _)| number)).max().unwrap_or(0)
    }

    fn write(&self, writer: &mut Writer) {
        self.feed.write(writer);
        let tips = if self.many.is_some() { Self::MANY } else { self.tips.len() };
        let tips = u8::try_from(tips).expect("two tips at most");
        writer.u8(tips | if self.evidence.is_some() { Self::EVIDENCE } else { 0 });
        let pairs = self.tips.iter().map(|tip| (tip.number, tip.hash));
        for (number, hash) in pairs.chain(self.many).chain(self.evidence) {
            writer.u64(number).array(hash.as_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let feed = FeedId::read(reader)?;
        let flags = reader.u8()?;
        let count = usize::from(flags & !Self::EVIDENCE);
        if count > Self::MANY {
            return Err(WireError::TooLong { len: count, max: Self::MANY });
        }
        let mut pair = || Ok((reader.u64()?, Hash::from_bytes(reader.array()?)));
        let many = if count == Self::MANY { Some(pair()?) } else { None };
        let count = if many.is_some() { 0 } else { count };
        let mut tips = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, hash) = pair()?;
            tips.push(Tip { number, hash });
        }
        let evidence = if flags & Self::EVIDENCE == 0 { None } else { Some(pair()?) };
        Ok(Self { feed, tips, many, evidence })
    }

    fn is_sound(&self) -> bool {
        let numbers = self.tips.iter().map(|tip| tip.number);
        let others = self.many.into_iter().chain(self.evidence).map(|(number, _)| number);
        self.tips.is_sorted_by(|one, next| one < next)
            && numbers.chain(others).all(|number| number > 0)
    }
}

fn hash_of(tips: &[Tip]) -> Hash {
    let mut writer = Writer::with_capacity(tips.len() * 40);
    for tip in tips {
        writer.u64(tip.number).array(tip.hash.as_bytes());
    }
    ROWS.hash(&writer.finish())
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
