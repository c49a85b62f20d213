//! Capabilities: chains of signed grants, from an admin's key to a peer's.

use std::time::Duration;

use aether_core::{
    Domain, Genesis, Hash, MeshId, PublicKey, SecretKey, Signature,
    wire::{Reader, WireError, Writer},
};

use super::{CLOCK_SKEW, MAX_TERM, Revocations, Role, Wall, token};

const SIGNED: Domain = Domain::new("aether 2026-11 access link v1");
const LINK_HASH: Domain = Domain::new("aether 2026-11 access link hash v1");
const ID: Domain = Domain::new("aether 2026-11 access capability id v1");

/// Most links in a chain.
pub const MAX_LINKS: usize = 4;

const HEADER: usize = 1 + 32 + 32 + 1;
const LINK: usize = 1 + 1 + 8 + 8 + 4 + 32 + 32 + Signature::LEN;

/// Largest capability, in bytes: 666.
pub const MAX_CAPABILITY: usize = HEADER + MAX_LINKS * LINK;

/// Whose key a grant names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An invite's, which signs for those who hold the invite.
    Invite(PublicKey),
    /// A peer's.
    Peer(PublicKey),
}

impl Holder {
    /// The key itself.
    pub const fn key(&self) -> PublicKey {
        match self {
            Self::Invite(key) | Self::Peer(key) => *key,
        }
    }
}

/// What one link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub to: Holder,
    /// What.
    pub role: Role,
    /// When it was signed, by the signer's clock.
    pub issued: Wall,
    /// Until when it is worth something.
    pub expires: Wall,
    /// How long a membership lasts that an admin's node gives in its place. Whole seconds.
    pub term: Duration,
    /// The invite that the holder once came by, as the signer knows.
    pub origin: Option<PublicKey>,
}

impl Grant {
    /// Whether `self` may follow `before` in a chain, which is `None` for an admin's own word.
    fn check_after(&self, before: Option<&Self>) -> Result<(), Broken> {
        if self.expires <= self.issued || self.expires.since(self.issued) > MAX_TERM {
            return Err(Broken::Lasting);
        }
        if self.term.is_zero() || self.term > MAX_TERM {
            return Err(Broken::Term);
        }
        let Some(before) = before else { return Ok(()) };
        match before.to {
            Holder::Peer(_) if before.role != Role::Admin => return Err(Broken::NotAdmin),
            Holder::Peer(_) | Holder::Invite(_) => {}
        }
        if self.role > before.role {
            return Err(Broken::Role);
        }
        if self.expires > before.expires || self.term > before.term {
            return Err(Broken::Outlives);
        }
        Ok(())
    }
}

/// How a chain breaks the rules of the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// No link, or more than there may be.
    #[error("a chain of grants has 1 to 4 links")]
    Links,
    /// It ends with an invite.
    #[error("the chain does not end with a peer")]
    NoPeer,
    /// A link ends before it begins, or lasts too long.
    #[error("a grant lasts at least a second and at most 366 days")]
    Lasting,
    /// The term is no term.
    #[error("the term of a membership is from a second to 366 days")]
    Term,
    /// Signed on by a peer that may not.
    #[error("only an admin may admit others")]
    NotAdmin,
    /// More than the signer's own role.
    #[error("nobody can grant a wider role than their own")]
    Role,
    /// Longer than the signer's own grant.
    #[error("nobody can grant anything for longer than they have it themselves")]
    Outlives,
    /// The first signer is no admin of the mesh.
    #[error("the key is no admin's of this mesh")]
    Admin,
    /// The key isn't the one that may sign.
    #[error("the key is not the one that the chain ends with")]
    Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    grant: Grant,
    signature: Signature,
}

/// What a peer shows when it connects. Made by an [`Issuer`](super::Issuer) or an
/// [`Invite`](super::Invite).
///
/// It is no secret: it is of use only to who holds the key that it ends with.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 32 | mesh id |
/// | 32 | public key of the admin who signed the first link |
/// | 1 | number of links, 1 to 4 |
/// | 150 each | links |
///
/// A link, integers big endian:
///
/// | bytes | field |
/// |---|---|
/// | 1 | holder: 0 invite, 1 peer |
/// | 1 | role: 0 reader, 1 writer, 2 validator, 3 admin |
/// | 8 | issued, in seconds since the Unix epoch |
/// | 8 | expires, likewise |
/// | 4 | term, in seconds |
/// | 32 | the holder's public key |
/// | 32 | public key of the invite that the holder came by, or zeros |
/// | 64 | signature |
///
/// The signature is over BLAKE3, context `aether 2026-11 access link v1`, of the mesh id, the hash
/// of the link before (BLAKE3, context `aether 2026-11 access link hash v1`, of its 150 bytes) or
/// 32 zeros if there is none, and the link without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    mesh: MeshId,
    admin: PublicKey,
    links: Vec<Link>,
}

