//! Operations on access, which stand in headers, so that payloads may go and access stays.

use aether_core::{
    Hash, PublicKey,
    wire::{Reader, WireError, Writer},
};

use crate::proto::{
    id::{EntryId, FeedId},
    space::Role,
};

/// Most removals that one grant overrides.
pub const MAX_OVER: usize = 16;

/// Most pins in one removal; what has more goes on in the next entry.
pub const MAX_PINS: usize = 128;

/// Most runs of entries that one operation discards; what has more goes on in the next entry.
pub const MAX_RUNS: usize = 384;

/// Largest encoding of an operation on access, in bytes. None that is known reaches it.
pub const MAX_ACCESS_OP: usize = 6_400;

/// Up to where a removal leaves one of the member's feeds standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPin {
    /// Which of the member's feeds.
    pub incarnation: u64,
    /// The number of the last entry that stands, from 1.
    pub number: u64,
    /// The hash of that entry's header.
    pub hash: Hash,
}

impl FeedPin {
    /// Length in bytes.
    pub const LEN: usize = 8 + 8 + Hash::LEN;

    /// The entry that it pins, of a member's feed.
    pub const fn entry(&self, member: PublicKey) -> EntryId {
        let feed = FeedId { author: member, incarnation: self.incarnation };
        EntryId { feed, number: self.number, hash: self.hash }
    }
}

/// Entries of a feed in a row, by their numbers: from the first, 1 or more, to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The number of the first.
    pub first: u64,
    /// The number of the last, which may be the first.
    pub last: u64,
}

impl Run {
    /// Whether it has an entry of this number.
    pub const fn contains(&self, number: u64) -> bool {
        self.first <= number && number <= self.last
    }
}

/// A change of who may do what, or of what is kept. Whether its author may make it isn't said here.
///
/// | bytes | a grant |
/// |---|---|
/// | 1 | kind, 1 |
/// | 1 | role: 0 reader, 1 writer, 2 admin |
/// | 32 | the member's public key |
/// | 1 | number of removals that it overrides, at most 16 |
/// | 32 each | hashes of the headers of those removals, strictly ascending |
///
/// | bytes | a removal |
/// |---|---|
/// | 1 | kind, 2 |
/// | 32 | the member's public key |
/// | 1 | 1 if the next entry of the feed goes on with it, else 0 |
/// | 1 | number of pins, at most 128 |
/// | 48 each | pins: incarnation, number (1 or more), hash; strictly ascending |
///
/// | bytes | a discard |
/// |---|---|
/// | 1 | kind, 3 |
/// | 40 | the feed |
/// | 2 | number of runs, 1 to 384 |
/// | 16 each | runs: numbers of the first entry and of the last; ascending, apart |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessOp {
    /// Gives a member a role, for feeds that it begins under this grant.
    Grant {
        /// To whom.
        member: PublicKey,
        /// What; never owner.
        role: Role,
        /// Hashes of the headers of those removals of the member that it overrides, strictly
        /// ascending.
        over: Vec<Hash>,
    },
    /// Takes a member's feeds back, but for what it pins.
    Remove {
        /// From whom.
        member: PublicKey,
        /// The tips of all that is to stand, strictly ascending; several of a forked feed.
        pins: Vec<FeedPin>,
        /// Whether the next entry of the feed goes on with it. It counts when it is whole.
        more: bool,
    },
    /// Takes their payloads from entries, on every branch of the feed: they have no effect, and
    /// nobody keeps them. For owners. See [`compact`](crate::proto::compact).
    Discard {
        /// Which feed.
        feed: FeedId,
        /// Which of its entries: ascending, and others between.
        runs: Vec<Run>,
    },
}

