//! Revocations: what an admin took back.

use std::{collections::BTreeMap, sync::OnceLock};

use aether_core::{
    Domain, Genesis, Hash, MeshId, PublicKey, SecretKey, Signature,
    wire::{Reader, WireError, Writer},
};

use super::{Broken, CLOCK_SKEW, Issuer, REVOCATION_LASTS, Wall, token};

const SIGNED: Domain = Domain::new("aether 2026-11 access revocation v1");
const SET: Domain = Domain::new("aether 2026-11 access revocations v1");
const ID: Domain = Domain::new("aether 2026-11 access revocation id v1");

/// Most revocations that a node holds: some 700 KiB of them.
pub const MAX_REVOCATIONS: usize = 4096;

/// An admin's word that a key is worth nothing any more: a peer's or an invite's.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 32 | mesh id |
/// | 32 | public key that is revoked |
/// | 8 | when, in seconds since the Unix epoch, big endian |
/// | 32 | public key of the admin |
/// | 64 | signature over BLAKE3, context `aether 2026-11 access revocation v1`, of all before it |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    mesh: MeshId,
    key: PublicKey,
    at: Wall,
    admin: PublicKey,
    signature: Signature,
}

impl Revocation {
    /// Length in bytes.
    pub const LEN: usize = 1 + 32 + 32 + 8 + 32 + Signature::LEN;

    /// Revokes a key. Only an admin of the genesis can: a delegate's own word may be void, a
    /// revocation never is.
    pub fn sign(issuer: &Issuer, key: PublicKey, at: Wall) -> Result<Self, Broken> {
        if !issuer.is_root() {
            return Err(Broken::Admin);
        }
        Ok(Self::signed(issuer.genesis().mesh_id(), issuer.key(), key, at))
    }

    pub(super) fn signed(mesh: MeshId, admin: &SecretKey, key: PublicKey, at: Wall) -> Self {
        let signature = Signature::from_bytes([0; Signature::LEN]);
        let mut revocation = Self { mesh, key, at, admin: admin.public(), signature };
        revocation.signature = admin.sign(&revocation.digest());
        revocation
    }

    /// The key that is revoked.
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// When it was.
    pub const fn at(&self) -> Wall {
        self.at
    }

    /// Whether it is so old that nothing which it revokes can still hold.
    pub fn is_over(&self, now: Wall) -> bool {
        now > self.at + REVOCATION_LASTS
    }

    /// Names the statement among others.
    pub fn id(&self) -> [u8; 16] {
        *ID.hash(&self.encode()).as_bytes().first_chunk().expect("a hash has 32 bytes")
    }

    /// Checks mesh, admin and signature. Some 60 µs.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), RevocationError> {
        if self.mesh != genesis.mesh_id() {
            return Err(RevocationError::OtherMesh);
        }
        if !genesis.admins().contains(&self.admin) {
            return Err(RevocationError::NoAdmin);
        }
        let verified = self.admin.verify(&self.digest(), &self.signature);
        verified.map_err(|_| RevocationError::Forged)
    }

    fn digest(&self) -> Hash {
        let bytes = self.encode();
        SIGNED.hash(&bytes[..Self::LEN - Signature::LEN])
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(Self::LEN);
        writer.u8(1).array(self.mesh.as_hash().as_bytes()).array(self.key.as_bytes());
        writer.u64(self.at.as_secs()).array(self.admin.as_bytes());
        writer.array(self.signature.as_bytes());
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else. Checks no signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, RevocationError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(RevocationError::Version { version });
        }
        let mesh = MeshId::from_hash(Hash::from_bytes(reader.array()?));
        let key = PublicKey::from_bytes(reader.array()?);
        let at = Wall::from_secs(reader.u64()?);
        let admin = PublicKey::from_bytes(reader.array()?);
        let signature = Signature::from_bytes(reader.array()?);
        reader.end()?;
        Ok(Self { mesh, key, at, admin, signature })
    }

    /// The revocation as text, for people to carry: `aether_revocation1_` and base64url with a
    /// checksum.
    pub fn to_text(&self) -> String {
        token::armor(token::REVOCATION, &self.encode())
    }

    /// Reads what [`to_text`](Self::to_text) wrote. White space doesn't matter.
    pub fn parse(text: &str) -> Result<Self, token::TokenError> {
        Ok(Self::decode(&token::unarmor(token::REVOCATION, text, Self::LEN)?)?)
    }
}

/// Why something revokes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// It is for another mesh.
    #[error("the revocation is for another mesh")]
    OtherMesh,
    /// Signed by somebody who can't.
    #[error("the revocation is not signed by an admin of the mesh")]
    NoAdmin,
    /// The signature doesn't verify.
    #[error("the revocation is forged")]
    Forged,
    /// Written by a later release.
    #[error("version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// Too short or too long.
    #[error("the revocation is torn")]
    Torn(#[from] WireError),
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is held, and wasn't.
    New,
    /// It was held already, or a later one of the same key is.
    Known,
    /// It is too old to matter.
    Over,
    /// There is no room for it.
    Full,
}

/// The revocations that a node holds, one per key: of two, the one that holds for longer.
///
/// A set that only grows, but for what is over; so all who heard the same hold the same.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    by_key: BTreeMap<PublicKey, Revocation>,
    /// Reckoned when it is asked for: a neighbour may ask often.
    digest: OnceLock<Hash>,
}

impl PartialEq for Revocations {
    fn eq(&self, other: &Self) -> bool {
        self.by_key == other.by_key
    }
}

impl Eq for Revocations {}

impl Revocations {
    /// Whether a key is revoked.
    pub fn holds(&self, key: &PublicKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.by_key.values()
    }

    /// What would become of a revocation; it isn't checked.
    pub fn judge(&self, revocation: &Revocation, now: Wall) -> Noted {
        let rank = |revocation: &Revocation| (revocation.at, revocation.id());
        match self.by_key.get(&revocation.key) {
            _ if revocation.is_over(now) => Noted::Over,
            Some(held) if rank(held) >= rank(revocation) => Noted::Known,
            None if self.by_key.len() >= MAX_REVOCATIONS => Noted::Full,
            _ => Noted::New,
        }
    }

    /// Takes a revocation that was [verified](Revocation::verify).
    pub fn insert(&mut self, revocation: Revocation, now: Wall) -> Noted {
        let noted = self.judge(&revocation, now);
        if noted == Noted::New {
            self.digest.take();
            self.by_key.insert(revocation.key, revocation);
        }
        noted
    }

    /// Forgets the revocation of a key.
    pub fn forget(&mut self, key: &PublicKey) {
        self.digest.take();
        self.by_key.remove(key);
    }

    /// Forgets what is over, and gives its keys.
    pub fn forget_over(&mut self, now: Wall) -> Vec<PublicKey> {
        // Somewhat later than it is refused, so that it isn't taken in again.
        let gone: Vec<PublicKey> = self
            .by_key
            .values()
            .filter(|revocation| revocation.is_over(now - CLOCK_SKEW))
            .map(Revocation::key)
            .collect();
        for key in &gone {
            self.forget(key);
        }
        gone
    }

    /// The same for all who hold the same.
    pub fn digest(&self) -> Hash {
        *self.digest.get_or_init(|| {
            let mut hasher = SET.hasher();
            for revocation in self.by_key.values() {
                hasher.update(&revocation.id());
            }
            hasher.finish()
        })
    }
}
