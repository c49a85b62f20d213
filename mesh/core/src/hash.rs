//! BLAKE3 hashes, always separated by domain.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;

/// What a hash is of, so that no hash made for one purpose can stand in for another.
///
/// The name is BLAKE3's key derivation context (BLAKE3 paper, section 2.3): a constant, globally
/// unique, with the application, a date and the purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// Names a domain. The name must be a constant of the program, never data.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The hash of one piece of data in this domain.
    pub fn hash(self, data: &[u8]) -> Hash {
        let mut hasher = self.hasher();
        hasher.update(data);
        hasher.finish()
    }

    /// Starts a hash of several pieces. Pieces aren't delimited: give those of variable length
    /// with their length.
    pub fn hasher(self) -> Hasher {
        Hasher(Box::new(blake3::Hasher::new_derive_key(self.0)))
    }
}

/// A hash in the making; see [`Domain::hasher`].
#[derive(Clone, Debug)]
pub struct Hasher(Box<blake3::Hasher>);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, data: &[u8]) -> &mut Self {
        self.0.update(data);
        self
    }

    /// The hash of all bytes added so far.
    pub fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }
}

/// 32 bytes of BLAKE3. Displayed as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes 32 bytes for a hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..8]))
    }
}

/// The text isn't 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct ParseHashError;

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseHashError)?;
        Ok(Self(bytes.try_into().map_err(|_| ParseHashError)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Domain = Domain::new("aether tests a");
    const B: Domain = Domain::new("aether tests b");

    #[test]
    fn domains_separate() {
        assert_ne!(A.hash(b"x"), B.hash(b"x"));
        assert_ne!(A.hash(b"x").as_bytes(), blake3::hash(b"x").as_bytes());
    }

    #[test]
    fn pieces_hash_like_their_concatenation() {
        assert_eq!(A.hasher().update(b"ab").update(b"c").finish(), A.hash(b"abc"));
    }

    #[test]
    fn text_form_round_trips_and_is_strict() {
        let hash = A.hash(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse::<Hash>(), Err(ParseHashError));
        assert_eq!("00".parse::<Hash>(), Err(ParseHashError));
    }
}
