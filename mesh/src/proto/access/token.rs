//! What people paste: invites, memberships, and their form as text.
//!
//! Text is a prefix that names the kind, and base64url (RFC 4648, section 5, without padding) of
//! the bytes and the first 6 bytes of a checksum: BLAKE3, context
//! `aether 2026-11 access token v1`, of prefix and bytes. So it survives a shell, a URL and a
//! double click, and a torn paste is found. White space in it doesn't matter.

use std::time::Duration;

use aether_core::{
    Domain, Genesis, GenesisError, PublicKey, SecretKey,
    wire::{Reader, WireError, Writer},
};
use data_encoding::BASE64URL_NOPAD;

use super::{
    Broken, Capability, CapabilityError, Grant, Holder, Issuer, Refusal, RevocationError, Role,
    Wall, capability::MAX_CAPABILITY,
};

const CHECKSUM: Domain = Domain::new("aether 2026-11 access token v1");
const CHECKSUM_LEN: usize = 6;

pub(super) const INVITE: &str = "aether_invite1_";
pub(super) const MEMBERSHIP: &str = "aether_membership1_";
pub(super) const CAPABILITY: &str = "aether_capability1_";
pub(super) const REVOCATION: &str = "aether_revocation1_";
const GENESIS: &str = "aether_genesis1_";

const KINDS: [(&str, &str); 5] = [
    (GENESIS, "a genesis"),
    (INVITE, "an invite"),
    (MEMBERSHIP, "a membership"),
    (CAPABILITY, "a capability"),
    (REVOCATION, "a revocation"),
];

const MAX_ADDRESSES: usize = 8;
const MAX_ADDRESS: usize = 128;
/// Version, mode, name and admins, each with its length.
const MAX_GENESIS: usize = 4 + Genesis::MAX_NAME + 2 + 32 * Genesis::MAX_ADMINS;
const MAX_TOKEN: usize =
    1 + 2 + MAX_GENESIS + 2 + MAX_CAPABILITY + 32 + 1 + MAX_ADDRESSES * (2 + MAX_ADDRESS);

pub(super) fn armor(kind: &str, bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    bytes.extend(checksum(kind, &bytes));
    format!("{kind}{}", BASE64URL_NOPAD.encode(&bytes))
}

pub(super) fn unarmor(kind: &'static str, text: &str, max: usize) -> Result<Vec<u8>, TokenError> {
    // A longer text is of another kind, or two pastes in one; white space is some of it.
    let longest = 2 * (kind.len() + (max + CHECKSUM_LEN).div_ceil(3) * 4);
    let name = |kind: &str| KINDS.iter().find(|(k, _)| *k == kind).map_or("a token", |(_, n)| n);
    let expected = name(kind);
    if text.len() > longest {
        return Err(TokenError::Torn { expected });
    }
    let text: String = text.split_ascii_whitespace().collect();
    let Some(body) = text.strip_prefix(kind) else {
        let other = KINDS.iter().find(|(other, _)| text.starts_with(other));
        return Err(match other {
            Some((_, found)) => TokenError::OtherKind { expected, found },
            None => TokenError::NoToken { expected, prefix: kind },
        });
    };
    let torn = TokenError::Torn { expected };
    let Ok(mut bytes) = BASE64URL_NOPAD.decode(body.as_bytes()) else { return Err(torn) };
    let Some(end) = bytes.len().checked_sub(CHECKSUM_LEN) else { return Err(torn) };
    let found = bytes.split_off(end);
    if found == checksum(kind, &bytes) { Ok(bytes) } else { Err(torn) }
}

