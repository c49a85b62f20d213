//! Headers: the signed part of an entry.

use std::ops::Deref;

use aether_core::{
    Domain, Hash, InvalidSignature, PublicKey, SecretKey, Signature,
    wire::{Reader, WireError},
};

use super::{
    access::{AccessError, AccessOp},
    body::{Authority, Body, Content},
};
use crate::proto::{
    id::{EntryId, FeedId, SpaceId, Tag},
    space::Genesis,
    time::Hybrid,
};

const HEADER: Domain = Domain::new("aether 2026-11 feed header v1");

/// Largest header that is looked at, in bytes.
pub const MAX_HEADER: usize = 12_288;

/// A header that keeps the rules it shows by itself. Whether its author signed it isn't known
/// before it is [`Checked`].
///
/// Version 1; integers are big endian. Without rows, authority and operation it has 225 bytes; the
/// largest has 11,606.
///
/// | bytes | field | rule |
/// |---|---|---|
/// | 1 | version, 1 | |
/// | 1 | flags: 1 authority, 2 operation on access | no others |
/// | 32 | space | |
/// | 32 | author's public key | |
/// | 8 | incarnation | |
/// | 8 | number | 1 or more |
/// | 32 | hash of the header before | zeros exactly if the number is 1 |
/// | 8 | hybrid time | later than that of the header before |
/// | 4 | length of the payload in bytes | at most 1 MiB |
/// | 2 | number of its groups | at most 256; 0 exactly if the length is |
/// | 32 | its root | that of an empty tree if the length is 0 |
/// | 1 | number of frontier rows | at most 64 |
/// | 80 each | rows: author, incarnation, number, hash | see below |
/// | 80 | authority, if flagged: a grant's entry, or zeros for the genesis | the feed's |
/// | 2 + n | operation on access, if flagged: its length and bytes | at most 6,400 bytes |
/// | 64 | signature | by the author, strict |
///
/// - An authority is flagged exactly if the number is 1.
/// - Rows are strictly ascending, none of the feed itself, at most 2 of one feed.
/// - The number of an entry that a row or an authority names is 1 or more.
///
/// The header's hash is BLAKE3, context `aether 2026-11 feed header v1`, of all before the
/// signature, and the signature is over this hash. So one hash is the link, the id and what is
/// signed: two signatures over one content are no fork, and nobody but the author can make two
/// headers of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    body: Body,
    hash: Hash,
    signature: Signature,
}

impl Header {
    /// Which space it is of.
    pub const fn space(&self) -> SpaceId {
        self.body.space
    }

    /// Which feed it is of.
    pub const fn feed(&self) -> FeedId {
        self.body.feed
    }

    /// Who is to have signed it.
    pub const fn author(&self) -> PublicKey {
        self.body.feed.author
    }

    /// Which in its feed, from 1.
    pub const fn number(&self) -> u64 {
        self.body.number
    }

    /// The hash of all but the signature.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The entry's name.
    pub const fn id(&self) -> EntryId {
        EntryId { feed: self.body.feed, number: self.body.number, hash: self.hash }
    }

    /// What tells it from others of its number.
    pub fn tag(&self) -> Tag {
        Tag::of(&self.hash)
    }

    /// The entry that it follows; `None` if it is the first.
    pub fn parent(&self) -> Option<EntryId> {
        let number = self.body.number.checked_sub(1).filter(|number| *number > 0)?;
        Some(EntryId { feed: self.body.feed, number, hash: self.body.previous })
    }

    /// When it was written, as its author says.
    pub const fn time(&self) -> Hybrid {
        self.body.time
    }

    /// What the payload is.
    pub const fn content(&self) -> Content {
        self.body.content
    }

    /// Tips of other feeds that the author has come to hold since its entry before; ascending.
    pub fn frontier(&self) -> &[EntryId] {
        &self.body.frontier
    }

    /// By what the author may write: in the first header of a feed.
    pub const fn authority(&self) -> Option<Authority> {
        self.body.authority
    }

