//! The name of a blob.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;

/// The BLAKE3 hash of a blob's content, in no domain: what every tool that hashes files by BLAKE3
/// says of the same bytes. Displayed as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes 32 bytes for a blob's name.
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
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({})", HEXLOWER.encode(&self.0[..8]))
    }
}

/// The text isn't 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob's name is 64 lower-case hexadecimal digits")]
pub struct ParseBlobIdError;

impl FromStr for BlobId {
    type Err = ParseBlobIdError;

    fn from_str(text: &str) -> Result<Self, ParseBlobIdError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseBlobIdError)?;
        Ok(Self(bytes.try_into().map_err(|_| ParseBlobIdError)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_is_strict() {
        let id = BlobId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string(), "ab".repeat(32));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("AB".repeat(32).parse::<BlobId>(), Err(ParseBlobIdError));
        assert_eq!("ab".parse::<BlobId>(), Err(ParseBlobIdError));
    }
}
