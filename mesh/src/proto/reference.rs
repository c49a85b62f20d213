//! References: what travels in a topic's envelope in place of a message that is too large for one.
//!
//! The message itself is a blob: its CBOR encoding, called by its BLAKE3 hash. The reference is an
//! item of the envelope's CBOR sequence like any other, so that who doesn't know it passes over it:
//!
//! | bytes | CBOR (RFC 8949) |
//! |---|---|
//! | `da 61 65 74 68` | tag 1,634,038,888 ("aeth"), which is nobody else's in the registry of IANA |
//! | `82` | an array of two |
//! | 5 or 9 | the size of the encoding in bytes, as an unsigned integer, shortest form; over 65,536 |
//! | `58 20`, 32 | the hash, as a byte string |

use aether_core::BlobId;
use minicbor::{Decoder, Encoder, data::Tag, decode};

use super::envelope::MAX_PAYLOAD;

/// The tag of a reference. No message may begin with it.
pub const TAG: u64 = 0x6165_7468;

const HEAD: [u8; 5] = [0xda, b'a', b'e', b't', b'h'];

/// What stands for a large message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The blob that is the message's encoding.
    pub id: BlobId,
    /// Its size in bytes, as the author says.
    pub size: u64,
}

/// Why an item with the tag is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reference to a large message is malformed")]
pub struct Malformed;

impl Reference {
    /// Whether an item claims to be a reference.
    pub fn is_tagged(item: &[u8]) -> bool {
        item.starts_with(&HEAD)
    }

    /// The item that stands in an envelope.
    ///
    /// # Panics
    /// If the message would fit an envelope.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.size > MAX_PAYLOAD as u64, "small messages go as they are");
        let mut encoder = Encoder::new(Vec::new());
        let done = encoder.tag(Tag::new(TAG)).and_then(|encoder| encoder.array(2));
        let done = done.and_then(|encoder| encoder.u64(self.size));
        done.and_then(|encoder| encoder.bytes(self.id.as_bytes()))
            .expect("writing to memory does not fail");
        encoder.into_writer()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(item: &[u8]) -> Result<Self, Malformed> {
        let read = || -> Result<Self, decode::Error> {
            let mut decoder = Decoder::new(item);
            decoder.tag()?;
            decoder.array()?;
            let size = decoder.u64()?;
            let hash: [u8; 32] = decoder.bytes()?.try_into().map_err(decode::Error::custom)?;
            Ok(Self { id: BlobId::from_bytes(hash), size })
        };
        let found = read().map_err(|_| Malformed)?;
        // There is one way to write it.
        let is_exact = found.size > MAX_PAYLOAD as u64 && found.encode() == item;
        if is_exact { Ok(found) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(size: u64) -> Reference {
        Reference { id: BlobId::from_bytes([7; 32]), size }
    }

    #[test]
    fn references_have_these_bytes() {
        let mut expected = vec![0xda, 0x61, 0x65, 0x74, 0x68, 0x82, 0x1a, 0x00, 0x01, 0x11, 0x70];
        expected.extend([0x58, 0x20]);
        expected.extend([7; 32]);
        assert_eq!(reference(70_000).encode(), expected);
        for size in [65_537, 70_000, u64::from(u32::MAX) + 1, u64::MAX] {
            let encoded = reference(size).encode();
            assert!(Reference::is_tagged(&encoded));
            assert_eq!(Reference::decode(&encoded), Ok(reference(size)));
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_reference() {
        let encoded = reference(70_000).encode();
        for cut in 0..encoded.len() {
            assert_eq!(Reference::decode(&encoded[..cut]), Err(Malformed), "cut at {cut}");
        }
        let longer = [&encoded[..], &[0]].concat();
        assert_eq!(Reference::decode(&longer), Err(Malformed));
        // The size in a longer form than it needs, and one that needs no reference.
        let mut wide = encoded[..6].to_vec();
        wide.extend([0x1b, 0, 0, 0, 0, 0x00, 0x01, 0x11, 0x70]);
        wide.extend(&encoded[11..]);
        assert_eq!(Reference::decode(&wide), Err(Malformed));
        let mut small = encoded.clone();
        small[7..11].copy_from_slice(&[0, 1, 0, 0]);
        assert_eq!(Reference::decode(&small), Err(Malformed));
        assert_eq!(Reference::decode(&[0xff; 64]), Err(Malformed));
    }
}
