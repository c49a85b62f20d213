//! What a header signs, and the rules that it shows by itself.

use aether_core::{
    Hash, merkle,
    wire::{Reader, WireError, Writer},
};

use super::{
    access::{AccessOp, MAX_ACCESS_OP},
    header::HeaderError,
    payload::{MAX_GROUPS, MAX_PAYLOAD},
};
use crate::proto::{
    id::{EntryId, FeedId, SpaceId},
    time::Hybrid,
};

/// Most frontier rows in a header.
pub const MAX_FRONTIER: usize = 64;

/// Most frontier rows of one feed: one for each branch of a forked one.
pub const MAX_ROWS_PER_FEED: usize = 2;

const AUTHORITY: u8 = 1;
const ACCESS: u8 = 2;
const NOTHING: Hash = Hash::from_bytes([0; Hash::LEN]);

/// By what a feed's author may write it: the same for all of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// The space's genesis: the author is an owner, or everyone may write.
    Genesis,
    /// The grant in this entry.
    Grant(EntryId),
}

/// What a header says of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// Length in bytes, at most 1 MiB.
    pub bytes: u32,
    /// Number of groups, at most 256.
    pub groups: u16,
    /// Merkle root over the groups' hashes.
    pub root: Hash,
}

impl Content {
    /// Whether there is no payload.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn check(&self) -> Result<(), HeaderError> {
        let (bytes, groups) = (usize::try_from(self.bytes), usize::from(self.groups));
        if bytes.is_ok_and(|bytes| bytes <= MAX_PAYLOAD)
            && groups <= MAX_GROUPS
            && (self.bytes == 0) == (groups == 0)
            && (groups > 0 || self.root == merkle::root(&[]))
        {
            return Ok(());
        }
        Err(HeaderError::Content)
    }
}

/// All that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) space: SpaceId,
    pub(super) feed: FeedId,
    pub(super) number: u64,
    /// Zeros if there is none.
    pub(super) previous: Hash,
    pub(super) time: Hybrid,
    pub(super) content: Content,
    pub(super) frontier: Vec<EntryId>,
    pub(super) authority: Option<Authority>,
    pub(super) access: Option<AccessOp>,
}

impl Body {
    /// The rules that a header shows by itself; those of an operation on access are its own.
    fn check(&self) -> Result<(), HeaderError> {
        if self.number == 0 {
            return Err(HeaderError::Number);
        }
        if (self.number == 1) != (self.previous == NOTHING) {
            return Err(HeaderError::Previous);
        }
        if self.authority.is_some() != (self.number == 1) {
            return Err(HeaderError::Authority);
        }
        if matches!(self.authority, Some(Authority::Grant(grant)) if grant.number == 0) {
            return Err(HeaderError::Authority);
        }
        self.content.check()?;
        self.check_frontier()
    }

    fn check_frontier(&self) -> Result<(), HeaderError> {
        let rows = &self.frontier;
        // In order, the rows of one feed are neighbours.
        let crowded = rows.windows(MAX_ROWS_PER_FEED + 1).any(|rows| rows[0].feed == rows[2].feed);
        if rows.len() > MAX_FRONTIER
            || !rows.is_sorted_by(|one, next| one < next)
            || rows.iter().any(|row| row.number == 0 || row.feed == self.feed)
            || crowded
        {
            return Err(HeaderError::Frontier);
        }
        Ok(())
    }

    /// All before the signature. Checks every rule, so what is written can be read.
    pub(super) fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        self.check()?;
        let access = self.access.as_ref().map(AccessOp::encode).transpose()?;
        let mut flags = if self.authority.is_some() { AUTHORITY } else { 0 };
        flags |= if access.is_some() { ACCESS } else { 0 };

        let mut writer = Writer::with_capacity(512);
        writer.u8(1).u8(flags).array(self.space.as_hash().as_bytes());
        self.feed.write(&mut writer);
        writer.u64(self.number).array(self.previous.as_bytes()).u64(self.time.to_bits());
        writer.u32(self.content.bytes).u16(self.content.groups);
        writer.array(self.content.root.as_bytes());
        writer.u8(u8::try_from(self.frontier.len()).expect("at most 64 rows"));
        self.frontier.iter().for_each(|row| row.write(&mut writer));
        match self.authority {
            None => {}
            Some(Authority::Genesis) => drop(writer.array(&[0; EntryId::LEN])),
            Some(Authority::Grant(grant)) => grant.write(&mut writer),
        }
        if let Some(access) = access {
            writer.bytes16(&access);
        }
        Ok(writer.finish())
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, HeaderError> {
        let version = reader.u8()?;
        if version != 1 {
            return Err(HeaderError::Version { version });
        }
        let flags = reader.u8()?;
        if flags & !(AUTHORITY | ACCESS) != 0 {
            return Err(HeaderError::Flags { flags });
        }
        let space = SpaceId::from_hash(Hash::from_bytes(reader.array()?));
        let feed = FeedId::read(reader)?;
        let (number, previous) = (reader.u64()?, Hash::from_bytes(reader.array()?));
        let time = Hybrid::from_bits(reader.u64()?);
        let (bytes, groups) = (reader.u32()?, reader.u16()?);
        let content = Content { bytes, groups, root: Hash::from_bytes(reader.array()?) };
        let rows = usize::from(reader.u8()?);
        if rows > MAX_FRONTIER {
            return Err(HeaderError::Frontier);
        }
        let frontier =
            (0..rows).map(|_| EntryId::read(reader)).collect::<Result<Vec<_>, WireError>>()?;
        let authority = match flags & AUTHORITY {
            0 => None,
            _ => Some(read_authority(reader)?),
        };
        let access = match flags & ACCESS {
            0 => None,
            _ => Some(AccessOp::decode(reader.bytes16(MAX_ACCESS_OP)?)?),
        };
        let body =
            Self { space, feed, number, previous, time, content, frontier, authority, access };
        body.check()?;
        Ok(body)
    }
}

fn read_authority(reader: &mut Reader<'_>) -> Result<Authority, WireError> {
    let bytes: [u8; EntryId::LEN] = reader.array()?;
    if bytes == [0; EntryId::LEN] {
        return Ok(Authority::Genesis);
    }
    Ok(Authority::Grant(EntryId::read(&mut Reader::new(&bytes))?))
}
