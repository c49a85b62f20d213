//! The signed envelope: what travels on a topic.
//!
//! An envelope carries one author's messages, in order, on one topic. It is the unit of signing,
//! of gossip, of deduplication and of repair. Version 1, byte by byte, integers big endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 32 | author: Ed25519 public key |
//! | 33 | 8 | incarnation: one life of the author's node; a later life has a larger one (milliseconds since the Unix epoch at its start) |
//! | 41 | 8 | number of this envelope, from 1, counted by author, incarnation and topic |
//! | 49 | 8 | number of its first message, from 1, counted likewise |
//! | 57 | 8 | time of sealing, milliseconds since the Unix epoch |
//! | 65 | n | payload: a CBOR sequence (RFC 8742) of one or more messages, at most 65,536 bytes |
//! | 65 + n | 64 | Ed25519 signature |
//!
//! The signature is over 32 bytes: BLAKE3 in its key derivation mode with the context
//! `aether 2026-11 envelope v1`, of the mesh id (32 bytes), the topic id (32 bytes) and all bytes
//! of the envelope before the signature. The topic id is BLAKE3 in the same mode with the context
//! `aether 2026-11 topic v1`, of the mesh id and the topic's name in UTF-8. Gossipsub carries the
//! topic under the first 20 bytes of its id in lower-case hexadecimal, and an envelope under a
//! message id of the first 20 bytes of BLAKE3, context `aether 2026-11 gossip id v1`, of that
//! topic string and the whole envelope.
//!
//! There is one way to write an envelope, and verification is strict, so nobody but the author can
//! make a second envelope with the same content.

use std::fmt;

use aether_core::{
    Domain, Hash, MeshId, PublicKey, SecretKey, Signature,
    wire::{Reader, WireError, Writer, count_cbor_sequence},
};
use bytes::Bytes;

const ENVELOPE: Domain = Domain::new("aether 2026-11 envelope v1");
const TOPIC: Domain = Domain::new("aether 2026-11 topic v1");
const GOSSIP_ID: Domain = Domain::new("aether 2026-11 gossip id v1");

const HEADER: usize = 65;

/// Bytes of an envelope beside its payload.
pub const OVERHEAD: usize = HEADER + Signature::LEN;

/// Largest payload of an envelope, and so largest encoded message, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// The topic of one name in one mesh.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(Hash);

impl TopicId {
    /// The id of the topic `name` in `mesh`.
    pub fn new(mesh: &MeshId, name: &str) -> Self {
        let mut hasher = TOPIC.hasher();
        hasher.update(mesh.as_hash().as_ref()).update(name.as_bytes());
        Self(hasher.finish())
    }

    /// Takes a hash for a topic id.
    pub const fn from_hash(hash: Hash) -> Self {
        Self(hash)
    }

    /// The hash itself.
    pub const fn as_hash(&self) -> &Hash {
        &self.0
    }

    /// What gossipsub calls the topic: short, because all subscriptions share one 16 KiB message.
    pub fn gossip_name(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0.as_bytes()[..20])
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {:?}", self.0)
    }
}

/// Gossipsub's message id of an envelope: over every byte, signature included, so that a forgery
/// never has the id of the original.
pub fn gossip_id(gossip_name: &str, envelope: &[u8]) -> [u8; 20] {
    let hash = GOSSIP_ID.hasher().update(gossip_name.as_bytes()).update(envelope).finish();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// A decoded envelope. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who signed it.
    pub author: PublicKey,
    /// The life of the author's node that it comes from.
    pub incarnation: u64,
    /// Its number in the author's stream on the topic.
    pub number: u64,
    /// The number of its first message.
    pub first: u64,
    /// When it was sealed by the author's clock, in milliseconds since the Unix epoch.
    pub time: u64,
    /// How many messages it holds.
    pub count: u64,
    bytes: Bytes,
}

/// What an author says of a new envelope.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// See [`Envelope::incarnation`].
    pub incarnation: u64,
    /// See [`Envelope::number`].
    pub number: u64,
    /// See [`Envelope::first`].
    pub first: u64,
    /// See [`Envelope::time`].
    pub time: u64,
}

