//! Tokens of the interface itself.
//!
//! The interface of a node is like a closed mesh of one: its [`genesis`] has a fixed name, and the
//! node's own key for its only admin. A token is an invite to it. Nobody runs such a mesh, so a
//! token lets its holder into none; and it is good whatever mesh the node is in.
//!
//! What is revoked stands in the file `api-revocations` of the data folder, a revocation on each
//! line. It is replaced whole, under a lock of the folder, so that the node and a command can both
//! write it. Revocations that are over are left out, and the rest are bounded, so the file is too.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use aether_mesh::{
    access::{
        Broken, Genesis, Invite, Issuer, PublicKey, Refusal, Revocation, RevocationError,
        Revocations, Role, SecretKey, TokenError, Wall,
    },
    identity::{self, IdentityError},
};

/// The name of every interface's genesis; the key in it tells them apart.
const NAME: &str = "aether interface";
/// Longer than as many revocations as are held.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// What the tokens of a node's interface begin with.
pub(crate) fn genesis(node: PublicKey) -> Genesis {
    Genesis::closed(NAME, [node]).expect("a node's key is a sound one, and the name is short")
}

/// Where the revocations are.
pub(crate) fn revocations_file(data: &Path) -> PathBuf {
    data.join("api-revocations")
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFailed {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A token for the interface of the node with this key.
pub(crate) fn token(
    key: &SecretKey,
    role: Role,
    now: Wall,
    expires: Wall,
) -> Result<Invite, TokenFailed> {
    let issuer = Issuer::root(&genesis(key.public()), key.clone())?;
    // Nobody is renewed here, so the term says nothing.
    let term = expires.since(now);
    Ok(Invite::new(&issuer, identity::generate()?, role, now, expires, term, Vec::new())?)
}

/// Why a token isn't revoked, or nobody knows which are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokedError {
    #[error("can't read or write {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "line {line} of {} is no revocation; move the file away, and revoke anew what is to stay \
         revoked with `aether api revoke`",
        path.display()
    )]
    Line { path: PathBuf, line: usize, source: TokenError },
    #[error("line {line} of {} revokes nothing", path.display())]
    Worthless { path: PathBuf, line: usize, source: RevocationError },
    #[error(
        "there is no room for another revocation: {count} tokens are revoked; stop the node and \
         move identity.key away to start with a new identity, under which no old token is good"
    )]
    Full { count: usize },
    #[error("the revocation is too old to matter")]
    Over,
}

/// Judges the tokens of an interface.
#[derive(Debug)]
pub(crate) struct Interface {
    genesis: Genesis,
    data: PathBuf,
    revoked: RwLock<Revocations>,
}

impl Interface {
    /// Reads what is revoked.
    pub(crate) fn open(data: &Path, node: PublicKey, now: Wall) -> Result<Self, RevokedError> {
        let (genesis, data) = (genesis(node), data.to_path_buf());
        let interface = Self { genesis, data, revoked: RwLock::default() };
        interface.reload(now)?;
        Ok(interface)
    }

    /// What its tokens begin with.
    pub(crate) const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// In which role a token's holder is here, if its genesis is this one. Some ten signatures at
    /// most, 60 µs each.
    pub(crate) fn role(&self, token: &Invite, now: Wall) -> Result<Role, Refusal> {
        if token.genesis() != &self.genesis {
            return Err(Refusal::OtherMesh);
        }
        // The token's own key stands for a peer.
        let joined = token.join(token.id(), now)?;
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        Ok(joined.capability.verify(&self.genesis, now, &revoked)?.role)
    }

    /// Reads again what is revoked.
    pub(crate) fn reload(&self, now: Wall) -> Result<(), RevokedError> {
        self.hold(self.read(now)?);
        Ok(())
    }

    /// Puts a revocation of this interface, which is verified, into force, and on disk.
    pub(crate) fn revoke(&self, revocation: Revocation, now: Wall) -> Result<(), RevokedError> {
        use aether_mesh::proto::access::Noted;
        let path = revocations_file(&self.data);
        let failed = |source| RevokedError::Io { path: path.clone(), source };
        // Held until the file is closed.
        let folder = File::open(&self.data).map_err(failed)?;
        folder.lock().map_err(failed)?;
        let mut revoked = self.read(now)?;
        match revoked.insert(revocation, now) {
            Noted::New => self.write(&folder, &revoked).map_err(failed)?,
            Noted::Known => {}
            Noted::Over => return Err(RevokedError::Over),
            Noted::Full => return Err(RevokedError::Full { count: revoked.len() }),
        }
        self.hold(revoked);
        Ok(())
    }

    fn hold(&self, revoked: Revocations) {
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = revoked;
    }

    fn read(&self, now: Wall) -> Result<Revocations, RevokedError> {
        let path = revocations_file(&self.data);
        let mut revoked = Revocations::default();
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(revoked),
            Err(source) => return Err(RevokedError::Io { path, source }),
            Ok(_) => {}
        }
        for (number, line) in text.lines().enumerate() {
            let (path, line_number) = (path.clone(), number + 1);
            let revocation = Revocation::parse(line).map_err(|source| RevokedError::Line {
                path,
                line: line_number,
                source,
            })?;
            match revocation.verify(&self.genesis) {
                Ok(()) => drop(revoked.insert(revocation, now)),
                // Of an identity that this folder had before, whose tokens are no good any more.
                Err(RevocationError::OtherMesh) => {}
                Err(source) => {
                    let path = revocations_file(&self.data);
                    return Err(RevokedError::Worthless { path, line: line_number, source });
                }
            }
        }
        Ok(revoked)
    }

    fn write(&self, folder: &File, revoked: &Revocations) -> io::Result<()> {
        let text: String = revoked.iter().map(|one| format!("{}\n", one.to_text())).collect();
        replace(&revocations_file(&self.data), text.as_bytes(), 0o644)?;
        folder.sync_all()
    }
}

