//! The card: what a member says of itself, under its signature.

use aether_core::{Domain, Hash, InvalidSignature, MeshId, PublicKey, SecretKey, Signature, wire};
use minicbor::{Decode, Encode, bytes::ByteArray};

const CARD: Domain = Domain::new("aether 2026-11 roster card v1");

const MAX_BODY: usize = 2048;
const MAX_ADDRESSES: usize = 8;
const MAX_ADDRESS: usize = 128;
const MAX_AGENT: usize = 64;
const MAX_ROLES: usize = 8;
const MAX_ROLE: usize = 32;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Profile {
    /// Where it can be reached: multiaddresses, at most 8 of at most 128 bytes.
    #[n(0)]
    pub addresses: Vec<String>,
    /// The program and its version, at most 64 bytes.
    #[n(1)]
    pub agent: String,
    /// What it does for others, such as `relay`: at most 8 of at most 32 bytes.
    #[n(2)]
    pub roles: Vec<String>,
}

impl Profile {
    /// The profile without what is over the limits.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.addresses.retain(|address| address.len() <= MAX_ADDRESS);
        self.addresses.truncate(MAX_ADDRESSES);
        let mut end = self.agent.len().min(MAX_AGENT);
        while !self.agent.is_char_boundary(end) {
            end -= 1;
        }
        self.agent.truncate(end);
        self.roles.retain(|role| role.len() <= MAX_ROLE);
        self.roles.truncate(MAX_ROLES);
        self
    }
}

/// A profile with its owner's key, version and signature.
///
/// On the wire a CBOR array of two byte strings: a body and a 64-byte Ed25519 signature. The
/// signature is over BLAKE3, context `aether 2026-11 roster card v1`, of the mesh id and the body
/// as it came, so that a card of a later release, with keys that this one skips, still verifies
/// and is passed on whole. The body is a CBOR map: 0 key, 1 life, 2 revision, 3 leaving, 4 profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The node's life: grows with each start.
    pub life: u64,
    /// Grows within one life.
    pub revision: u64,
    /// What it says.
    pub profile: Profile,
    peer: PublicKey,
    leaving: bool,
    body: Vec<u8>,
    signature: Signature,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Body {
    #[n(0)]
    peer: ByteArray<32>,
    #[n(1)]
    life: u64,
    #[n(2)]
    revision: u64,
    #[n(3)]
    leaving: bool,
    #[n(4)]
    profile: Profile,
}

impl Card {
    /// Signs a card. What is over the limits of a [`Profile`] is left out.
    pub fn sign(
        key: &SecretKey,
        mesh: &MeshId,
        life: u64,
        revision: u64,
        leaving: bool,
        profile: Profile,
    ) -> Self {
        let (peer, profile) = (key.public(), profile.bounded());
        let body = Body {
            peer: (*peer.as_bytes()).into(),
            life,
            revision,
            leaving,
            profile: profile.clone(),
        };
        let body = wire::to_cbor(&body);
        let signature = key.sign(&digest(mesh, &body));
        Self { life, revision, profile, peer, leaving, body, signature }
    }

    /// Whose card it is.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// Whether its owner says farewell by it.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Checks signature and limits. Some 60 µs.
    pub fn verify(&self, mesh: &MeshId) -> Result<(), CardError> {
        if self.body.len() > MAX_BODY || self.profile.clone().bounded() != self.profile {
            return Err(CardError::TooLarge);
        }
        Ok(self.peer.verify(&digest(mesh, &self.body), &self.signature)?)
    }
}

fn digest(mesh: &MeshId, body: &[u8]) -> Hash {
    CARD.hasher().update(mesh.as_hash().as_ref()).update(body).finish()
}

impl<C> Encode<C> for Card {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.bytes(&self.body)?.bytes(self.signature.as_bytes())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Card {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let malformed = || minicbor::decode::Error::message("malformed card");
        if d.array()? != Some(2) {
            return Err(malformed());
        }
        let body = d.bytes()?;
        let signature = d.bytes()?.try_into().map_err(|_| malformed())?;
        let Body { peer, life, revision, leaving, profile } =
            wire::from_cbor(body).map_err(|_| malformed())?;
        Ok(Self {
            life,
            revision,
            profile,
            peer: PublicKey::from_bytes(peer.into()),
            leaving,
            body: body.to_vec(),
            signature: Signature::from_bytes(signature),
        })
    }
}

/// Why a card is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// A field is over its limit.
    #[error("the card is larger than a card may be")]
    TooLarge,
    /// Not signed by the one it names.
    #[error("the card is not signed by its owner")]
    Forged(#[from] InvalidSignature),
}
