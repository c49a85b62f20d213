//! What makes a mesh: its genesis, and the id that is the genesis' hash.

use std::fmt;

use crate::{
    Domain, Hash, PublicKey,
    wire::{Reader, Writer},
};

const GENESIS: Domain = Domain::new("aether 2026-11 mesh genesis v1");

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Whoever knows the name.
    Open,
}

/// The facts that a mesh is founded on. Two meshes are the same exactly if these are.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | mode: 0 open |
/// | 2 | length of the name in bytes, big endian, 1 to 255 |
/// | n | name, UTF-8 |
/// | 2 | number of admins, big endian, at most 64 |
/// | 32 each | admins' Ed25519 public keys, strictly ascending |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    name: String,
    mode: Mode,
    admins: Vec<PublicKey>,
}

impl Genesis {
    /// Longest name, in bytes.
    pub const MAX_NAME: usize = 255;

    /// An open mesh: everyone who uses the same name meets in it.
    pub fn open(name: impl Into<String>) -> Result<Self, GenesisError> {
        let name = name.into();
        if name.is_empty() || name.len() > Self::MAX_NAME {
            return Err(GenesisError::Name { len: name.len() });
        }
        Ok(Self { name, mode: Mode::Open, admins: Vec::new() })
    }

    /// The name that people use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who may connect.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(1);
        writer.u8(match self.mode {
            Mode::Open => 0,
        });
        writer.bytes16(self.name.as_bytes());
        writer.u16(u16::try_from(self.admins.len()).expect("at most 64 admins"));
        for admin in &self.admins {
            writer.array(admin.as_bytes());
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, GenesisError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(GenesisError::Version { version });
        }
        let mode = match reader.u8()? {
            0 => Mode::Open,
            mode => return Err(GenesisError::Mode { mode }),
        };
        let name = std::str::from_utf8(reader.bytes16(Self::MAX_NAME)?)
            .map_err(|_| GenesisError::NotText)?;
        if reader.u16()? != 0 {
            return Err(GenesisError::Admins);
        }
        reader.end()?;
        let genesis = Self::open(name)?;
        debug_assert_eq!(genesis.mode, mode);
        Ok(genesis)
    }

    /// The mesh's id.
    pub fn mesh_id(&self) -> MeshId {
        MeshId(GENESIS.hash(&self.encode()))
    }
}

/// Why something is no genesis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// Empty or too long.
    #[error("a mesh's name has 1 to 255 bytes, not {len}")]
    Name {
        /// Length found, in bytes.
        len: usize,
    },
    /// Written by a later release.
    #[error("genesis version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// No such mode.
    #[error("mesh mode {mode} is not known here; a newer release may read it")]
    Mode {
        /// Mode found.
        mode: u8,
    },
    /// The name isn't UTF-8.
    #[error("the mesh's name is not UTF-8")]
    NotText,
    /// An open mesh has no admins.
    #[error("an open mesh has no admins")]
    Admins,
    /// Too short, too long, or a length out of bounds.
    #[error("the genesis is torn")]
    Torn(#[from] crate::wire::WireError),
}

/// The hash of a mesh's genesis. It is part of Kademlia's and our own protocol names, of every
/// topic's name and of what is signed, so that two meshes never mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshId(Hash);

impl MeshId {
    /// Takes a hash for a mesh id.
    pub const fn from_hash(hash: Hash) -> Self {
        Self(hash)
    }

    /// The hash itself.
    pub const fn as_hash(&self) -> &Hash {
        &self.0
    }

    /// The first 8 bytes in hexadecimal: the form in protocol names, where length counts.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0.as_bytes()[..8])
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshId({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_pinned() {
        let genesis = Genesis::open("aether").unwrap();
        assert_eq!(genesis.encode(), b"\x01\x00\x00\x06aether\x00\x00");
        assert_eq!(genesis.mesh_id().to_string(), GOLDEN);
    }

    /// Changing this cuts every running mesh in two.
    const GOLDEN: &str = "2292a580114fc443be62b4505df5762271d392bcc9868b651a5592f500144736";

    #[test]
    fn decoding_accepts_its_own_bytes_only() {
        let bytes = Genesis::open("färöer").unwrap().encode();
        assert_eq!(Genesis::decode(&bytes).unwrap().encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(Genesis::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Genesis::decode(&longer).is_err());
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(Genesis::decode(&newer), Err(GenesisError::Version { version: 2 }));
    }

    #[test]
    fn names_are_bounded() {
        assert!(Genesis::open("").is_err());
        assert!(Genesis::open("x".repeat(256)).is_err());
        assert!(Genesis::open("x".repeat(255)).is_ok());
    }
}
