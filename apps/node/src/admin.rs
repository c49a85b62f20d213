//! An admin's folder: what founds a closed mesh, and whoever is in it.
//!
//! | file | holds |
//! |---|---|
//! | `admin.key` | the admin's secret key, for its owner only; whoever has it decides who is in |
//! | `genesis` | the mesh's genesis as text; no secret |
//!
//! The folder isn't needed where a node runs: it may be kept elsewhere, and offline.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use aether_mesh::{
    access::{Genesis, GenesisError, Issuer, SecretKey, genesis_text, parse_genesis},
    identity,
};
use anyhow::Context as _;

/// What an admin holds.
pub(crate) struct Admin {
    pub(crate) genesis: Genesis,
    pub(crate) key: SecretKey,
}

impl Admin {
    fn key_file(folder: &Path) -> PathBuf {
        folder.join("admin.key")
    }

    fn genesis_file(folder: &Path) -> PathBuf {
        folder.join("genesis")
    }

    /// Founds a mesh. Never replaces one.
    pub(crate) fn found(
        folder: &Path,
        name: &str,
        also: &[aether_mesh::access::PublicKey],
    ) -> anyhow::Result<Self> {
        let (key_file, genesis_file) = (Self::key_file(folder), Self::genesis_file(folder));
        anyhow::ensure!(
            !genesis_file.exists(),
            "{} exists: a mesh was founded there; choose another folder with --admin",
            genesis_file.display()
        );
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("can't make the folder {}", folder.display()))?;
        let key = match identity::load(&key_file) {
            // Made before, by hand or by a founding that broke off.
            Ok(key) => key,
            Err(identity::IdentityError::Missing { .. }) => identity::generate()?,
            Err(error) => return Err(error.into()),
        };
        let admins = also.iter().copied().chain([key.public()]);
        let genesis = Genesis::closed(name, admins).map_err(|error| match error {
            GenesisError::Admins => anyhow::anyhow!("a mesh has at most 64 admins"),
            error => error.into(),
        })?;
        if !key_file.exists() {
            identity::save(&key_file, &key)?;
        }
        write_new(&genesis_file, &format!("{}\n", genesis_text(&genesis)))
            .with_context(|| format!("can't write {}", genesis_file.display()))?;
        Ok(Self { genesis, key })
    }

    /// Reads what was founded.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = Self::genesis_file(folder);
        let text = fs::read_to_string(&file).with_context(|| {
            format!(
                "no mesh was founded in {}; do so with `aether mesh new NAME`, or point to the \
                 folder with --admin",
                folder.display()
            )
        })?;
        let genesis = parse_genesis(&text).with_context(|| format!("{}", file.display()))?;
        Ok(Self { genesis, key: identity::load(&Self::key_file(folder))? })
    }

    /// The genesis alone, if there is one.
    pub(crate) fn genesis(folder: &Path) -> Option<Genesis> {
        parse_genesis(&fs::read_to_string(Self::genesis_file(folder)).ok()?).ok()
    }

    pub(crate) fn issuer(&self) -> anyhow::Result<Issuer> {
        Ok(Issuer::root(&self.genesis, self.key.clone())?)
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_mesh_is_founded_once_and_its_key_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("admin");
        let founded = Admin::found(&folder, "m", &[]).unwrap();
        let key = Admin::key_file(&folder);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Admin::open(&folder).unwrap();
        assert_eq!(read.genesis, founded.genesis);
        assert_eq!(read.key.to_bytes(), founded.key.to_bytes());
        assert!(read.issuer().unwrap().is_root());
        let again = Admin::found(&folder, "m", &[]).map(|_| ()).unwrap_err().to_string();
        assert!(again.contains("exists") && again.contains("--admin"), "{again}");
        let none = Admin::open(&folder.join("none")).map(|_| ()).unwrap_err().to_string();
        assert!(none.contains("aether mesh new"), "{none}");
    }
}