impl AccessOp {
    /// The bytes of the tables above, or how it breaks their rules.
    pub fn encode(&self) -> Result<Vec<u8>, AccessError> {
        self.check()?;
        let mut writer = Writer::default();
        match self {
            Self::Grant { member, role, over } => {
                writer.u8(1).u8(role.to_byte().ok_or(AccessError::Role)?);
                writer.array(member.as_bytes()).u8(count(over.len()));
                for hash in over {
                    writer.array(hash.as_bytes());
                }
            }
            Self::Remove { member, pins, more } => {
                writer.u8(2).array(member.as_bytes()).u8((*more).into()).u8(count(pins.len()));
                for pin in pins {
                    writer.u64(pin.incarnation).u64(pin.number).array(pin.hash.as_bytes());
                }
            }
            Self::Discard { feed, runs } => {
                writer.u8(3);
                feed.write(&mut writer);
                writer.u16(u16::try_from(runs.len()).expect("384 at most"));
                for run in runs {
                    writer.u64(run.first).u64(run.last);
                }
            }
        }
        Ok(writer.finish())
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, AccessError> {
        let mut reader = Reader::new(bytes);
        let op = match reader.u8()? {
            1 => {
                let role = Role::from_byte(reader.u8()?).ok_or(AccessError::Role)?;
                let member = PublicKey::from_bytes(reader.array()?);
                let over = (0..reader.u8()?).map(|_| Ok(Hash::from_bytes(reader.array()?)));
                Self::Grant { member, role, over: over.collect::<Result<_, WireError>>()? }
            }
            2 => {
                let member = PublicKey::from_bytes(reader.array()?);
                let more = match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(AccessError::More),
                };
                let pins = (0..reader.u8()?).map(|_| {
                    let (incarnation, number) = (reader.u64()?, reader.u64()?);
                    Ok(FeedPin { incarnation, number, hash: Hash::from_bytes(reader.array()?) })
                });
                Self::Remove { member, pins: pins.collect::<Result<_, WireError>>()?, more }
            }
            3 => {
                let feed = FeedId::read(&mut reader)?;
                let runs = (0..reader.u16()?)
                    .map(|_| Ok(Run { first: reader.u64()?, last: reader.u64()? }));
                Self::Discard { feed, runs: runs.collect::<Result<_, WireError>>()? }
            }
            kind => return Err(AccessError::Kind { kind }),
        };
        reader.end()?;
        op.check()?;
        Ok(op)
    }

    fn check(&self) -> Result<(), AccessError> {
        match self {
            Self::Grant { over, .. } => {
                if over.len() > MAX_OVER {
                    return Err(AccessError::TooMany);
                }
                ascending(over)
            }
            Self::Remove { pins, .. } => {
                if pins.len() > MAX_PINS {
                    return Err(AccessError::TooMany);
                }
                if pins.iter().any(|pin| pin.number == 0) {
                    return Err(AccessError::Number);
                }
                ascending(pins)
            }
            Self::Discard { runs, .. } => {
                if runs.is_empty() || runs.len() > MAX_RUNS {
                    return Err(AccessError::TooMany);
                }
                if runs.iter().any(|run| run.first == 0) {
                    return Err(AccessError::Number);
                }
                let apart = |one: &Run, next: &Run| one.last.saturating_add(1) < next.first;
                let is_sound =
                    runs.iter().all(|run| run.first <= run.last) && runs.is_sorted_by(apart);
                if is_sound { Ok(()) } else { Err(AccessError::Order) }
            }
        }
    }
}

fn ascending<T: Ord>(list: &[T]) -> Result<(), AccessError> {
    if list.is_sorted_by(|one, next| one < next) { Ok(()) } else { Err(AccessError::Order) }
}

/// A length that was checked against a bound below 256.
fn count(len: usize) -> u8 {
    u8::try_from(len).expect("the bounds are below 256")
}

/// Why something is no operation on access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// No such kind.
    #[error("an operation on access of kind {kind} is not known here")]
    Kind {
        /// Kind found.
        kind: u8,
    },
    /// No role that can be granted.
    #[error("only reader, writer and admin can be granted")]
    Role,
    /// Neither "it goes on" nor "it ends".
    #[error("a removal says neither that it ends nor that it goes on")]
    More,
    /// More than the bounds of a list.
    #[error(
        "a grant overrides at most 16 removals, a removal pins at most 128 entries, a discard \
         names 1 to 384 runs"
    )]
    TooMany,
    /// A list out of order, or with something twice.
    #[error("a list is not strictly ascending")]
    Order,
    /// An entry's number is zero.
    #[error("the numbers of entries begin at 1")]
    Number,
    /// Too short or too long.
    #[error("the operation on access is torn")]
    Torn(#[from] WireError),
}