    /// The change of access that it makes.
    pub const fn access(&self) -> Option<&AccessOp> {
        self.body.access.as_ref()
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body.encode().expect("the rules were checked when it was made");
        bytes.extend_from_slice(self.signature.as_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else. Checks every rule that a header
    /// shows by itself, and hashes it; not its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > MAX_HEADER {
            return Err(HeaderError::TooLong { len: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let body = Body::read(&mut reader)?;
        let signature = Signature::from_bytes(reader.array()?);
        reader.end()?;
        let signed = &bytes[..bytes.len() - Signature::LEN];
        Ok(Self { body, hash: HEADER.hash(signed), signature })
    }

    /// Checks that the author signed it, strictly. Some 60 µs.
    pub fn verify(self) -> Result<Checked<Self>, InvalidSignature> {
        self.author().verify(&self.hash, &self.signature)?;
        Ok(Checked(self))
    }

    /// Reads back a header that was checked before it was stored.
    pub(in crate::proto) fn restore(bytes: &[u8]) -> Result<Checked<Self>, HeaderError> {
        Self::decode(bytes).map(Checked)
    }

    /// Signs a header that keeps the rules. The key is its author's: the caller sees to it.
    pub(super) fn sign(body: Body, key: &SecretKey) -> Result<Checked<Self>, HeaderError> {
        debug_assert_eq!(key.public(), body.feed.author, "an author signs for itself");
        let hash = HEADER.hash(&body.encode()?);
        Ok(Checked(Self { body, hash, signature: key.sign(&hash) }))
    }

    /// Whether it may come next after `parent`.
    pub fn follows(&self, parent: &Self) -> Result<(), Broken> {
        if self.space() != parent.space() || self.feed() != parent.feed() {
            return Err(Broken::OtherFeed);
        }
        if Some(self.number()) != parent.number().checked_add(1) {
            return Err(Broken::Number);
        }
        if self.body.previous != parent.hash {
            return Err(Broken::Link);
        }
        if self.time() <= parent.time() {
            return Err(Broken::Time);
        }
        Ok(())
    }

    /// Whether it may stand in the space, in a feed that is written by `authority`. Whether that
    /// authority stands isn't looked at, nor the role that it grants: that is for
    /// [`Access::admit`](crate::proto::access::Access::admit), which refuses to discard where this
    /// does. To refuse an entry is to cut the feed before it, whoever refuses.
    pub fn fits(&self, genesis: &Genesis, authority: Authority) -> Result<(), Misfit> {
        if self.space() != genesis.space_id() {
            return Err(Misfit::OtherSpace);
        }
        let owners = authority == Authority::Genesis && genesis.is_owner(&self.author());
        let bare = self.content().is_empty() && self.frontier().is_empty();
        if owners && !bare {
            return Err(Misfit::OwnersFeed);
        }
        if !owners && matches!(self.access(), Some(AccessOp::Discard { .. })) {
            return Err(Misfit::Discard);
        }
        Ok(())
    }
}

/// A thing whose signature verified. Only [`Header::verify`] makes one, and
/// [`Draft::sign`](super::Draft::sign) of what it signs itself; so who asks for it needn't check,
/// and can't forget to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// More bytes than any header has.
    #[error("a header has at most 12,288 bytes, not {len}")]
    TooLong {
        /// Length found, in bytes.
        len: usize,
    },
    /// Written by a later release.
    #[error("header version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// Flags that have no meaning.
    #[error("flags of {flags:#010b} are not known here")]
    Flags {
        /// Flags found.
        flags: u8,
    },
    /// The number is zero.
    #[error("the numbers of entries begin at 1")]
    Number,
    /// A first header that follows another, or a later one that follows none.
    #[error("all headers but the first follow another")]
    Previous,
    /// The payload's length, number of groups and root don't go together or exceed their bounds.
    #[error("what the header says of its payload can't be")]
    Content,
    /// Frontier rows out of order, of the feed itself, too many, or of no entry.
    #[error("the frontier breaks its rules")]
    Frontier,
    /// The authority is missing, or stands where none belongs, or is no entry's name.
    #[error("the first header states an authority, and no others")]
    Authority,
    /// The operation on access breaks its rules.
    #[error("the operation on access breaks its rules")]
    Access(#[from] AccessError),
    /// Too short, too long, or a length out of bounds.
    #[error("the header is torn")]
    Torn(#[from] WireError),
}

/// Why a header can't come next after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Another space, author or incarnation.
    #[error("the headers are of different feeds")]
    OtherFeed,
    /// Its number isn't the next.
    #[error("the numbers of a feed have no gap")]
    Number,
    /// It links to another header.
    #[error("the header does not link to the one before it")]
    Link,
    /// Its time isn't later.
    #[error("times rise strictly along a feed")]
    Time,
}

/// Why a header can't stand in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// It is of another space.
    #[error("the header is of another space")]
    OtherSpace,
    /// An owner's own feed holds more than headers with changes of access.
    #[error("an owner's own feed has no payloads and no frontiers")]
    OwnersFeed,
    /// Somebody else than an owner discards payloads.
    #[error("only an owner's own feed discards payloads")]
    Discard,
}
