//! What a blob is called: the hash of its content.

use std::{fmt, str::FromStr};

use crate::{Hash, ParseHashError};

/// The BLAKE3 hash of a blob's content, whatever its size. Displayed as lower-case hexadecimal.
///
/// It is the plain hash, without a [`Domain`](crate::Domain), so that any BLAKE3 tool computes it;
/// nothing else in Aether is hashed so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The id of this content.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// Takes 32 bytes for an id.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hash::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({:?})", Hash::from_bytes(self.0))
    }
}

impl FromStr for BlobId {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        text.parse().map(|hash: Hash| Self(*hash.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_plain_blake3() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(BlobId::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(BlobId::of(b"")));
        assert_eq!(empty.to_uppercase().parse::<BlobId>(), Err(ParseHashError));
    }
}