fn checksum(kind: &str, bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = CHECKSUM.hasher().update(kind.as_bytes()).update(bytes).finish();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// A genesis as text: `aether_genesis1_` and base64url with a checksum. No secret.
pub fn genesis_text(genesis: &Genesis) -> String {
    armor(GENESIS, &genesis.encode())
}

/// Reads what [`genesis_text`] wrote. White space doesn't matter.
pub fn parse_genesis(text: &str) -> Result<Genesis, TokenError> {
    Ok(Genesis::decode(&unarmor(GENESIS, text, MAX_GENESIS)?)?)
}

/// Why a text can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Something else was pasted.
    #[error("this is no token; {expected} begins with {prefix}")]
    NoToken {
        /// What should be here.
        expected: &'static str,
        /// How it begins.
        prefix: &'static str,
    },
    /// A token of another kind was pasted.
    #[error("this is {found}, not {expected}")]
    OtherKind {
        /// What should be here.
        expected: &'static str,
        /// What is.
        found: &'static str,
    },
    /// Some of it is missing, or was changed.
    #[error("this is not the whole of {expected}, or it was changed; copy it again")]
    Torn {
        /// What should be here.
        expected: &'static str,
    },
    /// Written by a later release.
    #[error("token version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// Too short or too long, though its checksum is right.
    #[error("the token is malformed")]
    Malformed(#[from] WireError),
    /// An address isn't text, or there are too many.
    #[error("the token's addresses are malformed")]
    Addresses,
    /// What it holds is no genesis.
    #[error("the token's genesis can't be used")]
    Genesis(#[from] GenesisError),
    /// What it holds is no capability.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// What it holds is no revocation.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
}

/// Lets whoever holds it join a closed mesh, until it expires or is revoked. A secret.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 2, n | genesis, with its length |
/// | 2, n | capability that ends with the invite's key, with its length |
/// | 32 | the invite's secret key |
/// | 1 | number of addresses, at most 8 |
/// | 2, n each | address to begin with, at most 128 bytes of text, with its length |
#[derive(Clone)]
pub struct Invite {
    genesis: Genesis,
    capability: Capability,
    key: SecretKey,
    addresses: Vec<String>,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invite({:?} to {:?})", self.key.public(), self.genesis.name())
    }
}

impl Invite {
    /// Invites to the issuer's mesh: in `role`, until `expires`, and from then on for `term` at a
    /// time. `key` is fresh, from a cryptographic source of randomness, and used for nothing else.
    /// Addresses over the limits are left out.
    pub fn new(
        issuer: &Issuer,
        key: SecretKey,
        role: Role,
        now: Wall,
        expires: Wall,
        term: Duration,
        addresses: Vec<String>,
    ) -> Result<Self, Broken> {
        let to = Holder::Invite(key.public());
        let grant = Grant { to, role, issued: now, expires, term, origin: None };
        let capability = issuer.grant(grant)?;
        let addresses = bounded(addresses);
        Ok(Self { genesis: issuer.genesis().clone(), capability, key, addresses })
    }

    /// The mesh that it invites to.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The invite's public key: what is revoked to revoke it.
    pub fn id(&self) -> PublicKey {
        self.key.public()
    }

    /// Nodes to begin with, as multiaddresses.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What it grants.
    pub fn grant(&self) -> &Grant {
        self.capability.grants().last().expect("a chain has a link")
    }

    /// A narrower invite, to be passed on. It is void when this one is revoked. Once an admin's
    /// node has renewed those who came by it, they are known to have come by this one.
    pub fn attenuate(
        &self,
        key: SecretKey,
        role: Role,
        now: Wall,
        expires: Wall,
        term: Duration,
    ) -> Result<Self, Broken> {
        let to = Holder::Invite(key.public());
        let grant = Grant { to, role, issued: now, expires, term, origin: None };
        let capability = self.capability.extend(&self.key, grant)?;
        Ok(Self { capability, key, ..self.clone() })
    }

    /// Makes a peer a member, provisionally: until the invite expires.
    pub fn join(&self, peer: PublicKey, now: Wall) -> Result<Membership, Refusal> {
        let Grant { role, expires, term, .. } = *self.grant();
        if now >= expires {
            return Err(Refusal::Expired { at: expires });
        }
        let to = Holder::Peer(peer);
        let grant = Grant { to, role, issued: now, expires, term, origin: None };
        let capability = self.capability.extend(&self.key, grant)?;
        capability.verify_for(&peer, &self.genesis, now, &super::Revocations::default())?;
        let (genesis, addresses) = (self.genesis.clone(), self.addresses.clone());
        Ok(Membership { genesis, capability, addresses })
    }

    /// The invite as text: `aether_invite1_` and base64url with a checksum.
    pub fn to_text(&self) -> String {
        let mut writer = Writer::default();
        writer.u8(1).bytes16(&self.genesis.encode()).bytes16(&self.capability.encode());
        writer.array(&self.key.to_bytes());
        write_addresses(&self.addresses, &mut writer);
        armor(INVITE, &writer.finish())
    }

    /// Reads what [`to_text`](Self::to_text) wrote. White space doesn't matter.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let bytes = unarmor(INVITE, text, MAX_TOKEN)?;
        let mut reader = Reader::new(&bytes);
        let (genesis, capability) = read_head(&mut reader)?;
        let key = SecretKey::from_bytes(reader.array()?);
        let addresses = read_addresses(&mut reader)?;
        reader.end()?;
        if capability.grants().last().map(|grant| grant.to) != Some(Holder::Invite(key.public())) {
            return Err(CapabilityError::Malformed.into());
        }
        Ok(Self { genesis, capability, key, addresses })
    }
}

