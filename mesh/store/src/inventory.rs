//! The inventory: which small files the engine had when the store was closed, and what was in them.
//!
//! The engine checks its tables block by block as it reads them. It trusts the lists of its tables,
//! and cuts its journals off where it can't read on. After an orderly end all of them have to be as
//! they were left, so whatever is other is damage.
//!
//! The file has a line for each, by name: the CRC-32 (IEEE) of what is in it, eight hexadecimal
//! digits; its length in bytes; its path below the engine's folder. Of a journal only what is
//! before the zeros at its end counts. The last line is the CRC-32 of those before.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::journal;

/// Files that have more bytes are tables, which the engine checks, or journals.
const SMALL: u64 = 1 << 20;

/// By path: length and checksum.
type Files = BTreeMap<PathBuf, (u64, u32)>;

/// The inventory of an engine that is closed.
pub(crate) fn take(engine: &Path) -> io::Result<String> {
    let mut text = String::new();
    for (path, (len, crc)) in files(engine)? {
        // Writing to a string never fails.
        let _ = writeln!(text, "{crc:08x} {len} {}", path.display());
    }
    let crc = crc32fast::hash(text.as_bytes());
    let _ = writeln!(text, "{crc:08x}");
    Ok(text)
}

/// The first file that isn't as an inventory says, or `None`; the inventory itself, with an empty
/// path, if it can't be read.
pub(crate) fn differs(engine: &Path, inventory: &[u8]) -> io::Result<Option<PathBuf>> {
    let Some(listed) = read(inventory) else { return Ok(Some(PathBuf::new())) };
    let found = files(engine)?;
    let differs = |path: &&PathBuf| listed.get(*path) != found.get(*path);
    Ok(listed.keys().chain(found.keys()).find(differs).cloned())
}

fn read(inventory: &[u8]) -> Option<Files> {
    let text = str::from_utf8(inventory).ok()?.strip_suffix('\n')?;
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    let (lines, crc) = text.split_at(end);
    if format!("{:08x}", crc32fast::hash(lines.as_bytes())) != crc {
        return None;
    }
    let line = |line: &str| {
        let (crc, rest) = line.split_once(' ')?;
        let (len, path) = rest.split_once(' ')?;
        Some((PathBuf::from(path), (len.parse().ok()?, u32::from_str_radix(crc, 16).ok()?)))
    };
    lines.lines().map(line).collect()
}

/// All files of the engine but large tables, wherever they are.
fn files(engine: &Path) -> io::Result<Files> {
    let ends = journal::ends(engine)?;
    let (mut found, mut folders) = (Files::new(), vec![engine.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(engine).map_err(io::Error::other)?.to_owned();
            let number = name.to_str().and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
            let len = match number.and_then(|number: u64| ends.get(&number)) {
                Some(end) => *end,
                None if metadata.len() > SMALL => continue,
                None => metadata.len(),
            };
            found.insert(name, (len, crc(&path, len)?));
        }
    }
    Ok(found)
}

fn crc(path: &Path, len: u64) -> io::Result<u32> {
    let mut file = File::open(path)?.take(len);
    let (mut hasher, mut chunk) = (crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("tables")).unwrap();
        for name in ["current", "tables/1", "tables/2"] {
            fs::write(path(name), name).unwrap();
        }
        fs::write(path("7.jnl"), [&b"data"[..], &[0; 100]].concat()).unwrap();
        fs::write(path("tables/large"), vec![1; 2 << 20]).unwrap();
        let taken = take(folder.path()).unwrap();
        assert_eq!(taken.lines().count(), 5, "{taken}");
        let differs = || differs(folder.path(), taken.as_bytes()).unwrap();
        assert_eq!(differs(), None);
        fs::write(path("7.jnl"), [&b"data"[..], &[0; 10]].concat()).unwrap();
        fs::write(path("tables/large"), vec![2; 2 << 20]).unwrap();
        assert_eq!(differs(), None, "neither zeros nor what the engine checks");
        for (name, text) in [("7.jnl", "date"), ("current", "currant"), ("tables/3", "")] {
            let before = fs::read(path(name));
            fs::write(path(name), text).unwrap();
            assert_eq!(differs(), Some(PathBuf::from(name)));
            match before {
                Ok(bytes) => fs::write(path(name), bytes).unwrap(),
                Err(_) => fs::remove_file(path(name)).unwrap(),
            }
        }
        fs::remove_file(path("tables/2")).unwrap();
        assert_eq!(differs(), Some(PathBuf::from("tables/2")));
    }

    #[test]
    fn an_inventory_that_is_damaged_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("current"), "1").unwrap();
        let taken = take(folder.path()).unwrap();
        for at in 0..taken.len() {
            let mut damaged = taken.clone().into_bytes();
            damaged[at] ^= 1;
            assert_eq!(differs(folder.path(), &damaged).unwrap(), Some(PathBuf::new()), "{at}");
            let torn = &taken.as_bytes()[..at];
            assert_eq!(differs(folder.path(), torn).unwrap(), Some(PathBuf::new()), "{at}");
        }
    }
}