/// What a capability that passed all checks says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whose it is.
    pub peer: PublicKey,
    /// In which role.
    pub role: Role,
    /// When it was signed.
    pub issued: Wall,
    /// Until when it holds.
    pub expires: Wall,
    /// For how long it is renewed.
    pub term: Duration,
    /// The invite that the peer came by: the first in the chain, or the one that a renewal names.
    pub origin: Option<PublicKey>,
    /// Whether the peer made it itself, by an invite, and an admin's node is yet to replace it.
    pub provisional: bool,
}

/// Why a capability gets its peer nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is for another mesh.
    #[error("the capability is for another mesh")]
    OtherMesh,
    /// It is bound to another peer.
    #[error("the capability is another peer's")]
    OtherPeer,
    /// The chain breaks a rule.
    #[error("the capability is worthless: {0}")]
    Broken(#[from] Broken),
    /// A signature doesn't verify.
    #[error("the capability is forged")]
    Forged,
    /// Signed in the future.
    #[error("the capability holds from {issued} on; is a clock wrong?")]
    NotYet {
        /// From when on.
        issued: Wall,
    },
    /// It has expired.
    #[error("the capability expired at {at}; ask an admin for a renewal or a new invite")]
    Expired {
        /// When.
        at: Wall,
    },
    /// An admin took it back.
    #[error("the capability was revoked")]
    Revoked {
        /// The key that was.
        key: PublicKey,
    },
}

impl Capability {
    /// The mesh that it is for.
    pub const fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// What its links say, first to last; nothing of it is checked.
    pub fn grants(&self) -> impl ExactSizeIterator<Item = &Grant> {
        self.links.iter().map(|link| &link.grant)
    }

    pub(super) fn last(&self) -> &Grant {
        &self.links.last().expect("a chain has a link").grant
    }

    /// Names the capability among others.
    pub fn id(&self) -> [u8; 16] {
        *ID.hash(&self.encode()).as_bytes().first_chunk().expect("a hash has 32 bytes")
    }

    /// Checks everything but which peer shows it, in the order of rule 6. At most four signatures,
    /// some 60 µs each.
    pub fn verify(
        &self,
        genesis: &Genesis,
        now: Wall,
        revocations: &Revocations,
    ) -> Result<Pass, Refusal> {
        if self.mesh != genesis.mesh_id() {
            return Err(Refusal::OtherMesh);
        }
        let pass = self.check_rules(genesis)?;
        self.check_signatures()?;
        self.check_now(now, revocations)?;
        Ok(pass)
    }

    /// Like [`verify`](Self::verify), and that it is this peer's.
    pub fn verify_for(
        &self,
        peer: &PublicKey,
        genesis: &Genesis,
        now: Wall,
        revocations: &Revocations,
    ) -> Result<Pass, Refusal> {
        if self.mesh == genesis.mesh_id() && self.last().to.key() != *peer {
            return Err(Refusal::OtherPeer);
        }
        self.verify(genesis, now, revocations)
    }

    pub(super) fn check_rules(&self, genesis: &Genesis) -> Result<Pass, Broken> {
        if !genesis.admins().contains(&self.admin) {
            return Err(Broken::Admin);
        }
        let mut before = None;
        for link in &self.links {
            link.grant.check_after(before)?;
            before = Some(&link.grant);
        }
        let last = self.last();
        let Holder::Peer(peer) = last.to else { return Err(Broken::NoPeer) };
        let signer = self.links.len().checked_sub(2).map(|at| self.links[at].grant.to);
        Ok(Pass {
            peer,
            role: last.role,
            issued: last.issued,
            expires: last.expires,
            term: last.term,
            origin: self.origin(),
            provisional: matches!(signer, Some(Holder::Invite(_))),
        })
    }

    /// The invite by which the last holder came: of those that signed it in, the first.
    fn origin(&self) -> Option<PublicKey> {
        let before = self.links.iter().rev().skip(1).map(|link| link.grant.to);
        let invites = before.map_while(|to| match to {
            Holder::Invite(key) => Some(key),
            Holder::Peer(_) => None,
        });
        invites.last().or(self.last().origin)
    }

    fn check_signatures(&self) -> Result<(), Refusal> {
        let (mut signer, mut before) = (self.admin, None);
        for link in &self.links {
            let digest = digest(&self.mesh, before, &link.grant);
            signer.verify(&digest, &link.signature).map_err(|_| Refusal::Forged)?;
            (signer, before) = (link.grant.to.key(), Some(link));
        }
        Ok(())
    }

    /// Checks what may change: times and revocations.
    pub(super) fn check_now(&self, now: Wall, revocations: &Revocations) -> Result<(), Refusal> {
        let keys = self.grants().flat_map(|grant| [Some(grant.to.key()), grant.origin]).flatten();
        let revoked = keys.chain([self.admin]).find(|key| revocations.holds(key));
        if let Some(key) = revoked {
            return Err(Refusal::Revoked { key });
        }
        for grant in self.grants() {
            if grant.issued > now + CLOCK_SKEW {
                return Err(Refusal::NotYet { issued: grant.issued });
            }
        }
        // The last link expires first, by the rule of narrowing.
        let at = self.last().expires;
        if now > at + CLOCK_SKEW { Err(Refusal::Expired { at }) } else { Ok(()) }
    }