/// Replaces a file at once, or leaves it as it was. The caller syncs the folder, if it matters.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let write = || {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Wall = Wall::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; 32])
    }

    fn opened(data: &Path) -> Interface {
        Interface::open(data, key(1).public(), NOW).unwrap()
    }

    fn revocation(of: PublicKey) -> Revocation {
        let issuer = Issuer::root(&genesis(key(1).public()), key(1)).unwrap();
        Revocation::sign(&issuer, of, NOW).unwrap()
    }

    #[test]
    fn a_token_is_good_at_its_own_interface_in_its_role_and_time() {
        let data = tempfile::tempdir().unwrap();
        let here = opened(data.path());
        for role in Role::ALL {
            let one = token(&key(1), role, NOW, NOW + DAY).unwrap();
            let one = Invite::parse(&one.to_text()).unwrap();
            assert_eq!(here.role(&one, NOW).unwrap(), role);
            assert!(matches!(here.role(&one, NOW + 2 * DAY), Err(Refusal::Expired { .. })));
            assert!(matches!(here.role(&one, NOW - DAY), Err(Refusal::NotYet { .. })));
        }
        let other = token(&key(2), Role::Admin, NOW, NOW + DAY).unwrap();
        assert_eq!(here.role(&other, NOW), Err(Refusal::OtherMesh));
        // A narrower one can be made out of it, and dies with it.
        let one = token(&key(1), Role::Writer, NOW, NOW + DAY).unwrap();
        let narrow = one.attenuate(key(9), Role::Reader, NOW, NOW + DAY, DAY).unwrap();
        assert_eq!(here.role(&narrow, NOW).unwrap(), Role::Reader);
        here.revoke(revocation(one.id()), NOW).unwrap();
        assert!(matches!(here.role(&narrow, NOW), Err(Refusal::Revoked { .. })));
        assert!(token(&key(1), Role::Reader, NOW, NOW).is_err());
        assert!(token(&key(1), Role::Reader, NOW, NOW + 367 * DAY).is_err());
    }

    #[test]
    fn revocations_are_kept_once_and_shared_by_the_file() {
        let data = tempfile::tempdir().unwrap();
        let (node, command) = (opened(data.path()), opened(data.path()));
        let [one, two] = [1, 2].map(|_| token(&key(1), Role::Reader, NOW, NOW + DAY).unwrap());
        command.revoke(revocation(one.id()), NOW).unwrap();
        assert!(node.role(&one, NOW).is_ok(), "it hasn't looked");
        node.revoke(revocation(two.id()), NOW).unwrap();
        node.revoke(revocation(two.id()), NOW).unwrap();
        assert!(node.role(&one, NOW).is_err(), "it saw the other's");
        command.reload(NOW).unwrap();
        for interface in [&node, &command, &opened(data.path())] {
            assert!(interface.role(&one, NOW).is_err() && interface.role(&two, NOW).is_err());
        }
        let text = fs::read_to_string(revocations_file(data.path())).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing is left behind");
        // A new identity has no old tokens to revoke.
        let renewed = Interface::open(data.path(), key(2).public(), NOW).unwrap();
        assert!(renewed.revoked.read().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_not_whole_is_no_empty_one() {
        let data = tempfile::tempdir().unwrap();
        let one = token(&key(1), Role::Reader, NOW, NOW + DAY).unwrap();
        opened(data.path()).revoke(revocation(one.id()), NOW).unwrap();
        let path = revocations_file(data.path());
        let text = fs::read_to_string(&path).unwrap();
        for wrong in [format!("{text}{}", &text[..40]), "x\n".to_owned(), "\n".to_owned()] {
            fs::write(&path, wrong).unwrap();
            let error = Interface::open(data.path(), key(1).public(), NOW).unwrap_err();
            assert!(matches!(error, RevokedError::Line { .. }), "{error}");
            assert!(error.to_string().contains("aether api revoke"), "{error}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_what_is_over_goes() {
        let data = tempfile::tempdir().unwrap();
        let here = opened(data.path());
        let issuer = Issuer::root(&genesis(key(1).public()), key(1)).unwrap();
        let most = aether_mesh::proto::access::MAX_REVOCATIONS;
        let mut revoked = Revocations::default();
        for number in 0..most as u64 {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let key = PublicKey::from_bytes(bytes);
            revoked.insert(Revocation::sign(&issuer, key, NOW).unwrap(), NOW);
        }
        here.write(&File::open(data.path()).unwrap(), &revoked).unwrap();
        assert!(fs::metadata(revocations_file(data.path())).unwrap().len() < MAX_FILE);
        let one = revocation(key(3).public());
        let error = here.revoke(one.clone(), NOW).unwrap_err();
        assert!(matches!(error, RevokedError::Full { count } if count == most), "{error}");
        let later = NOW + 1000 * DAY;
        assert!(matches!(here.revoke(one, later), Err(RevokedError::Over)));
        let one = Revocation::sign(&issuer, key(3).public(), later).unwrap();
        here.revoke(one, later).unwrap();
        assert_eq!(fs::read_to_string(revocations_file(data.path())).unwrap().lines().count(), 1);
    }
}
