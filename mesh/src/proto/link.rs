//! The link: small datagrams between two connected nodes, beside gossip.
//!
//! A frame is delivered at most once, in no promised order; a protocol that needs an answer asks
//! again. Frames are CBOR (RFC 8949): an array of a kind and a map with integer keys, so that a
//! later release can add keys that this one skips, and kinds that this one ignores.
//!
//! | kind | frame | says |
//! |---|---|---|
//! | 0 | [`Tips`] | of these streams I hold everything below `next` |
//! | 1 | [`Want`] | send me these envelopes |
//! | 2 | [`Have`] | envelopes that you wanted |
//! | 3 | roster | see [`roster::Message`] |
//! | 4 | services | see [`directory::Message`] |
//! | 5 | access | see [`access::Message`] |
//! | 6 | blobs | see [`Here`] |

use aether_core::{
    Hash, PublicKey,
    wire::{WireError, from_cbor, to_cbor},
};
use minicbor::{Decode, Encode, bytes::ByteArray, bytes::ByteVec};

use super::{access, blob::finder::Here, envelope::TopicId, roster, service::directory};

/// Largest frame, in bytes. The transport refuses a larger one before it allocates.
pub const MAX_FRAME: usize = 256 * 1024;

/// Most entries in one [`Tips`] or [`Want`].
pub const MAX_ENTRIES: usize = 64;

/// What one neighbour says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// What the sender holds.
    Tips(Tips),
    /// What the sender lacks.
    Want(Want),
    /// What the receiver lacked.
    Have(Have),
    /// Who is alive.
    Roster(roster::Message),
    /// Who serves what.
    Services(directory::Message),
    /// Who may be here.
    Access(access::Message),
    /// Who holds which blob.
    Blobs(Here),
}

/// How far the sender has each stream of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tips {
    /// The topic.
    pub topic: TopicId,
    /// At most [`MAX_ENTRIES`] streams.
    pub tips: Vec<Tip>,
}

/// Everything below `next` of one author's stream is held, or given up as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Whose stream.
    pub author: PublicKey,
    /// Of which life.
    pub incarnation: u64,
    /// The first number that isn't settled.
    pub next: u64,
}

/// A request for envelopes from the receiver's recent cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The topic.
    pub topic: TopicId,
    /// Whose stream.
    pub author: PublicKey,
    /// Of which life.
    pub incarnation: u64,
    /// Numbers wanted, ascending, at most [`MAX_ENTRIES`].
    pub numbers: Vec<u64>,
}

/// Whole envelopes, each checked by its receiver like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have {
    /// The topic.
    pub topic: TopicId,
    /// As many of the wanted ones as were there and fit.
    pub envelopes: Vec<Vec<u8>>,
}

/// Why bytes aren't a frame that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A kind of a later release: ignored, and nobody is blamed.
    #[error("frame kind {kind} is not known here")]
    UnknownKind {
        /// Kind found.
        kind: u64,
    },
    /// Not a frame.
    #[error("the frame is malformed")]
    Malformed(#[from] WireError),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct TipsBody {
    #[n(0)]
    topic: ByteArray<32>,
    #[n(1)]
    tips: Vec<TipBody>,
}

#[derive(Encode, Decode)]
struct TipBody {
    #[n(0)]
    author: ByteArray<32>,
    #[n(1)]
    incarnation: u64,
    #[n(2)]
    next: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WantBody {
    #[n(0)]
    topic: ByteArray<32>,
    #[n(1)]
    author: ByteArray<32>,
    #[n(2)]
    incarnation: u64,
    #[n(3)]
    numbers: Vec<u64>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct HaveBody {
    #[n(0)]
    topic: ByteArray<32>,
    #[n(1)]
    envelopes: Vec<ByteVec>,
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Tips(tips) => to_cbor(&(0u64, TipsBody::from(tips))),
            Self::Want(want) => to_cbor(&(1u64, WantBody::from(want))),
            Self::Have(have) => to_cbor(&(2u64, HaveBody::from(have))),
            Self::Roster(message) => to_cbor(&(3u64, message)),
            Self::Services(message) => to_cbor(&(4u64, message)),
            Self::Access(message) => to_cbor(&(5u64, message)),
            Self::Blobs(here) => to_cbor(&(6u64, here)),
        }
    }

    /// Reads a frame. The bytes are bounded by [`MAX_FRAME`] where they arrive.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let length = decoder.array().map_err(|_| WireError::Cbor)?;
        if length != Some(2) {
            return Err(WireError::Cbor.into());
        }
        let kind = decoder.u64().map_err(|_| WireError::Cbor)?;
        let body = &bytes[decoder.position()..];
        let frame = match kind {
            0 => Self::Tips(from_cbor::<TipsBody>(body)?.into()),
            1 => Self::Want(from_cbor::<WantBody>(body)?.into()),
            2 => Self::Have(from_cbor::<HaveBody>(body)?.into()),
            3 => Self::Roster(from_cbor(body)?),
            4 => Self::Services(from_cbor(body)?),
            5 => match access::Message::decode(body)? {
                Some(message) => Self::Access(message),
                None => return Err(FrameError::UnknownKind { kind }),
            },
            6 => Self::Blobs(from_cbor(body)?),
            kind => return Err(FrameError::UnknownKind { kind }),
        };
        match &frame {
            Self::Tips(tips) if tips.tips.len() > MAX_ENTRIES => Err(too_many(tips.tips.len())),
            Self::Want(want) if want.numbers.len() > MAX_ENTRIES => {
                Err(too_many(want.numbers.len()))
            }
            _ => Ok(frame),
        }
    }
}