/// What lets a node in: an invite, or a membership that an admin signed for it.
#[derive(Clone, Debug)]
pub enum Ticket {
    /// For whoever has it.
    Invite(Box<Invite>),
    /// For the peer that it names.
    Membership(Membership),
}

impl Ticket {
    /// Reads either kind of text.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        match Invite::parse(text) {
            Err(TokenError::OtherKind { .. }) if text.trim_start().starts_with(MEMBERSHIP) => {
                Membership::parse(text).map(Self::Membership)
            }
            invite => invite.map(|invite| Self::Invite(Box::new(invite))),
        }
    }
}

/// What a member keeps: the mesh, and the capability that lets it in. No secret.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 2, n | genesis, with its length |
/// | 2, n | capability, with its length |
/// | 1 | number of addresses, at most 8 |
/// | 2, n each | address to begin with, at most 128 bytes of text, with its length |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The mesh.
    pub genesis: Genesis,
    /// What the member shows. Nothing of it is checked yet.
    pub capability: Capability,
    /// Nodes to begin with, as multiaddresses.
    pub addresses: Vec<String>,
}

impl Membership {
    /// The membership as text: `aether_membership1_` and base64url with a checksum. Addresses over
    /// the limits are left out.
    pub fn to_text(&self) -> String {
        let mut writer = Writer::default();
        writer.u8(1).bytes16(&self.genesis.encode()).bytes16(&self.capability.encode());
        write_addresses(&bounded(self.addresses.clone()), &mut writer);
        armor(MEMBERSHIP, &writer.finish())
    }

    /// Reads what [`to_text`](Self::to_text) wrote. White space doesn't matter.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let bytes = unarmor(MEMBERSHIP, text, MAX_TOKEN)?;
        let mut reader = Reader::new(&bytes);
        let (genesis, capability) = read_head(&mut reader)?;
        let addresses = read_addresses(&mut reader)?;
        reader.end()?;
        Ok(Self { genesis, capability, addresses })
    }
}

fn bounded(mut addresses: Vec<String>) -> Vec<String> {
    addresses.retain(|address| address.len() <= MAX_ADDRESS);
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn read_head(reader: &mut Reader<'_>) -> Result<(Genesis, Capability), TokenError> {
    let version = reader.u8()?;
    if version != 1 {
        return Err(TokenError::Version { version });
    }
    let genesis = Genesis::decode(reader.bytes16(MAX_GENESIS)?)?;
    let capability = Capability::decode(reader.bytes16(MAX_CAPABILITY)?)?;
    Ok((genesis, capability))
}

fn write_addresses(addresses: &[String], writer: &mut Writer) {
    writer.u8(u8::try_from(addresses.len()).expect("at most 8"));
    for address in addresses {
        writer.bytes16(address.as_bytes());
    }
}

fn read_addresses(reader: &mut Reader<'_>) -> Result<Vec<String>, TokenError> {
    let count = usize::from(reader.u8()?);
    if count > MAX_ADDRESSES {
        return Err(TokenError::Addresses);
    }
    let mut addresses = Vec::new();
    for _ in 0..count {
        let text = std::str::from_utf8(reader.bytes16(MAX_ADDRESS)?);
        addresses.push(text.map_err(|_| TokenError::Addresses)?.to_owned());
    }
    Ok(addresses)
}
