//! What finders say to each other.

use aether_core::{
    BlobId,
    wire::{self, WireError},
};
use minicbor::{Decode, Encode, bytes::ByteArray};

/// Most blobs in one look.
pub const MAX_IDS: usize = 16;

/// Most holders that one look asks for.
pub const MAX_ENOUGH: u8 = 16;

/// Largest [`Shout`], in bytes; keys of a later release included.
pub const MAX_SHOUT: usize = 1024;

/// What is said to everyone, on the topic. The envelope around it is signed by its author.
///
/// Encoded in CBOR as a flat array of a kind (0 look, 1 enough) and the fields, of which later
/// releases may add some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shout {
    /// Who holds any of these?
    Look {
        /// Drawn by the asker; names the look in its answers.
        nonce: u64,
        /// 1 to [`MAX_IDS`].
        ids: Vec<BlobId>,
        /// How many holders of each are wanted: 1 to [`MAX_ENOUGH`].
        enough: u8,
    },
    /// Nobody else needs to answer this look of mine.
    Enough {
        /// The look.
        nonce: u64,
    },
}

/// The answer to a look, directly to the asker.
///
/// Encoded in CBOR as an array of the fields, of which later releases may add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Here {
    /// The look's.
    #[n(0)]
    pub nonce: u64,
    /// Bit `i`: some of the look's `i`-th blob is held. Not zero.
    #[n(1)]
    pub held: u16,
    /// Bit `i`: all of it is. No bit that isn't in `held`.
    #[n(2)]
    pub whole: u16,
}

#[derive(Encode, Decode)]
#[cbor(flat)]
enum Wire {
    #[n(0)]
    Look {
        #[n(0)]
        nonce: u64,
        #[n(1)]
        ids: Vec<ByteArray<32>>,
        #[n(2)]
        enough: u8,
    },
    #[n(1)]
    Enough {
        #[n(0)]
        nonce: u64,
    },
}

impl Shout {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        wire::to_cbor(&match self {
            Self::Look { nonce, ids, enough } => {
                let ids = ids.iter().map(|id| (*id.as_bytes()).into()).collect();
                Wire::Look { nonce: *nonce, ids, enough: *enough }
            }
            Self::Enough { nonce } => Wire::Enough { nonce: *nonce },
        })
    }

    /// Reads what [`encode`](Self::encode) wrote, and checks its bounds. Takes memory in
    /// proportion to the bytes, which it refuses beyond [`MAX_SHOUT`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_SHOUT {
            return Err(WireError::TooLong { len: bytes.len(), max: MAX_SHOUT });
        }
        match wire::from_cbor(bytes)? {
            Wire::Look { nonce, ids, enough } => {
                let are_few = (1..=MAX_IDS).contains(&ids.len());
                if !are_few || !(1..=MAX_ENOUGH).contains(&enough) {
                    return Err(WireError::TooLong { len: ids.len(), max: MAX_IDS });
                }
                let ids = ids.into_iter().map(|id| BlobId::from_bytes(id.into())).collect();
                Ok(Self::Look { nonce, ids, enough })
            }
            Wire::Enough { nonce } => Ok(Self::Enough { nonce }),
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn golden_vectors() {
        let ids = vec![BlobId::from_bytes([0xaa; 32]), BlobId::from_bytes([0xbb; 32])];
        let here = Here { nonce: 7, held: 0b11, whole: 0b10 };
        let found = [
            ("look", Shout::Look { nonce: 7, ids, enough: 8 }.encode()),
            ("enough", Shout::Enough { nonce: 7 }.encode()),
            ("here", wire::to_cbor(&here)),
        ];
        let golden = include_str!("../../../../tests/golden/blob-finder-v1.txt");
        let lines = golden.lines().filter(|line| !line.starts_with('#'));
        let found = found.map(|(name, bytes)| format!("{name} {}", HEXLOWER.encode(&bytes)));
        assert_eq!(found.to_vec(), lines.collect::<Vec<_>>());
        assert_eq!(wire::from_cbor(&wire::to_cbor(&here)), Ok(here));
    }

    #[test]
    fn looks_have_bounds() {
        let look = |ids: usize, enough| {
            let ids = vec![BlobId::from_bytes([1; 32]); ids];
            Shout::decode(&Shout::Look { nonce: 1, ids, enough }.encode()).is_ok()
        };
        assert!(look(1, 1) && look(MAX_IDS, MAX_ENOUGH));
        assert!(!look(0, 1) && !look(MAX_IDS + 1, 1) && !look(1, 0) && !look(1, MAX_ENOUGH + 1));
        assert!(Shout::decode(&[0; MAX_SHOUT + 1]).is_err());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(
            nonce: u64,
            ids in vec(any::<[u8; 32]>(), 1..=MAX_IDS),
            enough in 1..=MAX_ENOUGH,
        ) {
            let ids = ids.into_iter().map(BlobId::from_bytes).collect();
            for shout in [Shout::Look { nonce, ids, enough }, Shout::Enough { nonce }] {
                prop_assert_eq!(Shout::decode(&shout.encode()), Ok(shout));
            }
        }

        #[test]
        fn hostile_bytes_are_harmless(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Shout::decode(&bytes);
            let _ = wire::from_cbor::<Here>(&bytes);
        }
    }
}
