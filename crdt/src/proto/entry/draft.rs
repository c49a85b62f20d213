//! Drafts: how an author makes entries that keep all the rules.

use std::collections::{BTreeMap, BTreeSet};

use aether_core::{Hash, SecretKey, wire::Writer};

use super::{
    AccessOp, Authority, Checked, Collection, Entry, Header, HeaderError, MAX_FRONTIER, MAX_GROUPS,
    MAX_OPS, MAX_PAYLOAD, Payload, PayloadError, body::Body,
};
use crate::proto::{
    id::{EntryId, FeedId, SpaceId},
    time::{Hybrid, Wall},
};

/// Bytes of a group without its operations.
const GROUP: usize = 16 + 1 + 4;

/// Where in its feed an entry is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    space: SpaceId,
    feed: FeedId,
    number: u64,
    previous: Hash,
    last: Option<Hybrid>,
    authority: Authority,
}

impl Place {
    /// The first of a feed, which is written by `authority` for ever.
    ///
    /// Who signs two first entries of one feed has forked it: the incarnation must be fresh.
    pub const fn first(space: SpaceId, feed: FeedId, authority: Authority) -> Self {
        let previous = Hash::from_bytes([0; Hash::LEN]);
        Self { space, feed, number: 1, previous, last: None, authority }
    }

    /// The next after `parent`, in a feed that is written by `authority`; `None` after the last
    /// number there is.
    ///
    /// Who signs two entries after one parent has forked its feed: the parent must be the author's
    /// last, and durable.
    pub fn after(parent: &Checked<Header>, authority: Authority) -> Option<Self> {
        Some(Self {
            space: parent.space(),
            feed: parent.feed(),
            number: parent.number().checked_add(1)?,
            previous: parent.hash(),
            last: Some(parent.time()),
            authority,
        })
    }
}

/// An entry in the making: a batch of operations, and what it cites. Bounded: what doesn't fit is
/// refused and belongs into the next entry.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    groups: BTreeMap<Collection, Vec<Vec<u8>>>,
    bytes: usize,
    ops: usize,
    frontier: BTreeSet<EntryId>,
    cited: Option<Hybrid>,
    access: Option<AccessOp>,
}

impl Draft {
    /// An entry that says nothing yet. It may stay so: an author that has nothing to say still has
    /// something to acknowledge.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an operation. Refused, without effect, if the payload has no room for it.
    pub fn op(&mut self, collection: Collection, op: Vec<u8>) -> Result<&mut Self, DraftError> {
        let known = self.groups.contains_key(&collection);
        let more = op.len().saturating_add(4 + if known { 0 } else { GROUP });
        let bytes = self.bytes.saturating_add(more);
        let crowded = !known && self.groups.len() == MAX_GROUPS;
        if bytes > MAX_PAYLOAD || self.ops == MAX_OPS || crowded {
            return Err(DraftError::Full);
        }
        (self.bytes, self.ops) = (bytes, self.ops + 1);
        self.groups.entry(collection).or_default().push(op);
        Ok(self)
    }

    /// Cites an entry of another feed, which its author wrote at `time`. Refused, without effect,
    /// if the frontier has no room for it. To cite an entry twice is to cite it once.
    pub fn cite(&mut self, id: EntryId, time: Hybrid) -> Result<&mut Self, DraftError> {
        if self.frontier.len() == MAX_FRONTIER && !self.frontier.contains(&id) {
            return Err(DraftError::Full);
        }
        self.frontier.insert(id);
        self.cited = self.cited.max(Some(time));
        Ok(self)
    }

    /// How many entries it cites.
    pub fn cited(&self) -> usize {
        self.frontier.len()
    }

    /// Makes a change of access; the last one set is the one that counts.
    pub fn access(&mut self, op: AccessOp) -> &mut Self {
        self.access = Some(op);
        self
    }

    /// Makes the entry that stands at `place`, at the time of the author's rule of
    /// [`time`](crate::proto::time). Hashes the payload and signs, some 30 µs.
    pub fn sign(self, key: &SecretKey, place: Place, wall: Wall) -> Result<Entry, DraftError> {
        if key.public() != place.feed.author {
            return Err(DraftError::Key);
        }
        let time = Hybrid::next(wall, place.last, self.cited).ok_or(DraftError::Time)?;
        let payload = Payload::decode(encode(&self.groups, self.bytes))?;
        let body = Body {
            space: place.space,
            feed: place.feed,
            number: place.number,
            previous: place.previous,
            time,
            content: payload.content(),
            frontier: self.frontier.into_iter().collect(),
            authority: (place.number == 1).then_some(place.authority),
            access: self.access,
        };
        Ok(Entry { header: Header::sign(body, key)?, payload })
    }
}

fn encode(groups: &BTreeMap<Collection, Vec<Vec<u8>>>, len: usize) -> Vec<u8> {
    let mut writer = Writer::with_capacity(len);
    for (collection, ops) in groups {
        writer.array(collection.id()).u8(collection.kind().to_byte());
        writer.u32(u32::try_from(ops.len()).expect("at most 65,536 operations"));
        for op in ops {
            writer.u32(u32::try_from(op.len()).expect("at most 1 MiB")).slice(op);
        }
    }
    writer.finish()
}

/// Why a draft makes no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// No room for one more: sign this entry, and go on with the next.
    #[error("the entry is full")]
    Full,
    /// The key isn't the feed's author's.
    #[error("the key is not the author's")]
    Key,
    /// The feed's time has come to its end.
    #[error("there is no time after the feed's last")]
    Time,
    /// The header would break a rule.
    #[error("the header would break a rule")]
    Header(#[from] HeaderError),
    /// The payload would break a rule.
    #[error("the payload would break a rule")]
    Payload(#[from] PayloadError),
}