fn too_many(len: usize) -> FrameError {
    WireError::TooLong { len, max: MAX_ENTRIES }.into()
}

impl From<&Tips> for TipsBody {
    fn from(tips: &Tips) -> Self {
        let tip = |tip: &Tip| TipBody {
            author: (*tip.author.as_bytes()).into(),
            incarnation: tip.incarnation,
            next: tip.next,
        };
        Self { topic: topic_out(&tips.topic), tips: tips.tips.iter().map(tip).collect() }
    }
}

impl From<TipsBody> for Tips {
    fn from(body: TipsBody) -> Self {
        let tip = |tip: TipBody| Tip {
            author: PublicKey::from_bytes(tip.author.into()),
            incarnation: tip.incarnation,
            next: tip.next,
        };
        Self { topic: topic_in(body.topic), tips: body.tips.into_iter().map(tip).collect() }
    }
}

impl From<&Want> for WantBody {
    fn from(want: &Want) -> Self {
        Self {
            topic: topic_out(&want.topic),
            author: (*want.author.as_bytes()).into(),
            incarnation: want.incarnation,
            numbers: want.numbers.clone(),
        }
    }
}

impl From<WantBody> for Want {
    fn from(body: WantBody) -> Self {
        Self {
            topic: topic_in(body.topic),
            author: PublicKey::from_bytes(body.author.into()),
            incarnation: body.incarnation,
            numbers: body.numbers,
        }
    }
}

impl From<&Have> for HaveBody {
    fn from(have: &Have) -> Self {
        let envelopes = have.envelopes.iter().cloned().map(ByteVec::from).collect();
        Self { topic: topic_out(&have.topic), envelopes }
    }
}

impl From<HaveBody> for Have {
    fn from(body: HaveBody) -> Self {
        let envelopes = body.envelopes.into_iter().map(Vec::from).collect();
        Self { topic: topic_in(body.topic), envelopes }
    }
}

fn topic_out(topic: &TopicId) -> ByteArray<32> {
    (*topic.as_hash().as_bytes()).into()
}

fn topic_in(bytes: ByteArray<32>) -> TopicId {
    TopicId::from_hash(Hash::from_bytes(bytes.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic() -> TopicId {
        TopicId::from_hash(Hash::from_bytes([9; 32]))
    }

    fn frames() -> Vec<Frame> {
        let author = PublicKey::from_bytes([1; 32]);
        let tip = Tip { author, incarnation: 5, next: 6 };
        vec![
            Frame::Tips(Tips { topic: topic(), tips: vec![tip] }),
            Frame::Want(Want { topic: topic(), author, incarnation: 5, numbers: vec![6, 8] }),
            Frame::Have(Have { topic: topic(), envelopes: vec![b"one".to_vec(), vec![]] }),
            Frame::Roster(roster::Message::Ping { number: 3, updates: vec![] }),
            Frame::Services(directory::Message::Ask { below: 9 }),
            Frame::Blobs(Here { nonce: 3, held: 3, whole: 1 }),
            Frame::Access(access::Message::Ask),
            Frame::Access(access::Message::Want { held: vec![7; 32].into() }),
        ]
    }

    #[test]
    fn frames_round_trip() {
        for frame in frames() {
            assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn cut_frames_are_malformed() {
        for frame in frames() {
            let bytes = frame.encode();
            for cut in 0..bytes.len() {
                assert!(Frame::decode(&bytes[..cut]).is_err(), "{frame:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_later_release_may_add_keys_and_kinds() {
        // Kind 0 with a key 7 that this release doesn't know.
        let mut bytes = vec![0x82, 0x00, 0xa3, 0x00, 0x58, 0x20];
        bytes.extend([9; 32]);
        bytes.extend([0x01, 0x80, 0x07, 0x63, b'n', b'e', b'w']);
        assert_eq!(Frame::decode(&bytes), Ok(Frame::Tips(Tips { topic: topic(), tips: vec![] })));
        let newer = to_cbor(&(99u64, "whatever"));
        assert_eq!(Frame::decode(&newer), Err(FrameError::UnknownKind { kind: 99 }));
    }

    #[test]
    fn entries_are_bounded() {
        let tip = Tip { author: PublicKey::from_bytes([1; 32]), incarnation: 1, next: 1 };
        let frame = Frame::Tips(Tips { topic: topic(), tips: vec![tip; MAX_ENTRIES + 1] });
        assert!(matches!(Frame::decode(&frame.encode()), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_length_that_a_remote_names_is_not_believed() {
        // An array of 2^60 tips, of which none arrives.
        let mut bytes = vec![0x82, 0x00, 0xa2, 0x00, 0x58, 0x20];
        bytes.extend([9; 32]);
        bytes.extend([0x01, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert!(Frame::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::decode(&bytes);
        }
    }
}
