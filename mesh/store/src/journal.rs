//! What the engine's journals hold, seen from outside.
//!
//! The engine appends to numbered files, makes each longer than what is in it, and when it opens
//! cuts the newest off behind the last batch that it can read, without a word. Comparing lengths
//! before and after tells how much that was.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::fs::{SeekFrom, seek};

/// The journals' numbers, ascending with age, and where in each the data ends.
pub(crate) fn ends(engine: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let mut ends = BTreeMap::new();
    for entry in fs::read_dir(engine)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
        let Some(number) = number else { continue };
        // A journal whose data is in tables may go at any time.
        if let Some(file) = absent_is_none(File::open(engine.join(name)))? {
            ends.insert(number, data_end(&file)?);
        }
    }
    Ok(ends)
}

/// Shortens a journal.
pub(crate) fn cut(engine: &Path, number: u64, len: u64) -> io::Result<()> {
    File::options().write(true).open(engine.join(format!("{number}.jnl")))?.set_len(len)
}

/// Where the zeros begin that a journal ends with. An entry never ends with a zero.
fn data_end(file: &File) -> io::Result<u64> {
    // All but the beginning is usually a hole.
    let mut end = match file.metadata()?.len() {
        0 => 0,
        _ => seek(file, SeekFrom::Hole(0))?,
    };
    let mut chunk = [0; 4096];
    while end > 0 {
        let start = (end - 1) & !4095;
        let bytes = &mut chunk[..usize::try_from(end - start).unwrap_or(4096)];
        file.read_exact_at(bytes, start)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_ends_before_the_zeros_wherever_they_begin() {
        for (data, zeros) in [(0, 0), (0, 9), (1, 0), (4095, 1), (4096, 4096), (9000, 1 << 20)] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&vec![7; data], 0).unwrap();
            file.set_len((data + zeros) as u64).unwrap();
            assert_eq!(data_end(&file).unwrap(), data as u64, "{zeros} zeros");
        }
    }

    #[test]
    fn journals_are_told_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["3.jnl", "12.jnl", "x.jnl", "lock", "3.jnl.old"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(ends(folder.path()).unwrap(), [(3, 5), (12, 6)].into());
        cut(folder.path(), 12, 2).unwrap();
        assert_eq!(ends(folder.path()).unwrap(), [(3, 5), (12, 2)].into());
    }
}