    /// An admin's own word.
    pub(super) fn first(mesh: MeshId, admin: &SecretKey, grant: Grant) -> Result<Self, Broken> {
        grant.check_after(None)?;
        let signature = admin.sign(&digest(&mesh, None, &grant));
        Ok(Self { mesh, admin: admin.public(), links: vec![Link { grant, signature }] })
    }

    /// Signs the next link with the key that the last one names.
    pub(super) fn extend(&self, key: &SecretKey, grant: Grant) -> Result<Self, Broken> {
        if self.last().to.key() != key.public() {
            return Err(Broken::Key);
        }
        if self.links.len() >= MAX_LINKS {
            return Err(Broken::Links);
        }
        grant.check_after(Some(self.last()))?;
        Ok(self.extend_unchecked(key, grant))
    }

    pub(super) fn extend_unchecked(&self, key: &SecretKey, grant: Grant) -> Self {
        let signature = key.sign(&digest(&self.mesh, self.links.last(), &grant));
        let mut extended = self.clone();
        extended.links.push(Link { grant, signature });
        extended
    }

    /// The bytes of the tables above.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(HEADER + self.links.len() * LINK);
        writer.u8(1).array(self.mesh.as_hash().as_bytes()).array(self.admin.as_bytes());
        writer.u8(u8::try_from(self.links.len()).expect("at most four"));
        for link in &self.links {
            link.write(&mut writer);
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else. Checks no rule but the number
    /// of links.
    pub fn decode(bytes: &[u8]) -> Result<Self, CapabilityError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(CapabilityError::Version { version });
        }
        let mesh = MeshId::from_hash(Hash::from_bytes(reader.array()?));
        let admin = PublicKey::from_bytes(reader.array()?);
        let count = usize::from(reader.u8()?);
        if !(1..=MAX_LINKS).contains(&count) {
            return Err(CapabilityError::Malformed);
        }
        let mut links = Vec::with_capacity(count);
        for _ in 0..count {
            links.push(Link::read(&mut reader)?);
        }
        reader.end()?;
        Ok(Self { mesh, admin, links })
    }

    /// The capability as text, for people to paste: `aether_capability1_` and base64url with a
    /// checksum.
    pub fn to_text(&self) -> String {
        token::armor(token::CAPABILITY, &self.encode())
    }

    /// Reads what [`to_text`](Self::to_text) wrote. White space doesn't matter.
    pub fn parse(text: &str) -> Result<Self, token::TokenError> {
        Ok(Self::decode(&token::unarmor(token::CAPABILITY, text, MAX_CAPABILITY)?)?)
    }
}

impl Link {
    fn write(&self, writer: &mut Writer) {
        write_grant(&self.grant, writer);
        writer.array(self.signature.as_bytes());
    }

    fn hash(&self) -> Hash {
        let mut writer = Writer::with_capacity(LINK);
        self.write(&mut writer);
        LINK_HASH.hash(&writer.finish())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CapabilityError> {
        let (holder, role) = (reader.u8()?, reader.u8()?);
        let role = Role::from_byte(role).ok_or(CapabilityError::Malformed)?;
        let (issued, expires) = (Wall::from_secs(reader.u64()?), Wall::from_secs(reader.u64()?));
        let term = Duration::from_secs(reader.u32()?.into());
        let key = PublicKey::from_bytes(reader.array()?);
        let to = match holder {
            0 => Holder::Invite(key),
            1 => Holder::Peer(key),
            _ => return Err(CapabilityError::Malformed),
        };
        let origin = reader.array()?;
        let origin = (origin != [0; 32]).then_some(PublicKey::from_bytes(origin));
        let grant = Grant { to, role, issued, expires, term, origin };
        Ok(Self { grant, signature: Signature::from_bytes(reader.array()?) })
    }
}

fn write_grant(grant: &Grant, writer: &mut Writer) {
    writer.u8(match grant.to {
        Holder::Invite(_) => 0,
        Holder::Peer(_) => 1,
    });
    writer.u8(grant.role.byte()).u64(grant.issued.as_secs()).u64(grant.expires.as_secs());
    writer.u32(u32::try_from(grant.term.as_secs()).unwrap_or(u32::MAX));
    writer.array(grant.to.key().as_bytes());
    writer.array(grant.origin.as_ref().map_or(&[0; 32], PublicKey::as_bytes));
}

fn digest(mesh: &MeshId, before: Option<&Link>, grant: &Grant) -> Hash {
    let mut writer = Writer::with_capacity(LINK);
    write_grant(grant, &mut writer);
    let before = before.map_or(Hash::from_bytes([0; 32]), Link::hash);
    let mut hasher = SIGNED.hasher();
    hasher.update(mesh.as_hash().as_ref()).update(before.as_ref()).update(&writer.finish());
    hasher.finish()
}

/// Why bytes are no capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityError {
    /// Written by a later release.
    #[error("version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// A field has a value that it can't have.
    #[error("not a capability")]
    Malformed,
    /// Too short or too long.
    #[error("the capability is torn")]
    Torn(#[from] WireError),
}
