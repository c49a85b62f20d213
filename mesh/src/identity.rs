//! The node's identity: an Ed25519 key, kept in a file that its owner alone can read.
//!
//! The file is text, three lines, so that a person sees what it is and a torn copy shows:
//!
//! ```text
//! aether secret key v1
//! <64 hexadecimal digits: the Ed25519 seed>
//! <16 hexadecimal digits: a checksum over the two lines above>
//! ```

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aether_core::{Domain, PublicKey, SecretKey};
use data_encoding::HEXLOWER;
use libp2p::{PeerId, identity, multihash::Multihash};
use rand::TryRng as _;

const TITLE: &str = "aether secret key v1";
const CHECKSUM: Domain = Domain::new("aether 2026-11 key file v1");

/// A fresh key from the system's source of randomness.
pub fn generate() -> Result<SecretKey, IdentityError> {
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(|_| IdentityError::Entropy)?;
    Ok(SecretKey::from_bytes(seed))
}

/// Reads a key file.
pub fn load(path: &Path) -> Result<SecretKey, IdentityError> {
    let at = || path.to_path_buf();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IdentityError::Missing { path: at() });
        }
        Err(source) => return Err(IdentityError::Io { path: at(), source }),
    };
    let io = |source| IdentityError::Io { path: at(), source };
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Mode { path: at(), mode });
    }
    // A key file has 103 bytes: whatever is much larger isn't one, and isn't read whole.
    let mut text = Vec::new();
    (&mut file).take(1024).read_to_end(&mut text).map_err(io)?;
    parse(&text).ok_or_else(|| {
        if text.starts_with(TITLE.as_bytes()) {
            IdentityError::Torn { path: at() }
        } else {
            IdentityError::Foreign { path: at() }
        }
    })
}

/// Reads a key file, or makes one with a fresh key if there is none.
pub fn load_or_create(path: &Path) -> Result<SecretKey, IdentityError> {
    match load(path) {
        Err(IdentityError::Missing { .. }) => {
            let key = generate()?;
            save(path, &key)?;
            Ok(key)
        }
        result => result,
    }
}

/// Writes a new key file, synced, readable by its owner only. Never replaces a file.
pub fn save(path: &Path, key: &SecretKey) -> Result<(), IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_path_buf(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.exists()
    {
        fs::create_dir_all(folder).map_err(io)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io)?;
    }
    // Written beside and linked into place, so that a crash leaves a whole file or none.
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(render(key).as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&beside, path)?;
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    let result = write();
    let _ = fs::remove_file(&beside);
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(IdentityError::Exists { path: path.to_path_buf() })
        }
        result => result.map_err(io),
    }
}

fn render(key: &SecretKey) -> String {
    let body = format!("{TITLE}\n{}\n", HEXLOWER.encode(&key.to_bytes()));
    let checksum = HEXLOWER.encode(&CHECKSUM.hash(body.as_bytes()).as_bytes()[..8]);
    format!("{body}{checksum}\n")
}

fn parse(text: &[u8]) -> Option<SecretKey> {
    let text = std::str::from_utf8(text).ok()?;
    let seed = text.lines().nth(1)?;
    let key = SecretKey::from_bytes(HEXLOWER.decode(seed.as_bytes()).ok()?.try_into().ok()?);
    (render(&key) == text).then_some(key)
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No such file.
    #[error("there is no key file at {}; make one with `aether key new`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Refused to replace a key.
    #[error(
        "{} exists already and is left as it is; choose another path, or move it away first",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the key.
    #[error(
        "the key file {} has mode {mode:03o}, so others on this machine can read it; \
         run `chmod 600 {}`, and make a new key if you don't trust them",
        path.display(), path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Began as a key file and isn't whole.
    #[error(
        "the key file {} is torn or was edited; restore it from a copy, \
         or move it away to start with a new identity",
        path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// Some other file.
    #[error(
        "{} is not an Aether key file, and is left as it is; \
         point to another path, or move it away to have a new key made",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system's word.
    #[error("can't use the key file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No randomness to be had.
    #[error("the system gave no randomness for a new key")]
    Entropy,
}

/// The protobuf header of an Ed25519 public key (libp2p specification, "Peer Ids and Keys").
const ED25519: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// libp2p's name for a key.
pub fn peer_id(key: &PublicKey) -> PeerId {
    let mut encoded = ED25519.to_vec();
    encoded.extend_from_slice(key.as_bytes());
    let hash = Multihash::wrap(0, &encoded).expect("36 bytes fit a multihash");
    PeerId::from_multihash(hash).expect("an identity multihash of 36 bytes is a peer id")
}

/// The key that a peer id holds; `None` if it isn't of an Ed25519 key.
pub fn public_key(peer: &PeerId) -> Option<PublicKey> {
    let key = peer.as_ref().digest().strip_prefix(&ED25519)?;
    Some(PublicKey::from_bytes(key.try_into().ok()?))
}

pub(crate) fn keypair(key: &SecretKey) -> identity::Keypair {
    identity::Keypair::ed25519_from_bytes(key.to_bytes()).expect("every seed is a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_key_survives_its_file() {
        let folder = folder();
        let path = folder.path().join("deeper/identity.key");
        let key = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().to_bytes(), key.to_bytes());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing left behind");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = folder();
        let path = folder.path().join("identity.key");
        save(&path, &SecretKey::from_bytes([1; 32])).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Mode { mode: 0o644, .. }));
        assert!(error.to_string().contains("chmod 600"));
    }

    #[test]
    fn torn_and_foreign_files_are_told_apart_and_kept() {
        let folder = folder();
        let path = folder.path().join("identity.key");
        let whole = render(&SecretKey::from_bytes([1; 32]));
        let write = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        };
        for cut in TITLE.len()..whole.len() {
            write(&whole.as_bytes()[..cut]);
            assert!(matches!(load_or_create(&path), Err(IdentityError::Torn { .. })), "at {cut}");
        }
        for foreign in ["", "-----BEGIN OPENSSH PRIVATE KEY-----", "\u{0}\u{ff}"] {
            write(foreign.as_bytes());
            assert!(matches!(load_or_create(&path), Err(IdentityError::Foreign { .. })));
            assert_eq!(fs::read(&path).unwrap(), foreign.as_bytes());
        }
        let flipped = whole.replacen("01", "02", 1);
        write(flipped.as_bytes());
        assert!(matches!(load(&path), Err(IdentityError::Torn { .. })));
    }

    #[test]
    fn saving_never_replaces() {
        let folder = folder();
        let path = folder.path().join("identity.key");
        save(&path, &SecretKey::from_bytes([1; 32])).unwrap();
        let again = save(&path, &SecretKey::from_bytes([2; 32]));
        assert!(matches!(again, Err(IdentityError::Exists { .. })));
        assert_eq!(load(&path).unwrap().to_bytes(), [1; 32]);
    }

    #[test]
    fn peer_ids_are_libp2ps() {
        let key = SecretKey::from_bytes([5; 32]);
        assert_eq!(peer_id(&key.public()), keypair(&key).public().to_peer_id());
        assert_eq!(public_key(&peer_id(&key.public())), Some(key.public()));
        let other = PeerId::from_multihash(Multihash::wrap(0x12, &[7; 32]).unwrap()).unwrap();
        assert_eq!(public_key(&other), None);
    }
}
