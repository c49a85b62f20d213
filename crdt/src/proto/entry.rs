//! Entries: what an author signs, and what all replicas agree is valid.
//!
//! An entry is a [`Header`] and a [`Payload`]. The header is signed, links to the author's header
//! before it, and holds the root of a Merkle tree over the payload's operations, so that operations
//! may be dropped later and what is kept still be shown against the original header.
//!
//! **Validity** is a function of the entry and of its own feed, below it, and of nothing else: not
//! of other feeds, the clock, or who delivered it. So all replicas agree on it for ever. Every
//! limit here is therefore part of the format, and not configuration. The rules, and who checks
//! them, cheapest first:
//!
//! 1. **Layout and limits** of what is read: [`Header::decode`].
//! 2. **Signature**: [`Header::verify`], which alone makes a [`Checked`] header of one that was
//!    received.
//! 3. **Chain**: space, feed, number, link, time and authority follow the header before:
//!    [`Header::follows`].
//! 4. **Space**: [`Header::fits`], which also keeps owners' own feeds to headers.
//! 5. **Payload**: [`Entry::new`], which makes an entry of a checked header and a payload that is
//!    the header's; or [`Entry::bare`], of one whose payload was discarded.
//!
//! An author makes its entries by a [`Draft`], which keeps all these rules. Integers are big endian
//! everywhere; one value has one encoding.
//!
//! ```
//! use aether_core::SecretKey;
//! use aether_crdt::proto::entry::{Authority, Collection, Draft, Entry, Header, Kind};
//! use aether_crdt::proto::entry::{Payload, Place};
//! use aether_crdt::proto::{id::FeedId, space::Genesis, space::Mode, time::Wall};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A space that everyone may write to.
//! let owner = SecretKey::from_bytes([1; 32]);
//! let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [owner.public()])?;
//!
//! // An author begins a feed in it. Salt and incarnation are random in earnest.
//! let (author, now) = (SecretKey::from_bytes([2; 32]), Wall::from_millis(1_800_000_000_000));
//! let feed = FeedId::begin(author.public(), now, 0x1234);
//! let mut draft = Draft::new();
//! draft.op(Collection::new(Kind::Set, "names"), b"Ada".to_vec())?;
//! let place = Place::first(genesis.space_id(), feed, Authority::Genesis);
//! let entry = draft.sign(&author, place, now)?;
//! let (header, payload) = (entry.header().encode(), entry.payload().as_bytes().to_vec());
//!
//! // Whoever receives the bytes checks all that can be checked.
//! let header = Header::decode(&header)?.verify()?;
//! header.fits(&genesis, Authority::Genesis)?;
//! assert_eq!(Entry::new(header, Payload::decode(payload)?)?, entry);
//! # Ok(())
//! # }
//! ```

mod access;
mod body;
mod draft;
mod header;
mod payload;

pub use self::{
    access::{AccessError, AccessOp, FeedPin, MAX_ACCESS_OP, MAX_OVER, MAX_PINS, MAX_RUNS, Run},
    body::{Authority, Content, MAX_FRONTIER, MAX_ROWS_PER_FEED},
    draft::{Draft, DraftError, Place},
    header::{Broken, Checked, Header, HeaderError, MAX_HEADER, Misfit},
    payload::{
        Collection, CollectionId, Group, Kind, MAX_GROUPS, MAX_OPS, MAX_PAYLOAD, Payload,
        PayloadError,
    },
};

/// An entry that is valid by itself: a checked header with the payload that it commits to, or
/// [bare](Self::bare).
///
/// Whether it follows its feed and fits its space is for [`Header::follows`] and [`Header::fits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    header: Checked<Header>,
    payload: Payload,
}

impl Entry {
    /// Puts together what belongs together: the payload's length, number of groups and root are
    /// those that the header states. Hashes the payload, some milliseconds a MiB.
    pub fn new(header: Checked<Header>, payload: Payload) -> Result<Self, PayloadError> {
        if payload.content() != header.content() {
            return Err(PayloadError::OtherHeader);
        }
        Ok(Self { header, payload })
    }

    /// An entry whose payload nobody keeps, as an owner [discarded](AccessOp::Discard) it: it
    /// stands in its place, and does nothing.
    pub fn bare(header: Checked<Header>) -> Self {
        Self { header, payload: Payload::default() }
    }

    /// Whether its payload was discarded.
    pub fn is_bare(&self) -> bool {
        self.payload.as_bytes().is_empty() && !self.header.content().is_empty()
    }

    /// The header.
    pub const fn header(&self) -> &Checked<Header> {
        &self.header
    }

    /// The payload; an empty one, if it was discarded.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }
}

#[cfg(test)]
mod tests;
