//! What a node of a closed mesh keeps over restarts: its membership, in a file that its owner alone
//! can read, and revocations, in its store.
//!
//! The file `membership` in the data folder holds the membership's text and a line end. It is
//! replaced at once and whole when the membership is renewed.
//!
//! The store's keyspace `revocations` holds each revocation's bytes by the key that is revoked.
//! They are written without waiting for the disk: what is lost comes again from a neighbour.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aether_core::{Genesis, PublicKey};
use aether_store::{Batch, Durability, Keyspace, Store};

use crate::proto::access::{
    Capability, MAX_REVOCATIONS, Membership, Noted, Revocation, Revocations, TokenError, Wall,
};

/// Longer than any membership.
const MAX_FILE: u64 = 16 * 1024;

/// Where a node that keeps its data in this folder keeps its membership.
pub fn membership_file(data: &Path) -> PathBuf {
    data.join("membership")
}

/// The membership that a data folder remembers; none if the node was in no closed mesh.
pub fn remembered(data: &Path) -> Result<Option<Membership>, MembershipFileError> {
    let path = membership_file(data);
    let io = |source| MembershipFileError::Io { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
    let membership = Membership::parse(&text);
    membership.map(Some).map_err(|source| MembershipFileError::Torn { path: path.clone(), source })
}

/// Replaces the file at once, or leaves it as it was.
pub(crate) fn save(data: &Path, membership: &Membership) -> Result<(), MembershipFileError> {
    let path = membership_file(data);
    let beside = data.join(format!("membership.new-{}", std::process::id()));
    let write = || -> io::Result<()> {
        fs::create_dir_all(data)?;
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{}\n", membership.to_text()).as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(data)?.sync_all()
    };
    let result = write();
    let _ = fs::remove_file(&beside);
    result.map_err(|source| MembershipFileError::Io { path, source })
}

/// Why a membership can't be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipFileError {
    /// The file can't be read or written.
    #[error("can't read or write the membership {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file isn't a membership.
    #[error(
        "{} is no membership; move it away and join again with an invite", path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TokenError,
    },
}

/// What the access driver writes.
#[derive(Debug)]
pub(crate) struct Memory {
    store: Store,
    keyspace: Keyspace,
    data: Option<PathBuf>,
    membership: Membership,
    /// Whether the file is behind, because it couldn't be written.
    is_behind: bool,
}

impl Memory {
    /// Writes the membership's file, if it says something else.
    pub(super) fn open(
        store: &Store,
        data: Option<&Path>,
        membership: Membership,
    ) -> Result<Self, super::OpenError> {
        let keyspace = store.keyspace("revocations")?;
        if let Some(data) = data
            && remembered(data).ok().flatten().as_ref() != Some(&membership)
        {
            save(data, &membership)?;
        }
        let (store, data) = (store.clone(), data.map(Path::to_path_buf));
        Ok(Self { store, keyspace, data, membership, is_behind: false })
    }

    /// The revocations that are remembered. One that can't be read comes again from a neighbour.
    pub(super) fn revocations(&self, genesis: &Genesis, now: Wall) -> Revocations {
        let mut revocations = Revocations::default();
        for entry in self.keyspace.prefix(b"").take(MAX_REVOCATIONS) {
            let revocation = entry.ok().and_then(|(_, value)| Revocation::decode(&value).ok());
            match revocation.filter(|revocation| revocation.verify(genesis).is_ok()) {
                Some(revocation) => {
                    if revocations.insert(revocation, now) != Noted::New {
                        tracing::debug!("a revocation that is remembered is over");
                    }
                }
                None => tracing::warn!("forgot a revocation that can't be read"),
            }
        }
        revocations
    }

    pub(super) fn keep_revocation(&self, revocation: &Revocation) {
        let mut batch = Batch::new();
        batch.put(&self.keyspace, revocation.key().as_bytes(), &revocation.encode());
        if self.store.try_commit(batch, Durability::Buffered).is_err() {
            tracing::debug!("the store is busy: a revocation isn't kept over a restart");
        }
    }

    pub(super) fn forget_revocation(&self, key: &PublicKey) {
        let mut batch = Batch::new();
        batch.remove(&self.keyspace, key.as_bytes());
        let _ = self.store.try_commit(batch, Durability::Buffered);
    }

    pub(super) fn keep_capability(&mut self, capability: &Capability) {
        self.membership.capability = capability.clone();
        self.is_behind = true;
        self.retry();
    }

    /// Writes the file if it is behind. A few kilobytes, a few times a month.
    pub(super) fn retry(&mut self) {
        let Some(data) = self.data.as_deref().filter(|_| self.is_behind) else { return };
        match save(data, &self.membership) {
            Ok(()) => self.is_behind = false,
            Err(error) => tracing::warn!(%error, "can't keep the membership; trying again"),
        }
    }
}