impl Envelope {
    /// Signs messages, already encoded as a CBOR sequence.
    ///
    /// # Panics
    /// If the payload is empty, over [`MAX_PAYLOAD`] or not well-formed: the outbox makes sure.
    pub fn seal(
        key: &SecretKey,
        mesh: &MeshId,
        topic: &TopicId,
        header: Header,
        payload: &[u8],
    ) -> Self {
        assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD, "the outbox bounds payloads");
        let author = key.public();
        let mut writer = Writer::with_capacity(OVERHEAD + payload.len());
        writer.u8(1).array(author.as_bytes());
        writer.u64(header.incarnation).u64(header.number).u64(header.first).u64(header.time);
        writer.slice(payload);
        let signed = writer.finish();
        let signature = key.sign(&digest(mesh, topic, &signed));
        let mut bytes = signed;
        bytes.extend_from_slice(signature.as_bytes());
        Self::decode(bytes.into()).expect("what was just sealed is well-formed")
    }

    /// Reads the layout. Proves nothing about who wrote it: see [`verify`](Self::verify).
    pub fn decode(bytes: Bytes) -> Result<Self, EnvelopeError> {
        // Before the version: no release may send more under this topic name.
        if bytes.len() > OVERHEAD + MAX_PAYLOAD {
            return Err(EnvelopeError::TooLarge { len: bytes.len() - OVERHEAD });
        }
        let mut reader = Reader::new(&bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(EnvelopeError::Version { version });
        }
        let author = PublicKey::from_bytes(reader.array()?);
        let (incarnation, number, first) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let time = reader.u64()?;
        let rest = reader.rest();
        let payload_len = rest.len().checked_sub(Signature::LEN).ok_or(WireError::TooShort)?;
        let count = count_cbor_sequence(&rest[..payload_len])? as u64;
        // The numbers that follow have to exist as well: a stream counts up to them.
        let followed = number.checked_add(1).and_then(|_| first.checked_add(count));
        if count == 0 || number == 0 || first == 0 || followed.is_none() {
            return Err(EnvelopeError::Empty);
        }
        Ok(Self { author, incarnation, number, first, time, count, bytes })
    }

    /// Checks the signature: made by the author, in this mesh, on this topic. Some 60 µs.
    pub fn verify(
        &self,
        mesh: &MeshId,
        topic: &TopicId,
    ) -> Result<(), aether_core::InvalidSignature> {
        let (signed, signature) = self.bytes.split_at(self.bytes.len() - Signature::LEN);
        let signature = signature.try_into().expect("the split leaves 64 bytes");
        self.author.verify(&digest(mesh, topic, signed), &Signature::from_bytes(signature))
    }

    /// The whole envelope as it travels.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The messages: a well-formed CBOR sequence.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER..self.bytes.len() - Signature::LEN)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}/{}/{} ({} messages)",
            self.author, self.incarnation, self.number, self.count
        )
    }
}

fn digest(mesh: &MeshId, topic: &TopicId, signed: &[u8]) -> Hash {
    let mut hasher = ENVELOPE.hasher();
    hasher.update(mesh.as_hash().as_ref()).update(topic.0.as_ref()).update(signed);
    hasher.finish()
}

/// Why bytes are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Written by a later release: not understood, and no reason to blame who forwards it.
    #[error("envelope version {version} is not known here")]
    Version {
        /// Version found.
        version: u8,
    },
    /// The payload is over the limit.
    #[error("a payload of {len} bytes exceeds the limit of {MAX_PAYLOAD}")]
    TooLarge {
        /// Length found.
        len: usize,
    },
    /// No messages, or a number that can't be.
    #[error("an envelope holds at least one message, and counts from 1")]
    Empty,
    /// Too short, or the payload isn't a CBOR sequence.
    #[error("the envelope is malformed")]
    Malformed(#[from] WireError),
}

