//! Reading all keys, page by page.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use minicbor::bytes::ByteVec;
use serde::{Serialize, de::DeserializeOwned};

use super::{PartitionError, PartitionedMap};
use crate::{
    Key,
    collections::decode,
    proto::{
        map::{MAX_KEY, Rule},
        partitions::{Ask, Page, Said, join_pages, message::MAX_PAGE_KEYS},
    },
};

/// Where a scan goes on. As text: the partition, a point, and the key in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanCursor {
    partition: u16,
    /// The first key that may come.
    from: Vec<u8>,
}

impl fmt::Display for ScanCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.partition, HEXLOWER.encode(&self.from))
    }
}

/// The text is no [`ScanCursor`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is what the page before gave, a partition's number and a key")]
pub struct ParseCursorError;

impl FromStr for ScanCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let (partition, from) = text.split_once('.').ok_or(ParseCursorError)?;
        let from = HEXLOWER.decode(from.as_bytes()).map_err(|_| ParseCursorError)?;
        let partition = partition.parse().map_err(|_| ParseCursorError)?;
        // Behind a key comes what is it and a zero byte.
        let is_key = from.len() <= MAX_KEY + 1;
        is_key.then_some(Self { partition, from }).ok_or(ParseCursorError)
    }
}

/// A page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage<K, V> {
    /// Keys of one partition with their values, ascending; of several values the latest.
    pub items: Vec<(K, V)>,
    /// Keys of these that were passed over, as they or their values are of another type: one that
    /// somebody wrote badly doesn't hide the others.
    pub unreadable: usize,
    /// Where to go on; nothing if that was all.
    pub next: Option<ScanCursor>,
}

impl<K: Key, V: Serialize + DeserializeOwned> PartitionedMap<K, V> {
    /// Some keys with their values, from a cursor on, or from the begin: partition by partition, in
    /// each ascending. A page has keys of one partition, at most so many and at most 1,024, and may
    /// have none though there is a next one. What is written meanwhile may be in a later page or
    /// not; each page by itself is a read at the map's level.
    ///
    /// # Errors
    /// Too few owners answered in time.
    pub async fn scan(
        &self,
        from: Option<ScanCursor>,
        limit: usize,
    ) -> Result<ScanPage<K, V>, PartitionError> {
        let ScanCursor { partition, from } = from.unwrap_or_default();
        let placement = self.shared().placement(self.until()).await?;
        if !placement.partitions().contains(&partition) {
            return Ok(ScanPage { items: Vec::new(), unreadable: 0, next: None });
        }
        let limit = limit.clamp(1, MAX_PAGE_KEYS);
        let ask = Ask::Scan {
            partition,
            from: ByteVec::from(from),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let answers = self.answers(partition, &ask, Said::page).await?;
        let (peers, pages): (Vec<_>, Vec<Page>) = answers.into_iter().unzip();
        let joined = join_pages(&pages);
        self.repair(partition, &peers, &joined.stale);
        let mut items = Vec::with_capacity(joined.keys.len());
        let (mut unreadable, mut cut) = (0, None);
        for (key, elements) in joined.keys {
            if items.len() + unreadable == limit {
                cut = Some(key);
                break;
            }
            let Some(latest) = Rule::Last.resolve(elements).pop() else { continue };
            match (K::from_key(&key), decode(&latest.value)) {
                (Some(key), Ok(value)) => items.push((key, value)),
                _ => unreadable += 1,
            }
        }
        let behind = joined.next.map(|last| [&last[..], &[0]].concat());
        let on = cut.or(behind).map(|from| ScanCursor { partition, from });
        let other = ScanCursor { partition: partition.saturating_add(1), from: Vec::new() };
        let other = placement.partitions().contains(&other.partition).then_some(other);
        Ok(ScanPage { items, unreadable, next: on.or(other) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_text_and_back() {
        let cursor = ScanCursor { partition: 7, from: b"key\0".to_vec() };
        assert_eq!(cursor.to_string(), "7.6b657900");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("0.".parse(), Ok(ScanCursor::default()));
        for text in ["", "7", "x.00", "7.0", "7.zz", "70000.00"] {
            assert_eq!(text.parse::<ScanCursor>(), Err(ParseCursorError), "{text}");
        }
    }
}
