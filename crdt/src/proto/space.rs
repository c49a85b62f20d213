//! What makes a space: its genesis, and the id that is the genesis' hash.

use std::{collections::BTreeSet, fmt};

use aether_core::{
    Domain, Hash, PublicKey,
    wire::{Reader, WireError, Writer},
};

use super::id::SpaceId;

const GENESIS: Domain = Domain::new("aether 2026-11 space genesis v1");

/// Who may read and write without being granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Nobody.
    Granted,
    /// Everyone reads; who writes is granted.
    Readable,
    /// Everyone reads and writes. Such a space can be griefed by anybody: who is removed comes back
    /// under a new key.
    Open,
    /// The members of a group that agrees on them; the space has no owners.
    Group(Hash),
}

/// What a member may do: each may do what the ones before it may.
///
/// | byte | role | may |
/// |---|---|---|
/// | 0 | reader | be served |
/// | 1 | writer | write |
/// | 2 | admin | grant up to writer, remove whom such a grant made a writer |
/// | - | owner | grant up to admin, remove all but owners, discard payloads; never granted |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Is served, and writes nothing.
    Reader,
    /// Writes.
    Writer,
    /// Admits and removes writers.
    Admin,
    /// Stands in the genesis, for ever.
    Owner,
}

impl Role {
    /// The byte of a role that can be granted; `None` for an owner's, which can't.
    pub(super) const fn to_byte(self) -> Option<u8> {
        match self {
            Self::Reader => Some(0),
            Self::Writer => Some(1),
            Self::Admin => Some(2),
            Self::Owner => None,
        }
    }

    /// The role of a byte, if there is one that can be granted.
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Reader),
            1 => Some(Self::Writer),
            2 => Some(Self::Admin),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        })
    }
}

/// The facts that a space is founded on. Two spaces are the same exactly if these are.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | mode: 0 granted, 1 readable, 2 open, 3 a group's |
/// | 16 | salt, drawn when the space was made |
/// | 2 | length of the name in bytes, big endian, at most 255 |
/// | n | name, UTF-8 |
/// | 2 | number of owners, big endian: 1 to 16, but 0 for a group's |
/// | 32 each | owners' Ed25519 public keys, strictly ascending |
/// | 32 | the group's id, if the mode is a group's |
///
/// The id is BLAKE3, context `aether 2026-11 space genesis v1`, of these bytes. The owners are part
/// of it: a space has the same ones for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    mode: Mode,
    salt: [u8; 16],
    name: String,
    owners: Vec<PublicKey>,
    id: SpaceId,
}

impl Genesis {
    /// Longest name, in bytes.
    pub const MAX_NAME: usize = 255;

    /// Most owners.
    pub const MAX_OWNERS: usize = 16;

    /// Largest encoding, in bytes.
    pub const MAX: usize = 1 + 1 + 16 + 2 + Self::MAX_NAME + 2 + Self::MAX_OWNERS * PublicKey::LEN;

    /// A new space. The salt comes from the driver's entropy and makes spaces of one name differ.
    /// The order of the owners and repetitions don't matter. Checks each owner's key, some 10 µs.
    pub fn new(
        mode: Mode,
        salt: [u8; 16],
        name: impl Into<String>,
        owners: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Self, GenesisError> {
        let name = name.into();
        if name.len() > Self::MAX_NAME {
            return Err(GenesisError::Name { len: name.len() });
        }
        // A caller's iterator may be endless.
        let owners: BTreeSet<PublicKey> = owners.into_iter().take(Self::MAX_OWNERS + 1).collect();
        let fitting = match mode {
            Mode::Group(_) => owners.is_empty(),
            _ => (1..=Self::MAX_OWNERS).contains(&owners.len()),
        };
        if !fitting || owners.iter().any(|owner| owner.check().is_err()) {
            return Err(GenesisError::Owners);
        }
        let owners: Vec<PublicKey> = owners.into_iter().collect();
        let id = SpaceId::from_hash(GENESIS.hash(&encode(mode, &salt, &name, &owners)));
        Ok(Self { mode, salt, name, owners, id })
    }

    /// The space's id.
    pub const fn space_id(&self) -> SpaceId {
        self.id
    }

    /// Who may read and write without a grant.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What tells it from spaces of the same name and owners.
    pub const fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    /// The name that people use. It isn't unique.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The owners, ascending; nobody in a group's space.
    pub fn owners(&self) -> &[PublicKey] {
        &self.owners
    }

    /// Whether the key is an owner's.
    pub fn is_owner(&self, key: &PublicKey) -> bool {
        self.owners.binary_search(key).is_ok()
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.mode, &self.salt, &self.name, &self.owners)
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, GenesisError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(GenesisError::Version { version });
        }
        let (mode, salt) = (reader.u8()?, reader.array()?);
        let name = std::str::from_utf8(reader.bytes16(Self::MAX_NAME)?)
            .map_err(|_| GenesisError::NotText)?;
        let count = usize::from(reader.u16()?);
        if count > Self::MAX_OWNERS {
            return Err(GenesisError::Owners);
        }
        let mut owners = Vec::with_capacity(count);
        for _ in 0..count {
            owners.push(PublicKey::from_bytes(reader.array()?));
        }
        let mode = match mode {
            0 => Mode::Granted,
            1 => Mode::Readable,
            2 => Mode::Open,
            3 => Mode::Group(Hash::from_bytes(reader.array()?)),
            mode => return Err(GenesisError::Mode { mode }),
        };
        reader.end()?;
        if !owners.is_sorted_by(|one, next| one < next) {
            return Err(GenesisError::Owners);
        }
        Self::new(mode, salt, name, owners)
    }
}

fn encode(mode: Mode, salt: &[u8; 16], name: &str, owners: &[PublicKey]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(Genesis::MAX);
    writer.u8(1).u8(match mode {
        Mode::Granted => 0,
        Mode::Readable => 1,
        Mode::Open => 2,
        Mode::Group(_) => 3,
    });
    writer.array(salt).bytes16(name.as_bytes());
    writer.u16(u16::try_from(owners.len()).expect("at most 16 owners"));
    for owner in owners {
        writer.array(owner.as_bytes());
    }
    if let Mode::Group(group) = mode {
        writer.array(group.as_bytes());
    }
    writer.finish()
}

/// Why something is no genesis of a space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The name is too long.
    #[error("a space's name has at most 255 bytes, not {len}")]
    Name {
        /// Length found, in bytes.
        len: usize,
    },
    /// Written by a later release.
    #[error("space version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// No such mode.
    #[error("space mode {mode} is not known here; a newer release may read it")]
    Mode {
        /// Mode found.
        mode: u8,
    },
    /// The name isn't UTF-8.
    #[error("the space's name is not UTF-8")]
    NotText,
    /// The owners don't fit the mode, are too many, out of order, or no keys.
    #[error("a space has 1 to 16 owners' Ed25519 keys, ascending, and a group's has none")]
    Owners,
    /// Too short, too long, or a length out of bounds.
    #[error("the genesis is torn")]
    Torn(#[from] WireError),
}

#[cfg(test)]
mod tests;
