//! The announcement: what one node serves, under its signature.

use std::collections::BTreeSet;

use aether_core::{
    Domain, Hash, InvalidSignature, MeshId, PublicKey, SecretKey, Signature,
    wire::{self, WireError},
};
use bytes::Bytes;
use minicbor::{Decode, Encode, bytes::ByteArray};

const ANNOUNCEMENT: Domain = Domain::new("aether 2026-11 service announcement v1");

/// Largest announcement, in bytes, signature included.
pub const MAX_ANNOUNCEMENT: usize = 4096;
/// Most instances of one node.
pub const MAX_INSTANCES: usize = 64;
/// Most endpoints of one instance.
pub const MAX_ENDPOINTS: usize = 32;
/// Longest name of a service, a version or an endpoint, in bytes.
pub const MAX_NAME: usize = 64;

/// Bytes of an announcement beside its body: an array's head, two heads of byte strings, and the
/// signature.
const OVERHEAD: usize = 1 + 3 + 2 + Signature::LEN;

/// One instance of a service on one node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Instance {
    /// The service's name: 1 to 64 bytes of UTF-8 without control characters.
    #[n(0)]
    pub service: String,
    /// Chosen by the node: no other instance of this service on it has this id.
    #[n(1)]
    pub id: u64,
    /// The service's version, by semver (<https://semver.org>); here it is only carried. Like a
    /// name: 1 to 64 bytes.
    #[n(2)]
    pub version: String,
    /// What can be called: at most 32, each named like a service.
    #[n(3)]
    pub endpoints: Vec<String>,
    /// Whether it takes calls.
    #[n(4)]
    pub health: Health,
    /// How busy it is.
    #[n(5)]
    pub load: Load,
}

impl Instance {
    /// Whether calls may be sent to it.
    pub fn is_live(&self) -> bool {
        self.health == Health::Serving
    }

    /// Its place among the instances of a node.
    pub(super) fn place(&self) -> (&str, u64) {
        (&self.service, self.id)
    }

    /// Whether both say the same, load aside.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let Self { service, id, version, endpoints, health, load: _ } = self;
        (service, id, version) == (&other.service, &other.id, &other.version)
            && (endpoints, health) == (&other.endpoints, &other.health)
    }

    fn check(&self) -> Result<(), AnnouncementError> {
        if self.endpoints.len() > MAX_ENDPOINTS {
            return Err(AnnouncementError::TooManyEndpoints);
        }
        let names = [&self.service, &self.version].into_iter().chain(&self.endpoints);
        let is_name = |name: &String| {
            (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        if names.into_iter().all(is_name) { Ok(()) } else { Err(AnnouncementError::Name) }
    }
}

/// Whether an instance takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serving,
    /// It finishes what it has, and takes nothing new.
    Draining,
    /// It can't. What a later release may say and this one doesn't know counts as this.
    Unhealthy,
}

impl<C> Encode<C> for Health {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(match self {
            Self::Serving => 0,
            Self::Draining => 1,
            Self::Unhealthy => 2,
        })?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Health {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(match d.u64()? {
            0 => Self::Serving,
            1 => Self::Draining,
            _ => Self::Unhealthy,
        })
    }
}

/// How busy an instance is, by its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Load {
    /// Requests that it works on.
    #[n(0)]
    pub in_flight: u32,
    /// How many it works on at once; 0 if it sets no limit.
    #[n(1)]
    pub capacity: u32,
}

impl Load {
    /// Whether it is more than a quarter away from `announced`: of the announced capacity, or
    /// where there is none, of the requests.
    pub(super) fn is_far_from(&self, announced: &Self) -> bool {
        let far = |a: u32, b: u32, whole: u32| u64::from(a.abs_diff(b)) * 4 > u64::from(whole);
        let whole = if announced.capacity > 0 { announced.capacity } else { announced.in_flight };
        far(self.in_flight, announced.in_flight, whole)
            || far(self.capacity, announced.capacity, announced.capacity)
    }
}

/// A node's list of its instances, with its key, version and signature.
///
/// On the wire a CBOR array of two byte strings: a body and a 64-byte Ed25519 signature, together
/// at most 4096 bytes. The signature is over BLAKE3 in its key derivation mode, context
/// `aether 2026-11 service announcement v1`, of the mesh id (32 bytes) and the body as it came.
///
/// The body is a CBOR map: 0 key (32 bytes), 1 life, 2 revision, 3 time (milliseconds since the
/// Unix epoch), 4 instances (an array of at most 64). An instance is a CBOR map: 0 service (text),
/// 1 id, 2 version (text), 3 endpoints (an array of text), 4 health (0 serving, 1 draining, 2 and
/// whatever else unhealthy), 5 load (an array of requests in flight and capacity, 32 bits each).
/// Numbers are unsigned and below 2^64 unless said otherwise. No two instances share service and
/// id.
///
/// Keys of a later release are skipped, and an announcement is passed on as it came, so they
/// travel through nodes that don't know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The node's life: grows with each start.
    pub life: u64,
    /// Grows within one life.
    pub revision: u64,
    /// When it was signed, by the node's clock, in milliseconds since the Unix epoch.
    pub time: u64,
    /// What the node serves, by service and id.
    pub instances: Vec<Instance>,
    peer: PublicKey,
    bytes: Bytes,
    body: Bytes,
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
    time: u64,
    #[n(4)]
    instances: Vec<Instance>,
}

