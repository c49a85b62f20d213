//! Ed25519 keys and the one signature rule of Aether.
//!
//! Every signature is over a [`struct@Hash`] of some [`Domain`](crate::Domain), so a signature
//! made for one purpose is worthless for another. Every check is `verify_strict`: it refuses keys
//! of small order and signatures that aren't canonical, so that all who check one signature agree
//! (RFC 8032 leaves room for verifiers to differ; see "Taming the many EdDSAs", eprint 2020/1244).

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::Signer as _;

use crate::Hash;

/// An Ed25519 secret key. Wiped from memory when dropped, and never shown by `Debug`.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// The key of this 32-byte seed (RFC 8032, section 5.1.5). The seed must come from a
    /// cryptographic source of randomness.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The 32-byte seed. Whoever holds it is this identity.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a hash. Deterministic, some 30 µs.
    pub fn sign(&self, hash: &Hash) -> Signature {
        Signature(self.0.sign(hash.as_bytes()).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.public())
    }
}

/// 32 bytes that claim to be an Ed25519 public key: the name of a peer, an author, a member.
///
/// Holding one proves nothing; [`verify`](Self::verify) is where a bad key shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes 32 bytes for a public key, without a check.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Refuses bytes that no strict verification would ever accept: not a point of the curve, or
    /// one of small order.
    pub fn check(&self) -> Result<(), InvalidPublicKey> {
        match ed25519_dalek::VerifyingKey::from_bytes(&self.0) {
            Ok(key) if !key.is_weak() => Ok(()),
            _ => Err(InvalidPublicKey),
        }
    }

    /// Checks a signature over a hash, strictly. Some 60 µs.
    pub fn verify(&self, hash: &Hash, signature: &Signature) -> Result<(), InvalidSignature> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| InvalidSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(hash.as_bytes(), &signature).map_err(|_| InvalidSignature)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..8]))
    }
}

/// 64 bytes that claim to be an Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// Takes 64 bytes for a signature, without a check.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..8]))
    }
}

/// The signature isn't this key's over this hash, or the key or signature isn't acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct InvalidSignature;

/// The bytes are no usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key, or one of small order")]
pub struct InvalidPublicKey;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Domain;

    const DOMAIN: Domain = Domain::new("aether tests key");

    /// The identity point: a key under which one signature fits every message unless verification
    /// is strict.
    const WEAK: PublicKey = PublicKey::from_bytes([
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ]);

    #[test]
    fn signatures_bind_key_and_hash() {
        let key = SecretKey::from_bytes([1; 32]);
        let other = SecretKey::from_bytes([2; 32]);
        let hash = DOMAIN.hash(b"m");
        let signature = key.sign(&hash);
        assert_eq!(key.public().verify(&hash, &signature), Ok(()));
        assert_eq!(other.public().verify(&hash, &signature), Err(InvalidSignature));
        assert_eq!(key.public().verify(&DOMAIN.hash(b"n"), &signature), Err(InvalidSignature));
    }

    #[test]
    fn a_weak_key_verifies_nothing() {
        // R = identity, s = 0 satisfies the plain equation for every message under WEAK.
        let mut forged = [0; 64];
        forged[0] = 1;
        let forged = Signature::from_bytes(forged);
        let hash = DOMAIN.hash(b"m");
        let plain = ed25519_dalek::VerifyingKey::from_bytes(WEAK.as_bytes()).unwrap();
        let lax = ed25519_dalek::Verifier::verify(
            &plain,
            hash.as_bytes(),
            &ed25519_dalek::Signature::from_bytes(forged.as_bytes()),
        );
        assert!(lax.is_ok(), "the forgery must pass the plain rule, or this test shows nothing");
        assert_eq!(WEAK.verify(&hash, &forged), Err(InvalidSignature));
        assert_eq!(WEAK.check(), Err(InvalidPublicKey));
    }

    #[test]
    fn the_malleable_twin_of_a_signature_is_refused() {
        // s + L is the same scalar modulo the group order L, and not canonical.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SecretKey::from_bytes([3; 32]);
        let hash = DOMAIN.hash(b"m");
        let mut bytes = *key.sign(&hash).as_bytes();
        let mut carry = 0u16;
        for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        let twin = Signature::from_bytes(bytes);
        assert_eq!(key.public().verify(&hash, &twin), Err(InvalidSignature));
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = SecretKey::from_bytes([0x42; 32]);
        assert!(!format!("{key:?}").contains("4242"));
    }
}
