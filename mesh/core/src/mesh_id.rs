//! What makes a mesh: its genesis, and the id that is the genesis' hash.

use std::{collections::BTreeSet, fmt};

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
    /// Whoever holds a capability that an admin signed.
    Closed,
}

/// The facts that a mesh is founded on. Two meshes are the same exactly if these are.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | mode: 0 open, 1 closed |
/// | 2 | length of the name in bytes, big endian, 1 to 255 |
/// | n | name, UTF-8 |
/// | 2 | number of admins, big endian: 0 if the mesh is open, 1 to 64 if it is closed |
/// | 32 each | admins' Ed25519 public keys, strictly ascending |
///
/// The admins stand in the genesis, so they are part of the id: a mesh has the same ones for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    name: String,
    mode: Mode,
    admins: Vec<PublicKey>,
}

impl Genesis {
    /// Longest name, in bytes.
    pub const MAX_NAME: usize = 255;

    /// Most admins.
    pub const MAX_ADMINS: usize = 64;

    /// An open mesh: everyone who uses the same name meets in it.
    pub fn open(name: impl Into<String>) -> Result<Self, GenesisError> {
        Ok(Self { name: checked(name.into())?, mode: Mode::Open, admins: Vec::new() })
    }

    /// A closed mesh: only those get in whom one of these keys, or somebody it trusts, admits. The
    /// order of the keys and repetitions don't matter.
    pub fn closed(
        name: impl Into<String>,
        admins: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Self, GenesisError> {
        let admins: BTreeSet<PublicKey> = admins.into_iter().take(Self::MAX_ADMINS + 1).collect();
        let admins: Vec<PublicKey> = admins.into_iter().collect();
        let usable = admins.iter().all(|admin| admin.check().is_ok());
        if admins.is_empty() || admins.len() > Self::MAX_ADMINS || !usable {
            return Err(GenesisError::Admins);
        }
        Ok(Self { name: checked(name.into())?, mode: Mode::Closed, admins })
    }

    /// The name that people use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who may connect.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Who admits others, ascending; nobody in an open mesh.
    pub fn admins(&self) -> &[PublicKey] {
        &self.admins
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(1);
        writer.u8(match self.mode {
            Mode::Open => 0,
            Mode::Closed => 1,
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
            1 => Mode::Closed,
            mode => return Err(GenesisError::Mode { mode }),
        };
        let name = std::str::from_utf8(reader.bytes16(Self::MAX_NAME)?)
            .map_err(|_| GenesisError::NotText)?;
        let count = usize::from(reader.u16()?);
        if count > Self::MAX_ADMINS || (mode == Mode::Open && count > 0) {
            return Err(GenesisError::Admins);
        }
        let mut admins = Vec::new();
        for _ in 0..count {
            admins.push(PublicKey::from_bytes(reader.array()?));
        }
        reader.end()?;
        if !admins.is_sorted_by(|one, next| one < next) {
            return Err(GenesisError::Admins);
        }
        match mode {
            Mode::Open => Self::open(name),
            Mode::Closed => Self::closed(name, admins),
        }
    }

    /// The mesh's id.
    pub fn mesh_id(&self) -> MeshId {
        MeshId(GENESIS.hash(&self.encode()))
    }
}

fn checked(name: String) -> Result<String, GenesisError> {
    if name.is_empty() || name.len() > Genesis::MAX_NAME {
        return Err(GenesisError::Name { len: name.len() });
    }
    Ok(name)
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
    /// The admins don't fit the mode, are too many, out of order, or no keys.
    #[error("an open mesh has no admins, a closed one has 1 to 64 Ed25519 keys, ascending")]
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
    use crate::SecretKey;

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

    fn admin(seed: u8) -> PublicKey {
        SecretKey::from_bytes([seed; 32]).public()
    }

    #[test]
    fn the_id_of_a_closed_mesh_is_pinned_and_covers_its_admins() {
        let genesis = Genesis::closed("aether", [admin(2), admin(1), admin(2)]).unwrap();
        let same = Genesis::closed("aether", [admin(1), admin(2)]).unwrap();
        assert_eq!(genesis, same, "order and repetitions don't matter");
        assert_eq!(genesis.mesh_id().to_string(), GOLDEN_CLOSED);
        assert_eq!(Genesis::decode(&genesis.encode()), Ok(genesis.clone()));
        let others = [
            Genesis::closed("aether", [admin(1)]).unwrap(),
            Genesis::closed("aether", [admin(1), admin(3)]).unwrap(),
            Genesis::closed("other", [admin(1), admin(2)]).unwrap(),
            Genesis::open("aether").unwrap(),
        ];
        assert!(others.iter().all(|other| other.mesh_id() != genesis.mesh_id()));
    }

    /// Changing this locks every member of every closed mesh out.
    const GOLDEN_CLOSED: &str = "0b2c407230797e41de6284a4ec4cd2077bdd86e152d57db187494383d9c591eb";

    #[test]
    fn admins_are_refused_unless_they_are_usable_keys_in_order() {
        assert_eq!(Genesis::closed("m", []), Err(GenesisError::Admins));
        let mut weak = [0; 32];
        weak[0] = 1;
        let weak = PublicKey::from_bytes(weak);
        assert_eq!(Genesis::closed("m", [weak]), Err(GenesisError::Admins));
        let many = (0..=64).map(admin);
        assert_eq!(Genesis::closed("m", many), Err(GenesisError::Admins));
        let most = Genesis::closed("m", (0..64).map(admin)).unwrap();
        assert_eq!(Genesis::decode(&most.encode()), Ok(most));

        let bytes = Genesis::closed("m", [admin(1), admin(2)]).unwrap().encode();
        let mut swapped = bytes.clone();
        let (start, end) = (bytes.len() - 64, bytes.len() - 32);
        swapped[start..].rotate_left(32);
        assert_eq!(Genesis::decode(&swapped), Err(GenesisError::Admins));
        let mut twice = bytes.clone();
        twice.copy_within(start..end, end);
        assert_eq!(Genesis::decode(&twice), Err(GenesisError::Admins));
        let mut open = bytes;
        open[1] = 0;
        assert_eq!(Genesis::decode(&open), Err(GenesisError::Admins));
    }

    #[test]
    fn names_are_bounded() {
        assert!(Genesis::open("").is_err());
        assert!(Genesis::open("x".repeat(256)).is_err());
        assert!(Genesis::open("x".repeat(255)).is_ok());
    }
}