impl Announcement {
    /// Signs an announcement. Fails on what is over a limit.
    pub fn sign(
        key: &SecretKey,
        mesh: &MeshId,
        (life, revision, time): (u64, u64, u64),
        mut instances: Vec<Instance>,
    ) -> Result<Self, AnnouncementError> {
        instances.sort_by(|a, b| a.place().cmp(&b.place()));
        check(&instances)?;
        let peer = key.public();
        let wire_peer = (*peer.as_bytes()).into();
        let body = Body { peer: wire_peer, life, revision, time, instances };
        let encoded = wire::to_cbor(&body);
        let signature = key.sign(&digest(mesh, &encoded));
        let mut writer = minicbor::Encoder::new(Vec::with_capacity(encoded.len() + OVERHEAD));
        let written = writer.array(2).and_then(|e| e.bytes(&encoded)?.bytes(signature.as_bytes()));
        written.expect("encoding to memory does not fail");
        let bytes = Bytes::from(writer.into_writer());
        if bytes.len() > MAX_ANNOUNCEMENT {
            return Err(AnnouncementError::TooLarge);
        }
        let instances = body.instances;
        let body = encoded.into();
        Ok(Self { life, revision, time, instances, peer, bytes, body, signature })
    }

    /// Reads an announcement and checks its limits, not its signature. Takes memory in proportion
    /// to the bytes, which it refuses beyond [`MAX_ANNOUNCEMENT`].
    pub fn decode(bytes: Bytes) -> Result<Self, AnnouncementError> {
        if bytes.len() > MAX_ANNOUNCEMENT {
            return Err(AnnouncementError::TooLarge);
        }
        let mut decoder = minicbor::Decoder::new(&bytes);
        if decoder.array().map_err(|_| WireError::Cbor)? != Some(2) {
            return Err(WireError::Cbor.into());
        }
        let body = decoder.bytes().map_err(|_| WireError::Cbor)?;
        let signature = decoder.bytes().map_err(|_| WireError::Cbor)?;
        let signature = signature.try_into().map_err(|_| WireError::Cbor)?;
        if decoder.position() != bytes.len() {
            return Err(WireError::Trailing { len: bytes.len() - decoder.position() }.into());
        }
        let Body { peer, life, revision, time, mut instances } = wire::from_cbor(body)?;
        instances.sort_by(|a, b| a.place().cmp(&b.place()));
        check(&instances)?;
        Ok(Self {
            life,
            revision,
            time,
            instances,
            peer: PublicKey::from_bytes(peer.into()),
            signature: Signature::from_bytes(signature),
            body: bytes.slice_ref(body),
            bytes,
        })
    }

    /// Whose it is.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// Life and revision: of two announcements of one node the larger is the newer.
    pub fn version(&self) -> (u64, u64) {
        (self.life, self.revision)
    }

    /// The bytes, as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Checks the signature. Some 60 µs.
    pub fn verify(&self, mesh: &MeshId) -> Result<(), AnnouncementError> {
        Ok(self.peer.verify(&digest(mesh, &self.body), &self.signature)?)
    }
}

/// Whether these instances make an announcement within the limits, whatever their load becomes.
pub(super) fn check_offer<'a>(
    instances: impl Iterator<Item = &'a Instance>,
) -> Result<(), AnnouncementError> {
    let load = Load { in_flight: u32::MAX, capacity: u32::MAX };
    let instances: Vec<_> = instances.map(|each| Instance { load, ..each.clone() }).collect();
    check(&instances)?;
    let (life, revision, time) = (u64::MAX, u64::MAX, u64::MAX);
    let body = Body { peer: [0xff; 32].into(), life, revision, time, instances };
    if wire::to_cbor(&body).len() + OVERHEAD > MAX_ANNOUNCEMENT {
        return Err(AnnouncementError::TooLarge);
    }
    Ok(())
}

fn check(instances: &[Instance]) -> Result<(), AnnouncementError> {
    if instances.len() > MAX_INSTANCES {
        return Err(AnnouncementError::TooManyInstances);
    }
    instances.iter().try_for_each(Instance::check)?;
    let places: BTreeSet<_> = instances.iter().map(Instance::place).collect();
    if places.len() < instances.len() { Err(AnnouncementError::Twice) } else { Ok(()) }
}

fn digest(mesh: &MeshId, body: &[u8]) -> Hash {
    ANNOUNCEMENT.hasher().update(mesh.as_hash().as_ref()).update(body).finish()
}

/// Why an announcement is worth nothing, or can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncementError {
    /// Not an announcement.
    #[error("the announcement is malformed")]
    Malformed(#[from] WireError),
    /// More than [`MAX_ANNOUNCEMENT`] bytes.
    #[error("an announcement has at most {MAX_ANNOUNCEMENT} bytes")]
    TooLarge,
    /// More than [`MAX_INSTANCES`].
    #[error("a node has at most {MAX_INSTANCES} instances")]
    TooManyInstances,
    /// More than [`MAX_ENDPOINTS`].
    #[error("an instance has at most {MAX_ENDPOINTS} endpoints")]
    TooManyEndpoints,
    /// A service, version or endpoint with a name that none may have.
    #[error("a name has 1 to {MAX_NAME} bytes and no control character")]
    Name,
    /// Two instances of one service have the same id.
    #[error("two instances of a service have the same id")]
    Twice,
    /// Not signed by the one it names.
    #[error("the announcement is not signed by its node")]
    Forged(#[from] InvalidSignature),
}

#[cfg(test)]
mod tests;