#[cfg(test)]
mod tests {
    use aether_core::Genesis;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn mesh() -> MeshId {
        Genesis::open("aether").unwrap().mesh_id()
    }

    fn sealed() -> (TopicId, Envelope) {
        let topic = TopicId::new(&mesh(), "greetings");
        let header =
            Header { incarnation: 1_700_000_000_000, number: 3, first: 7, time: 1_700_000_000_999 };
        // CBOR text "hello" and unsigned 42.
        let payload = b"\x65hello\x18\x2a";
        let key = SecretKey::from_bytes([7; 32]);
        (topic, Envelope::seal(&key, &mesh(), &topic, header, payload))
    }

    /// Another language can check itself against these.
    #[test]
    fn golden_vector() {
        let (topic, envelope) = sealed();
        let golden = include_str!("../../tests/golden/envelope-v1.txt");
        let expected: Vec<&str> = golden
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(' ').unwrap().1)
            .collect();
        let name = topic.gossip_name();
        let found = [
            mesh().to_string(),
            topic.as_hash().to_string(),
            name.clone(),
            HEXLOWER.encode(envelope.bytes()),
            HEXLOWER.encode(&gossip_id(&name, envelope.bytes())),
        ];
        assert_eq!(found.as_slice(), expected.as_slice());
    }

    #[test]
    fn decoding_undoes_sealing() {
        let (topic, envelope) = sealed();
        let decoded = Envelope::decode(envelope.bytes().clone()).unwrap();
        assert_eq!(decoded, envelope);
        assert_eq!((decoded.number, decoded.first, decoded.count), (3, 7, 2));
        assert_eq!(&decoded.payload()[..], b"\x65hello\x18\x2a");
        assert!(decoded.verify(&mesh(), &topic).is_ok());
    }

    #[test]
    fn every_byte_is_signed() {
        let (topic, envelope) = sealed();
        for at in 0..envelope.bytes().len() {
            let mut bytes = envelope.bytes().to_vec();
            bytes[at] ^= 1;
            if let Ok(changed) = Envelope::decode(bytes.into()) {
                assert!(changed.verify(&mesh(), &topic).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn mesh_and_topic_are_signed() {
        let (topic, envelope) = sealed();
        let other = Genesis::open("other").unwrap().mesh_id();
        assert!(envelope.verify(&other, &topic).is_err());
        assert!(envelope.verify(&mesh(), &TopicId::new(&mesh(), "others")).is_err());
    }

    #[test]
    fn malformed_envelopes_are_told_apart_from_newer_ones() {
        let (_, envelope) = sealed();
        let bytes = envelope.bytes().to_vec();
        let decode = |bytes: &[u8]| Envelope::decode(Bytes::copy_from_slice(bytes));
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(EnvelopeError::Version { version: 2 }));
        // No message at all, and a message that is cut short.
        let empty = [&bytes[..HEADER], &bytes[bytes.len() - 64..]].concat();
        assert_eq!(decode(&empty), Err(EnvelopeError::Empty));
        let cut = [&bytes[..HEADER + 3], &bytes[bytes.len() - 64..]].concat();
        assert_eq!(decode(&cut), Err(EnvelopeError::Malformed(WireError::Cbor)));
        let large = [&bytes[..HEADER], &[0; MAX_PAYLOAD + 1], &bytes[..64]].concat();
        assert_eq!(decode(&large), Err(EnvelopeError::TooLarge { len: MAX_PAYLOAD + 1 }));
        for byte in [0, 0xff] {
            let mut number = bytes.clone();
            number[41..49].fill(byte);
            assert_eq!(decode(&number), Err(EnvelopeError::Empty));
            let mut first = bytes.clone();
            first[49..57].fill(byte);
            assert_eq!(decode(&first), Err(EnvelopeError::Empty));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = 1;
            }
            if let Ok(envelope) = Envelope::decode(bytes.into()) {
                let _ = envelope.verify(&mesh(), &TopicId::new(&mesh(), "t"));
            }
        }
    }
}
