//! Messages: what two replicas of a space say to each other.

use aether_core::wire::{Reader, WireError, Writer, from_cbor, to_cbor};
use minicbor::{
    Decode, Encode,
    bytes::{ByteArray, ByteVec},
};

use super::Row;
use crate::proto::{
    entry::{MAX_HEADER, MAX_PAYLOAD},
    id::EntryId,
};

/// Most rows in one message.
pub const MAX_ROWS: usize = 256;

/// Most entries that one acknowledgement names as not taken.
pub const MAX_NOT: usize = 64;

/// Longest message, in bytes: the largest entry, and what surrounds it.
pub const MAX_MESSAGE: usize = MAX_HEADER + MAX_PAYLOAD + 64;

/// An entry's name, as [`EntryId::write`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Named(#[n(0)] ByteArray<{ EntryId::LEN }>);

impl From<EntryId> for Named {
    fn from(id: EntryId) -> Self {
        let mut writer = Writer::with_capacity(EntryId::LEN);
        id.write(&mut writer);
        Self(ByteArray::from(writer.finish().try_into().unwrap_or([0; EntryId::LEN])))
    }
}

impl From<Named> for EntryId {
    fn from(Named(bytes): Named) -> Self {
        let bytes: [u8; Self::LEN] = bytes.into();
        Self::read(&mut Reader::new(&bytes)).expect("all names of this length are read")
    }
}

/// What a replica says to another over one ordered, reliable stream. On the wire a CBOR array that
/// begins with its number; one that isn't known is skipped, so that a later release can add one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Message {
    /// This is what I hold, in one hash. At most 60 bytes.
    #[n(0)]
    Hello {
        /// 1; whoever speaks a later version says what it likes here.
        #[n(0)]
        version: u8,
        /// Whether the other is to answer with its own.
        #[n(1)]
        asks: bool,
        /// The [digest](super::digest) of all rows.
        #[n(2)]
        digest: ByteArray<32>,
        /// How many feeds there are.
        #[n(3)]
        feeds: u32,
    },
    /// This is what I hold of each feed.
    #[n(2)]
    Rows {
        /// Whether these are only the rows that differ from those of the other, empty ones among
        /// them; else all that there are.
        #[n(0)]
        differing: bool,
        /// Whether no more follow.
        #[n(1)]
        last: bool,
        /// At most [`MAX_ROWS`], as [`write_rows`](super::write_rows) wrote them, ascending.
        #[n(2)]
        rows: ByteVec,
    },
    /// An entry.
    #[n(3)]
    Entry {
        /// Which of this session, from 1 and without gaps.
        #[n(0)]
        n: u64,
        /// [`Header::encode`](crate::proto::entry::Header::encode).
        #[n(1)]
        header: ByteVec,
        /// Its payload; nothing, if that was discarded.
        #[n(2)]
        payload: ByteVec,
    },
    /// What became of entries.
    #[n(5)]
    Ack {
        /// All up to this one are synced, but for those in `not`.
        #[n(0)]
        upto: u64,
        /// Those that weren't taken, through nobody's fault: at most [`MAX_NOT`], ascending.
        #[n(1)]
        not: Vec<u64>,
    },
    /// Two headers of one number and feed: its author forked it.
    #[n(7)]
    Evidence {
        /// The one with the smaller hash.
        #[n(0)]
        first: ByteVec,
        /// The other.
        #[n(1)]
        second: ByteVec,
    },
    /// Send me an entry, which a removal pins or which leads to a pin, and what it descends from.
    #[n(8)]
    Ask {
        /// Which.
        #[n(0)]
        entry: Named,
        /// What has this number or a lower one isn't needed.
        #[n(1)]
        floor: u64,
    },
    /// The first header of a feed of which nothing is kept any more, and that the entry cites which
    /// comes next.
    #[n(9)]
    Credential {
        /// [`Header::encode`](crate::proto::entry::Header::encode).
        #[n(0)]
        header: ByteVec,
    },
}

/// The numbers of messages of this release.
const NUMBERS: [u32; 7] = [0, 2, 3, 5, 7, 8, 9];

impl Message {
    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        to_cbor(self)
    }

    /// Reads a message; `None` if it is of a later release. What it holds is within its bounds, and
    /// not looked at further.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        within(bytes.len(), MAX_MESSAGE)?;
        let mut ahead = minicbor::Decoder::new(bytes);
        ahead.array().map_err(|_| WireError::Cbor)?;
        let number = ahead.u32().map_err(|_| WireError::Cbor)?;
        if !NUMBERS.contains(&number) {
            return Ok(None);
        }
        let message: Self = from_cbor(bytes)?;
        message.check()?;
        Ok(Some(message))
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Rows { rows, .. } => within(rows.len(), MAX_ROWS * Row::MAX),
            Self::Entry { header, payload, .. } => {
                within(header.len(), MAX_HEADER)?;
                within(payload.len(), MAX_PAYLOAD)
            }
            Self::Ack { not, .. } => within(not.len(), MAX_NOT),
            Self::Evidence { first, second } => {
                within(first.len(), MAX_HEADER)?;
                within(second.len(), MAX_HEADER)
            }
            Self::Credential { header } => within(header.len(), MAX_HEADER),
            Self::Hello { .. } | Self::Ask { .. } => Ok(()),
        }
    }
}

fn within(len: usize, max: usize) -> Result<(), WireError> {
    if len > max { Err(WireError::TooLong { len, max }) } else { Ok(()) }
}
